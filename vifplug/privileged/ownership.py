"""Checks a link's owner again on the privileged side; and the socket that all link verbs share.

A caller's claim proves nothing here, because the caller may be compromised. Only what the kernel shows now counts, and
which links this process has itself seen marked before (``_seen_marked``).
"""

from __future__ import annotations

import errno
import struct
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from vifplug import naming
from vifplug.errors import Conflict, LinkError
from vifplug.netlink import links
from vifplug.netlink import socket as netlink
from vifplug.privileged import arguments
from vifplug.resources import ownership
from vifplug.resources.ownership import Claim, SeenLink

_SIOCGIFINDEX = 0x8933
_REMEMBERED_MAX = 32768
"""Links: those of some 8,000 VIFs."""

_socket_instance: list[netlink.LinkSocket] = []
_seen_marked: OrderedDict[int, str] = OrderedDict()
"""ifindex -> owner. The kernel reuses a number only after 2**31 others, and a link keeps its own for life."""


def socket() -> netlink.LinkSocket:
    """This process's socket, opened at first use."""
    if not _socket_instance:
        _socket_instance.append(netlink.LinkSocket())
    return _socket_instance[0]


def start() -> None:
    """Reset what a forked helper has inherited: its caller may have had a socket in another network namespace."""
    while _socket_instance:
        _socket_instance.pop().close()
    _seen_marked.clear()


def read(name: str) -> dict[str, Any] | None:
    """A link by its name, if it exists."""
    return links.links(socket(), [name]).get(name)


def read_by_index(ifindex: int) -> dict[str, Any] | None:
    """A link by its ifindex, if it exists."""
    return next(iter(links.links_by_index(socket(), [ifindex]).values()), None)


def remember(ifindex: int, owner: str) -> None:
    """Record that a link was made for an owner, or seen with its mark."""
    _seen_marked[ifindex] = owner
    _seen_marked.move_to_end(ifindex)
    while len(_seen_marked) > _REMEMBERED_MAX:
        _seen_marked.popitem(last=False)


def forget(ifindex: int) -> None:
    """Record that a link is deleted."""
    _seen_marked.pop(ifindex, None)


def seen(link: Mapping[str, Any]) -> SeenLink:
    """A link in the form that the rule takes."""
    return SeenLink(
        name=link["name"],
        kind=link["kind"],
        alias=link["alias"],
        address=link["address"],
        master=link["master"],
        persistent=bool(link.get("persistent")),
        vnet_header=bool(link.get("vnet_header")),
    )


def owner_by_mark(link: Mapping[str, Any]) -> str:
    """The owner in a link's mark; "" for none."""
    return naming.owner_of(link["alias"])


def was_ours(link: Mapping[str, Any]) -> bool:
    """Whether this process has seen a link marked, or has made it, whatever its mark is now."""
    return link["ifindex"] in _seen_marked


def claim(link: Mapping[str, Any], operation: Mapping[str, Any]) -> Claim:
    """A caller's claim about a link, checked."""
    owner, part = arguments.owner(operation["owner"]), arguments.part(operation["role"])
    marked = naming.owner_of(link["alias"]) == owner
    address = operation.get("birth_address")
    if not part.kind.has_birth_address and address is not None:
        address = arguments.address(address)
    # With a name of its own and a changed MAC only the mark is left. A caller's record is not a second sign: a
    # compromised caller can read every number and MAC. The engine requires one (a copied alias is not acted on).
    known = marked or _seen_marked.get(link["ifindex"]) == owner
    return Claim(owner=owner, role=part.role.name, address=address or "", known=known)


def is_ours(link: Mapping[str, Any], operation: Mapping[str, Any]) -> bool:
    """Whether a link belongs to its owner.

    :param operation: its ``owner`` and ``role``; of a tap also ``birth_address``.
    """
    claimed = claim(link, operation)
    if not ownership.link_is_ours(seen(link), claimed):
        return False
    remember(int(link["ifindex"]), claimed.owner)
    return True


