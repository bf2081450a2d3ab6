"""The owner of a link, a Port row or a QoS row: one rule that both sides of the privilege boundary run. Pure.

A mark alone proves nothing, because it can be copied: a second sign must agree with it. Such a sign is the name by the
naming rule, the MAC that a link was created with, or an earlier observation of the same link or row as ours
(``known``). The engine takes that from its record; the helper, which trusts no record, from links that it has itself
seen marked.

The MAC alone proves nothing either: it is 46 bits of a hash of the owner's id, so an id whose links would have a given
MAC can be searched for.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Mapping
from typing import NamedTuple

from vifplug import naming
from vifplug.resources import kinds

OVS_MASTER = "ovs-system"
"""The master of every port of the kernel datapath (net/openvswitch/vport-netdev.c)."""
_OVS_OWN = frozenset({OVS_MASTER, "ovs-netdev"})
"""The devices that Open vSwitch has for its datapaths; with the userspace datapath, a tap."""


class SeenLink(NamedTuple):
    """The properties of a link that both sides can read."""

    name: str
    kind: str
    alias: str = ""
    address: str = ""
    master: str | None = None
    persistent: bool = False
    vnet_header: bool = False
    """Whether a tap was made with IFF_VNET_HDR, like ours; those of ``ip tuntap`` are not."""


class Claim(NamedTuple):
    """The claimed owner of a link."""

    owner: str
    role: str
    address: str = ""
    """The requested MAC. A tap's MAC is its guest's, so it corroborates a mark and proves nothing by itself."""
    known: bool = False


class SeenPort(NamedTuple):
    """The properties of a Port row that both sides can read."""

    name: str
    mark: str = ""
    iface_ids: frozenset[str] = frozenset()
    """The iface-id of each of its interfaces that has one."""
    on_our_link: bool = False
    """Whether the link of that name is the claimed owner's."""
    known: bool = False


class SeenBridge(NamedTuple):
    """The properties of an OVS bridge that both sides can read."""

    name: str
    mark: str = ""
    local_mark: str = ""
    """The mark on the row of its local port, which is created with it."""


def is_listed(names: Collection[str], patterns: Collection[str]) -> bool:
    """Whether the configuration lists another program's device, so that VIFs may use it.

    :param names: all names that it may be listed by.
    :param patterns: names or globs. A pattern with colons is compared only with PCI addresses, and others only with
        names: no network device's name has a colon (dev_valid_name).
    """
    return any(
        (":" in name) == (":" in pattern) and fnmatch.fnmatchcase(name, pattern)
        for name in names
        for pattern in patterns
    )


def derived_name(owner: str, role: str) -> str:
    """The name that only this owner's device of that role gets."""
    return naming.device(role, owner.removeprefix(naming.NETWORK_PREFIX))


def port_names(owner: str) -> tuple[str, ...]:
    """The names that a VIF's OVS ports get by the naming rule."""
    prefixes = (naming.ROLE_PORT_END, naming.ROLE_TAP, naming.ROLE_VHOST_USER, naming.ROLE_REPRESENTOR)
    return *(derived_name(owner, prefix) for prefix in prefixes), *naming.patch_ports(owner)


def has_birth_address(link: SeenLink, owner: str, role: str) -> bool:
    """Whether a bridge or veth end has the MAC that it was created with: a sign that exists before the alias."""
    part = kinds.roles().get(role)
    return part is not None and part.kind.has_birth_address and link.address == naming.birth_address(owner, role)


def link_is_ours(link: SeenLink, claim: Claim) -> bool:
    """Whether a link belongs to the owner, and may be changed, moved and deleted."""
    owner, role = claim.owner, claim.role
    if not _is_of_kind(link, role):
        return False
    mark = naming.owner_of(link.alias)
    is_agreed = claim.known or naming.is_of_owner(link.name, owner, role)
    if mark != owner:
        return (is_agreed and has_birth_address(link, owner, role)) or (not mark and claim.known)
    made_as_asked = role == naming.ROLE_TAP and bool(claim.address) and link.address == claim.address
    return is_agreed or made_as_asked or has_birth_address(link, owner, role)


def is_ports_device(link: SeenLink, owner: str, *, address: str = "", known: bool = False) -> bool:
    """Whether an owner's OVS port may be on a link because the link is the owner's own.

    A mark suffices here: a copied one makes a port row ours to repair, but the link stays another program's.

    :param address: the requested MAC of a tap.
    :param known: as in ``Claim``.
    """
    is_known = known or naming.owner_of(link.alias) == owner
    claims = (Claim(owner=owner, role=role, address=address, known=is_known) for role in kinds.port_roles())
    return any(link_is_ours(link, claim) for claim in claims)


def is_containers_end(link: SeenLink, owner: str) -> bool:
    """Whether a link takes the place of a guest's tap: a container's guest has one end of a pair instead."""
    kind = kinds.link_of(link.kind)
    if not kind.may_stand_for_tap or kind.is_opened_by_guest or naming.owner_of(link.alias):
        return False
    return link.name == derived_name(owner, naming.ROLE_TAP)


