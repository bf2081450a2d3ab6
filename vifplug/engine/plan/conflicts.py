"""What a plan refuses: names and identities that another VIF or another program holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from vifplug import naming
from vifplug.engine import own_vlan
from vifplug.engine.plan import configured, diff, ownership
from vifplug.engine.plan.nftables import filters
from vifplug.errors import Conflict
from vifplug.resources import kinds
from vifplug.resources.contract import Relation, Resource
from vifplug.resources.link import Link
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.ovs_bridge import DATAPATH_USERSPACE, OvsBridge
from vifplug.resources.ovs_port import OvsPort
from vifplug.resources.ownership import OVS_MASTER

_OF_OVS = "openvswitch"
"""The kernel's name of the kind of an internal port of OVS's kernel datapath."""


def refuse_shared_names(requests: Iterable[Iterable[Resource]]) -> None:
    """Refuse requests in which two owners have one name, or one owner two devices of one name.

    :raises Conflict: naming both.
    """
    holders: dict[str, Resource] = {}
    for desired in requests:
        for resource in (*kinds.links_in(desired), *kinds.ovs_bridges_in(desired)):
            if resource.relation is Relation.REFERENCED:
                continue
            other = holders.setdefault(resource.name, resource)
            if other.owner != resource.owner:
                raise Conflict(
                    f"{ownership.owner_in_words(other.owner)} and {ownership.owner_in_words(resource.owner)} of one "
                    f"request would both have a device {resource.name!r}; give one of them explicit names",
                    resource.name,
                )
            for link in kinds.links_in(kinds.shared_in((resource,))):
                _refuse_another(link, other)
                own_vlan.refuse_mixed(link, (other,))


def to_be_made(desired: Iterable[Resource], observed: Observed) -> list[Link]:
    """Missing shared links of kinds whose values VIFs must agree on, or links that lack these values."""
    return [
        link
        for link in kinds.links_in(desired)
        if link.shared and link.relation is Relation.OWNED and link.attributes.agreed
        if (current := observed.links.get(link.name)) is None or current.kind != link.kind or _is_changed(link, current)
    ]


def _is_changed(link: Link, current: Link) -> bool:
    """Whether a shared link has other values than a request, of those that other VIFs' requests matter for."""
    pairs = [(getattr(link, name), getattr(current, name)) for name in link.attributes.agreed]
    if any(asked is not None and asked != has for asked, has in pairs) or link.peers != current.peers:
        return True
    return link.is_uplink and link.master != current.master


def refuse_to_remake_used(
    desired: Iterable[Resource], recorded: Inventory, observed: Observed, shared_with: ownership.InUse
) -> None:
    """Refuse to make a shared link with other values than other VIFs need: their repairs would recreate it, without
    end.

    A link that another program recreated with other values is no conflict: all its VIFs ask for the same values.

    :raises Conflict: naming the link, its values and the values of the request.
    """
    desired = list(desired)
    for link in own_vlan.to_be_turned(desired, observed):
        own_vlan.refuse_mixed(link, shared_with.resources.get((link.owner, link.name), ()))
    for link in to_be_made(desired, observed):
        for other in shared_with.resources.get((link.owner, link.name), ()):
            _refuse_another(link, other)
        known, current = recorded.links.get(link.name), observed.links.get(link.name)
        # What a damaged record's VIF asked for is unknown; what this VIF already has was accepted then.
        is_recorded = known is not None and known.kind == link.kind and not diff.is_to_be_remade(link, known)
        if link.owner in shared_with.owners and current is not None and not is_recorded:
            _refuse_another(link, current)


