"""Causes on the kernel's side of a path: settings of other programs, tc, the firewall, MTUs, counters. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from vifplug.model.reports import Hop
from vifplug.trace import firewall
from vifplug.trace.facts import Facts
from vifplug.trace.of_guest import OPERATOR, VIFPLUG
from vifplug.trace.values import BOTH, FROM_GUEST, LIMITS, MAY_STOP, STOPS, TO_GUEST, Cause

_NO_MTU = ("guest", "ovs-bridge", "ovs-port", "bridge")
_KINDS_OF_DEVICES = ("tap", "veth", "vlan", "vxlan", "nic")
_COUNTED_MIN = 3
"""Frames of an interval: fewer prove nothing."""
_FULL_PERCENT = 95
_IP_HOOKS = {"ip": "iptables", "ip6": "ip6tables"}


def orientation(hops: Sequence[Hop]) -> dict[str, tuple[str, str]]:
    """Of each device of a path: the directions of the frames that it receives, and of those that it sends.

    A tap receives what its guest sends; behind a bridge a device sends it; a veth's other end receives it again.
    """
    directions: dict[str, tuple[str, str]] = {}
    outwards = (FROM_GUEST, TO_GUEST)
    behind_bridge, peers = False, 0
    for hop in hops:
        if hop.kind == "bridge":
            behind_bridge, peers = True, 0
        elif hop.kind in _KINDS_OF_DEVICES:
            sends = behind_bridge and not (hop.kind == "veth" and peers % 2)
            directions[hop.name] = outwards[::-1] if sends else outwards
            peers += hop.kind == "veth"
    return directions


def bridge_of(facts: Facts) -> tuple[str, list[str]]:
    """The Linux bridge that the guest's device is on, and the other devices of the path on it."""
    link = facts.links.get(facts.guest.device)
    master = facts.links.get(link.master or "") if link else None
    if master is None or not master.passage.is_bridge:
        return "", []
    names = [hop.name for hop in facts.path.hops if hop.kind in _KINDS_OF_DEVICES and hop.name != facts.guest.device]
    return master.name, [name for name in names if name in facts.links and facts.links[name].master == master.name]


def foreign_settings(facts: Facts) -> Iterator[Cause]:
    """Settings on the VMM's tap and on other programs' bridges, which vifplug does not change."""
    for obstacle in facts.obstacles:
        if obstacle.text.startswith("mtu is"):
            continue  # ``narrow`` names every device
        is_up = obstacle.text.startswith("up is")
        stopping = ("bridge_port:state", "bridge_port:isolated", "bridge_port:locked", "fdb ", "txqueuelen", "up is")
        remedy = f"the program that made it has to correct it; see ip -d link show {obstacle.subject}, bridge -d link"
        yield Cause(
            subject=obstacle.subject,
            direction=BOTH,
            effect=STOPS if obstacle.text.startswith(stopping) else MAY_STOP,
            reason=obstacle.text,
            since=None,
            actor=OPERATOR,
            remedy=f"ip link set {obstacle.subject} up" if is_up else remedy,
        )


def rules(facts: Facts) -> list[firewall.Drop]:
    """The rules of nftables that drop frames on the path."""
    directions = orientation(facts.path.hops)
    bridge, others = bridge_of(facts)
    crossings = firewall.crossings_of(facts.guest.device, bridge, others, facts.guest.address) if bridge else ()
    there = facts.on_switch
    if there is not None and there[0].datapath_type == "netdev":
        # vswitchd reads such a port's device by a packet socket, which gets frames before these hooks.
        directions.pop(facts.port, None)
    return firewall.drops(facts.chains, facts.bridged, crossings, directions)


def dropped_by_rules(facts: Facts) -> Iterator[Cause]:
    """A cause for each chain that drops the guest's frames."""
    by_chain: dict[tuple[str, str, str], list[firewall.Drop]] = {}
    for drop in rules(facts):
        by_chain.setdefault((drop.chain, drop.frames, drop.rule), []).append(drop)
    for (chain, frames, rule), drops in by_chain.items():
        drop = drops[0]
        directions = {each.direction for each in drops}
        where = drop.device or bridge_of(facts)[0] or facts.guest.device
        counted = f", {drop.packets} so far" if drop.packets is not None else ""
        family, table, name = chain.split(" ", 2)
        yield Cause(
            subject=where,
            direction=BOTH if len(directions) > 1 else drop.direction,
            effect=STOPS,
            reason=f"nftables drops {frames} there: chain {chain} ({drop.hook}): {rule}{counted}",
            since=None,
            actor=OPERATOR,
            remedy=_firewall_remedy(family, table, name, rule),
        )


