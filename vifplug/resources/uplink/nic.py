"""Devices of the host that are put on a network's bridge while VIFs are plugged there, and links on such devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.resources.contract import Creation, Relation, Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link, Passage
from vifplug.resources.schema import Table

ROLE = "uplink"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upper(Link):
    """A link on a lower device, which the VIFs of a network share. The kinds below have a field ``lower``."""

    creation: ClassVar[Creation] = Creation.MESSAGE
    has_birth_address: ClassVar[bool] = True
    may_be_foreign: ClassVar[bool] = True
    # It has no queue (IFF_NO_QUEUE).
    passage: ClassVar[Passage] = Passage(qdiscs=frozenset())

    @property
    def listed_as(self) -> tuple[str, ...]:
        """Observed: another program's is listed with the device below it."""
        return (self.name,) if self.lower is None else (self.name, self.lower)

    def as_another_programs(self) -> Link:
        """It is put on the bridge, and set up."""
        return Nic.of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic(Link):
    """Another program's device of any kind. It is put on the bridge and set up; its addresses and routes stay, so a
    device with any is refused unless the configuration allows it."""

    kind: ClassVar[str] = "nic"
    relation: ClassVar[Relation] = Relation.CONFIGURED
    attributes: ClassVar[Table] = Table(*OF_EVERY_LINK, UP)
    settable: ClassVar[frozenset[str]] = frozenset({"master", "up", "bridge_vlan"})
    roles: ClassVar[tuple[Role, ...]] = (Role(name=ROLE, of_network=True, joins_own_network=True),)

    former: Mapping[str, Any] = field(default_factory=dict)
    """Recorded only: its master and flags before it was configured."""
    keeps_addresses: bool | None = None
    """Desired only: whether [bridge] addressed_devices lists it; None for what another program made on a listed
    device."""

    @classmethod
    def of(cls, link: Link) -> Nic:
        """A link that was to be made, and that another program has made."""
        return cls(name=link.name, owner=link.owner, role=ROLE, master=link.master, up=True)
