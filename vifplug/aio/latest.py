"""The warnings of a task's last call: a context variable, which each task has for itself."""

from __future__ import annotations

import contextvars
import weakref

_LATEST: contextvars.ContextVar[tuple[weakref.ref[object], list[str]] | None] = contextvars.ContextVar(
    "vifplug_warnings", default=None
)


def keep(host: object, warnings: list[str]) -> None:
    """Keep those of a call of this host."""
    _LATEST.set((weakref.ref(host), warnings))


def of(host: object) -> list[str]:
    """Those of this task's last call, if it was one of this host."""
    latest = _LATEST.get()
    return latest[1] if latest is not None and latest[0]() is host else []
