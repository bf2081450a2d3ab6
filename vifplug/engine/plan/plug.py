"""Plans: from desired and observed to an ordered tuple of actions. Pure; every ordering rule lives here.

The order of a plug, and why:

0. names that another program changed: all that follows addresses links by their recorded names;
1. links that are broken: a name must be free before it is made again;
2. bridges before veths and taps, which join them in the message that follows their creation;
3. settings behind creations (the kernel takes some of them only then), a bridge's MTU behind its members
   (LP 1399064); the privileged side puts sysctls and offloads before "up", so that no link is up and noisy;
4. ports, all in one transaction, those no longer wanted included: vswitchd never looks for a device that is not
   there yet, and no identity is on two ports;
5. links that are no longer wanted: what cannot be taken back comes last; then vswitchd lets go of them.

Where Open vSwitch has many ports, those of a few new veths come before 2.: every link that changes, and every
transaction, makes vswitchd work through all its ports, and what it hears while it is at it costs no second turn (at 60
ports 7 ms instead of 18, at 400 21 instead of 78). If it gets to the new port too soon its word is "no such device"
until it hears of the device; ``Host.settle`` waits for that. A tap that is to be a port is always there first (PARITY
D14).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vifplug import naming
from vifplug.engine.plan import actions, conflicts, diff, obstacles, ownership, unplug
from vifplug.engine.plan.actions import Action
from vifplug.engine.plan.plan import Plan
from vifplug.model.reports import DriftItem
from vifplug.resources.observed import (
    CONTROL_AGENT,
    DEAD_VLAN,
    Bridge,
    Inventory,
    Link,
    Observed,
    OvsPort,
    Resource,
    Tap,
    Veth,
)

_MADE_WITH: Mapping[type[Link], tuple[str, ...]] = {
    Bridge: ("alias", "address", "mtu", "stp", "forward_delay", "ageing_time", "multicast_snooping"),
    Veth: ("alias", "address", "mtu", "master", "peer"),
    Tap: ("alias", "address", "mtu", "disable_ipv6", "accept_ra", "uid", "gid", "multiqueue", "persistent"),
}
"""What a creation brings along; the rest is set behind it."""
CROWD = 32
"""Ports from which on two turns of vswitchd's cost more than that one comes too soon."""
_AHEAD_MAX = 4
"""Ports that may come before their devices: of more, vswitchd would be at the last before the kernel is."""
_IPV6_MTU = 1280
"""Below it a link has no IPv6 at all, and none of its settings (addrconf_notify)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one VIF should become."""

    vif_id: str
    desired: tuple[Resource, ...]
    recorded: Inventory = field(default_factory=Inventory)
    """What its record says was built; empty for a new VIF."""
    guests_bridge: Bridge | None = None
    """The Linux bridge on which the VMM puts its tap, whoever made that bridge."""

    @property
    def obsolete_links(self) -> tuple[Link, ...]:
        """Links that were built and are no longer wanted. A shared bridge is not one VIF's to drop."""
        wanted = {resource.name for resource in self.desired if isinstance(resource, Link)}
        return tuple(
            link
            for link in self.recorded.links.values()
            if link.name not in wanted and not (isinstance(link, Bridge) and link.shared)
        )


def plan_plug(requests: Sequence[Request], observed: Observed, shared_with: Collection[str] = ()) -> Plan:
    """What makes every request's VIF as desired, in one plan.

    :param requests: with resolved resources (``resolution.resolve``).
    :param shared_with: owners (``net:...``) whose bridges other VIFs use.
    :raises Conflict: when another VIF or a stranger holds a name or an identity.
    """
    conflicts.refuse_shared_names(request.desired for request in requests)
    draft = _Draft(crowded=observed.ports_there >= CROWD)
    for request in requests:
        conflicts.refuse_strangers(request.desired, request.recorded, observed)
        if request.guests_bridge is not None:
            known = request.recorded.links.get(request.guests_bridge.name)
            conflicts.refuse_foreign_guest(request.vif_id, request.guests_bridge, known, observed)
        _plan_links(request, observed, draft)
        _plan_ports(request, observed, draft)
        _plan_obsolete(request, observed, draft)
    _plan_abandoned(requests, observed, shared_with, draft)
    return draft.plan()


