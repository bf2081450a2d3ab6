"""Counters of links, by the kernel's statistics messages: 200 bytes a link, where a link message has 1,500."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from vifplug.netlink import socket as netlink

_GETSTATS = 94
_IF_STATS = struct.Struct("=BxxxII")
"""struct if_stats_msg: family, ifindex, filter mask."""
_LINK_64 = 1
"""IFLA_STATS_LINK_64; the mask has a bit for it, from 0."""
_COUNTED = struct.Struct("=8Q")
"""The beginning of struct rtnl_link_stats64."""
_NAMES = ("received", "sent", "received_bytes", "sent_bytes")
_FAILED = ("received_errors", "sent_errors", "received_dropped", "sent_dropped")
NAMES = (*_NAMES, *_FAILED)
"""Of the counters, in the kernel's order; as the device counts: what a guest sends, its tap has received."""


def counters(socket_: netlink.LinkSocket, indexes: Mapping[int, str]) -> dict[str, dict[str, int]]:
    """The counters of links, by name.

    :param indexes: the names by ifindex.
    :raises LinkError: the kernel refuses the dump.
    """
    with netlink.reading("the counters of links"):
        payloads = socket_.table(_GETSTATS, _IF_STATS.pack(0, 0, 1 << (_LINK_64 - 1)))
    counted: dict[str, dict[str, int]] = {}
    for payload in payloads:
        _family, index, _mask = _IF_STATS.unpack_from(payload)
        if index in indexes:
            values = netlink.attributes(payload, _IF_STATS.size).get(_LINK_64, b"")
            if len(values) >= _COUNTED.size:
                counted[indexes[index]] = dict(zip(NAMES, _COUNTED.unpack_from(values), strict=True))
    return counted
