"""Stations that the kernel knows: entries of bridges' forwarding tables, and neighbours of the host."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from vifplug.netlink import socket as netlink
from vifplug.netlink.message import ip_text

_GETNEIGH = 30
_NDMSG = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, ifindex, state, flags, type."""
_DST, _LLADDR, _CACHEINFO, _VLAN, _MASTER = 1, 2, 3, 5, 9
_CACHE = struct.Struct("=IIII")
"""struct nda_cacheinfo: confirmed, used, updated (ages, in ticks), references."""
_TICKS = os.sysconf("SC_CLK_TCK")
_SELF = 0x02
_STATES = {
    **{0x01: "incomplete", 0x02: "reachable", 0x04: "stale", 0x08: "delay", 0x10: "probe", 0x20: "failed"},
    **{0x40: "noarp", 0x80: "permanent"},
}
"""NUD_..."""


def learnt(socket_: netlink.LinkSocket, bridges: Mapping[int, str], names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Every entry of these Linux bridges' forwarding tables but those of the ports' own MACs.

    :param bridges: their names by ifindex.
    :param names: of all links.
    :returns: ``bridge``, ``port``, ``address``, ``vlan``, ``kind``, and ``age``, the seconds since it was last renewed.
    :raises LinkError: the kernel refuses the dump.
    """
    entries = []
    for index, state, flags, attrs in _neighbours(socket_, socket.AF_BRIDGE):
        bridge = bridges.get(_number(attrs.get(_MASTER)))
        if bridge is None or flags & _SELF or state & 0x80:
            continue
        entries.append(
            {
                "bridge": bridge,
                "port": names.get(index, f"#{index}"),
                "address": attrs.get(_LLADDR, b"").hex(":"),
                "vlan": _number(attrs.get(_VLAN)),
                "kind": "static" if state & 0x40 else "learnt",
                "age": _ages(attrs)[2],
            }
        )
    return entries


def neighbours(socket_: netlink.LinkSocket, address: str, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """What the host itself knows of a MAC: its neighbours of that address.

    :returns: ``device``, ``ip``, ``state``, and ``age``, the seconds since it was confirmed.
    :raises LinkError: the kernel refuses a dump.
    """
    return [
        {
            "device": names.get(index, f"#{index}"),
            "ip": ip_text(attrs[_DST]),
            "state": _STATES.get(state, str(state)),
            "age": _ages(attrs)[0],
        }
        for family in (socket.AF_INET, socket.AF_INET6)
        for index, state, _flags, attrs in _neighbours(socket_, family)
        if attrs.get(_LLADDR, b"").hex(":") == address and _DST in attrs
    ]


def _neighbours(socket_: netlink.LinkSocket, family: int) -> Iterator[tuple[int, int, int, dict[int, bytes]]]:
    with netlink.reading("the kernel's tables of stations"):
        payloads = socket_.table(_GETNEIGH, _NDMSG.pack(family, 0, 0, 0, 0))
    for payload in payloads:
        its_family, index, state, flags, _type = _NDMSG.unpack_from(payload)
        if its_family == family:
            yield index, state, flags, netlink.attributes(payload, _NDMSG.size)


def _ages(attrs: Mapping[int, bytes]) -> tuple[float, float, float]:
    cache = attrs.get(_CACHEINFO, b"")
    if len(cache) < _CACHE.size:
        return 0.0, 0.0, 0.0
    confirmed, used, updated, _references = _CACHE.unpack_from(cache)
    return confirmed / _TICKS, used / _TICKS, updated / _TICKS


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder)
