"""Taps: a VMM opens one as its guest's network card. vifplug makes them, or puts another program's on a bridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug import naming
from vifplug.resources.contract import Creation, Relation, Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link, Passage
from vifplug.resources.schema import Attribute, Compared, Form, How, Place, Table, Wire

GUEST_ROLE = "guest-tap"
_INFO = Place.DATA
_ID_MAX = 2**32 - 2
UID = Attribute(name="uid", form=Form.WHOLE, how=How.TAP, wire=Wire("IFLA_TUN_OWNER", 1, "uint32", _INFO), high=_ID_MAX)
GID = Attribute(name="gid", form=Form.WHOLE, how=How.TAP, wire=Wire("IFLA_TUN_GROUP", 2, "uint32", _INFO), high=_ID_MAX)
MULTIQUEUE = Attribute(
    name="multiqueue",
    form=Form.FLAG,
    wire=Wire("IFLA_TUN_MULTI_QUEUE", 7, "uint8", _INFO),
    compared=Compared.REMADE,
    absent=False,
)
PERSISTENT = Attribute(
    name="persistent", form=Form.FLAG, wire=Wire("IFLA_TUN_PERSIST", 6, "uint8", _INFO), absent=False
)
VNET_HEADER = Attribute(
    name="vnet_header",
    form=Form.FLAG,
    wire=Wire("IFLA_TUN_VNET_HDR", 5, "uint8", _INFO),
    compared=Compared.NOT,
    absent=False,
)
_QDISCS = frozenset(
    # What net.core.default_qdisc may name, and what libvirt's <bandwidth> sets on a guest's tap (htb).
    {"pfifo_fast", "mq", "fq", "fq_codel", "fq_pie", "codel", "pie", "sfq", "cake", "htb", "hfsc", "prio", "multiq"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap(Link):
    """A persistent tap that vifplug makes for a guest."""

    kind: ClassVar[str] = "tap"
    attributes: ClassVar[Table] = Table(
        *OF_EVERY_LINK,
        *(UID, GID, MULTIQUEUE, PERSISTENT, VNET_HEADER),
        UP,
        made_with=("alias", "address", "mtu", "disable_ipv6", "accept_ra", "uid", "gid", "multiqueue", "persistent"),
    )
    roles: ClassVar[tuple[Role, ...]] = (
        Role(name=naming.ROLE_TAP, is_port=True, joins_bridge=True, joins_network=True),
    )
    creation: ClassVar[Creation] = Creation.TAP
    wire_kind: ClassVar[str] = "tun"
    wire_type: ClassVar[tuple[int, int] | None] = (3, 2)
    """IFLA_TUN_TYPE is IFF_TAP."""
    is_opened_by_guest: ClassVar[bool] = True
    may_stand_for_tap: ClassVar[bool] = True
    may_be_port: ClassVar[bool] = True
    # libvirt processes the frames of a guest's tap first, for its <bandwidth>.
    passage: ClassVar[Passage] = Passage(qdiscs=_QDISCS, ingress=frozenset({"ingress"}), has_ring=True)

    uid: int | None = None
    gid: int | None = None
    multiqueue: bool | None = None
    persistent: bool | None = None
    has_any_master: bool | None = None
    vnet_header: bool | None = None
    """Observed only: whether it was made with IFF_VNET_HDR, like ours."""

    @property
    def is_multiqueue(self) -> bool:
        """As it was made: it cannot be opened otherwise."""
        return bool(self.multiqueue)

    def creation_in_words(self, other: Link | None = None) -> str:
        """With its queues, and the user who may open it."""
        queues = " multi-queue" if self.multiqueue else ""
        ids = [f"{key} {value}" for key, value in (("uid", self.uid), ("gid", self.gid)) if value is not None]
        return " ".join([f"create tap {self.name} mtu {self.mtu}{queues}", *ids])


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTap(Link):
    """A tap, or one end of a pair, that has the name that only its VIF's tap gets. It stays its maker's: it gets a
    bridge, an MTU and "up", and its former values at the unplug. Unlike another configured device it may be missing,
    because its maker deletes it with the guest."""

    kind: ClassVar[str] = "guest-tap"
    relation: ClassVar[Relation] = Relation.CONFIGURED
    attributes: ClassVar[Table] = Table(*OF_EVERY_LINK, UP)
    settable: ClassVar[frozenset[str]] = frozenset({"master", "mtu", "up"})
    roles: ClassVar[tuple[Role, ...]] = (Role(name=GUEST_ROLE, joins_bridge=True, joins_network=True),)
    is_guests: ClassVar[bool] = True

    former: Mapping[str, Any] = field(default_factory=dict)
    """Recorded only: its master, MTU and flags before it was configured."""

    @classmethod
    def of(cls, vif_id: str, bridge: str, mtu: int, *, up: bool) -> GuestTap:
        """The tap of a VIF, on a bridge."""
        name = naming.device(naming.ROLE_TAP, vif_id)
        return cls(name=name, owner=vif_id, role=GUEST_ROLE, master=bridge, mtu=mtu, up=up)
