"""ovs: the guest's tap is itself the port of the OVS bridge."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug.drivers import builders
from vifplug.drivers.contract import Options, tap_name
from vifplug.drivers.guest_end import GuestEnd, Tap
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource


class Ovs:
    """A tap on the OVS bridge, created by vifplug before the port, or later by the VMM."""

    vif_type = "ovs"
    makes_tap = True

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """Tap if requested, port.

        With the tap created first, vswitchd never looks for a missing device, and OVN has an ofport to
        claim before the guest starts (LP 1933517, LP 2069718).
        """
        taps = [builders.guest_tap(vif)] if vif.create_tap else []
        return [*taps, builders.ovs_port(vif, options, tap_name(vif), waits=not vif.create_tap)]

    def switch(self, vif: Vif, options: Options) -> str | None:
        """The OVS bridge of the port."""
        return builders.ovs_bridge(vif, options)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The tap."""
        return Tap(tap_name(vif))
