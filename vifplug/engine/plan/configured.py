"""Another program's resources that a VIF configures or references. Pure.

vifplug sets values of a configured resource and records the former ones (``former``). It restores them when the VIF is
unplugged or the plug fails, unless another program has changed them since.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeGuard

from vifplug import naming
from vifplug.engine.plan import actions, diff
from vifplug.engine.plan.actions import Action, Change, ConfigureLink
from vifplug.engine.plan.ownership import InUse, owner_in_words
from vifplug.errors import Conflict, InputError, ResourceMissing
from vifplug.resources import kinds, ownership
from vifplug.resources.contract import Relation, Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.schema import Compared, Form

_IS_THERE = os.strerror(errno.EEXIST)
Shared = Mapping[str, Link]
"""Configured devices that VIFs share, by name, as the store keeps them: with the values that all these VIFs ask for,
and the values from before the first of them (``former``)."""


@dataclass(frozen=True, slots=True)
class FreeDevice(Action):
    """Take a representor out of Open vSwitch's kernel datapath, which has it unknown to ovs-vswitchd."""

    verb: ClassVar[str] = "free-device"
    link: Link

    @property
    def subject(self) -> str:
        """The PCI address of its function."""
        return self.link.name

    def __str__(self) -> str:
        return f"free {self.link.netdev} from the kernel's datapath, which has it unknown to ovs-vswitchd"

    def inverse(self) -> None:
        """None: ovs-vswitchd knows nothing of that port."""
        return


def is_configured(item: Resource) -> TypeGuard[Link]:
    """Whether its former values are restored when the VIF is unplugged. Only links are configured."""
    return item.relation is Relation.CONFIGURED and isinstance(item, Link)


def remembering(item: Resource, observed: Observed, recorded: Inventory) -> Resource:
    """A desired resource with its values from before it was configured. Others and shared ones are returned unchanged.

    Values in a record take precedence, because vifplug set the present ones.
    """
    if not is_configured(item) or item.shared or not _is_looked_at(item, observed.links.get(item.name)):
        return item
    known = recorded.links.get(item.name)
    return item.replaced(former=_former(item, observed.links[item.name], known.former if known is not None else {}))


def _is_looked_at(item: Link, current: Link | None) -> bool:
    """Whether it is there, and was looked at as what it is to be: one function can be of two kinds."""
    return current is not None and (current.kind == item.kind or not item.is_function)


def _former(item: Link, current: Link, before: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: before[name] if name in before else getattr(current, name) for name in _asked_for(item)}
    # A value that could not be read cannot be restored. No master is a value.
    is_link = {name: item.attributes[name].form is Form.LINK for name in values}
    return {name: value for name, value in values.items() if value is not None or is_link[name]}


def shared_by(
    requests: Iterable[Iterable[Resource]], observed: Observed, stored: Shared, others: InUse
) -> dict[str, Link]:
    """The shared devices that these requests configure, as the store is to keep them.

    The values depend on all VIFs' requests, not on the order of plugs: for an attribute that is compared by "at least"
    the largest value applies, for others the first.

    :param others: what other VIFs use.
    :raises Conflict: a VIF asks for another value than an earlier one.
    """
    together: dict[str, Link] = {}
    for desired in requests:
        for link in filter(is_configured, kinds.shared_in(desired)):
            current, earlier = observed.links.get(link.name), together.get(link.name)
            known = stored.get(link.name)
            known = known if known is not None and known.owner == link.owner else None
            if current is None:
                continue
            if earlier is not None and earlier.owner != link.owner:
                earlier = None  # the planner refuses that, naming both
            if earlier is None and link in others:
                earlier = known
            before = {**(known.former if known is not None else {}), **(earlier.former if earlier is not None else {})}
            former = {**before, **_former(link, current, before)}
            together[link.name] = _joined(link, earlier).replaced(former=former)
    return together


def settled(shared: Shared) -> dict[str, Link]:
    """The same after a plan is applied and values that no request asks for any longer are restored."""
    return {
        name: link.replaced(former={key: value for key, value in link.former.items() if getattr(link, key) is not None})
        for name, link in shared.items()
    }


def _joined(link: Link, earlier: Link | None) -> Link:
    """A device with the values that earlier VIFs and this one ask for."""
    if earlier is None:
        return link
    values: dict[str, Any] = {}
    for name in _asked_for(link):
        before, wanted = getattr(earlier, name), getattr(link, name)
        if before is not None and before != wanted:
            if link.attributes[name].compared is not Compared.AT_LEAST_IF_SHARED:
                raise Conflict(
                    f"{link.kind} {link.name!r} has {name} {actions.in_words(before)} for VIFs of "
                    f"{owner_in_words(link.owner)}, and {actions.in_words(wanted)} is asked for; the first holds while "
                    "one is plugged",
                    link.name,
                )
            wanted = max(before, wanted)
        values[name] = wanted
    return earlier.replaced(**values)


