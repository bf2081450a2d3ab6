"""What holds on the kernel's datapath alone: QoS rows, offloads left on, VLAN devices, what sysfs shows.

They run in the booted host (``tools/test --host functional``), or wherever the kernel has Open vSwitch's module:
``VIFPLUG_DATAPATH_TYPE=system tools/test --functional -k kernel_datapath``.
"""

from __future__ import annotations

import pytest

from tests.support.network.endpoints import guest_in_bridge, guest_on_tap, host_on_bridge
from tests.support.network.traffic import ping, transfer
from tests.support.vifs import BRIDGE, GUEST, HOST, HYBRID, MTU, OVS, Request, library, must_link, must_row, offloads
from tests.support.world.world import World

pytestmark = pytest.mark.kernel_datapath

DATAPATH = "ovs-system"
VLAN = "7"
TAGGED_HOST = "10.9.0.253"


@pytest.mark.parametrize("request_", [HYBRID, OVS], ids=["ovs-hybrid", "ovs"])
def test_port_is_of_the_kernels_datapath_with_a_qos_row_and_both_go_together(world: World, request_: Request) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([request_.vif])
        (qos,) = world.rows("QoS", "_uuid", "type", "external_ids")
        assert (qos["type"], qos["external_ids"]) == ("linux-noop", {"vifplug-vif": request_.id})
        assert must_row(world, "Port", request_.port)["qos"] == qos["_uuid"]
        assert f": {request_.port}\n" in world.appctl("dpctl/show")
        assert must_link(world, request_.port)["master"] == DATAPATH
        assert host.check().clean
        host.unplug([request_.id])
    assert f": {request_.port}\n" not in world.appctl("dpctl/show")
    assert world.snapshot() == before


def test_offloads_are_left_on_and_tcp_passes_with_checksums_left_to_hardware(world: World) -> None:
    with library(world) as host_:
        host_.plug([HYBRID.vif])
    assert all(offloads(world, name) for name in (HYBRID.qvb, HYBRID.qvo))
    with (
        guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, HYBRID.address) as guest,
        host_on_bridge(world, "br-int", HOST, MTU) as host,
    ):
        for station in (guest, host):
            station.run("ethtool", "-K", station.device, "tx", "on")
        assert transfer(host, guest)
        assert transfer(guest, host)


def test_sysfs_shows_the_port_below_the_datapath_and_the_bridges_settings(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
    qbr = f"/sys/class/net/{HYBRID.qbr}"
    script = (
        "mount -t sysfs sysfs /sys; "
        f"cat {qbr}/bridge/stp_state {qbr}/bridge/forward_delay {qbr}/bridge/ageing_time "
        f"{qbr}/bridge/multicast_snooping {qbr}/mtu {qbr}/ifalias; ls {qbr}/brif; "
        f"basename $(readlink /sys/class/net/{HYBRID.qvo}/master)"
    )
    seen = world.run("unshare", "--mount", "sh", "-ec", script).stdout.split()
    assert seen == ["0", "0", "0", "0", str(MTU), f"vifplug:{HYBRID.id}", HYBRID.qvb, DATAPATH]


@pytest.mark.parametrize("request_", [HYBRID, OVS], ids=["ovs-hybrid", "ovs"])
def test_guest_in_a_vlan_is_heard_by_the_vlan_device_of_a_trunk_alone(world: World, request_: Request) -> None:
    with library(world) as host_:
        host_.plug([request_.vif])
        world.vsctl("set", "Port", request_.port, f"tag={VLAN}")
        guest_ = (
            guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, HYBRID.address)
            if request_ is HYBRID
            else guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU)
        )
        with guest_ as guest, host_on_bridge(world, "br-int", HOST) as trunk:
            trunk.run("ip", "link", "add", "link", trunk.device, "name", "vlan7", "type", "vlan", "id", VLAN)
            trunk.run("ip", "address", "add", f"{TAGGED_HOST}/32", "dev", "vlan7")
            trunk.run("ip", "link", "set", "vlan7", "up")
            trunk.run("ip", "route", "add", f"{GUEST}/32", "dev", "vlan7")
            trunk.run("sysctl", "-q", "net.ipv4.conf.all.arp_ignore=1")
            assert ping(guest, TAGGED_HOST, MTU)
            assert not ping(guest, HOST, count=1), "its frames are tagged, and the untagged device answers none"
        assert host_.check().clean


def test_bridge_with_a_vlan_device_as_its_uplink_carries_the_guests_frames_tagged(world: World) -> None:
    with library(world) as host_, host_on_bridge(world, "br-int", HOST) as trunk:
        host_.plug([BRIDGE.vif])
        world.ip("link", "add", "uplink", "type", "veth", "peer", "uplink-ovs")
        world.ip("link", "add", "link", "uplink", "name", "uplink.7", "type", "vlan", "id", VLAN)
        world.ip("link", "set", "uplink.7", "master", BRIDGE.brq)
        for name in ("uplink", "uplink-ovs", "uplink.7"):
            world.ip("link", "set", name, "up")
        world.vsctl("add-port", "br-int", "uplink-ovs")
        trunk.run("ip", "link", "add", "link", trunk.device, "name", "vlan7", "type", "vlan", "id", VLAN)
        trunk.run("ip", "address", "add", f"{TAGGED_HOST}/24", "dev", "vlan7")
        trunk.run("ip", "link", "set", "vlan7", "up")
        trunk.run("ip", "route", "add", f"{GUEST}/32", "dev", "vlan7")
        with guest_on_tap(world, BRIDGE.tap, BRIDGE.address, GUEST, MTU) as guest:
            assert ping(guest, TAGGED_HOST, MTU)
            assert host_.check().clean
            host_.unplug([BRIDGE.id])
        assert must_link(world, "uplink.7")["master"] == BRIDGE.brq, "an uplink that is not ours keeps its bridge"
