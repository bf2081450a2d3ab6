"""Reads links. That needs no privilege, so it runs in the caller."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import LinkError
from vifplug.netlink import ethtool, forwarding
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import INET_CONF, ip_text
from vifplug.resources import kinds, passage
from vifplug.resources.link import OF_EVERY_LINK, UP, Link
from vifplug.resources.schema import Attribute, Form, How, Place

_IFF_UP = 0x1
_NAME, _LINK, _MASTER, _LINKINFO, _AF_SPEC, _CARRIER = 3, 5, 10, 18, 26, 33
_QDISC, _TXQLEN, _LINKMODE, _XDP = 6, 13, 17, 43
_LINK_NETNSID, _VXLAN_LINK = 37, 3
_PROPERTIES, _ALTERNATIVE_NAME = 52, 53
"""IFLA_PROP_LIST, IFLA_ALT_IFNAME."""
_XDP_ATTACHED = 2
_XDP_MODES = {1: "driver", 2: "generic", 3: "offloaded", 4: "several"}
"""XDP_ATTACHED_... of linux/if_link.h."""
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_KIND, _INFO_SLAVE_DATA = 1, 2, 4, 5
_INET6_CONF = 2
_FEW = 30
"""Up to this number, links are always requested by name."""
_DIGEST_BYTES = 16
_RECENT_MAX = 128
"""Decoded messages that are kept of links requested by name, some 3 kB each."""
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def _whole(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


_Parse = Callable[[bytes], Any]
PARSE: Mapping[Form, _Parse] = {
    Form.WHOLE: _whole,
    Form.FLAG: lambda value: bool(_whole(value)),
    Form.SECONDS: lambda value: _whole(value) / _CLOCK_TICKS,
    Form.TEXT: lambda value: naming.decoded(value.rstrip(b"\0")),
    Form.MAC: lambda value: value.hex(":"),
    Form.IP: ip_text,
    Form.UDP_PORT: lambda value: int.from_bytes(value, "big"),
}
"""The parser of an attribute's bytes."""


def _signed(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder, signed=True)


_PARSE_ENTRY: Mapping[Form, _Parse] = {Form.WHOLE: _signed, Form.FLAG: lambda value: bool(_signed(value))}
"""Of the arrays of IP settings."""


def _of(
    attributes: Iterable[Attribute], *places: Place, parse: Mapping[Form, _Parse] = PARSE
) -> tuple[tuple[str, int, _Parse, Any], ...]:
    """Name, number, parser and what absence means, of the attributes at a place that a message shows as they are."""
    return tuple(
        (attribute.name, attribute.wire.number, parse[attribute.form], attribute.absent)
        for attribute in attributes
        if attribute.wire is not None and attribute.wire.place in places and attribute.form is not Form.LINK
    )


_EVERY = (*OF_EVERY_LINK, UP)
_PLAIN, _FLAGS = _of(_EVERY, Place.LINK), _of(_EVERY, Place.FLAGS)
_INET6 = _of(_EVERY, Place.INET6, parse=_PARSE_ENTRY)
_PORT_FLAGS = tuple(
    (name, number, right.to_bytes(size, sys.byteorder)) for name, (number, size, right) in passage.PORT_FLAGS.items()
)


@kinds.derived
def _inet() -> tuple[tuple[str, int, _Parse, Any], ...]:
    """The IPv4 settings of links of all kinds."""
    of_all_kinds = {
        attribute.name: attribute for kind in kinds.link_kinds() for attribute in kind.attributes.at(Place.INET)
    }
    return _of(of_all_kinds.values(), Place.INET, parse=_PARSE_ENTRY)


@kinds.derived
def _data_of(kind: str) -> tuple[tuple[str, int, _Parse, Any], ...]:
    return _of(kinds.link_of(kind).attributes.attributes, Place.DATA)


_IMPEDING = frozenset(passage.BRIDGE)