def _firewall_remedy(family: str, table: str, name: str, rule: str) -> str:
    if family in _IP_HOOKS and (table, name) == ("filter", "FORWARD"):
        tool = _IP_HOOKS[family]
        return (
            f"{tool} -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT, or keep bridged frames out of it: sysctl -w "
            f"net.bridge.bridge-nf-call-{tool}=0"
        )
    if rule.startswith("policy"):
        return f"change that policy: nft add chain {family} {table} {name} '{{ policy accept; }}'"
    return f"see its handle by nft -a list chain {family} {table} {name}, then nft delete rule ... handle N"


def queueing(facts: Facts) -> Iterator[Cause]:
    """Filters of tc that drop, and queueing disciplines that dropped during the interval."""
    drifted = {item.subject for hop in facts.path.hops for item in hop.drift}
    for name, (ingress, egress) in orientation(facts.path.hops).items():
        for each in facts.filters.get(name, ()):
            if each.drops and name not in drifted:
                yield Cause(
                    subject=name,
                    direction=ingress if each.side == "ingress" else egress,
                    effect=MAY_STOP if each.kind != "matchall" else STOPS,
                    reason=f"a filter of tc ({each.kind}) on {name} drops frames at its {each.side}",
                    since=None,
                    actor=OPERATOR,
                    remedy=f"tc filter show dev {name} {each.side}; to delete it: tc filter del dev {name} {each.side}",
                )
        lost = facts.counted(name, "sent_dropped")
        if lost and name != facts.guest.device:
            kinds = [each.kind for each in facts.disciplines.get(name, ()) if each.place == "root"]
            yield Cause(
                subject=name,
                direction=egress,
                effect=STOPS if not facts.counted(name, "sent") else MAY_STOP,
                reason=f"it dropped {lost} frames in {facts.seconds:g} s ({', '.join(kinds) or 'no qdisc'})",
                since=None,
                actor=OPERATOR,
                remedy=f"tc -s qdisc show dev {name}",
            )


def broken(facts: Facts) -> Iterator[Cause]:
    """A hop that is missing, down or in error, or not connected to the next, although nothing of vifplug's differs."""
    hops = facts.path.hops
    # Without its bridge a port is missing, too.
    switches = [hop for hop in hops if hop.kind == "ovs-bridge" and hop.state == "missing"]
    for hop in [*switches, *(hop for hop in hops if hop.state in ("missing", "down", "error"))]:
        note = f": {hop.note}" if hop.note and hop.state != "down" else ""
        yield _broken(facts, hop.name, f"it is {hop.state}{note}", _mended(hop, facts.path.vif.id))
        return
    for near, far in itertools.pairwise(hops):
        if not (near.joined or near.kind == "guest" or {"waiting", "unknown"} & {near.state, far.state}):
            mend = (
                f"ip -d link show {near.name}; a VMM's tap belongs on its VIF's bridge: ip link set TAP master BRIDGE"
            )
            yield _broken(facts, near.name, f"it is not connected to {far.name}", mend)
            return


def _mended(hop: Hop, vif_id: str) -> str:
    if hop.kind == "ovs-bridge":
        return f"ovs-vsctl add-br {hop.name} (OVN and Neutron's agent do so), then vifplug repair {vif_id}"
    again = f"the program that made {hop.name} has to make it again; then vifplug repair {vif_id}"
    return f"ip link set {hop.name} up" if hop.state == "down" else again


def _broken(facts: Facts, subject: str, reason: str, remedy: str) -> Cause:
    link = facts.links.get(subject)
    actor = VIFPLUG if link is not None and link.owner else OPERATOR
    return Cause(subject=subject, direction=BOTH, effect=STOPS, reason=reason, since=None, actor=actor, remedy=remedy)


