"""ovs with per_port_bridge: the tap on a bridge of the VIF's own, and a patch to the integration bridge."""

from __future__ import annotations

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.endpoints import guest_on_tap, host_on_bridge
from tests.support.network.traffic import ping, transfer
from tests.support.network.writes import watched
from tests.support.vifs import (
    GUEST,
    HOST,
    INSTANCE,
    MTU,
    OVS,
    OWN_BRIDGE,
    bridge_is_made_again,
    bridge_is_right,
    library,
    must_row,
)
from tests.support.world.daemons import wait_until
from tests.support.world.neutron_reader import vif_port
from tests.support.world.ovn import Ovn
from tests.support.world.world import DATAPATH_TYPE, World
from vifplug import errors

MARK = "vifplug-vif"
OPTION = {"per_port_bridge": "true"}
PB, NEAR, FAR = OWN_BRIDGE.pb, OWN_BRIDGE.pbp, OWN_BRIDGE.ibp


def vlans(world: World, port: str) -> tuple[object, object, object]:
    row = must_row(world, "Port", port)
    return row["tag"], row["vlan_mode"], row["trunks"]


def test_option_gives_a_bridge_a_patch_and_the_identity_at_its_far_end(world: World) -> None:
    world.write_config(ovs={**OPTION, "isolate": "true"})
    before = world.snapshot()
    number = int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg"))
    with library(world) as host:
        (report,) = host.plug([OVS.vif])
        assert int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg")) == number + 1
        assert (report.bridge, [port.name for port in report.ports]) == ("br-int", [OVS.tap, NEAR, FAR])
        assert set(world.vsctl("list-ports", PB).split()) == {OVS.tap, NEAR}
        assert world.vsctl("port-to-br", FAR) == "br-int"
        row = must_row(world, "Bridge", PB)
        assert (row["external_ids"], row["datapath_type"]) == ({"vifplug-vif": OVS.id}, DATAPATH_TYPE)
        for end, peer in ((NEAR, FAR), (FAR, NEAR)):
            interface = must_row(world, "Interface", end)
            assert (interface["type"], interface["options"]) == ("patch", {"peer": peer})
            assert interface["ofport"] > 0
        ids = {"iface-id": OVS.id, "iface-status": "active", "attached-mac": OVS.address, "vm-uuid": INSTANCE}
        assert must_row(world, "Interface", FAR)["external_ids"] == ids
        for port in (OVS.tap, NEAR):
            assert must_row(world, "Interface", port)["external_ids"] == {}
            assert vlans(world, port) == ([], [], []), "no agent would ever end an isolation there (PARITY D9)"
        assert vlans(world, FAR) == (4095, "trunk", 4095)
        with watched(world) as writes:
            host.plug([OVS.vif])
        assert writes.none, writes
        host.unplug([OVS.id])
    assert world.snapshot() == before


def test_isolated_guest_is_not_heard_before_the_far_end_is_wired(world: World) -> None:
    with library(world) as host_:
        host_.plug([OWN_BRIDGE.but(isolate=True).vif])
        with (
            guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest,
            host_on_bridge(world, "br-int", HOST) as host,
        ):
            assert not ping(guest, HOST, count=1)
            outer = next(port for port in world.vsctl("list-ports", "br-int").split() if port.startswith("station"))
            world.vsctl("set", "Port", FAR, "tag=7", "vlan_mode=[]", "trunks=[]", "--", "set", "Port", outer, "tag=7")
            assert ping(guest, HOST, MTU)
            assert transfer(guest, host) and transfer(host, guest)
            assert host_.check().clean


def test_vmms_tap_is_waited_for_on_the_own_bridge(world: World) -> None:
    request = OWN_BRIDGE.but(create_tap=False)
    with library(world) as host_, host_on_bridge(world, "br-int", HOST):
        (report,) = host_.plug([request.vif])
        assert (report.state, report.waiting_for) == ("plugged", OVS.tap)
        assert must_row(world, "Interface", FAR)["ofport"] > 0, "OVN needs it before the guest arrives (LP 1933517)"
        assert host_.check().clean
        for _guest in range(2):
            with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
                world.ip("link", "set", OVS.tap, "up")
                assert ping(guest, HOST)
            host_.plug([request.vif])
            assert host_.check().clean


