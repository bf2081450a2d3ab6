"""What stops frames but is in no link message: entries of bridges' forwarding tables, and the ingress side of queueing
disciplines. Each needs a dump of its own, so check, repair and the daemon read them, and a plug does not."""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Mapping
from typing import Any

from vifplug.netlink import socket as netlink
from vifplug.netlink.message import INGRESS
from vifplug.resources import passage

_GETNEIGH, _GETQDISC = 30, 38
"""RTM_GETNEIGH, RTM_GETQDISC of linux/rtnetlink.h."""
_NDMSG = struct.Struct("=BxxxiHBB")
"""struct ndmsg: family, ifindex, state, flags, type."""
_TCMSG = struct.Struct("=BxxxiIII")
_AF_BRIDGE = 7
_NDA_LLADDR, _NDA_VLAN, _NDA_MASTER = 2, 5, 9
_FIRST_ADDRESS = slice(_NDMSG.size + 4, _NDMSG.size + 10)
"""The position of the MAC if NDA_LLADDR is the first attribute, as bridges send it (fdb_fill_info)."""
_PERMANENT, _NOARP = 0x80, 0x40
_SELF, _STICKY = 0x02, 0x20
_TCA_KIND = 1


def stations(
    socket_: netlink.LinkSocket, links: Mapping[str, Mapping[str, Any]], bridges: Collection[str]
) -> list[dict[str, Any]]:
    """Entries of these bridges' forwarding tables that a program has set: permanent, static or sticky.

    Learnt entries move with their station, and the kernel adds the MACs of the bridge's own ports.

    :raises LinkError: the kernel refuses the dump.
    """
    wanted = {links[name]["ifindex"]: name for name in bridges if name in links}
    if not wanted:
        return []
    names = {link["ifindex"]: link for link in links.values()}
    entries = []
    for payload in _table(socket_, _GETNEIGH, _NDMSG.pack(_AF_BRIDGE, 0, 0, 0, 0)):
        _family, index, state, flags, _type = _NDMSG.unpack_from(payload)
        if flags & _SELF or not (state & (_PERMANENT | _NOARP) or flags & _STICKY):
            continue
        port = names.get(index)
        if state & _PERMANENT and (port is None or payload[_FIRST_ADDRESS].hex(":") == port["address"]):
            continue  # the entry of a port's own MAC, like most: the rest need not be parsed
        attrs = netlink.attributes(payload, _NDMSG.size)
        bridge = wanted.get(_number(attrs.get(_NDA_MASTER)))
        address = ":".join(f"{byte:02x}" for byte in attrs.get(_NDA_LLADDR, b""))
        vlan = _number(attrs.get(_NDA_VLAN))
        if bridge is None or (vlan and not links[bridge].get("vlan_filtering")):
            continue  # another bridge's, or one that only counts on a bridge that filters by VLAN
        if state & _PERMANENT and port is not None and address in (port["address"], links[bridge]["address"]):
            continue
        kind = "permanent" if state & _PERMANENT else "static" if state & _NOARP else "sticky"
        name = port["name"] if port else _name(index)
        entries.append({"bridge": bridge, "port": name, "address": address, "kind": kind, "vlan": vlan})
    return entries


def with_ingress(socket_: netlink.LinkSocket, links: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Links with the kind of the queueing discipline that processes their frames first: ingress or clsact.

    :raises LinkError: the kernel refuses the dump.
    """
    kinds: dict[int, str] = {}
    for payload in _table(socket_, _GETQDISC, _TCMSG.pack(0, 0, 0, 0, 0)):
        _family, index, _handle, parent, _info = _TCMSG.unpack_from(payload)
        if parent == INGRESS:
            kind = netlink.attributes(payload, _TCMSG.size).get(_TCA_KIND, b"")
            kinds[index] = kind.rstrip(b"\0").decode(errors="replace")
    return {
        name: {**link, "impeded": {**link["impeded"], passage.INGRESS: kinds[link["ifindex"]]}}
        if link["ifindex"] in kinds
        else dict(link)
        for name, link in links.items()
    }


def _table(socket_: netlink.LinkSocket, kind: int, body: bytes) -> list[bytes]:
    with netlink.reading("the kernel's tables of links"):
        return socket_.table(kind, body)


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:  # deleted since
        return f"#{index}"


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")
