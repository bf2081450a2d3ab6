"""Checks of the state of Open vSwitch that decides about guests' frames, and of the host's limits. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from vifplug.doctor.facts import Facts
from vifplug.doctor.findings import ERROR, OK, WARNING, Finding
from vifplug.doctor.switch.state import DEAD_VLAN, SwitchBridge, Switching, SwitchPort

Draft = Callable[[str], Finding]
_FULL_PERCENT = 95
_WAIT_SECONDS = 600


def _draft(status: str, subject: str, reason: str, remedy: str = "") -> Draft:
    return lambda check: Finding(check=check, status=status, subject=subject, reason=reason, remedy=remedy)


def without_flows(bridge: SwitchBridge) -> str:
    """Why a bridge drops every frame; "" if it has flows, or falls back to switching."""
    if bridge.fail_mode != "secure" or bridge.flow_count != 0:
        return ""
    reason = "it has no controller"
    if bridge.controllers:
        reason = f"its controller {bridge.controllers[0][0]} is not connected"
    connected = [target for target, is_connected in bridge.controllers if is_connected]
    if connected:
        reason = f"controller {connected[0]} has set none"
    return f"no flow is set, fail_mode is secure, and {reason}: every frame is dropped"


def odd_tag(bridge: SwitchBridge, port: SwitchPort, wanted: int | None, peers: Collection[str]) -> str:
    """Why the tag of a VIF's port is probably wrong; "" if nothing shows that.

    :param wanted: the VLAN of the VIF's request.
    :param peers: interfaces of the other VIFs of its network.
    """
    tag = port.tag
    if tag is None or tag in (wanted, DEAD_VLAN):
        return ""
    tags = {each.tag for each in bridge.ports if any(interface.name in peers for interface in each.interfaces)}
    if tags and tag not in tags:
        named = ", ".join(str(each) for each in sorted(each for each in tags if each is not None))
        return f"its tag is {tag}, and the other VIFs of its network have {f'tag {named}' if named else 'no tag'}"
    others = {each.tag for each in bridge.ports if each.name != port.name}
    if tag not in others and not bridge.is_controlled:
        return f"its tag is {tag}, which no other port of {bridge.name} has, and no controller wires that bridge"
    return ""


def _bridges(facts: Facts) -> list[SwitchBridge]:
    """The bridges that recorded VIFs are on."""
    if facts.switching is None or facts.plugged is None:
        return []
    names = dict.fromkeys(port.bridge for port in facts.plugged.ports)
    return [facts.switching.bridges[name] for name in names if name in facts.switching.bridges]


def flows(facts: Facts) -> Iterator[Draft]:
    """Whether bridges of VIFs have flows, and connected controllers."""
    for bridge in _bridges(facts):
        reason = without_flows(bridge)
        away = [target for target, is_connected in bridge.controllers if not is_connected]
        if reason:
            remedy = f"start Neutron's agent or ovn-controller; without either: ovs-vsctl del-fail-mode {bridge.name}"
            yield _draft(ERROR, bridge.name, reason, remedy)
        elif away and bridge.fail_mode == "secure":
            reason = f"its controller {away[0]} is not connected: its flows stay as they are, and no new VIF is wired"
            yield _draft(WARNING, bridge.name, reason, "see the log of Neutron's agent, or of that controller")


def uplinks(facts: Facts) -> Iterator[Draft]:
    """Whether frames can leave the bridges of VIFs; a note, because guests of one host may be meant to be alone."""
    for bridge in _bridges(facts):
        if not bridge.uplinks():
            reason = f"{bridge.name} has no uplink: no port of it leads to other hosts"
            remedy = (
                f"if that is not meant: ovs-vsctl add-port {bridge.name} DEVICE, or start what makes its patch port"
            )
            yield _draft(OK, "", reason, remedy)


def vlans(facts: Facts) -> Iterator[Draft]:
    """Ports of VIFs that are dead, or have a tag that nothing else has."""
    if facts.switching is None or facts.plugged is None:
        return
    networks: dict[str | None, set[str]] = {}
    for port in facts.plugged.ports:
        networks.setdefault(port.network, set()).add(port.name)
    for port in facts.plugged.ports:
        there = facts.switching.port_of(port.name)
        if there is None:
            continue
        bridge, row, _interface = there
        wires = bridge.is_controlled or (bridge.flow_count or 0) > 1
        clear = f"ovs-vsctl clear Port {row.name} tag vlan_mode trunks"
        if row.tag == DEAD_VLAN and not wires:
            reason = f"its tag is {DEAD_VLAN}: the port of VIF {port.vif_id} is dead, and none wires {bridge.name}"
            yield _draft(ERROR, row.name, reason, f"start the control plane; without one: {clear}")
        elif port.network is not None:
            reason = odd_tag(bridge, row, port.vlan, networks[port.network] - {port.name})
            remedy = f"ovs-vsctl remove Port {row.name} tag {row.tag}"
            if reason:
                yield _draft(WARNING, row.name, f"VIF {port.vif_id}: {reason}", remedy)
        if row.trunks and row.tag is None and 0 not in row.trunks:
            reason = f"VIF {port.vif_id}: untagged frames of its guest are dropped (Port.trunks {list(row.trunks)})"
            yield _draft(WARNING, row.name, reason, clear)


def addresses(facts: Facts) -> Iterator[Draft]:
    """MACs that several VIFs of one network have, and identities that several interfaces have."""
    plugged = facts.plugged
    by_address: dict[tuple[str | None, str], list[str]] = {}
    for identity in plugged.identities if plugged else ():
        by_address.setdefault((identity.network, identity.address), []).append(identity.vif_id)
    for (network, address), ids in by_address.items():
        if len(ids) > 1 and network is not None:
            reason = f"VIFs {' and '.join(ids)} of network {network} have this MAC: frames go to one or the other"
            yield _draft(WARNING, address, reason, "give all but one of these ports another MAC, and plug them again")
    yield from _twins(facts.switching, {port.vif_id for port in plugged.ports} if plugged else set())


def _twins(switching: Switching | None, ours: Collection[str]) -> Iterator[Draft]:
    carriers: dict[str, list[str]] = {}
    for _bridge, _port, interface in switching.interfaces() if switching else ():
        if interface.keys.get("iface-id") in ours:
            carriers.setdefault(interface.keys["iface-id"], []).append(interface.name)
    for vif_id, names in carriers.items():
        if len(names) > 1:
            reason = (
                f"interfaces {' and '.join(names)} both have this VIF's iface-id: a control plane wires one of them"
            )
            remedy = (
                "find which of them its guest uses; of the other: ovs-vsctl remove Interface NAME external_ids iface-id"
            )
            yield _draft(WARNING, vif_id, reason, remedy)


def waiting(facts: Facts) -> Iterator[Draft]:
    """VIFs that the control plane has not wired for long."""
    for vif in facts.plugged.waiting if facts.plugged else ():
        if vif.seconds >= _WAIT_SECONDS:
            reason = f"it is plugged since {vif.since}, and not wired: {vif.waits_for}"
            remedy = "see the log of Neutron's agent, ovn-controller or Neutron for this port"
            yield _draft(WARNING, vif.vif_id, reason, remedy)


def limits(facts: Facts) -> Iterator[Draft]:
    """The host's table of connections, and its forwarding where it has an address on a bridge of VIFs."""
    count, most = (facts.settings.get(f"netfilter/nf_conntrack_{name}") for name in ("count", "max"))
    if count is not None and most and count * 100 >= most * _FULL_PERCENT:
        reason = f"the host's table of connections is full ({count} of {most}): new connections are dropped"
        remedy = f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}, and find what opens them: conntrack -S"
        yield _draft(ERROR, "nf_conntrack", reason, remedy)
    for name in sorted(facts.routers):
        if facts.settings.get("ipv4/ip_forward") == 0:
            reason = f"the host has an address on {name}, and does not forward IPv4 (net.ipv4.ip_forward is 0)"
            yield _draft(WARNING, name, reason, "if it is the guests' router: sysctl -w net.ipv4.ip_forward=1")
        elif any(facts.settings.get(f"ipv4/conf/{each}/rp_filter") == 1 for each in ("all", name)):
            reason = f"the host routes for {name} with strict rp_filter: what it would answer elsewhere is dropped"
            remedy = f"if answers may go another way: sysctl -w net.ipv4.conf.{name}.rp_filter=2"
            yield _draft(WARNING, name, reason, remedy)
