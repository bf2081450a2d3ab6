"""A VIF with a VLAN of its own: where it may have it, and what its port has after failures and interruptions."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from tests.support import builders
from tests.support.builders import HYBRID, TAP, Plugger
from tests.support.fake_host import FakeHost
from vifplug import formats
from vifplug.engine.commands import reconcile
from vifplug.errors import Conflict, InputError, LinkError, StoreError
from vifplug.model.events import has_reached
from vifplug.model.reports import WIRED
from vifplug.resources.ovs_port import CONTROL_AGENT, CONTROL_OVN, DEAD, Vlans, access
from vifplug.store import records
from vifplug.store.records import Record
from vifplug.store.store import Store

PORT = f"tap{TAP}"[:14]
QVO = f"qvo{HYBRID}"[:14]


@pytest.fixture
def host() -> FakeHost:
    return FakeHost(bridges=["br-int", "br-two"])


def record_of(plugger: Plugger) -> Record:
    return plugger.store.contents([TAP]).records[TAP]


def vlans(host: FakeHost, port: str = PORT) -> Vlans:
    return host.ports[port].vlans


@pytest.mark.parametrize(("vif_type", "port"), [("ovs", PORT), ("ovs-hybrid", QVO)])
def test_port_has_its_vlan_from_the_action_that_creates_it(
    plugger: Plugger, host: FakeHost, vif_type: str, port: str
) -> None:
    (report,) = plugger.plug([builders.vif(vif_type, vlan=5)])
    assert vlans(host, port) == access(5) == Vlans(5, "access", ())
    assert [item.tag for item in report.ports] == [5]
    assert not plugger.plan([builders.vif(vif_type, vlan=5)])
    assert not plugger.plan([builders.vif(vif_type)]), "a request without a VLAN keeps the recorded one"


def test_vlan_is_changed_and_removed_in_place(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif("ovs", vlan=5)])
    uuid = host.ports[PORT].uuid
    plugger.plug([builders.vif("ovs", vlan=6)])
    assert (vlans(host), host.ports[PORT].uuid) == (access(6), uuid)
    plugger.plug([builders.vif("ovs", vlan="none")])
    assert (vlans(host), host.ports[PORT].uuid) == (Vlans(), uuid)
    for again in ("none", None):
        assert not plugger.plan([builders.vif("ovs", vlan=again)])
    assert record_of(plugger).vif.vlan is None


@pytest.mark.parametrize("has_vlan", [False, True])
def test_vlan_of_another_program_is_drift_only_where_vifplug_owns_it(
    plugger: Plugger, host: FakeHost, has_vlan: bool
) -> None:
    plugger.plug([builders.vif("ovs", vlan=5 if has_vlan else None)])
    host.ports[PORT] = host.ports[PORT].with_vlans(Vlans(6, "native-tagged", (7,)))
    record = record_of(plugger)
    (check,) = builders.local_host(plugger).check().vifs
    assert (record_of(plugger) == record) is has_vlan, "another program's VLANs are recorded only where they count"
    assert reconcile.survey(plugger, [TAP]).outdated == frozenset()
    named = {(item.attribute, str(item.observed), str(item.desired)) for item in check.drift}
    assert named == (
        {("tag", "6", "5"), ("vlan_mode", "native-tagged", "access"), ("trunks", "[7]", "None")} if has_vlan else set()
    )
    plugger.repair([TAP])
    assert vlans(host) == (access(5) if has_vlan else Vlans(6, "native-tagged", (7,)))


def test_option_of_isolation_gives_way_and_comes_back_for_no_live_port(tmp_path: pathlib.Path, host: FakeHost) -> None:
    plugger = builders.plugger(tmp_path, host, isolate=True)
    plugger.plug([builders.vif("ovs")])
    assert vlans(host) == DEAD
    plugger.plug([builders.vif("ovs", vlan=5)])
    assert vlans(host) == access(5)
    del host.ports[PORT]
    plugger.repair([TAP])
    assert vlans(host) == access(5)
    plugger.plug([builders.vif("ovs", vlan="none")])
    assert vlans(host) == Vlans()


@pytest.mark.parametrize("vlan", [6, "none", None])
@pytest.mark.parametrize("before", [None, 5])
def test_failed_replug_leaves_the_vlans_as_they_were(
    plugger: Plugger, host: FakeHost, before: int | None, vlan: Any
) -> None:
    plugger.plug([builders.vif("ovs", vlan=before)])
    if before is None:
        host.ports[PORT] = host.ports[PORT].with_vlans(Vlans(9, None, (10,)))
        plugger.plug([builders.vif("ovs")])
    was, record = vlans(host), record_of(plugger)
    wanted = builders.vif("ovs", vlan=vlan, network={"mtu": 1400, "bridge": "br-two"})
    for number in range(len(plugger.plan([wanted]).actions)):
        host.fail_at = len(host.applied) + number
        with pytest.raises(LinkError):
            plugger.plug([wanted])
        assert (vlans(host), record_of(plugger)) == (was, record), number
    with mock.patch.object(Store, "save_records", side_effect=StoreError("full")), pytest.raises(StoreError):
        plugger.plug([wanted])
    assert (vlans(host), record_of(plugger)) == (was, record), "behind the last action"
    plugger.plug([wanted])
    assert vlans(host) == (
        access(6) if vlan == 6 else access(5) if vlan is None and before == 5 else Vlans() if before == 5 else was
    )


def test_failed_replug_returns_a_drifted_port_to_the_recorded_vlan(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif("ovs", vlan=5)])
    host.ports[PORT] = host.ports[PORT].with_vlans(Vlans(7))
    with mock.patch.object(Store, "save_records", side_effect=StoreError("full")), pytest.raises(StoreError):
        plugger.plug([builders.vif("ovs", vlan=6)])
    assert vlans(host) == access(5)


@pytest.mark.parametrize("before", [None, 5])
@pytest.mark.parametrize("vlan", [6, "none"])
def test_interrupted_replug_is_settled_as_recorded(
    plugger: Plugger, host: FakeHost, before: int | None, vlan: Any
) -> None:
    plugger.plug([builders.vif("ovs", vlan=before)])
    if before is None:
        host.ports[PORT] = host.ports[PORT].with_vlans(Vlans(9, None, (10,)))
        plugger.plug([builders.vif("ovs")])
    was, record = vlans(host), record_of(plugger)
    with builders.intents_of(plugger, host) as seen:
        plugger.plug([builders.vif("ovs", vlan=vlan, network={"mtu": 1400})])
    # As if killed behind the transaction: the intent and the former record are in the store.
    plugger.store.save_records([record])
    plugger.store.begin(seen[-1:], {TAP: records.claims_of(record)}, is_new=False)
    plugger.repair([TAP])
    assert (vlans(host), record_of(plugger)) == (
        was,
        replace(record, updated_at=record_of(plugger).updated_at),
    )


@pytest.mark.parametrize(("plane", "name"), [(CONTROL_OVN, "OVN"), (CONTROL_AGENT, "Neutron's OVS agent")])
def test_control_plane_that_came_later_leaves_the_vif_but_not_its_vlan_to_be_set(
    plugger: Plugger, host: FakeHost, plane: str, name: str
) -> None:
    plugger.plug([builders.vif("ovs", vlan=5)])
    host.bridges["br-int"] = replace(host.bridges["br-int"], control_plane=plane)
    (report,) = plugger.plug([builders.vif("ovs", vlan=5, network={"mtu": 1400})])
    assert report.mtu == 1400
    before = dict(host.ports)
    for wanted in (6, 5):
        with pytest.raises(Conflict, match=f"has vlan {wanted}, but {name} wires the ports of OVS bridge 'br-int'"):
            plugger.plug([builders.vif("ovs", vlan=wanted)])
        assert host.ports == before
        host.ports[PORT] = host.ports[PORT].with_vlans(Vlans(9))
        before = dict(host.ports)
    plugger.plug([builders.vif("ovs", vlan="none")])
    plugger.unplug([TAP])
    assert host.ports == {}


@pytest.mark.parametrize("wired_by", ["ovn", "neutron-agent", "neutron-events"])
def test_configured_control_plane_refuses_a_new_vlan_and_keeps_a_recorded_one(
    tmp_path: pathlib.Path, host: FakeHost, wired_by: str
) -> None:
    builders.plugger(tmp_path, host).plug([builders.vif("ovs", vlan=5)])
    plugger = builders.plugger(tmp_path, host, wired_by=wired_by)
    assert not plugger.plan([builders.vif("ovs", vlan=5)])
    with pytest.raises(InputError, match=f"vlan of VIF {TAP} is 6, and .events. wired_by is {wired_by}"):
        plugger.plug([builders.vif("ovs", vlan=6)])
    host.ports[PORT] = host.ports[PORT].with_vlans(Vlans())
    plugger.repair([TAP])
    assert vlans(host) == access(5)


@pytest.mark.parametrize("wired_by", ["auto", "plugged"])
def test_vif_with_its_own_vlan_is_wired_once_it_is_plugged(
    tmp_path: pathlib.Path, host: FakeHost, wired_by: str
) -> None:
    plugger = builders.plugger(tmp_path, host, wired_by=wired_by, listens=True)
    plugger.plug([builders.vif("ovs", vlan=5)])
    assert has_reached(record_of(plugger).state, WIRED)


@pytest.mark.parametrize("vif_type", ["tap", "vhost-user", "vf", "macvtap", "external", "host-device"])
def test_type_that_cannot_have_one_is_refused(vif_type: str) -> None:
    with pytest.raises(InputError, match="vlan: it is for VIFs of type bridge, ovs, ovs-hybrid only; leave it out"):
        formats.load({**builders.document(vif_type), "vlan": 5})


@pytest.mark.parametrize("vlan", [0, 4095, -1, True, "5", 5.5, [5]])
def test_vlan_out_of_bounds_is_refused(vlan: Any) -> None:
    with pytest.raises(InputError, match=r"vlan: .*: it must be a VLAN id from 1 to 4094"):
        formats.load({**builders.document("ovs"), "vlan": vlan})
