"""Link messages, byte for byte as pyroute2 encodes them."""

from __future__ import annotations

from typing import Any

import pyroute2.netlink.rtnl
import pytest
from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from vifplug.netlink import message as link_message
from vifplug.netlink import numbers

ACKNOWLEDGED = 0x1 | 0x4
NEW = 0x200 | 0x400
OURS = [("IFLA_IFNAME", "qvb14ec4c8b-00"), ("IFLA_ADDRESS", "02:a1:00:00:fe:01"), ("IFLA_MTU", 1450)]
PEERS = [("IFLA_IFNAME", "qvo14ec4c8b-00"), ("IFLA_ADDRESS", "02:a1:00:00:fe:02"), ("IFLA_MTU", 1450)]


def by_pyroute2(attrs: list[tuple[str, Any]], *, asked: int = 0, delete: bool = False, **fields: int) -> bytes:
    """The oracle's encoding."""
    msg = ifinfmsg()
    for name, value in fields.items():
        msg[name] = value
    msg["attrs"] = attrs
    msg["header"]["type"] = RTM_DELLINK if delete else RTM_NEWLINK
    msg["header"]["flags"] = ACKNOWLEDGED | asked
    msg["header"]["sequence_number"] = 7
    msg["header"]["pid"] = 0
    msg.encode()
    return bytes(msg.data)


@pytest.mark.parametrize(
    "attribute",
    [
        ("IFLA_IFALIAS", "vifplug:14ec4c8b-001b-49c3-89fb-bf84c4f41e24"),
        ("IFLA_IFALIAS", ""),
        ("IFLA_ADDRESS", "fa:16:3e:0b:2d:7f"),
        ("IFLA_MASTER", (1 << 31) - 1),
        ("IFLA_MASTER", 0),
        ("IFLA_MTU", 9000),
        ("IFLA_GROUP", 1 << 20),
    ],
)
def test_one_attribute(attribute: tuple[str, Any]) -> None:
    assert link_message.message(4711, [attribute]).numbered(7) == by_pyroute2([attribute], index=4711)


def test_flags() -> None:
    ours = link_message.message(4711, link_flags=0x101, change=0x101).numbered(7)
    assert ours == by_pyroute2([], index=4711, change=0x101, flags=0x101)


def test_a_group_goes() -> None:
    attrs = [("IFLA_GROUP", 1 << 20)]
    assert link_message.message(attrs=attrs, delete=True).numbered(7) == by_pyroute2(attrs, delete=True)


def test_a_bridge_is_made() -> None:
    settings = [("IFLA_BR_STP_STATE", 0), ("IFLA_BR_FORWARD_DELAY", 0), ("IFLA_BR_MCAST_SNOOPING", 0)]
    ours = link_message.message(5, [*OURS, link_message.linkinfo("bridge", settings)], flags=link_message.CREATE)
    info = {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": settings})]}
    assert ours.numbered(7) == by_pyroute2([*OURS, ("IFLA_LINKINFO", info)], asked=NEW, index=5)


def test_a_pair_is_made() -> None:
    far = link_message.peer(6, PEERS, link_flags=0x100)
    ours = link_message.message(5, [*OURS, link_message.linkinfo("veth", [far])], flags=link_message.CREATE)
    theirs = {"index": 6, "flags": 0x100, "change": 0x100, "attrs": PEERS}
    data = {"attrs": [("VETH_INFO_PEER", theirs)]}
    info = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}
    assert ours.numbered(7) == by_pyroute2([*OURS, ("IFLA_LINKINFO", info)], asked=NEW, index=5)


def test_numbers_are_pyroute2s() -> None:
    ours = {name: value for name, value in vars(numbers).items() if name.startswith(("NLM", "RTM"))}
    theirs = vars(pyroute2.netlink) | vars(pyroute2.netlink.rtnl)
    assert ours == {name: theirs[name] for name in ours}
    known = (ifinfmsg, ifinfmsg.ifinfo, ifinfmsg.ifinfo.veth_data)
    maps = {name: (number, kind) for table in known for number, (name, kind) in enumerate(table.nla_map)}
    for name, (number, width) in numbers.ATTRIBUTES.items():
        assert maps[name][0] == number, name
        assert not width or maps[name][1] == width, name
