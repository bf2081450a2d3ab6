"""The requests of the daemon's host and how their answers are read, without sending them: the calls of
``vifplug.connect`` and of ``vifplug.aio``. Pure.

Nothing heavy is imported here, above all not vifplug's host side.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vifplug.api import parameters
from vifplug.api.http import Request
from vifplug.formats.document import Document
from vifplug.model import durations
from vifplug.model.reports import CheckReport, GcReport, PathReport, PlanReport, Progress, VifReport
from vifplug.model.types import canonical, each_once

if TYPE_CHECKING:
    from vifplug.api.wait import Goal
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import WaitReport
    from vifplug.model.vif import Vif
    from vifplug.trace.values import TraceReport

VIFS, BATCH, CHECK, REPAIR, GC = "/v1/vifs", "/v1/batch", "/v1/check", "/v1/repair", "/v1/gc"
WAIT = "/v1/wait"
_DOCTOR_SECONDS = 120.0
"""Each of its checks has its own timeout."""
_REQUEST_WAIT_SECONDS = 30.0
"""The daemon waits for 60 s at most."""
_WAIT_SPARE_SECONDS = 5.0
"""How long after the requested time the answer may still come; after that the daemon counts as stuck."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and how its answer is read."""

    request: Request | None
    """None if nothing has to be asked: the answer is that of an empty object."""
    read: Callable[[Mapping[str, Any]], T]
    """Raises KeyError, TypeError or ValueError for an answer that is not vifplugd's."""


def plug(vifs: Sequence[Vif]) -> Call[list[VifReport]]:
    """Plug VIFs; none needs no request."""
    document = _plugging(vifs)
    return _vifs_of(BATCH, document) if document["plug"] else Call(None, lambda _: [])


def unplug(ids: Sequence[str]) -> Call[list[VifReport]]:
    """Unplug VIFs; none needs no request."""
    given = each_once(ids)
    return _vifs_of(BATCH, {"unplug": given}) if given else Call(None, lambda _: [])


def plan_unplug(ids: Sequence[str]) -> Call[PlanReport]:
    """The changes of an unplug."""
    given = each_once(ids)
    if not given:
        return Call(None, lambda _: PlanReport())
    asked = Request(method="POST", target=BATCH, document={"unplug": given, "dry_run": True})
    return Call(asked, PlanReport.from_json)


def progress(vif_id: str) -> Call[Progress]:
    """The progress of a request."""
    return Call(Request(method="GET", target=f"{_target(vif_id)}/progress"), Progress.from_json)


def get(vif_id: str) -> Call[VifReport]:
    """One VIF."""
    return Call(Request(method="GET", target=_target(vif_id)), VifReport.from_json)


def list_vifs(absent_for: float | None) -> Call[list[VifReport]]:
    """Every VIF, or those absent for so many seconds."""
    query = "" if absent_for is None else f"?absent_for={durations.seconds(absent_for, 'absent_for')}"
    return Call(Request(method="GET", target=VIFS + query), _vifs)


def check(ids: Sequence[str] | None) -> Call[CheckReport]:
    """Compare VIFs with the host."""
    return Call(Request(method="POST", target=CHECK, document={"ids": _ids(ids)}), CheckReport.from_json)


def repair(ids: Sequence[str] | None) -> Call[list[VifReport]]:
    """Repair VIFs."""
    return _vifs_of(REPAIR, {"ids": _ids(ids)})


def plan_repair(ids: Sequence[str] | None) -> Call[PlanReport]:
    """The changes of a repair."""
    document = {"ids": _ids(ids), "dry_run": True}
    return Call(Request(method="POST", target=REPAIR, document=document), PlanReport.from_json)


def gc(delete: bool, keep: Sequence[str] | None, absent_for: float) -> Call[GcReport]:
    """Find orphans, or delete them."""
    parameters.flag("delete", delete)
    document: dict[str, Any] = {"delete": delete}
    seconds = durations.seconds(absent_for, "absent_for")
    if keep is not None:
        document |= {"keep": each_once(keep), "absent_for": seconds}
    return Call(Request(method="POST", target=GC, document=document, changes=delete), GcReport.from_json)


def plan(vifs: Sequence[Vif]) -> Call[PlanReport]:
    """The changes of a plug."""
    document = _plugging(vifs)
    if not document["plug"]:
        return Call(None, lambda _: PlanReport())
    asked = Request(method="POST", target=BATCH, document={**document, "dry_run": True})
    return Call(asked, PlanReport.from_json)


