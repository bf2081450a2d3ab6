"""OVS bridges that vifplug makes, a trunk's and a VIF's own: whose they are, who shares them, and when they go."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import pytest

from tests.support import builders
from tests.support.builders import Plugger
from tests.support.fake_host import FakeHost
from vifplug import naming
from vifplug.engine.commands import gc, inspect, reconcile
from vifplug.engine.requester import Requester
from vifplug.errors import BridgeMissing, Conflict, InputError, LinkError
from vifplug.model.vif import Vif
from vifplug.resources import kinds, ownership
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort
from vifplug.resources.ownership import SeenBridge

TBR = "tbr-0a1b2c3d-4"
TRUNK = naming.network_owner(naming.network_of_bridge(TBR))
PB, (NEAR, FAR) = naming.port_bridge(builders.TAP), naming.patch_ports(builders.TAP)
PARENT = builders.vif("ovs", network={"bridge": TBR})
OTHER = builders.vif("ovs-hybrid", network={"bridge": TBR})
OWN = builders.vif("ovs", per_port_bridge=True)
STRANGER = OvsPort(name="stranger", bridge=TBR, uuid="x", ofport=7)


# -- whose they are -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, owner", [(TBR, TRUNK), (PB, builders.TAP)])
def test_bridge_is_ours_by_name_and_by_either_mark(name: str, owner: str) -> None:
    assert ownership.bridge_is_ours(SeenBridge(name=name, mark=owner), owner)
    assert ownership.bridge_is_ours(SeenBridge(name=name, local_mark=owner), owner)
    assert not ownership.bridge_is_ours(SeenBridge(name=name), owner), "os-vif's has the same name"
    assert not ownership.bridge_is_ours(SeenBridge(name=name, mark=builders.HYBRID, local_mark=owner), owner)
    for wrong in ("br-int", f"{name}x"[-15:], "tbr-", "pb"):
        assert not ownership.bridge_is_ours(SeenBridge(name=wrong, mark=owner, local_mark=owner), owner)


def test_name_of_a_bridge_is_one_owners() -> None:
    assert naming.is_bridge_of(TBR, TRUNK) and naming.is_bridge_of(PB, builders.TAP)
    for name, owner in ((TBR, builders.TAP), (TBR, naming.network_owner(builders.NETWORK)), (PB, builders.HYBRID)):
        assert not naming.is_bridge_of(name, owner)
    assert not naming.is_bridge_of("br-int", builders.TAP)


def test_patch_joins_nothing_but_a_vifs_own_bridge_and_another() -> None:
    def is_right(name: str, peer: str, *, on_own: bool) -> bool:
        return ownership.patch_is_right(name, peer, builders.TAP, is_on_own_bridge=on_own)

    assert is_right(NEAR, FAR, on_own=True) and is_right(FAR, NEAR, on_own=False)
    assert not is_right(NEAR, FAR, on_own=False), "the near end on br-ex would join br-ex to br-int"
    assert not is_right(FAR, NEAR, on_own=True)
    assert not is_right(FAR, "tpi-1", on_own=False) and not is_right("tpt-1", "tpi-1", on_own=False)
    assert not ownership.patch_is_right(FAR, NEAR, builders.HYBRID, is_on_own_bridge=False)


@pytest.mark.parametrize("is_on_own_bridge", [True, False])
def test_network_has_no_patch(is_on_own_bridge: bool) -> None:
    near, far = naming.patch_ports(TRUNK)
    for name, peer in ((near, far), (far, near)):
        assert not ownership.patch_is_right(name, peer, TRUNK, is_on_own_bridge=is_on_own_bridge)


def test_names_of_patch_ports_are_the_ports_of_their_vif() -> None:
    assert {NEAR, FAR} <= set(ownership.port_names(builders.TAP))
    assert (len(NEAR), NEAR[:3], FAR[:3]) == (39, "pbp", "ibp")


# -- a trunk's ------------------------------------------------------------------------------------------------


def test_trunks_bridge_goes_with_the_last_vif(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([PARENT])
    assert (host.bridges[TBR].owner, host.bridges[TBR].datapath_type) == (TRUNK, "netdev")
    plugger.plug([OTHER])
    plugger.unplug([PARENT.id])
    assert TBR in host.bridges and inspect.check(plugger).clean
    plugger.unplug([OTHER.id])
    assert TBR not in host.bridges
    assert inspect.check(plugger).clean


def test_trunks_bridge_with_a_port_of_another_program_stays_as_an_orphan(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([PARENT])
    host.ports[STRANGER.name] = STRANGER
    plugger.unplug([PARENT.id])
    assert TBR in host.bridges and STRANGER.name in host.ports
    (orphan,) = gc.gc(plugger, delete=True).orphans
    assert (orphan.kind, orphan.name, orphan.vif_id) == ("ovs-bridge", TBR, TRUNK)
    assert TBR in host.bridges
    del host.ports[STRANGER.name]
    assert gc.gc(plugger, delete=True).deleted == (orphan,)
    assert TBR not in host.bridges


def test_trunks_bridge_of_another_program_is_joined_and_left(plugger: Plugger, host: FakeHost) -> None:
    host.bridges[TBR] = OvsBridge(name=TBR, datapath_type="netdev")
    plugger.plug([PARENT])
    assert host.bridges[TBR].owner == ""
    assert inspect.check(plugger).clean
    plugger.unplug([PARENT.id])
    assert TBR in host.bridges


def test_trunks_bridge_that_another_program_made_and_deleted_is_made_by_a_repair(
    plugger: Plugger, host: FakeHost
) -> None:
    host.bridges[TBR] = OvsBridge(name=TBR, datapath_type="netdev")
    plugger.plug([PARENT])
    del host.bridges[TBR], host.ports[naming.device("tap", builders.TAP)]
    survey = reconcile.survey(plugger, None)
    assert not survey.bridgeless
    assert {item.subject for item in survey.checks[PARENT.id].drift} == {TBR}
    assert reconcile.repair(plugger, [PARENT.id]) == {PARENT.id: None}
    assert host.bridges[TBR].owner == TRUNK and inspect.check(plugger).clean


def test_orphaned_trunks_bridge_is_taken_up_by_the_next_vif(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([PARENT])
    plugger.store.forget([PARENT.id])
    plugger.plug([PARENT])
    assert inspect.check(plugger).clean
    plugger.unplug([PARENT.id])
    assert TBR not in host.bridges


def test_failed_plug_takes_the_bridge_back_and_a_failed_move_gives_it_back(plugger: Plugger, host: FakeHost) -> None:
    host.fail_at = 3
    with pytest.raises(LinkError):
        plugger.plug([PARENT])
    assert TBR not in host.bridges and not host.ports
    plugger.plug([PARENT])
    host.stuck = True
    with pytest.raises(Exception, match="did not carry out"):
        plugger.plug([builders.vif("ovs", network={"bridge": "br-int"})])
    assert host.bridges[TBR].owner == TRUNK
    assert host.ports[naming.device("tap", builders.TAP)].bridge == TBR
    host.stuck = False
    assert inspect.check(plugger).clean


def test_operator_may_plug_into_a_trunk(plugger: Plugger, host: FakeHost) -> None:
    operator = Requester(uid=1002, every_vif=False)
    plugger.plug([PARENT], operator)
    plugger.unplug([PARENT.id], operator)
    plugger.plug([OWN], operator)
    assert PB in host.bridges


def test_no_bridge_is_made_without_the_one_that_it_is_to_be_like(tmp_path: pathlib.Path) -> None:
    host = FakeHost(bridges=("br-x",))
    with pytest.raises(BridgeMissing, match="'br-int' for the datapath of 'tbr-"):
        builders.plugger(tmp_path, host).plug([PARENT])
    assert not host.applied


@pytest.mark.parametrize("held", ["port", "link"])
def test_name_of_a_bridge_that_something_else_has_is_a_conflict(plugger: Plugger, host: FakeHost, held: str) -> None:
    if held == "port":
        host.ports[TBR] = OvsPort(name=TBR, bridge="br-int", ofport=1)
    else:
        host.links[TBR] = kinds.link_of("veth")(name=TBR, ifindex=9001)
    with pytest.raises(Conflict, match=TBR):
        plugger.plug([PARENT])
    assert not host.applied


# -- a VIF's own ----------------------------------------------------------------------------------------------


def ports_of(host: FakeHost) -> dict[str, str]:
    return {name: port.bridge for name, port in host.ports.items()}


def test_own_bridge_has_the_guest_and_the_patch_has_the_identity(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([builders.vif("ovs", per_port_bridge=True, isolate=True)])
    tap = naming.device("tap", builders.TAP)
    assert ports_of(host) == {tap: PB, NEAR: PB, FAR: "br-int"}
    assert host.bridges[PB].owner == builders.TAP
    assert {name for name, port in host.ports.items() if port.iface_ids} == {FAR}
    vlans = {name: (port.tag, port.vlan_mode, port.trunks) for name, port in host.ports.items()}
    assert vlans == {tap: (None, None, ()), NEAR: (None, None, ()), FAR: (4095, "trunk", (4095,))}


@pytest.mark.parametrize("was", [True, False])
def test_toggled_option_strands_nothing(tmp_path: pathlib.Path, host: FakeHost, was: bool) -> None:
    request = builders.vif("ovs")
    builders.plugger(tmp_path, host, per_port_bridge=was).plug([request])
    built, later = ports_of(host), builders.plugger(tmp_path, host, per_port_bridge=not was)
    assert (PB in host.bridges) is was
    applied = len(host.applied)
    later.plug([request])
    assert (ports_of(host), len(host.applied)) == (built, applied), "it keeps its way"
    assert inspect.check(later).clean
    later.repair([request.id])
    later.unplug([request.id])
    assert not host.ports and PB not in host.bridges and not host.links
    later.plug([request])
    assert (PB in host.bridges) is not was


@pytest.mark.parametrize("was", [True, False])
def test_other_way_asked_for_is_a_conflict_that_says_what_to_do(plugger: Plugger, host: FakeHost, was: bool) -> None:
    plugger.plug([builders.vif("ovs", per_port_bridge=was)])
    built = ports_of(host)
    with pytest.raises(Conflict, match="unplug it first"):
        plugger.plug([builders.vif("ovs", per_port_bridge=not was)])
    assert ports_of(host) == built


def test_own_bridge_is_for_ovs_alone() -> None:
    with pytest.raises(InputError, match="per_port_bridge: it is for VIFs of type ovs only"):
        Vif(id=builders.HYBRID, vif_type="ovs-hybrid", address="fa:16:3e:eb:5e:26", per_port_bridge=True)


def test_option_gives_no_own_bridge_to_other_types_and_in_trunks(tmp_path: pathlib.Path, host: FakeHost) -> None:
    plugger = builders.plugger(tmp_path, host, per_port_bridge=True)
    plugger.plug([PARENT, builders.vif("ovs-hybrid"), builders.vif("bridge")])
    assert set(host.bridges) == {"br-int", TBR}
    assert inspect.check(plugger).clean


def test_parent_of_a_trunk_has_no_own_bridge_and_gets_it_back(tmp_path: pathlib.Path, host: FakeHost) -> None:
    plugger = builders.plugger(tmp_path, host, per_port_bridge=True)
    plugger.plug([builders.vif("ovs")])
    plugger.plug([PARENT])
    assert set(host.bridges) == {"br-int", TBR} and inspect.check(plugger).clean
    plugger.plug([builders.vif("ovs", network={"bridge": "br-int"})])
    assert set(host.bridges) == {"br-int", PB} and inspect.check(plugger).clean
    assert {name for name, port in host.ports.items() if port.iface_ids} == {FAR}


def test_own_bridge_with_a_port_of_another_program_is_left_and_named(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([OWN])
    host.ports[STRANGER.name] = replace(STRANGER, bridge=PB)
    (report,) = plugger.unplug([OWN.id])
    assert any(PB in words and STRANGER.name in words for words in report.warnings)
    assert set(host.ports) == {STRANGER.name} and PB in host.bridges
    assert [orphan.name for orphan in gc.gc(plugger, delete=False).orphans] == [PB]


def test_own_bridge_that_lost_both_marks_is_foreign(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([OWN])
    host.bridges[PB] = replace(host.bridges[PB], owner="", born_to="")
    drift = inspect.check(plugger).vifs[0].drift
    assert [(item.subject, item.attribute) for item in drift] == [(PB, "owner")]
    with pytest.raises(Conflict, match=PB):
        plugger.repair([OWN.id])
    (report,) = plugger.unplug([OWN.id])
    assert any(f"ovs-vsctl del-br {PB}" in words for words in report.warnings)
    assert PB in host.bridges


def test_missing_integration_bridge_leaves_a_vif_with_an_own_bridge_waiting(plugger: Plugger, host: FakeHost) -> None:
    plugger.plug([OWN])
    del host.bridges["br-int"], host.ports[FAR]
    assert set(reconcile.survey(plugger, None).bridgeless) == {OWN.id}
    host.bridges["br-int"] = OvsBridge(name="br-int", datapath_type="netdev")
    del host.bridges[PB]
    assert not reconcile.survey(plugger, None).bridgeless, "a repair makes that one"


def test_path_leads_over_the_patch(plugger: Plugger) -> None:
    plugger.plug([OWN])
    path = inspect.path(plugger, OWN.id)
    tap = naming.device("tap", builders.TAP)
    assert [hop.name for hop in path.hops][1:] == [tap, tap, PB, NEAR, FAR, "br-int"]
    assert all(hop.joined for hop in path.hops[:-1])
