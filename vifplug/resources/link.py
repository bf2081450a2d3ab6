"""Links of the kernel: the attributes of all kinds, and links of kinds that vifplug does not make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug import naming
from vifplug.resources.contract import LINKS, Creation, Reference, Relation, Resource, Role
from vifplug.resources.schema import Attribute, Compared, Entries, Form, How, Place, Table, Wire

_MTU_MIN, _MTU_MAX = 68, 65535
"""Bytes, of any link; a VIF's own bounds are narrower (model/limits.py)."""
_INET_MAX = 8
"""The kernel's limit for the IP settings below is far lower."""

ALIAS = Attribute(name="alias", form=Form.TEXT, how=How.BEFORE_UP, wire=Wire("IFLA_IFALIAS", 20, "asciiz"), absent="")
ADDRESS = Attribute(name="address", form=Form.MAC, how=How.BEFORE_UP, wire=Wire("IFLA_ADDRESS", 1, "l2addr"), absent="")
MTU = Attribute(
    name="mtu",
    form=Form.WHOLE,
    how=How.BEHIND_MEMBERS,
    wire=Wire("IFLA_MTU", 4, "uint32"),
    low=_MTU_MIN,
    high=_MTU_MAX,
    unit="bytes",
    compared=Compared.AT_LEAST_IF_SHARED,
)
MASTER = Attribute(name="master", form=Form.LINK, how=How.BEFORE_UP, wire=Wire("IFLA_MASTER", 10, "uint32"))
TRUNK = f"{naming.VLAN_MIN}-{naming.VLAN_MAX} tagged"
"""The ``bridge_vlan`` of a port with every VLAN: an uplink."""
BRIDGE_VLAN = Attribute(
    name="bridge_vlan", form=Form.WHOLE, how=How.BRIDGE_VLAN, low=naming.VLAN_MIN, high=naming.VLAN_MAX
)
DISABLE_IPV6 = Attribute(
    name="disable_ipv6",
    form=Form.FLAG,
    how=How.SYSCTL,
    wire=Wire("IPV6_DEVCONF_DISABLE_IPV6", 26, place=Place.INET6),
    # Without an IPv6 device (no IPv6 in the kernel, or an MTU below 1280) the setting counts as off.
    absent=True,
)
ACCEPT_RA = Attribute(
    name="accept_ra",
    form=Form.WHOLE,
    how=How.SYSCTL,
    wire=Wire("IPV6_DEVCONF_ACCEPT_RA", 3, place=Place.INET6),
    high=_INET_MAX,
    absent=0,
)
ARP_IGNORE = Attribute(
    name="arp_ignore",
    form=Form.WHOLE,
    how=How.WITH_MARK,
    wire=Wire("IPV4_DEVCONF_ARP_IGNORE", 19, place=Place.INET),
    high=_INET_MAX,
)
PROMISCUOUS = Attribute(
    name="promiscuous", form=Form.FLAG, how=How.FLAGS, wire=Wire("IFF_PROMISC", 0x100, place=Place.FLAGS)
)
UP = Attribute(name="up", form=Form.FLAG, how=How.FLAGS, wire=Wire("IFF_UP", 0x1, place=Place.FLAGS))