def path(vif_id: str) -> Call[PathReport]:
    """One VIF's path."""
    return Call(Request(method="GET", target=f"{_target(vif_id)}/path"), PathReport.from_json)


def trace(vif_id: str, interval: float, probe: bool) -> Call[TraceReport]:
    """Where a VIF's frames stop."""
    from vifplug.trace.values import TraceReport

    document = {"interval": parameters.interval(interval), "probe": parameters.flag("probe", probe)}
    return Call(Request(method="POST", target=f"{_target(vif_id)}/trace", document=document), TraceReport.from_json)


def guest(vif_id: str, format: str, model: str, queues: int | None) -> Call[GuestReport]:
    """What a hypervisor needs for a VIF."""
    from vifplug.guest.nic import Nic
    from vifplug.guest.report import GuestReport, check_format

    vif = _target(vif_id)
    check_format(format)
    nic = Nic(model=model, queues=queues)
    card = {"model": nic.model, **({"queues": nic.queues} if nic.queues is not None else {})}
    target = f"{vif}/guest/{format}?{urllib.parse.urlencode(card)}"
    return Call(Request(method="GET", target=target), GuestReport.from_json)


def look(ids: Sequence[str], state: str, seconds: float) -> Call[WaitReport]:
    """Whether they have reached the state; the daemon may wait for that for so many seconds."""
    from vifplug.model.events import WaitReport

    seconds = min(seconds, _REQUEST_WAIT_SECONDS)
    document = {"ids": [*ids], "for": state, "timeout": seconds}
    asked = Request(method="POST", target=WAIT, document=document, seconds=seconds + _WAIT_SPARE_SECONDS)
    return Call(asked, WaitReport.from_json)


def look_once(ids: Sequence[str], state: str) -> Call[WaitReport]:
    """Whether VIFs have reached a state now."""
    goal = goal_of(ids, state, 0)
    return look(goal.ids, goal.state, goal.timeout)


def goal_of(ids: Sequence[str], state: str, timeout: float) -> Goal:
    """The goal of a wait.

    :raises InputError: it can never be reached.
    """
    from vifplug.api.wait import Goal

    return Goal(ids, state, timeout)


def doctor(seconds: float | None) -> Call[Diagnosis]:
    """Problems of the host.

    :param seconds: the connection's own time limit.
    """
    from vifplug.doctor.findings import Diagnosis

    limit = _DOCTOR_SECONDS if seconds is None else seconds
    return Call(Request(method="GET", target="/v1/doctor", seconds=limit), Diagnosis.from_json)


def host_info(socket: str) -> Call[HostInfo]:
    """What the host can plug.

    :param socket: the path of the daemon's socket.
    """
    from vifplug.doctor.host_info import HostInfo

    def read(answer: Mapping[str, Any]) -> HostInfo:
        of_daemon = {name: answer[name] for name in ("version", "pid", "level")}
        return HostInfo.from_json({**answer, "daemon": {"answers": True, "socket": socket, **of_daemon}})

    return Call(Request(method="GET", target="/v1/host"), read)


def warnings_of(answer: Mapping[str, Any]) -> list[str]:
    """An answer's messages for a person."""
    warnings = answer.get("warnings")
    return [str(item) for item in warnings] if isinstance(warnings, list) else []


def another_answer(request: Request) -> str:
    """The reason that an answer is not vifplugd's."""
    return f"its answer to {request.method} {request.target} is another"


def _vifs_of(target: str, document: Mapping[str, Any]) -> Call[list[VifReport]]:
    return Call(Request(method="POST", target=target, document=document, changes=True), _vifs)


def _vifs(answer: Mapping[str, Any]) -> list[VifReport]:
    return [VifReport.from_json(vif) for vif in answer["vifs"]]


def _plugging(vifs: Sequence[Vif]) -> dict[str, Any]:
    if isinstance(vifs, Document):
        return vifs.as_request()
    given = parameters.vifs(vifs)
    return {"plug": [vif.model_dump(mode="json", exclude_none=True) for vif in given], "format": "vif"}


def _ids(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else each_once(ids)


def _target(vif_id: str) -> str:
    return f"{VIFS}/{canonical(vif_id)}"
