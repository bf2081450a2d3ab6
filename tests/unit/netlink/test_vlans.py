"""The messages that set and show the VLANs of a bridge's port, read back by pyroute2."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_SETLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from vifplug.netlink import socket as netlink
from vifplug.netlink import vlans
from vifplug.netlink.message import HEADER, IFINFO, Message, attribute

AF_BRIDGE = 7
PVID, UNTAGGED, BEGIN, END = 2, 4, 8, 16


def parsed(message: Message) -> tuple[int, int, int, list[tuple[int, int]]]:
    """Type, family, ifindex, and VLANs with their flags."""
    read: Any = ifinfmsg(message.numbered(1))
    # pyroute2 knows the family's attributes by the family.
    read.decode()
    (spec,) = [value for name, value in read["attrs"] if name == "IFLA_AF_SPEC"]
    entries = [(value["flags"], value["vid"]) for name, value in spec["attrs"] if name == "IFLA_BRIDGE_VLAN_INFO"]
    assert len(message.numbered(1)) == HEADER.size + len(message.body)
    return message.kind, read["family"], read["index"], entries


@pytest.mark.parametrize(
    ("vlan", "others"),
    [
        (5, [(BEGIN, 1), (END, 4), (BEGIN, 6), (END, 4094)]),
        (1, [(BEGIN, 2), (END, 4094)]),
        (2, [(0, 1), (BEGIN, 3), (END, 4094)]),
        (4093, [(BEGIN, 1), (END, 4092), (0, 4094)]),
        (4094, [(BEGIN, 1), (END, 4093)]),
    ],
)
def test_port_leaves_every_other_vlan_before_it_joins_its_own(vlan: int, others: Sequence[tuple[int, int]]) -> None:
    leaving, joining = vlans.access(7, vlan)
    assert parsed(leaving) == (RTM_DELLINK, AF_BRIDGE, 7, others)
    assert parsed(joining) == (RTM_SETLINK, AF_BRIDGE, 7, [(PVID | UNTAGGED, vlan)])


def test_trunk_is_in_every_vlan_tagged() -> None:
    (joining,) = vlans.trunk(7)
    assert parsed(joining) == (RTM_SETLINK, AF_BRIDGE, 7, [(BEGIN, 1), (END, 4094)])


class Kernel(netlink.LinkSocket):
    """A socket whose dumps show some ports."""

    def __init__(self, *ports: tuple[int, list[tuple[int, int]]], own: int | None = None) -> None:
        self.dumps: list[tuple[int, int]] = []
        self._payloads = [_port(index, entries) for index, entries in ports]
        if own is not None:  # what a NIC that is a bridge by itself shows besides
            self._payloads.append(_port(own, [(PVID, 99)], attribute(0, struct.pack("=H", 2))))

    def dump(self, master: int = 0, *, family: int = 0, mask: int = 0) -> list[bytes]:
        self.dumps.append((family, mask))
        return self._payloads


def _port(index: int, entries: list[tuple[int, int]], more: bytes = b"") -> bytes:
    spec = more + b"".join(attribute(2, struct.pack("=HH", *entry)) for entry in entries)
    return IFINFO.pack(AF_BRIDGE, 0, index, 0, 0) + attribute(3, b"tap0\0") + attribute(26, spec)


def links(*, filtering: int) -> dict[str, dict[str, Any]]:
    bridge = {"ifindex": 3, "master": None, "vlan_filtering": filtering}
    return {"br0": bridge, "tap0": {"ifindex": 7, "master": "br0"}, "eth0": {"ifindex": 8, "master": None}}


@pytest.mark.parametrize(
    ("entries", "shown"),
    [
        ([(PVID | UNTAGGED, 5)], 5),
        ([], "none"),
        ([(0, 5)], "5 tagged"),
        ([(PVID, 5)], "5 pvid"),
        ([(PVID | UNTAGGED, 1), (UNTAGGED, 5)], "1 pvid untagged, 5 untagged"),
        ([(PVID | UNTAGGED, 5), (BEGIN, 100), (END, 300)], "5 pvid untagged, 100-300 tagged"),
    ],
)
def test_vlans_of_a_port_are_a_number_or_words(entries: list[tuple[int, int]], shown: int | str) -> None:
    read, kernel = links(filtering=1), Kernel((7, entries), own=7)
    vlans.with_vlans(kernel, read)
    assert {name: link.get("bridge_vlan") for name, link in read.items()} == {"br0": None, "tap0": shown, "eth0": None}
    assert kernel.dumps == [(AF_BRIDGE, 4)]


def test_nothing_more_is_read_without_a_port_of_a_bridge_that_filters() -> None:
    kernel = Kernel((7, [(PVID | UNTAGGED, 5)]))
    read = links(filtering=0)
    vlans.with_vlans(kernel, read)
    assert kernel.dumps == [] and "bridge_vlan" not in read["tap0"]


def test_port_without_a_message_is_in_no_vlan() -> None:
    read = links(filtering=1)
    vlans.with_vlans(Kernel(), read)
    assert read["tap0"]["bridge_vlan"] == "none"