def with_shared(items: Iterable[Resource], stored: Shared, others: InUse) -> tuple[Resource, ...]:
    """Recorded resources, with the stored values of shared configured ones that no other VIF uses. While other VIFs use
    them, nothing is restored."""
    return tuple(
        stored.get(item.name, item) if is_configured(item) and item.shared and item not in others else item
        for item in items
    )


def _asked_for(link: Link) -> list[str]:
    return [name for name in link.attributes.restored if getattr(link, name, None) is not None]


def with_more(item: Resource, other: Resource | None) -> Resource:
    """A recorded configured resource, with what an interrupted request also set and recorded; others are returned
    unchanged."""
    if not is_configured(item) or not isinstance(other, type(item)):
        return item
    more = {name: getattr(other, name) for name in other.former if name not in item.former}
    return item.replaced(former={**other.former, **item.former}, **more)


def refuse_unusable(item: Resource, observed: Observed, known: Link | None) -> None:
    """Refuse a configured or referenced device that is missing, made by vifplug, or in use by a guest.

    :param known: as the VIF's record has it.
    :raises InputError: a part of a link is missing, or lacks something, and the VIF has no record of it: the request
        names a wrong one.
    :raises ResourceMissing: any other device is missing.
    :raises Conflict: a VIF owns the device to be configured, a guest has it open, or it cannot be what the VIF needs.
    """
    current = observed.links.get(item.name)
    if current is None and item.name in observed.absent:
        text = f"{owner_in_words(item.owner)} needs {item.kind} {item.name}: {observed.absent[item.name]}"
        raise InputError(text, item.name) if known is None else ResourceMissing(text, item.name)
    if current is None:
        raise ResourceMissing(
            f"no device {item.name!r} for {owner_in_words(item.owner)}; vifplug does not make it: see why it is "
            "missing",
            item.name,
        )
    if is_configured(item) and current.owner:
        raise Conflict(
            f"device {item.name!r} is to be configured for {owner_in_words(item.owner)}, and is one that vifplug made",
            item.name,
        )
    if is_configured(item) and not _is_looked_at(item, current):
        raise Conflict(
            f"device {item.name!r} is a {current.kind} for another VIF, and {owner_in_words(item.owner)} asks for it "
            f"as a {item.kind}; give each VIF a function of its own",
            item.name,
        )
    if is_configured(item):
        lack = item.lack(current)
        if lack:
            text = f"{owner_in_words(item.owner)} cannot be plugged: {lack}"
            raise InputError(text, item.name) if known is None else ResourceMissing(text, item.name)
        _refuse_in_use(item, current, known)
        if fault := current.unfit_for(item):
            raise Conflict(f"{item.kind} {item.name!r} for {owner_in_words(item.owner)} {fault}", item.name)


def _refuse_in_use(item: Link, current: Link, known: Link | None) -> None:
    """Refuse to change what a guest has open, unless the VIF is recorded with it: then the guest is the VIF's own."""
    if known is None and current.in_use and _differing(item, current):
        raise Conflict(
            f"{item.kind} {item.name!r} for {owner_in_words(item.owner)} is in use by a guest ({current.in_use}); it "
            "was left alone: end that guest, or give another one",
            item.name,
        )


def _differing(link: Link, current: Link) -> list[Change]:
    return [
        (name, getattr(current, name), getattr(link, name))
        for name in _asked_for(link)
        if getattr(current, name) != getattr(link, name)
        and not diff.is_enough(link, name, getattr(current, name), getattr(link, name))
    ]


def refuse_missing_lower(link: Link, desired: Iterable[Resource], observed: Observed) -> None:
    """Refuse to make a link on a device that is missing or cannot carry it.

    :raises ResourceMissing: naming the device.
    :raises Conflict: the device is down, or its MTU is too small.
    """
    if link.lower is None or any(other.name == link.lower for other in kinds.links_in(desired)):
        return
    lower, wanted = observed.links.get(link.lower), f"{link.kind} {link.name!r} of {owner_in_words(link.owner)}"
    if lower is None:
        raise ResourceMissing(
            f"no device {link.lower!r} for {wanted}; vifplug does not make it: see why it is missing",
            link.lower,
        )
    needed = (link.mtu or 0) + link.overhead
    if lower.mtu is not None and lower.mtu < needed:
        more = f", which needs {needed} there" if link.overhead else ""
        most = f"at most {lower.mtu - link.overhead}" if link.overhead else "a smaller MTU"
        raise Conflict(
            f"device {link.lower!r} has MTU {lower.mtu}, and {wanted} is asked for with {link.mtu}{more}; ip link set "
            f"{link.lower} mtu {needed}, or plug with {most}",
            link.lower,
        )
    if lower.up is False:  # the kernel refuses to set a VLAN device up then (vlan_dev_open)
        raise Conflict(f"device {link.lower!r} for {wanted} is down; ip link set {link.lower} up", link.lower)


