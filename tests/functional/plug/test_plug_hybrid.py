"""ovs-hybrid on a real kernel and a real Open vSwitch: every setting, and packets that cross it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.network.endpoints import Station, guest_in_bridge, host_on_bridge
from tests.support.network.traffic import ping, transfer
from tests.support.network.writes import watched
from tests.support.vifs import GUEST, HOST, HYBRID, INSTANCE, MTU, conf, library, must_link, must_row, offloads
from tests.support.world import neutron_reader
from tests.support.world.world import DATAPATH_TYPE, World

SAMPLE = "ml2ovs_hybrid_port_get_active_1.json"
HOST_ADDRESS = "10.9.0.100"


@pytest.fixture
def plugged(world: World, samples: Path) -> dict[str, Any]:
    """A real Neutron port, plugged by the command line; what it printed of the VIF."""
    argv = ("plug", str(samples / SAMPLE), "--instance-uuid", INSTANCE, "--mtu", str(MTU))
    (vif,) = world.vifplug_json(*argv)["vifs"]
    assert isinstance(vif, dict)
    return vif


def is_up(link: dict[str, Any]) -> bool:
    return "UP" in link["flags"]


def test_neutron_port_plugged_bridge_has_every_setting(world: World, plugged: dict[str, Any]) -> None:
    link = must_link(world, HYBRID.qbr)
    settings = link["linkinfo"]["info_data"]
    assert link["linkinfo"]["info_kind"] == "bridge"
    assert (settings["stp_state"], settings["forward_delay"], settings["ageing_time"]) == (0, 0, 0)
    assert settings["mcast_snooping"] == 0
    assert conf(world, HYBRID.qbr, "disable_ipv6") == 1
    assert conf(world, HYBRID.qbr, "accept_ra") == 0
    assert conf(world, HYBRID.qbr, "arp_ignore", "ipv4") == 1
    assert conf(world, HYBRID.qbr, "arp_announce", "ipv4") == 2
    assert is_up(link)
    assert link["mtu"] == MTU
    assert link["ifalias"] == f"vifplug:{HYBRID.id}"


def test_neutron_port_plugged_veth_ends_have_every_setting(world: World, plugged: dict[str, Any]) -> None:
    for name, peer, master in ((HYBRID.qvb, HYBRID.qvo, HYBRID.qbr), (HYBRID.qvo, HYBRID.qvb, None)):
        link = must_link(world, name)
        assert (link["linkinfo"]["info_kind"], link["link"]) == ("veth", peer)
        assert link.get("master") in (master, *(["ovs-system"] if DATAPATH_TYPE == "system" else []))
        assert link["mtu"] == MTU
        assert is_up(link)
        # The flag that is ours: a bridge or OVS adds to the count and sets no flag.
        assert "PROMISC" in link["flags"]
        # By default the kernel allocates one per possible processor, and uses the first alone.
        assert (link["num_tx_queues"], link["num_rx_queues"]) == (1, 1)
        assert conf(world, name, "disable_ipv6") == 1
        assert conf(world, name, "accept_ra") == 0
        assert offloads(world, name) == (DATAPATH_TYPE == "system")
        assert link["ifalias"] == f"vifplug:{HYBRID.id}"
        assert int(link["address"][:2], 16) & 3 == 2, "locally administered and unicast"
    addresses = {must_link(world, name)["address"] for name in (HYBRID.qbr, HYBRID.qvb, HYBRID.qvo)}
    assert len(addresses) == 3


def test_neutron_port_plugged_rows_carry_what_nova_writes_and_a_mark(world: World, plugged: dict[str, Any]) -> None:
    interface, port = must_row(world, "Interface", HYBRID.qvo), must_row(world, "Port", HYBRID.qvo)
    assert interface["external_ids"] == {
        "iface-id": HYBRID.id,
        "iface-status": "active",
        "attached-mac": HYBRID.address,
        "vm-uuid": INSTANCE,
    }
    assert interface["ofport"] > 0
    assert interface["error"] == []
    assert interface["type"] == ""
    assert port["external_ids"] == {"vifplug-vif": HYBRID.id}
    # Nobody asked for isolation; QoS is for kernel datapaths.
    assert (port["tag"], port["vlan_mode"], port["trunks"]) == ([], [], [])
    assert world.vsctl("port-to-br", HYBRID.qvo) == "br-int"
    qos = [row["_uuid"] for row in world.rows("QoS")]
    assert (len(qos), port["qos"]) == ((1, qos[0]) if DATAPATH_TYPE == "system" else (0, []))


def test_neutron_port_plugged_neutron_finds_it(world: World, plugged: dict[str, Any]) -> None:
    expected = {
        "port_name": HYBRID.qvo,
        "ofport": must_row(world, "Interface", HYBRID.qvo)["ofport"],
        "vif_id": HYBRID.id,
        "vif_mac": HYBRID.address,
    }
    assert neutron_reader.vif_port(world, HYBRID.id) == expected


def test_neutron_port_plugged_is_reported_as_it_is(world: World, plugged: dict[str, Any]) -> None:
    ofport = must_row(world, "Interface", HYBRID.qvo)["ofport"]
    assert plugged["state"] == "plugged"
    assert plugged["waiting_for"] == HYBRID.tap
    assert plugged["ports"] == [{"bridge": "br-int", "name": HYBRID.qvo, "ofport": ofport, "tag": None}]
    assert [(link["name"], link["kind"], link["mtu"]) for link in plugged["devices"]] == [
        (HYBRID.qbr, "bridge", MTU),
        (HYBRID.qvb, "veth", MTU),
        (HYBRID.qvo, "veth", MTU),
    ]
    with guest_in_bridge(world, HYBRID.qbr, GUEST, outer=HYBRID.tap):
        assert world.vifplug_json("show", HYBRID.id)["waiting_for"] is None


def test_guest_in_bridge_passes_tcp_and_exactly_the_mtu(world: World) -> None:
    with library(world) as host_:
        host_.plug([HYBRID.vif])
    with (
        guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, HYBRID.address, outer=HYBRID.tap) as guest,
        host_on_bridge(world, "br-int", HOST) as host,
    ):
        # As a virtual machine does: checksums are left to whom they concern, and that is qvb.
        guest.run("ethtool", "-K", guest.device, "tx", "on")
        assert transfer(host, guest)
        assert transfer(guest, host)
        # A guest that believes in more than it was told: the path says no, not the guest.
        guest.run("ip", "link", "set", guest.device, "mtu", "1500")
        world.ip("link", "set", HYBRID.tap, "mtu", "1500")
        assert ping(guest, HOST, MTU)
        assert not ping(guest, HOST, MTU + 1, count=1)
        assert ping(host, GUEST, MTU)
        assert not ping(host, GUEST, MTU + 1, count=1)


@pytest.mark.userspace_datapath  # the kernel's takes the frames of its ports before the host's stack sees them
def test_arp_for_an_address_of_the_host_is_not_answered(world: World) -> None:
    world.ip("address", "add", f"{HOST_ADDRESS}/32", "dev", "lo")
    with library(world) as host_:
        host_.plug([HYBRID.vif])
    with guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, outer=HYBRID.tap) as guest:
        assert not is_answered(guest, HOST_ADDRESS)
        # Both links on which the guest's frames meet the host's stack must guard against it: either would answer.
        # qvo is one of them, because a userspace datapath is given copies.
        for name in (HYBRID.qbr, HYBRID.qvo):
            path = f"/proc/sys/net/ipv4/conf/{name}/arp_ignore"
            world.run("sh", "-c", f"echo 0 > {path}")
            assert is_answered(guest, HOST_ADDRESS)
            world.run("sh", "-c", f"echo 1 > {path}")


def is_answered(guest: Station, address: str) -> bool:
    """Whether anybody answers the guest's ARP for an address."""
    guest.run("ip", "neigh", "flush", "all")
    guest.run("ping", "-n", "-c", "1", "-W", "0.3", address, check=False)
    return "lladdr" in guest.run("ip", "neigh", "show", address).stdout


