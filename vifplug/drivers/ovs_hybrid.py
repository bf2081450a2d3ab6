"""ovs-hybrid: tap - qbr - qvb = qvo - OVS bridge. Neutron's iptables rules apply to the qbr."""

from __future__ import annotations

from collections.abc import Sequence

from vifplug import naming
from vifplug.drivers import builders
from vifplug.drivers.contract import Options, mtu_of, tap_name
from vifplug.drivers.guest_end import GuestEnd, Tap
from vifplug.model.vif import Vif
from vifplug.resources.bridge import Bridge
from vifplug.resources.contract import Resource
from vifplug.resources.veth import Veth


class OvsHybrid:
    """A Linux bridge per VIF, joined to the OVS bridge by a veth pair."""

    vif_type = "ovs-hybrid"
    makes_tap = False

    def resources(self, vif: Vif, options: Options) -> Sequence[Resource]:
        """Tap if requested, its filter, bridge, veth pair, port; a trunk's bridge."""
        bridge = builders.with_guest(vif, self._bridge(vif))
        port_end = vif.names.qvo or naming.device(naming.ROLE_PORT_END, vif.id)
        bridge_end = vif.names.qvb or naming.device(naming.ROLE_BRIDGE_END, vif.id)
        switch = builders.ovs_bridge(vif, options)
        taps = [builders.guest_tap(vif, master=bridge.name)] if vif.create_tap else []
        return [
            *taps,
            *builders.guest_filter(vif, options),
            bridge,
            self._end(vif, bridge_end, port_end, naming.ROLE_BRIDGE_END, switch, master=bridge.name),
            self._end(vif, port_end, bridge_end, naming.ROLE_PORT_END, switch),
            builders.ovs_port(vif, options, port_end),
            *builders.trunk_bridge(vif, options),
        ]

    def switch(self, vif: Vif, options: Options) -> str | None:
        """The OVS bridge of the port."""
        return builders.ovs_bridge(vif, options)

    def guest_end(self, vif: Vif) -> GuestEnd:
        """The tap on the qbr: libvirt's, or vifplug's."""
        return Tap(tap_name(vif))

    @staticmethod
    def _bridge(vif: Vif) -> Bridge:
        name = vif.names.qbr or naming.device(naming.ROLE_BRIDGE, vif.id)
        # Ageing 0 keeps a MAC learnt by RARP in a live migration (LP 1715317). Only on this bridge: on a shared bridge
        # it floods every frame (CVE-2019-15753).
        return builders.linux_bridge(vif, name, vif.id, naming.ROLE_BRIDGE, ageing_time=0)

    @staticmethod
    def _end(vif: Vif, name: str, peer: str, role: str, switch: str, master: str | None = None) -> Veth:
        return Veth(
            name=name,
            owner=vif.id,
            role=role,
            alias=naming.alias(vif.id),
            address=naming.birth_address(vif.id, role),
            mtu=mtu_of(vif),
            master=master,
            disable_ipv6=True,
            accept_ra=0,
            # A userspace datapath gets copies of the frames; the host's stack also gets them, and would answer.
            arp_ignore=1,
            promiscuous=True,
            peer=peer,
            port_bridge=switch,
            up=True,
        )
