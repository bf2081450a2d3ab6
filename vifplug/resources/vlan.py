"""VLAN devices: one VLAN of a device of the host, which the VIFs of a network share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vifplug.resources.contract import Creation, Role
from vifplug.resources.link import OF_EVERY_LINK, UP, VLAN_MAX, VLAN_MIN, Link, Passage
from vifplug.resources.schema import Attribute, Compared, Form, Place, Table, Wire
from vifplug.resources.uplink.nic import Nic

ROLE = "vlan"

LOWER = Attribute(name="lower", form=Form.LINK, wire=Wire("IFLA_LINK", 5, "uint32"), compared=Compared.REMADE)
VLAN_ID = Attribute(
    name="vlan_id",
    form=Form.WHOLE,
    wire=Wire("IFLA_VLAN_ID", 1, "uint16", Place.DATA),
    low=VLAN_MIN,
    high=VLAN_MAX,
    # vlan_changelink accepts no other id.
    compared=Compared.REMADE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vlan(Link):
    """A VLAN device. It has a MAC of its own, which the kernel adds to those that the lower device receives."""

    kind: ClassVar[str] = "vlan"
    attributes: ClassVar[Table] = Table(
        *OF_EVERY_LINK,
        *(LOWER, VLAN_ID),
        UP,
        made_with=("alias", "address", "mtu", "lower", "vlan_id"),
    )
    roles: ClassVar[tuple[Role, ...]] = (Role(name=ROLE, of_network=True, joins_own_network=True),)
    creation: ClassVar[Creation] = Creation.MESSAGE
    wire_kind: ClassVar[str] = "vlan"
    module: ClassVar[str] = "8021q"
    has_birth_address: ClassVar[bool] = True
    may_be_foreign: ClassVar[bool] = True
    unique: ClassVar[tuple[str, ...]] = ("lower", "vlan_id")
    # A VLAN device has no queue (IFF_NO_QUEUE).
    passage: ClassVar[Passage] = Passage(qdiscs=frozenset())

    lower: str | None = None
    vlan_id: int | None = None

    @property
    def listed_as(self) -> tuple[str, ...]:
        """Observed: another program's is listed with the device below it."""
        return (self.name,) if self.lower is None else (self.name, self.lower)

    def as_another_programs(self) -> Link:
        """It is put on the bridge, and set up."""
        return Nic.of(self)

    def creation_in_words(self, other: Link | None = None) -> str:
        """With its VLAN and the device below it."""
        return f"create vlan {self.name} id {self.vlan_id} on {self.lower} mtu {self.mtu}"
