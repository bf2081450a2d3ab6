"""The VLANs of ports of Linux bridges that filter by VLAN: read from the kernel, and the messages that set them.

They are in no message of the link itself, only in those of the family AF_BRIDGE (IFLA_AF_SPEC, with
IFLA_BRIDGE_VLAN_INFO of linux/if_bridge.h).
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any

from vifplug import naming
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import IFINFO, Message, attribute
from vifplug.netlink.numbers import NLM_F_ACK, NLM_F_REQUEST, RTM_DELLINK, RTM_SETLINK

_EXT_MASK_COMPRESSED = 4
"""RTEXT_FILTER_BRVLAN_COMPRESSED: VLANs that follow each other are a range."""
_AF_SPEC, _BRIDGE_FLAGS, _VLAN_INFO = 26, 0, 2
_SELF = 2
"""BRIDGE_FLAGS_SELF: the message of a device that is a bridge by itself, as some NICs are."""
_INFO = struct.Struct("=HH")
"""struct bridge_vlan_info: flags, VLAN id."""
_PVID, _UNTAGGED, _BEGIN, _END = 2, 4, 8, 16
_ACCESS = _PVID | _UNTAGGED


def with_vlans(socket_: netlink.LinkSocket, links: dict[str, dict[str, Any]]) -> None:
    """Add to ports of bridges that filter by VLAN their VLANs: one more message, only if there is such a port.

    :raises LinkError: the kernel refuses the dump.
    """
    bridges = {name for name, link in links.items() if link.get("vlan_filtering")}
    ports = [link for link in links.values() if link["master"] in bridges] if bridges else []
    if not ports:
        return
    with netlink.reading("the VLANs of bridges' ports"):
        payloads = socket_.dump(family=socket.AF_BRIDGE, mask=_EXT_MASK_COMPRESSED)
    read = dict(_decoded(payloads))
    for link in ports:
        link["bridge_vlan"] = read.get(link["ifindex"], _shown([]))


def _decoded(payloads: list[bytes]) -> Iterator[tuple[int, int | str]]:
    for payload in payloads:
        index, _flags, attrs = netlink.link_header(payload)
        spec = list(netlink.each_attribute(attrs.get(_AF_SPEC, b"")))
        if any(number == _BRIDGE_FLAGS and int.from_bytes(value, sys.byteorder) == _SELF for number, value in spec):
            continue
        yield index, _shown([_INFO.unpack_from(value) for number, value in spec if number == _VLAN_INFO])


def _shown(entries: list[tuple[int, int]]) -> int | str:
    """A port's VLANs: the number of the only one if that is untagged both ways, else all in words."""
    match entries:
        case [(flags, vlan)] if flags & (_ACCESS | _BEGIN | _END) == _ACCESS:
            return vlan
    words: list[str] = []
    for flags, vlan in entries:
        if flags & _END and words:
            words[-1] = words[-1].replace(" ", f"-{vlan} ", 1)
            continue
        modes = [name for bit, name in ((_PVID, "pvid"), (_UNTAGGED, "untagged")) if flags & bit]
        words.append(f"{vlan} {' '.join(modes) or 'tagged'}")
    return ", ".join(words) or "none"


def access(index: int, vlan: int) -> list[Message]:
    """Messages that leave a port in one VLAN, untagged: it leaves the others first, so that it is never in two.

    The kernel takes the deletion of VLANs that the port does not have as done (br_vlan_info), so the port need not be
    read before.

    :param index: the port's ifindex.
    """
    others = [*_range(naming.VLAN_MIN, vlan - 1), *_range(vlan + 1, naming.VLAN_MAX)]
    return [_message(RTM_DELLINK, index, others), _message(RTM_SETLINK, index, [(_ACCESS, vlan)])]


def trunk(index: int) -> list[Message]:
    """The message that makes a port a member of all VLANs, tagged, whatever it had before.

    :param index: the port's ifindex.
    """
    return [_message(RTM_SETLINK, index, _range(naming.VLAN_MIN, naming.VLAN_MAX))]


def _range(first: int, last: int) -> list[tuple[int, int]]:
    if first > last:
        return []
    return [(0, first)] if first == last else [(_BEGIN, first), (_END, last)]


def _message(kind: int, index: int, entries: list[tuple[int, int]]) -> Message:
    spec = b"".join(attribute(_VLAN_INFO, _INFO.pack(*entry)) for entry in entries)
    body = IFINFO.pack(socket.AF_BRIDGE, 0, index, 0, 0) + attribute(_AF_SPEC, spec)
    return Message(kind, NLM_F_REQUEST | NLM_F_ACK, body)
