"""Resources that several drivers share: the OVS port and its bridges, the tap, the Linux bridge, the VLAN device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vifplug import naming
from vifplug.drivers.contract import Options, mtu_of, tap_name
from vifplug.errors import InputError
from vifplug.model.vif import Vif
from vifplug.resources import vlan
from vifplug.resources.bridge import Bridge
from vifplug.resources.contract import Resource
from vifplug.resources.nftables.filter import BRIDGE, DEVICE, Filter
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import CONTROL_AGENT, PATCH, PEER, OvsPort
from vifplug.resources.tap import Tap


def refuse_bridge(vif: Vif) -> None:
    """Refuse a bridge for a VIF that is on none.

    :raises InputError: the request names one.
    """
    if vif.network.bridge is not None:
        raise InputError(
            f"network.bridge of VIF {vif.id} is {vif.network.bridge!r}; vifplug puts a VIF of type {vif.vif_type} on "
            "no bridge: leave it out",
            vif.id,
        )


def refuse_tap(vif: Vif) -> None:
    """Refuse a tap for a VIF whose guest has none.

    :raises InputError: the request asks for one.
    """
    if vif.create_tap:
        raise InputError(
            f"create_tap of VIF {vif.id} is true; a VIF of type {vif.vif_type} has no tap: leave it out", vif.id
        )


def ovs_bridge(vif: Vif, options: Options) -> str:
    """The OVS bridge of a VIF's port."""
    return vif.network.bridge or options.integration_bridge


def own_vlan(vif: Vif) -> int | None:
    """The VLAN that a VIF has on its bridge by vifplug."""
    return vif.vlan if isinstance(vif.vlan, int) else None


def ovs_port(vif: Vif, options: Options, name: str, *, waits: bool = False) -> OvsPort:
    """A VIF's port, with exactly the keys that Nova writes (os-vif ovsdb_lib.create_ovs_vif_port).

    A port of a trunk's bridge has another key, by which Neutron identifies the parent port, and is never isolated: no
    agent would end the isolation (LP 2069543).
    """
    bridge = ovs_bridge(vif, options)
    ids = {"iface-id": vif.id, "iface-status": "active", "attached-mac": vif.address}
    if vif.instance is not None:
        ids["vm-uuid"] = vif.instance.uuid
    if naming.is_trunk_bridge(bridge):
        ids["bridge_name"] = bridge
    return OvsPort(
        name=name,
        bridge=bridge,
        owner=vif.id,
        iface_ids=ids,
        isolate=bool(vif.isolate) and not naming.is_trunk_bridge(bridge),
        vlan=own_vlan(vif),
        qos_type=options.qos_type or None,
        waits_for_device=waits,
        control_plane=CONTROL_AGENT if options.wired_by == CONTROL_AGENT else "",
    )


def trunk_bridge(vif: Vif, options: Options) -> list[OvsBridge]:
    """The trunk's bridge of a VIF's port, if it has one.

    Neutron names it, and the plugging side has to create it with the parent port and to delete it (os-vif 33de608f). It
    has the integration bridge's datapath: Neutron's agent joins the two by patches.
    """
    name = ovs_bridge(vif, options)
    if not naming.is_trunk_bridge(name):
        return []
    owner = naming.network_owner(naming.network_of_bridge(name))
    return [OvsBridge(name=name, owner=owner, like=options.integration_bridge)]


def behind_own_bridge(vif: Vif, port: OvsPort) -> list[Resource]:
    """A port on a bridge of its VIF's own, which a patch joins to the bridge that the port was for.

    The control plane knows the patch's far end, and wires that; the near side has no VLAN and no ids, because no agent
    maintains it (PARITY D9). The far end has an ofport before the guest's tap exists, so that OVN installs its flows
    before a guest arrives by live migration (LP 1933517).
    """
    own, (near, far) = naming.port_bridge(vif.id), naming.patch_ports(vif.id)
    leads_to_far, leads_to_near = ({"type": PATCH, "options": {PEER: peer}} for peer in (far, near))
    at_guest = replace(
        port, bridge=own, iface_ids={}, isolate=False, vlan=None, guest_address=vif.address, control_plane=""
    )
    return [
        at_guest,
        OvsBridge(name=own, owner=vif.id, like=port.bridge),
        OvsPort(name=near, bridge=own, owner=vif.id, settings=leads_to_far),
        replace(port, name=far, qos_type=None, waits_for_device=False, settings=leads_to_near),
    ]


