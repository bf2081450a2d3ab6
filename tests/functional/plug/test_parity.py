"""Defects of today's os-vif, each tried as its inventory says, with the right behaviour.

The inventory is section 6a of the project's PARITY notes. Where more of it is tried: D1 D2 D16 in test_drift, D3 D12 in
test_failure and test_outage, D7 D14 D19 D20 in test_plug_ovs and test_plug_bridge, D10 D11 in test_concurrency.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from tests.support.network.endpoints import guest_in_bridge, guest_on_tap, host_on_bridge
from tests.support.network.traffic import Sniffer, ping, transfer
from tests.support.vifs import BRIDGE, GUEST, HOST, HYBRID, MTU, NETWORK, OVS, Request, library, must_link, must_row
from tests.support.world.world import Completed, World
from vifplug import errors
from vifplug.engine.plan.actions import SetLink
from vifplug.linux.host import LinuxHost
from vifplug.netlink import socket as netlink
from vifplug.resources.bridge import Bridge

OTHER_MAC = "fa:16:3e:00:00:99"
SILENT_SECONDS = 6.0


def plug(world: World, request: Request) -> Completed:
    """The command's end, whatever it is."""
    return world.vifplug("-o", "json", "plug", "-", input=request.text, check=False)


def error_of(result: Completed, exit_code: int) -> dict[str, Any]:
    """What the command says of a failure."""
    assert result.returncode == exit_code, result
    error: dict[str, Any] = json.loads(result.stderr)["error"]
    return error


def test_d1_replug_of_a_damaged_vif_restores_every_part(world: World) -> None:
    with library(world) as host_:
        host_.plug([HYBRID.vif])
        before = world.snapshot()
        world.vsctl("del-port", HYBRID.qvo)
        world.ip("link", "set", HYBRID.qvb, "nomaster")
        world.ip("link", "set", HYBRID.qvo, "down")
        world.ip("link", "set", HYBRID.qbr, "mtu", "1400", "type", "bridge", "mcast_snooping", "1")
        host_.plug([HYBRID.vif])
        assert world.snapshot() == before
        with guest_in_bridge(world, HYBRID.qbr, GUEST, MTU) as guest, host_on_bridge(world, "br-int", HOST):
            assert ping(guest, HOST)


@pytest.mark.parametrize("request_", [HYBRID, OVS], ids=lambda request: request.type)
def test_d2_mac_changed_on_replug_is_written(world: World, request_: Request) -> None:
    with library(world) as host:
        host.plug([request_.vif])
        before = must_row(world, "Interface", request_.port)
        host.plug([request_.but(address=OTHER_MAC).vif])
        after = must_row(world, "Interface", request_.port)
        assert after["external_ids"] == {**before["external_ids"], "attached-mac": OTHER_MAC}
        assert (after["_uuid"], after["ofport"]) == (before["_uuid"], before["ofport"])
        if request_ is OVS:
            assert must_link(world, OVS.tap)["address"] == "fe" + OTHER_MAC[2:]
        assert host.check().clean


def test_d3_bridge_dropped_after_it_was_seen_is_an_error_and_undone(world: World) -> None:
    world.add_bridge("br-two")
    before = world.snapshot()
    real = LinuxHost.observe
    drop: list[Callable[[], object]] = [lambda: world.vsctl("del-br", "br-two")]

    def observe(host: LinuxHost, *scope: Any) -> Any:
        observed = real(host, *scope)
        if drop:
            drop.pop()()
        return observed

    with (
        library(world) as host,
        mock.patch.object(LinuxHost, "observe", observe),
        pytest.raises(errors.BridgeMissing, match="br-two") as caught,
    ):
        host.plug([HYBRID.but(network={"bridge": "br-two"}).vif])
    assert caught.value.step
    gone = {key for key in before if key.endswith(" br-two")}
    assert world.snapshot() == {key: before[key] for key in before.keys() - gone}


def test_d3_missing_bridge_is_an_error_and_none_is_made(world: World) -> None:
    before = world.snapshot()
    error = error_of(plug(world, HYBRID.but(network={"bridge": "br-nope"})), 1)
    assert (error["type"], error["subject"]) == ("BridgeMissing", "br-nope")
    assert world.snapshot() == before


