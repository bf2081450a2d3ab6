"""Uplinks that would change what other programs use, or that cannot carry a network's frames. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vifplug.engine.plan import ownership
from vifplug.engine.plan.ownership import InUse
from vifplug.errors import Conflict, ResourceMissing
from vifplug.resources import kinds
from vifplug.resources.contract import Relation, Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Inventory, Observed


def among(resources: Iterable[Resource]) -> list[Link]:
    """The uplinks among resources."""
    return [link for link in kinds.links_in(resources) if link.is_uplink]


def refuse(desired: Sequence[Resource], recorded: Inventory, observed: Observed) -> None:
    """Refuse an uplink that would change what other programs use, or that cannot carry the network's frames.

    :param desired: of one VIF, resolved.
    :raises Conflict: naming what is in the way, and the remedy.
    :raises ResourceMissing: no device has the local address.
    """
    names = {item.name for item in desired}
    for uplink in among(desired):
        network = ownership.owner_in_words(uplink.owner)
        if uplink.master not in names:
            raise Conflict(
                f"bridge {uplink.master!r} of {network} was made by another program, and uplink {uplink.name!r} is not "
                f"on it; put it there (ip link set {uplink.name} master {uplink.master}), or leave out network.uplink",
                uplink.name,
            )
        if uplink.local_address:
            raise ResourceMissing(
                f"no device of this host has address {uplink.local_address}, from which {uplink.kind} {uplink.name!r} "
                f"of {network} is to send ([bridge] vxlan_local_ip, or local_ip of the uplink)",
                uplink.name,
            )
        _refuse_second(uplink, among(recorded.items))
        current = observed.links.get(uplink.name)
        if current is None or current.kind != uplink.kind:
            _refuse_same_numbers(uplink, observed)
        if current is not None and uplink.relation is Relation.CONFIGURED:
            _refuse_device(uplink, current, observed)
            _refuse_small(uplink, current, [item for item in kinds.links_in(desired) if item.name == uplink.master])


def refuse_several(requests: Iterable[Sequence[Resource]], others: InUse) -> None:
    """Refuse two uplinks of one network, because its bridge would forward between them; and one of two networks.

    :param requests: the desired resources of each VIF.
    :param others: what other VIFs use.
    :raises Conflict: naming both.
    """
    uplinks = [uplink for desired in requests for uplink in among(desired)]
    known = [item for items in others.resources.values() for item in items] if uplinks else []
    for uplink in uplinks:
        _refuse_second(uplink, [*among(known), *uplinks])
        taken = (item.owner for item in among(known) if item.name == uplink.name and item.owner != uplink.owner)
        for owner in taken:
            raise Conflict(
                f"device {uplink.name!r} is the uplink of {ownership.owner_in_words(owner)}, and cannot be that of "
                f"{ownership.owner_in_words(uplink.owner)}",
                uplink.name,
            )


def _refuse_second(uplink: Link, others: Iterable[Link]) -> None:
    other = next((other for other in others if other.owner == uplink.owner and other.name != uplink.name), None)
    if other is not None:
        raise Conflict(
            f"{ownership.owner_in_words(uplink.owner)} has uplink {other.name!r}, and {uplink.name!r} is asked for; "
            "unplug all VIFs of the network first",
            uplink.name,
        )


def _refuse_same_numbers(uplink: Link, observed: Observed) -> None:
    """Refuse a link that the kernel would not make, because another one has its numbers under another name."""
    for other in observed.links.values():
        pairs = [(name, getattr(uplink, name), getattr(other, name, None)) for name in uplink.unique]
        is_same = other.kind == uplink.kind and all(None in (asked, has) or asked == has for _n, asked, has in pairs)
        if uplink.unique and is_same and other.name != uplink.name:
            numbers = ", ".join(f"{name} {asked}" for name, asked, _has in pairs if asked is not None)
            raise Conflict(
                f"{uplink.kind} {uplink.name!r} of {ownership.owner_in_words(uplink.owner)} cannot be made: {numbers} "
                f"is used by device {other.name!r}, held by {ownership.holder(other)}",
                uplink.name,
            )


def _refuse_device(uplink: Link, current: Link, observed: Observed) -> None:
    """Refuse to put a device of the host on the bridge if that would break what the host uses it for."""
    if current.master == uplink.master:
        return
    network = ownership.owner_in_words(uplink.owner)
    if current.master is not None:
        raise Conflict(
            f"device {uplink.name!r} for {network} is on {current.master!r}; it was left alone: ip link set "
            f"{uplink.name} nomaster, or give another device",
            uplink.name,
        )
    held = [f"address {address}" for address in observed.addresses.get(uplink.name, ())]
    held += ["a default route" if r == "default" else f"a route to {r}" for r in observed.routes.get(uplink.name, ())]
    if held and not uplink.keeps_addresses:
        option = "" if uplink.keeps_addresses is None else f", or list {uplink.name} in [bridge] addressed_devices"
        raise Conflict(
            f"device {uplink.name!r} for {network} has {held[0]}, which would no longer work on a bridge, and vifplug "
            f"moves no addresses and routes; remove it, or give another device{option}",
            uplink.name,
        )


def _refuse_small(uplink: Link, current: Link, bridges: Iterable[Link]) -> None:
    for bridge in bridges:
        if current.mtu is not None and current.mtu < (bridge.mtu or 0):
            raise Conflict(
                f"device {uplink.name!r} has MTU {current.mtu}, and {ownership.owner_in_words(uplink.owner)} is asked "
                f"for with {bridge.mtu}; ip link set {uplink.name} mtu {bridge.mtu}, or plug with a smaller MTU",
                uplink.name,
            )