def narrow(facts: Facts) -> Iterator[Cause]:
    """Whether a device has a smaller MTU than the VIF: larger frames are lost there."""
    wanted = facts.guest.mtu
    for hop in facts.path.hops:
        if hop.mtu is None or wanted is None or hop.kind in _NO_MTU or hop.mtu >= wanted:
            continue
        if any(item.attribute == "mtu" for item in hop.drift):
            continue  # its repair is named already
        yield Cause(
            subject=hop.name,
            direction=BOTH,
            effect=LIMITS,
            reason=f"its MTU is {hop.mtu}, and the VIF's is {wanted}: larger frames are lost there",
            since=None,
            actor=OPERATOR,
            remedy=f"ip link set {hop.name} mtu {wanted}",
        )


def vanished(facts: Facts) -> Iterator[Cause]:
    """Frames that a device of a VIF's own bridge received, and that the next device did not send; and frames that
    vifplug's own filter dropped meanwhile."""
    came = facts.counted(facts.guest.device, "received")
    if facts.guest.is_filtered:
        if came and facts.filtered:
            yield _filtered(facts, came)
        return
    directions = orientation(facts.path.hops)
    devices = [hop.name for hop in facts.path.hops if hop.name in directions and hop.name in facts.after]
    bridge = facts.links.get(bridge_of(facts)[0])
    if bridge is None or bridge.shared or len(devices) < 2:
        return  # on a network's bridge frames may go to other guests
    near, far = devices[:2]
    if came >= _COUNTED_MIN and not facts.counted(far, "sent"):
        yield Cause(
            subject=near,
            direction=FROM_GUEST,
            effect=STOPS,
            reason=f"{came} frames came from the guest in {facts.seconds:g} s and none left {far}",
            since=None,
            actor=OPERATOR,
            remedy=f"bridge -d link; nft list ruleset; tc -s qdisc show dev {far}",
        )


def _filtered(facts: Facts, came: int) -> Cause:
    """The counters are of all guests: which of them sent the frames is not known, if others sent, too."""
    address = facts.guest.address
    return Cause(
        subject=facts.guest.device,
        direction=FROM_GUEST,
        effect=STOPS if facts.filtered >= came else MAY_STOP,
        reason=f"vifplug's filter dropped {facts.filtered} frames of guests in {facts.seconds:g} s, in which this one "
        f"sent {came}: it may send from {address} and its own addresses only",
        since=None,
        actor="the guest",
        remedy=f"let the guest send from {address} and its addresses, or plug it with more allowed_addresses",
    )


def host_limits(facts: Facts) -> Iterator[Cause]:
    """Limits of the host that concern the path: the table of connections, forwarding by the host itself."""
    count, most = (facts.settings.get(f"netfilter/nf_conntrack_{name}") for name in ("count", "max"))
    if count is not None and most and count * 100 >= most * _FULL_PERCENT:
        yield Cause(
            subject="nf_conntrack",
            direction=BOTH,
            effect=STOPS if count >= most else MAY_STOP,
            reason=f"the host's table of connections is full ({count} of {most}): new connections are dropped",
            since=None,
            actor=OPERATOR,
            remedy=f"sysctl -w net.netfilter.nf_conntrack_max={2 * most}, and find what opens them: conntrack -S",
        )
    bridge = bridge_of(facts)[0]
    hops = {hop.name for hop in facts.path.hops if hop.kind in ("bridge", "ovs-bridge")}
    routers = sorted(name for name in {bridge, *hops} if facts.addresses.get(name))
    if routers and facts.settings.get("ipv4/ip_forward") == 0:
        yield Cause(
            subject=routers[0],
            direction=FROM_GUEST,
            effect=LIMITS,
            reason=f"the host has an address on {routers[0]} and does not forward IPv4 (net.ipv4.ip_forward is 0)",
            since=None,
            actor=OPERATOR,
            remedy="if it is the guests' router: sysctl -w net.ipv4.ip_forward=1",
        )
    for name in routers:
        strict = max(facts.settings.get(f"ipv4/conf/{each}/rp_filter", 0) == 1 for each in ("all", name))
        if strict and facts.settings.get("ipv4/ip_forward"):
            yield Cause(
                subject=name,
                direction=FROM_GUEST,
                effect=LIMITS,
                reason=f"the host routes for {name} with strict rp_filter: what it would answer elsewhere is dropped",
                since=None,
                actor=OPERATOR,
                remedy=f"if answers may go another way: sysctl -w net.ipv4.conf.{name}.rp_filter=2",
            )
