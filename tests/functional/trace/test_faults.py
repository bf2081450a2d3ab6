"""Each fault that stops frames is named by trace, with a remedy; trace is silent before it and after it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults.path_faults import ON_HYBRID, STATION, PathFault
from tests.support.network.endpoints import Station, guest_on_tap, host_on_bridge
from tests.support.network.frames import ETHERTYPE, GuestTap
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, OVS, Request, library
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug.api.local import LocalHost
from vifplug.trace import text
from vifplug.trace.values import TraceReport

INTERVAL = 0.1
SECONDS = 5
SCREEN_LINES = 40


def traced(host: LocalHost, request: Request) -> TraceReport:
    return host.trace(request.id, interval=INTERVAL)


def must_be_silent(host: LocalHost, request: Request, when: str) -> None:
    report = traced(host, request)
    assert report.causes == (), (when, report.causes)
    assert report.verdict.startswith("Nothing that was looked at"), when


def must_name(report: TraceReport, fault: PathFault, request: Request) -> None:
    names = {**request.names, "mac": request.address}
    words = [word.format(**names) for word in fault.words]
    matching = [
        cause
        for cause in report.causes
        if all(word in f"{cause.subject} {cause.reason} {cause.direction}" for word in words)
    ]
    assert matching, (fault.name, words, report.causes)
    assert fault.remedy.format(**names) in matching[0].remedy, (fault.name, matching[0])
    assert len(text.as_text(report, width=200).splitlines()) <= SCREEN_LINES, fault.name
    if fault.stops:
        assert matching[0] == report.causes[0], (fault.name, report.causes)


def pings(guest: Station, count: int = 1) -> bool:
    return guest.run("ping", f"-c{count}", "-W1", HOST, check=False).returncode == 0


@pytest.fixture
def guest(world: World) -> Iterator[Station]:
    """A guest of the hybrid VIF that reaches a host."""
    with library(world) as host:
        host.plug([HYBRID.vif])
    on_tap = guest_on_tap(world, HYBRID.tap, HYBRID.address, GUEST, MTU)
    with on_tap as station, host_on_bridge(world, "br-int", HOST, outer=STATION):
        world.ip("link", "set", HYBRID.tap, "mtu", str(MTU), "master", HYBRID.qbr, "up")
        yield station


def test_each_fault_of_a_hybrid_path_is_named_with_its_remedy(world: World, guest: Station) -> None:
    wait_until(lambda: pings(guest), "the first ping")
    with library(world) as host:
        must_be_silent(host, HYBRID, "before")
        for fault in ON_HYBRID:
            fault.inflict(world, HYBRID)
            if fault.stops:
                # Open vSwitch removes a flow from its datapath within half a second.
                wait_until(lambda: not pings(guest), f"the end of pings by {fault.name}")
            must_name(traced(host, HYBRID), fault, HYBRID)
            fault.lift(world, HYBRID)
            host.repair([HYBRID.id])
            wait_until(lambda: pings(guest), f"a ping after {fault.name}")
            must_be_silent(host, HYBRID, f"after {fault.name}")


TAP = OVS.but(create_tap=True)


def frame(source: str) -> bytes:
    """A broadcast frame of IPv4."""
    return b"\xff" * 6 + bytes.fromhex(source.replace(":", "")) + b"\x08\x00" + bytes(46)


def sent(guest: GuestTap, frame: bytes) -> bool:
    guest.send(frame)
    return True


@pytest.fixture
def plugged(world: World) -> Iterator[LocalHost]:
    """A host with a tap that vifplug made on br-int, a host behind the bridge, and no guest yet."""
    with library(world) as host, host_on_bridge(world, "br-int", HOST, outer=STATION):
        host.plug([TAP.vif])
        yield host


def test_guests_end_and_what_the_guest_does_is_named(world: World, plugged: LocalHost) -> None:
    assert "no program has" in traced(plugged, TAP).verdict
    guest = GuestTap(world, TAP.tap, TAP.address)
    wait_until(lambda: "has sent no frame" in traced(plugged, TAP).verdict, "the silent guest")
    guest.close()
    with guest_on_tap(world, TAP.tap, TAP.address, GUEST, MTU) as station:
        wait_until(lambda: pings(station), "the first ping")
        must_be_silent(plugged, TAP, "with a guest that pings")
        other = "02:00:00:00:00:99"
        for address, words in ((other, f"sends from MAC {other}"), (TAP.address, "Nothing that was looked at")):
            station.run("ip", "link", "set", "eth0", "address", address)
            world.appctl("fdb/flush", "br-int")
            pings(station)
            assert words in traced(plugged, TAP).verdict
        plugged.plug([HYBRID.but(address=TAP.address).vif])
        assert f"VIF {HYBRID.id} has the same MAC" in traced(plugged, TAP).verdict
        plugged.unplug([HYBRID.id])
        must_be_silent(plugged, TAP, "after the second VIF")
    world.ip("link", "delete", TAP.tap)
    world.run("ip", "tuntap", "add", "dev", TAP.tap, "mode", "tap")
    report = traced(plugged, TAP)
    assert f"{TAP.tap} ifindex" in report.verdict and f"vifplug repair {TAP.id}" in report.verdict
    plugged.repair([TAP.id])
    assert "no program has" in traced(plugged, TAP).verdict


def test_switch_that_hangs_or_is_away_is_the_one_cause(world: World, plugged: LocalHost) -> None:
    guest = GuestTap(world, TAP.tap, TAP.address)
    wait_until(lambda: sent(guest, frame(TAP.address)) and traced(plugged, TAP).causes == (), "a healthy path")
    for fault, end, words in (
        (world.pause_vswitchd, world.resume_vswitchd, "ovs-vswitchd does not work: no answer"),
        (world.ovsdb.pause, world.ovsdb.resume, "may stop at OVSDB"),
        (world.stop_vswitchd, world.start_vswitchd, "ovs-vswitchd does not work: no control socket"),
    ):
        fault()
        report = traced(plugged, TAP)
        assert words in report.verdict and "systemctl start openvswitch-switch" in report.verdict
        assert len(report.causes) == 1, report.causes
        assert {"OpenFlow flows", "datapath flows"} <= set(report.claims.not_looked_at)
        end()
        wait_until(lambda: traced(plugged, TAP).causes == (), f"a healthy path after {words}")
    guest.close()


def test_probe_counts_frames_only_where_no_guest_is(world: World, plugged: LocalHost) -> None:
    before = world.snapshot()
    probe = plugged.trace(TAP.id, interval=INTERVAL, probe=True).probe
    assert probe is not None and (probe.sent, probe.stopped_at, list(probe.reached)) == (16, None, [TAP.tap])
    assert world.snapshot() == before
    guest = GuestTap(world, TAP.tap, TAP.address)
    probe = plugged.trace(TAP.id, interval=INTERVAL, probe=True).probe
    assert probe is not None and probe.sent == 0 and "has" in probe.reason and "open" in probe.reason
    guest.close()
    plugged.plug([HYBRID.vif])
    probe = plugged.trace(HYBRID.id, interval=INTERVAL, probe=True).probe
    assert probe is not None and probe.sent == 0 and "no tap that vifplug made" in probe.reason


def test_probe_sends_whole_frames_after_a_guest_with_a_longer_header(world: World, plugged: LocalHost) -> None:
    guest = GuestTap(world, TAP.tap, TAP.address)
    guest.negotiate()
    guest.close()
    with world.namespace.entered():
        watcher = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    with watcher:
        watcher.bind((TAP.tap, ETHERTYPE))
        watcher.settimeout(SECONDS)
        assert plugged.trace(TAP.id, interval=INTERVAL, probe=True).probe is not None
        assert watcher.recv(2048)[:12] == b"\xff" * 6 + bytes.fromhex(TAP.address.replace(":", ""))


def test_filter_that_drops_a_guests_frames_is_named(world: World) -> None:
    world.write_config(filter={"enabled": "true"})
    with library(world) as host:
        host.plug([HYBRID.but(allowed_addresses=[{"ip": GUEST}]).vif])
        with host_on_bridge(world, "br-int", HOST, outer=STATION):
            guest = GuestTap(world, HYBRID.tap, HYBRID.address)
            world.ip("link", "set", HYBRID.tap, "mtu", str(MTU), "master", HYBRID.qbr, "up")

            def verdict() -> str:
                # Sent by another thread: the interval must contain them.
                sender = threading.Timer(0.1, lambda: [sent(guest, frame("02:00:00:00:00:99")) for _number in range(9)])
                sender.start()
                report = host.trace(HYBRID.id, interval=0.5)
                sender.join()
                return report.verdict

            wait_until(lambda: "vifplug's filter dropped" in verdict(), "the filter's verdict")
            guest.close()


def test_command_and_daemon_answer_alike(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
    local = world.vifplug_json("--local", "trace", HYBRID.id, "--interval", "0.1")
    with Vifplugd(world):
        remote = world.vifplug_json("trace", HYBRID.tap, "--interval", "0.1")
        assert remote["verdict"].startswith("Frames from the guest and to it stop at")
        assert [hop["name"] for hop in remote["hops"]] == [hop["name"] for hop in local["hops"]]
        assert remote.keys() == local.keys()
        refused = world.vifplug("trace", HYBRID.id, "--interval", "99", check=False)
        assert refused.returncode == 2 and "interval" in refused.stderr
