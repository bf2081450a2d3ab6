"""ovs in a trunk's bridge: made with the first VIF, deleted with the last; what Neutron's driver finds."""

from __future__ import annotations

import socket
import time

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.endpoints import Station, guest_on_tap, host_on_bridge
from tests.support.network.traffic import Sniffer, ping, transfer
from tests.support.network.writes import watched
from tests.support.vifs import (
    GUEST,
    HOST,
    INSTANCE,
    MTU,
    NETWORK,
    TRUNK,
    bridge_is_made_again,
    bridge_is_right,
    library,
    must_row,
)
from tests.support.world.daemons import wait_until
from tests.support.world.neutron_agent import Agent
from tests.support.world.neutron_reader import trunk
from tests.support.world.world import DATAPATH_TYPE, World
from vifplug import errors

MARK = "vifplug-vif"
TRUNK_ID, TBR = NETWORK, TRUNK.switch
SUBPORT, SUBPORT_MAC, SUBPORT_VLAN = "0b7cf8a2-2f0c-4a4b-8a51-6f0e5c9d77aa", "fa:16:3e:77:00:01", 101
SECOND = TRUNK.but(id="3fe5648f-4734-49a7-9fef-daa6f86f6799", address="fa:16:3e:95:3a:3d")
WIRE = (
    ("create_trunk", TRUNK.id, TRUNK.address),
    ("add_sub_port", SUBPORT, SUBPORT_MAC, SUBPORT_VLAN),
)
PARENT_END, SUBPORT_END = f"tpi-{TRUNK.id}"[:15], f"spi-{SUBPORT}"[:15]


def bridges(world: World) -> set[str]:
    return set(world.vsctl("list-br").split())


def test_bridge_is_made_with_its_port_in_one_transaction(world: World) -> None:
    number = int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg"))
    with library(world) as host:
        host.plug([TRUNK.vif])
    assert int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg")) == number + 1
    row = must_row(world, "Bridge", TBR)
    assert row["datapath_type"] == DATAPATH_TYPE
    (mark,) = row["external_ids"].items()
    assert mark[0] == "vifplug-vif" and mark[1].startswith("net:")
    assert (row["fail_mode"], row["controller"], row["stp_enable"]) == ([], [], False)
    assert must_row(world, "Interface", TRUNK.tap)["external_ids"] == {
        "iface-id": TRUNK.id,
        "iface-status": "active",
        "attached-mac": TRUNK.address,
        "vm-uuid": INSTANCE,
        "bridge_name": TBR,
    }
    port = must_row(world, "Port", TRUNK.tap)
    assert (port["tag"], port["vlan_mode"], port["trunks"]) == ([], [], [])


def test_datapath_of_the_bridge_is_the_integration_bridges(world: World) -> None:
    world.imitate_kernel_datapath()
    world.vsctl("set", "Bridge", "br-int", "datapath_type=system")
    with library(world) as host:
        host.plug([TRUNK.vif])
        assert must_row(world, "Bridge", TBR)["datapath_type"] == "system"
        assert len(world.rows("QoS")) == 1
        host.unplug([TRUNK.id])
    assert bridges(world) == {"br-int"} and not world.rows("QoS")


def test_bridge_is_shared_and_goes_with_the_last(world: World) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([TRUNK.vif])
        uuid = must_row(world, "Bridge", TBR)["_uuid"]
        host.plug([SECOND.vif])
        with watched(world) as writes:
            host.plug([TRUNK.vif, SECOND.vif])
        assert writes.none, writes
        host.unplug([TRUNK.id])
        assert must_row(world, "Bridge", TBR)["_uuid"] == uuid
        assert host.check().clean
        host.unplug([SECOND.id])
    assert world.snapshot() == before


def test_neutrons_trunk_driver_reads_wires_and_takes_away(world: World) -> None:
    """LP 1869244, 1997025, 2095000: what the agent looks for is there, and what it has made goes when it says so."""
    before = world.snapshot()
    with library(world) as host:
        host.plug([TRUNK.vif])
        assert trunk(world, TRUNK_ID, *WIRE) == {
            "name": TBR,
            "is_there": True,
            "is_trunks": True,
            "has_instance_port": True,
            "parent": TRUNK.tap,
            "parent_id": TRUNK.id,
            "bridge_name": TBR,
        }
        # Its patch has the parent port's identity; vifplug neither refuses that nor touches it.
        wired = world.snapshot()
        with watched(world) as writes:
            host.plug([TRUNK.vif])
        assert writes.none, writes
        assert host.check().clean
        world.vsctl("del-port", TRUNK.tap)
        host.repair([TRUNK.id])
        assert world.snapshot() == wired
        host.unplug([TRUNK.id])
        assert bridges(world) == {"br-int"}, "patch ports alone do not keep it"
        assert set(world.vsctl("list-ports", "br-int").split()) == {PARENT_END, SUBPORT_END}, "those are the agent's"
        gone = trunk(world, TRUNK_ID, ("remove_sub_port", SUBPORT), ("remove_trunk", TRUNK.id))
        assert gone == {"name": TBR, "is_there": False}
    assert world.snapshot() == before