def test_second_plug_writes_nothing(world: World, samples: Path, plugged: dict[str, Any]) -> None:
    before = world.snapshot()
    with watched(world) as control:
        world.ip("link", "set", HYBRID.qvb, "alias", "noticed")
        world.vsctl("set", "Port", HYBRID.qvo, "tag=1")
    assert control.links
    assert (control.transactions, control.next_cfg) == (2, 1)  # vswitchd's cur_cfg is the second
    world.ip("link", "set", HYBRID.qvb, "alias", f"vifplug:{HYBRID.id}")
    world.vsctl("clear", "Port", HYBRID.qvo, "tag")
    with watched(world) as writes:
        again = world.vifplug_json("plug", str(samples / SAMPLE), "--instance-uuid", INSTANCE, "--mtu", str(MTU))
    assert writes.none, writes
    assert again["vifs"] == [plugged]
    assert world.snapshot() == before


def test_request_silent_on_mtu_and_instance_keeps_the_recorded(
    world: World, samples: Path, plugged: dict[str, Any]
) -> None:
    with watched(world) as writes:
        world.vifplug("plug", str(samples / SAMPLE))
    assert writes.none, writes
    assert must_link(world, HYBRID.qvo)["mtu"] == MTU


def test_instance_given_later_is_written_then_and_kept(world: World) -> None:
    anonymous = HYBRID.but(instance=None)
    with library(world) as host:
        host.plug([anonymous.vif])
        ids = must_row(world, "Interface", HYBRID.qvo)["external_ids"]
        assert ids == {"iface-id": HYBRID.id, "iface-status": "active", "attached-mac": HYBRID.address}
        for request in (HYBRID, anonymous):
            host.plug([request.vif])
            assert must_row(world, "Interface", HYBRID.qvo)["external_ids"] == {**ids, "vm-uuid": INSTANCE}


