"""Gives a link of ours its name back after another program renamed it."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import Conflict, LinkError, PermissionDenied
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import Message, message, no_alternative_name
from vifplug.privileged import arguments, ownership
from vifplug.privileged.ovsdb import verbs as ovsdb

_UP = 0x1
"""IFF_UP."""


def rename(operation: Mapping[str, Any]) -> None:
    """Rename the owner's link of an ifindex.

    :raises LinkError: it does not exist, or the kernel refuses.
    :raises Conflict: it is not its owner's, or the name is another link's or port's; nothing was changed.
    :raises PermissionDenied: by the naming rule the name belongs to another VIF or another device.
    """
    index = arguments.number("the ifindex", operation["ifindex"], 1, 2**31 - 1)
    name, owner = arguments.name(operation["to"]), arguments.owner(operation["owner"])
    if naming.is_of_other(name, owner, arguments.role(operation["role"])):
        raise PermissionDenied(f"refused to rename a link of {owner} to {name!r}: that is another device's name", name)
    link = ownership.read_by_index(index)
    if link is None:
        raise LinkError(f"could not rename link {operation['name']!r} to {name!r}: no such device", name)
    if not ownership.is_ours(link, operation):
        raise ownership.not_ours(link, owner)
    if link["name"] == name:
        return
    ovsdb.refuse_foreign_port(name, owner)
    renaming = message(index, [("IFLA_IFNAME", name)])
    refused = _refusal([renaming])
    if refused is not None and refused.code == errno.EEXIST and _is_own_alternative(name, index):
        refused = _refusal([no_alternative_name(index, name), renaming])
    if refused is not None and refused.code == errno.EBUSY:
        # Kernels before 6.2 do not rename a link that is up.
        down, up = message(index, change=_UP), message(index, link_flags=_UP, change=_UP)
        refused = _refusal([down, renaming, up])
    if refused is None:
        return
    if refused.code == errno.EEXIST:
        raise Conflict(f"could not rename {link['name']!r} to {name!r}: another link has that name", name)
    raise LinkError(f"could not rename {link['name']!r} to {name!r}: {refused.text}", name)


def _refusal(messages: Sequence[Message]) -> netlink.Refused | None:
    try:
        ownership.socket().change(messages)
    except netlink.Refused as refused:
        return refused
    return None


def _is_own_alternative(name: str, index: int) -> bool:
    """Whether the name is taken by the link itself, as one of its alternative names (``ip link property``)."""
    link = ownership.read(name)
    return link is not None and link["ifindex"] == index
