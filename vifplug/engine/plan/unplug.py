"""What goes: with an unplug, or with the last VIF of a network. Pure.

The order of an unplug: ports first, so that vswitchd lets go of devices while they still exist; then
links; a shared bridge only with its last VIF, and only when nobody else's link is on it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from vifplug import naming
from vifplug.engine.plan import actions, ownership
from vifplug.engine.plan.actions import Action
from vifplug.engine.plan.plan import Plan
from vifplug.resources.observed import Bridge, Inventory, Link, Observed


def plan_unplug(built: Inventory, owners: Collection[str], observed: Observed, shared_with: Collection[str]) -> Plan:
    """What takes resources away again, as far as they are there and ours.

    :param built: what records say was built.
    :param owners: the VIFs that go.
    :param shared_with: owners (``net:...``) whose bridges other VIFs still use.
    """
    deletions = _departing_ports(built, owners, observed)
    marked = {qos.owner for qos in observed.qos if not qos.is_copied}
    deletions += [actions.DeleteQos(owner) for owner in sorted(marked & set(owners))]
    leaving = _departing_links(built, observed, shared_with)
    marks = [mark for link in leaving if not link.called for mark in marking(link, observed.links[link.name]).values()]
    return Plan((*deletions, *marks, *deletion(leaving)))


def as_called(link: Link, found: Link) -> Link:
    """A link that goes, with its present name where another program changed that."""
    return replace(link, called=found.called, ifindex=found.ifindex)


def marking(link: Link, found: Link) -> dict[str, Action]:
    """What marks a link of ours that shows by nothing whose it is, where it may be marked; by its name.

    The helper deletes only what it sees marked, and knows no record.
    """
    if ownership.shows_it(found, link) or not ownership.is_adoptable(found, link, link):
        return {}
    changes = (("alias", found.alias or None, naming.alias(link.owner)),)
    return {link.name: actions.SetLink(replace(link, ifindex=found.ifindex), changes, adopt=True)}


def left_alone(built: Inventory, observed: Observed) -> list[str]:
    """What was built and is there, and shows by nothing that it is ours: it stays, and these words say so."""
    links = [
        f"link {link.name!r} of {ownership.owner_in_words(link.owner)} was left: another program changed its alias and "
        f"its MAC, or made it again, so nothing shows that it is vifplug's; ip link del {link.name}"
        for link in built.links.values()
        if (found := observed.links.get(link.name)) is not None
        and not found.owner
        and link.name not in observed.displaced
        and not (isinstance(link, Bridge) and link.shared)
        and not ownership.is_ours(found, link, link)
    ]
    ports = [
        f"OVS port {port.name!r} of VIF {port.owner} was left: another program changed its mark and its iface-id, or "
        f"made it again, so nothing shows that it is vifplug's; ovs-vsctl del-port {port.name}"
        for port in built.ports.values()
        if (found_port := observed.ports.get(port.name)) is not None
        and not ownership.port_is_ours(found_port, port.owner, observed.links.get(port.name), port)
    ]
    return [*links, *ports]


def _departing_ports(built: Inventory, owners: Collection[str], observed: Observed) -> list[Action]:
    going: list[Action] = []
    for port in observed.ports.values():
        known, link = built.ports.get(port.name), observed.links.get(port.name)
        owner = known.owner if known is not None else port.owner
        if owner not in owners or not ownership.port_is_ours(port, owner, link, known):
            continue
        # Whose row it is the privileged side checks by the owner it is given.
        own = replace(port, owner=owner)
        if not ownership.port_shows_it(port, owner, link):
            going.append(actions.SetPort(own, port_changes=((naming.OWNER_KEY, port.owner or None, owner),)))
        going.append(actions.DeletePort(own))
    return going


def _departing_links(built: Inventory, observed: Observed, shared_with: Collection[str]) -> list[Link]:
    there = [
        as_called(link, observed.links[link.name])
        for link in built.links.values()
        if link.name in observed.links and ownership.is_ours(observed.links[link.name], link, link)
    ]
    # Those whose names other links have by now.
    there += [
        replace(link, called=away.name, ifindex=away.ifindex)
        for link in built.links.values()
        if (away := observed.displaced.get(link.name)) is not None
    ]
    leaving = [link for link in there if not (isinstance(link, Bridge) and link.shared)]
    names = {name for link in leaving for name in (link.name, link.called)}
    return leaving + [bridge for bridge in there if is_abandoned(bridge, names, observed, shared_with)]


def is_abandoned(link: Link, leaving: Collection[str], observed: Observed, shared_with: Collection[str]) -> bool:
    """Whether a link is a network's bridge that no other VIF needs, and nobody else's link is on.

    :param leaving: links that will not be on it any longer.
    """
    if not isinstance(link, Bridge) or not link.shared or link.owner in shared_with:
        return False
    name = link.called if link.name in observed.displaced else link.name
    return not set(observed.members.get(name, ())) - set(leaving)


def deletion(links: Collection[Link]) -> tuple[Action, ...]:
    """One action for all of them, or none."""
    return (actions.DeleteLinks(tuple(links)),) if links else ()
