"""Decodes nftables' rules: a rule's conditions, as far as they are supported, and its verdict. Pure.

Unsupported conditions are reported as unknown, and never mistaken for others; damaged messages cause no error.
iptables-nft's rules use the same messages, with iptables' own matches for conditions that nftables lacks (physdev,
conntrack).
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

from vifplug.doctor.facts import Rule
from vifplug.netlink import nftables as nft
from vifplug.netlink import socket as netlink
from vifplug.netlink.nftables import text

_NAME, _DATA = 1, 2
_VERDICTS: Mapping[int | None, str] = {
    0: "drop",
    1: "accept",
    0xFFFFFFFF: "",
    0xFFFFFFFD: "jump",
    0xFFFFFFFC: "goto",
    0xFFFFFFFB: "return",
}
"""NF_DROP, NF_ACCEPT, and NFT_CONTINUE, NFT_JUMP, NFT_GOTO and NFT_RETURN, which are -1, -3, -4 and -5."""
_VERDICT, _CODE, _CHAIN = 2, 1, 2
_TO_VERDICT = 0
"""The register of the rule's verdict."""
_COUNTER, _COUNTED = "counter", 2
"""An expression, and its attribute with the number of frames (NFTA_COUNTER_PACKETS)."""
_IDLE = (_COUNTER, "log", "comment", "last")
"""Expressions without a condition, which do not change a frame's way."""
_ASKING = (
    "lookup",
    "range",
    "fib",
    "exthdr",
    "rt",
    "socket",
    "numgen",
    "hash",
    "quota",
    "connlimit",
    "byteorder",
    "osf",
)
_LOADING = {"meta": (1, 2), "ct": (1, 2), "payload": (1, 2, 3, 4)}
"""Their attributes: the register to load, and the selected part of the frame. Without a register a value is set."""
_LOOKUP_SET, _LOOKUP_REGISTER, _LOOKUP_INTO, _LOOKUP_FLAGS = 1, 2, 3, 5
_NUMBER_BYTES = 4
_EQUAL, _UNEQUAL = 0, 1
_IN_OUT = {("meta", 6): "in", ("meta", 7): "out"}
_ADDRESSES = {("payload", 0, 6, 6): "source", ("payload", 0, 0, 6): "destination"}
_PROTOCOLS, _MAC_BYTES, _PROTOCOL_BYTES = (("meta", 1), ("payload", 0, 12, 2)), 6, 2
"""The EtherType, in nftables' metadata and in the frame."""
_PARTS = (("meta", 16), ("payload", 1, 9, 1), ("payload", 1, 6, 1))
"""The transport protocol, in nftables' metadata, and in an IPv4 and an IPv6 header."""
_IP_VERSION, _IPV6 = ("meta", 15), b"\x0a"
"""Only of IPv6: firewalld rejects its addresses that must not appear. IPv4 is most frames, not a part."""
_TRANSPORT_HEADER = 2
_STATE, _STATUS = ("ct", 0), ("ct", 2)
_LATER_STATUS = 0x37
"""Conntrack statuses that a connection's first frame has only if a program chose so, or not yet: expected, seen a
reply, assured, source or destination rewritten."""
_NEW = 0x48
"""Conntrack states that a connection's first frame may have: new and untracked."""
_XT_PARTS = ("tcp", "udp", "udplite", "icmp", "icmp6", "sctp", "dccp", "multiport", "limit", "hashlimit", "statistic")
_XT_IDLE = ("LOG", "NFLOG", "MARK", "CONNMARK", "TRACE", "AUDIT", "CLASSIFY", "TCPMSS", "DSCP", "TOS", "CHECKSUM")
_PHYSDEV_BYTES, _PHYSDEV_BRIDGED = 66, 4
_CONNTRACK_FLAGS, _CONNTRACK_BYTES, _CONNTRACK_STATE = 146, 152, 1

BRIDGED, UNBRIDGED, PART, UNKNOWN, PROTOCOL = "bridged", "unbridged", "part", "unknown", "protocol"

Condition = tuple[str, str]
"""As of ``facts.Rule.when``."""

Elements = Callable[[str], Collection[bytes] | None]
"""The elements of a rule's set, by its name; None if they are unknown."""


def rule(attributes: dict[int, bytes], elements: Elements = lambda _name: None) -> Rule:
    """A rule from its message's attributes."""
    reader = _Reader(elements)
    for _number, expression in netlink.each_attribute(attributes.get(nft.RULE_EXPRESSIONS, b"")):
        attrs = netlink.attributes(expression)
        reader.meet(text(attrs.get(_NAME)), netlink.attributes(attrs.get(_DATA, b"")))
    return Rule(when=tuple(reader.when), then=reader.then, to=reader.to, packets=reader.packets)


def number(value: bytes | None) -> int | None:
    """A number, in the format of all of nf_tables' own; None for a missing or a damaged one."""
    return int.from_bytes(value, "big") if value is not None and len(value) == _NUMBER_BYTES else None


