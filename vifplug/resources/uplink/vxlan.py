"""VXLAN devices: one virtual network between hosts, which the VIFs of a network share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vifplug import naming
from vifplug.resources.contract import Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link
from vifplug.resources.schema import Attribute, Compared, Form, How, Place, Table, Wire
from vifplug.resources.uplink.nic import Upper

ROLE = "vxlan"
OVERHEAD, OVERHEAD6 = 50, 70
"""Bytes: the inner Ethernet header (14), VXLAN's (8), UDP's (8), and IPv4's (20) or IPv6's (40)."""

_DATA, _REMADE = Place.DATA, Compared.REMADE
VNI = Attribute(
    name="vni",
    form=Form.WHOLE,
    wire=Wire("IFLA_VXLAN_ID", 1, "uint32", _DATA),
    low=1,
    high=naming.VNI_MAX,
    compared=_REMADE,
)
LOWER = Attribute(name="lower", form=Form.LINK, wire=Wire("IFLA_VXLAN_LINK", 3, "uint32", _DATA), compared=_REMADE)
# The kernel changes these by itself only where ``ip link set type vxlan`` asks for it, and then moves no membership of
# a multicast group (vxlan_changelink): a new device gets them.
GROUP = Attribute(name="group", form=Form.IP, wire=Wire("IFLA_VXLAN_GROUP", 2, "ip", _DATA), compared=_REMADE)
GROUP6 = Attribute(name="group6", form=Form.IP, wire=Wire("IFLA_VXLAN_GROUP6", 16, "ip", _DATA), compared=_REMADE)
LOCAL = Attribute(name="local", form=Form.IP, wire=Wire("IFLA_VXLAN_LOCAL", 4, "ip", _DATA), compared=_REMADE)
LOCAL6 = Attribute(name="local6", form=Form.IP, wire=Wire("IFLA_VXLAN_LOCAL6", 17, "ip", _DATA), compared=_REMADE)
PORT = Attribute(
    name="port",
    form=Form.UDP_PORT,
    wire=Wire("IFLA_VXLAN_PORT", 15, "be16", _DATA),
    low=1,
    high=2**16 - 1,
    compared=_REMADE,
)
TTL = Attribute(
    name="ttl",
    form=Form.WHOLE,
    how=How.BEFORE_UP,
    wire=Wire("IFLA_VXLAN_TTL", 5, "uint8", _DATA),
    high=255,
    compared=Compared.AGREED,
)
TOS = Attribute(
    name="tos",
    form=Form.WHOLE,
    how=How.BEFORE_UP,
    wire=Wire("IFLA_VXLAN_TOS", 6, "uint8", _DATA),
    high=255,
    compared=Compared.AGREED,
)
LEARNING = Attribute(
    name="learning", form=Form.FLAG, how=How.BEFORE_UP, wire=Wire("IFLA_VXLAN_LEARNING", 7, "uint8", _DATA)
)
UDP_CHECKSUM = Attribute(
    name="udp_checksum", form=Form.FLAG, wire=Wire("IFLA_VXLAN_UDP_CSUM", 18, "uint8", _DATA), compared=_REMADE
)
NO_CHECKSUM6_SENT = Attribute(
    name="no_checksum6_sent",
    form=Form.FLAG,
    wire=Wire("IFLA_VXLAN_UDP_ZERO_CSUM6_TX", 19, "uint8", _DATA),
    compared=_REMADE,
)
NO_CHECKSUM6_RECEIVED = Attribute(
    name="no_checksum6_received",
    form=Form.FLAG,
    wire=Wire("IFLA_VXLAN_UDP_ZERO_CSUM6_RX", 20, "uint8", _DATA),
    compared=_REMADE,
)
PEERS = Attribute(name="peers", form=Form.ADDRESSES, how=How.FORWARDING, compared=Compared.AT_LEAST_IF_SHARED)

_OWN = (
    *(VNI, LOWER, GROUP, GROUP6, LOCAL, LOCAL6, PORT, TTL, TOS, LEARNING),
    *(UDP_CHECKSUM, NO_CHECKSUM6_SENT, NO_CHECKSUM6_RECEIVED),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vxlan(Upper):
    """A VXLAN device. It learns which host a MAC is on; what it has not learnt it sends to a multicast group, or to
    every peer of its forwarding database."""

    kind: ClassVar[str] = "vxlan"
    attributes: ClassVar[Table] = Table(
        *OF_EVERY_LINK,
        *_OWN,
        PEERS,
        UP,
        made_with=("alias", "address", "mtu", *(attribute.name for attribute in _OWN)),
    )
    roles: ClassVar[tuple[Role, ...]] = (Role(name=ROLE, of_network=True, joins_own_network=True),)
    wire_kind: ClassVar[str] = "vxlan"
    # vxlan_exists (drivers/net/vxlan): also of two on different devices.
    unique: ClassVar[tuple[str, ...]] = ("vni", "port")
    has_local_address: ClassVar[bool] = True
    option: ClassVar[str] = "[bridge] physical_networks or vxlan_local_ip"

    vni: int | None = None
    lower: str | None = None
    group: str | None = None
    group6: str | None = None
    """A multicast group, of IPv4 or of IPv6."""
    local: str | None = None
    local6: str | None = None
    """The address that its packets come from; by default the kernel chooses it."""
    port: int | None = None
    """The UDP port of all hosts; by default the kernel's, 8472."""
    ttl: int | None = None
    tos: int | None = None
    """1: as the guest's packet has it."""
    learning: bool | None = None
    udp_checksum: bool | None = None
    """Of packets over IPv4; by default they have checksums."""
    no_checksum6_sent: bool | None = None
    no_checksum6_received: bool | None = None
    """The same over IPv6: whether packets without a checksum are sent, and accepted."""
    peers: tuple[str, ...] | None = None
    """Hosts that receive what has no known destination. VIFs of a network may name different ones: all count."""
    is_ipv6: bool = False
    """Desired only: whether its packets are of IPv6."""

    @property
    def overhead(self) -> int:
        """By the protocol of its packets."""
        return OVERHEAD6 if self.is_ipv6 else OVERHEAD

    @property
    def local_address(self) -> str:
        """Its own address, if no lower device is named."""
        return (self.local or self.local6 or "") if self.lower is None else ""

    def creation_in_words(self, other: Link | None = None) -> str:
        """With its number, the device below it, and where its packets go."""
        group = self.group or self.group6
        words = [f"create vxlan {self.name} vni {self.vni} on {self.lower}", f"group {group}" if group else ""]
        own = self.local or self.local6
        given = (("local", own), ("port", self.port), ("ttl", self.ttl), ("tos", self.tos))
        words += [f"{name} {value}" for name, value in given if value is not None]
        checksums = "without checksums" if self.udp_checksum is False or self.no_checksum6_sent else ""
        return " ".join(word for word in (*words, checksums, f"mtu {self.mtu}") if word)
