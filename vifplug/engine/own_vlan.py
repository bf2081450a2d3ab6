"""A VIF's own VLAN: where vifplug may set it, and where another program does. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from vifplug import naming
from vifplug.drivers.contract import Options
from vifplug.engine.plan import diff
from vifplug.engine.wiring import AGENT, EVENTS, OVN
from vifplug.errors import Conflict, InputError
from vifplug.model.vif import Vif
from vifplug.resources import kinds
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_port import CONTROL_AGENT, CONTROL_OVN, OvsPort
from vifplug.store.records import Record

_ON_LINUX = frozenset({"bridge"})
_PLANES = {CONTROL_OVN: "OVN", CONTROL_AGENT: "Neutron's OVS agent"}
_WIRE_ALL = frozenset({OVN, AGENT, EVENTS})
"""Values of [events] wired_by by which a control plane wires every OVS port of the host."""


def refuse(vif: Vif, record: Record | None, options: Options) -> None:
    """Refuse a VLAN that the request or the configuration contradicts.

    :param vif: with all fields set.
    :raises InputError: naming the field and the remedy. A recorded VLAN is kept whatever the configuration is by now.
    :raises Conflict: the VIF would change between a Linux bridge that filters by VLAN and one that does not.
    """
    if vif.vif_type in _ON_LINUX:
        _refuse_another_kind_of_bridge(vif, record)
        return
    if vif.vlan is None:
        return
    fault = _fault(vif, options.integration_bridge)
    if not fault and (record is None or record.vif.vlan != vif.vlan) and options.wired_by in _WIRE_ALL:
        fault = (
            f"[events] wired_by is {options.wired_by}: a control plane wires the ports of this host and decides about "
            "their VLANs; leave vlan out"
        )
    if fault:
        raise InputError(f"vlan of VIF {vif.id} is {vif.vlan}, and {fault}", vif.id)


def _fault(vif: Vif, integration_bridge: str) -> str:
    """Why a request cannot have a VLAN of its own, as text; "" if it can."""
    bridge = vif.network.bridge or integration_bridge
    if vif.isolate:
        return "isolate is true: only a control plane ends the isolation of a port; leave one of them out"
    if vif.create_port is False:
        return "create_port is false: libvirt makes the port, with the <vlan> of its <interface>; leave one of them out"
    if naming.is_trunk_bridge(bridge):
        return f"network.bridge is {bridge!r}, a trunk's bridge: Neutron decides about its VLANs; leave vlan out"
    return ""


def _refuse_another_kind_of_bridge(vif: Vif, record: Record | None) -> None:
    if record is None or (record.vif.vlan is None) == (vif.vlan is None):
        return
    has = f"vlan {record.vif.vlan}, on a bridge that filters by VLAN," if record.vif.vlan is not None else "no vlan"
    wanted = f"vlan {vif.vlan}" if vif.vlan is not None else "none"
    raise Conflict(
        f"VIF {vif.id} is plugged with {has} and cannot be plugged with {wanted} in place; unplug it first", vif.id
    )


def to_be_turned(desired: Iterable[Resource], observed: Observed) -> list[Link]:
    """Bridges of ours that filter by VLAN and must not, or that do not and must."""
    bridges = [link for link in kinds.links_in(desired) if link.has_members and link.shared]
    return [
        bridge
        for bridge in bridges
        if (current := observed.links.get(bridge.name)) is not None
        and current.has_members
        and bool(current.vlan_filtering) != bool(bridge.vlan_filtering)
    ]


def refuse_mixed(bridge: Link, others: Iterable[Resource]) -> None:
    """Refuse a VIF with a VLAN of its own on a bridge of VIFs without, or the reverse: a bridge that filters by VLAN
    passes nothing of a port without one.

    :param others: the same bridge, as other VIFs ask for it.
    :raises Conflict: naming the bridge.
    """
    for other in kinds.links_in(others):
        if bool(other.vlan_filtering) != bool(bridge.vlan_filtering):
            has, asked = ("a vlan", "none") if other.vlan_filtering else ("none", "a vlan")
            raise Conflict(
                f"bridge {bridge.name!r} is used by VIFs with {has} of their own, and a VIF with {asked} is to join; "
                "all of them need one, or none: name another bridge (network.bridge)",
                bridge.name,
            )


def refuse_bridge(link: Link, desired: Iterable[Resource], observed: Observed) -> None:
    """Refuse a port that gets a VLAN on a bridge of another program that does not filter by VLAN.

    :param link: the port; or, if the VMM makes that, the bridge that the driver describes.
    :raises Conflict: naming the bridge and the remedy.
    """
    is_vmms = bool(link.guest) and link.guest_vlan is not None
    name = link.master if link.bridge_vlan is not None else link.name if is_vmms else None
    bridge = observed.links.get(name or "")
    if name is None or bridge is None or any(item.name == name for item in desired):
        return
    remedy = ""
    if not bridge.vlan_filtering:
        remedy = f"does not filter by VLAN: let it (ip link set {name} type bridge vlan_filtering 1)"
    elif is_vmms:
        remedy = "has a tap of the VMM's, to which only the VMM gives a VLAN there: let vifplug make it (create_tap)"
    if remedy:
        vlan = link.bridge_vlan if link.bridge_vlan is not None else link.guest_vlan
        raise Conflict(
            f"bridge {name!r} for vlan {vlan} is another program's, and {remedy}, or name another bridge, or leave "
            "vlan out",
            name,
        )


def refuse_wired(port: OvsPort, known: OvsPort | None, observed: Observed) -> None:
    """Refuse to set the VLAN of a port on a bridge whose ports a control plane wires: it would set its own.

    A port that already has it is left as it is, so that a VIF from before the control plane can still be replugged.

    :param known: as recorded.
    :raises Conflict: naming the bridge and the control plane.
    """
    bridge = observed.bridges.get(port.bridge)
    if port.vlan is None or bridge is None or bridge.control_plane not in _PLANES:
        return
    current = observed.ports.get(port.name)
    if current is not None and current.vlans == diff.own_vlans(port, known):
        return
    raise Conflict(
        f"VIF {port.owner} has vlan {port.vlan}, but {_PLANES[bridge.control_plane]} wires the ports of OVS bridge "
        f'{bridge.name!r} and decides about their VLANs; leave vlan out (of a plugged VIF: "none"), or name a bridge '
        "that no control plane wires",
        bridge.name,
    )
