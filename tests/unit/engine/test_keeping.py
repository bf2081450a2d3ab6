"""Looking at many VIFs and repairing many, over a host in memory and a real store."""

from __future__ import annotations

import pathlib
import sqlite3

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.fake_host import FakeHost
from vifplug import errors
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.reconcile.index import Index
from vifplug.daemon.reconcile.orphans import Collector
from vifplug.engine.commands import reconcile
from vifplug.model.reports import CONTENDED, FAILED, WIRED
from vifplug.store import records

ALL = [builders.vif("ovs-hybrid"), builders.vif("ovs"), builders.vif("bridge")]
IDS = [vif.id for vif in ALL]


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def plugger(tmp_path: pathlib.Path, host: FakeHost) -> Plugger:
    made = builders.plugger(tmp_path, host)
    made.plug(ALL)
    return made


def drifted(plugger: Plugger) -> set[str]:
    return {vif_id for vif_id, check in reconcile.survey(plugger, None).checks.items() if check.drift}


def test_all_that_drifted_is_repaired_in_one_plan(plugger: Plugger, host: FakeHost) -> None:
    for name in [name for name in host.links if name.startswith(("qvb", "tap"))]:
        host.remove(name)
    stages = host.stages
    assert drifted(plugger) == set(IDS)
    assert reconcile.repair(plugger, IDS) == dict.fromkeys(IDS)
    assert drifted(plugger) == set()
    assert host.stages - stages == 2, "links once, ports once"


def test_repair_that_failed_goes_on_from_what_it_has_made(plugger: Plugger, host: FakeHost) -> None:
    for name in list(host.links):
        host.remove(name)
    before = plugger.store.contents()
    host.stuck = True
    outcome = reconcile.repair(plugger, IDS)
    assert {type(error) for error in outcome.values()} == {errors.TimedOut}
    assert len(host.links) == 6, "what a guest may have opened by now stays"
    assert plugger.store.contents() == before
    host.stuck = False
    made = set(host.links)
    assert reconcile.repair(plugger, IDS) == dict.fromkeys(IDS)
    assert set(host.links) == made
    assert drifted(plugger) == set()


def test_plug_that_failed_is_taken_back_all_the_same(plugger: Plugger, host: FakeHost) -> None:
    links = dict(host.links)
    host.stuck = True
    with pytest.raises(errors.TimedOut):
        plugger.plug([builders.vif("ovs", id="91ab5618-df3e-4999-932a-1263b7886e5a")])
    assert host.links == links


def test_one_that_cannot_be_repaired_affects_no_other(plugger: Plugger, host: FakeHost) -> None:
    host.remove("qvb71a6b0e4-1a")
    host.remove("tap81ab5618-df")
    host.remove("tap3fe5648f-47")
    del host.bridges["br-int"]
    outcome = reconcile.repair(plugger, IDS)
    assert isinstance(outcome[builders.HYBRID], errors.BridgeMissing)
    assert isinstance(outcome[builders.TAP], errors.BridgeMissing)
    assert outcome[builders.BRIDGE] is None
    assert "tap3fe5648f-47" in host.links


def test_vif_that_was_unplugged_meanwhile_stays_so(plugger: Plugger, host: FakeHost) -> None:
    plugger.unplug([builders.TAP])
    assert reconcile.repair(plugger, [builders.TAP]) == {builders.TAP: None}
    assert "tap81ab5618-df" not in host.links


def test_vif_that_a_request_works_on_is_left_for_later(plugger: Plugger) -> None:
    with plugger.locks.held({builders.TAP}, 0):
        outcome = reconcile.repair(plugger, IDS)
    assert isinstance(outcome.pop(builders.TAP), errors.Busy)
    assert set(outcome.values()) == {None}


def test_contended_stays_contended_over_a_repair_and_plug_ends_it(plugger: Plugger, host: FakeHost) -> None:
    reconcile.note(plugger, {builders.TAP: (CONTENDED, "another program undoes it")})
    host.remove("tap81ab5618-df")
    assert reconcile.repair(plugger, [builders.TAP]) == {builders.TAP: None}
    record = plugger.store.record(builders.TAP)
    assert record is not None
    assert (record.state, record.error) == (CONTENDED, "another program undoes it")
    plugger.plug([builders.vif("ovs")])
    record = plugger.store.record(builders.TAP)
    assert record is not None
    assert (record.state, record.error) == (WIRED, None)


def test_note_leaves_those_alone_that_a_request_works_on(plugger: Plugger) -> None:
    with plugger.locks.held({builders.TAP}, 0):
        reconcile.note(plugger, dict.fromkeys(IDS, (FAILED, "why")))
    states = {record.id: record.state for record in plugger.store.contents().records.values()}
    assert states == {builders.HYBRID: FAILED, builders.TAP: WIRED, builders.BRIDGE: FAILED}


