"""Causes at the guest's end, and what vifplug itself can repair. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vifplug.model.reports import CONTENDED, FAILED, DriftItem
from vifplug.resources import passage
from vifplug.trace.facts import Facts
from vifplug.trace.values import BOTH, FROM_GUEST, LIMITS, MAY_STOP, STOPS, TO_GUEST, Cause

VIFPLUG, VMM, GUEST, OPERATOR, CONTROL_PLANE = "vifplug", "the VMM", "the guest", "the operator", "the control plane"
_STOPPING = (
    *("present", "port", "up", "master", "ifindex", "ofport", "error", "bridge", "peer", "openflow", "device", "kind"),
    *("interfaces", "iface-id", "external_ids", "tag", "vlan_mode", "trunks"),
)
"""Attributes whose drift stops every frame, as far as their values show."""
_NAMED_MAX = 2


def drift(facts: Facts) -> Iterator[Cause]:
    """What differs from the record: one cause, because one repair restores all of it."""
    items = [item for hop in facts.path.hops for item in hop.drift]
    vif = facts.path.vif
    if vif.state == CONTENDED:
        yield Cause(
            subject=vif.id,
            direction=BOTH,
            effect=STOPS if any(map(_stops, items)) else MAY_STOP,
            reason=f"another program undoes every repair: {vif.error or '; '.join(map(str, items))}",
            since=facts.drifted_since,
            actor=OPERATOR,
            remedy=f"find that program (journalctl, its configuration) and stop it; then vifplug repair {vif.id}",
        )
        return
    if not items:
        if vif.state == FAILED and vif.error:
            yield _failed(facts, vif.error)
        return
    worst = sorted(items, key=lambda item: not _stops(item))
    named = "; ".join(map(str, worst[:_NAMED_MAX]))
    more = f" (and {len(items) - _NAMED_MAX} more)" if len(items) > _NAMED_MAX else ""
    yield Cause(
        subject=worst[0].subject,
        direction=BOTH,
        effect=STOPS if _stops(worst[0]) else LIMITS if worst[0].attribute == "mtu" else MAY_STOP,
        reason=f"{named}{more}",
        since=facts.drifted_since,
        actor=f"{VIFPLUG} (vifplugd does so by itself)",
        remedy=f"vifplug repair {vif.id}",
    )


def _failed(facts: Facts, error: str) -> Cause:
    vif = facts.path.vif
    remedy = f"vifplug show {vif.id}; where the control plane cannot wire it, see its agent's log"
    return Cause(
        subject=vif.id, direction=BOTH, effect=MAY_STOP, reason=error, since=None, actor=OPERATOR, remedy=remedy
    )


def _stops(item: DriftItem) -> bool:
    if item.attribute.startswith(passage.PORT_PREFIX):
        return item.attribute in (passage.PORT_STATE, f"{passage.PORT_PREFIX}locked", f"{passage.PORT_PREFIX}isolated")
    return item.attribute in _STOPPING or item.attribute.startswith("fdb ") or item.attribute == passage.TX_QUEUE


def guest_end(facts: Facts) -> Iterator[Cause]:
    """Whether there is a guest, and whether it sends and receives."""
    guest, vif = facts.guest, facts.path.vif
    if not guest.device:
        return
    link = facts.links.get(guest.device)
    common: dict[str, Any] = {"subject": guest.device, "since": guest.absent_since or vif.absent_since}
    if link is None:
        if vif.waiting_for or not guest.is_ours:
            remedy = "start the guest; if its server was deleted, vifplug unplug the VIF"
            reason = f"there is no guest: the VMM has not made {guest.device}"
            yield Cause(**common, direction=BOTH, effect=STOPS, reason=reason, actor=VMM, remedy=remedy)
        return
    if not link.carrier and link.up:
        reason = f"there is no guest: no program has {guest.device} open, so it has no carrier"
        remedy = "start the guest, or bring its network card up"
        yield Cause(**common, direction=BOTH, effect=STOPS, reason=reason, actor=VMM, remedy=remedy)
        return
    yield from _traffic(facts)


def _traffic(facts: Facts) -> Iterator[Cause]:
    guest = facts.guest
    total = facts.after.get(guest.device, {})
    if total and not total["received"]:
        reason = f"the guest has sent no frame since {guest.device} was made; {total['sent']} were delivered to it"
        yield Cause(
            subject=guest.device,
            direction=FROM_GUEST,
            effect=MAY_STOP,
            reason=reason,
            since=None,
            actor=GUEST,
            remedy="look in the guest: its network card's driver, its address, whether the interface is up",
        )
    refused = facts.counted(guest.device, "sent_dropped")
    if refused:
        reason = (
            f"the guest takes no frames: {refused} to it were dropped in {facts.seconds:g} s because its queue is full"
        )
        yield Cause(
            subject=guest.device,
            direction=TO_GUEST,
            effect=STOPS if not facts.counted(guest.device, "sent") else MAY_STOP,
            reason=reason,
            since=None,
            actor=GUEST,
            remedy="see whether the guest hangs (its console, the VMM's processor time)",
        )
    yield from _other_mac(facts)


def _other_mac(facts: Facts) -> Iterator[Cause]:
    """Only if the guest's own MAC was seen nowhere: a guest may have further addresses."""
    guest = facts.guest
    ports = {guest.device, facts.port}
    there = [entry for entry in facts.stations if entry.port in ports]
    if there and not any(entry.address == guest.address for entry in there):
        entry = min(there, key=lambda each: each.age or 0.0)
        reason = f"the guest sends from MAC {entry.address}, and the VIF's is {guest.address}: answers to it go astray"
        yield Cause(
            subject=entry.port,
            direction=BOTH,
            effect=MAY_STOP,
            reason=reason,
            since=None,
            actor=GUEST,
            remedy=f"give the guest's network card the MAC {guest.address}; the control plane drops any other",
        )


