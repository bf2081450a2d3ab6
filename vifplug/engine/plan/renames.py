"""Links of ours that another program renamed; identified by the recorded ifindex or by their mark. Pure.

A mark and a second matching sign also identify a link with another ifindex (it was in another network namespace
meanwhile, or was recreated), if the observation contains it.

An observation shows such a link under its recorded name, with its present name in ``called``: what depends on it (its
members, its peer, its port) is compared as it will be after the link has its name back. If another link has taken the
name, the observation has the renamed link in ``displaced``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from vifplug.engine.host import Scope
from vifplug.engine.plan import ownership
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed


def lost(recorded: Mapping[str, Link], there: Mapping[str, int]) -> dict[str, int]:
    """The ifindexes of recorded links that are missing under their names, by name.

    :param there: ifindexes by present name.
    """
    return {
        name: link.ifindex
        for name, link in recorded.items()
        if link.ifindex is not None and there.get(name) != link.ifindex
    }


def undone(observed: Observed, scope: Scope) -> Observed:
    """The observation with renamed links under their recorded names.

    :param observed: links by their present names, including those whose ifindexes were ``lost``.
    """
    missing = lost(scope.recorded, {link.name: link.ifindex or 0 for link in observed.links.values()})
    if not missing:
        return observed
    by_index = {link.ifindex: link for link in observed.links.values()}
    marked = _marked(observed, scope)
    back: dict[str, str] = {}
    renamed: dict[str, Link] = {}
    displaced: dict[str, Link] = {}
    for name, ifindex in missing.items():
        recorded, holder = scope.recorded[name], observed.links.get(name)
        link = by_index.get(ifindex)
        if link is None or not ownership.is_renamed(link, recorded):
            link = _by_mark(recorded, observed, marked)
        if link is None:
            continue
        # The kernel also finds a link by its alternative names, so the holder may be the renamed link itself.
        if holder is None or holder.ifindex == link.ifindex:
            back[link.name], renamed[name] = name, link
        else:
            displaced[name] = link
    if not back:
        return replace(observed, displaced=displaced)
    # The present name stays if it was requested, too: another VIF or this request may ask for it.
    links = {name: link for name, link in observed.links.items() if name not in back or name in scope.links}
    links |= {name: replace(link, name=name, called=link.name) for name, link in renamed.items()}
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


def _by_mark(recorded: Link, observed: Observed, marked: Mapping[str, Sequence[Link]]) -> Link | None:
    """The single link under an unrecorded name that shows itself to be the recorded link; None if there are several."""
    holder = observed.links.get(recorded.name)
    if holder is not None and ownership.is_ours(holder, recorded, recorded):
        return None
    candidates = [link for link in marked.get(recorded.owner, ()) if ownership.role_of(link) == recorded.role]
    return candidates[0] if len(candidates) == 1 else None


def _marked(observed: Observed, scope: Scope) -> dict[str, list[Link]]:
    """Links with our mark, by owner, under names that are in no record and no request."""
    marked: dict[str, list[Link]] = {}
    for link in observed.links.values():
        if link.owner and link.name not in scope.recorded and link.name not in scope.links:
            marked.setdefault(link.owner, []).append(link)
    return marked


def _with_names(link: Link, back: Mapping[str, str]) -> Link:
    if link.master is not None and link.master in back:
        link = replace(link, master=back[link.master])
    if link.peer is not None and link.peer in back:
        link = link.replaced(peer=back[link.peer])
    return link