def test_d4_other_datapath_in_a_request_is_one_warning_and_changes_no_bridge(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.vif])
    before = must_row(world, "Bridge", "br-int")["datapath_type"], must_row(world, "Interface", OVS.tap)["ofport"]
    request = HYBRID.but(network={"datapath_type": "system"})
    result = world.vifplug("plug", "-", input=request.text)
    assert result.stderr.count("warning") == 1
    assert "'system'" in result.stderr and "'netdev'" in result.stderr
    after = must_row(world, "Bridge", "br-int")["datapath_type"], must_row(world, "Interface", OVS.tap)["ofport"]
    assert after == before == ("netdev", before[1])
    assert must_row(world, "Interface", HYBRID.qvo)["ofport"] > 0
    assert world.vifplug_json("check")["clean"] is True


@pytest.mark.parametrize("with_device", [False, True])
def test_d5_port_of_a_stranger_on_another_bridge_is_a_conflict(world: World, with_device: bool) -> None:
    world.add_bridge("br-x")
    if with_device:
        world.ip("link", "add", HYBRID.qvo, "type", "veth", "peer", "theirs")
    world.vsctl("--no-wait", "add-port", "br-x", HYBRID.qvo)
    before = world.snapshot()
    error = error_of(plug(world, HYBRID), 4)
    assert (error["type"], error["subject"]) == ("Conflict", HYBRID.qvo)
    assert world.snapshot() == before


def test_d6_unplug_finds_the_port_wherever_it_is(world: World) -> None:
    before = world.snapshot()
    world.add_bridge("br-x")
    with library(world) as host:
        host.plug([HYBRID.vif])
        move = ("--id=@port", "get", "Port", HYBRID.qvo, "--", "remove", "Bridge", "br-int", "ports", "@port")
        world.vsctl(*move, "--", "add", "Bridge", "br-x", "ports", "@port")
        host.unplug([HYBRID.id])
    assert world.row("Port", HYBRID.qvo) is None
    world.vsctl("del-br", "br-x")
    assert world.snapshot() == before


def test_d6_unplug_with_the_bridge_gone_leaves_nothing(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif, OVS.vif])
        world.vsctl("del-br", "br-int")
        host.unplug([HYBRID.id, OVS.id])
    assert {link["ifname"] for link in world.ip("link", "show")} <= {"lo", "ovs-netdev"}
    assert (world.rows("Port"), world.rows("Interface"), world.rows("QoS")) == ([], [], [])


