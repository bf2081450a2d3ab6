"""Causes in Open vSwitch: its processes, the port's rows, the bridge, the flows. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from vifplug.doctor.switch import checks
from vifplug.doctor.switch.state import DEAD_VLAN, Interface, SwitchBridge, SwitchPort
from vifplug.trace import frames, ofproto
from vifplug.trace.facts import Facts
from vifplug.trace.of_guest import CONTROL_PLANE, OPERATOR
from vifplug.trace.values import (
    BOTH,
    DROPPED,
    FROM_GUEST,
    LIMITS,
    MAY_STOP,
    PASSES,
    STOPS,
    TO_GUEST,
    Cause,
    TracedFrame,
)

_START = "systemctl start openvswitch-switch (openvswitch on Red Hat's), and see its log"
_SLOW_KBIT = 64
"""Below that rate a guest's ARP and DHCP are delayed or lost."""
_TRUNK = "trunk"
_DEPENDS_ON_ADDRESS = ("nw_", "arp_", "ip,", "icmp", "ct_", "reg", "metadata", "conj")
"""Parts of a flow that may handle a real frame otherwise than the traced one, whose addresses are made up."""


def processes(facts: Facts) -> Iterator[Cause]:
    """Whether OVSDB and ovs-vswitchd work."""
    if facts.ovsdb_error:
        yield Cause(
            subject="OVSDB",
            direction=BOTH,
            effect=MAY_STOP,
            reason=f"{facts.ovsdb_error}; flows that exist go on, and the port's rows were not seen",
            since=None,
            actor=OPERATOR,
            remedy=_START,
        )
    elif facts.vswitchd_error:
        there = facts.on_switch
        is_userspace = there is not None and there[0].datapath_type == "netdev"
        yield Cause(
            subject="ovs-vswitchd",
            direction=BOTH,
            effect=STOPS if is_userspace else MAY_STOP,
            reason=f"ovs-vswitchd does not work: {facts.vswitchd_error}",
            since=None,
            actor=OPERATOR,
            remedy=_START,
        )


def port(facts: Facts) -> Iterator[Cause]:
    """The rows of the port: its device, its VLANs, its limits."""
    there = facts.on_switch
    if there is None:
        return
    bridge, row, interface = there
    if interface.error or (interface.ofport or 0) <= 0:
        yield _not_open(facts, bridge, interface)
    elif "down" in (interface.admin_state, interface.link_state) and _has_carrier(facts, interface.name):
        column = "link_state" if interface.link_state == "down" else "admin_state"
        yield Cause(
            subject=interface.name,
            direction=BOTH,
            effect=MAY_STOP,
            reason=f"ovs-vswitchd reports {column} down for it",
            since=None,
            actor=OPERATOR,
            remedy=f"ip link show {interface.name}; ovs-vsctl list Interface {interface.name}",
        )
    yield from _vlans(facts, bridge, row)
    if interface.policing_rate:
        is_slow = interface.policing_rate < _SLOW_KBIT
        burst = f", bursts of {interface.policing_burst} kbit" if interface.policing_burst else ""
        yield Cause(
            subject=interface.name,
            direction=FROM_GUEST,
            effect=MAY_STOP if is_slow else LIMITS,
            reason=f"its guest may send at most {interface.policing_rate} kbit/s{burst} (ingress_policing_rate)",
            since=None,
            actor=CONTROL_PLANE,
            remedy=f"if that is not a QoS policy's: ovs-vsctl set Interface {interface.name} ingress_policing_rate=0",
        )
    if len(row.interfaces) > 1:
        yield Cause(
            subject=row.name,
            direction=BOTH,
            effect=MAY_STOP,
            reason=f"the port is a bond of {', '.join(each.name for each in row.interfaces)}: frames go to one of them",
            since=None,
            actor=OPERATOR,
            remedy=f"ovs-appctl bond/show {row.name}; take the guest's interface out of that bond",
        )
    if facts.mirrored_to:
        yield Cause(
            subject=interface.name,
            direction=BOTH,
            effect=STOPS,
            reason=f"it is the output of mirror {facts.mirrored_to!r}: Open vSwitch drops what the guest sends",
            since=None,
            actor=OPERATOR,
            remedy=f"ovs-vsctl -- --id=@it get Mirror {facts.mirrored_to} -- remove Bridge {bridge.name} mirrors @it",
        )


