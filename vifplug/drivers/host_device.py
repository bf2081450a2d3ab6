"""host-device: a virtual function, or its vDPA device, which the guest is given. The function's representor, a port of
the switch in the NIC (switchdev), is a port of the OVS bridge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vifplug import naming
from vifplug.drivers import builders
from vifplug.drivers.contract import Options, mtu_of
from vifplug.drivers.guest_end import GuestEnd, HostDevice
from vifplug.errors import InputError
from vifplug.model.vif import PciDevice, Vif
from vifplug.resources import vf
from vifplug.resources.contract import Resource

_OF_VF = ("vlan", "trusted", "spoof_check", "macvtap")
"""What a physical function without switchdev gives its virtual ones."""


class RepresentedFunction:
    """A virtual function whose frames Open vSwitch switches."""

    vif_type = "host-device"
    makes_tap = False

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """The representor, up and with the VIF's MTU, and its port; a trunk's bridge.

        With the kernel's datapath the port is the representor's network device, whatever name that has. With the
        userspace datapath the port is DPDK's own, has a name by the naming rule, and gets the MTU by Open vSwitch.
        The function's MAC is its hypervisor's to set: libvirt does, and os-vif does not.

        :raises InputError: when the request names no function, or asks for a tap or for what a vf VIF has.
        """
        builders.refuse_tap(vif)
        part = _part(vif)
        port = builders.ovs_port(vif, options, vif.names.vfr or naming.device(naming.ROLE_REPRESENTOR, vif.id))
        return [
            vf.Representor(
                name=part.address,
                owner=vif.id,
                role=vf.REPRESENTOR_ROLE,
                mtu=mtu_of(vif),
                disable_ipv6=True,
                up=True,
                wants_vdpa=part.vdpa,
                port_bridge=port.bridge,
            ),
            replace(port, function=part.address, settings={"mtu_request": mtu_of(vif)}),
            *builders.trunk_bridge(vif, options),
        ]

    def switch(self, vif: Vif, options: Options) -> str | None:
        """The OVS bridge of the port."""
        return builders.ovs_bridge(vif, options)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The function, or its vDPA device."""
        part = _part(vif)
        return HostDevice(part.address, vdpa=part.vdpa)


def _part(vif: Vif) -> PciDevice:
    part = vif.pci_device
    if part is None:
        raise InputError(f"pci_device of VIF {vif.id} is not given; a host-device VIF needs pci_device.address", vif.id)
    if part.whole:
        raise InputError(
            f"pci_device.whole of VIF {vif.id} is true; a whole NIC has no representor: leave it out", vif.id
        )
    given = next((name for name in _OF_VF if getattr(part, name) is not None), None)
    if given is not None:
        raise InputError(
            f"pci_device.{given} of VIF {vif.id} is for VIFs of type vf, without switchdev; Open vSwitch has the "
            "frames of a host-device VIF: leave it out",
            vif.id,
        )
    return part
