"""The use cases over a host in memory and a real store: what happens in which order, and what a failure leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.fake_host import FakeHost
from vifplug.drivers import registry
from vifplug.engine.commands import gc, inspect, recover
from vifplug.errors import Conflict, InputError, LinkError, StoreError, TimedOut, UnknownVif, VerifyError
from vifplug.model.reports import InstanceReport
from vifplug.resources.bridge import Bridge
from vifplug.store import records
from vifplug.store.records import Intent

ALL = [builders.vif("ovs-hybrid"), builders.vif("ovs"), builders.vif("bridge")]
STEPS = 13


def _is_empty(host: FakeHost) -> bool:
    return not (host.links or host.ports or host.qos)


def test_plug_of_several_takes_one_call_a_plane(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug(ALL)
    assert host.stages == 2
    assert len(host.applied) == STEPS


@pytest.mark.parametrize("step", range(STEPS))
def test_failure_at_any_step_leaves_the_host_as_it_was(plugger: Plugger, host: FakeHost, step: int) -> None:
    host.fail_at = step
    with pytest.raises(LinkError) as caught:
        plugger.plug(ALL)
    assert _is_empty(host)
    assert caught.value.step and caught.value.subject
    assert plugger.store.contents() == records.Contents()


def test_record_that_cannot_be_written_is_undone(
    plugger: Plugger, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_records: object, **_more: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(plugger.store, "save_records", full)
    with pytest.raises(StoreError):
        plugger.plug(ALL)
    assert _is_empty(host)
    assert plugger.store.contents() == records.Contents()


def test_stuck_vswitchd_is_undone(plugger: Plugger, host: FakeHost) -> None:
    host.stuck = True
    with pytest.raises(TimedOut):
        plugger.plug(ALL)
    assert _is_empty(host)
    assert plugger.store.contents() == records.Contents()


def test_what_was_read_back_wrong_is_undone(plugger: Plugger, host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    add = host.add

    def deaf(link: object) -> None:
        add(replace(link, stp=1) if isinstance(link, Bridge) else link)  # type: ignore[arg-type]

    monkeypatch.setattr(host, "add", deaf)
    with pytest.raises(VerifyError, match="stp: 1, should be 0"):
        plugger.plug([builders.vif()])
    assert _is_empty(host)


def test_replug_of_a_right_vif_touches_neither_host_nor_store(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug(ALL)
    before, records = len(host.applied), plugger.store.contents()
    plugger.plug(ALL)
    assert len(host.applied) == before
    assert plugger.store.contents() == records


def test_replug_keeps_what_the_request_does_not_say(plugger: Plugger) -> None:
    plugger.plug([builders.vif(instance={"uuid": builders.INSTANCE})])
    (report,) = plugger.plug([builders.vif(network={"id": builders.NETWORK})])
    assert report.mtu == 1450
    assert report.instance == InstanceReport(uuid=builders.INSTANCE)


@pytest.mark.parametrize(
    ("vif_type", "before", "names"),
    [
        ("ovs-hybrid", {"qvb": "mine"}, {"qbr": "mine"}),
        ("ovs", {"qvb": "mine"}, {"tap": "mine"}),
        ("ovs-hybrid", {}, {"qvb": "qvo71a6b0e4-1a"}),
        ("ovs-hybrid", {}, {"tap": "qbr71a6b0e4-1a"}),
    ],
)
def test_name_given_to_two_devices_only_once_all_are_known_is_refused(
    plugger: Plugger, host: FakeHost, vif_type: str, before: dict[str, str], names: dict[str, str]
) -> None:
    if before:
        plugger.plug([builders.vif(vif_type, names=before)])
    links, contents = dict(host.links), plugger.store.contents()
    with pytest.raises(InputError, match="two devices"):
        plugger.plug([builders.vif(vif_type, names=names)])
    assert host.links == links
    assert plugger.store.contents() == contents


def test_failed_replug_leaves_the_recorded_vif(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug(ALL)
    links, contents = dict(host.links), plugger.store.contents()
    host.fail_at = len(host.applied) + 1
    with pytest.raises(LinkError):
        plugger.plug([builders.vif(network={"id": builders.NETWORK, "mtu": 1400})])
    assert host.links == links
    assert plugger.store.contents() == contents


def test_unplug_takes_everything_and_twice_is_fine(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug(ALL)
    ids = [vif.id for vif in ALL]
    assert [report.state for report in plugger.unplug(ids)] == ["unplugged"] * 3
    assert _is_empty(host)
    assert [report.state for report in plugger.unplug(ids)] == ["unplugged"] * 3


def test_unplug_with_a_stuck_vswitchd_is_done_with_a_warning(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug(ALL)
    host.stuck = True
    (report,) = plugger.unplug([builders.HYBRID])
    assert "did not carry out" in report.warnings[0]
    assert plugger.store.record(builders.HYBRID) is None


def test_unplug_goes_on_past_errors_and_the_next_command_ends_it(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif()])
    # The port's deletion fails, then both links' as a group and the first by itself.
    host.fail_at = len(host.applied)
    with pytest.raises(LinkError):
        plugger.unplug([builders.HYBRID])
    assert not host.links, "links go although the port stayed"
    assert plugger.store.contents().intents[builders.HYBRID].verb == records.UNPLUG
    assert recover.settle(plugger) == []
    assert _is_empty(host)
    assert plugger.store.contents() == records.Contents()


def test_shared_bridge_goes_with_the_last_vif(plugger: Plugger, host: FakeHost) -> None:
    second = builders.vif("bridge", id=builders.TAP)
    plugger.plug([builders.vif("bridge"), second])
    plugger.unplug([builders.BRIDGE])
    assert "brq14ec4c8b-00" in host.links
    plugger.unplug([second.id])
    assert _is_empty(host)


def test_interrupted_plug_of_a_new_vif_is_taken_back(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif()])
    record = plugger.store.record(builders.HYBRID)
    assert record is not None
    plugger.store.forget([builders.HYBRID])
    plugger.store.begin(
        [Intent(vif_id=builders.HYBRID, verb=records.PLUG, session=999, resources=record.resources)], {}
    )
    assert recover.settle(plugger) == []
    assert _is_empty(host)


def test_interrupted_replug_comes_back_as_recorded(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif()])
    record = plugger.store.record(builders.HYBRID)
    assert record is not None
    plugger.store.begin(
        [Intent(vif_id=builders.HYBRID, verb=records.PLUG, session=999, resources=record.resources)], {}
    )
    host.links["qvo71a6b0e4-1a"] = replace(host.links["qvo71a6b0e4-1a"], mtu=9000)
    assert recover.settle(plugger) == []
    assert host.links["qvo71a6b0e4-1a"].mtu == 1450
    assert not plugger.store.contents().intents


def test_recovery_that_fails_stays_to_be_done(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif()])
    record = plugger.store.record(builders.HYBRID)
    assert record is not None
    added = replace(host.links["qbr71a6b0e4-1a"], name="qbr-new", ifindex=None)
    intent = Intent(vif_id=builders.HYBRID, verb=records.PLUG, session=999, resources=(*record.resources, added))
    plugger.store.begin([intent], {})
    host.links["qbr-new"] = added
    host.fail_at = len(host.applied)
    assert "could not be settled yet" in recover.settle(plugger)[0]
    assert plugger.store.record(builders.HYBRID) == record
    assert [plugger.store.intent(vif_id) for vif_id in plugger.store.pending()] == [intent]
    assert recover.settle(plugger) == []
    assert "qbr-new" not in host.links
    assert not plugger.store.pending()


def test_unplug_takes_what_a_request_left_that_never_got_a_record(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif()])
    record = plugger.store.record(builders.HYBRID)
    assert record is not None
    plugger.store.forget([builders.HYBRID])
    session = plugger.locks.open_session()
    intent = Intent(vif_id=builders.HYBRID, verb=records.PLUG, session=session.number, resources=record.resources)
    plugger.store.begin([intent], {})
    plugger.unplug([builders.HYBRID])
    session.close()
    assert _is_empty(host)
    assert plugger.store.contents() == records.Contents()


def test_intent_of_a_living_session_is_left_alone(plugger: Plugger) -> None:
    session = plugger.locks.open_session()
    plugger.store.begin([Intent(vif_id=builders.HYBRID, verb=records.PLUG, session=session.number, resources=())], {})
    recover.settle(plugger)
    assert builders.HYBRID in plugger.store.contents().intents
    session.close()
    recover.settle(plugger)
    assert not plugger.store.contents().intents


def test_two_vifs_of_one_request_cannot_share_a_device(plugger: Plugger, host: FakeHost) -> None:
    twin = builders.vif(id=builders.HYBRID.replace("-1a1b", "-1a2b"))
    with pytest.raises(Conflict, match="of one request would both have"):
        plugger.plug([builders.vif(), twin])
    assert _is_empty(host)


def test_check_says_what_drifted_and_repair_puts_it_right(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug(ALL)
    host.links["qvb71a6b0e4-1a"] = replace(host.links["qvb71a6b0e4-1a"], master=None)
    report = inspect.check(plugger)
    (item,) = [item for vif in report.vifs for item in vif.drift]
    assert (item.subject, item.attribute, item.observed, item.desired) == (
        "qvb71a6b0e4-1a",
        "master",
        None,
        "qbr71a6b0e4-1a",
    )
    assert not report.clean
    plugger.repair([builders.HYBRID])
    assert inspect.check(plugger).clean


def test_repair_of_an_unknown_vif_touches_nothing(plugger: Plugger, host: FakeHost) -> None:
    with pytest.raises(UnknownVif):
        plugger.repair([builders.HYBRID])
    assert host.stages == 0


def test_orphans_are_found_and_only_they_are_collected(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug(ALL)
    plugger.store.forget([builders.HYBRID])
    found = {orphan.name for orphan in gc.gc(plugger, delete=False).orphans}
    assert found == {"qbr71a6b0e4-1a", "qvb71a6b0e4-1a", "qvo71a6b0e4-1a"}
    gc.gc(plugger, delete=True)
    assert set(host.links) == {"tap81ab5618-df", "tap3fe5648f-47", "brq14ec4c8b-00"}
    assert set(host.ports) == {"tap81ab5618-df"}
    assert inspect.check(plugger).clean


def test_vifs_whose_driver_is_gone_are_seen_and_taken_away_with_the_others(
    plugger: Plugger, host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugger.plug(ALL)
    before = {report.id: report.waiting_for for report in inspect.list_vifs(plugger)}
    monkeypatch.setattr(registry, "drivers", dict)
    monkeypatch.setattr(registry, "_OWN_BY_TYPE", {})
    assert {report.id: report.waiting_for for report in inspect.list_vifs(plugger)} == before
    assert inspect.check(plugger).clean
    assert inspect.get(plugger, ALL[1].id).state == "wired"
    assert inspect.path(plugger, ALL[1].id).hops
    with pytest.raises(InputError, match="which has no driver here"):
        plugger.repair([ALL[1].id])
    plugger.unplug([one.id for one in ALL])
    assert _is_empty(host)
