"""Linux bridges: a hybrid VIF's qbr, or a bridge that the VIFs of a network share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vifplug import naming
from vifplug.resources.contract import Creation, Role
from vifplug.resources.link import OF_EVERY_LINK, UP, Link, Passage
from vifplug.resources.schema import Attribute, Compared, Form, How, Place, Table, Wire

_INFO = Place.DATA
# STP first: while it is on, the kernel accepts no forward delay below 2 s (br_set_forward_delay), and within one
# message it processes the delay first (br_changelink).
STP = Attribute(name="stp", form=Form.WHOLE, how=How.BEFORE_UP, wire=Wire("IFLA_BR_STP_STATE", 5, "uint32", _INFO))
FORWARD_DELAY = Attribute(
    name="forward_delay",
    form=Form.SECONDS,
    how=How.BEFORE_UP,
    wire=Wire("IFLA_BR_FORWARD_DELAY", 1, "uint32", _INFO),
    unit="seconds",
)
AGEING_TIME = Attribute(
    name="ageing_time",
    form=Form.SECONDS,
    how=How.BEFORE_UP,
    wire=Wire("IFLA_BR_AGEING_TIME", 4, "uint32", _INFO),
    unit="seconds",
)
MULTICAST_SNOOPING = Attribute(
    name="multicast_snooping",
    form=Form.WHOLE,
    how=How.BEFORE_UP,
    wire=Wire("IFLA_BR_MCAST_SNOOPING", 23, "uint8", _INFO),
)
ARP_ANNOUNCE = Attribute(
    name="arp_announce",
    form=Form.WHOLE,
    how=How.WITH_MARK,
    wire=Wire("IPV4_DEVCONF_ARP_ANNOUNCE", 18, place=Place.INET),
    high=8,
)
VLAN_DEFAULT_PVID = Attribute(
    name="vlan_default_pvid",
    form=Form.WHOLE,
    how=How.BEFORE_UP,
    wire=Wire("IFLA_BR_VLAN_DEFAULT_PVID", 39, "uint16", _INFO),
    high=naming.VLAN_MAX,
)
# Behind the default PVID: no port is in VLAN 1 when the bridge begins to filter. (By netlink the kernel accepts both in
# either order, by sysfs only in this one.)
VLAN_FILTERING = Attribute(
    name="vlan_filtering",
    form=Form.WHOLE,
    how=How.BEFORE_UP,
    wire=Wire("IFLA_BR_VLAN_FILTERING", 7, "uint8", _INFO),
    high=1,
)
GROUP_FWD_MASK = Attribute(
    name="group_fwd_mask",
    form=Form.WHOLE,
    how=How.BEFORE_UP,
    wire=Wire("IFLA_BR_GROUP_FWD_MASK", 9, "uint16", _INFO),
    high=0xFFFF,
    compared=Compared.NOT,
)
IMPEDING = (VLAN_FILTERING, GROUP_FWD_MASK)
"""Settings that a creation leaves at the kernel's default, and that stop frames with any other value (``impeded``); but
a bridge of VIFs with VLANs of their own filters by VLAN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge(Link):
    """A Linux bridge."""

    kind: ClassVar[str] = "bridge"
    attributes: ClassVar[Table] = Table(
        *OF_EVERY_LINK,
        *(STP, FORWARD_DELAY, AGEING_TIME, MULTICAST_SNOOPING, ARP_ANNOUNCE, VLAN_DEFAULT_PVID, *IMPEDING),
        UP,
        made_with=(
            *("alias", "address", "mtu", "stp", "forward_delay", "ageing_time", "multicast_snooping"),
            *("vlan_default_pvid", "vlan_filtering"),
        ),
    )
    roles: ClassVar[tuple[Role, ...]] = (
        Role(name=naming.ROLE_BRIDGE),
        Role(name=naming.ROLE_NETWORK_BRIDGE, of_network=True),
    )
    creation: ClassVar[Creation] = Creation.MESSAGE
    wire_kind: ClassVar[str] = "bridge"
    has_birth_address: ClassVar[bool] = True
    has_members: ClassVar[bool] = True
    follows_members_mtu: ClassVar[bool] = True
    may_be_foreign: ClassVar[bool] = True
    # Forwarded frames do not pass the bridge's own queue.
    passage: ClassVar[Passage] = Passage(qdiscs=None, ingress=None, is_bridge=True)

    stp: int | None = None
    forward_delay: float | None = None
    """Seconds."""
    ageing_time: float | None = None
    """Seconds; the kernel's netlink attribute counts hundredths of one."""
    multicast_snooping: int | None = None
    arp_announce: int | None = None
    vlan_filtering: int | None = None
    vlan_default_pvid: int | None = None
    """0: a port that joins is in no VLAN."""
    guest: str = ""
    """Desired only: the tap that the VMM makes and puts on this bridge."""
    guest_address: str = ""
    """Desired only: that guest's MAC, which identifies a tap with another name."""
    guest_vlan: int | None = None
    """Desired only: the VLAN of the guest, with either tap."""
    guest_ifindex: int | None = None
    """Recorded only: that tap, after it was observed there."""
    station: str = ""
    """Desired only: the guest's MAC."""
    station_port: str = ""
    """Desired only: the tap in front of the guest, made by any program."""

    def creation_in_words(self, other: Link | None = None) -> str:
        """With its filtering."""
        return f"{Link.creation_in_words(self, other)}{' filtering by vlan' if self.vlan_filtering else ''}"

    @property
    def runs_stp(self) -> bool:
        """STP, run by the kernel or by a program."""
        return bool(self.stp)
