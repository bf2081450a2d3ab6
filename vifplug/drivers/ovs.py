"""ovs: the guest's tap is itself the port of the OVS bridge."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug import naming
from vifplug.drivers import builders
from vifplug.drivers.contract import Options, tap_name
from vifplug.drivers.guest_end import GuestEnd, Tap
from vifplug.errors import InputError
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource
from vifplug.resources.ovs_port import DelegatedPort


class Ovs:
    """A tap on the OVS bridge, created by vifplug before the port, or later by the VMM; libvirt may make both."""

    vif_type = "ovs"
    makes_tap = True

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """Tap if requested, its filter, port; a trunk's bridge, or a bridge of the VIF's own with a patch.

        With the tap created first, vswitchd never looks for a missing device, and OVN has an ofport to
        claim before the guest starts (LP 1933517, LP 2069718).

        :raises InputError: when vifplug is to make the tap of a port that libvirt makes.
        """
        if vif.create_port is False:
            # libvirt puts its port on an existing bridge, which os-vif also ensures for each of these VIFs.
            return [self._delegated(vif, options), *builders.trunk_bridge(vif, options)]
        taps: list[Resource] = [builders.guest_tap(vif)] if vif.create_tap else []
        port = builders.ovs_port(vif, options, tap_name(vif), waits=not vif.create_tap)
        taps += builders.guest_filter(vif, options, switch=port.bridge) if vif.create_tap else []
        # A trunk's bridge already belongs to the parent port alone, and Neutron's agent looks for that port there.
        if vif.per_port_bridge and not naming.is_trunk_bridge(port.bridge):
            return [*taps, *builders.behind_own_bridge(vif, port)]
        return [*taps, port, *builders.trunk_bridge(vif, options)]

    def switch(self, vif: Vif, options: Options) -> str | None:
        """The OVS bridge of the port."""
        return builders.ovs_bridge(vif, options)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The tap."""
        return Tap(tap_name(vif))

    @staticmethod
    def _delegated(vif: Vif, options: Options) -> DelegatedPort:
        """The port that libvirt makes with the tap (``<virtualport type='openvswitch'>``)."""
        if vif.create_tap:
            raise InputError(
                f"create_tap of VIF {vif.id} is true, but the VIF was plugged with create_port false: libvirt makes "
                "both; unplug it first",
                vif.id,
            )
        port = builders.ovs_port(vif, options, tap_name(vif))
        return DelegatedPort(
            name=port.name,
            bridge=port.bridge,
            owner=port.owner,
            iface_ids=port.iface_ids,
            control_plane=port.control_plane,
            waits_for_device=True,
        )