def refuse_unlisted(desired: Iterable[Resource], observed: Observed, patterns: Collection[str]) -> None:
    """Refuse another program's device that the configuration does not list.

    :raises InputError: naming the device and the option.
    """
    desired = list(desired)
    made = {link.name for link in kinds.links_in(desired) if link.relation is Relation.OWNED}
    for link in kinds.links_in(desired):
        if link.is_guests:
            continue  # it is identified by ``conflicts``
        name = link.lower if link.relation is Relation.OWNED else link.name
        if name is None or name in made or name in observed.absent:  # the reason for the absence is reported instead
            continue
        device = observed.links.get(name)
        names = list(device.listed_as if device is not None and link.relation is not Relation.OWNED else (name,))
        names += map(naming.listed_address, observed.addresses.get(name, ()) if link.has_local_address else ())
        if not ownership.is_listed(names, patterns):
            raise InputError(
                f"{link.option} does not list device {name!r}, which {owner_in_words(link.owner)} would use; add it "
                "there, and restart vifplugd",
                name,
            )


def is_stuck(link: Link, observed: Observed) -> bool:
    """Whether Open vSwitch's kernel datapath has a representor that ovs-vswitchd cannot add to it any more.

    It reports no more than "File exists" then. Either the device was renamed, and no row has its present name; or the
    driver deleted it and made it again, and the row remains in error: sometimes ovs-vswitchd 3.1 has then added
    the new device to the datapath and then lost it. It never recovers by itself.
    """
    device = observed.links.get(link.netdev or "")
    if device is None or device.master != ownership.OVS_MASTER:
        return False
    port = observed.ports.get(device.name)
    return port is None or (port.error is not None and _IS_THERE in port.error)


def changes(link: Link, observed: Observed, known: Link | None) -> list[Action]:
    """The actions that make a configured link as desired, and restore values that are no longer asked for."""
    wanted = _differing(link, observed.links[link.name])
    given_up = _put_back(known, observed, set(_asked_for(link)))[0] if known is not None else []
    return [*([ConfigureLink(link, tuple(wanted))] if wanted else []), *given_up]


def restoration(built: Iterable[Resource], observed: Observed) -> tuple[list[Action], list[str]]:
    """The actions that restore configured resources; and what another program has changed since, as text."""
    going: list[Action] = []
    left: list[str] = []
    for link in kinds.links_in(built):
        if is_configured(link):
            back, words = _put_back(link, observed, ())
            current = observed.links.get(link.name)
            if current is not None and is_stuck(now := link.at(current), observed):
                going.append(FreeDevice(now))
            going += back
            left += words
    return going, left


def left_behind(recorded: Inventory, desired: Iterable[Resource], observed: Observed) -> list[str]:
    """Values that a VIF configured and no longer asks for, and that another program has changed since; as text.

    :param observed: after the other values were restored.
    """
    wanted = {link.name: link for link in kinds.links_in(desired)}
    words: list[str] = []
    for link in recorded.links.values():
        if is_configured(link) and not (link.shared and link.name not in wanted):
            kept = _asked_for(wanted[link.name]) if link.name in wanted else ()
            words += _put_back(link, observed, kept)[1]
    return words


def _put_back(link: Link, observed: Observed, kept: Iterable[str]) -> tuple[list[Action], list[str]]:
    set_by_us = [
        (name, before, getattr(link, name))
        for name, before in link.former.items()
        if name not in set(kept) and getattr(link, name) is not None
    ]
    return put_back(link, set_by_us, observed)


def put_back(link: Link, was_set: Sequence[Change], observed: Observed) -> tuple[list[Action], list[str]]:
    """The action that undoes changes of a link, for values that are still as vifplug set them.

    :param was_set: attribute, value before, and the value that vifplug set.
    :returns: the action, if there is anything to do; and the values that were left, as text.
    """
    current = observed.links.get(link.name)
    if current is None or not _is_looked_at(link, current):
        return [], []
    back = tuple((name, ours, before) for name, before, ours in was_set if getattr(current, name) == ours != before)
    left = [
        f"{name} of {link.kind} {link.name!r} was left: it is {actions.in_words(getattr(current, name))}, neither what "
        f"vifplug set ({actions.in_words(ours)}) nor what was there before ({actions.in_words(before)}), so another "
        "program has changed it since"
        for name, before, ours in was_set
        if getattr(current, name) not in (ours, before)
    ]
    return ([ConfigureLink(link.at(current), back, puts_back=True)] if back else []), left
