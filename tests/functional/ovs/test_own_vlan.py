"""ovs and ovs-hybrid with a VLAN of their own: which frames pass where, from creation on and through repairs."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults.drifts import host_end
from tests.support.network.endpoints import Station, guest_in_bridge, guest_on_tap, host_on_bridge
from tests.support.network.traffic import Frame, Sniffer, ping, transfer
from tests.support.network.writes import watched
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, OVS, OWN_BRIDGE, Request, library, must_row
from tests.support.world.daemons import PATIENCE, wait_until
from tests.support.world.ovn import Ovn
from tests.support.world.world import World
from vifplug import errors

OTHER = OVS.but(id="0d4f7c1e-5a42-4c08-9d8e-3b1f6a2c7e55", address="fa:16:3e:77:00:06", vlan=6)
PATHS = {"ovs": OVS, "ovs-hybrid": HYBRID, "own bridge": OWN_BRIDGE}
MARKER = b"sent by the guest of VLAN 5"
REPAIRS = 100
REPAIR_SECONDS = 2.0


def vlans(world: World, port: str) -> tuple[object, object, object]:
    row = must_row(world, "Port", port)
    return row["tag"], row["vlan_mode"], row["trunks"]


@contextlib.contextmanager
def guest_of(world: World, request: Request, address: str = GUEST) -> Iterator[Station]:
    if request.type == "ovs-hybrid":
        station = guest_in_bridge(world, request.qbr, address, MTU, request.address, outer=request.tap)
    else:
        station = guest_on_tap(world, request.tap, request.address, address, MTU)
    with station:
        yield station


class Broadcasts:
    """Broadcast frames of a guest, a thousand a second while it is open: untagged ones, and ones tagged with a VLAN."""

    def __init__(self, station: Station, vlan: int) -> None:
        header = b"\xff" * 6 + bytes.fromhex("fa163e000005")
        tagged = b"\x81\x00" + vlan.to_bytes(2)
        self._frames = [header + tag + b"\x88\xb5" + MARKER.ljust(60) for tag in (b"", tagged)]
        with station.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind((station.device, 0))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self.sent = 0

    def _send(self) -> None:
        while not self._closing.wait(0.001):
            for frame in self._frames:
                with contextlib.suppress(OSError):
                    self._socket.send(frame)
                    self.sent += 1

    def __enter__(self) -> Broadcasts:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()


def is_marked(frame: Frame) -> bool:
    return MARKER in frame.data


@pytest.mark.parametrize("path", PATHS)
def test_port_is_on_its_vlan_only_from_its_creation_and_an_unplug_leaves_nothing(world: World, path: str) -> None:
    request = PATHS[path].but(vlan=5)
    before = world.snapshot()
    with library(world) as host:
        number = int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg"))
        (report,) = host.plug([request.vif])
        assert int(world.vsctl("get", "Open_vSwitch", ".", "next_cfg")) == number + 1, "one transaction"
        assert vlans(world, request.port) == (5, "access", [])
        assert [port.tag for port in report.ports if port.name == request.port] == [5]
        for wanted in (request, PATHS[path]):
            with watched(world) as writes:
                host.plug([wanted.vif])
            assert writes.none, writes
        with guest_of(world, request) as guest, host_on_bridge(world, "br-int", HOST) as peer:
            outer = host_end(world)
            assert ping(guest, HOST, count=1) is False, "a port without a tag gets its frames tagged"
            world.vsctl("set", "Port", outer, "tag=5")
            assert ping(guest, HOST, MTU) and transfer(guest, peer) and transfer(peer, guest)
            world.vsctl("set", "Port", outer, "tag=6")
            with Sniffer(world, outer, is_marked) as heard, Broadcasts(guest, 6) as broadcasts:
                wait_until(lambda: broadcasts.sent > 200, "broadcasts")
            assert heard.frames == []
            assert host.check().clean
        host.unplug([request.id])
    assert world.snapshot() == before


def test_another_vlan_is_set_in_place(world: World) -> None:
    with library(world) as host, host_on_bridge(world, "br-int", HOST):
        host.plug([OVS.but(vlan=5).vif])
        world.vsctl("set", "Port", host_end(world), "tag=6")
        with guest_of(world, OVS) as guest:
            before = must_row(world, "Port", OVS.port)["_uuid"], must_row(world, "Interface", OVS.port)["ofport"]
            assert not ping(guest, HOST, count=1)
            for vlan, passes in ((6, True), (5, False), (6, True)):
                world.vifplug("plug", "-", "--vlan", str(vlan), input=OVS.text)
                assert vlans(world, OVS.port) == (vlan, "access", [])
                assert ping(guest, HOST, count=3 if passes else 1) is passes
            world.vifplug("plug", "-", "--vlan", "none", input=OVS.text)
            assert vlans(world, OVS.port) == ([], [], [])
            world.vsctl("clear", "Port", host_end(world), "tag")
            assert ping(guest, HOST)
            after = must_row(world, "Port", OVS.port)["_uuid"], must_row(world, "Interface", OVS.port)["ofport"]
            assert after == before
            assert host.check().clean


def test_no_frame_is_on_another_vlan_while_the_daemon_repairs_port_and_tag(world: World) -> None:
    request = OVS.but(vlan=5)
    with Vifplugd(world, contended_after=1000) as daemon:
        for wanted in (request, OTHER):
            world.vifplug("plug", "-", input=wanted.text)
        with (
            guest_of(world, request) as guest,
            guest_of(world, OTHER, "10.9.0.6"),
            host_on_bridge(world, "br-int", HOST),
        ):
            world.vsctl("set", "Port", host_end(world), "tag=6")
            with (
                Sniffer(world, host_end(world), is_marked) as on_host,
                Sniffer(world, OTHER.tap, is_marked) as on_guest,
                Sniffer(world, OVS.tap, is_marked) as sent,
                Broadcasts(guest, 6),
            ):
                longest = max(damaged_and_repaired(world, number) for number in range(REPAIRS))
            assert len(sent.frames) > REPAIRS
            assert (len(on_host.frames), len(on_guest.frames)) == (0, 0), f"of {len(sent.frames)} sent"
        assert longest < REPAIR_SECONDS * PATIENCE
        # vswitchd may still write back the flags of the device that it closed, which the daemon then repairs.
        wait_until(lambda: world.vifplug_json("check", check=False)["clean"], "clean", REPAIR_SECONDS * PATIENCE)
        assert daemon.log().count("repaired") >= REPAIRS


def damaged_and_repaired(world: World, number: int) -> float:
    """The seconds in which the daemon restores the VLAN: of a port that was deleted, or whose tag was cleared."""
    damage = ("del-port", OVS.port) if number % 2 else ("clear", "Port", OVS.port, "tag")
    world.vsctl(*damage)
    begin = time.monotonic()
    wait_until(lambda: is_repaired(world), f"repair {number}")
    return time.monotonic() - begin


def is_repaired(world: World) -> bool:
    row, interface = world.row("Port", OVS.port), world.row("Interface", OVS.port)
    if row is None or interface is None:
        return False
    return (row["tag"], row["vlan_mode"]) == (5, "access") and interface["ofport"] not in ([], -1)


def test_bridge_that_ovn_wires_takes_no_vlan_of_ours(world: World) -> None:
    with Ovn(world), library(world) as host:
        before = world.snapshot()
        for request in (OVS, HYBRID):
            with pytest.raises(errors.Conflict, match="has vlan 5, but OVN wires the ports of OVS bridge 'br-int'"):
                host.plug([request.but(vlan=5).vif])
        result = world.vifplug("plug", "-", "--vlan", "5", input=OVS.text, check=False)
        assert (result.returncode, result.stderr.count("\n")) == (4, 1), result.stderr
        assert world.snapshot() == before
        assert host.list() == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--vlan", "0"], "0"),
        (["--vlan", "4095"], "4095"),
        (["--vlan", "five"], "five"),
    ],
)
def test_vlan_out_of_bounds_is_bad_usage(world: World, options: list[str], text: str) -> None:
    before = world.snapshot()
    result = world.vifplug("plug", "-", *options, input=OVS.text, check=False)
    assert result.returncode == 2
    assert f"'{text}' is not a VLAN; it must be a VLAN id from 1 to 4094" in result.stderr
    assert world.snapshot() == before
