"""Packs and compares the messages of nf_tables (linux/netfilter/nf_tables.h) that filters consist of. Pure.

Numbers inside these messages are big-endian.
"""

from __future__ import annotations

import functools
import socket
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vifplug.netlink.message import HEADER, NFGEN, attribute
from vifplug.netlink.socket import attributes, each_attribute

BRIDGE, NETDEV = 7, 5
"""NFPROTO_BRIDGE and NFPROTO_NETDEV."""
FAMILIES: Mapping[int, str] = {BRIDGE: "bridge", NETDEV: "netdev"}

NETLINK_NETFILTER = 12
_SUBSYSTEM = 10
NEW_TABLE, GET_TABLE, DELETE_TABLE = 0, 1, 2
NEW_CHAIN, GET_CHAIN, DELETE_CHAIN = 3, 4, 5
NEW_RULE, GET_RULE, DELETE_RULE = 6, 7, 8
NEW_SET, GET_SET, DELETE_SET = 9, 10, 11
NEW_ELEMENT, GET_ELEMENT, DELETE_ELEMENT = 12, 13, 14
GET_GENERATION = 16
"""NFT_MSG_..."""
_BATCH_BEGIN, _BATCH_END, _BATCH_GENERATION = 16, 17, 1
_REQUEST, _ACK, _CREATE, _APPEND, DUMP = 0x1, 0x4, 0x400, 0x800, 0x300

PREROUTING, INGRESS, EGRESS = 0, 0, 1
"""NF_BR_PRE_ROUTING, NF_NETDEV_INGRESS and NF_NETDEV_EGRESS."""

TABLE_NAME, TABLE_FLAGS, TABLE_USE = 1, 2, 3
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_POLICY, CHAIN_TYPE = 1, 3, 4, 5, 7
HOOK_NUMBER, HOOK_PRIORITY, HOOK_DEVICE = 1, 2, 3
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
_LIST_ENTRY = 1

LINK, NETWORK, TRANSPORT = 0, 1, 2
"""The header that a payload's offset counts from."""
PROTOCOL, INPUT_NAME, TRANSPORT_PROTOCOL = 1, 6, 16
"""NFT_META_PROTOCOL, NFT_META_IIFNAME and NFT_META_L4PROTO."""
EQUAL, DIFFERENT, AT_LEAST = 0, 1, 5
DROP, ACCEPT, JUMP, GOTO, RETURN = 0, 1, -3, -4, -5

FIRST, SECOND, THIRD = 1, 2, 14
"""Registers, as the kernel numbers them in its answers: 16 bytes, the 8 that follow, and those from there on."""
_FRAGMENT_HEADER, _FRAGMENT_OFFSET, _OFFSET_BITS = 44, 2, b"\xff\xf8"
_ZERO = struct.pack(">I", 0)

Rule = tuple[bytes, ...]
"""A rule's expressions, packed."""


def number(value: int) -> bytes:
    """A 32-bit number."""
    return struct.pack(">i" if value < 0 else ">I", value)


def name(value: str) -> bytes:
    """A name with its closing zero."""
    return value.encode() + b"\0"


def message(kind: int, family: int, body: bytes, *, flags: int = 0, sequence: int = 0) -> bytes:
    """A request to nf_tables."""
    header = HEADER.pack(HEADER.size + NFGEN.size + len(body), _SUBSYSTEM << 8 | kind, _REQUEST | flags, sequence, 0)
    return header + NFGEN.pack(family, 0, 0) + body


def created(kind: int, family: int, body: bytes) -> tuple[int, int, int, bytes]:
    """A part of a batch that makes something, unless it exists; a rule is added behind those of its chain."""
    return kind, family, _CREATE | (_APPEND if kind == NEW_RULE else 0), body


def deleted(kind: int, family: int, body: bytes) -> tuple[int, int, int, bytes]:
    """A part of a batch that deletes something."""
    return kind, family, 0, body


Part = tuple[int, int, int, bytes]
"""Kind, family, flags and body of a message of a batch."""