def test_guest_talks_untagged_and_tagged_through_the_trunk(world: World) -> None:
    with library(world) as host_:
        host_.plug([TRUNK.vif])
        trunk(world, TRUNK_ID, *WIRE)
        world.vsctl("set", "Port", PARENT_END, "tag=3", "--", "set", "Port", SUBPORT_END, "tag=4")
        with (
            guest_on_tap(world, TRUNK.tap, TRUNK.address, GUEST, MTU) as guest,
            host_on_bridge(world, "br-int", HOST) as host,
        ):
            outer = next(port for port in world.vsctl("list-ports", "br-int").split() if port.startswith("station"))
            world.vsctl("set", "Port", outer, "tag=3")
            assert ping(guest, HOST) and transfer(host, guest)
            # The tagged half as raw frames: not every kernel that runs tests has VLAN devices.
            assert not heard_on(world, guest, outer)
            world.vsctl("set", "Port", outer, "tag=4")
            assert heard_on(world, guest, outer)
            assert not ping(guest, HOST, count=1)


def heard_on(world: World, guest: Station, device: str) -> bool:
    """Whether a frame that the guest sends in the subport's VLAN leaves by a device of the world, untagged."""
    payload = b"\x88\xb5" + bytes(46)
    source = bytes.fromhex(SUBPORT_MAC.replace(":", ""))
    frame = b"\xff" * 6 + source + b"\x81\x00" + SUBPORT_VLAN.to_bytes(2, "big") + payload
    with guest.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((guest.device, 0))
        with Sniffer(world, device, lambda seen: seen.data[6:12] == source) as sniffer:
            for _frame in range(5):
                sender.send(frame)
                time.sleep(0.1)
    return any(seen.data[12:14] == payload[:2] for seen in sniffer.frames)


def test_parent_is_wired_once_the_agent_has_its_patch(world: World) -> None:
    agent = Agent(world)
    with library(world) as host:
        host.plug([TRUNK.vif])
        assert host.get(TRUNK.id).state == "plugged"
        trunk(world, TRUNK_ID, *WIRE)
        assert host.get(TRUNK.id).state == "plugged"
        agent.wire(PARENT_END)
        assert host.get(TRUNK.id).state == "wired"


def test_bridge_of_os_vif_is_joined_and_left_to_it(world: World) -> None:
    world.add_bridge(TBR)
    before = world.snapshot()
    with library(world) as host:
        host.plug([TRUNK.vif])
        assert host.check().clean
        assert must_row(world, "Bridge", TBR)["external_ids"] == {}
        host.unplug([TRUNK.id])
    assert world.snapshot() == before


def test_bridge_with_a_port_of_another_program_stays_and_is_collected_without_it(world: World) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([TRUNK.vif])
        world.vsctl("add-port", TBR, "theirs", "--", "set", "Interface", "theirs", "type=internal")
        host.unplug([TRUNK.id])
        assert set(world.vsctl("list-ports", TBR).split()) == {"theirs"}
        (orphan,) = host.check().orphans
        assert (orphan.kind, orphan.name) == ("ovs-bridge", TBR)
        assert host.gc(delete=True).deleted == ()
        world.vsctl("del-port", "theirs")
        assert [one.name for one in host.gc(delete=True).deleted] == [TBR]
    assert world.snapshot() == before


def test_missing_integration_bridge_is_an_error_and_nothing_is_made(world: World) -> None:
    world.vsctl("del-br", "br-int")
    before = world.snapshot()
    with library(world) as host, pytest.raises(errors.BridgeMissing):
        host.plug([TRUNK.vif])
    assert world.snapshot() == before


def test_lost_store_leaves_orphans_that_gc_deletes(world: World) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([TRUNK.vif])
    (world.state_dir / "vifplug.db").unlink()
    with library(world) as host:
        assert {orphan.kind for orphan in host.check().orphans} == {"tap", "ovs-port", "ovs-bridge"}
        host.gc(delete=True)
        assert host.check().clean
    assert world.snapshot() == before


def test_daemon_makes_a_deleted_bridge_again_and_frames_pass(world: World) -> None:
    with Vifplugd(world) as daemon:
        status, body = daemon.request("PUT", f"/v1/vifs/{TRUNK.id}", TRUNK.document)
        assert status == 200, body
        with guest_on_tap(world, TRUNK.tap, TRUNK.address, GUEST, MTU) as guest, host_on_bridge(world, TBR, HOST):
            assert ping(guest, HOST)
            before = must_row(world, "Bridge", TBR)["_uuid"]
            world.vsctl("--no-wait", "del-br", TBR)
            wait_until(lambda: bridge_is_made_again(world, TBR, before), "the bridge", 20)
            wait_until(lambda: daemon.vifs()[TRUNK.id]["state"] == "active", "the VIF", 20)
            # The host's cable went with the bridge.
            outer = next(link["ifname"] for link in world.ip("link", "show") if link["ifname"].startswith("station"))
            world.vsctl("add-port", TBR, outer)
            assert ping(guest, HOST)
        # What another program sets on it is put right as it comes.
        world.vsctl("--no-wait", "set", "Bridge", TBR, "fail_mode=secure", "--", "br-set-external-id", TBR, MARK)
        wait_until(lambda: bridge_is_right(world, TBR), "the bridge put right", 20)
