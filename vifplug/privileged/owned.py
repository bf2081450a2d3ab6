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


def is_ours(link: Mapping[str, Any], claim: Mapping[str, Any]) -> bool:
    """Whether a link is its owner's: by its alias, or unmarked with the MAC it was born with.

    That MAC is worked out here: a caller who could name it would own every unmarked link there is.

    :param claim: ``owner`` and ``role``; for a tap also ``birth_address``.
    """
    owner = arguments.owner(claim["owner"])
    if naming.owner_of(link["alias"]):
        return bool(link["alias"] == naming.alias(owner))
    role = arguments.role(claim["role"])
    if link["kind"] != naming.KIND_OF_ROLE[role]:
        return False
    if role != naming.ROLE_TAP:
        return bool(link["address"] == naming.birth_address(owner, role))
    # A tap's MAC is its guest's, which only the caller knows: believed of persistent taps with such a MAC alone. One
    # in 64 of vswitchd's own (br-int, in a userspace datapath) has such a MAC, too; they have no virtio-net header.
    address = arguments.address(claim["birth_address"])
    if not link["persistent"] or link["address"] != address or not naming.is_tap_address(address):
        return False
    return bool(link["vnet_header"]) or _has_name_of(link, owner)


def link_of(operation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The link an operation is about, if it is there.

    :raises PermissionDenied: when it is not its owner's.
    """
    name, owner = arguments.name(operation["name"]), arguments.owner(operation["owner"])
    link = read(name)
    if link is None or is_ours(link, operation):
        return link
    if not (operation.get("adopt") and _is_adoptable(link, owner)):
        raise PermissionDenied(f"refused to touch link {name!r}: it does not belong to {owner}", name)
    return link


def _is_adoptable(link: Mapping[str, Any], owner: str) -> bool:
    """Whether nobody marked a link that has a name only its owner's devices have."""
    return not link["alias"] and _has_name_of(link, owner)


def _has_name_of(link: Mapping[str, Any], owner: str) -> bool:
    """Whether a link has the name of one of its owner's devices."""
    identity = owner.removeprefix(naming.NETWORK_PREFIX)
    return any(link["name"] == naming.device(role, identity) for role in naming.ROLES)