def test_neutron_finds_the_far_end(world: World) -> None:
    with library(world) as host:
        host.plug([OWN_BRIDGE.vif])
    found = vif_port(world, OVS.id)
    assert found is not None
    assert (found["port_name"], found["vif_mac"]) == (FAR, OVS.address)


def test_ovn_installs_flows_before_the_vmm_has_made_the_tap(world: World) -> None:
    with Ovn(world) as ovn, library(world) as host:
        ovn.add_port(OVS.id, OVS.address, GUEST)
        host.plug([OWN_BRIDGE.but(create_tap=False).vif])
        host.wait([OVS.id], "wired", timeout=20)
        assert must_row(world, "Interface", FAR)["external_ids"]["ovn-installed"] == "true"
        assert world.link(OVS.tap) is None


@pytest.mark.parametrize("was", ["true", "false"])
def test_toggled_option_strands_nothing(world: World, was: str) -> None:
    """PARITY D8: os-vif left the bridge and the far end behind."""
    before = world.snapshot()
    world.write_config(ovs={"per_port_bridge": was})
    with library(world) as host:
        host.plug([OVS.vif])
    plugged = world.snapshot()
    world.write_config(ovs={"per_port_bridge": "false" if was == "true" else "true"})
    with library(world) as host:
        with watched(world) as writes:
            host.plug([OVS.vif])
            assert host.check().clean
        assert writes.none, writes
        assert world.snapshot() == plugged, "a plugged VIF keeps its way"
        with pytest.raises(errors.Conflict, match="unplug it first"):
            host.plug([OVS.but(per_port_bridge=was == "false").vif])
        host.unplug([OVS.id])
    assert world.snapshot() == before


def test_bridge_of_os_vif_is_a_conflict_and_stays(world: World) -> None:
    world.add_bridge(PB)
    before = world.snapshot()
    with library(world) as host, pytest.raises(errors.Conflict, match=PB):
        host.plug([OWN_BRIDGE.vif])
    assert world.snapshot() == before


def test_port_of_another_program_keeps_the_bridge_and_is_named(world: World) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([OWN_BRIDGE.vif])
        world.vsctl("add-port", PB, "theirs", "--", "set", "Interface", "theirs", "type=internal")
        (report,) = host.unplug([OVS.id])
        assert any(PB in words and "theirs" in words for words in report.warnings)
        assert set(world.vsctl("list-ports", PB).split()) == {"theirs"}
        world.vsctl("del-port", "theirs")
        assert [one.name for one in host.gc(delete=True).deleted] == [PB]
    assert world.snapshot() == before


def test_lost_store_leaves_orphans_that_gc_deletes(world: World) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([OWN_BRIDGE.vif])
    (world.state_dir / "vifplug.db").unlink()
    with library(world) as host:
        names = {orphan.name for orphan in host.check().orphans}
        assert names == {OVS.tap, NEAR, FAR, PB}
        host.gc(delete=True)
        assert host.check().clean
    assert world.snapshot() == before


def test_daemon_makes_a_deleted_bridge_again_and_frames_pass(world: World) -> None:
    with Vifplugd(world) as daemon:
        status, body = daemon.request("PUT", f"/v1/vifs/{OWN_BRIDGE.id}", OWN_BRIDGE.document)
        assert status == 200, body
        with (
            guest_on_tap(world, OWN_BRIDGE.tap, OWN_BRIDGE.address, GUEST, MTU) as guest,
            host_on_bridge(world, "br-int", HOST),
        ):
            assert ping(guest, HOST)
            before = must_row(world, "Bridge", PB)["_uuid"]
            world.vsctl("--no-wait", "del-br", PB)
            wait_until(lambda: bridge_is_made_again(world, PB, before), "the bridge", 20)
            wait_until(lambda: daemon.vifs()[OWN_BRIDGE.id]["state"] == "active", "the VIF", 20)
            assert ping(guest, HOST)
        # What another program sets on it is put right as it comes.
        world.vsctl("--no-wait", "set", "Bridge", PB, "fail_mode=secure", "--", "br-set-external-id", PB, MARK)
        wait_until(lambda: bridge_is_right(world, PB), "the bridge put right", 20)
