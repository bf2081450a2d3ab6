"""Queueing disciplines of links with what they dropped, and the filters that handle frames before a bridge does."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from vifplug.errors import LinkError
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import INGRESS, ROOT

_GETFILTER, _GETQDISC = 46, 38
_TCMSG = struct.Struct("=BxxxiIII")
"""struct tcmsg: family, ifindex, handle, parent, info."""
_KIND, _OPTIONS, _STATS2 = 1, 2, 7
_QUEUE, _DROPS = 3, struct.Struct("=III")
"""TCA_STATS_QUEUE; the beginning of struct gnet_stats_queue: queue length, backlog, drops."""
_EGRESS = 0xFFFFFFF3
"""TC_H_MIN_EGRESS of clsact, whose ingress side is 0xfffffff2; of the qdisc "ingress" it is its handle."""
_SIDES = {"ingress": (0xFFFF0000,), "clsact": (0xFFFFFFF2, _EGRESS)}
_ACTIONS_OF = {"matchall": 2, "flower": 3, "u32": 7, "bpf": 1, "basic": 3, "fw": 4}
"""The attribute of a filter's options that lists its actions; TCA_..._ACT."""
_ACT_KIND, _ACT_OPTIONS, _PARMS = 1, 2, 2
_GEN = struct.Struct("=IIi")
"""The beginning of tc_gen: index, capabilities, action."""
_SHOT = 2


def disciplines(socket_: netlink.LinkSocket, indexes: Mapping[int, str]) -> dict[str, list[dict[str, Any]]]:
    """The queueing disciplines of links, by name: ``kind``, ``place`` (root, ingress, class), ``dropped``.

    :raises LinkError: the kernel refuses the dump.
    """
    listed: dict[str, list[dict[str, Any]]] = {}
    with netlink.reading("queueing disciplines"):
        payloads = socket_.table(_GETQDISC, _TCMSG.pack(0, 0, 0, 0, 0))
    for payload in payloads:
        _family, index, _handle, parent, _info = _TCMSG.unpack_from(payload)
        if index in indexes:
            attrs = netlink.attributes(payload, _TCMSG.size)
            place = "ingress" if parent == INGRESS else "root" if parent == ROOT else "class"
            discipline = {"kind": _text(attrs.get(_KIND)), "place": place, "dropped": _dropped(attrs)}
            listed.setdefault(indexes[index], []).append(discipline)
    return listed


def _dropped(attrs: Mapping[int, bytes]) -> int:
    queue = netlink.attributes(attrs.get(_STATS2, b"")).get(_QUEUE, b"")
    return int(_DROPS.unpack_from(queue)[2]) if len(queue) >= _DROPS.size else 0


def filters(socket_: netlink.LinkSocket, index: int, kind: str) -> list[dict[str, Any]]:
    """The filters of a link's ingress or clsact discipline, which see frames before a bridge, or after it.

    :param kind: of that discipline.
    :returns: ``kind``, ``side`` (ingress, egress), ``drops``, whether an action of it drops, None if that is unknown;
        empty for a kernel without filters.
    """
    listed = []
    for parent in _SIDES.get(kind, ()):
        try:
            with netlink.reading("filters of tc"):
                payloads = socket_.table(_GETFILTER, _TCMSG.pack(0, index, 0, parent, 0))
        except LinkError:
            continue
        side = "egress" if parent == _EGRESS else "ingress"
        for payload in payloads:
            attrs = netlink.attributes(payload, _TCMSG.size)
            options = attrs.get(_OPTIONS)
            if options is not None:  # the first message of a filter has none
                name = _text(attrs.get(_KIND))
                listed.append({"kind": name, "side": side, "drops": _drops(name, options)})
    return listed


def _drops(kind: str, options: bytes) -> bool | None:
    if kind not in _ACTIONS_OF:
        return None
    actions = netlink.attributes(options).get(_ACTIONS_OF[kind])
    if actions is None:
        return False if kind != "bpf" else None
    return any(_shoots(action) for action in _each(actions))


def _each(actions: bytes) -> Iterator[dict[int, bytes]]:
    return (netlink.attributes(action) for _number, action in netlink.each_attribute(actions))


def _shoots(action: Mapping[int, bytes]) -> bool:
    if _text(action.get(_ACT_KIND)) != "gact":
        return False
    parms = netlink.attributes(action.get(_ACT_OPTIONS, b"")).get(_PARMS, b"")
    return len(parms) >= _GEN.size and _GEN.unpack_from(parms)[2] == _SHOT


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")
