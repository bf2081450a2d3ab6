"""Virtual functions of a NIC, which a guest is given: configured through their physical function.

In this way the kernel accepts only 802.1Q VLANs: a former VLAN of 802.1ad is restored as 802.1Q.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.resources.contract import Relation, Role
from vifplug.resources.link import Link
from vifplug.resources.schema import Attribute, Entries, Form, How, Place, Table, Wire

ROLE = "vf"
_VLAN_MAX, _PRIORITY_MAX = 4094, 7

ADDRESS = Attribute(
    name="address", form=Form.MAC, how=How.ENTRY, wire=Wire("IFLA_VF_MAC", 1, "l2addr", Place.ENTRY, offset=4)
)
VLAN = Attribute(
    name="vlan",
    form=Form.WHOLE,
    how=How.ENTRY,
    wire=Wire("IFLA_VF_VLAN", 2, "uint32", Place.ENTRY, offset=4),
    high=_VLAN_MAX,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Vf(Link):
    """A virtual function, by its PCI address. Its ``address`` is the MAC set through its physical function."""

    kind: ClassVar[str] = "vf"
    relation: ClassVar[Relation] = Relation.CONFIGURED
    attributes: ClassVar[Table] = Table(ADDRESS, VLAN, PRIORITY, SPOOF_CHECK, TRUST)
    roles: ClassVar[tuple[Role, ...]] = (Role(name=ROLE),)
    entries: ClassVar[Entries | None] = Entries(name="IFLA_VFINFO_LIST", number=22, entry=1, mask=1)
    """RTEXT_FILTER_VF."""
    option: ClassVar[str] = "[pci] devices"

    vlan: int | None = None
    """0 for none."""
    priority: int | None = None
    """802.1p."""
    spoof_check: bool | None = None
    trust: bool | None = None
    former: Mapping[str, Any] = field(default_factory=dict)
    needs_device: bool = False
    """Desired: whether its guest's end is on its own network device."""
    part_of: str = ""
    """Observed only: the network device of its physical function."""
    physical: str = ""
    """Observed only: the PCI address of its physical function."""
    driver: str = ""
    """Observed only: the driver that it is bound to."""
    device: str = ""
    """Observed only: its own network device, if its driver makes one."""
    guests_driver: str = ""
    """Observed only: the driver with which a guest's VMM has it open."""

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

    @property
    def listed_as(self) -> tuple[str, ...]:
        """By its own address, or by that of its physical function."""
        return self.name, self.physical

    @property
    def in_use(self) -> str:
        """From its driver: vfio-pci enables a device only while a VMM has it open."""
        return f"{self.guests_driver} has it open" if self.guests_driver else ""
