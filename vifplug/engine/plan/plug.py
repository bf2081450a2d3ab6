"""Plans: from desired and observed to an ordered tuple of actions. Pure; every ordering rule lives here.

The order of a plug, and why:

0. names that another program changed: all later actions address links by their recorded names;
1. broken links are deleted: a name must be free before the link is created again;
2. bridges before veths and taps, which join them in the message that follows their creation;
3. settings after creations (the kernel accepts some of them only then), a bridge's MTU after its members (LP 1399064);
   the privileged side sets sysctls and offloads before "up", so that no link sends IPv6 packets of its own;
4. OVS bridges and ports, all in one transaction, including the deletion of obsolete ones: vswitchd never looks for a
   device that does not exist yet, no identity is on two ports, and no reader sees a bridge without its port (LP
   1869244);
5. obsolete links: what cannot be undone comes last; then vswitchd closes them.

If Open vSwitch has many ports, the ports of a few new devices precede step 2: every changed link and every transaction
makes vswitchd process all its ports, and events that arrive meanwhile need no second turn (a veth with 60 ports 7 ms
instead of 18, with 400 21 instead of 78; a tap with 400 22 instead of 66). If vswitchd reaches the new port too early
it reports "no such device" until it is notified of the device; ``Host.apply`` waits for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from vifplug import naming
from vifplug.engine import own_vlan
from vifplug.engine.plan import actions, configured, conflicts, diff, obstacles, ownership, unplug
from vifplug.engine.plan.actions import Action
from vifplug.engine.plan.nftables import filters
from vifplug.engine.plan.ownership import NOT_IN_USE, InUse
from vifplug.engine.plan.plan import Draft, Phase, Plan
from vifplug.engine.plan.uplink import destinations, refusals
from vifplug.errors import UnknownKind
from vifplug.model.reports import DriftItem
from vifplug.resources import kinds, passage
from vifplug.resources.contract import Creation, Relation, Resource, Teardown
from vifplug.resources.link import BRIDGE_VLAN, Link
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.ovs_port import CONTROL_AGENT, DEAD, OF_VLANS, SETTINGS, OvsPort, Vlans, access, shown

CROWD = 32
"""Number of ports from which two turns of vswitchd cost more than one that comes too early."""
_LAST = ("up",)
"""Attributes that a plan prints, as it sets them, after all others of a link."""
_IPV6_MTU = 1280
"""Below this MTU a link has no IPv6, and none of its settings (addrconf_notify)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The desired state of one VIF."""

    vif_id: str
    desired: tuple[Resource, ...]
    recorded: Inventory = field(default_factory=Inventory)
    """What was built according to its record; empty for a new VIF."""
    guests_bridge: Link | None = None
    """The Linux bridge on which the VMM puts its tap, made by any program."""

    @property
    def obsolete_links(self) -> tuple[Link, ...]:
        """Links that were built and are no longer desired. A VIF alone does not drop a shared one."""
        wanted = {resource.name for resource in kinds.links_in(self.desired)}
        return tuple(link for link in self.recorded.links.values() if link.name not in wanted and not link.shared)


def plan_plug(
    requests: Sequence[Request],
    observed: Observed,
    shared_with: InUse = NOT_IN_USE,
    shared: Mapping[str, Link] = MappingProxyType({}),
) -> Plan:
    """One plan that makes the VIFs of all requests as desired.

    :param requests: with resolved resources (``resolution.resolve``).
    :param shared_with: what other VIFs use.
    :param shared: configured devices that VIFs share, with the values that all of them ask for.
    :raises Conflict: another VIF or another program holds a name or an identity.
    """
    conflicts.refuse_shared_names(request.desired for request in requests)
    refusals.refuse_several([request.desired for request in requests], shared_with)
    draft = Draft(is_crowded=observed.port_count >= CROWD)
    for request in requests:
        kinds.require_known(request.desired)
        conflicts.refuse_foreign(request.desired, request.recorded, observed)
        conflicts.refuse_to_remake_used(request.desired, request.recorded, observed, shared_with)
        refusals.refuse(request.desired, request.recorded, observed)
        if request.guests_bridge is not None:
            known = request.recorded.links.get(request.guests_bridge.name)
            conflicts.refuse_foreign_guest(request.vif_id, request.guests_bridge, known, observed)
            own_vlan.refuse_bridge(request.guests_bridge, request.desired, observed)
        for link in kinds.links_in(request.desired):
            _PLANNED[link.relation](shared.get(link.name, link), request, observed, draft)
        filters.plan_filters(kinds.filters_in(request.desired), request.recorded.filters, observed, draft)
        _plan_bridges(request, observed, draft)
        _plan_ports(request, observed, draft)
        _plan_obsolete(request, observed, draft)
    _plan_peers(requests, observed, shared_with, draft)
    _plan_abandoned(requests, observed, shared_with, draft)
    _plan_abandoned_bridges(requests, observed, shared_with, draft)
    return draft.plan()


def plan_creation(links: Iterable[Link]) -> Plan:
    """A plan that creates missing links with all their settings."""
    draft = Draft()
    for link in links:
        _create(link, None, draft)
        _set_new(link, draft)
    return draft.plan()


def _plan_owned(link: Link, request: Request, observed: Observed, draft: Draft) -> None:
    known = request.recorded.links
    current = observed.links.get(link.name)
    if current is not None and current.called:
        draft.put(Phase.NAMES, actions.RenameLink(replace(link, ifindex=current.ifindex), current.called))
    other = _other_end(link, request)
    if other is not None:
        if diff.broken_pair((link, other), observed):
            if link.name < other.name:
                _remake_pair(link, other, request, observed, draft)
            _set_new(link, draft)
            return
    elif current is not None and current.kind == link.kind and diff.is_to_be_remade(link, current):
        conflicts.refuse_in_use(link, current)
        _delete_broken(link, current, draft)
        current = None
    if current is None:
        if other is None:
            _create(link, None, draft)
        _set_new(link, draft)
    else:
        _set_changed(link, observed, known.get(link.name), draft)
        for entry in obstacles.stations_on(link, observed):
            draft.add(Phase.GUESTS, actions.ForgetStation(link, entry))
    if link.guest and diff.of_guest(link, observed, known.get(link.name)):
        ifindex = observed.links[link.guest].ifindex or 0
        draft.add(Phase.GUESTS, actions.JoinGuest(link, ifindex, request.vif_id))


def _plan_configured(link: Link, request: Request, observed: Observed, draft: Draft) -> None:
    if link.shared and draft.has(Phase.SETTINGS, link.name):
        return  # another VIF of this plan shares the link, which has the values that all of them ask for
    if configured.is_stuck(link, observed):
        draft.put(Phase.NAMES, configured.FreeDevice(link))
    for change in configured.changes(link, observed, request.recorded.links.get(link.name)):
        draft.add(Phase.SETTINGS, change)


def _plan_referenced(link: Link, request: Request, observed: Observed, draft: Draft) -> None:
    """Do nothing: a referenced link is never changed, and ``conflicts`` has checked that it exists."""


_PLANNED: Mapping[Relation, Callable[[Link, Request, Observed, Draft], None]] = {
    Relation.OWNED: _plan_owned,
    Relation.CONFIGURED: _plan_configured,
    Relation.REFERENCED: _plan_referenced,
}


def _other_end(link: Link, request: Request) -> Link | None:
    """The other end of a pair, if the VIF has both."""
    if link.peer is None:
        return None
    return next((other for other in kinds.links_in(request.desired) if other.name == link.peer), None)


def _remake_pair(near: Link, far: Link, request: Request, observed: Observed, draft: Draft) -> None:
    for end in (near, far):
        current = observed.links.get(end.name)
        if current is not None:
            conflicts.refuse_half_a_pair(end, current, request.recorded.links.get(end.name))
            _delete_broken(end, current, draft)
    _create(near, far, draft)


def _delete_broken(link: Link, current: Link, draft: Draft) -> None:
    for mark in unplug.marking(link, current):
        draft.put(Phase.MARKS, mark)
    draft.delete(Phase.BROKEN, replace(link, ifindex=current.ifindex))


def _create(link: Link, other: Link | None, draft: Draft) -> None:
    if link.creation is Creation.NEVER or (link.creation is Creation.PAIR) != (other is not None):
        raise UnknownKind(f"cannot create {link.kind} {link.name!r}", link.name)
    earlier = draft.get(Phase.CREATIONS, link.name)
    if isinstance(earlier, actions.CreateLink) and (earlier.link.mtu or 0) > (link.mtu or 0):
        # Another VIF of this plan shares the link: the larger MTU applies.
        return
    draft.put(Phase.CREATIONS, actions.CreateLink(link, other))


def _set_new(link: Link, draft: Draft) -> None:
    changes = tuple(
        (attribute, None, getattr(link, attribute))
        for attribute in link.attributes.set_behind
        if getattr(link, attribute) is not None
    )
    draft.put(Phase.SETTINGS, actions.SetLink(link, changes))


def _set_changed(link: Link, observed: Observed, known: Link | None, draft: Draft) -> None:
    current = observed.links[link.name]
    items = [
        item
        for item in diff.of_link(link, observed, known)
        if item.attribute in passage.RIGHT or item.attribute in link.attributes.restored
    ]
    if not items:
        return
    changes = [(item.attribute, _before(item, known), item.desired) for item in items]
    if current.mtu is not None and link.mtu is not None and current.mtu < _IPV6_MTU <= link.mtu:
        # The link gets IPv6 back with the MTU, but with the kernel's defaults.
        named = {attribute for attribute, _before, _after in changes}
        changes += [
            (key, getattr(current, key), getattr(link, key))
            for key in ("disable_ipv6", "accept_ra")
            if key not in named
        ]
    adopt = not ownership.is_ours(current, link, known) or not current.owner
    earlier = draft.get(Phase.SETTINGS, link.name)
    if isinstance(earlier, actions.SetLink):
        # Another VIF of this plan shares the bridge.
        changes = [
            *earlier.changes,
            *(change for change in changes if change[0] not in {c[0] for c in earlier.changes}),
        ]
    draft.put(Phase.SETTINGS, actions.SetLink(replace(link, ifindex=current.ifindex), tuple(changes), adopt))


def _before(item: DriftItem, known: Link | None) -> Any:
    """The value to which an undo returns an attribute: in place of another program's VLANs, the recorded one."""
    if item.attribute != BRIDGE_VLAN.name or isinstance(item.observed, int) or known is None:
        return item.observed
    return known.bridge_vlan


