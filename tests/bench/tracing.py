"""The time of a request by phases, measured at vifplug's existing interfaces.

vifplug's files are not changed: its functions are wrapped in this process, before the helper is forked, so that the
helper's parts are timed too (in shared memory).
"""

from __future__ import annotations

import functools
import importlib
import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.bench.tally import Tally

HELPER = {
    "ovsdb: refresh (barrier round trip)": ("vifplug.privileged.ovsdb.session", "Session", "refresh"),
    "ovsdb: wait until vswitchd caught up": ("vifplug.privileged.ovsdb.session", "Session", "wait"),
    "ovsdb: wait before an add": ("vifplug.privileged.ovsdb.session", "Session", "wait_for_all"),
    "ovsdb: commit": ("vifplug.privileged.ovsdb.session", "Session", "commit"),
    "netlink: changes": ("vifplug.netlink.socket", "LinkSocket", "change"),
    "netlink: links read by name": ("vifplug.netlink.socket", "LinkSocket", "get"),
    "netlink: dumps": ("vifplug.netlink.socket", "LinkSocket", "dump"),
    "sysctls": ("vifplug.privileged.links.sysctl", "", "write"),
    "ethtool": ("vifplug.netlink.ethtool", "", "set_tx_checksum"),
}
"""Inner parts, in any process."""


class Tracer:
    """Wraps the functions; one thread at a time is traced.

    Phases nest: a phase's own time excludes those inside it.
    """

    def __init__(self) -> None:
        self._stack: list[list[Any]] = []
        self._own: dict[str, list[float]] = {}
        self._parts = Tally(tuple(HELPER))
        self.untraced: list[str] = []
        """Functions that no longer exist: their time is their caller's."""
        self._thread = threading.get_ident()
        self._wrap_parts()
        self._wrap_phases()

    def taken(self) -> dict[str, Any]:
        """Phases and inner parts: name -> (calls, seconds); start again from zero."""
        phases = {name: (int(calls), seconds) for name, (calls, seconds) in self._own.items()}
        self._own = {}
        return {"phases": phases, "parts": self._parts.taken(), "untraced": self.untraced}

    def phase(self, name: str | Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as a phase; its name may depend on its arguments."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*args, **kwargs)
            reported = name(*args, **kwargs) if callable(name) else name
            self._stack.append([reported, 0.0])
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - began
                _name, inside = self._stack.pop()
                entry = self._own.setdefault(reported, [0, 0.0])
                entry[0] += 1
                entry[1] += seconds - inside
                if self._stack:
                    self._stack[-1][1] += seconds

        return call

    def _within(self, name: str) -> bool:
        return any(reported == name for reported, _inside in self._stack)

    def _wrap_parts(self) -> None:
        for name, (module, cls, attribute) in HELPER.items():
            owner: Any = importlib.import_module(module)
            owner = getattr(owner, cls, None) if cls else owner
            if hasattr(owner, attribute):
                setattr(owner, attribute, self._parts.timed(name, getattr(owner, attribute)))
            else:
                self.untraced.append(f"{module}.{cls}.{attribute}")

    def _wrap_phases(self) -> None:
        from vifplug.api import local as api
        from vifplug.engine import report
        from vifplug.engine.apply import verify
        from vifplug.engine.commands import plug, recover, remove
        from vifplug.engine.plan import request
        from vifplug.linux import host as linux
        from vifplug.netlink import links
        from vifplug.privileged.helper import channel
        from vifplug.store import store

        def wrap(owner: Any, attribute: str, name: str | Callable[..., str]) -> None:
            static = inspect.getattr_static(owner, attribute, None)
            if isinstance(static, staticmethod):
                setattr(owner, attribute, staticmethod(self.phase(name, static.__func__)))
            elif static is not None:
                setattr(owner, attribute, self.phase(name, static))
            else:
                self.untraced.append(f"{owner.__name__}.{attribute}")

        def read(*_args: Any, **_kwargs: Any) -> str:
            return "verify: read back" if self._within("verify") else "observe"

        def applied(_host: Any, stages: Any, _settle: Any = None) -> str:
            if not stages:
                return "settle: vswitchd caught up"
            deletes = type(stages[0][0]).__name__.startswith(("Delete", "Remove"))
            return f"{' and '.join(stage[0].plane for stage in stages)}: {'delete' if deletes else 'make'}"

        wrap(api.LocalHost, "plug", "the rest of the request")
        wrap(api.LocalHost, "unplug", "the rest of the request")
        wrap(recover, "settle", "settle interrupted requests")
        wrap(request, "job", "desired resources")
        for method in (
            "record",
            "record_or_none",
            "is_damaged",
            "intent",
            "intents",
            "contents",
            "snapshot",
            "neutron_status",
        ):
            wrap(store.Store, method, "store: read")
        wrap(plug, "_planned", "plan")
        wrap(store.Store, "begin", "intent")
        wrap(linux.LinuxHost, "observe", read)
        wrap(linux.LinuxHost, "apply", applied)
        wrap(linux.LinuxHost, "_settle", "settle: vswitchd caught up")
        wrap(verify, "verified", "verify")
        wrap(remove, "remove", "unplug: decide")
        wrap(store.Store, "save_records", "record")
        wrap(store.Store, "forget", "record")
        wrap(report, "built", "report")
        wrap(channel.Channel, "_answer", lambda _self, verb, *_rest: f"  privileged {verb}")
        for function in ("links", "many_links", "all_links"):
            wrap(links, function, "  read links")
