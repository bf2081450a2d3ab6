"""What every kind of resource says of itself. This page is the authors' guide of kinds.

A kind is one module of this package: a frozen dataclass, whose fields are the attributes, and beside it what holds for
all resources of the kind, as data:

* ``relation``: whose its resources are, from which follows how they go (``TEARDOWN``);
* ``attributes`` (links) or ``COLUMNS`` (rows): the table of ``resources.schema``;
* ``depends_on``: what must be there before it. The planner orders by that;
* ``roles``: which part of a path it plays, and what the helper lets a link of that part do.

It is registered by a line of ``resources.kinds``. In a desired resource None means "not asked for"; in an observed one
"not there" or "not readable".
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from vifplug import naming

LINKS, PORTS = "links", "ports"
"""The planes: what is changed by netlink, and what by OVSDB. Within a plane a name is one thing's."""

Reference = tuple[str, str]
"""A plane and a name."""


class Relation(enum.Enum):
    """Whose the resources of a kind are."""

    OWNED = "owned"
    """vifplug makes them, marks them and deletes them."""
    CONFIGURED = "configured"
    """Another program's: vifplug sets attributes, remembers what was there, and puts that back."""
    REFERENCED = "referenced"
    """Another program's, and never changed: a link must be there, a port of the guest's VMM may come later."""


class Teardown(enum.Enum):
    """What becomes of a resource with its VIF, and when a plug fails."""

    DELETED = "deleted"
    RESTORED = "restored to what was remembered"
    """But for what another program has changed since: that is left, with a warning."""
    NOTHING = "nothing"


TEARDOWN: Mapping[Relation, Teardown] = {
    Relation.OWNED: Teardown.DELETED,
    Relation.CONFIGURED: Teardown.RESTORED,
    Relation.REFERENCED: Teardown.NOTHING,
}


class Creation(enum.Enum):
    """How a link is made."""

    NEVER = "never"
    MESSAGE = "a message"
    PAIR = "a message that makes two"
    TAP = "/dev/net/tun"
    """One by one, by ioctl: what is made so comes first, for what comes behind it goes out together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Which part of a path a link plays."""

    name: str
    """Prefix of the names by the naming rule; with the owner it gives the birth address."""
    of_network: bool = False
    """Whether it belongs to a network, not to one VIF."""
    is_port: bool = False
    """Whether it may be the device of its owner's OVS port."""
    joins_bridge: bool = False
    """Whether it may be put on its owner's Linux bridge as it is made."""
    joins_network: bool = False
    """Whether it may be put on a network's bridge, whoever made that (decision 0004)."""


class Resource:
    """One thing on the host. What subclasses add is data; they are frozen dataclasses with slots."""

    __slots__ = ()

    kind: ClassVar[str] = ""
    """As records, reports and privileged operations name it."""
    plane: ClassVar[str] = LINKS
    relation: ClassVar[Relation] = Relation.OWNED

    if TYPE_CHECKING:

        @property
        def name(self) -> str:
            """The name of the device or row, alone in its plane."""

        @property
        def owner(self) -> str:
            """Whose it is: a VIF id, or ``net:`` and a network id. Observed: by its mark, else ""."""

    @property
    def reference(self) -> Reference:
        """What others name it by that depend on it."""
        return self.plane, self.name

    @property
    def shared(self) -> bool:
        """Whether it belongs to a network rather than to one VIF."""
        return self.owner.startswith(naming.NETWORK_PREFIX)

    @property
    def teardown(self) -> Teardown:
        """What becomes of it with its VIF."""
        return TEARDOWN[self.relation]

    def replaced(self, **values: Any) -> Self:
        """With other values of fields, which only some kinds have."""
        return dataclasses.replace(self, **values)  # type: ignore[type-var]

    def depends_on(self) -> frozenset[Reference]:
        """What must be there before it: a master, a lower device, the device of a port."""
        return frozenset()
