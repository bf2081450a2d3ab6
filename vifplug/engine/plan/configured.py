"""What is another program's and only configured, or only referenced. Pure.

A configured resource is set, and what was there before is remembered in its record (``former``): with its VIF, or when
the plug fails, that is put back, unless another program has changed it since.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from vifplug.engine.plan import actions
from vifplug.engine.plan.actions import Action, Change, ConfigureLink
from vifplug.errors import Conflict, InputError, ResourceMissing
from vifplug.resources import kinds, ownership
from vifplug.resources.contract import Relation, Resource, Teardown
from vifplug.resources.link import Link
from vifplug.resources.observed import Inventory, Observed

Former = Mapping[str, Mapping[str, Any]]
"""By the name of a resource that VIFs share: what the record of another VIF remembers of it."""


def is_configured(item: Resource) -> bool:
    """Whether its former values are put back with its VIF."""
    return item.teardown is Teardown.RESTORED


def remembering(item: Resource, observed: Observed, recorded: Inventory, former: Former) -> Resource:
    """A desired resource with what was there before it was configured; any other as it is.

    What a record remembers holds for as long as there is one: what is there now is vifplug's own doing.
    """
    if item.relation is not Relation.CONFIGURED or not isinstance(item, Link) or item.name not in observed.links:
        return item
    found = observed.links[item.name]
    known = recorded.links.get(item.name)
    before = {**former.get(item.name, {}), **(known.former if known is not None else {})}
    values = {name: before[name] if name in before else getattr(found, name) for name in _asked_for(item)}
    # What could not be read cannot be put back.
    return item.replaced(former={name: value for name, value in values.items() if value is not None})


def _asked_for(link: Link) -> list[str]:
    return [name for name in link.attributes.restored if getattr(link, name, None) is not None]


def with_more(item: Resource, other: Resource | None) -> Resource:
    """A recorded resource that is configured, with what an interrupted request set and remembered of more; any other as
    it is."""
    if not isinstance(item, Link) or not is_configured(item) or not isinstance(other, type(item)):
        return item
    more = {name: getattr(other, name) for name in other.former if name not in item.former}
    return item.replaced(former={**other.former, **item.former}, **more)


def refuse_unusable(item: Resource, observed: Observed, known: Link | None) -> None:
    """Refuse a VIF whose configured or referenced device is not there, is one that vifplug made, or is a guest's.

    :param known: as the VIF's record has it.
    :raises InputError: a part of a link is not there, and the VIF has no record of it: the request names a wrong one.
    :raises ResourceMissing: any other is not there.
    :raises Conflict: when what is to be configured is a VIF's own, or is open in a guest.
    """
    found = observed.links.get(item.name)
    if found is None and item.name in observed.absent:
        text = f"VIF {item.owner} needs {item.kind} {item.name}: {observed.absent[item.name]}"
        raise InputError(text, item.name) if known is None else ResourceMissing(text, item.name)
    if found is None:
        raise ResourceMissing(
            f"no device {item.name!r} for VIF {item.owner}; vifplug does not make it: see why it is missing, and retry",
            item.name,
        )
    if item.relation is Relation.CONFIGURED and found.owner:
        raise Conflict(
            f"device {item.name!r} is to be configured for {item.owner}, and is one that vifplug made", item.name
        )
    if isinstance(item, Link):
        _refuse_in_use(item, found, known)


def _refuse_in_use(item: Link, found: Link, known: Link | None) -> None:
    """Refuse to change what a guest has open, unless the VIF had it before: the guest is its own, then."""
    if known is None and found.in_use and _differing(item, found):
        raise Conflict(
            f"{item.kind} {item.name!r} for VIF {item.owner} is in use by a guest ({found.in_use}); it was left alone: "
            "end that guest, or give another one",
            item.name,
        )


def _differing(link: Link, found: Link) -> list[Change]:
    pairs = ((name, getattr(found, name), getattr(link, name)) for name in _asked_for(link))
    return [(name, is_, wanted) for name, is_, wanted in pairs if is_ != wanted]


def refuse_missing_lower(link: Link, desired: Iterable[Resource], observed: Observed) -> None:
    """Refuse to make a link on a device that is not there, or that cannot carry it.

    :raises ResourceMissing: naming the device.
    :raises Conflict: when that is down, or has a smaller MTU.
    """
    if link.lower is None or any(other.name == link.lower for other in kinds.links_in(desired)):
        return
    found, wanted = observed.links.get(link.lower), f"{link.kind} {link.name!r} of {link.owner}"
    if found is None:
        raise ResourceMissing(
            f"no device {link.lower!r} for {wanted}; vifplug does not make it: see why it is missing, and retry",
            link.lower,
        )
    if found.mtu is not None and found.mtu < (link.mtu or 0):
        raise Conflict(
            f"device {link.lower!r} has MTU {found.mtu}, and {wanted} is asked for with {link.mtu}; ip link set "
            f"{link.lower} mtu {link.mtu}, or plug with a smaller MTU",
            link.lower,
        )
    if found.up is False:  # the kernel refuses to set a VLAN device up then (vlan_dev_open)
        raise Conflict(f"device {link.lower!r} for {wanted} is down; ip link set {link.lower} up", link.lower)


def refuse_unlisted(desired: Iterable[Resource], observed: Observed, patterns: Collection[str]) -> None:
    """Refuse another program's device that the configuration lists for no VIF.

    :raises InputError: naming it, and the option.
    """
    desired = list(desired)
    made = {link.name for link in kinds.links_in(desired) if link.relation is Relation.OWNED}
    for link in kinds.links_in(desired):
        name = link.lower if link.relation is Relation.OWNED else link.name
        if name is None or name in made:
            continue
        found = observed.links.get(name)
        if not ownership.is_listed(found.listed_as if found is not None else (name,), patterns):
            raise InputError(
                f"{link.option} does not list device {name!r}, which {link.owner} would use; add it there, and restart "
                "vifplugd",
                name,
            )


def changes(link: Link, observed: Observed, known: Link | None) -> list[Action]:
    """What makes a configured link as desired, and puts back what is asked for no longer."""
    wanted = _differing(link, observed.links[link.name])
    given_up = _put_back(known, observed, set(_asked_for(link)))[0] if known is not None else []
    return [*([ConfigureLink(link, tuple(wanted))] if wanted else []), *given_up]


def restoration(built: Iterable[Resource], observed: Observed) -> tuple[list[Action], list[str]]:
    """What puts configured resources back; and, in words, what another program has changed since."""
    going: list[Action] = []
    left: list[str] = []
    for link in kinds.links_in(built):
        if is_configured(link):
            back, words = _put_back(link, observed, ())
            going += back
            left += words
    return going, left


def left_behind(recorded: Inventory, desired: Iterable[Resource], observed: Observed) -> list[str]:
    """What a VIF configured and asks for no longer, and another program has changed since, in words.

    :param observed: once the rest was put back.
    """
    wanted = {link.name: link for link in kinds.links_in(desired)}
    words: list[str] = []
    for link in recorded.links.values():
        if is_configured(link) and not (link.shared and link.name not in wanted):
            kept = _asked_for(wanted[link.name]) if link.name in wanted else ()
            words += _put_back(link, observed, kept)[1]
    return words


def _put_back(link: Link, observed: Observed, kept: Iterable[str]) -> tuple[list[Action], list[str]]:
    set_by_us = [(name, before, getattr(link, name)) for name, before in link.former.items() if name not in set(kept)]
    return put_back(link, set_by_us, observed)


def put_back(link: Link, was_set: Sequence[Change], observed: Observed) -> tuple[list[Action], list[str]]:
    """What undoes changes of a link, as far as it still has the values that they gave it.

    :param was_set: attribute, before, and as vifplug set it.
    :returns: the action, if there is anything to do; and what was left, in words.
    """
    found = observed.links.get(link.name)
    if found is None:
        return [], []
    back = tuple((name, ours, before) for name, before, ours in was_set if getattr(found, name) == ours != before)
    left = [
        f"{name} of {link.kind} {link.name!r} was left: it is {actions.in_words(getattr(found, name))}, neither what "
        f"vifplug set ({actions.in_words(ours)}) nor what was there before ({actions.in_words(before)}), so another "
        "program has changed it since"
        for name, before, ours in was_set
        if getattr(found, name) not in (ours, before)
    ]
    return ([ConfigureLink(link, back, puts_back=True)] if back else []), left
