"""VLAN devices: one VLAN of a device of the host, which the VIFs of a network share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vifplug import naming
from vifplug.resources.contract import Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link
from vifplug.resources.schema import Attribute, Compared, Form, Place, Table, Wire
from vifplug.resources.uplink.nic import Upper

ROLE = "vlan"

LOWER = Attribute(name="lower", form=Form.LINK, wire=Wire("IFLA_LINK", 5, "uint32"), compared=Compared.REMADE)
VLAN_ID = Attribute(
    name="vlan_id",
    form=Form.WHOLE,
    wire=Wire("IFLA_VLAN_ID", 1, "uint16", Place.DATA),
    low=naming.VLAN_MIN,
    high=naming.VLAN_MAX,
    # vlan_changelink accepts no other id.
    compared=Compared.REMADE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vlan(Upper):
    """A VLAN device. It has a MAC of its own, which the kernel adds to those that the lower device receives."""

    kind: ClassVar[str] = "vlan"
    attributes: ClassVar[Table] = Table(
        *OF_EVERY_LINK,
        *(LOWER, VLAN_ID),
        UP,
        made_with=("alias", "address", "mtu", "lower", "vlan_id"),
    )
    roles: ClassVar[tuple[Role, ...]] = (Role(name=ROLE, of_network=True, joins_own_network=True),)
    wire_kind: ClassVar[str] = "vlan"
    module: ClassVar[str] = "8021q"
    unique: ClassVar[tuple[str, ...]] = ("lower", "vlan_id")

    lower: str | None = None
    vlan_id: int | None = None

    def creation_in_words(self, other: Link | None = None) -> str:
        """With its VLAN and the device below it."""
        return f"create vlan {self.name} id {self.vlan_id} on {self.lower} mtu {self.mtu}"
