"""The worlds and endpoints themselves, with Open vSwitch and iproute2 alone: what other tests stand on."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.support.network.endpoints import guest_in_bridge, guest_on_tap, host_on_bridge
from tests.support.network.traffic import Sniffer, capture, continuous_ping, ping, transfer
from tests.support.world import neutron_reader
from tests.support.world import world as world_module
from tests.support.world.daemons import PATIENCE, wait_until
from tests.support.world.world import DATAPATH_TYPE, OWN_LINKS, World

GUEST, HOST = "10.9.0.1", "10.9.0.254"
MAC = "fa:16:3e:00:00:01"


def build_hybrid(world: World, mtu: int = 1450) -> None:
    """A hybrid path by hand."""
    world.ip("link", "add", "qbr0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
    world.ip("link", "add", "qvb0", "mtu", str(mtu), "type", "veth", "peer", "qvo0", "mtu", str(mtu))
    world.ip("link", "set", "qvb0", "master", "qbr0")
    for name in ("qbr0", "qvb0", "qvo0"):
        world.ip("link", "set", name, "up")
    world.run("ethtool", "-K", "qvb0", "tx", "off")
    world.run("ethtool", "-K", "qvo0", "tx", "off")
    world.vsctl("add-port", "br-int", "qvo0")


def tear_hybrid(world: World) -> None:
    """And away."""
    world.vsctl("del-port", "br-int", "qvo0")
    world.ip("link", "delete", "qvb0")
    world.ip("link", "delete", "qbr0")


def test_world_is_apart_from_the_machine(world: World) -> None:
    names = {link["ifname"] for link in world.ip("link", "show")}
    assert names == OWN_LINKS
    machine = subprocess.run(
        ["nsenter", "-t", str(os.getppid()), "-n", "ip", "-br", "link"], capture_output=True, text=True
    )
    assert "br-int" not in machine.stdout
    assert world.vsctl("list-br") == "br-int"


def test_world_ends_with_no_process_and_names_those_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with World() as world:
        pids = (world.ovsdb.pid, world.vswitchd.pid)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
    assert not world.directory.exists()
    monkeypatch.setattr(world_module, "END_SECONDS", 1.0 * PATIENCE)
    with pytest.raises(AssertionError, match=r"left in the world: .*sleep 60"), World():
        straggler = subprocess.Popen(["sleep", "60"])
    assert straggler.wait(1) == -signal.SIGKILL


def test_snapshot_same_after_build_and_tear_and_different_between(world: World) -> None:
    before = world.snapshot()
    build_hybrid(world)
    between = world.snapshot()
    tear_hybrid(world)
    assert world.snapshot() == before
    appeared = {"link qbr0", "link qvb0", "link qvo0", "Port qvo0", "Interface qvo0"}
    assert between.keys() - before.keys() == appeared
    assert between["Bridge br-int"]["ports"] == ["br-int", "qvo0"]


def test_vswitchd_stopped_paused_and_started_again(world: World) -> None:
    world.vsctl("set", "Bridge", "br-int", "external_ids:a=b")
    world.stop_vswitchd()
    assert world.rows("Bridge", "name", "external_ids") == [{"name": "br-int", "external_ids": {"a": "b"}}]
    world.start_vswitchd()
    assert "br-int" in world.appctl("ofproto/list")
    world.pause_vswitchd()
    with pytest.raises(AssertionError, match="ovs-vsctl"):
        world.run(
            "ovs-vsctl", "--timeout=1", f"--db=unix:{world.socket}", "set", "Bridge", "br-int", "external_ids:c=d"
        )
    world.resume_vswitchd()
    world.vsctl("set", "Bridge", "br-int", "external_ids:e=f")
    world.stop_vswitchd(signal.SIGKILL)
    world.start_vswitchd()
    world.ovsdb.stop(signal.SIGKILL)
    world.ovsdb.start()
    world.vsctl("add-br", "br-two", "--", "set", "Bridge", "br-two", f"datapath_type={DATAPATH_TYPE}")


def test_hybrid_path_passes_its_mtu_and_tcp(world: World) -> None:
    build_hybrid(world)
    with guest_in_bridge(world, "qbr0", GUEST, 1450) as guest, host_on_bridge(world, "br-int", HOST) as host:
        assert ping(guest, HOST)
        assert ping(guest, HOST, 1450)
        assert not ping(guest, HOST, 1451, count=1)
        assert transfer(host, guest)
        assert transfer(guest, host)
        world.vsctl("del-port", "br-int", "qvo0")
        assert not ping(guest, HOST, count=1)
        assert not transfer(host, guest, seconds=1)


@pytest.mark.userspace_datapath
def test_checksum_offload_loses_tcp_but_not_ping(world: World) -> None:
    build_hybrid(world)
    with guest_in_bridge(world, "qbr0", GUEST, 1450) as guest, host_on_bridge(world, "br-int", HOST) as host:
        guest.run("ethtool", "-K", guest.device, "tx", "on")
        world.run("ethtool", "-K", "qvb0", "tx", "on")
        assert ping(guest, HOST)
        assert not transfer(host, guest, seconds=2)


@pytest.mark.parametrize("multi_queue", [False, True])
def test_persistent_tap_on_ovs_passes_traffic(world: World, multi_queue: bool) -> None:
    world.ip("tuntap", "add", "tap0", "mode", "tap", *(["multi_queue"] if multi_queue else []))
    world.ip("link", "set", "tap0", "up")
    world.vsctl("add-port", "br-int", "tap0")
    with (
        guest_on_tap(world, "tap0", MAC, GUEST, 1500, multi_queue) as guest,
        host_on_bridge(world, "br-int", HOST) as host,
    ):
        assert ping(guest, HOST, 1500)
        assert transfer(host, guest)
        assert transfer(guest, host)
        assert MAC in world.appctl("fdb/show", "br-int")
    assert world.link("tap0") is not None


def test_linux_bridge_between_two_stations(world: World) -> None:
    world.ip("link", "add", "brq0", "address", "02:00:00:00:00:01", "type", "bridge", "forward_delay", "0")
    world.ip("link", "set", "brq0", "up")
    before = world.snapshot()
    with guest_in_bridge(world, "brq0", GUEST, outer="tap1") as guest, host_on_bridge(world, "brq0", HOST) as host:
        assert world.link("tap1") is not None
        assert ping(host, GUEST)
        assert transfer(host, guest)
    assert world.snapshot() == before


def test_sniffer_sees_frames_of_a_device_made_later(world: World) -> None:
    with Sniffer(world, "tap0", lambda frame: frame.ethertype == 0x86DD) as sniffer:
        world.ip("link", "add", "tap0", "type", "veth", "peer", "tap0-peer")
        world.ip("link", "set", "tap0-peer", "up")
        world.ip("link", "set", "tap0", "up")
        wait_until(lambda: sniffer.frames, "the first frame of IPv6")
    assert {frame.outgoing for frame in sniffer.frames} <= {True, False}
    assert capture(world, "lo", 0.05) == []


def test_continuous_ping_counts_what_was_lost(world: World) -> None:
    build_hybrid(world)
    with guest_in_bridge(world, "qbr0", GUEST, 1450) as guest, host_on_bridge(world, "br-int", HOST):
        with continuous_ping(guest, HOST) as calm:
            time.sleep(0.3)
        assert (calm.lost, calm.longest_gap) == (0, 0.0)
        assert calm.sent >= 25
        with continuous_ping(guest, HOST) as cut:
            world.ip("link", "set", "qvb0", "down")
            time.sleep(0.2)
            world.ip("link", "set", "qvb0", "up")
            wait_until(lambda: cut.sent - 1 in cut.answered, "an answer after the cut")
        assert cut.lost >= 15
        assert cut.longest_gap >= 0.15


def test_neutron_finds_a_port_that_carries_both_its_keys(world: World) -> None:
    identity = "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
    world.ip("link", "add", "qvo0", "type", "veth", "peer", "qvb0")
    keys = f"external_ids={{iface-id={identity},attached-mac={MAC}}}"
    world.vsctl("add-port", "br-int", "qvo0", "--", "set", "Interface", "qvo0", keys.replace(MAC, f'"{MAC}"'))
    assert neutron_reader.vif_port(world, identity) == {
        "port_name": "qvo0",
        "ofport": 1,
        "vif_id": identity,
        "vif_mac": MAC,
    }
    assert neutron_reader.vif_port(world, "81ab5618-df3e-4999-932a-1263b7886e5a") is None
