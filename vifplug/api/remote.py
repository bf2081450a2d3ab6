"""The daemon's host: the library's methods, their results and their errors, over the daemon's socket.

Nothing heavy is imported here, above all not vifplug's host side; methods import what not every command needs.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

from vifplug.api import calls, parameters
from vifplug.api import retry as retrying
from vifplug.api.contract import Host, VifReports, Warnings
from vifplug.api.http import Wire
from vifplug.config import locate
from vifplug.errors import InputError
from vifplug.model import durations, limits
from vifplug.model.reports import (
    WIRED,
    CheckReport,
    GcReport,
    PathReport,
    PlanReport,
    Progress,
    VifReport,
)

if TYPE_CHECKING:
    import datetime

    from vifplug.api import wait as waiting
    from vifplug.api.wait import ErrorCallback, Expectation
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import Event, WaitReport
    from vifplug.model.vif import Vif
    from vifplug.trace.values import TraceReport

T = TypeVar("T")


class DaemonHost(Host):
    """Plugs VIFs on this host through vifplugd; what ``vifplug.connect`` opens. ``Host`` documents the methods.

    :param retry: seconds for which each call is repeated while its error is ``retryable``; waits and events keep their
        own time.
    """

    def __init__(self, wire: Wire, *, retry: float = 0) -> None:
        self._wire, self._retry = wire, retry
        self._thread = threading.local()

    @property
    def warnings(self) -> Warnings:
        return getattr(self._thread, "warnings", [])

    def plug(self, vifs: Sequence[Vif]) -> VifReports:
        return self._done(calls.plug(vifs))

    def unplug(self, ids: Sequence[str]) -> VifReports:
        return self._done(calls.unplug(ids))

    def plan_unplug(self, ids: Sequence[str]) -> PlanReport:
        return self._done(calls.plan_unplug(ids))

    def progress(self, id: str) -> Progress:
        return self._done(calls.progress(id))

    def get(self, id: str) -> VifReport:
        return self._done(calls.get(id))

    def list(self, *, absent_for: float | None = None) -> VifReports:
        return self._done(calls.list_vifs(absent_for))

    def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        return self._done(calls.check(ids))

    def repair(self, ids: Sequence[str] | None = None) -> VifReports:
        return self._done(calls.repair(ids))

    def plan_repair(self, ids: Sequence[str] | None = None) -> PlanReport:
        return self._done(calls.plan_repair(ids))

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        return self._done(calls.gc(delete, keep, absent_for))

    def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        return self._done(calls.plan(vifs))

    def path(self, id: str) -> PathReport:
        return self._done(calls.path(id))

    def trace(self, id: str, *, interval: float = limits.TRACE_SECONDS, probe: bool = False) -> TraceReport:
        return self._done(calls.trace(id, interval, probe))

    def guest(self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None) -> GuestReport:
        return self._done(calls.guest(id, format, model, queues))

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        return self._once(calls.look_once(ids, state))

    def wait(self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS) -> VifReports:
        from vifplug.api import wait as waiting

        return waiting.wait(self._watch, calls.goal_of(ids, state, timeout))

    def expect(
        self,
        ids: Sequence[str],
        state: str = WIRED,
        timeout: float = limits.TIMEOUT_SECONDS,
        error_callback: ErrorCallback | None = None,
    ) -> contextlib.AbstractContextManager[Expectation]:
        from vifplug.api import wait as waiting

        return waiting.expect(self._watch, calls.goal_of(ids, state, timeout), error_callback)

    def events(
        self,
        since: int | datetime.datetime | None = None,
        follow: bool = False,
        *,
        ids: Sequence[str] | None = None,
    ) -> Iterator[Event]:
        from vifplug.api import follow as following

        self._refuse_if_closed()
        return following.of_daemon(self._wire, following.Choice(since=since, ids=ids, follow=follow))

    def doctor(self) -> Diagnosis:
        return self._done(calls.doctor(self._wire.seconds))

    def host_info(self) -> HostInfo:
        return self._done(calls.host_info(self._wire.path))

    def close(self) -> None:
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    def _refuse_if_closed(self) -> None:
        if self._wire.is_closed:
            raise InputError("this host is closed; open another with vifplug.connect()")

    @property
    def _watch(self) -> waiting.Watch:
        from vifplug.api import wait as waiting

        return waiting.Watch(look=lambda *goal: self._once(calls.look(*goal)), get=self.get)

    def _done(self, call: calls.Call[T]) -> T:
        return retrying.repeated(lambda: self._once(call), self._retry)

    def _once(self, call: calls.Call[T]) -> T:
        self._refuse_if_closed()
        self._thread.warnings = []
        if call.request is None:
            return call.read({})
        answer = self._wire.ask(call.request)
        try:
            result = call.read(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise self._wire.not_vifplugd(calls.another_answer(call.request)) from error
        self._thread.warnings = calls.warnings_of(answer)
        return result


def connect(
    socket: str | None = None, config_file: str | None = None, *, timeout: float | None = None, retry: float = 0
) -> DaemonHost:
    """Plug through the daemon.

    :param socket: the path of its socket; by default the configuration's ``[daemon] socket``.
    :param config_file: as of ``vifplug.local``; not read when ``socket`` is given.
    :param timeout: seconds to wait for the daemon's answer, each call by itself: DaemonUnreachable (from a
        TimeoutError) is raised after that. The daemon continues the request, and the same call again finds what is
        done. Waits and events have their own time limits. By default a call waits as long as the daemon works: 10 s to
        connect, 120 s for ``doctor``, else without a limit, because the daemon limits each step.
    :param retry: seconds for which the connection, and then each call, is repeated while its error is ``retryable``: a
        daemon that starts, or whose process died during a plug. 0 means one attempt.
    :returns: an open host; use it in a ``with`` statement, or close it.
    :raises DaemonUnreachable: no daemon answers there in time, or this user may not connect (from a PermissionError).
    :raises InputError: an argument is of the wrong type, or not a number of seconds.
    :raises ConfigError: the configuration cannot be read.
    """
    retry, timeout = durations.seconds(retry, "retry"), parameters.timeout("timeout", timeout)
    path, config_file = parameters.path("socket", socket), parameters.path("config_file", config_file)
    wire = Wire(configured(config_file) if path is None else path, seconds=timeout)
    try:
        retrying.repeated(wire.open, retry)
    except BaseException:
        wire.close()
        raise
    return DaemonHost(wire, retry=retry)


def configured(config_file: str | None) -> str:
    """The path of the daemon's socket.

    :raises ConfigError: the configuration cannot be read.
    """
    path = locate.config_file(config_file)
    configured = locate.socket_of(path)
    if configured is None:
        from vifplug.config import options  # here, because oslo.config takes longer to import than everything else

        return options.load(path).socket
    return configured
