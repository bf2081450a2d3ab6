"""macvtap: the guest's VMM makes a macvtap on a device of the host, or on a VLAN device there."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug import naming
from vifplug.drivers import builders
from vifplug.drivers.contract import Options
from vifplug.drivers.guest_end import GuestEnd, Macvtap
from vifplug.errors import InputError
from vifplug.model import vif as model
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource
from vifplug.resources.link import Device


class OnDevice:
    """A device of the host, which must exist; with a VLAN its VLAN device, which the VIFs of a network share."""

    vif_type = "macvtap"
    makes_tap = False

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """The VLAN device, if one is requested; else the device.

        :raises InputError: when the request names no device, or asks for a tap: the VMM makes its macvtap.
        """
        builders.refuse_tap(vif)
        part = _part(vif)
        if part.vlan is None:
            return [Device(name=part.source, owner=vif.id)]
        name = _source(vif)
        owner = naming.network_owner(vif.network.id or naming.network_of_bridge(name))
        return [builders.vlan_device(vif, name, owner, part.source, part.vlan)]

    def switch(self, vif: Vif, options: Options) -> None:
        """None: its guest is on no bridge.

        :raises InputError: when the request names one.
        """
        builders.refuse_bridge(vif)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The device and the mode of the macvtap."""
        return Macvtap(_source(vif), _part(vif).mode or "bridge")


def _part(vif: Vif) -> model.Macvtap:
    if vif.macvtap is None:
        raise InputError(f"macvtap of VIF {vif.id} is not given; a macvtap VIF needs macvtap.source, a device", vif.id)
    return vif.macvtap


def _source(vif: Vif) -> str:
    """The device of the macvtap."""
    part = _part(vif)
    return part.source if part.vlan is None else vif.names.vlan or naming.vlan_device(part.source, part.vlan)
