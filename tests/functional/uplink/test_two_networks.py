"""Two networks side by side on one device of each host: guests of the one hear nothing of the other.

VLANs need a kernel with 8021q: these run in the booted host (tests/host, batch ``uplinks``).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.endpoints import Station, guest_on_tap
from tests.support.network.traffic import Frame, Sniffer, ping, transfer
from tests.support.network.two_hosts import ADDRESSES, NIC, PHYSNET, Hosts, two_hosts, with_uplink
from tests.support.vifs import BRIDGE, Request, device, must_link
from tests.support.world.daemons import PATIENCE, wait_until
from tests.support.world.world import World

OTHER_NETWORK = "99ec4c8b-001b-49c3-89fb-bf84c4f41e24"
MTU = 1450
ETH_P_VLAN = 0x8100
REPAIRS = 100
BROADCAST_PORT = 4000


@dataclass(frozen=True)
class Case:
    """How two networks are told apart on the wire."""

    uplinks: tuple[dict[str, Any], dict[str, Any]]
    devices: tuple[str, str]
    addresses: bool


def vlan(number: int) -> dict[str, Any]:
    return {"type": "vlan", "physical_network": PHYSNET, "segmentation_id": number}


def vxlan(number: int) -> dict[str, Any]:
    return {"type": "vxlan", "segmentation_id": number, "peers": ADDRESSES}


VXLANS = Case((vxlan(5), vxlan(6)), ("vxlan-5", "vxlan-6"), addresses=True)
VLANS = Case((vlan(5), vlan(6)), (f"{NIC}.5", f"{NIC}.6"), addresses=False)
CASES = [pytest.param(VXLANS, id="vxlan"), pytest.param(VLANS, id="vlan", marks=pytest.mark.kernel_datapath)]


def request(case: Case, host: int, network: int) -> Request:
    """The VIF of a network on a host."""
    uplink = case.uplinks[network]
    own = {"peers": [ADDRESSES[1 - host]], "local_ip": ADDRESSES[host]} if "peers" in uplink else {}
    given = BRIDGE.but(
        id=f"{host:04x}{network:04x}-4734-49a7-9fef-daa6f86f6799",
        address=mac(host, network),
        network={"id": OTHER_NETWORK if network else BRIDGE.document["network"]["id"]},
    )
    return with_uplink(given, MTU, **{**uplink, **own})


def mac(host: int, network: int) -> str:
    return f"fa:16:3e:00:{network:02x}:{host:02x}"


def address(host: int, network: int) -> str:
    """Both networks have the same addresses: a frame in the wrong one would be answered."""
    return f"10.9.0.{10 * network + host + 1}"


def source(frame: Frame) -> str:
    return frame.data[6:12].hex(":")


@contextlib.contextmanager
def plugged(case: Case) -> Iterator[tuple[Hosts, list[list[Station]], object]]:
    """Both networks' VIFs on both hosts, with guests by host and network; and the hosts' state before."""
    with two_hosts(addresses=case.addresses) as hosts, contextlib.ExitStack() as stack:
        hosts.configure(vxlan_local_ip="{}")
        for world in hosts.worlds:
            # So that the tag is in the frame that leaves, where a capture sees it.
            world.run("ethtool", "-K", NIC, "txvlan", "off")
        before = state(hosts)
        guests: list[list[Station]] = []
        for host, world in enumerate(hosts.worlds):
            guests.append([])
            for network in (0, 1):
                asked = request(case, host, network)
                world.vifplug("plug", "-", input=asked.text)
                ip = address(host, network)
                guests[host].append(stack.enter_context(guest_on_tap(world, asked.tap, asked.address, ip, MTU)))
        yield hosts, guests, before


def state(hosts: Hosts) -> object:
    """What an unplug must leave as it was."""
    return [world.snapshot() for world in hosts.worlds], hosts.nics()


def broadcast(station: Station, ending: threading.Event) -> None:
    """Send broadcasts from a guest, 200 a second, until it is to end."""
    with station.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        while not ending.wait(0.005):
            with contextlib.suppress(OSError):
                sender.sendto(b"heard", ("10.9.0.255", BROADCAST_PORT))


@contextlib.contextmanager
def broadcasting(station: Station) -> Iterator[None]:
    ending = threading.Event()
    thread = threading.Thread(target=broadcast, args=(station, ending), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def in_guest(station: Station) -> Sniffer:
    """What a guest receives."""
    return Sniffer(station, station.device, lambda frame: not frame.outgoing)


def leaving(world: World) -> Sniffer:
    """What leaves a host."""
    return Sniffer(world, NIC, lambda frame: frame.outgoing)


def assert_tagged(frames: list[Frame]) -> None:
    """Each frame of a guest has the tag of its network; at least one of each was seen."""
    seen: dict[str, set[int]] = {}
    for frame in frames:
        if source(frame).startswith("fa:16:3e:00"):
            tag = int.from_bytes(frame.data[14:16]) & 0xFFF if frame.ethertype == ETH_P_VLAN else 0
            seen.setdefault(source(frame), set()).add(tag)
    assert {guest: tags for guest, tags in seen.items() if tags != {5 + int(guest[12:14])}} == {}
    assert {guest[12:14] for guest in seen} == {"00", "01"}


@pytest.mark.parametrize("case", CASES)
def test_networks_carry_their_own_frames_and_hear_nothing_of_each_other(case: Case) -> None:
    with plugged(case) as (hosts, guests, before), contextlib.ExitStack() as stack:
        heard = [stack.enter_context(in_guest(guests[host][network])) for host in (0, 1) for network in (0, 1)]
        wires = [stack.enter_context(leaving(world)) for world in hosts.worlds]
        for network in (0, 1):
            one, other = guests[0][network], guests[1][network]
            assert ping(one, other.ip, MTU)
            assert not ping(one, other.ip, MTU + 1, count=1)
            assert transfer(one, other)
            assert transfer(other, one)
            assert not ping(guests[0][network], address(1, 1 - network), count=1), "that is in the other network"
        with broadcasting(guests[0][0]):
            time.sleep(1)
        for number, sniffer in enumerate(heard):
            others = {mac(host, 1 - number % 2) for host in (0, 1)}
            assert not [frame for frame in sniffer.frames if source(frame) in others]
            assert [frame for frame in sniffer.frames if source(frame) == mac(1 - number // 2, number % 2)]
        if case is VLANS:
            assert_tagged([frame for wire in wires for frame in wire.frames])
        for host, world in enumerate(hosts.worlds):
            for network, name in enumerate(case.devices):
                link = must_link(world, name)
                owner = OTHER_NETWORK if network else BRIDGE.document["network"]["id"]
                assert (link["master"], link["ifalias"]) == (device("brq", owner), f"vifplug:net:{owner}")
            assert world.vifplug_json("check")["clean"]
            world.vifplug("unplug", *(request(case, host, network).id for network in (0, 1)))
        assert state(hosts) == before


@pytest.mark.parametrize("case", CASES)
def test_uplink_that_is_repaired_a_hundred_times_lets_nothing_into_the_other_network(case: Case) -> None:
    """Under the daemon, while a guest sends broadcasts: deleted, or taken out of its bridge, in turn."""
    with plugged(case) as (hosts, guests, _before):
        here = hosts.worlds[0]
        options = {"physical_networks": f"{PHYSNET}:{NIC}", "vxlan_local_ip": ADDRESSES[0]}
        with (
            Vifplugd(here, {"bridge": options}, repair_interval=600, contended_after=1000),
            in_guest(guests[0][1]) as near,
            in_guest(guests[1][1]) as far,
            leaving(here) as wire,
            broadcasting(guests[0][0]),
        ):
            for number in range(REPAIRS):
                index = must_link(here, case.devices[0])["ifindex"]
                if number % 2:
                    here.ip("link", "set", case.devices[0], "nomaster")
                else:
                    here.ip("link", "delete", case.devices[0])
                wait_until(lambda: is_back(here, case.devices[0]), f"repair {number}", 2 * PATIENCE)
                assert number % 2 == 0 or must_link(here, case.devices[0])["ifindex"] == index
            wait_until(lambda: ping(guests[0][0], address(1, 0), count=1), "the guests of the network", 20)
        strangers = {mac(0, 0), mac(1, 0)}
        assert not [frame for sniffer in (near, far) for frame in sniffer.frames if source(frame) in strangers]
        if case is VLANS:
            tags = {
                int.from_bytes(frame.data[14:16]) & 0xFFF if frame.ethertype == ETH_P_VLAN else 0
                for frame in wire.frames
                if source(frame) in strangers
            }
            assert tags == {5}


def is_back(world: World, name: str) -> bool:
    link = world.link(name)
    return link is not None and link.get("master") == BRIDGE.brq and "UP" in link["flags"]