def link_is_renamed(link: SeenLink, claim: Claim) -> bool:
    """Whether a link under another name is the owner's, and is to get its name back.

    The link itself must show its owner. Without an alias the ifindex would be the only sign, and after a boot a
    recorded ifindex may belong to any other link.
    """
    has_sign = has_birth_address(link, claim.owner, claim.role) or naming.owner_of(link.alias) == claim.owner
    return has_sign and link_is_ours(link, claim)


def link_is_adoptable(link: SeenLink, claim: Claim) -> bool:
    """Whether an unmarked link may be marked as a recorded VIF's: its kind and name must be that VIF's.

    A tap must be persistent, because a VMM's is not. A network's bridge that another program made is joined unchanged,
    and never adopted.
    """
    owner, role = claim.owner, claim.role
    if owner.startswith(naming.NETWORK_PREFIX) or not _is_of_kind(link, role):
        return False
    if link.name != derived_name(owner, role):
        return False
    if role != naming.ROLE_TAP:
        return not link.alias
    is_marked = bool(naming.owner_of(link.alias))
    return link.persistent and (not link.alias or (_is_made_like_ours(link) and not is_marked))


def _is_made_like_ours(link: SeenLink) -> bool:
    """Whether a persistent tap has the properties of ours, whatever its name and alias are."""
    return link.kind == "tap" and link.persistent and link.vnet_header and naming.is_tap_address(link.address)


def role_of(link: SeenLink) -> str:
    """The role of a link that carries a mark of ours and a second sign for it; "" for any other.

    An unrecorded link with a role may be deleted.
    """
    owner = naming.owner_of(link.alias)
    roles = (role for role in kinds.roles() if owner and _fits(owner, role))
    proven = next((role for role in roles if link_is_ours(link, Claim(owner=owner, role=role))), "")
    # A tap that another program renamed has neither its name nor a MAC that shows its owner: only the way it was made
    # is left.
    is_renamed_tap = bool(owner) and _fits(owner, naming.ROLE_TAP) and _is_made_like_ours(link)
    return proven or (naming.ROLE_TAP if is_renamed_tap else "")


def _is_of_kind(link: SeenLink, role: str) -> bool:
    part = kinds.roles().get(role)
    return part is not None and link.kind == part.kind.kind


def _fits(owner: str, role: str) -> bool:
    return owner.startswith(naming.NETWORK_PREFIX) == kinds.roles()[role].role.of_network


def is_guests_tap(link: SeenLink, owner: str, address: str) -> bool:
    """Whether a link is the tap of a VIF's guest, made by its VMM, and on no bridge.

    It has the name that only this VIF's tap gets; or it is deleted with its VMM, and its MAC is the guest's as libvirt
    changes it. This excludes a VPN's tap, an internal port of Open vSwitch and another VIF's tap.

    :param address: the guest's MAC; "" if unknown.
    """
    if link.kind != "tap" or naming.owner_of(link.alias) or link.master not in {None, OVS_MASTER}:
        return False
    if link.name in _OVS_OWN:
        return False
    if link.name == derived_name(owner, naming.ROLE_TAP):
        return True
    return bool(address) and not link.persistent and link.address == naming.tap_address(address)


def port_is_ours(port: SeenPort, owner: str) -> bool:
    """Whether a Port row belongs to the owner, and may be changed, moved and deleted."""
    if port.on_our_link:
        return True
    if port.mark != owner:
        return not port.mark and port.known
    return port.known or port.name in port_names(owner) or owner in port.iface_ids


def port_is_adoptable(port: SeenPort, owner: str) -> bool:
    """Whether an unmarked row may be marked as a recorded VIF's: it has that VIF's name, and no identity.

    A row with an iface-id may be os-vif's or Nova's, whose rows differ from ours only in the mark.
    """
    return not port.mark and not port.iface_ids and port.name in port_names(owner)


def qos_is_ours(external_ids: Mapping[str, str], owner: str, users: Collection[str] = ()) -> bool:
    """Whether a QoS row belongs to the owner: it has the mark and nothing else, and no other owner's port uses it.

    :param users: the owners of the ports that use it, "" for a port without owner.
    """
    return dict(external_ids) == {naming.OWNER_KEY: owner} and set(users) <= {owner}


def bridge_is_ours(bridge: SeenBridge, owner: str) -> bool:
    """Whether vifplug made an OVS bridge for an owner, and may change and delete it.

    It must have that owner's name, and one of its two marks: os-vif and Neutron make bridges of the same names.
    """
    if not naming.is_bridge_of(bridge.name, owner) or bridge.mark not in ("", owner):
        return False
    return owner in (bridge.mark, bridge.local_mark)


def patch_is_right(name: str, peer: str, owner: str, *, is_on_own_bridge: bool) -> bool:
    """Whether a patch port is an end of the patch between a VIF's own bridge and another one.

    The near end can only be on the VIF's own bridge, so that no patch joins two bridges of other programs. A network
    has no such patch: Neutron's agent joins a trunk's bridge.
    """
    if owner.startswith(naming.NETWORK_PREFIX):
        return False
    near, far = naming.patch_ports(owner)
    return (name, peer) == ((near, far) if is_on_own_bridge else (far, near))