def test_d6_unplug_leaves_a_foreign_port_of_the_same_name(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.vsctl("del-port", HYBRID.qvo)
        world.ip("link", "delete", HYBRID.qvo)
        theirs = ("set", "Interface", HYBRID.qvo, "type=internal", f"external_ids:iface-id={NETWORK}")
        world.vsctl("add-port", "br-int", HYBRID.qvo, "--", *theirs)
        uuid = must_row(world, "Port", HYBRID.qvo)["_uuid"]
        host.unplug([HYBRID.id])
    assert must_row(world, "Port", HYBRID.qvo)["_uuid"] == uuid
    assert world.link(HYBRID.qbr) is None


def test_d10_second_vif_of_the_same_names_is_refused_and_the_first_untouched(world: World) -> None:
    first = HYBRID.but(id="12345678-12a1-4fd9-8f4a-7cab3f9a425b")
    second = HYBRID.but(id="12345678-12b2-4fd9-8f4a-7cab3f9a425b", address=OTHER_MAC)
    with library(world) as host:
        host.plug([first.vif])
        before = world.snapshot()
        error = error_of(plug(world, second), 4)
        assert error["type"] == "Conflict"
        assert first.id in error["message"]
        host.unplug([second.id])
        assert world.snapshot() == before
        assert host.check().clean
        # A request that holds both is refused as a whole.
        with pytest.raises(errors.Conflict, match=second.id):
            host.plug([BRIDGE.vif, second.vif])
        assert world.snapshot() == before


def test_d12_vswitchd_stalled_is_an_error_and_nothing_stays(world: World) -> None:
    world.imitate_kernel_datapath()
    world.vsctl("add-br", "br-sys")
    world.write_config(ovs={"timeout": "1"})
    before = world.snapshot()
    world.pause_vswitchd()
    error = error_of(plug(world, HYBRID.but(network={"bridge": "br-sys"})), 1)
    assert error["type"] == "TimedOut"
    assert error["retryable"] is True
    assert "ovs-vswitchd" in error["message"]
    assert world.snapshot() == before
    world.resume_vswitchd()
    with library(world) as host:
        host.plug([HYBRID.but(network={"bridge": "br-sys"}).vif])
        assert host.check().clean


def test_d13_hybrid_with_create_tap_is_a_whole_path(world: World) -> None:
    before = world.snapshot()
    with library(world) as host_:
        host_.plug([HYBRID.but(create_tap=True).vif])
        assert must_link(world, HYBRID.tap)["master"] == HYBRID.qbr
        with (
            guest_on_tap(world, HYBRID.tap, HYBRID.address, GUEST, MTU) as guest,
            host_on_bridge(world, "br-int", HOST) as host,
        ):
            assert ping(guest, HOST, MTU)
            assert transfer(host, guest)
        host_.unplug([HYBRID.id])
    assert world.snapshot() == before


def test_d15_no_frame_of_the_hosts_own_is_heard_of_any_type_after_a_plug(world: World) -> None:
    vifs = {HYBRID.qbr, HYBRID.qvb, HYBRID.qvo, OVS.tap, BRIDGE.tap, BRIDGE.brq}
    with Sniffer(world) as sniffer, library(world) as host:
        world.ip("link", "add", "noisy", "type", "veth", "peer", "quiet")
        world.ip("link", "set", "quiet", "up")
        world.ip("link", "set", "noisy", "up")
        host.plug([HYBRID.vif, OVS.vif, BRIDGE.vif])
        until = time.monotonic() + SILENT_SECONDS
        # A tap is silent as long as nobody holds it: the guests give the links their carriers.
        with (
            guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, outer=HYBRID.tap),
            guest_on_tap(world, OVS.tap, OVS.address, "10.9.0.2", MTU),
            guest_on_tap(world, BRIDGE.tap, BRIDGE.address, "10.9.0.3", MTU),
        ):
            assert all("LOWER_UP" in must_link(world, name)["flags"] for name in vifs)
            time.sleep(until - time.monotonic())
    assert [frame for frame in sniffer.frames if frame.device in vifs] == []
    assert {frame.ethertype for frame in sniffer.frames if frame.device == "noisy"} == {0x86DD}, "what would be heard"


def test_d16_bridge_made_by_another_program_before_is_a_conflict_and_untouched(world: World) -> None:
    world.ip("link", "add", HYBRID.qbr, "type", "bridge", "stp_state", "1", "ageing_time", "30000")
    before = world.snapshot()
    error = error_of(plug(world, HYBRID), 4)
    assert (error["type"], error["subject"]) == ("Conflict", HYBRID.qbr)
    assert world.snapshot() == before


def test_d21_only_enodev_means_absent(world: World) -> None:
    socket = netlink.LinkSocket()
    assert list(socket.get(["absent", "lo", "absent as well"])) == ["lo"]
    with pytest.raises(netlink.Refused) as refused:
        socket.get(["absent", "a-name-no-link-can-have", "lo"])
    assert refused.value.index == 1
    assert list(socket.get(["lo"])) == ["lo"]
    socket.close()
    with pytest.raises(OSError):
        socket.get(["lo"])
    # A plug that cannot tell what is there does not begin.
    before = world.snapshot()
    with library(world) as host:
        blind = mock.patch.object(netlink.LinkSocket, "get", side_effect=netlink.Refused(0, 105, "No buffer space"))
        with blind, pytest.raises(errors.LinkError, match="No buffer space"):
            host.plug([HYBRID.vif])
        assert world.snapshot() == before
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(errors.VifplugError):
                host.plug([HYBRID.vif])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert world.snapshot() == before
        host.plug([HYBRID.vif])
        assert host.check().clean


def test_d22_ageing_in_seconds_is_hundredths_in_the_kernel(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        desired = Bridge(name=HYBRID.qbr, owner=HYBRID.id, role="qbr", ageing_time=300.0, forward_delay=15.0)
        changes = (("ageing_time", 0.0, 300.0), ("forward_delay", 0.0, 15.0))
        host._context.host.apply([[SetLink(desired, changes)]])
        settings = must_link(world, HYBRID.qbr)["linkinfo"]["info_data"]
        assert (settings["ageing_time"], settings["forward_delay"]) == (30000, 1500)
        (report,) = host.check().vifs
        assert {(item.attribute, item.observed) for item in report.drift} == {
            ("ageing_time", 300.0),
            ("forward_delay", 15.0),
        }
