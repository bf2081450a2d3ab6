"""What goes: with an unplug, or with the last VIF of a network. Pure.

The order of an unplug: ports first, so that vswitchd lets go of devices while they still exist; then
links; a shared bridge only with its last VIF, and only when nobody else's link is on it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from vifplug.engine import actions, ownership
from vifplug.engine.actions import Action
from vifplug.engine.plan import Plan
from vifplug.resources import Bridge, Inventory, Link, Observed


def plan_unplug(built: Inventory, owners: Collection[str], observed: Observed, shared_with: Collection[str]) -> Plan:
    """What takes resources away again, as far as they are there and ours.

    :param built: what records say was built.
    :param owners: the VIFs that go.
    :param shared_with: owners (``net:...``) whose bridges other VIFs still use.
    """
    deletions = _departing_ports(built, owners, observed)
    deletions += [actions.DeleteQos(owner) for owner in sorted({qos.owner for qos in observed.qos} & set(owners))]
    leaving = _departing_links(built, observed, shared_with)
    return Plan((*deletions, *deletion(leaving)))


def _departing_ports(built: Inventory, owners: Collection[str], observed: Observed) -> list[Action]:
    known = built.ports
    gone = [
        port
        for port in observed.ports.values()
        if port.owner in owners
        or (
            port.name in known
            and ownership.port_is_ours(port, known[port.name].owner, observed.links.get(port.name), known[port.name])
        )
    ]
    # Whose row it is the privileged side checks by the owner it is given.
    return [
        actions.DeletePort(replace(port, owner=known[port.name].owner if port.name in known else port.owner))
        for port in gone
    ]


def _departing_links(built: Inventory, observed: Observed, shared_with: Collection[str]) -> list[Link]:
    there = [
        replace(link, ifindex=observed.links[link.name].ifindex)
        for link in built.links.values()
        if link.name in observed.links and ownership.is_ours(observed.links[link.name], link, link)
    ]
    leaving = [link for link in there if not (isinstance(link, Bridge) and link.shared)]
    names = {link.name for link in leaving}
    return leaving + [bridge for bridge in there if is_abandoned(bridge, names, observed, shared_with)]


def is_abandoned(link: Link, leaving: Collection[str], observed: Observed, shared_with: Collection[str]) -> bool:
    """Whether a link is a network's bridge that no other VIF needs, and nobody else's link is on.

    :param leaving: links that will not be on it any longer.
    """
    if not isinstance(link, Bridge) or not link.shared or link.owner in shared_with:
        return False
    return not set(observed.members.get(link.name, ())) - set(leaving)


def deletion(links: Collection[Link]) -> tuple[Action, ...]:
    """One action for all of them, or none."""
    return (actions.DeleteLinks(tuple(links)),) if links else ()
