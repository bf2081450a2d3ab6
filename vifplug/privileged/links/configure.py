"""The other programs' links that may be configured: fixed at the helper's start, never taken from a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vifplug import naming
from vifplug.errors import LinkError, PermissionDenied
from vifplug.netlink import addresses, parts, sysfs
from vifplug.privileged import arguments, ownership
from vifplug.privileged.links import attributes
from vifplug.resources import ownership as rule
from vifplug.resources.contract import Relation
from vifplug.resources.link import Link

_devices: list[str] = []
_REPRESENTOR = "representor"
"""The kind of a virtual function's representor."""


def fix_devices(patterns: Sequence[str]) -> None:
    """Allow the configuration of these devices: names or globs. Called once, before the first request."""
    _devices[:] = patterns


def may_be_lower(name: str, link: Mapping[str, Any], kind: type[Link]) -> bool:
    """Whether a link of a kind may be made on a device: the configuration lists the device or, for some kinds, an
    address of it."""
    if rule.is_listed((name,), _devices):
        return True
    if not kind.has_local_address or not naming.lists_addresses(_devices):
        return False
    held = addresses.addresses(ownership.socket()).get(int(link["ifindex"]), ())
    return rule.is_listed([naming.listed_address(address) for address in held], _devices)


def may_take_over(bridge: str) -> bool:
    """Whether the configuration lists another program's bridge, so that the taps on it may be filtered, and set."""
    return rule.is_listed((naming.listed_bridge(bridge),), _devices)


def values_of(
    operation: Mapping[str, Any], guests_tap: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The link that an operation configures, and its new values. A part of a link has its ``part``.

    Values to restore are left out if the link's present value is not the expected one: another program has changed it
    since.

    :param guests_tap: the guest's tap that it is about, identified; None for any other device.
    :raises PermissionDenied: for a device that the configuration does not list or that is a VIF's own, and for an
        attribute that its kind does not have.
    :raises LinkError: it does not exist.
    """
    name, part = arguments.link_there(operation["name"]), arguments.part(operation["role"])
    arguments.owner(operation["owner"])
    if part.kind.relation is not Relation.CONFIGURED or part.kind.kind != operation["kind"]:
        raise _unlisted(name, part.kind.kind)
    link = guests_tap if part.kind.is_guests else _listed_link(name, part.kind, operation.get("netdev"))
    if link is None:
        raise LinkError(f"could not configure {name!r}: no such device", name)
    # What stops frames (``resources.passage``) is only corrected on our own links.
    attributes.refuse_unknown(part.kind.attributes, (*operation["values"], *operation["expected"]))
    others = sorted(operation["values"].keys() - part.kind.settable) if part.kind.settable else []
    if others:
        raise PermissionDenied(f"refused to set {', '.join(others)} of device {name!r}: it is another program's", name)
    if operation["values"].get("master") is not None and not part.kind.is_guests:
        _refuse_member(link, operation["owner"])
    if "alias" in operation["values"]:
        raise PermissionDenied(f"refused to mark device {name!r}: it is another program's", name)
    if ownership.owner_by_mark(link) or ownership.was_ours(link):
        raise PermissionDenied(f"refused to configure device {name!r}: it is a VIF's own", name)
    expected = operation["expected"]
    changed = {key for key in expected if link.get(key) != expected[key]}
    return link, {key: value for key, value in operation["values"].items() if key not in changed}


def _refuse_member(link: Mapping[str, Any], owner: str) -> None:
    """Refuse to take a device off another program's bridge or bond.

    :raises PermissionDenied: it is on one.
    """
    if link["master"] is None:
        return
    master = ownership.read(link["master"])
    if master is not None and ownership.owner_by_mark(master) != owner:
        raise PermissionDenied(
            f"refused to put device {link['name']!r} on a bridge: it is on {link['master']!r}, which is another's",
            link["name"],
        )


def _listed_link(name: str, kind: type[Link], device: Any) -> dict[str, Any]:
    """A device that the configuration lists, as it was read; a virtual function may also be listed by its physical
    one."""
    if kind.entries is not None:
        part = parts.part(ownership.socket(), name)
        if part.kind is not kind or not rule.is_listed((name, part.function.physical), _devices):
            raise _unlisted(name, kind.kind)
        return {**part.decoded(), "part": part}
    if kind.is_function:
        return listed_representor(name, device)
    link = ownership.read(name)
    # Another program's device on a listed one may be used like it.
    names = [name, *([link["lower"]] if link is not None and link.get("lower") else [])]
    if not rule.is_listed(names, _devices):
        raise _unlisted(name, kind.kind)
    if link is None:
        raise LinkError(f"could not configure {name!r}: no such device", name)
    return link


def listed_representor(function: Any, device: Any) -> dict[str, Any]:
    """The representor of a virtual function that the configuration lists, which is the device of that name.

    :raises PermissionDenied: for any other function.
    :raises ResourceMissing: there is no such function, or the device is not its representor.
    :raises LinkError: when the device is not there.
    """
    address = arguments.pci_address(function)
    refuse_unlisted(address, sysfs.function(address).physical)
    return parts.representor(ownership.socket(), address, _REPRESENTOR, arguments.link_there(device))


def refuse_unlisted(function: str, physical: str) -> None:
    """Refuse a virtual function that the configuration lists neither by its own address nor by its physical function's.

    :raises PermissionDenied: for such a function.
    """
    if not rule.is_listed((function, physical), _devices):
        raise _unlisted(function, _REPRESENTOR)


def _unlisted(name: str, kind: str) -> PermissionDenied:
    return PermissionDenied(f"refused to configure device {name!r}: the configuration lists no such {kind}", name)