def _refuse_another(link: Link, other: Resource) -> None:
    names = link.attributes.agreed if other.kind == link.kind else ("kind",)
    pairs = [(name, getattr(other, name), getattr(link, name)) for name in names]
    differing = [(name, has, asked) for name, has, asked in pairs if None not in (has, asked) and has != asked]
    is_uplink = other.kind != link.kind or not isinstance(other, Link) or other.is_uplink == link.is_uplink
    if not is_uplink:
        differing = [("master", getattr(other, "master", None) or "none", link.master or "none")]
    if differing:
        has = ", ".join(f"{name} {value}" for name, value, _asked in differing)
        asked = ", ".join(f"{name} {value}" for name, _has, value in differing)
        raise Conflict(
            f"{link.kind} {link.name!r} has {has} for VIFs of {ownership.owner_in_words(link.owner)}, and {asked} is "
            "asked for; give one of them another name",
            link.name,
        )


def refuse_foreign(desired: Iterable[Resource], recorded: Inventory, observed: Observed) -> None:
    """Refuse names that another VIF or another program holds.

    :raises Conflict: naming the holder, which is not changed.
    """
    links, ports, desired = recorded.links, recorded.ports, list(desired)
    for resource in desired:
        if isinstance(resource, OvsPort):
            _refuse_kernel_datapath(resource, observed)
            own_vlan.refuse_wired(resource, ports.get(resource.name), observed)
            _refuse_another_maker(resource, ports.get(resource.name))
            _refuse_foreign_port(resource, ports.get(resource.name), observed)
            if resource.waits_for_device:
                _refuse_foreign_device(resource, ports.get(resource.name), observed)
            if resource.function and resource.has_device:
                _refuse_member(resource, observed)
            continue
        if isinstance(resource, OvsBridge):
            _refuse_foreign_bridge(resource, observed)
            continue
        if isinstance(resource, Filter):
            filters.refuse_unfilterable(resource, observed)
            continue
        if not isinstance(resource, Link) or resource.relation is not Relation.OWNED:
            configured.refuse_unusable(resource, observed, links.get(resource.name))
            if resource.is_guests:
                _refuse_joining(resource, observed.links[resource.name], getattr(resource, "master", None))
            continue
        configured.refuse_missing_lower(resource, desired, observed)
        own_vlan.refuse_bridge(resource, desired, observed)
        current = observed.links.get(resource.name)
        known_link = links.get(resource.name)
        if current is None or ownership.is_ours(current, resource, known_link):
            continue
        away = observed.displaced.get(resource.name)
        if away is not None:
            raise Conflict(
                f"device {resource.name!r} of {ownership.owner_in_words(resource.owner)} was renamed to {away.name!r} "
                f"by another program, and its name is held by {ownership.holder(current)}; both were left alone: "
                f"rename that link (ip link set {resource.name} name OTHER), then repair",
                resource.name,
            )
        if not ownership.is_adoptable(current, resource, known_link):
            # A name that this VIF had before can be freed; another program holds any other name rightfully.
            advice = f": delete it (ip link del {resource.name}), then repair" if known_link is not None else ""
            raise Conflict(
                f"device {resource.name!r} for {ownership.owner_in_words(resource.owner)} is held by "
                f"{ownership.holder(current)}; it was left alone{advice}",
                resource.name,
            )


def _refuse_kernel_datapath(port: OvsPort, observed: Observed) -> None:
    """Refuse a DPDK port on a bridge of the kernel's datapath: vswitchd cannot open it there."""
    bridge = observed.bridges.get(port.bridge)
    if not port.needs_userspace or bridge is None or bridge.userspace:
        return
    raise Conflict(
        f"OVS bridge {bridge.name!r} has datapath_type {bridge.datapath_type or 'system'!r}, and port {port.name!r} of "
        f"VIF {port.owner} is of type {port.settings['type']!r}, which needs {DATAPATH_USERSPACE!r}; name another "
        "bridge, or plug the VIF as another type",
        bridge.name,
    )


def _refuse_another_maker(port: OvsPort, known: OvsPort | None) -> None:
    """Refuse to take over a port from the VMM, which would delete it with the guest, or to leave the VMM one that is in
    use."""
    if known is not None and known.is_owned != port.is_owned:
        raise Conflict(
            f"OVS port {port.name!r} of VIF {port.owner} is plugged as one that {known.maker} makes, and {port.maker} "
            "is asked to make it (create_port); unplug the VIF first",
            port.name,
        )