def batch(parts: Sequence[Part], generation: int | None = None) -> bytes:
    """One transaction: its messages have the numbers from 2 on, and the last of them is acknowledged.

    :param generation: of the ruleset that it was made for; the kernel refuses it (ERESTART) after any other change.
    """
    guard = attribute(_BATCH_GENERATION, number(generation)) if generation is not None else b""
    begin = NFGEN.pack(0, 0, socket.htons(_SUBSYSTEM))
    packed = [HEADER.pack(HEADER.size + len(begin) + len(guard), _BATCH_BEGIN, _REQUEST, 1, 0), begin, guard]
    for sequence, (kind, family, flags, body) in enumerate(parts, 2):
        ack = _ACK if sequence == len(parts) + 1 else 0
        packed.append(message(kind, family, body, flags=flags | ack, sequence=sequence))
    packed.append(HEADER.pack(HEADER.size + len(begin), _BATCH_END, _REQUEST, len(parts) + 2, 0) + begin)
    return b"".join(packed)


def table(table_name: str) -> bytes:
    """A table, by name; when it is made, not dormant."""
    return attribute(TABLE_NAME, name(table_name)) + attribute(TABLE_FLAGS, _ZERO)


def chain(table_name: str, chain_name: str, hook: bytes = b"") -> bytes:
    """A chain, by name.

    :param hook: ``hook`` of a base chain; else it is only jumped to.
    """
    return attribute(CHAIN_TABLE, name(table_name)) + attribute(CHAIN_NAME, name(chain_name)) + hook


def hook(number_of_hook: int, priority: int, device: str = "") -> bytes:
    """What makes a chain a base chain: frames that no rule decides about are accepted."""
    nested = attribute(HOOK_NUMBER, number(number_of_hook)) + attribute(HOOK_PRIORITY, number(priority))
    nested += attribute(HOOK_DEVICE, name(device)) if device else b""
    return (
        attribute(CHAIN_HOOK, nested) + attribute(CHAIN_POLICY, number(ACCEPT)) + attribute(CHAIN_TYPE, name("filter"))
    )


def rules_of(table_name: str, chain_name: str) -> bytes:
    """All rules of a chain."""
    return attribute(RULE_TABLE, name(table_name)) + attribute(RULE_CHAIN, name(chain_name))


def rule(table_name: str, chain_name: str, expressions: Rule) -> bytes:
    """One rule of a chain."""
    listed = b"".join(attribute(_LIST_ENTRY, expression) for expression in expressions)
    return rules_of(table_name, chain_name) + attribute(RULE_EXPRESSIONS, listed)


@dataclass(frozen=True, slots=True)
class Field:
    """A part of a set's key: nft's number of its type, and its length, with which it takes whole registers."""

    type: int
    length: int

    @property
    def room(self) -> int:
        """Its bytes in a key."""
        return (self.length + 3) & ~3


INTERFACE, MAC, IPV4, IPV6 = Field(41, 16), Field(9, 6), Field(7, 4), Field(8, 16)
_TYPE_BITS = 6


@dataclass(frozen=True, slots=True)
class Set:
    """A set with its key. With intervals an element has a last key, too."""

    name: str
    fields: tuple[Field, ...]
    has_intervals: bool = False

    def key(self, *values: bytes) -> bytes:
        """A key of these values."""
        return b"".join(value.ljust(part.room, b"\0") for part, value in zip(self.fields, values, strict=True))

    def values(self, key: bytes) -> list[bytes]:
        """The values in a key."""
        values, offset = [], 0
        for part in self.fields:
            values.append(key[offset : offset + part.length])
            offset += part.room
        return values


SET_TABLE, SET_NAME, SET_FLAGS, SET_KEY_TYPE, SET_KEY_LENGTH = 1, 2, 3, 4, 5
_SET_DESCRIPTION, _SET_ID, _SET_NOTE = 9, 10, 13
_INTERVALS, _CONCATENATED = 0x4, 0x80
_HOST_ORDER = struct.pack("=BBI", 0, 4, 1)
"""nft's own note at a set, by which it prints keys of the machine's byte order (NFTNL_UDATA_SET_KEYBYTEORDER)."""


def described(table_name: str, wanted: Set) -> bytes:
    """A set, to be made."""
    kind = functools.reduce(lambda sofar, part: sofar << _TYPE_BITS | part.type, wanted.fields, 0)
    parts = attribute(SET_TABLE, name(table_name)) + attribute(SET_NAME, name(wanted.name))
    parts += attribute(SET_FLAGS, number(_INTERVALS | _CONCATENATED if wanted.has_intervals else 0))
    parts += attribute(SET_KEY_TYPE, number(kind))
    parts += attribute(SET_KEY_LENGTH, number(sum(part.room for part in wanted.fields)))
    if wanted.has_intervals:
        lengths = b"".join(attribute(_LIST_ENTRY, attribute(1, number(part.length))) for part in wanted.fields)
        parts += attribute(_SET_DESCRIPTION, attribute(2, lengths))
    note = attribute(_SET_NOTE, _HOST_ORDER) if len(wanted.fields) == 1 else b""
    return parts + attribute(_SET_ID, number(1)) + note


