"""vf: a virtual function of a NIC, for the guest itself or for a macvtap. Its physical function gives MAC and VLAN."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.drivers import builders
from vifplug.drivers.contract import Options
from vifplug.drivers.guest_end import FunctionMacvtap, GuestEnd, HostDevice
from vifplug.errors import InputError
from vifplug.model.vif import PciDevice, Vif
from vifplug.resources import vf
from vifplug.resources.contract import Resource


class VirtualFunction:
    """A virtual function, without switchdev."""

    vif_type = "vf"
    makes_tap = False

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """The function with the guest's MAC and its VLAN; spoof check and trust only if they are given.

        :raises InputError: the request names no function or a whole NIC, or asks for a tap.
        """
        builders.refuse_tap(vif)
        part = _part(vif)
        if part.whole:
            raise InputError(
                f"pci_device.whole of VIF {vif.id} is for VIFs of type external only: the function of a vf VIF is part "
                "of a NIC; leave it out",
                vif.id,
            )
        return [
            vf.Vf(
                name=part.address,
                owner=vif.id,
                role=vf.ROLE,
                address=vif.address,
                # An earlier guest's VLAN would put this guest into another network.
                vlan=part.vlan or 0,
                priority=0,
                spoof_check=part.spoof_check,
                trust=part.trusted,
                needs_device=part.macvtap is not None,
            )
        ]

    def switch(self, vif: Vif, options: Options) -> None:
        """None: its guest is on no bridge of this host.

        :raises InputError: when the request names one.
        """
        builders.refuse_bridge(vif)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The function, or a macvtap on its network device."""
        part = _part(vif)
        return HostDevice(part.address) if part.macvtap is None else FunctionMacvtap(part.address, part.macvtap)


def _part(vif: Vif) -> PciDevice:
    if vif.pci_device is None:
        raise InputError(f"pci_device of VIF {vif.id} is not given; a vf VIF needs pci_device.address", vif.id)
    return vif.pci_device