def _is_the_vmms(port: OvsPort, current: OvsPort) -> bool:
    """Whether a row is the one that the VIF's VMM made for it."""
    return not port.is_owned and not current.owner and current.iface_ids.get("iface-id") == port.owner


def _refuse_foreign_bridge(bridge: OvsBridge, observed: Observed) -> None:
    """Refuse an OVS bridge whose name another program's bridge, port or device has."""
    current, link = observed.bridges.get(bridge.name), observed.links.get(bridge.name)
    user = "a trunk" if bridge.shared else f"VIF {bridge.owner}"
    if current is not None and not ownership.bridge_is_ours(current, bridge.owner):
        holder = ownership.owner_in_words(current.owner) if current.owner else "another program, for it has no mark"
        raise Conflict(f"OVS bridge {bridge.name!r} for {user} is held by {holder}; it was left alone", bridge.name)
    port = observed.fake_bridges.get(bridge.name) or observed.ports.get(bridge.name)
    if current is None and port is not None:
        raise Conflict(f"OVS bridge {bridge.name!r} for {user} cannot be made: an OVS port has the name", bridge.name)
    # ovs-vswitchd deletes the device of the bridge's local port a little after the bridge's row: a tap without an
    # owner's mark, or a device of its kernel module.
    is_local_port = link is not None and (link.is_opened_by_guest or link.other_kind == _OF_OVS) and not link.owner
    if current is None and link is not None and not is_local_port:
        raise Conflict(
            f"OVS bridge {bridge.name!r} for {user} cannot be made: the name is held by {ownership.holder(link)}; it "
            "was left alone",
            bridge.name,
        )


def _refuse_foreign_port(port: OvsPort, known: OvsPort | None, observed: Observed) -> None:
    current, link = observed.ports.get(port.name), observed.links.get(port.name)
    holder = observed.held.get(port.name)
    if holder is not None:
        raise Conflict(
            f"OVS interface {port.name!r} for VIF {port.owner} is in Port {holder!r}, which is not vifplug's; it was "
            f"left alone: take it out of there (ovs-vsctl -- --id=@it get Interface {port.name} -- remove Port "
            f"{holder} interfaces @it), then repair",
            port.name,
        )
    is_ours = current is None or ownership.port_is_ours(current, port.owner, link, known) or _is_the_vmms(port, current)
    if current is not None and not is_ours:
        current_owner = ownership.owner_in_words(current.owner) if current.owner else "a stranger"
        iface_id = current.iface_ids.get("iface-id")
        raise Conflict(
            f"OVS port {port.name!r} for VIF {port.owner} is held by {current_owner} on bridge {current.bridge!r}"
            f"{f' (iface-id {iface_id})' if iface_id else ''}; it was left alone",
            port.name,
        )
    for name in observed.iface_ids.get(port.iface_ids.get("iface-id", ""), ()):
        other = observed.ports.get(name)
        if naming.is_trunk_bridge(port.bridge) and name in naming.trunk_patches(port.owner):
            continue  # Neutron's agent gives the parent port's identity to its patch
        if name != port.name and (other is None or other.owner != port.owner):
            raise Conflict(
                f"OVS interface {name!r} already carries iface-id {port.owner}; two of them would fight for one "
                "identity, and it is not vifplug's to remove",
                name,
            )


def _refuse_foreign_device(port: OvsPort, known: OvsPort | None, observed: Observed) -> None:
    """Refuse a device that is not a guest's tap as the device of a port that waits for one.

    An existing port has the device that vswitchd opened by itself; then no tap is refused, because a VMM may give it
    any MAC.
    """
    link = observed.links.get(port.name)
    if link is None or link.owner == port.owner:
        return
    is_known = known is not None and known.device_ifindex == link.ifindex
    if link.is_opened_by_guest and not link.owner and (is_known or port.name in observed.ports):
        return
    if not ownership.is_guests_tap(link, port.owner, port.device_address):
        raise _no_guests_tap(link, port.owner, port.device_address)


