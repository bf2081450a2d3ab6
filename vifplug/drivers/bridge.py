"""bridge: the guest's tap on a Linux bridge that the VIFs of a network share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vifplug import naming
from vifplug.drivers import builders, uplinks
from vifplug.drivers.contract import Options, mtu_of, tap_name
from vifplug.drivers.guest_end import GuestEnd, Tap
from vifplug.errors import InputError
from vifplug.model.vif import Vif
from vifplug.resources.bridge import Bridge
from vifplug.resources.contract import Resource
from vifplug.resources.tap import GuestTap


class LinuxBridge:
    """A network's bridge and its uplink, created with its first VIF and deleted with its last; and the tap on it.

    VIFs with VLANs of their own share one bridge that filters by VLAN, instead of having a bridge for each VLAN.
    """

    vif_type = "bridge"
    makes_tap = True

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """Tap if requested or to be joined, its filter, bridge, uplink if requested.

        :raises InputError: the network is not named, or has an uplink that this host cannot have.
        """
        bridge, vlan = builders.with_guest(vif, self._bridge(vif)), builders.own_vlan(vif)
        if vlan is not None:
            bridge = replace(bridge, vlan_filtering=1, vlan_default_pvid=0, guest_vlan=vlan)
        if vif.join_tap and (vif.create_tap or vlan is not None):
            wrong = "create_tap" if vif.create_tap else "vlan"
            raise InputError(
                f"VIF {vif.id} has join_tap and {wrong}, which exclude each other; unplug it first", vif.id
            )
        if vif.join_tap:
            joined = GuestTap.of(vif.id, bridge.name, mtu_of(vif), up=vif.tap_up is not False)
            rest = (replace(bridge, guest="", guest_address=""), *uplinks.uplinks(vif, bridge, options))
            return [joined, *builders.guest_filter(vif, options), *rest]
        taps = [replace(builders.guest_tap(vif, master=bridge.name), bridge_vlan=vlan)] if vif.create_tap else []
        return [*taps, *builders.guest_filter(vif, options), bridge, *uplinks.uplinks(vif, bridge, options)]

    def switch(self, vif: Vif, options: Options) -> str | None:
        """The network's bridge: the named one, else brq and the network's id."""
        if vif.network.bridge or vif.network.id is None:
            return vif.network.bridge
        return naming.device(naming.ROLE_NETWORK_BRIDGE, vif.network.id)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The tap on the bridge: the VMM's, or vifplug's."""
        return Tap(tap_name(vif))

    @staticmethod
    def _bridge(vif: Vif) -> Bridge:
        if vif.network.id is None and vif.network.bridge is None:
            raise InputError(
                f"network of VIF {vif.id} is not given; a bridge VIF needs network.id (a UUID) or network.bridge "
                "(a name)",
                vif.id,
            )
        network = vif.network.id or naming.network_of_bridge(str(vif.network.bridge))
        name = vif.network.bridge or naming.device(naming.ROLE_NETWORK_BRIDGE, network)
        if builders.own_vlan(vif) is not None and name != naming.device(naming.ROLE_NETWORK_BRIDGE, network):
            # VIFs of different networks, each in its VLAN, share a bridge that a request names.
            network = naming.network_of_bridge(name)
        owner = naming.network_owner(network)
        # The kernel's default ageing: 0 on a shared bridge floods every frame (LP 1837252).
        return builders.linux_bridge(vif, name, owner, naming.ROLE_NETWORK_BRIDGE)
