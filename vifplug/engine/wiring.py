"""Whether the control plane has wired a VIF, and whether its guest is up: the levels above plugged. Pure.

The rules' sources: ovn-controller sets ``ovn-installed`` on an Interface once its flows are installed
(ovn-controller(8)); Neutron's OVS agent sets the local VLAN as Port.tag and describes the network in Port.other_config
(ovs_neutron_agent, port_bound), and clears the dead VLAN; Neutron's server sends network-vif-plugged to Nova once a
port is ACTIVE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vifplug import naming
from vifplug.drivers.guest_end import VhostUser, link_of
from vifplug.drivers.registry import guest_end
from vifplug.model.events import has_reached
from vifplug.model.reports import ACTIVE, FAILED, PLUGGED, WIRED
from vifplug.resources import kinds
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_port import CONTROL_OVN, DEAD_VLAN, OvsPort
from vifplug.store.events import NEUTRON_FAILED, NEUTRON_PLUGGED
from vifplug.store.records import Record

AUTO, OVN, AGENT, EVENTS, PLUG = "auto", "ovn", "neutron-agent", "neutron-events", "plugged"
"""[events] wired_by."""
_INSTALLED = "ovn-installed"
_AGENTS_KEYS = frozenset({"net_uuid", "network_type", "physical_network", "segmentation_id", "tag"})
"""The keys that the agent writes into Port.other_config."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The source that decides that a VIF is wired, and what Neutron has reported."""

    by: str = AUTO
    listens: bool = False
    """Whether Neutron's own events can reach us."""
    neutron_status: Mapping[str, str] = field(default_factory=dict)
    """Neutron's last report, by VIF id; it counts only if its events decide."""

    @property
    def may_be_events(self) -> bool:
        """Whether Neutron's events may decide about a VIF."""
        return self.by == EVENTS or (self.by == AUTO and self.listens)


StateAndReason = tuple[str, str | None]
"""A state, and the reason if it is failed."""


def state_of(record: Record, observed: Observed, wiring: Wiring) -> StateAndReason:
    """The level of a VIF that is built as recorded; or failed, if the control plane has given it up."""
    ports = _ports(record)
    rule = _rule(record, observed, wiring)
    reported = wiring.neutron_status.get(record.id)
    if rule == EVENTS and reported == NEUTRON_FAILED:
        return FAILED, "Neutron reports that it could not wire this port; its log has the reason"
    if rule == EVENTS:
        wired = reported == NEUTRON_PLUGGED
    elif rule == OVN:
        wired = all(_ovn_has(port, observed) for port in ports)
    else:
        wired = rule == PLUG or all(_agent_has(port, observed) for port in ports)
    # Neutron's report also counts for a port to come: in a live migration it arrives before the guest.
    if not wired or (rule != EVENTS and _missing(ports, observed)):
        return PLUGGED, None
    return (ACTIVE if _guest_is_up(record, observed) else WIRED), None


def is_called_down(record: Record, observed: Observed) -> bool:
    """Whether vswitchd reports the guest's end as down, possibly while the guest's driver uses the socket.

    vswitchd 3.1 misses changes of a vhost-user port during its start: link_state then stays down, although frames pass,
    until it processes its configuration again (after 4 of 12 restarts on a loaded machine).
    """
    if not isinstance(guest_end(record.vif), VhostUser):
        return False
    return any(port.name in observed.ports and _link_state(port, observed) != "up" for port in _ports(record))


def awaited(record: Record, observed: Observed, wiring: Wiring, wanted: str) -> str | None:
    """What has to be done by which program before a VIF that is built as recorded reaches a level; None when it has."""
    state, reason = state_of(record, observed, wiring)
    if has_reached(state, wanted):
        return None
    if state == FAILED:
        return reason
    if state == WIRED:
        return _guest_awaited(record, observed)
    return _wiring_awaited(record, observed, _rule(record, observed, wiring))


