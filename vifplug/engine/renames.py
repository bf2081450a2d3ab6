"""Links of ours that another program renamed: found by the ifindex that their record holds. Pure.

An observation shows such a link under its recorded name, with its present name in ``called``: what depends on it (its
members, its peer, its port) is judged as it will be once it has its name back. Where another link has taken the name,
the observation holds the renamed one in ``displaced``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vifplug.engine import ownership
from vifplug.engine.host import Scope
from vifplug.resources import Link, Observed, Veth


def lost(recorded: Mapping[str, Link], there: Mapping[str, int]) -> dict[str, int]:
    """The ifindexes of recorded links that are not there under their names, by those names.

    :param there: ifindexes by present name.
    """
    return {
        name: link.ifindex
        for name, link in recorded.items()
        if link.ifindex is not None and there.get(name) != link.ifindex
    }


def undone(observed: Observed, scope: Scope) -> Observed:
    """An observation with renamed links under their recorded names.

    :param observed: links by their present names, those included whose ifindexes were ``lost``.
    """
    missing = lost(scope.recorded, {link.name: link.ifindex or 0 for link in observed.links.values()})
    if not missing:
        return observed
    by_index = {link.ifindex: link for link in observed.links.values()}
    back: dict[str, str] = {}
    displaced: dict[str, Link] = {}
    for name, ifindex in missing.items():
        link, holder = by_index.get(ifindex), observed.links.get(name)
        if link is None or not ownership.is_renamed(link, scope.recorded[name]):
            continue
        # The kernel finds a link by its alternative names, too; so the holder may be the renamed link itself.
        if holder is None or holder.ifindex == ifindex:
            back[link.name] = name
        else:
            displaced[name] = link
    if not back:
        return replace(observed, displaced=displaced)
    # A present name stays where it is looked for as well: another VIF, or this request, may ask for it.
    links = {name: link for name, link in observed.links.items() if name not in back or name in scope.links}
    links |= {name: replace(by_index[missing[name]], name=name, called=called) for called, name in back.items()}
    members = {
        back.get(bridge, bridge): tuple(sorted({back.get(name, name) for name in names}))
        for bridge, names in observed.members.items()
    }
    stations = tuple(
        replace(entry, bridge=back.get(entry.bridge, entry.bridge), port=back.get(entry.port, entry.port))
        for entry in observed.stations
    )
    links = {name: _with_names(link, back) for name, link in links.items()}
    return replace(observed, links=links, members=members, stations=stations, displaced=displaced)


def _with_names(link: Link, back: Mapping[str, str]) -> Link:
    if link.master is not None and link.master in back:
        link = replace(link, master=back[link.master])
    if isinstance(link, Veth) and link.peer is not None and link.peer in back:
        link = replace(link, peer=back[link.peer])
    return link
