"""The other programs' links that may be configured: fixed at the helper's start, never taken from a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vifplug.errors import LinkError, PermissionDenied
from vifplug.netlink import parts
from vifplug.privileged import arguments, ownership
from vifplug.privileged.links import attributes
from vifplug.resources import ownership as rule
from vifplug.resources.contract import Relation
from vifplug.resources.link import Link

_devices: list[str] = []


def fix_devices(patterns: Sequence[str]) -> None:
    """Allow the configuration of these devices: names or globs. Called once, before the first request."""
    _devices[:] = patterns


def is_listed(name: str) -> bool:
    """Whether the configuration lists a device."""
    return rule.is_listed((name,), _devices)


def values_of(operation: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The link that an operation configures, and its new values. A part of a link has its ``part``.

    Values to restore are left out if the link's present value is not the expected one: another program has changed it
    since.

    :raises PermissionDenied: for a device that the configuration does not list or that is a VIF's own, and for an
        attribute that its kind does not have.
    :raises LinkError: it does not exist.
    """
    name, part = arguments.link_there(operation["name"]), arguments.part(operation["role"])
    arguments.owner(operation["owner"])
    if part.kind.relation is not Relation.CONFIGURED or part.kind.kind != operation["kind"]:
        raise _unlisted(name, part.kind)
    link = _listed_link(name, part.kind)
    # What stops frames (``resources.passage``) is only corrected on our own links.
    attributes.refuse_unknown(part.kind.attributes, (*operation["values"], *operation["expected"]))
    if "alias" in operation["values"]:
        raise PermissionDenied(f"refused to mark device {name!r}: it is another program's", name)
    if ownership.owner_by_mark(link) or ownership.was_ours(link):
        raise PermissionDenied(f"refused to configure device {name!r}: it is a VIF's own", name)
    expected = operation["expected"]
    changed = {key for key in expected if link.get(key) != expected[key]}
    return link, {key: value for key, value in operation["values"].items() if key not in changed}


def _listed_link(name: str, kind: type[Link]) -> dict[str, Any]:
    """A device that the configuration lists, as it was read; a part of a link may also be listed by that link."""
    if kind.entries is not None:
        part = parts.part(ownership.socket(), name)
        if part.kind is not kind or not rule.is_listed((name, part.function.physical), _devices):
            raise _unlisted(name, kind)
        return {**part.decoded(), "part": part}
    if not is_listed(name):
        raise _unlisted(name, kind)
    link = ownership.read(name)
    if link is None:
        raise LinkError(f"could not configure {name!r}: no such device", name)
    return link


def _unlisted(name: str, kind: type[Link]) -> PermissionDenied:
    return PermissionDenied(f"refused to configure device {name!r}: the configuration lists no such {kind.kind}", name)