def links(socket_: netlink.LinkSocket, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The existing links of these names.

    :raises LinkError: when the kernel's answer is neither the link nor "no such device".
    """
    return _completed(socket_, {name: _decoded(payload) for name, payload in _payloads(socket_, names).items()})


def alternative_names(socket_: netlink.LinkSocket, name: str) -> list[str]:
    """The names that a link has besides its own, by which it may be opened.

    :raises LinkError: as ``links``.
    """
    payloads = _payloads(socket_, [name])
    _index, _flags, attrs = netlink.link_header(payloads[name]) if name in payloads else (0, 0, {})
    listed = attrs.get(_PROPERTIES, b"")
    return [_string(value) or "" for number, value in netlink.each_attribute(listed) if number == _ALTERNATIVE_NAME]


def indexes(socket_: netlink.LinkSocket, names: Iterable[str]) -> dict[str, int]:
    """The ifindexes of the existing links of these names.

    :raises LinkError: as ``links``.
    """
    return {name: netlink.index_and_name(payload)[0] for name, payload in _payloads(socket_, names).items()}


def links_by_index(socket_: netlink.LinkSocket, indexes: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The existing links of these ifindexes, by their present names.

    :raises LinkError: as ``links``.
    """
    try:
        existing = [_decoded(payload) for payload in socket_.get_by_index(indexes)]
    except (netlink.Refused, OSError) as error:
        index = indexes[error.index if isinstance(error, netlink.Refused) else 0]
        raise LinkError(f"could not read the link of ifindex {index}: {_text(error)}") from error
    return _completed(socket_, {link["name"]: link for link in existing})


def decoded(socket_: netlink.LinkSocket, payloads: Iterable[bytes]) -> dict[str, dict[str, Any]]:
    """Links by their names, from the kernel's messages."""
    return _completed(socket_, {link["name"]: link for link in map(decode, payloads)})


def _payloads(socket_: netlink.LinkSocket, names: Iterable[str]) -> dict[str, bytes]:
    # An OVSDB row may have a name that no link can have, and the kernel rejects such a request (ERANGE).
    wanted = [name for name in names if naming.may_be_a_link(name)]
    try:
        return socket_.get(wanted)
    except (netlink.Refused, OSError) as error:
        name = wanted[error.index] if isinstance(error, netlink.Refused) else wanted[0]
        raise LinkError(f"could not read link {name!r}: {_text(error)}", name) from error


def all_links(socket_: netlink.LinkSocket) -> dict[str, dict[str, Any]]:
    """Every link.

    :raises LinkError: when the kernel refuses the dump.
    """
    return _completed(socket_, {link["name"]: link for link in _dump(socket_)})


def member_names(socket_: netlink.LinkSocket, master: int) -> list[str]:
    """The names of every member of one master.

    :raises LinkError: when the kernel refuses the dump.
    """
    return [netlink.index_and_name(payload)[1] for payload in messages(socket_, master)]


def uppers(socket_: netlink.LinkSocket) -> dict[int, dict[int, str]]:
    """The ifindexes and names of links that are made on others, by the ifindex of the lower one.

    A link in another network namespace is in no dump of this one.

    :raises LinkError: when the kernel refuses the dump.
    """
    by_lower: dict[int, dict[int, str]] = {}
    for payload in messages(socket_):
        index, _flags, attrs = netlink.link_header(payload)
        lower = _lower(attrs)
        if lower:
            by_lower.setdefault(lower, {})[index] = _string(attrs.get(_NAME)) or ""
    return by_lower


def _lower(attrs: dict[int, bytes]) -> int:
    if _LINK_NETNSID in attrs:  # then the number is an ifindex of that namespace
        return 0
    info = netlink.attributes(attrs.get(_LINKINFO, b""))
    if _string(info.get(_INFO_KIND)) == "vxlan":  # it has no ndo_get_iflink, but is deleted with its device
        return _number(netlink.attributes(info.get(_INFO_DATA, b"")).get(_VXLAN_LINK)) or 0
    return _number(attrs.get(_LINK)) or 0


def many_links(
    socket_: netlink.LinkSocket, names: Collection[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """The existing links of these names, and the members of every bridge, from one dump.

    For ``many`` links that is faster than a request for each: the kernel takes its single lock for every request.

    :raises LinkError: when the kernel refuses the dump.
    """
    dumped = _dump(socket_)
    index_names = {link["ifindex"]: link["name"] for link in dumped}
    members: dict[str, list[str]] = {}
    for link in dumped:
        if link["master_index"] in index_names:
            members.setdefault(index_names[link["master_index"]], []).append(link["name"])
    wanted = {link["name"]: link for link in dumped if link["name"] in names}
    return _completed(socket_, wanted, index_names), members


def many(count: int) -> bool:
    """Whether a dump is faster for this number of links: a requested link costs as much as six dumped ones."""
    return count > max(_FEW, len(_last_dump()[0]) // 6)


@kinds.derived
def _last_dump() -> list[dict[bytes, dict[str, Any]]]:
    """The decoded messages of the last dump of all links, by digest (a message itself has 2 kB): most links of a
    thousand VIFs are unchanged at the next dump."""
    return [{}]


def listened_on() -> frozenset[int] | None:
    """The ifindexes that packet sockets are bound to, as vswitchd's are to the devices of a userspace datapath.

    :returns: None if /proc cannot be read.
    """
    try:
        # thread-self: /proc/net belongs to the process, whose other threads may be in another network namespace.
        with open("/proc/thread-self/net/packet", "rb") as table:
            return frozenset(int(line.split()[4]) for line in table.readlines()[1:])
    except (OSError, ValueError, IndexError):
        return None


def messages(socket_: netlink.LinkSocket, master: int = 0) -> list[bytes]:
    """The kernel's message of every link, or of every member of a master.

    :raises LinkError: when the kernel refuses the dump.
    """
    with netlink.reading("the host's links"):
        return socket_.dump(master)


def _dump(socket_: netlink.LinkSocket) -> list[dict[str, Any]]:
    payloads = messages(socket_)
    last = _last_dump()
    known = last[0]
    digests = [_digest(payload) for payload in payloads]
    links = [known.get(digest) or decode(payload) for digest, payload in zip(digests, payloads, strict=True)]
    last[0] = dict(zip(digests, links, strict=True))  # one assignment: threads share it
    return [dict(link) for link in links]


def _digest(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_DIGEST_BYTES).digest()


@kinds.derived
def _recent() -> dict[bytes, dict[str, Any]]:
    """Decoded messages of links that were requested by name, by digest: a replug of a VIF that was read before
    decodes nothing. Decoding takes 15 to 23 us a link, its digest and a copy 2."""
    return {}


def _decoded(payload: bytes) -> dict[str, Any]:
    digest, recent = _digest(payload), _recent()
    link = _last_dump()[0].get(digest) or recent.get(digest)
    if link is None:
        link = decode(payload)
        if len(recent) >= _RECENT_MAX:
            recent.clear()
        recent[digest] = link
    return dict(link)


def _text(error: Exception) -> str:
    return error.text if isinstance(error, netlink.Refused) else str(error)


def _completed(
    socket_: netlink.LinkSocket, links: dict[str, dict[str, Any]], index_names: dict[int, str] | None = None
) -> dict[str, dict[str, Any]]:
    """Replace indexes of masters and peers by names where possible; add the offload of veths."""
    names = {link["ifindex"]: name for name, link in links.items()} if index_names is None else index_names
    for link in links.values():
        link["master"] = _name(names, link.pop("master_index"))
        other = link.pop("link_index")
        for attribute in _beside(link["kind"]):
            link[attribute.name] = (
                _READERS[attribute.how](socket_, link) if attribute.how in _READERS else _name(names, other)
            )
    return links


_READERS: Mapping[How, Callable[[netlink.LinkSocket, Mapping[str, Any]], Any]] = {
    How.ETHTOOL: lambda socket_, link: ethtool.tx_checksum(socket_, link["name"]),
    # Another program's may have thousands of entries, and vifplug changes none of them.
    How.FORWARDING: lambda socket_, link: (
        forwarding.peers(socket_, link["ifindex"]) if naming.owner_of(link["alias"]) else None
    ),
}
"""How attributes are read that no link message shows."""


@kinds.derived
def _beside(kind: str) -> tuple[Attribute, ...]:
    """Attributes that no link message shows: the name of another link, offloads, and entries of forwarding
    databases."""
    table = kinds.link_of(kind).attributes
    return (*(attribute for attribute in table.attributes if _names_lower(attribute)), *table.set_by(*_READERS))


def _names_lower(attribute: Attribute) -> bool:
    """Whether it names the other end of a pair, or the link below: IFLA_LINK, or the kind's own attribute for that."""
    if attribute.form is not Form.LINK or attribute.wire is None:
        return False
    return attribute.wire.place is Place.DATA or attribute.wire.number == _LINK


@kinds.derived
def _number_of_lower(kind: str) -> int | None:
    """The attribute of IFLA_INFO_DATA that names the link below; None for a kind that has IFLA_LINK."""
    named = kinds.link_of(kind).attributes.at(Place.DATA)
    return next((a.wire.number for a in named if a.form is Form.LINK and a.wire is not None), None)


def _name(names: dict[int, str], index: int) -> str | None:
    if index == 0:
        return None
    if index not in names:
        try:
            # Python decodes the name by the locale; names from netlink are decoded as UTF-8.
            names[index] = naming.decoded(os.fsencode(socket.if_indextoname(index)))
        except OSError:
            # In another namespace, or deleted since: it has no name here.
            return f"#{index}"
    return names[index]


def decode(payload: bytes) -> dict[str, Any]:
    """A link message as primitives; missing attributes are None."""
    index, flags, attrs = netlink.link_header(payload)
    info = netlink.attributes(attrs.get(_LINKINFO, b""))
    wire_kind = _string(info.get(_INFO_KIND)) or ""
    data = netlink.attributes(info.get(_INFO_DATA, b""))
    slave_kind = _string(info.get(_INFO_SLAVE_KIND)) or ""
    impeded = _impeded(attrs)
    if slave_kind == "bridge":
        impeded |= _port_of_bridge(netlink.attributes(info.get(_INFO_SLAVE_DATA, b"")), up=bool(flags & _IFF_UP))
    kind = _kind(wire_kind, data)
    link: dict[str, Any] = {
        "name": _string(attrs.get(_NAME)) or "",
        "ifindex": index,
        "kind": wire_kind if kind is None else kind.kind,
        "master_index": _number(attrs.get(_MASTER)) or 0,
        "link_index": _number(attrs.get(_LINK)) or 0,
        "carrier": bool(_number(attrs.get(_CARRIER))),
        "slave_kind": slave_kind,
        "impeded": impeded,
    }
    for name, number, parse, absent in _PLAIN:
        link[name] = parse(attrs[number]) if number in attrs else absent
    for name, bit, _parse, _absent in _FLAGS:
        link[name] = bool(flags & bit)
    _add_ip_settings(link, attrs.get(_AF_SPEC, b""))
    if kind is not None:
        lower = _number_of_lower(kind.kind)
        if lower is not None:
            link["link_index"] = _number(data.get(lower)) or 0
        for name, number, parse, absent in _data_of(kind.kind):
            value = parse(data[number]) if number in data else absent
            link[name] = value
            if value and name in _IMPEDING:
                impeded[name] = value
    return link


def _kind(wire_kind: str, data: dict[int, bytes]) -> type[Link] | None:
    """The kind of a link, of those that vifplug makes."""
    for kind in kinds.of_the_kernel(wire_kind):
        if kind.wire_type is None or _number(data.get(kind.wire_type[0])) == kind.wire_type[1]:
            return kind
    return None


def _impeded(attrs: dict[int, bytes]) -> dict[str, Any]:
    """Attributes that stop frames on a link of any kind."""
    impeded: dict[str, Any] = {}
    qdisc = _string(attrs.get(_QDISC))
    if qdisc not in (None, *passage.QDISCS_OF_VETH):
        impeded[passage.QDISC] = qdisc  # a tap may have others too; its kind decides which are right
    if _number(attrs.get(_TXQLEN)) == 0:
        impeded[passage.TX_QUEUE] = 0
    mode = _number(attrs.get(_LINKMODE))
    if mode:
        impeded[passage.LINK_MODE] = mode
    attached = _number(netlink.attributes(attrs.get(_XDP, b"")).get(_XDP_ATTACHED))
    if attached:
        impeded[passage.XDP] = _XDP_MODES.get(attached, str(attached))
    return impeded


def _port_of_bridge(data: dict[int, bytes], *, up: bool) -> dict[str, Any]:
    """Attributes that stop frames on a port of a Linux bridge. Older kernels have fewer of these attributes."""
    wrong = ((name, data[number]) for name, number, right in _PORT_FLAGS if data.get(number, right) != right)
    impeded: dict[str, Any] = {name: _whole(value) for name, value in wrong}
    state = _number(data.get(passage.PORT_STATE_NUMBER))
    if up and state not in (None, passage.FORWARDING):
        impeded[passage.PORT_STATE] = state
    return impeded


def _add_ip_settings(link: dict[str, Any], af_spec: bytes) -> None:
    families = netlink.attributes(af_spec)
    ipv4 = netlink.attributes(families.get(socket.AF_INET, b"")).get(INET_CONF, b"")
    ipv6 = netlink.attributes(families.get(socket.AF_INET6, b"")).get(_INET6_CONF, b"")
    # ipv4 devconf numbers start at one, the dumped array at zero (inet_fill_link_af); ipv6's both at zero.
    for array, first, settings in ((ipv4, 1, _inet()), (ipv6, 0, _INET6)):
        for name, number, parse, absent in settings:
            entry = array[4 * (number - first) :][:4]
            link[name] = parse(entry) if entry else absent


def _string(value: bytes | None) -> str | None:
    return None if value is None else naming.decoded(value.rstrip(b"\0"))


def _number(value: bytes | None) -> int | None:
    return None if value is None else _whole(value)
