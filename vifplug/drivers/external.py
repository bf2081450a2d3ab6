"""external: vifplug makes nothing on this host. A smart NIC, the hardware or another program serves the VIF."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.drivers import builders
from vifplug.drivers.contract import Options
from vifplug.drivers.guest_end import GuestEnd, HostDevice, VhostUser
from vifplug.errors import InputError
from vifplug.model import vif as model
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource


class External:
    """A VIF that is recorded and listed, and has a guest's end."""

    vif_type = "external"
    makes_tap = False

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """None.

        :raises InputError: when the request asks for a tap or a macvtap, or names two ends.
        """
        builders.refuse_tap(vif)
        if vif.pci_device is not None and vif.vhost_user is not None:
            raise InputError(
                f"VIF {vif.id} has both pci_device and vhost_user; a guest has one end: leave one of them out "
                "(of a plugged VIF, what is left out stays as it is: unplug it first)",
                vif.id,
            )
        if vif.pci_device is not None and vif.pci_device.macvtap is not None:
            raise InputError(
                f"pci_device.macvtap of VIF {vif.id} is for VIFs of type vf only: an external VIF's guest is given the "
                "function; leave it out",
                vif.id,
            )
        return []

    def switch(self, vif: Vif, options: Options) -> None:
        """None: it is on no bridge of this host.

        :raises InputError: when the request names one.
        """
        builders.refuse_bridge(vif)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The PCI function or the socket that the request names; None without either."""
        if vif.pci_device is not None:
            return HostDevice(vif.pci_device.address)
        if vif.vhost_user is not None:
            return VhostUser(vif.vhost_user.socket, is_server=vif.vhost_user.mode != model.CLIENT)
        return None
