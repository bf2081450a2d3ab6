"""tap: a tap by itself, which another program (a network backend such as Calico's) wires to the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vifplug.drivers import builders
from vifplug.drivers.contract import Options, tap_name
from vifplug.drivers.guest_end import GuestEnd, Tap
from vifplug.errors import InputError
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource


class LoneTap:
    """A tap on no bridge of vifplug's. Another program may put it on one, route to it, or leave it."""

    vif_type = "tap"
    makes_tap = True

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """The tap, with the host's MAC that the port names; its filter."""
        if not vif.create_tap:
            raise InputError(
                f"create_tap of VIF {vif.id} is false; a VIF of type tap is the tap that vifplug makes: leave "
                "create_tap out",
                vif.id,
            )
        tap = builders.guest_tap(vif)
        given = vif.tap.address if vif.tap is not None else None
        lone = replace(tap, address=given or tap.address, has_any_master=True)
        return [lone, *builders.guest_filter(vif, options)]

    def switch(self, vif: Vif, options: Options) -> None:
        """None: it is on no bridge.

        :raises InputError: when the request names one.
        """
        builders.refuse_bridge(vif)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The tap."""
        return Tap(tap_name(vif))