def plan_creation(links: Iterable[Link]) -> Plan:
    """What makes links that are not there, with all that is set on them."""
    draft = _Draft()
    for link in links:
        _create(link, draft)
        _set_new(link, draft)
    return draft.plan()


@dataclass(slots=True)
class _Draft:
    """The parts of a plan, kept apart until they are put in order."""

    crowded: bool = False
    """Whether there are so many ports that vswitchd's turns are what a plug takes."""
    renames: dict[str, Action] = field(default_factory=dict)
    unmarked_links: dict[str, Action] = field(default_factory=dict)
    """Marks for broken links that show by nothing whose they are: the helper deletes only what it sees marked."""
    broken_links: list[Link] = field(default_factory=list)
    taps: list[Action] = field(default_factory=list)
    bridges: dict[str, Action] = field(default_factory=dict)
    creations: list[Action] = field(default_factory=list)
    made: set[str] = field(default_factory=set)
    """Names of devices that a port may be for."""
    settings: dict[str, Action] = field(default_factory=dict)
    guests: list[Action] = field(default_factory=list)
    obsolete_ports: list[Action] = field(default_factory=list)
    ports: list[Action] = field(default_factory=list)
    obsolete_links: list[Link] = field(default_factory=list)
    released_ports: list[Action] = field(default_factory=list)
    """Ports that lose their device to ``obsolete_links`` and wait for the VMM's."""

    def plan(self) -> Plan:
        # Taps are made one by one, by ioctl; what comes behind them goes out together.
        links = (*self.taps, *self.bridges.values(), *self.creations, *self.settings.values(), *self.guests)
        before = {action.subject for action in links}
        # A port that is to be re-attached must find the device that is to stay; one that is to go must not have gone
        # when the links in its place cannot be made.
        new_ones_only = not self.obsolete_ports and all(isinstance(action, actions.AddPort) for action in self.ports)
        if self.crowded and new_ones_only and len(self.ports) <= _AHEAD_MAX:
            before = {action.subject for action in self.taps} & {action.subject for action in self.ports}
        return Plan(
            (
                *self.renames.values(),
                *self.unmarked_links.values(),
                *unplug.deletion(self.broken_links),
                *(action for action in links if action.subject in before),
                *self.obsolete_ports,
                *self.ports,
                *(action for action in links if action.subject not in before),
                *unplug.deletion(self.obsolete_links),
                *self.released_ports,
            )
        )


def _plan_links(request: Request, observed: Observed, draft: _Draft) -> None:
    known = request.recorded.links
    ends: dict[str, Veth] = {link.name: link for link in request.desired if isinstance(link, Veth)}
    for link in (resource for resource in request.desired if isinstance(resource, Link)):
        found = observed.links.get(link.name)
        if found is not None and found.called:
            draft.renames[link.name] = actions.RenameLink(replace(link, ifindex=found.ifindex), found.called)
        if isinstance(link, Veth) and link.peer in ends:
            pair = (link, ends[link.peer])
            if diff.broken_pair(pair, observed):
                if link.name < link.peer:
                    _remake_pair(pair, known, observed, draft)
                _set_new(link, draft)
                continue
        if isinstance(link, Tap) and isinstance(found, Tap) and found.multiqueue != link.multiqueue:
            conflicts.refuse_tap_in_use(link, found)
            draft.unmarked_links |= unplug.marking(link, found)
            draft.broken_links.append(replace(link, ifindex=found.ifindex))
            found = None
        if found is None:
            _create(link, draft)
            _set_new(link, draft)
        else:
            _set_changed(link, observed, known.get(link.name), draft)
        if found is not None:
            draft.guests += [actions.ForgetStation(link, entry) for entry in obstacles.stations_on(link, observed)]
        if isinstance(link, Bridge) and diff.of_guest(link, observed, known.get(link.name)):
            ifindex = observed.links[link.guest].ifindex or 0
            draft.guests.append(actions.JoinGuest(link, ifindex, request.vif_id))


def _remake_pair(pair: tuple[Veth, Veth], known: Mapping[str, Link], observed: Observed, draft: _Draft) -> None:
    for end in pair:
        found = observed.links.get(end.name)
        if found is None:
            continue
        conflicts.refuse_half_a_pair(end, found, known.get(end.name))
        draft.unmarked_links |= unplug.marking(end, found)
        draft.broken_links.append(replace(end, ifindex=found.ifindex))
    draft.creations.append(actions.CreateVeth(*pair))
    draft.made |= {end.name for end in pair}


