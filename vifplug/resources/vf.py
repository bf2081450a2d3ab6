"""Virtual functions of a NIC, which a guest is given, by their PCI addresses.

``vf``: without switchdev a function is configured through its physical function. In this way the kernel accepts only
802.1Q VLANs: a former VLAN of 802.1ad is restored as 802.1Q.

``representor``: with switchdev the host has a network device for the function's port of the switch in the NIC. As a
port of a bridge it is configured: up, with the VIF's MTU, and without IPv6, so that the host's stack sends nothing to
the guest's network (PARITY D15). It keeps its name, which is udev's or the operator's: os-vif, too, takes the name that
it finds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from vifplug import naming
from vifplug.resources.contract import Relation, Role
from vifplug.resources.link import DISABLE_IPV6, MTU, UP, Link
from vifplug.resources.schema import Attribute, Entries, Form, How, Place, Table, Wire

ROLE, REPRESENTOR_ROLE = "vf", "representor"
_PRIORITY_MAX = 7

ADDRESS = Attribute(
    name="address", form=Form.MAC, how=How.ENTRY, wire=Wire("IFLA_VF_MAC", 1, "l2addr", Place.ENTRY, offset=4)
)
VLAN = Attribute(
    name="vlan",
    form=Form.WHOLE,
    how=How.ENTRY,
    wire=Wire("IFLA_VF_VLAN", 2, "uint32", Place.ENTRY, offset=4),
    high=naming.VLAN_MAX,
)
PRIORITY = Attribute(
    name="priority",
    form=Form.WHOLE,
    how=How.ENTRY,
    wire=Wire("IFLA_VF_VLAN", 2, "uint32", Place.ENTRY, offset=8),
    high=_PRIORITY_MAX,
)
SPOOF_CHECK = Attribute(
    name="spoof_check", form=Form.FLAG, how=How.ENTRY, wire=Wire("IFLA_VF_SPOOFCHK", 4, "uint32", Place.ENTRY, offset=4)
)
TRUST = Attribute(
    name="trust", form=Form.FLAG, how=How.ENTRY, wire=Wire("IFLA_VF_TRUST", 9, "uint32", Place.ENTRY, offset=4)
)


NETDEV = Attribute(name="netdev", form=Form.TEXT)
VDPA = Attribute(name="vdpa", form=Form.TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Function(Link):
    """What both kinds have; its ``name`` is the function's PCI address."""

    relation: ClassVar[Relation] = Relation.CONFIGURED
    is_function: ClassVar[bool] = True
    option: ClassVar[str] = "[pci] devices"

    former: Mapping[str, Any] = field(default_factory=dict)
    physical: str = ""
    """Observed only: the PCI address of its physical function."""
    driver: str = ""
    """Observed only: the driver that it is bound to."""
    guests_driver: str = ""
    """Observed only: the driver with which a guest's VMM has it open."""

    @property
    def listed_as(self) -> tuple[str, ...]:
        """By its own address, or by that of its physical function."""
        return self.name, self.physical

    @property
    def in_use(self) -> str:
        """From its driver: vfio-pci enables a device only while a VMM has it open."""
        return f"{self.guests_driver} has it open" if self.guests_driver else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vf(_Function):
    """A virtual function. Its ``address`` is the MAC set through its physical function."""

    kind: ClassVar[str] = "vf"
    attributes: ClassVar[Table] = Table(ADDRESS, VLAN, PRIORITY, SPOOF_CHECK, TRUST)
    roles: ClassVar[tuple[Role, ...]] = (Role(name=ROLE),)
    entries: ClassVar[Entries | None] = Entries(name="IFLA_VFINFO_LIST", number=22, entry=1, mask=1)
    """RTEXT_FILTER_VF."""

    vlan: int | None = None
    """0 for none."""
    priority: int | None = None
    """802.1p."""
    spoof_check: bool | None = None
    trust: bool | None = None
    needs_device: bool = False
    """Desired: whether its guest's end is on its own network device."""
    part_of: str = ""
    """Observed only: the network device of its physical function."""
    device: str = ""
    """Observed only: its own network device, if its driver makes one."""

    @property
    def own_device(self) -> str:
        """Its driver's."""
        return self.device

    def unfit_for(self, desired: Link) -> str:
        """A macvtap needs its network device."""
        if not isinstance(desired, Vf) or not desired.needs_device or self.device:
            return ""
        bound = f"it is bound to {self.driver}" if self.driver else "it is bound to no driver"
        return f"has no network device in this network namespace ({bound}): bind it to its own driver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Representor(_Function):
    """The representor of a virtual function.

    Where Open vSwitch's userspace datapath has the port, by DPDK and the physical function, the function alone counts,
    and nothing is configured: ``up`` is None.
    """

    kind: ClassVar[str] = "representor"
    attributes: ClassVar[Table] = Table(NETDEV, VDPA, MTU, DISABLE_IPV6, UP)
    roles: ClassVar[tuple[Role, ...]] = (Role(name=REPRESENTOR_ROLE),)

    netdev: str | None = None
    """The device's name: observed, or as it was when the VIF was plugged."""
    vdpa: str | None = None
    """The character device of the function's vDPA device, such as /dev/vhost-vdpa-0: the same."""
    wants_vdpa: bool | None = None
    """Desired only: whether a guest gets the vDPA device; None for "if there is one"."""
    port_bridge: str = ""
    """Desired only: the OVS bridge whose datapath decides whether the device is needed."""
    number: int | None = None
    """Observed only: the number by which its physical function knows it."""
    why_absent: str = ""
    """Observed only: why there is no device, in words."""

    @property
    def virtual_function(self) -> tuple[str, int] | None:
        """As it is on the host."""
        return None if self.number is None else (self.physical, self.number)

    def as_on(self, userspace: bool) -> Link:
        """Without a device where the userspace datapath has the port."""
        return replace(self, netdev=None, mtu=None, disable_ipv6=None, up=None) if userspace else self

    def as_observed(self, current: Link | None) -> Link:
        """With the names that its devices have on this host, unless a record has names already."""
        if not isinstance(current, Representor):
            return self
        netdev = None if self.up is None else self.netdev or current.netdev
        vdpa = None if self.wants_vdpa is False else self.vdpa or current.vdpa
        return self if (netdev, vdpa) == (self.netdev, self.vdpa) else replace(self, netdev=netdev, vdpa=vdpa)

    def at(self, current: Link) -> Link:
        """With the name that its device has now."""
        return replace(self, netdev=current.netdev)

    def lack(self, current: Link) -> str:
        """That there is no device, or no vDPA device."""
        if self.up is not None and isinstance(current, Representor) and not current.netdev:
            return current.why_absent
        if self.wants_vdpa and not current.vdpa:
            return (
                f"PCI device {self.name} has no vDPA device that is bound to vhost_vdpa; make it: vdpa dev add name "
                f"NAME mgmtdev pci/{self.name}, and modprobe vhost_vdpa"
            )
        return ""