def test_explicit_names_are_used_and_kept(world: World) -> None:
    before = world.snapshot()
    names = {"qbr": "mine-br", "qvb": "mine-b", "qvo": "mine-o"}
    with library(world) as host:
        host.plug([HYBRID.but(names=names).vif])
        made = world.snapshot()
        new = {f"link {name}" for name in names.values()} | {"Port mine-o", "Interface mine-o"}
        assert made.keys() - before.keys() == new
        host.plug([HYBRID.vif])
        assert world.snapshot() == made
        host.unplug([HYBRID.id])
    assert world.snapshot() == before


def test_other_ovs_bridge_in_a_replug_port_moves_with_all_it_carries(world: World) -> None:
    world.add_bridge("br-two")
    with library(world) as host_:
        host_.plug([HYBRID.vif])
        world.vsctl("set", "Port", HYBRID.qvo, "other_config:theirs=1")
        uuid = must_row(world, "Port", HYBRID.qvo)["_uuid"]
        host_.plug([HYBRID.but(network={"bridge": "br-two"}).vif])
        port = must_row(world, "Port", HYBRID.qvo)
        assert world.vsctl("port-to-br", HYBRID.qvo) == "br-two"
        assert (port["_uuid"], port["other_config"]) == (uuid, {"theirs": "1"})
        with guest_in_bridge(world, HYBRID.qbr, GUEST, MTU) as guest, host_on_bridge(world, "br-two", HOST):
            assert ping(guest, HOST)


def test_vif_unplugged_leaves_the_world_as_it_was(world: World, samples: Path) -> None:
    before = world.snapshot()
    world.vifplug("plug", str(samples / SAMPLE), "--mtu", str(MTU))
    assert world.snapshot() != before
    with guest_in_bridge(world, HYBRID.qbr, GUEST, outer=HYBRID.tap):
        world.vifplug("unplug", HYBRID.id)
        tap = must_link(world, HYBRID.tap)
        assert "master" not in tap, "the guest's tap survives"
    assert world.snapshot() == before
    assert world.vifplug_json("list") == {"vifs": []}
    world.vifplug("unplug", HYBRID.id)
