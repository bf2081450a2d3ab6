"""The properties of every kind of resource. This is the authors' guide of kinds.

A kind is one module of this package: a frozen dataclass, whose fields are the attributes, and data that applies to all
resources of the kind:

* ``relation``: who owns its resources, which determines their teardown (``TEARDOWN``);
* ``attributes`` (links) or ``COLUMNS`` (rows): the table of ``resources.schema``;
* ``depends_on``: what must exist before it. The planner orders by that;
* ``roles``: its part in a path, and what the helper permits for a link of that part.

A line of ``resources.kinds`` registers it. In a desired resource None means "not requested"; in an observed one
"missing" or "not readable".
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from vifplug import naming

LINKS, PORTS, FILTERS = "links", "ports", "filters"
"""The planes: "links" are changed by netlink, "ports" by OVSDB, "filters" by nf_tables. Within a plane a name is
unique."""

Reference = tuple[str, str]
"""A plane and a name."""


class Relation(enum.Enum):
    """Who owns the resources of a kind."""

    OWNED = "owned"
    """vifplug makes them, marks them and deletes them."""
    CONFIGURED = "configured"
    """Another program owns them: vifplug sets attributes, records the former values, and restores them."""
    REFERENCED = "referenced"
    """Another program owns them, and they are never changed: a link must exist, a port of the guest's VMM may come
    later."""

    __hash__ = object.__hash__  # Enum's own is Python, and hashes the name


class Teardown(enum.Enum):
    """What happens to a resource when its VIF is unplugged, and when a plug fails."""

    DELETED = "deleted"
    RESTORED = "restored to what was remembered"
    """Except values that another program has changed since: those are left, with a warning."""
    NOTHING = "nothing"


TEARDOWN: Mapping[Relation, Teardown] = {
    Relation.OWNED: Teardown.DELETED,
    Relation.CONFIGURED: Teardown.RESTORED,
    Relation.REFERENCED: Teardown.NOTHING,
}


class Creation(enum.Enum):
    """How a link is created."""

    NEVER = "never"
    MESSAGE = "a message"
    PAIR = "a message that makes two"
    TAP = "/dev/net/tun"
    """One by one, by ioctl: these are created first, because later ones are sent together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """The part of a link in a path."""

    name: str
    """Prefix of the names by the naming rule; with the owner it determines the birth address."""
    of_network: bool = False
    """Whether it belongs to a network, not to one VIF."""
    is_port: bool = False
    """Whether it may be the device of its owner's OVS port."""
    joins_bridge: bool = False
    """Whether it may be put on its owner's Linux bridge at its creation."""
    joins_network: bool = False
    """Whether it may be put on a network's bridge, made by any program (decision 0004)."""
    joins_own_network: bool = False
    """Whether it may be put on the bridge that vifplug made for the network that it belongs to, and on no other."""


class Resource:
    """A resource on the host. Subclasses add data only; they are frozen dataclasses with slots."""

    __slots__ = ()

    kind: ClassVar[str] = ""
    """Its name in records, reports and privileged operations."""
    plane: ClassVar[str] = LINKS
    relation: ClassVar[Relation] = Relation.OWNED
    is_guests: ClassVar[bool] = False
    """Whether it is identified as a guest's tap, not listed by the configuration, and may be missing."""

    if TYPE_CHECKING:

        @property
        def name(self) -> str:
            """The name of the device or row, unique in its plane."""

        @property
        def owner(self) -> str:
            """Its owner: a VIF id, or ``net:`` and a network id. Observed: from its mark, else ""."""

    @property
    def reference(self) -> Reference:
        """The name by which resources that depend on it refer to it."""
        return self.plane, self.name

    @property
    def shared(self) -> bool:
        """Whether it belongs to a network rather than to one VIF."""
        return self.owner.startswith(naming.NETWORK_PREFIX)

    @property
    def teardown(self) -> Teardown:
        """What happens to it when its VIF is unplugged."""
        return TEARDOWN[self.relation]

    def replaced(self, **values: Any) -> Self:
        """A copy with other values of fields, which only some kinds have; the resource itself if it has them.

        :raises TypeError: the kind has no such field.
        """
        if all(getattr(self, name, _MISSING) is value for name, value in values.items()):
            return self
        kind: Any = type(self)
        names, read, write = _fields(kind)
        if not values.keys() <= write.keys():
            return dataclasses.replace(self, **values)  # type: ignore[type-var]  # which names the field
        copy: Self = object.__new__(kind)
        for name, value in zip(names, read(self), strict=True):
            write[name](copy, value)
        for name, value in values.items():
            write[name](copy, value)
        return copy

    def depends_on(self) -> frozenset[Reference]:
        """What must exist before it: a master, a lower device, the device of a port."""
        return frozenset()


_MISSING = object()
_Fields = tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]], Mapping[str, Callable[[Any, Any], None]]]


@functools.cache
def _fields(cls: Any) -> _Fields:
    """A kind's fields: their names, what reads all of them, and what writes each.

    dataclasses.replace calls the constructor, which writes the fields of a frozen class by a call each in Python: with
    the 25 fields of a link 8 us, and a replug makes a dozen copies.
    """
    names = tuple(item.name for item in dataclasses.fields(cls))
    return names, operator.attrgetter(*names), {name: getattr(cls, name).__set__ for name in names}
