"""Entries of VXLAN devices' forwarding databases: the hosts that receive what has no known destination."""

from __future__ import annotations

import socket
import struct

from vifplug.netlink import socket as netlink
from vifplug.netlink.message import ip_text

_GETNEIGH = 30
"""RTM_GETNEIGH of linux/rtnetlink.h."""
_NDMSG = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, ifindex, state, flags, type."""
_SELF = 0x02
_DST, _LLADDR, _PORT, _VNI = 1, 2, 6, 7
_ANY_STATION = bytes(6)


def peers(socket_: netlink.LinkSocket, index: int) -> tuple[str, ...]:
    """The addresses that a device sends to what it knows no destination of, in order; a multicast group is one.

    An entry with a UDP port or a number of its own is another program's special case, and does not count.

    :raises LinkError: the kernel refuses the dump.
    """
    with netlink.reading(f"the forwarding database of the link of ifindex {index}"):
        payloads = socket_.table(_GETNEIGH, _NDMSG.pack(socket.AF_BRIDGE, index, 0, 0, 0))
    peers_of = (_peer(payload, index) for payload in payloads)
    return tuple(sorted({address for address in peers_of if address}))


def _peer(payload: bytes, index: int) -> str:
    _family, its_index, _state, flags, _type = _NDMSG.unpack_from(payload)
    if its_index != index or not flags & _SELF:
        return ""
    attrs = netlink.attributes(payload, _NDMSG.size)
    if attrs.get(_LLADDR) != _ANY_STATION or _DST not in attrs or _PORT in attrs or _VNI in attrs:
        return ""
    return ip_text(attrs[_DST])
