"""Through the real os-vif: a process that calls os_vif.plug plugs through vifplug, and knows nothing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.functional.compute import Compute, VifObject, direct, hybrid, linux_bridge, network
from tests.functional.vifplugd import Vifplugd
from tests.functional.vifs import BRIDGE, HYBRID, INSTANCE, MTU, OVS, conf, must_link, must_row
from tests.functional.world import REPOSITORY, World
from tests.functional.writes import watched

OURS = "vifplug-vif"
NOVAS_IDS = {"iface-status": "active", "vm-uuid": INSTANCE}


def ids_of(request: Any) -> dict[str, str]:
    """What Nova and Neutron agreed on for Interface.external_ids."""
    return {**NOVAS_IDS, "iface-id": request.id, "attached-mac": request.address}


@pytest.mark.parametrize("via", ["daemon", "local"])
def test_every_kind_is_plugged_as_nova_expects_and_leaves_nothing(world: World, via: str) -> None:
    vifs = [hybrid(HYBRID), direct(OVS, create_tap=True), linux_bridge(BRIDGE)]
    before = world.snapshot()
    with Compute(world, os_vif_vifplug={"via": via}) as compute, Vifplugd(world):
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
        assert world.snapshot() == before


def assert_hybrid(world: World) -> None:
    """Names, settings and ids of PARITY 2.2 to 2.4."""
    qbr = must_link(world, HYBRID.qbr)
    settings = qbr["linkinfo"]["info_data"]
    said = [settings[key] for key in ("stp_state", "forward_delay", "ageing_time", "mcast_snooping")]
    assert (said, qbr["mtu"]) == ([0, 0, 0, 0], MTU)
    assert conf(world, HYBRID.qbr, "disable_ipv6") == 1
    assert [conf(world, HYBRID.qbr, key, "ipv4") for key in ("arp_ignore", "arp_announce")] == [1, 2]
    for name, master in ((HYBRID.qvb, HYBRID.qbr), (HYBRID.qvo, "ovs-system")):
        link = must_link(world, name)
        assert (link["mtu"], link["linkinfo"]["info_kind"]) == (MTU, "veth")
        assert {"UP", "PROMISC"} <= set(link["flags"])
        assert link.get("master", "ovs-system") == master
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


def test_create_port_and_create_tap_mean_what_they_say(world: World) -> None:
    before = world.snapshot()
    with Compute(world) as compute, Vifplugd(world):
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
        assert world.snapshot() == before
        # libvirt makes the port, and would make it anew if it were there: LP 1728600.
        for create_port in (False, None):
            with watched(world) as writes:
                compute.plug(direct(OVS, create_port=create_port))
                compute.unplug(direct(OVS, create_port=create_port))
            assert writes.none, (create_port, writes)


def test_failure_is_os_vifs_exception_with_our_reason_and_leaves_nothing(world: World) -> None:
    world.ip("link", "add", OVS.tap, "type", "bridge")
    before = world.snapshot()
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
    with Compute(world, os_vif_vifplug={"via": "local"}) as compute:
        for vif, reason in cases:
            error, message = compute.refused(vif)
            assert (error, reason in message) == ("PlugException", True), (reason, message)
            assert message.count("Failed to plug") == 1
        assert world.snapshot() == before


def test_failure_in_mid_plug_is_rolled_back(world: World) -> None:
    world.imitate_kernel_datapath()
    world.vsctl("add-br", "br-sys")
    before = world.snapshot()
    vif = hybrid(HYBRID, network=network(HYBRID, bridge="br-sys"))
    with Compute(world, os_vif_vifplug={"via": "daemon"}) as compute, Vifplugd(world, {"ovs": {"timeout": "1"}}):
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
    daemon = Vifplugd(world)
    with (
        Compute(world, os_vif_vifplug={"via": "daemon"}) as strict,
        Compute(world, eventlet=True) as green,
        Compute(world) as compute,
    ):
        for call, exception in (("plug", "PlugException"), ("unplug", "UnplugException")):
            error, message = strict.refused(hybrid(HYBRID), call)
            assert error == exception
            assert "start vifplugd" in message
        compute.plug(hybrid(HYBRID))
        # A helper and eventlet would wait for one another for ever.
        error, message = green.refused(hybrid(HYBRID))
        assert (error, "via = daemon" in message) == ("PlugException", True), message
        with daemon:
            assert HYBRID.id in daemon.vifs()
            green.plug(direct(OVS, create_tap=True))
            green.unplug(direct(OVS, create_tap=True))
            strict.unplug(hybrid(HYBRID))
            compute.plug(hybrid(HYBRID))
            assert daemon.metric("vifplug_requests_total") >= 2
        compute.unplug(hybrid(HYBRID))
    assert world.link(HYBRID.qbr) is None


@pytest.mark.parametrize("take_ovs", [True, False])
def test_the_option_decides_and_no_order_of_discovery(world: World, take_ovs: bool) -> None:
    options = {"take_ovs": str(take_ovs), "via": "local"}
    with (
        Compute(world, path=REPOSITORY, os_vif_vifplug=options) as vifplug_first,
        Compute(world, os_vif_vifplug=options) as os_vif_first,
    ):
        orders = [_distributions(compute) for compute in (vifplug_first, os_vif_first)]
        assert orders == [["vifplug", "vif_plug_ovs"], ["vif_plug_ovs", "vifplug"]], "what is tried"
        for compute in (vifplug_first, os_vif_first):
            compute.ask("reset")
            compute.plug(hybrid(HYBRID))
            assert (OURS in must_row(world, "Port", HYBRID.qvo)["external_ids"]) == take_ovs
            compute.unplug(hybrid(HYBRID))
            assert world.link(HYBRID.qbr) is None
            assert ("vifplug plugs the VIFs of os-vif's plugin ovs" in compute.log()) == take_ovs


def _distributions(compute: Compute) -> list[str]:
    """Whose entry points are found, in the order in which they are found."""
    found = compute.ask("entry_points")["answer"]
    return list(dict.fromkeys(value.partition(".")[0] for name, value in found if name != "noop"))


def test_what_os_vif_plugged_before_stays_its_own_until_unplugged(world: World) -> None:
    before = world.snapshot()
    with (
        Compute(world, os_vif_vifplug={"take_ovs": "false"}) as without,
        Compute(world) as compute,
        Vifplugd(world) as daemon,
    ):
        without.plug(hybrid(HYBRID))
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


def test_what_vifplug_does_not_plug_goes_on_to_os_vif_and_its_isolation_is_kept(world: World) -> None:
    before = world.snapshot()
    name = "vhu" + OVS.id[:11]
    vhost = {key: value for key, value in direct(OVS).items() if key != "bridge_name"}
    vhost |= {"class": "VIFVHostUser", "vif_name": name, "path": str(world.directory / "vhost"), "mode": "server"}
    # A trunk's bridge is os-vif's to make, even where libvirt is to make the port.
    trunk = direct(OVS, create_port=None) | {"network": network(OVS, bridge="tbr-1"), "bridge_name": "tbr-1"}
    with Compute(world, os_vif_vifplug={"via": "daemon"}, os_vif_ovs={"isolate_vif": "true"}) as compute:
        compute.plug(vhost)
        assert must_row(world, "Interface", name)["type"] == "dpdkvhostuserclient"
        compute.unplug(vhost)
        assert world.snapshot() == before, "and no daemon was needed for it"
        with Vifplugd(world) as daemon:
            compute.plug(trunk)
            assert world.row("Bridge", "tbr-1") is not None
            assert daemon.vifs() == {}
            compute.unplug(trunk)
            assert world.snapshot() == before
            compute.plug(hybrid(HYBRID))
            port = must_row(world, "Port", HYBRID.qvo)
            assert (port["tag"], port["vlan_mode"], port["trunks"]) == (4095, "trunk", 4095)
            world.vsctl("set", "Port", HYBRID.qvo, "tag=7", "--", "clear", "Port", HYBRID.qvo, "vlan_mode", "trunks")
            with watched(world) as writes:
                compute.plug(hybrid(HYBRID))
            assert writes.none, "a live port is never isolated again"
            compute.unplug(hybrid(HYBRID))
    assert world.snapshot() == before


def test_real_objects_vifplug_by_name_and_host_info(world: World, samples: Path) -> None:
    objects = [
        *json.loads((samples / "osvif_ml2ovs_hybrid_from_real_neutron.json").read_text()),
        json.loads((samples / "osvif_ovs_plain_create_tap.json").read_text()),
    ]
    by_name = [vif | {"plugin": "vifplug"} for vif in (hybrid(HYBRID), direct(OVS), linux_bridge(BRIDGE))]
    before = world.snapshot()
    with Compute(world) as compute, Vifplugd(world) as daemon:
        assert len(objects) >= 2
        for vif in objects:
            compute.plug(vif)
        assert {vif["vif_type"] for vif in daemon.vifs().values()} == {"ovs-hybrid", "ovs"}
        for vif in objects:
            compute.unplug(vif)
        for vif in by_name:
            compute.plug(vif)
        types = {vif["id"]: vif["vif_type"] for vif in daemon.vifs().values()}
        assert types == {HYBRID.id: "ovs-hybrid", OVS.id: "ovs", BRIDGE.id: "bridge"}
        for vif in by_name:
            compute.unplug(vif)
        assert world.snapshot() == before
        assert_true_versions(compute.ask("host_info")["answer"])
        # Somebody else's plugin that builds on os-vif's is not vifplug's business.
        assert compute.ask("subclass")["answer"] == "Theirs"


def assert_true_versions(said: list[dict[str, Any]]) -> None:
    """That os-vif finds a version that both sides know of every class, and of its port profile."""
    found = {(one["plugin"], one["vif"]): one for one in said if one["plugin"] != "noop"}
    classes = {plugin: {vif for name, vif in found if name == plugin} for plugin, _vif in found}
    ovs = {"VIFBridge", "VIFOpenVSwitch", "VIFVHostUser", "VIFHostDevice"}
    assert classes == {"ovs": ovs, "linux_bridge": {"VIFBridge"}, "vifplug": {"VIFBridge", "VIFOpenVSwitch"}}
    assert len(found) == len([one for one in said if one["plugin"] != "noop"]), "each once"
    for one in found.values():
        assert one["common"] is not None and None not in one["profiles"].values(), one
    profile = found["ovs", "VIFOpenVSwitch"]["profiles"]["VIFPortProfileOpenVSwitch"]
    assert tuple(map(int, profile.split("."))) >= (1, 3), "the version that has create_port"
    assert found["linux_bridge", "VIFBridge"]["profiles"] == {}
