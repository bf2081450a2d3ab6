"""Since when a VIF has no guest: what is noted, and what the doctor says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vifplug.doctor.checks import diagnose
from vifplug.doctor.facts import Absent, Facts, Plugged
from vifplug.engine.plan import guest_absence
from vifplug.model.vif import Vif
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.resources.tap import Tap
from vifplug.store.records import Record

PLUG, GONE, NOW = "2026-11-30T08:00:00.000Z", "2026-11-30T09:00:00.000Z", "2026-11-30T10:00:00.000Z"
VIF = Vif.model_validate(
    {"id": "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "vif_type": "ovs", "address": "fa:16:3e:eb:5e:26", "network": {}}
)
TAP = "tap71a6b0e4-1a"
RECORD = Record(vif=VIF, resources=(), state="plugged", updated_at=PLUG)
OURS = replace(RECORD, resources=(Tap(name=TAP, owner=VIF.id, role="tap"),))
NOTHING, THERE = Observed(), Observed(links={TAP: Link(name=TAP, owner="", role="")})


def seen(*, carrier: bool) -> Observed:
    return Observed(links={TAP: Tap(name=TAP, owner=VIF.id, role="tap", carrier=carrier)})


@pytest.mark.parametrize(
    ("record", "observed", "noted", "since"),
    [
        (RECORD, NOTHING, None, PLUG),
        (RECORD, NOTHING, GONE, GONE),
        (RECORD, NOTHING, guest_absence.THERE, PLUG),
        (RECORD, THERE, GONE, None),
        (OURS, seen(carrier=False), None, PLUG),
        (OURS, seen(carrier=True), GONE, None),
    ],
)
def test_since(record: Record, observed: Observed, noted: str | None, since: str | None) -> None:
    assert guest_absence.absent_since(replace(record, guest_absent_since=noted), observed) == since


@pytest.mark.parametrize(
    ("noted", "observed", "is_noted"),
    [
        (None, NOTHING, PLUG),
        (guest_absence.THERE, NOTHING, NOW),
        (GONE, NOTHING, None),
        (None, THERE, guest_absence.THERE),
        (GONE, THERE, guest_absence.THERE),
        (guest_absence.THERE, THERE, None),
    ],
)
def test_what_is_noted(noted: str | None, observed: Observed, is_noted: str | None) -> None:
    found = guest_absence.to_note([replace(RECORD, guest_absent_since=noted)], observed, NOW)
    assert found == ({} if is_noted is None else {VIF.id: is_noted})


def test_what_is_noted_is_no_change_of_the_record() -> None:
    assert replace(RECORD, guest_absent_since=GONE) == RECORD


@pytest.mark.parametrize(("seconds", "status"), [(5.0, "ok"), (601.0, "warning")])
def test_doctor_names_it_and_warns_after_ten_minutes(seconds: float, status: str) -> None:
    absent = Absent(vif_id=VIF.id, device=TAP, since=GONE, seconds=seconds)
    findings = diagnose(Facts(integration_bridge="br-int", plugged=Plugged(total=1, absent=(absent,)))).findings
    (found,) = [each for each in findings if each.check == "guests"]
    assert found.status == status
    assert GONE in found.reason
    assert VIF.id in found.subject + found.reason