def link_of(operation: Mapping[str, Any]) -> dict[str, Any] | None:
    """The link of an operation, if it exists.

    :raises Conflict: it is not its owner's; it was left alone.
    """
    name = arguments.name(operation["name"])
    link = read(name)
    if link is None or is_ours(link, operation):
        return link
    raise not_ours(link, operation["owner"])


def not_ours(link: Mapping[str, Any], owner: str) -> Conflict:
    """The error for a link that shows no sign of the owner."""
    alias = f"alias {link['alias']!r}" if link["alias"] else "no alias"
    kind = link["kind"] or "no kind"
    return Conflict(
        f"refused to touch link {link['name']!r}: nothing on it shows that it belongs to {owner} ({kind}, {alias}, MAC "
        f"{link['address']}); it was left alone. If it does: ip link set {link['name']} alias {naming.alias(owner)}",
        link["name"],
    )


def is_owners(name: str, owner: str, role: str) -> bool:
    """Whether the link of a name exists and belongs to an owner, with that role."""
    link = read(name)
    return link is not None and is_ours(link, {"owner": owner, "role": role})


def is_made_for(name: str, owner: str) -> bool:
    """Whether this process made the link of a name for an owner, or has seen it marked as the owner's; without a
    message to read it, in the normal case."""
    ifindex = _ifindex(name)
    return ifindex is not None and _seen_marked.get(ifindex) == owner


def is_on_own_link(name: str, owner: str) -> bool:
    """Whether a port of a name is on a link that is the owner's own."""
    link = read(name) if naming.is_link_name(name) else None
    return link is not None and _is_ports_device(link, owner, "")


def _is_ports_device(link: Mapping[str, Any], owner: str, address: str) -> bool:
    index = int(link["ifindex"])
    known = _seen_marked.get(index) == owner
    if not ownership.is_ports_device(seen(link), owner, address=address, known=known):
        return False
    remember(index, owner)
    return True


def refuse_foreign_device(name: str, owner: str, address: str, is_foreign: Callable[[str], bool]) -> None:
    """Refuse to make a device an owner's OVS port, unless it is its own or its guest's tap.

    A missing link, and one that this process made, need no message: these are the normal cases.

    :param address: the guest's MAC, as the caller claims.
    :param is_foreign: whether another VIF's interface has a MAC: then the MAC does not identify a tap.
    :raises Conflict: for the NIC of the host, a VPN's tap, an internal port, another VIF's device.
    """
    ifindex = _ifindex(name)
    if ifindex is None or _seen_marked.get(ifindex) == owner:
        return
    link = read(name)
    if link is None or is_guests_tap(link, owner, address, is_foreign):
        return
    if _is_ports_device(link, owner, naming.tap_address(address) if address else ""):
        return
    raise Conflict(
        f"refused to make device {name!r} a port of {owner}: it is a {link['kind'] or 'physical device'} (alias "
        f"{link['alias']!r}, MAC {link['address']}, master {link['master']}), not that VIF's own and no tap of its "
        "guest; it was left alone",
        name,
    )


def is_guests_tap(link: Mapping[str, Any], owner: str, address: str, is_foreign: Callable[[str], bool]) -> bool:
    """Whether a link is the tap of an owner's guest, by its name or by a MAC that only that guest has.

    :param address: the guest's MAC, as the caller claims; "" if unknown.
    :param is_foreign: as for ``refuse_foreign_device``.
    """
    if ownership.is_guests_tap(seen(link), owner, ""):
        return True
    return bool(address) and ownership.is_guests_tap(seen(link), owner, address) and not is_foreign(address)


def _ifindex(name: str) -> int | None:
    try:
        reply = socket().ioctl(_SIOCGIFINDEX, struct.pack("16sI20x", name.encode(), 0))
    except OSError as error:
        if error.errno == errno.ENODEV:
            return None
        raise LinkError(f"could not look for device {name!r}: {error.strerror}", name) from error
    return int(struct.unpack_from("16sI", reply)[1])
