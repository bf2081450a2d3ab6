"""macvtap: the guest's VMM makes a macvtap on a device of the host."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.drivers.contract import Options
from vifplug.drivers.guest_end import GuestEnd, Macvtap
from vifplug.errors import InputError
from vifplug.model import vif as model
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource
from vifplug.resources.device import Device


class OnDevice:
    """A device of the host, which must be there."""

    vif_type = "macvtap"
    makes_tap = False

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """The device."""
        return [Device(name=_part(vif).source, owner=vif.id)]

    def switch(self, vif: Vif, options: Options) -> str | None:
        """None: its guest is on no bridge."""
        return None

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The device and the mode of the macvtap."""
        return Macvtap(_part(vif).source, _part(vif).mode)


def _part(vif: Vif) -> model.Macvtap:
    if vif.macvtap is None:
        raise InputError(f"macvtap of VIF {vif.id} is not given; a macvtap VIF needs macvtap.source, a device", vif.id)
    return vif.macvtap