def _create(link: Link, draft: _Draft) -> None:
    if isinstance(link, Bridge):
        earlier = draft.bridges.get(link.name)
        if isinstance(earlier, actions.CreateBridge) and (earlier.bridge.mtu or 0) > (link.mtu or 0):
            # Another VIF of this plan shares the bridge: the larger MTU holds.
            return
        draft.bridges[link.name] = actions.CreateBridge(link)
    elif isinstance(link, Tap):
        draft.taps.append(actions.CreateTap(link))
        draft.made.add(link.name)


def _set_new(link: Link, draft: _Draft) -> None:
    made_with = _MADE_WITH[type(link)]
    changes = tuple(
        (attribute, None, getattr(link, attribute))
        for attribute in link.compared
        if attribute not in made_with and getattr(link, attribute) is not None
    )
    draft.settings[link.name] = actions.SetLink(link, changes)


def _set_changed(link: Link, observed: Observed, known: Link | None, draft: _Draft) -> None:
    found = observed.links[link.name]
    items = [
        item
        for item in diff.of_link(link, observed, known)
        if item.attribute not in (diff.NAME, "ifindex", "peer", "persistent")
        and not item.attribute.startswith(obstacles.STATION)
    ]
    if not items:
        return
    changes = [(item.attribute, item.observed, item.desired) for item in items]
    if found.mtu is not None and link.mtu is not None and found.mtu < _IPV6_MTU <= link.mtu:
        # The link gets its IPv6 back with the MTU, and with the kernel's defaults.
        named = {attribute for attribute, _before, _after in changes}
        changes += [
            (key, getattr(found, key), getattr(link, key)) for key in ("disable_ipv6", "accept_ra") if key not in named
        ]
    adopt = not ownership.is_ours(found, link, known) or not found.owner
    earlier = draft.settings.get(link.name)
    if isinstance(earlier, actions.SetLink):
        # Another VIF of this plan shares the bridge.
        changes = [
            *earlier.changes,
            *(change for change in changes if change[0] not in {c[0] for c in earlier.changes}),
        ]
    draft.settings[link.name] = actions.SetLink(replace(link, ifindex=found.ifindex), tuple(changes), adopt)


def _plan_ports(request: Request, observed: Observed, draft: _Draft) -> None:
    for port in (resource for resource in request.desired if isinstance(resource, OvsPort)):
        found = observed.ports.get(port.name)
        if found is None:
            draft.ports.append(_added(port, request, observed))
            continue
        items = diff.of_port(port, observed, request.recorded.ports.get(port.name))
        if diff.is_wider(port, found, request.recorded.ports.get(port.name)):
            port = _as_before(port, request.recorded.ports[port.name], observed)
        is_marked = found.owner == port.owner
        if not is_marked:  # The mark first: the helper moves and re-attaches only what it sees marked.
            _set_ids(port, items, draft)
        if found.bridge != port.bridge:
            draft.ports.append(actions.MovePort(port, found.bridge))
        if is_marked:
            _set_ids(port, items, draft)
        if _must_reattach(request, port, observed, draft) and found.bridge == port.bridge:
            link = observed.links.get(port.name)
            held_nothing = (link is None or bool(link.called)) and (found.ofport or 0) <= 0
            draft.ports.append(actions.ReattachPort(port, if_closed=held_nothing))


def _added(port: OvsPort, request: Request, observed: Observed) -> Action:
    """The creation of a port; of one that was there before, under this name or another, never wider than it was."""
    recorded = request.recorded.ports
    before = recorded.get(port.name) or next(iter(recorded.values()), None)
    if before is None:
        return actions.AddPort(_dead(port) if port.isolate else port)
    now = observed.ports.get(before.name)
    if now is not None and now.owner == request.vif_id:
        before = replace(before, tag=now.tag, vlan_mode=now.vlan_mode, trunks=now.trunks)
    return actions.AddPort(_as_before(port, before, observed), again=True)


