"""An attribute of a kind, as data: its form and bounds, how it is set and read, and how it is compared.

Each kind's module contains its attribute table. The planner's comparisons, the encoding and decoding of messages, and
the helper's checks are derived from it; attributes are named nowhere else.
"""

from __future__ import annotations

import enum
import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class Form(enum.Enum):
    """The type of an attribute's values."""

    TEXT = "text"
    MAC = "MAC address"
    LINK = "link"
    """The name of another link; on the wire its ifindex."""
    WHOLE = "whole number"
    FLAG = "flag"
    SECONDS = "seconds"
    """On the wire in hundredths of a second: the kernel's USER_HZ, whatever its own HZ."""
    IP = "IP address"
    UDP_PORT = "UDP port"
    """On the wire in network byte order."""
    ADDRESSES = "IP addresses"
    """A tuple, in order; no link message has it."""


class Place(enum.Enum):
    """The position of an attribute in a link message."""

    LINK = "link"
    DATA = "IFLA_INFO_DATA"
    INET = "IFLA_AF_SPEC, AF_INET"
    """An IPV4_DEVCONF_ number, which counts from one; the kernel's own dump of them counts from zero."""
    INET6 = "IFLA_AF_SPEC, AF_INET6"
    """An IPV6_DEVCONF_ number. It can be read this way, but not set (inet6_set_link_af)."""
    FLAGS = "ifi_flags"
    ENTRY = "an entry of a list in the message of another link (``Entries``)"
    """A structure that begins with the entry's number. All bits set means "not known" to the kernel."""


class How(enum.Enum):
    """How an attribute is changed, and thereby when: in this order."""

    WITH_MARK = "in the message of the link's mark"
    """It involves no other link, so a new link gets it without a separate message."""
    BEFORE_UP = "a message before the link is up"
    BEHIND_MEMBERS = "a message before the link is up, behind all others of its kind"
    """A bridge's MTU is set after its members' (LP 1399064)."""
    BRIDGE_VLAN = "messages to the bridge that it is a port of (AF_BRIDGE), before the link is up"
    """Behind its master: a port's VLANs are deleted when it leaves its bridge."""
    FORWARDING = "entries of its forwarding database"
    """For the MAC of all zeros, to which a VXLAN device sends what it knows no other destination of."""
    SYSCTL = "sysctl"
    ETHTOOL = "ethtool"
    TAP = "tap ioctl"
    FLAGS = "flags"
    """Last of all, because "up" is among them: no link is up before its settings."""
    ENTRY = "a message to the link of which it is a part"
    NEVER = "never"
    """It is only read, or fixed at creation."""


class Compared(enum.Enum):
    """When a desired and an observed value agree."""

    EQUAL = "equal"
    AT_LEAST_IF_SHARED = "at least, where VIFs share the resource"
    """VIFs of one network may request different values; the largest applies."""
    AGREED = "equal, and the same for all VIFs that share the resource"
    REMADE = "equal, and only a new resource can have another value"
    NOT = "not compared"


@dataclass(frozen=True, slots=True)
class Wire:
    """The position of an attribute in a link message, and its width in bytes."""

    name: str
    """The kernel's name of it, for people; the number is used."""
    number: int
    width: str = ""
    """``uint8``, ``uint16``, ``uint32``, ``asciiz`` or ``l2addr``; "" if the place determines it."""
    place: Place = Place.LINK
    offset: int = 0
    """Of Place.ENTRY: the offset in the structure, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entries:
    """A list in the message of a link, in which the kernel shows parts of that link and accepts their settings."""

    name: str
    """The kernel's name of the list, used for sending."""
    number: int
    entry: int
    """The number of the attribute that is one entry."""
    mask: int
    """RTEXT_FILTER_... with which the list is requested (IFLA_EXT_MASK)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of a kind."""

    name: str
    """The name of the resource's field."""
    form: Form
    how: How = How.NEVER
    wire: Wire | None = None
    low: int = 0
    high: int = 2**31 - 1
    """Bounds of a number, as on the wire."""
    unit: str = ""
    compared: Compared = Compared.EQUAL
    absent: Any = None
    """The assumed value if the kernel shows none."""


class Table:
    """The attributes of a kind, in the order in which they are compared and set.

    :param made_with: attributes that a creation contains; the others are set after it.
    """

    def __init__(self, *attributes: Attribute, made_with: tuple[str, ...] = ()) -> None:
        self.attributes = attributes
        self.made_with = frozenset(made_with)
        self.compared = tuple(attribute.name for attribute in attributes if attribute.compared is not Compared.NOT)
        """Names of those that are compared."""
        self.values = operator.attrgetter(*self.compared)
        """The values of these, of a resource."""
        self.links = tuple(attribute.name for attribute in attributes if attribute.form is Form.LINK)
        """Names of those that refer to other links."""
        self.links_made_with = tuple(name for name in self.links if name in self.made_with)
        self.by_name: Mapping[str, Attribute] = {attribute.name: attribute for attribute in attributes}
        self._by_how = {way: tuple(attribute for attribute in attributes if attribute.how is way) for way in How}
        self._by_ways: dict[tuple[How, ...], tuple[Attribute, ...]] = {}
        self._by_place = {
            place: tuple(
                attribute for attribute in attributes if attribute.wire is not None and attribute.wire.place is place
            )
            for place in Place
        }

    def __getitem__(self, name: str) -> Attribute:
        return self.by_name[name]

    @functools.cached_property
    def set_behind(self) -> tuple[str, ...]:
        """Names of those that are set on a new resource, after its creation."""
        return tuple(name for name in self.compared if name not in self.made_with)

    @functools.cached_property
    def remade_for(self) -> tuple[str, ...]:
        """Names of those that only a new resource can get."""
        return tuple(attribute.name for attribute in self.attributes if attribute.compared is Compared.REMADE)

    @functools.cached_property
    def agreed(self) -> tuple[str, ...]:
        """Names of those for which VIFs that share a resource must request the same value."""
        ways = (Compared.REMADE, Compared.AGREED)
        return tuple(attribute.name for attribute in self.attributes if attribute.compared in ways)

    @functools.cached_property
    def restored(self) -> tuple[str, ...]:
        """Names of those that can be set on an existing resource, and so can be restored."""
        return tuple(attribute.name for attribute in self.attributes if attribute.how is not How.NEVER)

    def set_by(self, *ways: How) -> tuple[Attribute, ...]:
        """Those that are changed in one of these ways, in the order of the ways and then of the table."""
        known = self._by_ways.get(ways)
        if known is None:
            known = self._by_ways[ways] = tuple(attribute for way in ways for attribute in self._by_how[way])
        return known

    def at(self, place: Place) -> tuple[Attribute, ...]:
        """Those at a place of the link message."""
        return self._by_place[place]
