"""What is deleted by an unplug, or with the last VIF of a network. Pure.

The order of an unplug: ports first, so that vswitchd closes devices while they still exist; then links; a shared bridge
only with its last VIF, and only if no other link is on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from vifplug import naming
from vifplug.engine.plan import actions, configured, ownership
from vifplug.engine.plan.actions import Action
from vifplug.engine.plan.nftables import filters
from vifplug.engine.plan.ownership import InUse
from vifplug.engine.plan.plan import Plan
from vifplug.resources.contract import Resource, Teardown
from vifplug.resources.link import Link
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort


def plan_unplug(built: Inventory, owners: Collection[str], observed: Observed, shared_with: InUse) -> Plan:
    """A plan that deletes resources that exist and are ours.

    :param built: what was built according to records.
    :param owners: the VIFs to unplug.
    :param shared_with: what other VIFs still use.
    """
    deletions = _departing_ports(built, owners, observed)
    vacated = {action.subject for action in deletions if isinstance(action, actions.DeletePort)}
    marked_bridges = [bridge for bridge in observed.bridges.values() if ownership.bridge_owner(bridge) in owners]
    bridges = {bridge.name: bridge for bridge in (*marked_bridges, *built.bridges.values())}
    deletions += departing_bridges(bridges.values(), observed, vacated, shared_with)
    marked = {qos.owner for qos in observed.qos if not qos.is_copied}
    deletions += [actions.DeleteQos(owner) for owner in sorted(marked & set(owners))]
    put_back = restored(built.items, observed, shared_with)
    leaving = _departing_links(built, observed, shared_with, put_back)
    marks = [mark for link in leaving if not link.called for mark in marking(link, observed.links[link.name])]
    # Last: a guest that still runs sends through its filter until its device is gone. A VMM's own tap stays, and its
    # guest is no longer filtered: Nova and libvirt end a guest before they unplug.
    unfiltered = [filters.DeleteFilter(item) for item in built.filters.values()]
    return Plan((*deletions, *marks, *put_back, *deletion(leaving), *unfiltered))


def restored(built: Iterable[Resource], observed: Observed, shared_with: InUse) -> list[Action]:
    """Actions that restore configured values, unless other VIFs still use them."""
    return configured.restoration((item for item in built if item not in shared_with), observed)[0]


def names_leaving(put_back: Iterable[Action]) -> set[str]:
    """Links that leave their master when their configured values are restored."""
    configurations = (action for action in put_back if isinstance(action, actions.ConfigureLink))
    return {
        action.link.name for action in configurations if any(attribute == "master" for attribute, *_ in action.changes)
    }


def as_called(link: Link, current: Link) -> Link:
    """A link to delete, with its present name if another program changed it."""
    return replace(link, called=current.called, ifindex=current.ifindex)


def as_recorded(port: OvsPort, known: OvsPort | None, owner: str) -> OvsPort:
    """An observed port to delete, with its owner, and with the columns and the function that its request set: if it is
    recreated, it gets only these."""
    settings, function = (known.settings, known.function) if known is not None else ({}, "")
    return replace(port, owner=owner, settings=settings, function=function)


def marking(link: Link, current: Link) -> list[Action]:
    """The action that marks a link of ours that shows no owner, if it may be marked.

    The helper deletes only marked links, and knows no records.
    """
    if ownership.shows_it(current, link) or not ownership.is_adoptable(current, link, link):
        return []
    changes = (("alias", current.alias or None, naming.alias(link.owner)),)
    return [actions.SetLink(replace(link, ifindex=current.ifindex), changes, adopt=True)]


def left_alone(built: Inventory, observed: Observed) -> list[str]:
    """Resources that were built and exist, but show no sign that they are ours: they stay, and these texts report
    them."""
    links = [
        f"link {link.name!r} of {ownership.owner_in_words(link.owner)} was left: another program changed its alias and "
        f"its MAC, or made it again, so nothing shows that it is vifplug's; ip link del {link.name}"
        for link in built.links.values()
        if link.teardown is Teardown.DELETED
        and (current := observed.links.get(link.name)) is not None
        and not current.owner
        and link.name not in observed.displaced
        and not link.shared
        and not ownership.is_ours(current, link, link)
    ]
    ports = [
        f"OVS port {port.name!r} of VIF {port.owner} was left: another program changed its mark and its iface-id, or "
        f"made it again, so nothing shows that it is vifplug's; ovs-vsctl del-port {port.name}"
        for port in built.ports.values()
        if port.is_owned
        and (current_port := observed.ports.get(port.name)) is not None
        and not ownership.port_is_ours(current_port, port.owner, observed.links.get(port.name), port)
    ]
    bridges = [
        f"OVS bridge {bridge.name!r} of VIF {bridge.owner} was left: {reason}"
        for bridge in built.bridges.values()
        if not bridge.shared
        and (current_bridge := observed.bridges.get(bridge.name)) is not None
        and (reason := _reason_left(bridge, current_bridge, built))
    ]
    changed_since = configured.restoration(built.items, observed)[1]
    return [*links, *ports, *bridges, *changed_since]


def _reason_left(bridge: OvsBridge, current: OvsBridge, built: Inventory) -> str:
    if not ownership.bridge_is_ours(current, bridge.owner):
        return f"another program changed its marks, so nothing shows whose it is; ovs-vsctl del-br {bridge.name}"
    others = ", ".join(sorted(set(current.members) - built.ports.keys()))
    return f"ports that vifplug did not make are on it: {others}" if others else ""


def _departing_ports(built: Inventory, owners: Collection[str], observed: Observed) -> list[Action]:
    going: list[Action] = []
    for port in observed.ports.values():
        known, link = built.ports.get(port.name), observed.links.get(port.name)
        owner = known.owner if known is not None else port.owner
        if known is not None and not known.is_owned:
            continue
        if owner not in owners or not ownership.port_is_ours(port, owner, link, known):
            continue
        # The privileged side checks the row against the owner that it is given.
        own = as_recorded(port, known, owner)
        if not ownership.port_shows_it(port, owner, link):
            going.append(actions.SetPort(own, port_changes=((naming.OWNER_KEY, port.owner or None, owner),)))
        going.append(actions.DeletePort(own))
    return going


def departing_bridges(
    bridges: Iterable[OvsBridge], observed: Observed, vacated: Collection[str], shared_with: InUse
) -> list[Action]:
    """Deletions of OVS bridges that exist and are ours, with the patch ports on them: those of Neutron's agent, which
    deletes its own ends with the trunk's bridge.

    A bridge with another program's port stays until that port is deleted (LP 1914886).

    :param vacated: ports that leave the bridges that they are on.
    """
    return [
        actions.DeleteBridge(_as_observed(bridge, current))
        for bridge in bridges
        if (current := observed.bridges.get(bridge.name)) is not None
        and not shared_with.has(owner := bridge.owner or ownership.bridge_owner(bridge), bridge.name)
        and ownership.bridge_is_ours(current, owner)
        and set(current.members) <= set(vacated)
    ]


def _as_observed(bridge: OvsBridge, current: OvsBridge) -> OvsBridge:
    """A bridge to delete, so that it can be recreated as it is."""
    return OvsBridge(
        name=bridge.name,
        owner=bridge.owner or ownership.bridge_owner(current),
        like=bridge.like,
        datapath_type=current.datapath_type,
    )


def _departing_links(
    built: Inventory, observed: Observed, shared_with: InUse, put_back: Iterable[Action]
) -> list[Link]:
    owned = [link for link in built.links.values() if link.teardown is Teardown.DELETED]
    there = [
        as_called(link, observed.links[link.name])
        for link in owned
        if link.name in observed.links and ownership.is_ours(observed.links[link.name], link, link)
    ]
    # Links whose names other links have by now.
    there += [
        replace(link, called=away.name, ifindex=away.ifindex)
        for link in owned
        if (away := observed.displaced.get(link.name)) is not None
    ]
    leaving = [link for link in there if not link.shared]
    # Shared links depend on each other: a network's uplink is deleted with the bridge.
    shared = [link for link in there if link.shared and not link.has_members and link not in shared_with]
    names = {name for link in (*leaving, *shared) for name in (link.name, link.called)} | names_leaving(put_back)
    return leaving + [link for link in there if is_abandoned(link, names, observed, shared_with)]


def is_abandoned(link: Link, leaving: Collection[str], observed: Observed, shared_with: InUse) -> bool:
    """Whether a link belongs to a network, no other VIF needs it, and no link of another program is on it.

    :param leaving: links that will no longer be on it.
    """
    if not link.shared or link.teardown is not Teardown.DELETED or link in shared_with:
        return False
    name = link.called if link.name in observed.displaced else link.name
    return not set(observed.members.get(name, ())) - set(leaving)


def deletion(links: Collection[Link]) -> tuple[Action, ...]:
    """One action for all of them, or none."""
    return (actions.DeleteLinks(tuple(links)),) if links else ()
