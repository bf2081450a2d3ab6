"""Settings as netlink attributes, every value checked, by the tables of the kinds (``vifplug.resources``)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import LinkError
from vifplug.netlink import vlans
from vifplug.netlink.message import (
    INGRESS,
    ROOT,
    Message,
    bridge_port,
    ipv4,
    linkinfo,
    message,
    no_qdisc,
    no_xdp,
    packed,
    peer_of,
)
from vifplug.netlink.message import attribute as attribute_of
from vifplug.netlink.parts import WIDTHS, Part
from vifplug.privileged import arguments
from vifplug.privileged.links.batch import Run
from vifplug.resources import link as link_kind
from vifplug.resources import passage
from vifplug.resources.link import Link
from vifplug.resources.schema import Attribute, Form, How, Place, Table

_DEFAULT_MTU = 1500
PROMISCUOUS = link_kind.PROMISCUOUS.wire.number if link_kind.PROMISCUOUS.wire else 0
UP = link_kind.UP.wire.number if link_kind.UP.wire else 0


def refuse_unknown(table: Table, names: Iterable[Any]) -> None:
    """Refuse attributes that a kind does not have, or that cannot be changed on an existing link.

    :raises PermissionDenied: for the first; nothing is silently skipped.
    """
    for name in names:
        if name not in table.restored:
            raise arguments.refuse("the attribute of a link", name)


def pinning(kind: type[Link], mtu: int) -> tuple[int, ...]:
    """MTUs to set in turn, so that a bridge stops following its ports' smallest.

    Only a change counts as set by the user (br_change_mtu); dev_set_mtu skips a value that is already set.
    """
    return (mtu - 1, mtu) if kind.follows_members_mtu and mtu == _DEFAULT_MTU else (mtu,)


def data_of(kind: type[Link], settings: Mapping[str, Any], lower: Sequence[tuple[str, Any]] = ()) -> tuple[str, Any]:
    """IFLA_LINKINFO with the given settings of the kind's own.

    :param lower: the attribute that names the link below, for a kind that has it here.
    """
    attrs = [
        (attribute.wire.name, arguments.value_of(attribute, settings[attribute.name]))
        for attribute in kind.attributes.at(Place.DATA)
        if attribute.wire is not None and attribute.form is not Form.LINK and settings.get(attribute.name) is not None
    ]
    return linkinfo(kind.wire_kind, [*lower, *attrs])


def peers(index: int, wanted: Any, attribute: Attribute, link: Mapping[str, Any] | None) -> list[Message]:
    """Messages that add and delete entries of a forwarding database.

    :param link: as read; None for a new one.
    """
    asked = set(arguments.value_of(attribute, wanted or ()))
    has = set((link or {}).get(attribute.name) or ())
    added = [peer_of(index, address) for address in sorted(asked - has)]
    return added + [peer_of(index, address, delete=True) for address in sorted(has - asked)]


def before_up(run: Run, operation: Mapping[str, Any], kind: type[Link]) -> list[list[tuple[str, Any]]]:
    """Attributes to set before a link is up, in the order of its kind's table.

    One message each, so that an error names one attribute.
    """
    values = operation["values"]
    given = (
        attribute for attribute in kind.attributes.set_by(How.BEFORE_UP, How.BEHIND_MEMBERS) if attribute.name in values
    )
    return [[_encoded(attribute, values[attribute.name], run, operation, kind)] for attribute in given]


def rejoins(values: Mapping[str, Any], link: Mapping[str, Any] | None) -> bool:
    """Whether a link that is up joins a bridge on which it has a VLAN: it must be down meanwhile. A bridge of another
    program may put each new port into its default VLAN, until the port gets its own by the next message.

    :param link: as read; None for a new one.
    """
    is_access = isinstance(values.get(link_kind.BRIDGE_VLAN.name), int)
    return link is not None and is_access and bool(link["up"] and values.get("master"))


def vlan_of_port(index: int, values: Mapping[str, Any], *, of_network: bool) -> list[Message]:
    """Messages that put a port of a bridge into its VLAN, behind the one of its master.

    :param of_network: whether the link is a network's, an uplink: no guest's port gets more than one VLAN.
    """
    name = link_kind.BRIDGE_VLAN.name
    if name not in values:
        return []
    if of_network and values[name] == link_kind.TRUNK:
        return vlans.trunk(index)
    return vlans.access(index, int(arguments.value_of(link_kind.BRIDGE_VLAN, values[name])))


def _encoded(
    attribute: Attribute, value: Any, run: Run, operation: Mapping[str, Any], kind: type[Link]
) -> tuple[str, Any]:
    owner, role = arguments.owner(operation["owner"]), arguments.role(operation["role"])
    if attribute.wire is None:
        raise arguments.refuse("the attribute of a link", attribute.name)
    if attribute is link_kind.ALIAS:
        return attribute.wire.name, naming.alias(owner) if value else ""
    if attribute is link_kind.MASTER:
        return attribute.wire.name, run.master(value, owner, role) if value else 0
    if attribute.wire.place is Place.DATA:
        return data_of(kind, {attribute.name: value})
    return attribute.wire.name, arguments.value_of(attribute, value)


def in_entry(part: Part, values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Settings of a part of a link, to send to that link: one list with one structure for each message, so that an
    error names one.

    Other fields of a structure stay as the kernel has shown them.
    """
    assert part.kind.entries is not None
    structures: dict[int, bytearray] = {}
    for attribute in part.kind.attributes.set_by(How.ENTRY):
        wire = attribute.wire
        if wire is None or attribute.name not in values:
            continue
        shown = bytearray(part.entry.get(wire.number, b""))
        if len(shown) < wire.offset + WIDTHS[wire.width]:
            raise LinkError(
                f"could not set {attribute.name} of {part.function.address}: the kernel shows none",
                part.function.address,
            )
        value = packed(wire.width, arguments.value_of(attribute, values[attribute.name]))
        structures.setdefault(wire.number, shown)[wire.offset : wire.offset + len(value)] = value
    return [
        (part.kind.entries.name, attribute_of(part.kind.entries.entry, attribute_of(number, bytes(structure))))
        for number, structure in structures.items()
    ]


