"""Links as they are. Reading needs no privilege, so this runs in the caller."""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import LinkError
from vifplug.netlink import ethtool
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import ARP_ANNOUNCE, ARP_IGNORE, INET_CONF
from vifplug.resources import passage

_IFF_UP, _IFF_PROMISC = 0x1, 0x100
_ADDRESS, _NAME, _MTU, _LINK, _MASTER, _LINKINFO, _ALIAS, _AF_SPEC, _CARRIER = 1, 3, 4, 5, 10, 18, 20, 26, 33
_QDISC, _TXQLEN, _LINKMODE, _XDP = 6, 13, 17, 43
_XDP_ATTACHED = 2
_XDP_MODES = {1: "driver", 2: "generic", 3: "offloaded", 4: "several"}
"""XDP_ATTACHED_... of linux/if_link.h."""
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_BR_VLAN_FILTERING, _BR_GROUP_FWD_MASK = 7, 9
_BR_FORWARD_DELAY, _BR_AGEING, _BR_STP, _BR_MCAST_SNOOPING = 1, 4, 5, 23
_TUN_OWNER, _TUN_GROUP, _TUN_TYPE, _TUN_VNET_HDR, _TUN_PERSIST, _TUN_MULTI_QUEUE = 1, 2, 3, 5, 6, 7
_TUN_TYPE_TAP = 2
_INET6_CONF = 2
# ipv4 devconf numbers count from one, the dumped array from zero (inet_fill_link_af); ipv6's both from zero.
_IPV4_ARP_ANNOUNCE, _IPV4_ARP_IGNORE = ARP_ANNOUNCE - 1, ARP_IGNORE - 1
_IPV6_ACCEPT_RA, _IPV6_DISABLE = 3, 26
_FEW = 30
"""Links that are asked for by name in any case."""
_DIGEST_BYTES = 16
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def links(socket_: netlink.LinkSocket, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The links of these names that exist.

    :raises LinkError: when the kernel gives any answer but the link or "no such device".
    """
    return _completed({name: decode(payload) for name, payload in _payloads(socket_, names).items()})


def indexes(socket_: netlink.LinkSocket, names: Iterable[str]) -> dict[str, int]:
    """The ifindexes of the links of these names that exist, where no more is wanted of them.

    :raises LinkError: as ``links``.
    """
    return {name: netlink.index_and_name(payload)[0] for name, payload in _payloads(socket_, names).items()}


def links_by_index(socket_: netlink.LinkSocket, indexes: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The links of these ifindexes that exist, by their present names.

    :raises LinkError: as ``links``.
    """
    try:
        found = [decode(payload) for payload in socket_.get_by_index(indexes)]
    except (netlink.Refused, OSError) as error:
        index = indexes[error.index if isinstance(error, netlink.Refused) else 0]
        raise LinkError(f"could not read the link of ifindex {index}: {_text(error)}") from error
    return _completed({link["name"]: link for link in found})


def _payloads(socket_: netlink.LinkSocket, names: Iterable[str]) -> dict[str, bytes]:
    # A row of OVSDB may have a name that no link can have, and the kernel calls the question wrong (ERANGE).
    wanted = [name for name in names if naming.may_be_a_link(name)]
    try:
        return socket_.get(wanted)
    except (netlink.Refused, OSError) as error:
        name = wanted[error.index] if isinstance(error, netlink.Refused) else wanted[0]
        raise LinkError(f"could not read link {name!r}: {_text(error)}", name) from error


def all_links(socket_: netlink.LinkSocket, master: int = 0) -> dict[str, dict[str, Any]]:
    """Every link, or every member of one master.

    :raises LinkError: when the kernel refuses the dump.
    """
    return _completed({link["name"]: link for link in _dump(socket_, master)})


def many_links(
    socket_: netlink.LinkSocket, names: Collection[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """The links of these names that exist, and the members of every bridge, from one dump.

    Where ``many`` are wanted, that is faster than to ask for each: the kernel takes its one lock for every question.

    :raises LinkError: when the kernel refuses the dump.
    """
    there = _dump(socket_, 0)
    index_names = {link["ifindex"]: link["name"] for link in there}
    members: dict[str, list[str]] = {}
    for link in there:
        if link["master_index"] in index_names:
            members.setdefault(index_names[link["master_index"]], []).append(link["name"])
    found = {link["name"]: link for link in there if link["name"] in names}
    return _completed(found, index_names), members


def many(count: int) -> bool:
    """Whether so many links come sooner with a dump of all: each one asked for costs as much as six of those there."""
    return count > max(_FEW, len(_last_dump[0]) // 6)


_last_dump: list[dict[bytes, dict[str, Any]]] = [{}]
"""The messages of the last dump of all links, decoded, by their digest (a message itself has 2 kB): most of a thousand
VIFs' links are as they were then."""


def listened_on() -> frozenset[int] | None:
    """The ifindexes that packet sockets are bound to, as vswitchd's are to the devices of a userspace datapath.

    :returns: None where /proc does not say.
    """
    try:
        # The thread's: /proc/net is that of the process, whose other threads may be in another network namespace.
        with open("/proc/thread-self/net/packet", "rb") as table:
            return frozenset(int(line.split()[4]) for line in table.readlines()[1:])
    except (OSError, ValueError, IndexError):
        return None


def _dump(socket_: netlink.LinkSocket, master: int) -> list[dict[str, Any]]:
    try:
        payloads = socket_.dump(master)
    except (netlink.Refused, OSError) as error:
        raise LinkError(f"could not read the host's links: {_text(error)}") from error
    known = _last_dump[0]
    digests = [hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest() for payload in payloads]
    links = [known.get(digest) or decode(payload) for digest, payload in zip(digests, payloads, strict=True)]
    if master == 0:
        _last_dump[0] = dict(zip(digests, links, strict=True))  # one assignment: threads share it
    return [dict(link) for link in links]


def _text(error: Exception) -> str:
    return error.text if isinstance(error, netlink.Refused) else str(error)


def _completed(
    found: dict[str, dict[str, Any]], index_names: dict[int, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Indexes of masters and peers become names where they can; veths get their offload."""
    names = {link["ifindex"]: name for name, link in found.items()} if index_names is None else index_names
    for link in found.values():
        link["master"] = _name(names, link.pop("master_index"))
        peer = link.pop("link_index")
        if link["kind"] == "veth":
            link["peer"] = _name(names, peer)
            link["tx_checksum"] = ethtool.tx_checksum(link["name"])
    return found


def _name(names: dict[int, str], index: int) -> str | None:
    if index == 0:
        return None
    if index not in names:
        try:
            # Python decodes it by the locale; the kernel's other answers are read as UTF-8.
            names[index] = naming.decoded(os.fsencode(socket.if_indextoname(index)))
        except OSError:
            # In another namespace, or gone since: there, but not by a name of ours.
            return f"#{index}"
    return names[index]


def decode(payload: bytes) -> dict[str, Any]:
    """One link message as primitives; absent attributes are None."""
    index, flags, attrs = netlink.link_header(payload)
    info = netlink.attributes(attrs.get(_LINKINFO, b""))
    kind = _string(info.get(_INFO_KIND)) or ""
    data = netlink.attributes(info.get(_INFO_DATA, b""))
    slave_kind = _string(info.get(_INFO_SLAVE_KIND)) or ""
    impeded = _impeded(attrs)
    if slave_kind == "bridge":
        impeded |= _port_of_bridge(netlink.attributes(info.get(_INFO_SLAVE_DATA, b"")), up=bool(flags & _IFF_UP))
    link: dict[str, Any] = {
        "name": _string(attrs.get(_NAME)) or "",
        "ifindex": index,
        "kind": kind,
        "alias": _string(attrs.get(_ALIAS)) or "",
        "address": ":".join(f"{byte:02x}" for byte in attrs.get(_ADDRESS, b"")),
        "mtu": _number(attrs.get(_MTU)),
        "master_index": _number(attrs.get(_MASTER)) or 0,
        "link_index": _number(attrs.get(_LINK)) or 0,
        "up": bool(flags & _IFF_UP),
        "promiscuous": bool(flags & _IFF_PROMISC),
        "carrier": bool(_number(attrs.get(_CARRIER))),
        "slave_kind": slave_kind,
        "impeded": impeded,
        **_ip_settings(attrs.get(_AF_SPEC, b"")),
    }
    if kind == "bridge":
        link |= {
            "stp": _number(data.get(_BR_STP)),
            "forward_delay": _seconds(data.get(_BR_FORWARD_DELAY)),
            "ageing_time": _seconds(data.get(_BR_AGEING)),
            "multicast_snooping": _number(data.get(_BR_MCAST_SNOOPING)),
        }
        values = (_number(data.get(_BR_VLAN_FILTERING)), _number(data.get(_BR_GROUP_FWD_MASK)))
        impeded |= {name: value for name, value in zip(passage.BRIDGE, values, strict=True) if value}
    elif kind == "tun" and _number(data.get(_TUN_TYPE)) == _TUN_TYPE_TAP:
        link |= {
            "kind": "tap",
            "uid": _number(data.get(_TUN_OWNER)),
            "gid": _number(data.get(_TUN_GROUP)),
            "multiqueue": bool(_number(data.get(_TUN_MULTI_QUEUE))),
            "persistent": bool(_number(data.get(_TUN_PERSIST))),
            "vnet_header": bool(_number(data.get(_TUN_VNET_HDR))),
        }
    return link


def _impeded(attrs: dict[int, bytes]) -> dict[str, Any]:
    """What stops frames on a link of any kind."""
    found: dict[str, Any] = {}
    qdisc = _string(attrs.get(_QDISC))
    if qdisc not in (None, *passage.QDISCS_OF_VETH):
        found[passage.QDISC] = qdisc  # a tap has others too; which of them are right, its kind decides
    if _number(attrs.get(_TXQLEN)) == 0:
        found[passage.TX_QUEUE] = 0
    mode = _number(attrs.get(_LINKMODE))
    if mode:
        found[passage.LINK_MODE] = mode
    attached = _number(netlink.attributes(attrs.get(_XDP, b"")).get(_XDP_ATTACHED))
    if attached:
        found[passage.XDP] = _XDP_MODES.get(attached, str(attached))
    return found


def _port_of_bridge(data: dict[int, bytes], *, up: bool) -> dict[str, Any]:
    """What stops frames on a link as a port of a Linux bridge. Older kernels have fewer of these attributes."""
    found = {
        name: value
        for name, (number, _size, right) in passage.PORT_FLAGS.items()
        if (value := _number(data.get(number))) not in (None, right)
    }
    state = _number(data.get(passage.PORT_STATE_NUMBER))
    if up and state not in (None, passage.FORWARDING):
        found[passage.PORT_STATE] = state
    return found


def _ip_settings(af_spec: bytes) -> dict[str, Any]:
    families = netlink.attributes(af_spec)
    ipv4 = netlink.attributes(families.get(socket.AF_INET, b"")).get(INET_CONF, b"")
    ipv6 = netlink.attributes(families.get(socket.AF_INET6, b"")).get(_INET6_CONF, b"")
    disabled = _entry(ipv6, _IPV6_DISABLE)
    return {
        "arp_announce": _entry(ipv4, _IPV4_ARP_ANNOUNCE),
        "arp_ignore": _entry(ipv4, _IPV4_ARP_IGNORE),
        # No IPv6 device at all (no IPv6 in the kernel, or an MTU below 1280) is as off as can be.
        "disable_ipv6": disabled is None or disabled != 0,
        "accept_ra": _entry(ipv6, _IPV6_ACCEPT_RA) or 0,
    }


def _entry(array: bytes, position: int) -> int | None:
    offset = 4 * position
    return int(struct.unpack_from("=i", array, offset)[0]) if len(array) >= offset + 4 else None


def _string(value: bytes | None) -> str | None:
    return None if value is None else naming.decoded(value.rstrip(b"\0"))


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, sys.byteorder)


def _seconds(value: bytes | None) -> float | None:
    ticks = _number(value)
    return None if ticks is None else ticks / _CLOCK_TICKS