def guest_tap(vif: Vif, master: str | None = None) -> Tap:
    """The guest's tap, if vifplug creates it."""
    owner = vif.tap_owner
    return Tap(
        name=tap_name(vif),
        owner=vif.id,
        role=naming.ROLE_TAP,
        alias=naming.alias(vif.id),
        address=naming.tap_address(vif.address),
        mtu=mtu_of(vif),
        master=master,
        disable_ipv6=True,
        accept_ra=0,
        # A userspace datapath gets copies of the guest's frames; the host's stack also gets them, and would answer.
        arp_ignore=1,
        uid=owner.uid if owner else None,
        gid=owner.gid if owner else None,
        multiqueue=bool(vif.multiqueue),
        persistent=True,
        up=True,
    )


def is_filtered(vif: Vif, options: Options) -> bool:
    """Whether a VIF's guest may send from its own addresses only."""
    if not options.filter_enabled or vif.port_security is False:
        return False
    return bool(vif.port_security) or vif.allowed_addresses is not None


def guest_filter(vif: Vif, options: Options, switch: str = "") -> list[Filter]:
    """The filter of a tap, if the VIF has one: bound to the tap if vifplug makes it; else by the tap's name, on any
    Linux bridge.

    :param switch: the OVS bridge that the tap is a port of.
    """
    if not is_filtered(vif, options):
        return []
    name = tap_name(vif)
    if not vif.create_tap and name != naming.device(naming.ROLE_TAP, vif.id):
        raise InputError(
            f"names.tap of VIF {vif.id} is {name!r}, and its VMM makes that tap; a filter finds such a tap by its name "
            f"{naming.device(naming.ROLE_TAP, vif.id)!r}: leave names.tap out, or set create_tap",
            vif.id,
        )
    entries = (f"{entry.mac or vif.address} {entry.ip}" for entry in vif.allowed_addresses or ())
    return [
        Filter(
            name=name,
            owner=vif.id,
            place=DEVICE if vif.create_tap else BRIDGE,
            address=vif.address,
            allowed=tuple(dict.fromkeys(entries)),
            switch=switch,
        )
    ]


def refuse_unfiltered(vif: Vif, options: Options, desired: Sequence[Resource]) -> None:
    """Refuse a VIF that is to be filtered and that its driver does not filter.

    :raises InputError: naming the reason.
    """
    if not is_filtered(vif, options):
        return
    if naming.is_trunk_bridge(vif.network.bridge or ""):
        reason = f"on a trunk's bridge ({vif.network.bridge}), whose subports have addresses of their own"
    elif any(isinstance(item, Filter) for item in desired):
        return
    elif vif.vif_type == "ovs":
        reason = "with create_tap false: the VMM's tap could send before its filter is made; set create_tap"
    else:
        reason = f"of type {vif.vif_type}, whose frames do not pass the host's kernel by a tap"
    raise InputError(
        f"VIF {vif.id} is to be filtered ([filter] enabled, allowed_addresses or port_security), and vifplug cannot "
        f"filter a VIF {reason}; or set port_security false",
        vif.id,
    )


def with_guest(vif: Vif, bridge: Bridge) -> Bridge:
    """The bridge with its guest's location, and with the name of the VMM's tap if vifplug creates none."""
    tap = tap_name(vif)
    guest, guest_address = ("", "") if vif.create_tap else (tap, vif.address)
    return bridge.replaced(station=vif.address, station_port=tap, guest=guest, guest_address=guest_address)


def vlan_device(vif: Vif, name: str, owner: str, lower: str, number: int) -> vlan.Vlan:
    """A VLAN device of a network, with no frames of its own and no answers to the network."""
    return vlan.Vlan(
        name=name,
        owner=owner,
        role=vlan.ROLE,
        alias=naming.alias(owner),
        address=naming.birth_address(owner, vlan.ROLE),
        mtu=mtu_of(vif),
        lower=lower,
        vlan_id=number,
        disable_ipv6=True,
        accept_ra=0,
        arp_ignore=1,
        up=True,
    )


def linux_bridge(vif: Vif, name: str, owner: str, role: str, *, ageing_time: float | None = None) -> Bridge:
    """A Linux bridge that adds no delay, no frames of its own and no answers to the guests' network.

    :param ageing_time: seconds; None for the kernel's default.
    """
    return Bridge(
        name=name,
        owner=owner,
        role=role,
        alias=naming.alias(owner),
        address=naming.birth_address(owner, role),
        mtu=mtu_of(vif),
        disable_ipv6=True,
        accept_ra=0,
        stp=0,
        forward_delay=0,
        ageing_time=ageing_time,
        multicast_snooping=0,
        # No ARP answers for the host's own addresses (LP 1825888).
        arp_ignore=1,
        arp_announce=2,
        up=True,
    )