def _refuse_member(port: OvsPort, observed: Observed) -> None:
    """Refuse a representor that another program has put on a bridge or into a bond: vswitchd could not open it."""
    link = observed.links.get(port.name)
    if link is not None and link.master not in (None, OVS_MASTER):
        raise Conflict(
            f"device {port.name!r}, the representor of {port.function}, for {ownership.owner_in_words(port.owner)} is "
            f"on {link.master!r}, where another program has put it; it was left alone: ip link set {port.name} "
            "nomaster",
            port.name,
        )


def refuse_foreign_guest(vif_id: str, bridge: Link, known: Link | None, observed: Observed) -> None:
    """Refuse a device that is not a guest's tap as the device that a VMM puts on a bridge.

    A tap that the VMM has already put on a bridge is not checked, nor one of the VIF's own name.

    :raises Conflict: naming the holder.
    """
    link = observed.links.get(bridge.guest)
    if link is None or link.owner == vif_id:
        return
    if not link.owner and link.may_stand_for_tap:
        is_known = known is not None and known.guest_ifindex == link.ifindex
        if is_known or link.master == bridge.name or ownership.has_taps_name(link, vif_id):
            return
    if not ownership.is_guests_tap(link, vif_id, bridge.guest_address):
        raise _no_guests_tap(link, vif_id, bridge.guest_address)


def _refuse_joining(tap: Resource, current: Link, master: str | None) -> None:
    """Refuse to take a guest's tap off the bridge that another program has put it on, and a device that is no tap."""
    if not current.may_stand_for_tap:
        raise Conflict(
            f"device {tap.name!r} of {ownership.owner_in_words(tap.owner)} is to be put on {master!r}, and is "
            f"{ownership.holder(current)}, neither a tap nor an end of a pair; it was left alone",
            tap.name,
        )
    if current.master not in (None, master):
        raise Conflict(
            f"device {tap.name!r} of {ownership.owner_in_words(tap.owner)} is to be put on {master!r}, and is on "
            f"{current.master!r}, where another program has put it; it was left alone: ip link set {tap.name} nomaster",
            tap.name,
        )


def _no_guests_tap(link: Link, owner: str, address: str) -> Conflict:
    master = f" on {link.master!r}" if link.master else ""
    return Conflict(
        f"device {link.name!r} for {ownership.owner_in_words(owner)} is held by {ownership.holder(link)}{master}; "
        f"it is no tap of that guest, whose MAC would be {naming.tap_address(address)}, and was left alone",
        link.name,
    )


def refuse_half_a_pair(end: Link, current: Link, known: Link | None) -> None:
    """Refuse to delete one end of a veth pair that another program made.

    :raises Conflict: the end is not ours.
    """
    if not ownership.is_ours(current, end, known):
        raise Conflict(
            f"device {end.name!r} of VIF {end.owner} was recreated by another program without its peer; delete it "
            "(ip link del), then repair",
            end.name,
        )


def refuse_to_drop_in_use(link: Link, current: Link) -> None:
    """Refuse to delete a link that a guest has open, because a request no longer asks for it.

    :raises Conflict: its carrier is up.
    """
    if current.is_opened_by_guest and current.carrier:
        raise Conflict(
            f"{link.kind} {link.name!r} of VIF {link.owner} is open in a guest, and this request would take it away "
            f"(create_tap, or another name); repeat it when the guest has closed the {link.kind}",
            link.name,
        )


def refuse_in_use(link: Link, current: Link) -> None:
    """Refuse to remake a link that a guest has open.

    :raises Conflict: its carrier is up.
    """
    if current.is_opened_by_guest and current.carrier:
        name = next(name for name in link.attributes.remade_for if getattr(link, name) != getattr(current, name))
        raise Conflict(
            f"{link.kind} {link.name!r} of VIF {link.owner} is open in a guest with {name}="
            f"{str(getattr(current, name)).lower()}; it cannot become {str(getattr(link, name)).lower()} before the "
            "guest closes it",
            link.name,
        )
