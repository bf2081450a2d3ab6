"""Addresses and routes of the host's devices. Reading them needs no privilege."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from vifplug.netlink import socket as netlink
from vifplug.netlink.message import attribute

_GETADDR, _GETROUTE = 22, 26
_IFADDRMSG = struct.Struct("=BBBBi")
"""struct ifaddrmsg: family, prefix length, flags, scope, index."""
_RTMSG = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, destination length, source length, TOS, table, protocol, scope, type, flags."""
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_DST, _RTA_OIF = 1, 4
_BY_KERNEL, _UNICAST = 2, 1
"""RTPROT_KERNEL, RTN_UNICAST."""
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def addresses(socket_: netlink.LinkSocket) -> dict[int, tuple[str, ...]]:
    """The addresses of the host's devices by ifindex, without the link-local ones of IPv6, which the kernel gives to
    every device that is up.

    :raises LinkError: the kernel refuses the dump.
    """
    held: dict[int, tuple[str, ...]] = {}
    for payload in _table(socket_, _GETADDR, _IFADDRMSG.pack(0, 0, 0, 0, 0)):
        family, _length, _flags, _scope, index = _IFADDRMSG.unpack_from(payload)
        attrs = netlink.attributes(payload, _IFADDRMSG.size)
        address = attrs.get(_IFA_LOCAL, attrs.get(_IFA_ADDRESS))
        if family in _FAMILIES and address is not None and not _is_link_local(family, address):
            held[index] = (*held.get(index, ()), socket.inet_ntop(family, address))
    return held


def routes(socket_: netlink.LinkSocket, index: int) -> tuple[str, ...]:
    """The routes through a device, in any table, that some program has set: ``default``, or their destinations.

    :raises LinkError: the kernel refuses the dump.
    """
    return tuple(route for family in _FAMILIES for route in _routes(socket_, index, family))


def _routes(socket_: netlink.LinkSocket, index: int, family: int) -> Iterator[str]:
    request = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0) + attribute(_RTA_OIF, struct.pack("=I", index))
    for payload in _table(socket_, _GETROUTE, request):
        its_family, length, _source, _tos, _table_id, protocol, _scope, type_, _flags = _RTMSG.unpack_from(payload)
        attrs = netlink.attributes(payload, _RTMSG.size)
        if its_family != family or protocol == _BY_KERNEL or type_ != _UNICAST:
            continue
        destination = attrs.get(_RTA_DST)
        if destination is None:
            yield "default"
        elif not _is_link_local(family, destination):
            yield f"{socket.inet_ntop(family, destination)}/{length}"


def _is_link_local(family: int, address: bytes) -> bool:
    return family == socket.AF_INET6 and address[0] == 0xFE and address[1] & 0xC0 == 0x80


def _table(socket_: netlink.LinkSocket, kind: int, body: bytes) -> list[bytes]:
    with netlink.reading("the host's addresses and routes"):
        return socket_.table(kind, body)