def _has_carrier(facts: Facts, name: str) -> bool:
    """Whether the device is right as the kernel has it: else its own cause is named."""
    link = facts.links.get(name)
    return link is None or (bool(link.carrier) and link.up is not False)


def _not_open(facts: Facts, bridge: SwitchBridge, interface: Interface) -> Cause:
    error = interface.error or "it has no OpenFlow port number"
    return Cause(
        subject=interface.name,
        direction=BOTH,
        effect=STOPS,
        reason=f"the port of {bridge.name} has no device (ofport {interface.ofport}): {error}",
        since=None,
        actor=OPERATOR,
        remedy=f"vifplug repair {facts.path.vif.id}; if it stays, see ovs-vswitchd's log",
    )


def _vlans(facts: Facts, bridge: SwitchBridge, row: SwitchPort) -> Iterator[Cause]:
    name, tag = row.name, row.tag
    cleared = f"ovs-vsctl clear Port {name} tag vlan_mode trunks"
    if tag == DEAD_VLAN:
        wires = bridge.is_controlled or _has_flows(bridge)
        yield Cause(
            subject=name,
            direction=BOTH,
            effect=STOPS,
            reason=f"its tag is {DEAD_VLAN}: the port is dead until a control plane wires it"
            + ("" if wires else f", and none wires {bridge.name}"),
            since=None,
            actor=CONTROL_PLANE if wires else OPERATOR,
            remedy="see the log of Neutron's agent on this host" if wires else cleared,
        )
    elif row.vlan_mode == _TRUNK and 0 not in row.trunks and (row.trunks or tag is None):
        yield Cause(
            subject=name,
            direction=BOTH,
            effect=STOPS if row.trunks else MAY_STOP,
            reason=f"it is a trunk (vlan_mode trunk, trunks {_listed(row)}): untagged frames of a guest do not pass",
            since=None,
            actor=CONTROL_PLANE,
            remedy=cleared if tag is None else f"ovs-vsctl clear Port {name} vlan_mode trunks",
        )
    elif row.trunks and tag is None and 0 not in row.trunks:
        yield Cause(
            subject=name,
            direction=BOTH,
            effect=STOPS,
            reason=f"it carries only VLANs {_listed(row)} (Port.trunks): untagged frames of the guest are dropped",
            since=None,
            actor=CONTROL_PLANE,
            remedy=cleared,
        )
    elif tag is not None and tag != facts.guest.vlan:
        yield from _odd_tag(facts, bridge, row, tag)


def _listed(row: SwitchPort) -> str:
    return ", ".join(map(str, row.trunks)) or "all"


def _odd_tag(facts: Facts, bridge: SwitchBridge, row: SwitchPort, tag: int) -> Iterator[Cause]:
    network, own = facts.guest.network, facts.path.vif.id
    peers = {each.port for each in facts.peers if each.network == network and each.id != own}
    reason = checks.odd_tag(bridge, row, facts.guest.vlan, peers)
    if reason:
        yield Cause(
            subject=row.name,
            direction=BOTH,
            effect=MAY_STOP,
            reason=reason,
            since=None,
            actor=CONTROL_PLANE if bridge.is_controlled else OPERATOR,
            remedy=f"ovs-vsctl remove Port {row.name} tag {tag}; if the VLAN is wanted, plug with --vlan {tag}",
        )


def _has_flows(bridge: SwitchBridge) -> bool:
    return bridge.flow_count is not None and bridge.flow_count > 1


