"""A guest's own frames all pass, and no frame of another's: captured behind the bridge that its tap is on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import pytest

from tests.support.network.frames import GuestTap, HostEnd
from tests.support.network.spoofing import ALLOWED, Frames
from tests.support.network.traffic import Frame, Sniffer
from tests.support.vifs import BRIDGE, HYBRID, LONE_TAP, OVS, Request, library, must_link
from tests.support.world.daemons import PATIENCE, wait_until
from tests.support.world.world import World

NEAR, FAR, SPY = "near", "far", "spy"


def filtered(request: Request) -> Request:
    return request.but(allowed_addresses=ALLOWED)


@pytest.fixture
def enabled(world: World) -> World:
    world.write_config(filter={"enabled": "true"})
    return world


def _on(world: World, bridge: str) -> Callable[[str], None]:
    def join(tap: str) -> None:
        world.ip("link", "set", tap, "master", bridge, "up")

    return join


def _kept(_tap: str) -> None:
    """The tap is where vifplug has put it."""


@contextlib.contextmanager
def ends(world: World, request: Request, bridge: str, join: Callable[[str], None]) -> Iterator[GuestTap]:
    """A guest that has its tap open, and a host's end on the bridge behind it."""
    host = HostEnd(world, NEAR, FAR)
    if world.link(bridge) is not None and must_link(world, bridge)["linkinfo"]["info_kind"] == "bridge":
        world.ip("link", "set", NEAR, "master", bridge)
    else:
        world.vsctl("add-port", bridge, NEAR)
    guest = GuestTap(world, request.tap, request.address)
    try:
        join(request.tap)
        yield guest
    finally:
        guest.close()
        host.close()


def passed(world: World, guest: GuestTap, frames: Mapping[str, bytes]) -> set[str]:
    """The frames that reach the host's end, each sent three times."""
    with Sniffer(world, FAR, lambda frame: not frame.outgoing) as sniffer:
        time.sleep(0.1)
        for _time in range(3):
            for frame in frames.values():
                guest.send(frame)
            time.sleep(0.1)
        time.sleep(0.3 * PATIENCE)
    return {name for name, frame in frames.items() if any(map(_same(frame), sniffer.frames))}


def _same(sent: bytes) -> Callable[[Frame], bool]:
    return lambda frame: frame.data[: len(sent)] == sent or frame.data == sent.rstrip(b"\0")


def must_be_filtered(world: World, guest: GuestTap, *, tagged: bool = True) -> None:
    frames = Frames(guest.address)
    # The kernel shows a packet socket tagged frames without their tag.
    own = {name: frame for name, frame in frames.own.items() if name != "a tagged frame"}
    assert own.keys() - passed(world, guest, own) == set()
    assert passed(world, guest, frames.spoofed) == set()


CASES = {
    "bridge": BRIDGE,
    "bridge, the VMM's tap": BRIDGE.but(create_tap=False),
    "ovs-hybrid": HYBRID.but(create_tap=True),
    "ovs-hybrid, the VMM's tap": HYBRID,
}


@pytest.mark.parametrize("case", CASES)
def test_guest_sends_from_its_own_addresses_only(enabled: World, case: str) -> None:
    request = filtered(CASES[case])
    with library(enabled) as host:
        host.plug([request.vif])
        bridge = request.brq if request.type == "bridge" else "br-int"
        own = request.brq if request.type == "bridge" else request.qbr
        join = _on(enabled, own) if case.endswith("tap") else _kept
        with ends(enabled, request, bridge, join) as guest:
            wait_until(lambda: "a gratuitous ARP" in passed(enabled, guest, Frames(guest.address).own), "a frame")
            must_be_filtered(enabled, guest)
            assert host.check().clean


@pytest.mark.parametrize("case", CASES)
def test_without_the_option_everything_passes(world: World, case: str) -> None:
    """Or the frames above are dropped by something else."""
    request = filtered(CASES[case])
    with library(world) as host:
        (report,) = host.plug([request.vif])
        words = "has allowed_addresses, but [filter] enabled is false: its guest is not limited to them"
        assert report.warnings[0] == f"VIF {request.id} {words}"
        own = request.brq if request.type == "bridge" else request.qbr
        bridge = request.brq if request.type == "bridge" else "br-int"
        with ends(world, request, bridge, _on(world, own) if case.endswith("tap") else _kept) as guest:
            spoofed = {
                name: frame
                for name, frame in Frames(guest.address).spoofed.items()
                # br-int and a bridge do not forward frames of these kinds, or a capture shows them without tags.
                if not any(word in name for word in ("tag", "LLDP", "spanning"))
            }
            wait_until(lambda: spoofed.keys() - passed(world, guest, spoofed) == set(), "the frames")
    assert "vifplug" not in world.run("nft", "list", "tables").stdout


@pytest.mark.kernel_datapath
def test_tap_of_a_port_of_the_kernels_datapath_is_filtered(enabled: World) -> None:
    request = filtered(OVS)
    with library(enabled) as host:
        host.plug([request.vif])
        with ends(enabled, request, "br-int", _kept) as guest:
            wait_until(lambda: "a gratuitous ARP" in passed(enabled, guest, Frames(guest.address).own), "a frame")
            must_be_filtered(enabled, guest)
            assert host.check().clean


@pytest.mark.userspace_datapath
def test_tap_of_an_ovs_port_is_filtered_before_the_switch_gets_its_frames(enabled: World) -> None:
    """A stand-in for the kernel's datapath passes no frames, so a Linux bridge takes its place: it, too, receives them
    behind the ingress hook."""
    enabled.imitate_kernel_datapath()
    enabled.vsctl("set", "Bridge", "br-int", "datapath_type=system")
    request = filtered(OVS)
    with library(enabled) as host:
        host.plug([request.vif])
        enabled.ip("link", "add", SPY, "type", "bridge", "mcast_snooping", "0")
        enabled.ip("link", "set", SPY, "up")
        with ends(enabled, request, SPY, _on(enabled, SPY)) as guest:
            wait_until(lambda: "a gratuitous ARP" in passed(enabled, guest, Frames(guest.address).own), "a frame")
            must_be_filtered(enabled, guest)


def test_lone_tap_is_filtered_wherever_another_program_puts_it(enabled: World) -> None:
    request = filtered(LONE_TAP)
    with library(enabled) as host:
        host.plug([request.vif])
        enabled.ip("link", "add", SPY, "type", "bridge", "mcast_snooping", "0")
        enabled.ip("link", "set", SPY, "up")
        with ends(enabled, request, SPY, _on(enabled, SPY)) as guest:
            wait_until(lambda: "a gratuitous ARP" in passed(enabled, guest, Frames(guest.address).own), "a frame")
            must_be_filtered(enabled, guest)