def of_set(table_name: str, set_name: str) -> bytes:
    """A set, by name; or all of its elements."""
    return attribute(SET_TABLE, name(table_name)) + attribute(SET_NAME, name(set_name))


def is_set(payload_of_set: bytes, wanted: Set) -> bool:
    """Whether a set in an answer has the expected key."""
    asked, there = (attributes(data) for data in (described("", wanted), payload_of_set[NFGEN.size :]))
    return all(
        int.from_bytes(asked[key], "big") == int.from_bytes(there.get(key, b""), "big")
        for key in (SET_FLAGS, SET_KEY_TYPE, SET_KEY_LENGTH)
    )


_ELEMENT_LIST, _ELEMENT_KEY, _ELEMENT_NOTE, _ELEMENT_LAST = 3, 1, 6, 10
_TOGETHER_MAX = 256
"""Elements of one message: the length of a list of them has 16 bits."""


class Element(NamedTuple):
    """An element of a set."""

    key: bytes
    last: bytes = b""
    """The last key of an interval."""
    mark: str = ""
    """Its comment."""


def elements(table_name: str, set_name: str, wanted: Sequence[Element]) -> list[bytes]:
    """Elements of a set, in as many messages as they need."""
    named = of_set(table_name, set_name)
    chunks = (wanted[start : start + _TOGETHER_MAX] for start in range(0, len(wanted), _TOGETHER_MAX))
    return [named + attribute(_ELEMENT_LIST, b"".join(map(_element, chunk))) for chunk in chunks]


def _element(wanted: Element) -> bytes:
    packed = attribute(_ELEMENT_KEY, attribute(1, wanted.key))
    if wanted.last:
        packed += attribute(_ELEMENT_LAST, attribute(1, wanted.last))
    if wanted.mark:
        comment = name(wanted.mark)
        packed += attribute(_ELEMENT_NOTE, bytes((0, len(comment))) + comment)
    return attribute(_LIST_ENTRY, packed)


def elements_in(answer: bytes, marks: Collection[bytes] = ()) -> Iterator[Element]:
    """The elements in an answer.

    :param marks: only those that contain one of these; the others are not decoded.
    """
    if marks and not any(mark in answer for mark in marks):
        return
    for _number, entry in each_attribute(attributes(answer, NFGEN.size).get(_ELEMENT_LIST, b"")):
        if marks:
            for mark in marks:  # any() takes three times as long, for each element of all VIFs
                if mark in entry:
                    break
            else:
                continue
        parts = attributes(entry)
        key, last = (attributes(parts.get(part, b"")).get(1, b"") for part in (_ELEMENT_KEY, _ELEMENT_LAST))
        yield Element(key, last, text(parts.get(_ELEMENT_NOTE, b"")[2:]))


def count_of_elements(answer: bytes) -> int:
    """The number of elements in an answer, without decoding them."""
    return sum(1 for _entry in each_attribute(attributes(answer, NFGEN.size).get(_ELEMENT_LIST, b"")))


def text(value: bytes | None) -> str:
    """A name in an answer."""
    return (value or b"").split(b"\0", 1)[0].decode(errors="replace")


# -- expressions -----------------------------------------------------------------------------------------------


def _expression(kind: str, data: bytes = b"") -> bytes:
    return attribute(1, name(kind)) + attribute(2, data)


@functools.cache
def load_meta(key: int, register: int = FIRST) -> bytes:
    """A property of the frame, loaded into a register."""
    return _expression("meta", attribute(2, number(key)) + attribute(1, number(register)))


@functools.cache
def load(base: int, offset: int, length: int, register: int = FIRST) -> bytes:
    """Bytes of the frame, loaded into a register."""
    place = (number(base), number(offset), number(length))
    return _expression("payload", attribute(1, number(register)) + b"".join(map(attribute, (2, 3, 4), place)))