def _plan_peers(requests: Sequence[Request], observed: Observed, shared_with: InUse, draft: Draft) -> None:
    """Plan the peers of uplinks: all VIFs of a network together decide about them."""
    asked: dict[str, list[Link]] = {}
    for link in (link for request in requests for link in kinds.links_in(request.desired)):
        if link.peers is not None:
            asked.setdefault(link.name, []).append(link)
    for name, links in asked.items():
        current = None if draft.makes(name) else observed.links.get(name)
        known = [request.recorded.links[name] for request in requests if name in request.recorded.links]
        wanted, has = (
            destinations.peers(links, known, current, shared_with),
            current.peers if current is not None else None,
        )
        if wanted == has:
            continue
        earlier, change = draft.get(Phase.SETTINGS, name), ("peers", has, wanted)
        others = [other for other in getattr(earlier, "changes", ()) if other[0] != change[0]]
        first = [other for other in others if other[0] not in _LAST]
        last = [other for other in others if other[0] in _LAST]
        link = links[0] if current is None else replace(links[0], ifindex=current.ifindex)
        draft.put(Phase.SETTINGS, actions.SetLink(link, (*first, change, *last), getattr(earlier, "adopt", False)))


def _plan_bridges(request: Request, observed: Observed, draft: Draft) -> None:
    for bridge in kinds.ovs_bridges_in(request.desired):
        if bridge.name not in observed.bridges:
            draft.put(Phase.BRIDGES, actions.AddBridge(bridge))
        elif items := diff.of_bridge(bridge, observed):
            changes = tuple((diff.key_of(item.attribute), item.observed, item.desired) for item in items)
            draft.put(Phase.BRIDGES, actions.SetBridge(bridge, changes))


