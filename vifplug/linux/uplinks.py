"""What is read for uplinks besides their own links: addresses, routes, and other links with their numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vifplug.engine.host import Scope
from vifplug.netlink import addresses as reading
from vifplug.netlink import links
from vifplug.netlink import socket as netlink
from vifplug.resources import kinds

Names = Mapping[str, tuple[str, ...]]


def devices_of(socket_: netlink.LinkSocket, wanted: Collection[str]) -> frozenset[str]:
    """The devices that have one of some addresses."""
    held = reading.addresses(socket_)
    indexes = [index for index, addresses in held.items() if not set(wanted).isdisjoint(addresses)]
    return frozenset(links.links_by_index(socket_, indexes))


def surroundings(socket_: netlink.LinkSocket, scope: Scope, there: dict[str, dict[str, Any]]) -> tuple[Names, Names]:
    """Addresses and routes by device, if the scope has uplinks; if one is missing, ``there`` gets every other link
    whose kind allows only one with certain numbers."""
    if not scope.uplinks:
        return {}, {}
    if not scope.uplinks <= there.keys():
        others = links.all_links(socket_) if not scope.everything else {}
        there |= {name: link for name, link in others.items() if name not in there and _is_unique(link)}
    held = reading.addresses(socket_)
    addresses = {name: held[link["ifindex"]] for name, link in there.items() if link["ifindex"] in held}
    free = [name for name in scope.uplinks & there.keys() if there[name]["master"] is None]
    return addresses, {name: reading.routes(socket_, there[name]["ifindex"]) for name in free}


def _is_unique(link: Mapping[str, Any]) -> bool:
    return bool(kinds.link_of(link["kind"]).unique)