def _compared(value: bytes, operation: int) -> bytes:
    data = attribute(3, attribute(1, value))
    return _expression("cmp", attribute(1, number(FIRST)) + attribute(2, number(operation)) + data)


def meta(key: int, value: bytes, operation: int = EQUAL) -> Rule:
    """Whether a property of the frame has a value. A rule with one that the frame lacks does not apply."""
    return load_meta(key), _compared(value, operation)


def payload(base: int, offset: int, value: bytes, operation: int = EQUAL) -> Rule:
    """Whether the bytes at an offset have a value, of up to 16 bytes."""
    return load(base, offset, len(value)), _compared(value, operation)


def is_later_fragment() -> Rule:
    """Whether a packet of IPv6 is a fragment, and not the first one (``frag frag-off != 0``)."""
    place = (number(FIRST), bytes((_FRAGMENT_HEADER,)), number(_FRAGMENT_OFFSET), number(len(_OFFSET_BITS)))
    header = _expression("exthdr", b"".join(map(attribute, (1, 2, 3, 4), place)))
    data = attribute(1, number(FIRST)) + attribute(2, number(FIRST)) + attribute(3, number(len(_OFFSET_BITS)))
    nothing = bytes(len(_OFFSET_BITS))
    data += attribute(4, attribute(1, _OFFSET_BITS)) + attribute(5, attribute(1, nothing))
    return header, _expression("bitwise", data), _compared(nothing, DIFFERENT)


def looked_up(set_name: str, *, inverted: bool = False) -> Rule:
    """Whether a set has the key in the registers; or, inverted, has not."""
    data = attribute(1, name(set_name)) + attribute(2, number(FIRST)) + attribute(5, number(int(inverted)))
    return (_expression("lookup", data),)


def _verdict(code: int, target: str = "") -> bytes:
    verdict = attribute(1, number(code)) + (attribute(2, name(target)) if target else b"")
    return attribute(2, verdict)


@functools.cache
def verdict(code: int, target: str = "") -> Rule:
    """The end of a rule."""
    return (_expression("immediate", attribute(1, _ZERO) + attribute(2, _verdict(code, target))),)


COUNTER: Rule = (_expression("counter"),)
"""Counts the frames that reach it."""


# -- comparison ------------------------------------------------------------------------------------------------

_NESTED: Mapping[str, tuple[int, ...]] = {"cmp": (3,), "bitwise": (4, 5), "immediate": (2,)}
"""Attributes of expressions that hold a value or a verdict."""


@functools.lru_cache(maxsize=1024)
def canonical(expression: bytes) -> tuple[object, ...]:
    """An expression without what the kernel adds (counts, flags that are zero), and without the order of attributes."""
    parts = attributes(expression)
    kind = text(parts.get(1))
    if kind == "counter":
        return (kind,)
    nested = _NESTED.get(kind, ())
    values = attributes(parts.get(2, b""))
    return kind, *sorted(
        (key, _values(value) if key in nested else value)
        for key, value in values.items()
        if key in nested or any(value)
    )


def _values(value: bytes) -> tuple[object, ...]:
    """A value; or a verdict, which is a nest of its own."""
    return tuple(
        (key, tuple(sorted(attributes(inner).items())) if key == 2 else inner)
        for key, inner in sorted(attributes(value).items())
    )


def shown(payload_of_rule: bytes) -> Iterable[bytes]:
    """The expressions of a rule in an answer."""
    listed = attributes(payload_of_rule, NFGEN.size).get(RULE_EXPRESSIONS, b"")
    return (expression for _number, expression in each_attribute(listed))


def is_rule(payload_of_rule: bytes, expected: Rule) -> bool:
    """Whether a rule in an answer is the expected one."""
    there = tuple(map(canonical, shown(payload_of_rule)))
    return there == tuple(map(canonical, expected))


def is_hooked(payload_of_chain: bytes, expected: bytes) -> bool:
    """Whether a chain in an answer is a base chain with the expected hook; or, if that is empty, no base chain."""
    there, asked = attributes(payload_of_chain, NFGEN.size), attributes(expected)
    if not expected:
        return CHAIN_HOOK not in there
    hooks = [attributes(parts.get(CHAIN_HOOK, b"")) for parts in (there, asked)]
    is_same = all(hooks[0].get(key) == value for key, value in hooks[1].items())
    return is_same and all(there.get(key) == asked[key] for key in (CHAIN_POLICY, CHAIN_TYPE))