def _plan_ports(request: Request, observed: Observed, draft: Draft) -> None:
    for port in kinds.ports_in(request.desired):
        if not port.is_owned:
            continue
        current = observed.ports.get(port.name)
        if current is None:
            draft.add(Phase.PORTS, _added(port, request, observed))
            continue
        items = diff.of_port(port, observed, request.recorded.ports.get(port.name))
        if diff.is_wider(port, current, request.recorded.ports.get(port.name)):
            port = _as_before(port, request.recorded.ports[port.name], observed)
        is_marked = current.owner == port.owner
        if not is_marked:  # The mark first: the helper moves and re-attaches only marked ports.
            _set_ids(port, items, request, observed, draft)
        if current.bridge != port.bridge:
            draft.add(Phase.PORTS, actions.MovePort(port, current.bridge))
        if is_marked:
            _set_ids(port, items, request, observed, draft)
        if _must_reattach(request, port, observed, draft) and current.bridge == port.bridge:
            link = observed.links.get(port.name)
            held_nothing = (link is None or bool(link.called)) and (current.ofport or 0) <= 0
            draft.add(Phase.PORTS, actions.ReattachPort(port, if_closed=held_nothing))


def _added(port: OvsPort, request: Request, observed: Observed) -> Action:
    """The creation of a port. A port that existed before, under this name or another, never gets more VLANs than it
    had."""
    recorded = request.recorded.ports
    others = (other for other in recorded.values() if other.has_identity)
    before = recorded.get(port.name) or next(others, None)
    own = diff.own_vlans(port, before)
    if own is not None:
        return actions.AddPort(port.with_vlans(own))
    if before is None or not port.has_identity:
        return actions.AddPort(port.with_vlans(DEAD) if port.isolate else port)
    now = observed.ports.get(before.name)
    if now is not None and now.owner == request.vif_id:
        before = before.with_vlans(now.vlans)
    return actions.AddPort(_as_before(port, before, observed), again=True)