OF_EVERY_LINK = (ALIAS, ADDRESS, MTU, MASTER, BRIDGE_VLAN, DISABLE_IPV6, ACCEPT_RA, ARP_IGNORE, PROMISCUOUS)
"""The kind's own attributes follow, and ``UP`` is the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Differences between kinds in what may stop frames on their links (``resources.passage``)."""

    qdiscs: frozenset[str] | None = frozenset()
    """Queueing disciplines besides the kernel's default that are correct; None if its queue is never used."""
    ingress: frozenset[str] | None = frozenset()
    """What may process its frames first; None if this need not be checked."""
    has_ring: bool = False
    """Whether its txqueuelen is a ring that drops every frame if its size is 0."""
    is_bridge: bool = False
    """Whether a bridge's own settings and forwarding table are checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link(Resource):
    """A link of the kernel. Observed with this very class, it is of a kind that vifplug does not make."""

    kind: ClassVar[str] = "link"
    plane: ClassVar[str] = LINKS
    attributes: ClassVar[Table] = Table(*OF_EVERY_LINK, UP)
    roles: ClassVar[tuple[Role, ...]] = ()
    creation: ClassVar[Creation] = Creation.NEVER
    wire_kind: ClassVar[str] = ""
    """The kernel's name of the kind (IFLA_INFO_KIND); "" for a kind without one."""
    wire_type: ClassVar[tuple[int, int] | None] = None
    """Number and value of the attribute of IFLA_INFO_DATA that distinguishes it from other kinds of that name."""
    has_birth_address: ClassVar[bool] = False
    """Whether its creation message contains a MAC derived from owner and role: its mark before it has an alias."""
    has_members: ClassVar[bool] = False
    """Whether other links are put on it, so that it is deleted after them, and a shared one is kept while it has
    members."""
    follows_members_mtu: ClassVar[bool] = False
    """Whether the kernel gives it its members' smallest MTU until its own is set."""
    may_be_foreign: ClassVar[bool] = False
    """Whether a network's link may be one that another program made: then it is used unchanged."""
    is_opened_by_guest: ClassVar[bool] = False
    """Whether a process opens it as a guest's end: it has a carrier while it is open, and is not deleted then."""
    may_stand_for_tap: ClassVar[bool] = False
    """Whether a VMM or a container may put one on a VIF's bridge as its guest's end."""
    may_be_port: ClassVar[bool] = False
    """Whether vifplug makes one as the device of an OVS port."""
    passage: ClassVar[Passage] = Passage()
    entries: ClassVar[Entries | None] = None
    """For a kind whose resources are parts of another link, by PCI address: the list of that link's message that
    contains them. They are links in name only."""
    is_function: ClassVar[bool] = False
    """Whether a resource is named by the PCI address of a virtual function."""
    module: ClassVar[str] = ""
    """The kernel module of links of this kind; "" for a module of the kind's own name."""
    unique: ClassVar[tuple[str, ...]] = ()
    """Attributes of which no two links of the kind on a host have the same values, whatever their names are."""
    settable: ClassVar[frozenset[str]] = frozenset()
    """Configured links: the attributes that may be set; empty for all that the kind has."""
    has_local_address: ClassVar[bool] = False
    """Whether it may be made on the device of an address that the configuration lists."""
    option: ClassVar[str] = "[bridge] physical_networks"
    """The option that lists the devices of this kind, or below it, that VIFs may use."""

    name: str
    owner: str = ""
    """Its owner: a VIF id, or ``net:`` and a network id. Observed: from its alias, else ""."""
    role: str = ""
    """Its part in the path (naming.ROLE_...); with the owner it determines the birth address."""
    alias: str | None = None
    address: str | None = None
    mtu: int | None = None
    master: str | None = None
    bridge_vlan: int | str | None = None
    """The VLANs of a port of a bridge that filters by VLAN: a number if it is in one VLAN only, untagged, else words,
    such as ``TRUNK``. None for no request, and if they were not read."""
    disable_ipv6: bool | None = None
    accept_ra: int | None = None
    arp_ignore: int | None = None
    """1: ARP is answered only for an address of the link itself, and our links have none."""
    promiscuous: bool | None = None
    """Our own IFF_PROMISC, not the count that a bridge increases."""
    up: bool | None = None
    carrier: bool | None = None
    """Observed only."""
    ifindex: int | None = None
    """Observed, or recorded: never desired."""
    other_kind: str = ""
    """Observed: the kernel's name of a kind that vifplug does not make."""
    called: str = ""
    """Its present name, if another program renamed it; ``name`` is the recorded one. Never desired or recorded."""
    slave_kind: str = ""
    """Observed: the kernel's kind of its master: bridge, openvswitch, bond, vrf ..."""
    impeded: Mapping[str, Any] = field(default_factory=dict)
    """Observed: attributes that stop or leak frames (``resources.passage``), by name, if they differ."""

    # Only some kinds have these; they have fields of these names.
    @property
    def peer(self) -> str | None:
        """The other end of a pair, which is created and deleted with it."""
        return None

    @property
    def lower(self) -> str | None:
        """The device that it is made on, and that it is deleted with."""
        return None

    @property
    def overhead(self) -> int:
        """Bytes of each of its frames that its lower device carries in addition to its MTU."""
        return 0

    @property
    def is_uplink(self) -> bool:
        """Desired or recorded: whether it joins a network's bridge to networks outside this host."""
        return self.shared and bool(self.master)

    @property
    def local_address(self) -> str:
        """Desired: an address of the host whose device is the lower one, if none is named; "" for none."""
        return ""

    @property
    def keeps_addresses(self) -> bool | None:
        """Desired: whether a device of the host may be put on a bridge although it has addresses or routes; None if no
        option can allow that."""
        return None

    @property
    def peers(self) -> tuple[str, ...] | None:
        """Addresses of hosts to which it sends what it knows no destination of."""
        return None

    @property
    def listed_as(self) -> tuple[str, ...]:
        """Observed: all names by which ``option`` may list it."""
        return (self.name,)

    @property
    def in_use(self) -> str:
        """Observed: what has it open as a guest's device, as text; "" if it is not open."""
        return ""

    @property
    def own_device(self) -> str:
        """Observed, of what is a link in name only: its network device; "" for none."""
        return ""

    def unfit_for(self, desired: Link) -> str:
        """Observed, of a kind that is configured: why it cannot be what is desired, in words that begin with a verb; ""
        if it can."""
        return ""

    @property
    def netdev(self) -> str | None:
        """Of a kind named by PCI addresses, the name of the network device; None for none."""
        return None

    @property
    def vdpa(self) -> str | None:
        """Of a kind named by PCI addresses, the character device of the function's vDPA device; None for none."""
        return None

    @property
    def virtual_function(self) -> tuple[str, int] | None:
        """Observed, of a kind named by PCI addresses: the physical function, and the number by which that knows it."""
        return None

    @property
    def port_bridge(self) -> str:
        """Desired only: the OVS bridge whose datapath decides about its offloads."""
        return ""

    @property
    def guest(self) -> str:
        """Desired only: the tap that the VMM makes and puts on it."""
        return ""

    @property
    def guest_address(self) -> str:
        """Desired only: that guest's MAC, which identifies a tap with another name."""
        return ""

    @property
    def guest_ifindex(self) -> int | None:
        """Recorded only: that tap, after it was observed there."""
        return None

    @property
    def guest_vlan(self) -> int | None:
        """Desired only: the VLAN of that guest, on a bridge that filters."""
        return None

    @property
    def vlan_filtering(self) -> int | None:
        """Of a bridge: 1 if it filters by VLAN. Desired: None for a bridge that does not."""
        return None

    @property
    def station(self) -> str:
        """Desired only: the MAC of the guest behind it."""
        return ""

    @property
    def station_port(self) -> str:
        """Desired only: the tap of that guest, made by any program."""
        return ""

    @property
    def persistent(self) -> bool | None:
        """Whether it outlives the process that has it open."""
        return None

    @property
    def has_any_master(self) -> bool | None:
        """Desired only: whether another program decides about its master, so that a missing master is not drift."""
        return None

    @property
    def vnet_header(self) -> bool | None:
        """Observed only: whether a tap was made with IFF_VNET_HDR, like ours."""
        return None

    @property
    def is_multiqueue(self) -> bool:
        """Whether a guest opens it with several queues."""
        return False

    @property
    def runs_stp(self) -> bool:
        """Whether it uses the spanning tree protocol to decide which of its ports forward."""
        return False

    @property
    def former(self) -> Mapping[str, Any]:
        """Recorded only, of a configured kind: attributes before vifplug set them."""
        return {}

    def depends_on(self) -> frozenset[Reference]:
        """Every link that its attributes name, except the other end of a pair."""
        return self._named_by(self.attributes.links)

    def made_behind(self) -> frozenset[Reference]:
        """Of those, the links that its creation names, so that they must exist by then."""
        return self._named_by(self.attributes.links_made_with)

    def _named_by(self, attributes: Iterable[str]) -> frozenset[Reference]:
        names = {getattr(self, attribute) for attribute in attributes} - {None, "", self.peer}
        return frozenset((LINKS, name) for name in names)

    def creation_in_words(self, other: Link | None = None) -> str:
        """Its creation, as a plan prints it.

        :param other: the other end of a pair.
        """
        return f"create {self.kind} {self.name} mtu {self.mtu}"

    def as_on(self, userspace: bool) -> Link:
        """A copy with the values that the datapath of ``port_bridge`` determines."""
        return self

    def as_another_programs(self) -> Link:
        """Desired, if another program made it: what is configured of that."""
        return self

    def as_observed(self, current: Link | None) -> Link:
        """Desired, with what only the host can say and the request leaves open."""
        return self

    def at(self, current: Link) -> Link:
        """Recorded, as it is to be reached now."""
        return self

    def lack(self, current: Link) -> str:
        """Desired: what the one that is there does not have and no plan gives it, in words; "" for nothing."""
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Link):
    """Another program's link of any kind that a VIF needs: it must exist, and is never changed."""

    kind: ClassVar[str] = "device"
    relation: ClassVar[Relation] = Relation.REFERENCED