_LINK_SETTINGS = {passage.TX_QUEUE: ("IFLA_TXQLEN", 1 << 20), passage.LINK_MODE: ("IFLA_LINKMODE", 1)}
_XDP_FLAGS = {"driver": (4,), "generic": (2,), "offloaded": (8,), "several": (2, 4, 8)}
"""XDP_FLAGS_DRV_MODE and so on, of linux/if_link.h; a program must be detached in the mode of its attachment."""
_PLACES = {passage.QDISC: ROOT, passage.INGRESS: INGRESS}
_FREEING = frozenset({*_LINK_SETTINGS, *passage.PORT_FLAGS, *_PLACES, passage.XDP, passage.PORT_STATE})


def freed(index: int, values: Mapping[str, Any], link: Mapping[str, Any] | None) -> tuple[list[Message], list[Message]]:
    """Messages that let frames pass again: those to send before a link is up, and those that the kernel accepts only
    after.

    :param link: as read; None for a new one.
    """
    early: list[Message] = []
    if _FREEING.isdisjoint(values):
        return early, []
    for key, (name, most) in _LINK_SETTINGS.items():
        if key in values:
            early.append(message(index, [(name, arguments.number(key, values[key], 0, most))]))
    flags = {
        number: arguments.number(key, values[key], 0, (1 << 8 * size) - 1).to_bytes(size, sys.byteorder)
        for key, (number, size, _right) in passage.PORT_FLAGS.items()
        if key in values
    }
    early += [message(index, [bridge_port(flags)])] if flags else []
    early += [no_qdisc(index, parent) for key, parent in _PLACES.items() if key in values]
    if passage.XDP in values and link is not None:
        ways = _XDP_FLAGS.get(link["impeded"].get(passage.XDP), ())
        early += [message(index, [no_xdp(flag)]) for flag in ways]
    if passage.PORT_STATE not in values:
        return early, []
    state = arguments.number(passage.PORT_STATE, values[passage.PORT_STATE], 0, 4)
    return early, [message(index, [bridge_port({passage.PORT_STATE_NUMBER: bytes([state])})])]


def with_mark(values: Mapping[str, Any], kind: type[Link]) -> list[tuple[str, Any]]:
    """One attribute with all given IPv4 settings, or none."""
    settings = {
        attribute.wire.number: int(arguments.value_of(attribute, values[attribute.name]))
        for attribute in kind.attributes.set_by(How.WITH_MARK)
        if attribute.wire is not None and attribute.name in values
    }
    return [ipv4(settings)] if settings else []


def flags(values: Mapping[str, Any], kind: type[Link]) -> tuple[int, int]:
    """IFF_ bits and their mask, for the given flags."""
    known = kind.attributes.at(Place.FLAGS)
    given = {
        attribute.name: attribute.wire.number
        for attribute in known
        if attribute.wire is not None and attribute.name in values
    }
    return sum(bit for key, bit in given.items() if values[key]), sum(given.values())