def _as_before(port: OvsPort, before: OvsPort, observed: Observed) -> OvsPort:
    """A port that is recreated. If Neutron's agent wires ports, the port is dead until the agent has wired it: its
    former VLAN may be another network's by now. OVN needs no tag for that: without its flows the bridge forwards
    nothing."""
    bridge = observed.bridges.get(port.bridge)
    planes = {port.control_plane, before.control_plane, bridge.control_plane if bridge else ""}
    if port.isolate or (CONTROL_AGENT in planes and not naming.is_trunk_bridge(port.bridge)):
        return port.with_vlans(DEAD)
    return port.with_vlans(before.vlans)


def _set_ids(port: OvsPort, items: Sequence[DriftItem], request: Request, observed: Observed, draft: Draft) -> None:
    of_port = [item for item in items if isinstance(item, diff.PortDrift)]
    ids = [(item.key, item.observed, item.desired) for item in of_port if item.key]
    marks = tuple(change for change in ids if change[0] == naming.OWNER_KEY)
    others = tuple(change for change in ids if change[0] != naming.OWNER_KEY)
    columns = SETTINGS if port.has_identity else (*SETTINGS, *OF_VLANS)
    seen = {item.attribute: item.observed for item in of_port if item.attribute in columns}
    given = {column: port.settings[column] for column in seen if column in port.settings}
    emptied = tuple(column for column in seen if column not in given)
    known = request.recorded.ports.get(port.name)
    recorded = {column: (known.settings if known is not None else {}).get(column) for column in seen}
    former = {column: value for column, value in recorded.items() if shown(column, value) == seen[column]}
    tagged = port.has_identity and any(item.attribute in OF_VLANS for item in of_port)
    own = diff.own_vlans(port, known) if tagged else None
    vlans = None if own is None else (_vlans_before(known, observed.ports[port.name]), own)
    if marks or others or seen or tagged:
        change = actions.SetPort(port, others, marks, emptied, given, former, tagged and own is None, vlans)
        draft.add(Phase.PORTS, change)


def _vlans_before(known: OvsPort | None, current: OvsPort) -> Vlans:
    """The VLANs to which an undo returns a port: the recorded one of vifplug's, whatever another program has set since;
    else those that it has."""
    return current.vlans if known is None or known.vlan is None else access(known.vlan)


