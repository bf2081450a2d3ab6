"""Taps: a VMM opens one as its guest's network card."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vifplug import naming
from vifplug.resources.contract import Creation, Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link, Passage
from vifplug.resources.schema import Attribute, Compared, Form, How, Place, Table, Wire

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
