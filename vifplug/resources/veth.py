"""Veth pairs, which connect a Linux bridge to an OVS bridge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vifplug import naming
from vifplug.resources.contract import Creation, Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link, Passage
from vifplug.resources.schema import Attribute, Form, How, Table, Wire

PEER = Attribute(name="peer", form=Form.LINK, wire=Wire("IFLA_LINK", 5, "uint32"))
TX_CHECKSUM = Attribute(name="tx_checksum", form=Form.FLAG, how=How.ETHTOOL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Veth(Link):
    """One end of a veth pair."""

    kind: ClassVar[str] = "veth"
    attributes: ClassVar[Table] = Table(
        *OF_EVERY_LINK,
        *(PEER, TX_CHECKSUM),
        UP,
        made_with=("alias", "address", "mtu", "master", "peer"),
    )
    roles: ClassVar[tuple[Role, ...]] = (
        Role(name=naming.ROLE_BRIDGE_END, joins_bridge=True),
        Role(name=naming.ROLE_PORT_END, is_port=True),
    )
    creation: ClassVar[Creation] = Creation.PAIR
    wire_kind: ClassVar[str] = "veth"
    has_birth_address: ClassVar[bool] = True
    may_stand_for_tap: ClassVar[bool] = True
    may_be_port: ClassVar[bool] = True
    # A veth has no queue (IFF_NO_QUEUE).
    passage: ClassVar[Passage] = Passage(qdiscs=frozenset())

    peer: str | None = None
    tx_checksum: bool | None = None
    """Transmit checksum offload; off if frames cross a userspace datapath, else TCP is lost."""
    port_bridge: str = ""
    """Desired only: the OVS bridge whose datapath decides about tx_checksum."""

    def creation_in_words(self, other: Link | None = None) -> str:
        """Both ends, and the bridges that they join at their creation."""
        far = other or self
        joined = "".join(f", {end.name} in {end.master}" for end in (self, far) if end.master)
        return f"create veth pair {self.name} = {far.name} mtu {self.mtu}{joined}"

    def as_on(self, userspace: bool) -> Link:
        """A copy without checksum offload if frames cross the userspace datapath."""
        tx_checksum = False if userspace else None
        return self.replaced(tx_checksum=tx_checksum)
