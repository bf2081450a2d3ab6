"""A library for the command line that only records calls, and the output of a command."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from vifplug.cli import arguments
from vifplug.cli.verb import nothing
from vifplug.guest import GuestReport
from vifplug.model import reports
from vifplug.model.events import Event, Waited, WaitReport
from vifplug.model.vif import Vif

VIF_ID = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
OTHER_ID = "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
INSTANCE = "5b1a6d62-7d3a-4f5c-a9e4-6b1b4d8d2f10"
DOCUMENT = {"id": VIF_ID, "vif_type": "ovs-hybrid", "address": "fa:16:3e:eb:5e:26"}
REPORT = reports.VifReport(
    id=VIF_ID,
    state="plugged",
    vif_type="ovs-hybrid",
    address="fa:16:3e:eb:5e:26",
    mtu=1450,
    bridge="br-int",
    instance=reports.InstanceReport(uuid=INSTANCE, name="vm-1"),
    devices=(
        reports.DeviceReport(name="qbr71a6b0e4-1a", kind="bridge", up=True),
        reports.DeviceReport(name="qvo71a6b0e4-1a", kind="veth"),
    ),
    ports=(reports.PortReport(bridge="br-int", name="qvo71a6b0e4-1a", ofport=3),),
    waiting_for="tap71a6b0e4-1a",
    updated_at="2025-01-01T00:00:00+00:00",
)
DRIFT = reports.DriftItem(subject="qvb71a6b0e4-1a", attribute="mtu", observed=1400, desired=1450)
ORPHAN = reports.Orphan(kind="veth", name="qvo2bc1ec8f-4b", vif_id=OTHER_ID)


@dataclass
class PlanNotes:
    """A plan of lines."""

    actions: Sequence[str] = ("create bridge qbr71a6b0e4-1a",)

    def as_json(self) -> dict[str, Any]:
        return {"actions": [{"action": "create-bridge", "subject": "qbr71a6b0e4-1a", "text": self.actions[0]}]}


@dataclass
class Notes:
    """A library that records its calls and gives the prepared answers."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    closed_by: list[type[BaseException] | None] = field(default_factory=list)
    warnings: Sequence[str] = ()
    unknown_options: Sequence[str] = ()

    def _answer(self, verb: str, asked: Any, default: Any) -> Any:
        self.calls.append((verb, asked))
        answer = self.answers.get(verb, default)
        if isinstance(answer, BaseException):
            raise answer
        return answer() if callable(answer) else answer

    def plug(self, vifs: Sequence[Vif]) -> Sequence[reports.VifReport]:
        return self._answer("plug", vifs, [REPORT])  # type: ignore[no-any-return]

    def unplug(self, ids: Sequence[str]) -> Sequence[reports.VifReport]:
        return self._answer("unplug", ids, [reports.VifReport(id=VIF_ID, state="unplugged")])  # type: ignore[no-any-return]

    def plan_unplug(self, ids: Sequence[str]) -> PlanNotes:
        return self._answer("plan_unplug", ids, PlanNotes())  # type: ignore[no-any-return]

    def progress(self, id: str) -> reports.Progress:
        return self._answer("progress", id, reports.Progress())  # type: ignore[no-any-return]

    def get(self, id: str) -> reports.VifReport:
        return self._answer("get", id, REPORT)  # type: ignore[no-any-return]

    def list(self, *, absent_for: float | None = None) -> Sequence[reports.VifReport]:
        return self._answer("list", absent_for, [REPORT])  # type: ignore[no-any-return]

    def check(self, ids: Sequence[str] | None = None) -> reports.CheckReport:
        return self._answer("check", ids, reports.CheckReport())  # type: ignore[no-any-return]

    def repair(self, ids: Sequence[str] | None = None) -> Sequence[reports.VifReport]:
        return self._answer("repair", ids, [REPORT])  # type: ignore[no-any-return]

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = 600
    ) -> reports.GcReport:
        asked = delete if keep is None else (delete, keep, absent_for)
        return self._answer("gc", asked, reports.GcReport())  # type: ignore[no-any-return]

    def plan(self, vifs: Sequence[Vif]) -> PlanNotes:
        return self._answer("plan", vifs, PlanNotes())  # type: ignore[no-any-return]

    def path(self, id: str) -> reports.PathReport:
        hops = (reports.Hop(name="vm-1", kind="guest", state="up"), reports.Hop(name="t", kind="tap", state="up"))
        return self._answer("path", id, reports.PathReport(vif=REPORT, hops=hops))  # type: ignore[no-any-return]

    def guest(self, id: str, format: str, *, model: str = "virtio", queues: int | None = None) -> GuestReport:
        reported = GuestReport(id=id, format=format, text="<interface/>")
        return self._answer("guest", (id, format, model, queues), reported)  # type: ignore[no-any-return]

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        there = [Waited(id=vif_id, state="plugged", waits_for="OVN") for vif_id in ids]
        return self._answer("look", (ids, state), WaitReport(reached=False, vifs=there))  # type: ignore[no-any-return]

    def wait(self, ids: Sequence[str], state: str, timeout: float) -> Sequence[reports.VifReport]:
        return self._answer("wait", (ids, state, timeout), [dataclasses.replace(REPORT, state=state)])  # type: ignore[no-any-return]

    def events(self, since: int | None = None, follow: bool = False) -> Iterator[Event]:
        return iter(self._answer("events", (since, follow), []))

    @contextlib.contextmanager
    def opened(self, options: arguments.Options, check: Callable[[], object] = nothing, /) -> Iterator[Any]:
        check()
        self.calls.append(("open", options.config_file))
        try:
            yield self
        finally:
            self.closed_by.append(sys.exc_info()[0])


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def error(self) -> Any:
        return json.loads(self.err)["error"]


Run = Callable[..., Result]