def duplicates(facts: Facts) -> Iterator[Cause]:
    """Whether another VIF, or another port, has the guest's MAC or the VIF's identity."""
    guest, vif = facts.guest, facts.path.vif
    twins = [p for p in facts.peers if p.address == guest.address and p.id != vif.id and p.network == guest.network]
    for twin in twins[:1]:
        reason = f"VIF {twin.id} has the same MAC {guest.address} on the same network: frames go to one or the other"
        yield Cause(
            subject=guest.address,
            direction=BOTH,
            effect=MAY_STOP,
            reason=reason,
            since=None,
            actor=CONTROL_PLANE,
            remedy="give one of the two ports another MAC, and plug it again",
        )
    own = {guest.device, facts.port} | {hop.name for hop in facts.path.hops}
    elsewhere = [
        entry for entry in facts.stations if entry.address == guest.address and entry.port not in own and not twins
    ]
    for entry in elsewhere[:1]:
        age = "" if entry.age is None else f"{entry.age:.0f} s ago "
        reason = f"{entry.bridge} has the guest's MAC {guest.address} on {entry.port} ({age}{entry.kind}), not here"
        yield Cause(
            subject=entry.bridge,
            direction=TO_GUEST,
            effect=STOPS if entry.kind == "static" else MAY_STOP,
            reason=reason,
            since=None,
            actor=OPERATOR,
            remedy=f"find what sends with that MAC on {entry.port}: a second guest, a loop, or a static entry",
        )


def same_identity(facts: Facts) -> Iterator[Cause]:
    """Whether two interfaces of Open vSwitch have the VIF's iface-id: a control plane wires only one of them."""
    vif = facts.path.vif
    if facts.switching is None:
        return
    names = [each.name for _b, _p, each in facts.switching.interfaces() if each.keys.get("iface-id") == vif.id]
    path = {hop.name for hop in facts.path.hops}
    others = [name for name in names if name not in path]
    if facts.port and others:
        reason = f"interface {others[0]} has this VIF's iface-id, too: a control plane wires one of the two"
        yield Cause(
            subject=others[0],
            direction=BOTH,
            effect=MAY_STOP,
            reason=reason,
            since=None,
            actor=OPERATOR,
            remedy=f"if no guest uses {others[0]}: ovs-vsctl remove Interface {others[0]} external_ids iface-id",
        )
