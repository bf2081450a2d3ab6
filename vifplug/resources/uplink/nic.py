"""Devices of the host that are put on a network's bridge while VIFs are plugged there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.resources.contract import Relation, Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link
from vifplug.resources.schema import Table

ROLE = "uplink"


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