def test_vif_with_an_open_intent_is_unsteady(plugger: Plugger) -> None:
    intent = records.Intent(vif_id=builders.TAP, verb=records.PLUG, session=999, resources=())
    plugger.store.begin([intent], {})
    found = reconcile.survey(plugger, None)
    assert found.unsteady == {builders.TAP}
    assert builders.TAP not in found.checks


def test_damaged_record_spoils_no_other_and_is_no_orphan(plugger: Plugger, tmp_path: pathlib.Path) -> None:
    with sqlite3.connect(tmp_path / "vifplug.db") as database:
        database.execute("UPDATE records SET body = substr(body, 1, 40) WHERE vif_id = ?", (builders.HYBRID,))
    database.close()
    found = reconcile.survey(plugger, None)
    assert set(found.checks) == {builders.TAP, builders.BRIDGE}
    assert not found.orphans
    assert list(plugger.store.contents().damaged) == [builders.HYBRID]
    plugger.plug([builders.vif()])
    assert plugger.store.contents().damaged == {}


def test_store_that_was_replaced_says_nothing_of_what_is_wanted(plugger: Plugger, tmp_path: pathlib.Path) -> None:
    (tmp_path / "vifplug.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(errors.Replaced, match="deleted or replaced"):
        reconcile.survey(plugger, None)


def test_names_lead_to_the_vifs_they_concern(plugger: Plugger, host: FakeHost) -> None:
    index = Index()
    index.update(plugger.store.contents().records)
    assert index.of_devices(["qvo71a6b0e4-1a", "nobodys"]) == {builders.HYBRID}
    assert index.of_devices(["tap71a6b0e4-1a"]) == {builders.HYBRID}, "the VMM's tap, too"
    assert index.of_devices([f"#{host.links['tap81ab5618-df'].ifindex}"]) == {builders.TAP}
    assert index.of_bridges(["br-int"]) == {builders.HYBRID, builders.TAP}


def test_index_follows_the_records(plugger: Plugger) -> None:
    index = Index()
    index.update(plugger.store.contents().records)
    plugger.unplug([builders.TAP])
    plugger.plug([builders.vif(names={"qvo": "another"})])
    index.update(plugger.store.contents().records)
    assert index.of_bridges(["br-int"]) == {builders.HYBRID}
    assert index.of_devices(["tap81ab5618-df", "qvo71a6b0e4-1a"]) == set()
    assert index.of_devices(["another"]) == {builders.HYBRID}
    index.update({})
    assert index._devices == index._bridges == {}


@pytest.mark.parametrize("recorded", [True, False])
def test_many_orphans_beside_an_empty_store_are_not_collected(plugger: Plugger, host: FakeHost, recorded: bool) -> None:
    many = [builders.vif("ovs", id=f"{number:08x}-df3e-4999-932a-1263b7886e5a") for number in range(11)]
    plugger.plug(many)
    plugger.store.forget([*IDS[1:], *(IDS[:1] if not recorded else ()), *(vif.id for vif in many)])
    collector, links = Collector(plugger, 0, Metrics()), set(host.links)
    for _ in range(3):
        collector.collect(reconcile.survey(plugger, None))
    assert (set(host.links) == links) is not recorded
    assert (collector.count == 0) is recorded


def test_what_was_seen_of_one_life_is_not_noted_of_the_next(plugger: Plugger) -> None:
    seen = reconcile.survey(plugger, [builders.TAP]).records
    plugger.unplug([builders.TAP])
    plugger.plug([builders.vif("ovs")])
    assert reconcile.note(plugger, {builders.TAP: (FAILED, "seen before")}, seen) == (frozenset({builders.TAP}), None)
    record = plugger.store.record(builders.TAP)
    assert record is not None and record.state == WIRED
    now = reconcile.survey(plugger, [builders.TAP]).records
    assert reconcile.note(plugger, {builders.TAP: (FAILED, "seen now")}, now) == (frozenset(), None)
    record = plugger.store.record(builders.TAP)
    assert record is not None and record.error == "seen now"


def test_those_that_could_not_be_noted_are_reported(plugger: Plugger) -> None:
    with plugger.locks.held({builders.TAP}, 0):
        left, _full = reconcile.note(plugger, dict.fromkeys(IDS, (FAILED, "why")))
    assert left == {builders.TAP}
    assert reconcile.note(plugger, {"unknown": (FAILED, "why")}) == (frozenset({"unknown"}), None)


def test_failure_without_drift_is_over(plugger: Plugger) -> None:
    reconcile.note(plugger, {builders.TAP: (FAILED, "why")})
    survey = reconcile.survey(plugger, [builders.TAP])
    assert (survey.checks[builders.TAP].state, survey.states[builders.TAP]) == (WIRED, (WIRED, None))
