"""A VIF's own VLAN: where vifplug may own Port.tag, and where another program does. Pure."""

from __future__ import annotations

from vifplug import naming
from vifplug.drivers.contract import Options
from vifplug.engine.plan import diff
from vifplug.engine.wiring import AGENT, EVENTS, OVN
from vifplug.errors import Conflict, InputError
from vifplug.model.vif import Vif
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
    """
    if vif.vlan is None or vif.vif_type in _ON_LINUX:
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