def bridge(facts: Facts) -> Iterator[Cause]:
    """Whether the bridge has flows, and a way to other hosts."""
    there = facts.on_switch
    if there is None:
        return
    switch = there[0]
    reason = checks.without_flows(switch)
    if reason:
        yield Cause(
            subject=switch.name,
            direction=BOTH,
            effect=STOPS,
            reason=reason,
            since=None,
            actor=CONTROL_PLANE if switch.controllers else OPERATOR,
            remedy=f"start Neutron's agent or ovn-controller; without either: ovs-vsctl del-fail-mode {switch.name}",
        )
    if switch.spanning_tree:
        yield Cause(
            subject=switch.name,
            direction=BOTH,
            effect=MAY_STOP,
            reason="it runs STP or RSTP, which may block a port; the ports' states were not looked at",
            since=None,
            actor=OPERATOR,
            remedy=f"ovs-appctl stp/show {switch.name}; ovs-appctl rstp/show {switch.name}",
        )
    uplinks = switch.uplinks()
    others = [port for port in switch.ports if port.is_guests and port.name != there[1].name]
    if not uplinks and not others:
        yield _no_uplink(switch, "no other port: its frames reach nothing", MAY_STOP)
    elif not uplinks:
        yield _no_uplink(switch, "no port that leads to other hosts: only guests of this host are reached", LIMITS)


def _no_uplink(switch: SwitchBridge, has: str, effect: str) -> Cause:
    return Cause(
        subject=switch.name,
        direction=BOTH,
        effect=effect,
        reason=f"the bridge has no uplink: {has}",
        since=None,
        actor=OPERATOR,
        remedy=f"add the patch port, tunnel or device that leads out: ovs-vsctl add-port {switch.name} DEVICE",
    )


def flows(facts: Facts) -> Iterator[Cause]:
    """What the flows do with frames from the guest and to it, and what the datapath has dropped."""
    there = facts.on_switch
    if there is None or (there[2].ofport or 0) <= 0:
        return
    yield from _from_guest(facts)
    yield from _to_guest(facts)
    if not any(frame.outcome == DROPPED for frame in facts.frames):
        dropped = [flow for flow in facts.flows if ofproto.drops_frames(flow) and f"in_port({facts.port})" in flow]
        for flow in dropped[:1]:
            yield _of_flow(there[0].name, FROM_GUEST, MAY_STOP, f"its datapath drops some frames of the guest: {flow}")


def _from_guest(facts: Facts) -> Iterator[Cause]:
    traced = frames.of(facts.frames, FROM_GUEST)
    dropped = [frame for frame in traced if frame.outcome == DROPPED]
    if traced and len(dropped) == len(traced):
        yield _of_flow(traced[0].bridge, FROM_GUEST, STOPS, f"its flows drop what the guest sends: {dropped[0].reason}")
        return
    for frame in dropped:
        if frame.is_certain:
            text = f"its flows drop {frame.frame} of the guest: {frame.reason}"
            yield _of_flow(frame.bridge, FROM_GUEST, MAY_STOP, text)
    # A frame that only reaches the bridge's own port gets to no other guest and to no other host.
    lonely = [frame for frame in traced if frame.outcome == PASSES and _reached(frame) == {frame.bridge}]
    there = facts.on_switch
    has_others = there is not None and len(there[0].ports) > 2
    if has_others and traced and len(lonely) == len(traced):
        text = f"what the guest sends reaches no other port of it: {lonely[0].reason}"
        yield _of_flow(traced[0].bridge, FROM_GUEST, MAY_STOP, text)


def _reached(frame: TracedFrame) -> set[str]:
    return set(frames.outputs(frame))


def _to_guest(facts: Facts) -> Iterator[Cause]:
    traced = frames.of(facts.frames, TO_GUEST)
    dropped = [frame for frame in traced if frame.outcome == DROPPED]
    if not traced or len(dropped) < len(traced):
        return
    frame = dropped[0]
    elsewhere = ", ".join(sorted(_reached(frame) - {frame.bridge}))
    result = f"goes to {elsewhere} instead of {facts.port}" if elsewhere else "is dropped"
    is_plain = frame.is_certain or not any(field in frame.reason for field in _DEPENDS_ON_ADDRESS)
    text = f"{frame.frame} to the guest {result}: {frame.reason}"
    yield _of_flow(frame.bridge, TO_GUEST, STOPS if is_plain else MAY_STOP, text)


def _of_flow(bridge_name: str, direction: str, effect: str, reason: str) -> Cause:
    return Cause(
        subject=bridge_name,
        direction=direction,
        effect=effect,
        reason=reason,
        since=None,
        actor="the program that set the flows",
        remedy=f"if no control plane set that flow (ovs-ofctl dump-flows {bridge_name}), delete it with ovs-ofctl "
        "--strict del-flows; else restart its Neutron agent or ovn-controller, which sets its flows again",
    )