class _Reader:
    """Evaluates a rule expression by expression: registers are loaded, and then compared."""

    def __init__(self, elements: Elements) -> None:
        self._elements = elements
        self.when: list[Condition] = []
        self.then = self.to = ""
        self.packets: int | None = None
        self._loaded: dict[int | None, tuple[Any, ...]] = {}

    def meet(self, name: str, attrs: dict[int, bytes]) -> None:
        if name == _COUNTER and _COUNTED in attrs:
            self.packets = int.from_bytes(attrs[_COUNTED], "big")
        if name in _IDLE:
            return
        if name in _LOADING:
            self._load(name, attrs)
        elif name == "bitwise":
            self._loaded[number(attrs.get(2))] = (*self._loaded.get(number(attrs.get(1)), ("",)), _value(attrs, 4))
        elif name == "cmp":
            self.when.append(
                _compared(self._loaded.get(number(attrs.get(1)), ()), number(attrs.get(2)), _value(attrs, 3))
            )
        elif name == "match":
            self.when += _matched(text(attrs.get(1)), attrs.get(3, b""))
        elif name == "limit":
            self.when.append((PART, ""))
        elif name in _ASKING:
            self._ask(name, attrs)
        else:
            self._end(name, attrs)

    def _load(self, name: str, attrs: dict[int, bytes]) -> None:
        into, *keys = _LOADING[name]
        if into in attrs:
            self._loaded[number(attrs[into])] = (name, *(number(attrs.get(key)) for key in keys))

    def _ask(self, name: str, attrs: dict[int, bytes]) -> None:
        into = number(attrs.get(_LOOKUP_INTO)) if name == "lookup" else None
        if into == _TO_VERDICT:
            self.then = UNKNOWN
        elif into is not None:
            self._loaded[into] = ()
        elif name == "lookup" and self._loaded.get(number(attrs.get(_LOOKUP_REGISTER))) == _STATE:
            self.when.append(self._looked_up(attrs))
            return
        self.when.append((UNKNOWN, ""))

    def _looked_up(self, attrs: dict[int, bytes]) -> Condition:
        """``ct state { established, related }``: firewalld writes sets where nft writes masks."""
        states = None if number(attrs.get(_LOOKUP_FLAGS)) else self._elements(text(attrs.get(_LOOKUP_SET)))
        if not states:
            return UNKNOWN, ""
        return UNKNOWN if any(_stated(state, "=I")[0] == UNKNOWN for state in states) else PART, ""

    def _end(self, name: str, attrs: dict[int, bytes]) -> None:
        """The frame's verdict; for an unsupported expression, any."""
        if name == "immediate":
            if number(attrs.get(1)) != _TO_VERDICT:
                self._loaded[number(attrs.get(1))] = ()
                return
            verdict = netlink.attributes(netlink.attributes(attrs.get(2, b"")).get(_VERDICT, b""))
            code = number(verdict.get(_CODE))
            self.then, self.to = _VERDICTS.get(code, UNKNOWN), text(verdict.get(_CHAIN))
        elif name == "reject":
            self.then = "drop"
        elif name == "target":
            target = text(attrs.get(1))
            self.then = "drop" if target == "REJECT" else "" if target in _XT_IDLE else UNKNOWN
        else:
            self.then = UNKNOWN
            self.when.append((UNKNOWN, ""))


def _value(attrs: dict[int, bytes], key: int) -> bytes:
    return netlink.attributes(attrs.get(key, b"")).get(1, b"")


def _compared(loaded: tuple[Any, ...], operator: int | None, value: bytes) -> Condition:
    if operator == _EQUAL and loaded in _IN_OUT:
        # Without the terminating zero, it is the beginning of names.
        return _IN_OUT[loaded], text(value) + ("" if b"\0" in value else "*")
    if operator == _EQUAL and loaded in _ADDRESSES and len(value) == _MAC_BYTES:
        return _ADDRESSES[loaded], value.hex(":")
    if operator == _EQUAL and loaded in _PROTOCOLS and len(value) == _PROTOCOL_BYTES:
        return PROTOCOL, value.hex()
    if operator == _EQUAL and (loaded in _PARTS or (loaded, value) == (_IP_VERSION, _IPV6)):
        return PART, ""
    if loaded[:2] == ("payload", _TRANSPORT_HEADER):
        return PART, ""
    if operator == _UNEQUAL and loaded[:2] == _STATE and len(loaded) == 3 and not any(value):
        return _stated(loaded[2], "=I")
    if operator == _UNEQUAL and loaded[:2] == _STATUS and len(loaded) == 3 and not any(value):
        return UNKNOWN if int.from_bytes(loaded[2], sys.byteorder) & ~_LATER_STATUS else PART, ""
    return UNKNOWN, ""


def _stated(mask: bytes, form: str) -> Condition:
    if len(mask) != struct.calcsize(form):
        return UNKNOWN, ""
    return UNKNOWN if struct.unpack(form, mask)[0] & _NEW else PART, ""


def _matched(name: str, attrs: bytes) -> list[Condition]:
    """iptables' own matches."""
    if name == "comment":
        return []
    if name == "physdev" and len(attrs) >= _PHYSDEV_BYTES:
        inverted, asked = attrs[_PHYSDEV_BYTES - 2 : _PHYSDEV_BYTES]
        if asked == _PHYSDEV_BRIDGED and inverted in (0, _PHYSDEV_BRIDGED):
            return [(UNBRIDGED if inverted else BRIDGED, "")]
    if name == "conntrack" and len(attrs) >= _CONNTRACK_BYTES:
        flags, inverted, mask = struct.unpack_from("=HHH", attrs, _CONNTRACK_FLAGS)
        if flags & _CONNTRACK_STATE and not inverted & _CONNTRACK_STATE:
            return [_stated(struct.pack("=H", mask), "=H")]
    if name == "state":
        return [_stated(attrs[:4], "=I")]
    return [(PART if name in _XT_PARTS else UNKNOWN, "")]
