"""What goes: with an unplug, or with the last VIF of a network. Pure.

The order of an unplug: ports first, so that vswitchd lets go of devices while they still exist; then
links; a shared bridge only with its last VIF, and only when nobody else's link is on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from vifplug import naming
from vifplug.engine.plan import actions, configured, ownership
from vifplug.engine.plan.actions import Action
from vifplug.engine.plan.ownership import InUse
from vifplug.engine.plan.plan import Plan
from vifplug.resources.contract import Resource, Teardown
from vifplug.resources.link import Link
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort


def plan_unplug(built: Inventory, owners: Collection[str], observed: Observed, shared_with: InUse) -> Plan:
    """What takes resources away again, as far as they are there and ours.

    :param built: what records say was built.
    :param owners: the VIFs that go.
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
    return Plan((*deletions, *marks, *put_back, *deletion(leaving)))


def restored(built: Iterable[Resource], observed: Observed, shared_with: InUse) -> list[Action]:
    """What puts back what was only configured, unless other VIFs still use it."""
    return configured.restoration((item for item in built if item not in shared_with), observed)[0]


def names_leaving(put_back: Iterable[Action]) -> set[str]:
    """Links that are put back and with that leave what they were put on."""
    configurations = (action for action in put_back if isinstance(action, actions.ConfigureLink))
    return {
        action.link.name for action in configurations if any(attribute == "master" for attribute, *_ in action.changes)
    }


def as_called(link: Link, current: Link) -> Link:
    """A link that goes, with its present name where another program changed that."""
    return replace(link, called=current.called, ifindex=current.ifindex)


def as_recorded(port: OvsPort, known: OvsPort | None, owner: str) -> OvsPort:
    """An observed port that goes, with its owner, and the columns that it asked for: made again, it gets these and no
    others."""
    return replace(port, owner=owner, settings=known.settings if known is not None else {})


def marking(link: Link, current: Link) -> list[Action]:
    """What marks a link of ours that shows by nothing whose it is, where it may be marked.

    The helper deletes only what it sees marked, and knows no record.
    """
    if ownership.shows_it(current, link) or not ownership.is_adoptable(current, link, link):
        return []
    changes = (("alias", current.alias or None, naming.alias(link.owner)),)
    return [actions.SetLink(replace(link, ifindex=current.ifindex), changes, adopt=True)]


def left_alone(built: Inventory, observed: Observed) -> list[str]:
    """What was built and is there, and shows by nothing that it is ours: it stays, and these words say so."""
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
        # Whose row it is the privileged side checks by the owner it is given.
        own = as_recorded(port, known, owner)
        if not ownership.port_shows_it(port, owner, link):
            going.append(actions.SetPort(own, port_changes=((naming.OWNER_KEY, port.owner or None, owner),)))
        going.append(actions.DeletePort(own))
    return going


def departing_bridges(
    bridges: Iterable[OvsBridge], observed: Observed, vacated: Collection[str], shared_with: InUse
) -> list[Action]:
    """OVS bridges that go, as far as they are there and ours, with the patch ports on them: those of Neutron's agent,
    which takes its own ends away as the trunk's bridge goes.

    One with a port of another program stays until that has gone (LP 1914886).

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
    """A bridge that goes, so that it can be made again as it is."""
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
    # Those whose names other links have by now.
    there += [
        replace(link, called=away.name, ifindex=away.ifindex)
        for link in owned
        if (away := observed.displaced.get(link.name)) is not None
    ]
    leaving = [link for link in there if not link.shared]
    # What VIFs share stands on each other: an uplink of a network's bridge goes with the bridge.
    shared = [link for link in there if link.shared and not link.has_members and link not in shared_with]
    names = {name for link in (*leaving, *shared) for name in (link.name, link.called)} | names_leaving(put_back)
    return leaving + [link for link in there if is_abandoned(link, names, observed, shared_with)]


def is_abandoned(link: Link, leaving: Collection[str], observed: Observed, shared_with: InUse) -> bool:
    """Whether a link is a network's that no other VIF needs, and that no link of another program is on.

    :param leaving: links that will not be on it any longer.
    """
    if not link.shared or link.teardown is not Teardown.DELETED or link in shared_with:
        return False
    name = link.called if link.name in observed.displaced else link.name
    return not set(observed.members.get(name, ())) - set(leaving)


def deletion(links: Collection[Link]) -> tuple[Action, ...]:
    """One action for all of them, or none."""
    return (actions.DeleteLinks(tuple(links)),) if links else ()