def _as_before(port: OvsPort, before: OvsPort, observed: Observed) -> OvsPort:
    """A port that is made again. Where Neutron's agent wires ports it is dead until the agent has: the VLAN that it had
    may be another network's by now. OVN needs no tag for that: without its flows the bridge passes nothing."""
    bridge = observed.bridges.get(port.bridge)
    planes = {port.control_plane, before.control_plane, bridge.control_plane if bridge else ""}
    if port.isolate or (CONTROL_AGENT in planes and not naming.is_trunk_bridge(port.bridge)):
        return _dead(port)
    return replace(port, tag=before.tag, vlan_mode=before.vlan_mode, trunks=before.trunks)


def _dead(port: OvsPort) -> OvsPort:
    """A port that must not talk yet: tag 4095 alone would let untagged frames through (LP 1930414)."""
    return replace(port, tag=DEAD_VLAN, vlan_mode="trunk", trunks=(DEAD_VLAN,))


def _set_ids(port: OvsPort, items: Sequence[DriftItem], draft: _Draft) -> None:
    prefix = "external_ids:"
    ids = [(item.attribute.removeprefix(prefix), item) for item in items if item.attribute.startswith(prefix)]
    marks = tuple((key, item.observed, item.desired) for key, item in ids if key == naming.OWNER_KEY)
    others = tuple((key, item.observed, item.desired) for key, item in ids if key != naming.OWNER_KEY)
    emptied = tuple(item.attribute for item in items if item.attribute in diff.COLUMNS)
    again = any(item.attribute == diff.VLANS for item in items)
    if marks or others or emptied or again:
        change = actions.SetPort(port, iface_changes=others, port_changes=marks, emptied=emptied, again=again)
        draft.ports.append(change)


def _must_reattach(request: Request, port: OvsPort, observed: Observed, draft: _Draft) -> bool:
    """Whether vswitchd holds a device that is gone: the link decides, not the row, which goes on looking right."""
    found, link = observed.ports[port.name], observed.links.get(port.name)
    if port.name in draft.made:
        return True
    if link is None:
        # It waits for the VMM's next one, to which vswitchd is deaf as long as it holds on to the last.
        return port.waits_for_device and (found.ofport or 0) > 0
    known = request.recorded.links.get(port.name)
    known_port = request.recorded.ports.get(port.name)
    last = known.ifindex if known else known_port.device_ifindex if known_port else None
    remade = last is not None and last != link.ifindex
    if port.waits_for_device and diff.is_deaf(found, link, observed):
        return True
    return remade or bool(found.error) or (found.ofport or 0) <= 0


def _plan_obsolete(request: Request, observed: Observed, draft: _Draft) -> None:
    """What the record holds and the request no longer wants, and ports of ours under other names."""
    ports = {resource.name: resource for resource in request.desired if isinstance(resource, OvsPort)}
    wanted = {resource.name for resource in request.desired}
    draft.obsolete_ports += [
        actions.DeletePort(port)
        for port in observed.ports.values()
        if port.owner == request.vif_id and port.name not in ports and _is_own_port(request, port, observed)
    ]
    for link in request.obsolete_links:
        found = observed.links.get(link.name)
        if found is not None and found.called in wanted:
            continue  # another program gave it the very name that is asked for now
        if found is not None and ownership.is_ours(found, link, link):
            conflicts.refuse_to_drop_in_use(link, found)
            draft.settings |= unplug.marking(link, found)
            draft.obsolete_links.append(unplug.as_called(link, found))
            draft.released_ports += [actions.ReattachPort(ports[link.name])] if link.name in ports else []


def _is_own_port(request: Request, port: OvsPort, observed: Observed) -> bool:
    known = request.recorded.ports.get(port.name)
    return ownership.port_is_ours(port, request.vif_id, observed.links.get(port.name), known)


def _plan_abandoned(
    requests: Sequence[Request], observed: Observed, shared_with: Collection[str], draft: _Draft
) -> None:
    """Bridges of networks that these VIFs were on and leave."""
    wanted = {link.name for request in requests for link in request.desired if isinstance(link, Link)}
    leaving = wanted | {link.name for link in draft.obsolete_links}
    known = {link.name: link for request in requests for link in request.recorded.links.values()}
    for link in known.values():
        found = observed.links.get(link.name)
        if link.name in wanted or found is None or not ownership.is_ours(found, link, link):
            continue
        if unplug.is_abandoned(link, leaving, observed, shared_with):
            draft.obsolete_links.append(unplug.as_called(link, found))