def _must_reattach(request: Request, port: OvsPort, observed: Observed, draft: Draft) -> bool:
    """Whether vswitchd holds a deleted device. The link decides, because the row still looks correct."""
    current, link = observed.ports[port.name], observed.links.get(port.name)
    if draft.makes(port.name):
        return True
    if port.is_patch:
        return False  # vswitchd opens it as soon as its other end exists
    if not port.has_device:
        return bool(current.error) or (current.ofport or 0) <= 0
    if link is None:
        # It waits for the VMM's next device, which vswitchd ignores while it holds the last one.
        return port.waits_for_device and (current.ofport or 0) > 0
    known = request.recorded.links.get(port.name)
    known_port = request.recorded.ports.get(port.name)
    last = known.ifindex if known else known_port.device_ifindex if known_port else None
    remade = last is not None and last != link.ifindex
    if port.waits_for_device and diff.is_deaf(current, link, observed):
        return True
    return remade or bool(current.error) or (current.ofport or 0) <= 0


def _plan_obsolete(request: Request, observed: Observed, draft: Draft) -> None:
    """Plan the deletion of what the record holds and the request no longer asks for, and of our ports under other
    names."""
    ports = {port.name: port for port in kinds.ports_in(request.desired)}
    wanted = {resource.name for resource in request.desired}
    for port in observed.ports.values():
        if port.owner == request.vif_id and port.name not in ports and _is_own_port(request, port, observed):
            known = request.recorded.ports.get(port.name)
            draft.add(Phase.OBSOLETE_PORTS, actions.DeletePort(unplug.as_recorded(port, known, port.owner)))
    for link in request.obsolete_links:
        current = observed.links.get(link.name)
        if current is not None and current.called in wanted:
            continue  # another program gave it the name that is now requested
        match link.teardown:
            case Teardown.DELETED if current is not None and ownership.is_ours(current, link, link):
                conflicts.refuse_to_drop_in_use(link, current)
                for mark in unplug.marking(link, current):
                    draft.put(Phase.SETTINGS, mark)
                draft.delete(Phase.OBSOLETE_LINKS, unplug.as_called(link, current))
                if link.name in ports:
                    draft.add(Phase.RELEASED_PORTS, actions.ReattachPort(ports[link.name]))
            case Teardown.RESTORED:
                for change in configured.restoration((link,), observed)[0]:
                    draft.add(Phase.PUT_BACK, change)


def _is_own_port(request: Request, port: OvsPort, observed: Observed) -> bool:
    known = request.recorded.ports.get(port.name)
    return ownership.port_is_ours(port, request.vif_id, observed.links.get(port.name), known)


def _plan_abandoned(requests: Sequence[Request], observed: Observed, shared_with: InUse, draft: Draft) -> None:
    """Plan the deletion of network bridges that these VIFs leave."""
    wanted = {link.name for request in requests for link in kinds.links_in(request.desired)}
    known = {link.name: link for request in requests for link in request.recorded.links.values()}
    if known.keys() <= wanted:
        return
    given_up = [link for link in known.values() if link.shared and link.name not in wanted]
    put_back = unplug.restored(given_up, observed, shared_with)
    for change in put_back:
        draft.add(Phase.PUT_BACK, change)
    uplinks = {link.name for link in given_up if not link.has_members and link not in shared_with}
    leaving = wanted | draft.leaving(Phase.OBSOLETE_LINKS) | unplug.names_leaving(put_back) | uplinks
    for link in known.values():
        current = observed.links.get(link.name)
        if link.name in wanted or current is None or not ownership.is_ours(current, link, link):
            continue
        if unplug.is_abandoned(link, leaving, observed, shared_with):
            draft.delete(Phase.OBSOLETE_LINKS, unplug.as_called(link, current))


def _plan_abandoned_bridges(requests: Sequence[Request], observed: Observed, shared_with: InUse, draft: Draft) -> None:
    """Plan the deletion of OVS bridges of trunks that these VIFs leave, and of VIFs that no longer have a bridge of
    their own."""
    wanted = {bridge.name for request in requests for bridge in kinds.ovs_bridges_in(request.desired)}
    known = {bridge.name: bridge for request in requests for bridge in request.recorded.bridges.values()}
    given_up = [bridge for bridge in known.values() if bridge.name not in wanted]
    for deletion in unplug.departing_bridges(given_up, observed, draft.vacated(), shared_with):
        draft.put(Phase.OBSOLETE_BRIDGES, deletion)
