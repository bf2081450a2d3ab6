"""The daemon's answers besides the library's own reports: reports with a call's warnings, and its own documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from vifplug.doctor.host_info import DaemonInfo, HostInfo
from vifplug.model.codec import HIDDEN, Value
from vifplug.model.events import WaitReport
from vifplug.model.reports import CheckReport, ErrorReport, GcReport, PlannedAction, VifReport

T = TypeVar("T", bound=Value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vifs(Value):
    """VIFs, and messages about them for a person."""

    vifs: Sequence[VifReport]
    warnings: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired(Vifs):
    """Repaired VIFs, and what was changed."""

    actions: Sequence[PlannedAction]
    """The changes that were made, in order; each VIF has its own, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked(CheckReport):
    """The result of a comparison."""

    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected(GcReport):
    """Orphans, and those of them that were deleted."""

    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits(WaitReport):
    """Whether VIFs have reached a state."""

    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport(HostInfo):
    """The daemon, and its description of the host."""

    daemon: DaemonInfo = field(default=DaemonInfo(), metadata=HIDDEN)
    pid: int
    level: str
    """What the requesting peer may do: read, operate or admin."""
    keeper: Mapping[str, Any]
    """The state of the daemon's own comparisons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Value):
    """Where to begin."""

    name: str
    version: str
    openapi: str
    """The path of the description of the whole API."""
    paths: Sequence[str]
    """Some paths to begin with."""
    hint: str
    """For a person who came here by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Value):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    """The path of the request."""
    request_id: str
    """The answer's X-Request-Id; each line that the daemon logged about it contains it."""
    error: ErrorReport


def extended(cls: type[T], report: Value, **more: Any) -> T:
    """A report as an answer with its fields and some more."""
    return cls(**{item.name: getattr(report, item.name) for item in fields(report)} | more)  # type: ignore[arg-type]
