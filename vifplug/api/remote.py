"""The daemon's host: the library's methods, their results and their errors, over the daemon's socket.

Nothing heavy is imported here, above all not vifplug's host side; methods import what not every command needs.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar

from vifplug.api import parameters
from vifplug.api import retry as retrying
from vifplug.api.contract import Host, VifReports, Warnings
from vifplug.api.http import Request, Wire
from vifplug.config import locate
from vifplug.errors import InputError
from vifplug.formats.document import Document
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
from vifplug.model.types import canonical, each_once

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

_VIFS, _BATCH, _CHECK, _REPAIR, _GC = "/v1/vifs", "/v1/batch", "/v1/check", "/v1/repair", "/v1/gc"
_WAIT = "/v1/wait"
_DOCTOR_SECONDS = 120.0
"""Each of its checks has its own timeout."""
_REQUEST_WAIT_SECONDS = 30.0
"""The daemon waits for 60 s at most."""
_WAIT_SPARE_SECONDS = 5.0
"""How long after the requested time the answer may still come; after that the daemon counts as stuck."""

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
        asked = _plugging(vifs)
        return self._vifs_of(_BATCH, asked) if asked["plug"] else self._nothing()

    def unplug(self, ids: Sequence[str]) -> VifReports:
        given = each_once(ids)
        return self._vifs_of(_BATCH, {"unplug": given}) if given else self._nothing()

    def progress(self, id: str) -> Progress:
        return self._ask(Request(method="GET", target=f"{_target(id)}/progress"), Progress.from_json)

    def get(self, id: str) -> VifReport:
        return self._ask(Request(method="GET", target=_target(id)), VifReport.from_json)

    def list(self, *, absent_for: float | None = None) -> VifReports:
        query = "" if absent_for is None else f"?absent_for={durations.seconds(absent_for, 'absent_for')}"
        return self._ask(Request(method="GET", target=_VIFS + query), _vifs)

    def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        return self._ask(Request(method="POST", target=_CHECK, document={"ids": _ids(ids)}), CheckReport.from_json)

    def repair(self, ids: Sequence[str] | None = None) -> VifReports:
        return self._vifs_of(_REPAIR, {"ids": _ids(ids)})

    def plan_repair(self, ids: Sequence[str] | None = None) -> PlanReport:
        document = {"ids": _ids(ids), "dry_run": True}
        return self._ask(Request(method="POST", target=_REPAIR, document=document), PlanReport.from_json)

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        parameters.flag("delete", delete)
        document: dict[str, Any] = {"delete": delete}
        seconds = durations.seconds(absent_for, "absent_for")
        if keep is not None:
            document |= {"keep": each_once(keep), "absent_for": seconds}
        asked = Request(method="POST", target=_GC, document=document, changes=delete)
        return self._ask(asked, GcReport.from_json)

    def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        asked = _plugging(vifs)
        if not asked["plug"]:
            self._nothing()
            return PlanReport()
        document = {**asked, "dry_run": True}
        return self._ask(Request(method="POST", target=_BATCH, document=document), PlanReport.from_json)

    def path(self, id: str) -> PathReport:
        return self._ask(Request(method="GET", target=f"{_target(id)}/path"), PathReport.from_json)

    def trace(self, id: str, *, interval: float = limits.TRACE_SECONDS, probe: bool = False) -> TraceReport:
        from vifplug.trace.values import TraceReport

        document = {"interval": parameters.interval(interval), "probe": probe}
        parameters.flag("probe", probe)
        return self._ask(
            Request(method="POST", target=f"{_target(id)}/trace", document=document), TraceReport.from_json
        )

    def guest(self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None) -> GuestReport:
        from vifplug.guest.nic import Nic
        from vifplug.guest.report import GuestReport, check_format

        vif = _target(id)
        check_format(format)
        nic = Nic(model=model, queues=queues)
        card = {"model": nic.model, **({"queues": nic.queues} if nic.queues is not None else {})}
        target = f"{vif}/guest/{format}?{urllib.parse.urlencode(card)}"
        return self._ask(Request(method="GET", target=target), GuestReport.from_json)

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        from vifplug.api import wait as waiting

        goal = waiting.Goal(ids, state, 0)
        return self._look(goal.ids, goal.state, goal.timeout)

    def wait(self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS) -> VifReports:
        from vifplug.api import wait as waiting

        return waiting.wait(self._watch, waiting.Goal(ids, state, timeout))

    def expect(
        self,
        ids: Sequence[str],
        state: str = WIRED,
        timeout: float = limits.TIMEOUT_SECONDS,
        error_callback: ErrorCallback | None = None,
    ) -> contextlib.AbstractContextManager[Expectation]:
        from vifplug.api import wait as waiting

        return waiting.expect(self._watch, waiting.Goal(ids, state, timeout), error_callback)

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
        from vifplug.doctor.findings import Diagnosis

        seconds = _DOCTOR_SECONDS if self._wire.seconds is None else self._wire.seconds
        return self._ask(Request(method="GET", target="/v1/doctor", seconds=seconds), Diagnosis.from_json)

    def host_info(self) -> HostInfo:
        from vifplug.doctor.host_info import HostInfo

        def read(answer: Mapping[str, Any]) -> HostInfo:
            of_daemon = {name: answer[name] for name in ("version", "pid", "level")}
            return HostInfo.from_json({**answer, "daemon": {"answers": True, "socket": self._wire.path, **of_daemon}})

        return self._ask(Request(method="GET", target="/v1/host"), read)

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

        return waiting.Watch(look=self._look, get=self.get)

    def _look(self, ids: Sequence[str], state: str, seconds: float) -> WaitReport:
        seconds = min(seconds, _REQUEST_WAIT_SECONDS)
        document = {"ids": [*ids], "for": state, "timeout": seconds}
        asked = Request(method="POST", target=_WAIT, document=document, seconds=seconds + _WAIT_SPARE_SECONDS)
        from vifplug.model.events import WaitReport

        return self._ask_once(asked, WaitReport.from_json)

    def _vifs_of(self, target: str, document: Mapping[str, Any]) -> VifReports:
        return self._ask(Request(method="POST", target=target, document=document, changes=True), _vifs)

    def _nothing(self) -> VifReports:
        self._refuse_if_closed()
        self._thread.warnings = []
        return []

    def _ask(self, request: Request, read: Callable[[Mapping[str, Any]], T]) -> T:
        return retrying.repeated(lambda: self._ask_once(request, read), self._retry)

    def _ask_once(self, request: Request, read: Callable[[Mapping[str, Any]], T]) -> T:
        self._nothing()
        answer = self._wire.ask(request)
        try:
            result = read(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise self._wire.not_vifplugd(f"its answer to {request.method} {request.target} is another") from error
        self._thread.warnings = _texts(answer.get("warnings"))
        return result


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _plugging(vifs: Sequence[Vif]) -> dict[str, Any]:
    if isinstance(vifs, Document):
        return vifs.as_request()
    given = parameters.vifs(vifs)
    return {"plug": [vif.model_dump(mode="json", exclude_none=True) for vif in given], "format": "vif"}


def _ids(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else each_once(ids)


def _target(vif_id: str) -> str:
    return f"{_VIFS}/{canonical(vif_id)}"


def _vifs(answer: Mapping[str, Any]) -> list[VifReport]:
    return [VifReport.from_json(vif) for vif in answer["vifs"]]


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
    wire = Wire(_configured(config_file) if path is None else path, seconds=timeout)
    try:
        retrying.repeated(wire.open, retry)
    except BaseException:
        wire.close()
        raise
    return DaemonHost(wire, retry=retry)


def _configured(config_file: str | None) -> str:
    path = locate.config_file(config_file)
    configured = locate.socket_of(path)
    if configured is None:
        from vifplug.config import options  # here, because oslo.config takes longer to import than everything else

        return options.load(path).socket
    return configured