def _guest_awaited(record: Record, observed: Observed) -> str:
    end = guest_end(record.vif)
    if isinstance(end, VhostUser) and _ports(record):
        named = ", ".join(f"{port.name!r} (link_state {_link_state(port, observed)})" for port in _ports(record))
        return f"a guest whose driver uses socket {end.path!r} of Interface {named}"
    guest = link_of(end)
    if not guest:
        return "a guest whose end this host does not show"
    device = observed.links.get(guest)
    return f"a guest on tap {guest!r}, which {'has no carrier' if device is not None else 'is not there'}"


def _wiring_awaited(record: Record, observed: Observed, rule: str) -> str:
    if rule == EVENTS:
        return "a network-vif-plugged event from Neutron at [events] listen (is its [nova] endpoint this host's?)"
    if missing := _missing(_ports(record), observed):
        return f"{missing[0].maker} to make OVS port {missing[0].name!r} on {missing[0].bridge}"
    named = ", ".join(f"{port.name!r} of {port.bridge}" for port in _ports(record))
    absent = [port.name for port in _ports(record) if port.has_device and port.name not in observed.links]
    first = f"; device {absent[0]!r} is missing so far" if absent else ""
    if rule == OVN:
        return f"OVN to set ovn-installed on Interface {named} (is ovn-controller running, and the port bound?){first}"
    return f"Neutron's OVS agent to set tag and other_config of Port {named} (is the agent running?){first}"


def _rule(record: Record, observed: Observed, wiring: Wiring) -> str:
    """The source that decides for a VIF. A VIF without a port can only be wired by Neutron's events."""
    ports = _ports(record)
    if any(port.vlan is not None for port in ports):
        return PLUG  # it has its VLAN from its creation, and no control plane wires it
    if wiring.by != AUTO:
        return wiring.by if ports or wiring.by == EVENTS else PLUG
    # A trunk's bridge has the control plane of the integration bridge, to which Neutron's agent patches it.
    names = {port.bridge for port in ports} | {bridge.like for bridge in kinds.ovs_bridges_in(record.resources)}
    planes = {observed.bridges[name].control_plane for name in names if name in observed.bridges}
    if CONTROL_OVN in planes:
        return OVN
    if any(planes) or any(port.isolate for port in ports):
        return AGENT
    return EVENTS if wiring.listens else PLUG


def _missing(ports: list[OvsPort], observed: Observed) -> list[OvsPort]:
    """Ports that a VMM has yet to make."""
    return [port for port in ports if not port.is_owned and port.name not in observed.ports]


def _ovn_has(port: OvsPort, observed: Observed) -> bool:
    current = observed.ports.get(port.name)
    return current is not None and current.iface_ids.get(_INSTALLED) == "true"


def _agent_has(port: OvsPort, observed: Observed) -> bool:
    """Whether the agent has wired a port; for a trunk's parent it wires its own patch, on the integration bridge."""
    in_trunk = naming.is_trunk_bridge(port.bridge)
    current = observed.ports.get(naming.trunk_patches(port.owner)[1] if in_trunk else port.name)
    if current is None or current.tag in (None, DEAD_VLAN) or DEAD_VLAN in current.trunks:
        return False
    return bool(_AGENTS_KEYS & current.other_config.keys())


def _guest_is_up(record: Record, observed: Observed) -> bool:
    end = guest_end(record.vif)
    if isinstance(end, VhostUser):
        # No link shows it. vswitchd copies link_state from the virtio device: up once the guest's driver has set up its
        # queues (netdev_dpdk_vhost_get_carrier).
        states = {_link_state(port, observed) for port in _ports(record)}
        return states == {"up"}
    device = observed.links.get(link_of(end))
    return device is not None and bool(device.up) and bool(device.carrier)


def _link_state(port: OvsPort, observed: Observed) -> str:
    current = observed.ports.get(port.name)
    return (current.link_state if current is not None else None) or "unknown"


def _ports(record: Record) -> list[OvsPort]:
    """Ports that a control plane knows; others connect the guest to one of them."""
    ports = kinds.ports_in(record.resources)
    return [port for port in ports if port.has_identity] or ports
