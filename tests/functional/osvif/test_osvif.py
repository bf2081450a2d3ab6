"""Through the real os-vif: a process that calls os_vif.plug plugs through vifplug, and knows nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.writes import watched
from tests.support.vifs import BRIDGE, HYBRID, INSTANCE, LONE_TAP, MTU, OVS, Request, conf, must_link, must_row
from tests.support.world.compute import Compute, VifObject, direct, generic, hybrid, linux_bridge, network, on
from tests.support.world.world import REPOSITORY, World

OURS = "vifplug-vif"
VHOST = "vhu" + OVS.id[:11]


@dataclass(frozen=True)
class Host:
    """A compute host: os-vif takes a second to import, the daemon as long to start."""

    world: World
    daemon: Vifplugd
    compute: Compute


@pytest.fixture(scope="module")
def shared() -> Iterator[Host]:
    with World() as world:
        world.add_bridge("br-int")
        with Compute(world) as compute, Vifplugd(world) as daemon:
            yield Host(world, daemon, compute)


@pytest.fixture
def host(shared: Host) -> Iterator[Host]:
    """The host of several tests, each of which leaves nothing on it."""
    before = shared.world.snapshot()
    yield shared
    assert shared.daemon.vifs() == {}
    assert shared.world.snapshot() == before


def ids_of(request: Request) -> dict[str, str]:
    """What Nova and Neutron agreed on for Interface.external_ids."""
    ids = {"iface-status": "active", "vm-uuid": INSTANCE}
    return {**ids, "iface-id": request.id, "attached-mac": request.address}


@pytest.mark.parametrize("via", ["daemon", "local"])
def test_every_kind_is_plugged_as_nova_expects_and_leaves_nothing(host: Host, via: str) -> None:
    world, compute = host.world, host.compute
    vifs = [hybrid(HYBRID), direct(OVS, create_tap=True), linux_bridge(BRIDGE)]
    with compute.configured(via=via):
        for vif in vifs:
            compute.plug(vif)
        assert_hybrid(world)
        assert_tap(world)
        brq = must_link(world, BRIDGE.brq)["linkinfo"]["info_data"]
        assert (brq["ageing_time"], brq["stp_state"]) == (30000, 0)
        assert world.link(BRIDGE.tap) is None, "libvirt makes it"
        with watched(world) as writes:
            for vif in vifs:
                compute.plug(vif)
        assert writes.none, writes
        for vif in vifs * 2:
            compute.unplug(vif)


def assert_hybrid(world: World) -> None:
    """Names, settings and ids of PARITY 2.2 to 2.4."""
    qbr = must_link(world, HYBRID.qbr)
    settings = qbr["linkinfo"]["info_data"]
    said = [settings[key] for key in ("stp_state", "forward_delay", "ageing_time", "mcast_snooping")]
    assert (said, qbr["mtu"]) == ([0, 0, 0, 0], MTU)
    assert conf(world, HYBRID.qbr, "disable_ipv6") == 1
    assert [conf(world, HYBRID.qbr, key, "ipv4") for key in ("arp_ignore", "arp_announce")] == [1, 2]
    for name in (HYBRID.qvb, HYBRID.qvo):
        link = must_link(world, name)
        assert (link["mtu"], link["linkinfo"]["info_kind"]) == (MTU, "veth")
        assert {"UP", "PROMISC"} <= set(link["flags"])
    assert must_link(world, HYBRID.qvb)["master"] == HYBRID.qbr
    port, interface = must_row(world, "Port", HYBRID.qvo), must_row(world, "Interface", HYBRID.qvo)
    assert interface["external_ids"] == ids_of(HYBRID)
    assert interface["ofport"] > 0
    assert (port["tag"], port["vlan_mode"], port["trunks"]) == ([], [], [])
    assert world.vsctl("port-to-br", HYBRID.qvo) == "br-int"


def assert_tap(world: World) -> None:
    """A port on a tap that was there before it, so that OVN has an ofport before the guest starts."""
    tap, interface = must_link(world, OVS.tap), must_row(world, "Interface", OVS.tap)
    assert (tap["linkinfo"]["info_kind"], tap["mtu"]) == ("tun", MTU)
    assert interface["external_ids"] == ids_of(OVS)
    assert interface["ofport"] > 0


@pytest.mark.parametrize("via", ["daemon", "local"])
def test_id_in_capitals_is_the_same_vifs(host: Host, via: str) -> None:
    shouted = hybrid(HYBRID) | {"id": HYBRID.id.upper()}
    with host.compute.configured(via=via):
        host.compute.plug(shouted)
        assert list(host.daemon.vifs()) == [HYBRID.id]
        host.compute.unplug(shouted)


def test_create_port_and_create_tap_mean_what_they_say(host: Host) -> None:
    world, compute = host.world, host.compute
    # The VMM's tap: the port is there and waits for it, with its ids.
    compute.plug(direct(OVS, create_port=True, create_tap=False))
    assert world.link(OVS.tap) is None
    assert must_row(world, "Interface", OVS.tap)["external_ids"] == ids_of(OVS)
    compute.unplug(direct(OVS))
    # A tap alone would be of no use to anybody.
    compute.plug(direct(OVS, create_port=None, create_tap=True))
    assert_tap(world)
    # A cold migration from one way of plugging to another unplugs with the new object.
    compute.plug(hybrid(HYBRID))
    compute.unplug(direct(HYBRID))
    assert world.link(HYBRID.qbr) is None
    compute.unplug(direct(OVS, create_port=None, create_tap=True))
    # libvirt makes the port, and would make it anew if it were there: LP 1728600.
    with watched(world) as writes:
        for create_port in (False, None):
            compute.plug(direct(OVS, create_port=create_port))
            compute.plug(direct(OVS, create_port=create_port))
            recorded = host.daemon.vifs()[OVS.id]
            assert (recorded["vif_type"], recorded["state"]) == ("ovs", "plugged")
            assert recorded["waiting_for"] == OVS.tap
            compute.unplug(direct(OVS, create_port=create_port))
    assert writes.none, writes


@pytest.mark.parametrize("plugin", ["ovs", "vifplug"])
def test_generic_is_a_tap_by_itself(host: Host, plugin: str) -> None:
    world, compute = host.world, host.compute
    compute.plug(generic(LONE_TAP, "ee:ee:ee:ee:ee:ee", plugin))
    link = must_link(world, LONE_TAP.tap)
    assert (link["address"], link["mtu"], link.get("master")) == ("ee:ee:ee:ee:ee:ee", MTU, None)
    assert host.daemon.vifs()[LONE_TAP.id]["vif_type"] == "tap"
    with watched(world) as writes:
        compute.plug(generic(LONE_TAP, "ee:ee:ee:ee:ee:ee", plugin))
        compute.plug(generic(LONE_TAP, plugin=plugin))
    assert writes.none, writes
    compute.unplug(generic(LONE_TAP, plugin=plugin))


def test_real_objects_and_vifplug_by_name(host: Host, samples: Path) -> None:
    daemon, compute = host.daemon, host.compute
    objects = [
        *json.loads((samples / "osvif_ml2ovs_hybrid_from_real_neutron.json").read_text()),
        json.loads((samples / "osvif_ovs_plain_create_tap.json").read_text()),
    ]
    for vif in objects:
        compute.plug(vif)
    assert sorted(vif["vif_type"] for vif in daemon.vifs().values()) == ["ovs", "ovs-hybrid", "ovs-hybrid"]
    for vif in objects:
        compute.unplug(vif)
    by_name = [vif | {"plugin": "vifplug"} for vif in (hybrid(HYBRID), direct(OVS), linux_bridge(BRIDGE))]
    for vif in by_name:
        compute.plug(vif)
    types = {vif["id"]: vif["vif_type"] for vif in daemon.vifs().values()}
    assert types == {HYBRID.id: "ovs-hybrid", OVS.id: "ovs", BRIDGE.id: "bridge"}
    for vif in by_name:
        compute.unplug(vif)


def test_host_info_tells_true_versions(host: Host) -> None:
    """os-vif finds a version that both sides know of every class, and of its port profile."""
    # The noop plugin, which is os-vif's alone, says an old one.
    said = [one for one in host.compute.ask("host_info")["answer"] if one["plugin"] != "noop"]
    found = {(one["plugin"], one["vif"]): one for one in said}
    assert len(found) == len(said), "each once"
    classes = {plugin: {vif for name, vif in found if name == plugin} for plugin, _vif in found}
    ours = {"VIFBridge", "VIFOpenVSwitch", "VIFVHostUser", "VIFHostDevice", "VIFGeneric", "VIFDirect"}
    assert classes == {"ovs": ours, "linux_bridge": {"VIFBridge"}, "vifplug": ours}
    for one in said:
        assert one["common"] is not None and None not in one["profiles"].values(), one
    profile = found["ovs", "VIFOpenVSwitch"]["profiles"]["VIFPortProfileOpenVSwitch"]
    assert tuple(map(int, profile.split("."))) >= (1, 3), "the version that has create_port"
    assert found["linux_bridge", "VIFBridge"]["profiles"] == {}
    assert found["ovs", "VIFDirect"]["profiles"] == {}
    assert set(found["ovs", "VIFGeneric"]["profiles"]) == {"VIFPortProfileFPTap"}
    assert set(found["ovs", "VIFHostDevice"]["profiles"]) == {
        *("VIFPortProfileOVSRepresentor", "VIFPortProfileOpenVSwitch")
    }


@pytest.mark.parametrize("plugin", ["ovs", "vifplug"])
def test_direct_is_a_macvtap_on_a_device_or_a_function(world: World, plugin: str) -> None:
    world.ip("link", "add", "nic0", "type", "veth", "peer", "name", "wire0")
    before = world.snapshot()
    listed = {"bridge": {"physical_networks": "physnet1:nic0"}}
    on_device = on(LONE_TAP, plugin=plugin, vlan_name="nic0", mode="passthrough")
    with Compute(world) as compute, Vifplugd(world, listed) as daemon:
        compute.plug(on_device)
        assert [vif["vif_type"] for vif in daemon.vifs().values()] == ["macvtap"]
        assert 'dev="nic0" mode="passthrough"' in world.vifplug("guest", "libvirt", LONE_TAP.id).stdout
        compute.unplug(on_device)
        for fields, words in (
            ({"dev_address": "0000:fe:1f.7"}, "there is no PCI device 0000:fe:1f.7"),
            ({"vlan_name": "nic7"}, "does not list device 'nic7'"),
            ({}, "vlan_name: it is missing"),
        ):
            error, message = compute.refused(on(LONE_TAP, plugin=plugin, mode="bridge", **fields))
            assert (error, words in message) == ("PlugException", True), message
        assert daemon.vifs() == {}
    assert world.snapshot() == before


def test_vhost_user_is_vifplugs_with_its_rules_for_sockets(host: Host) -> None:
    vhost = {key: value for key, value in direct(OVS).items() if key != "bridge_name"}
    vhost |= {"class": "VIFVHostUser", "vif_name": VHOST, "mode": "server", "path": "/tmp/elsewhere"}
    error, message = host.compute.refused(vhost)
    assert error == "PlugException"
    assert "below /var/lib/vhost_sockets" in message
    # Open vSwitch without DPDK cannot open such a port: what was made is taken back.
    assert host.compute.refused(vhost | {"path": f"/var/lib/vhost_sockets/{VHOST}"})[0] == "PlugException"


def test_function_is_vifplugs_by_its_address(host: Host) -> None:
    """With switchdev: tests/host/checks/representors.py; here is no such function."""
    address = "0000:ff:1f.7"
    profile = {"class": "VIFPortProfileOVSRepresentor", "representor_name": OVS.tap, "representor_address": address}
    function = {key: value for key, value in direct(OVS).items() if key not in ("bridge_name", "vif_name")}
    function |= {"class": "VIFHostDevice", "dev_type": "ethernet", "dev_address": address}
    function |= {"port_profile": {"interface_id": OVS.id, **profile}}
    for vif in (function, function | {"plugin": "vifplug"}):
        error, message = host.compute.refused(vif)
        assert (error, f"there is no PCI device {address}" in message) == ("PlugException", True), message
        host.compute.unplug(vif)


def test_failure_is_os_vifs_exception_with_our_reason_and_leaves_nothing(host: Host) -> None:
    world, compute = host.world, host.compute
    no_profile = {key: value for key, value in direct(OVS).items() if key != "port_profile"}
    generic = {key: value for key, value in hybrid(HYBRID).items() if key != "bridge_name"}
    cases: list[tuple[VifObject, str]] = [
        (hybrid(HYBRID, network=network(HYBRID, bridge="br-nope")), "'br-nope'"),
        (hybrid(HYBRID, port_profile={"interface_id": OVS.id}), "port_profile.interface_id"),
        (hybrid(HYBRID, network=network(HYBRID, mtu=66)), "network.mtu"),
        (hybrid(HYBRID, address=None), "address"),
        (direct(OVS, create_tap=True), f"{OVS.tap!r} for VIF {OVS.id} is held by"),
        (no_profile, "port_profile"),
        (linux_bridge(BRIDGE, should_provide_vlan=True, vlan=7), "should_provide_vlan"),
        (linux_bridge(BRIDGE, bridge_interface="eth1"), "'eth1'"),
        (direct(BRIDGE) | {"plugin": "linux_bridge"}, "plugin"),
        (generic | {"class": "VIFGeneric", "plugin": "vifplug"}, "VIFGeneric"),
    ]
    world.ip("link", "add", OVS.tap, "type", "bridge")
    before = world.snapshot()
    for vif, reason in cases:
        error, message = compute.refused(vif)
        assert (error, reason in message) == ("PlugException", True), (reason, message)
        assert message.count("Failed to plug") == 1
    assert world.snapshot() == before
    world.ip("link", "delete", OVS.tap)


def test_failure_in_mid_plug_is_rolled_back(world: World) -> None:
    world.imitate_kernel_datapath()
    world.vsctl("add-br", "br-sys")
    before = world.snapshot()
    vif = hybrid(HYBRID, network=network(HYBRID, bridge="br-sys"))
    with Compute(world) as compute, Vifplugd(world, {"ovs": {"timeout": "1"}}):
        world.pause_vswitchd()
        error, message = compute.refused(vif)
        assert error == "PlugException"
        assert "ovs-vswitchd" in message
        assert world.snapshot() == before
        world.resume_vswitchd()
        compute.plug(vif)
        compute.unplug(vif)
    assert world.snapshot() == before


def test_daemon_or_process_as_configured(world: World) -> None:
    before = world.snapshot()
    vhost = {key: value for key, value in direct(OVS).items() if key != "bridge_name"}
    vhost |= {"class": "VIFVHostUser", "vif_name": VHOST, "path": str(world.directory / "vhost"), "mode": "server"}
    daemon = Vifplugd(world)
    with Compute(world, eventlet=True) as green, Compute(world) as compute:
        with compute.configured(via="daemon"):
            for call, exception in (("plug", "PlugException"), ("unplug", "UnplugException")):
                error, message = compute.refused(hybrid(HYBRID), call)
                assert error == exception
                assert "start vifplugd" in message
            error, message = compute.refused(vhost)
            assert (error, "start vifplugd" in message) == ("PlugException", True)
        # What os-vif's own plugin does needs no daemon.
        with compute.configured(via="daemon", take_ovs=False):
            compute.plug(vhost)
            assert must_row(world, "Interface", VHOST)["type"] == "dpdkvhostuserclient"
            compute.unplug(vhost)
        assert world.snapshot() == before
        # A helper and eventlet would wait for one another for ever.
        error, message = green.refused(hybrid(HYBRID))
        assert (error, "via = daemon" in message) == ("PlugException", True), message
        compute.plug(hybrid(HYBRID))
        with daemon:
            assert HYBRID.id in daemon.vifs()
            green.plug(direct(OVS, create_tap=True))
            green.unplug(direct(OVS, create_tap=True))
            assert daemon.metric("vifplug_requests_total") > 0
        compute.unplug(hybrid(HYBRID))
    assert world.snapshot() == before


def test_the_option_decides_and_no_order_of_discovery(world: World) -> None:
    with (
        Compute(world, path=REPOSITORY, os_vif_vifplug={"take_ovs": False}) as vifplug_first,
        Compute(world, os_vif_vifplug={"take_ovs": False}) as os_vif_first,
    ):
        orders = [_distributions(compute) for compute in (vifplug_first, os_vif_first)]
        assert orders == [["vifplug", "vif_plug_ovs"], ["vif_plug_ovs", "vifplug"]], "what is tried"
        for compute in (vifplug_first, os_vif_first):
            assert _plugged_by_vifplug(world, compute) is False
            assert "vifplug plugs" not in compute.log()
            with compute.configured(take_ovs=True, via="local"):
                assert _plugged_by_vifplug(world, compute) is True
                compute.ask("reset")
                assert "vifplug plugs the VIFs of os-vif's plugin ovs" in compute.log()
                assert _plugged_by_vifplug(world, compute) is True
                # Somebody else's plugin that builds on os-vif's is not vifplug's business.
                assert compute.ask("subclass")["answer"] == "Theirs"


def _distributions(compute: Compute) -> list[str]:
    """Whose entry points are found, in the order in which they are found."""
    found = compute.ask("entry_points")["answer"]
    return list(dict.fromkeys(value.partition(".")[0] for name, value in found if name != "noop"))


def _plugged_by_vifplug(world: World, compute: Compute) -> bool:
    compute.plug(hybrid(HYBRID))
    is_ours = OURS in must_row(world, "Port", HYBRID.qvo)["external_ids"]
    compute.unplug(hybrid(HYBRID))
    assert world.link(HYBRID.qbr) is None
    return is_ours


def test_what_os_vif_plugged_before_stays_its_own_until_unplugged(host: Host) -> None:
    world, daemon, compute = host.world, host.daemon, host.compute
    before = world.snapshot()
    with compute.configured(take_ovs=False):
        compute.plug(hybrid(HYBRID))
    running = world.snapshot()
    compute.plug(hybrid(HYBRID))
    assert world.snapshot() == running
    assert daemon.vifs() == {}
    # What bears the name but is not this VIF's is a stranger's, and os-vif is not let loose on it.
    world.vsctl("set", "Interface", HYBRID.qvo, f"external_ids:iface-id={OVS.id}")
    assert "held by" in compute.refused(hybrid(HYBRID))[1]
    compute.unplug(hybrid(HYBRID))
    assert world.link(HYBRID.qvo) is not None
    world.vsctl("set", "Interface", HYBRID.qvo, f"external_ids:iface-id={HYBRID.id}")
    compute.unplug(hybrid(HYBRID))
    assert world.snapshot() == before
    compute.plug(hybrid(HYBRID))
    assert HYBRID.id in daemon.vifs()
    compute.unplug(hybrid(HYBRID))


def test_trunk_bridge_is_made_and_deleted_with_the_port(host: Host) -> None:
    before = host.world.snapshot()
    trunk = direct(OVS, create_port=True)
    trunk |= {"network": network(OVS, bridge="tbr-1"), "bridge_name": "tbr-1"}
    host.compute.plug(trunk)
    assert must_row(host.world, "Bridge", "tbr-1")["external_ids"].keys() == {"vifplug-vif"}
    assert must_row(host.world, "Interface", OVS.tap)["external_ids"]["bridge_name"] == "tbr-1"
    assert OVS.id in host.daemon.vifs()
    host.compute.unplug(trunk)
    assert host.world.snapshot() == before


def test_trunk_bridge_is_os_vifs_where_libvirt_makes_the_port(host: Host) -> None:
    trunk = direct(OVS, create_port=None)
    trunk |= {"network": network(OVS, bridge="tbr-1"), "bridge_name": "tbr-1"}
    host.compute.plug(trunk)
    assert must_row(host.world, "Bridge", "tbr-1")["external_ids"] == {}
    assert host.daemon.vifs() == {}
    host.compute.unplug(trunk)


def test_trunk_that_os_vif_plugged_before_stays_its_own_until_unplugged(host: Host) -> None:
    before = host.world.snapshot()
    trunk = direct(OVS, create_port=True)
    trunk |= {"network": network(OVS, bridge="tbr-1"), "bridge_name": "tbr-1"}
    with host.compute.configured(take_ovs=False):
        host.compute.plug(trunk)
    host.compute.plug(trunk)
    assert host.daemon.vifs() == {}
    host.compute.unplug(trunk)
    assert host.world.snapshot() == before


def test_own_bridge_that_nova_is_configured_for_outlives_the_option(host: Host) -> None:
    world, compute = host.world, host.compute
    before = world.snapshot()
    with compute.configured("os_vif_ovs", per_port_bridge=True):
        compute.plug(direct(OVS, create_port=True))
        assert world.vsctl("port-to-br", OVS.ibp) == "br-int"
        plugged = world.snapshot()
    # nova-compute starts again with the option off: it plugs every VIF, and unplugs it some day.
    compute.plug(direct(OVS, create_port=True))
    assert world.snapshot() == plugged
    compute.unplug(direct(OVS, create_port=True))
    assert world.snapshot() == before


def test_own_bridge_that_os_vif_made_before_stays_its_own_until_unplugged(host: Host) -> None:
    before = host.world.snapshot()
    with host.compute.configured("os_vif_ovs", per_port_bridge=True):
        with host.compute.configured(take_ovs=False):
            host.compute.plug(direct(OVS, create_port=True))
        host.compute.plug(direct(OVS, create_port=True))
        assert host.daemon.vifs() == {}
        host.compute.unplug(direct(OVS, create_port=True))
    assert host.world.snapshot() == before


def test_isolation_that_nova_is_configured_for_is_kept(host: Host) -> None:
    world, compute = host.world, host.compute
    with compute.configured("os_vif_ovs", isolate_vif=True):
        compute.plug(hybrid(HYBRID))
        port = must_row(world, "Port", HYBRID.qvo)
        assert (port["tag"], port["vlan_mode"], port["trunks"]) == (4095, "trunk", 4095)
        world.vsctl("set", "Port", HYBRID.qvo, "tag=7", "--", "clear", "Port", HYBRID.qvo, "vlan_mode", "trunks")
        with watched(world) as writes:
            compute.plug(hybrid(HYBRID))
        assert writes.none, "a live port is never isolated again"
        compute.unplug(hybrid(HYBRID))
