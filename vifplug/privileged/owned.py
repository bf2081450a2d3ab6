"""Whose a link is, seen again from the privileged side; and the one socket all link verbs share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.errors import PermissionDenied
from vifplug.privileged import arguments, netlink, reading

_socket_instance: list[netlink.LinkSocket] = []


def socket() -> netlink.LinkSocket:
    """This process's socket, opened at first use."""
    if not _socket_instance:
        _socket_instance.append(netlink.LinkSocket())
    return _socket_instance[0]


def read(name: str) -> dict[str, Any] | None:
    """A link by its name, if it is there."""
    return reading.links(socket(), [name]).get(name)


def is_ours(link: Mapping[str, Any], owner: str, birth_address: str) -> bool:
    """Whether a link is its owner's: by its alias, or unmarked with the MAC it was born with."""
    if naming.owner_of(link["alias"]):
        return bool(link["alias"] == naming.alias(owner))
    return bool(link["address"] == birth_address)


def link_of(operation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The link an operation is about, if it is there.

    :raises PermissionDenied: when it is not its owner's.
    """
    name, owner = arguments.name(operation["name"]), arguments.owner(operation["owner"])
    link = read(name)
    if link is None or is_ours(link, owner, arguments.address(operation["birth_address"])):
        return link
    if not (operation.get("adopt") and _is_adoptable(link, owner)):
        raise PermissionDenied(f"refused to touch link {name!r}: it does not belong to {owner}", name)
    return link


def _is_adoptable(link: Mapping[str, Any], owner: str) -> bool:
    """Whether nobody marked a link that has a name only its owner's devices have."""
    identity = owner.removeprefix(naming.NETWORK_PREFIX)
    return not link["alias"] and any(link["name"] == naming.device(role, identity) for role in naming.ROLES)
