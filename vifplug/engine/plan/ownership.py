"""The rule of ``vifplug.resources.ownership`` for resources: recorded counts as observed before. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vifplug import naming
from vifplug.resources import ownership
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import OvsPort
from vifplug.resources.ownership import Claim, SeenBridge, SeenLink, SeenPort


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """The shared resources that VIFs outside a plan use. ``in`` checks a resource."""

    resources: Mapping[tuple[str, str], Sequence[Resource]] = field(default_factory=dict)
    """By owner (``net:...``) and name, as each of these VIFs has it in its record or intent."""
    owners: frozenset[str] = frozenset()
    """Owners from damaged records, whose names are unknown: all of their resources count as used."""

    def __contains__(self, item: Resource) -> bool:
        return self.has(item.owner, item.name)

    def has(self, owner: str, name: str) -> bool:
        """Whether one of these VIFs uses the owner's resource of this name."""
        return owner in self.owners or (owner, name) in self.resources


NOT_IN_USE = InUse()
"""No other VIF uses anything."""


def seen(link: Link) -> SeenLink:
    """A link in the form that the rule takes."""
    return SeenLink(
        name=link.called or link.name,
        kind=link.kind,
        alias=link.alias or "",
        address=link.address or "",
        master=link.master,
        persistent=bool(link.persistent),
        vnet_header=bool(link.vnet_header),
    )


def _claim(observed: Link, desired: Link, recorded: Link | None) -> Claim:
    known = recorded is not None and recorded.ifindex is not None and recorded.ifindex == observed.ifindex
    return Claim(owner=desired.owner, role=desired.role, address=desired.address or "", known=known)


def is_ours(observed: Link, desired: Link, recorded: Link | None) -> bool:
    """Whether an observed link belongs to the desired link's owner."""
    return ownership.link_is_ours(seen(observed), _claim(observed, desired, recorded))


def is_renamed(observed: Link, recorded: Link) -> bool:
    """Whether a link under another name than the recorded one is the recorded link."""
    return ownership.link_is_renamed(seen(observed), _claim(observed, recorded, recorded))


def shows_it(observed: Link, desired: Link) -> bool:
    """Whether a link itself shows its owner: by a valid mark, or by the MAC it was created with."""
    return ownership.link_is_ours(seen(observed), _claim(observed, desired, None))


def is_adoptable(observed: Link, desired: Link, recorded: Link | None) -> bool:
    """Whether a link that was recreated under a recorded name may become ours. Without a record it is foreign."""
    return recorded is not None and ownership.link_is_adoptable(seen(observed), _claim(observed, desired, recorded))


def role_of(observed: Link) -> str:
    """The role of a link that carries our alias and was made by us; "" for any other, because an alias can be
    copied."""
    return ownership.role_of(seen(observed))


def has_taps_name(observed: Link, owner: str) -> bool:
    """Whether a link has the name that only this VIF's tap gets."""
    return observed.name == ownership.derived_name(owner, naming.ROLE_TAP)


def is_guests_tap(observed: Link, owner: str, address: str) -> bool:
    """Whether a link is the tap that a VIF's VMM made."""
    return ownership.is_guests_tap(seen(observed), owner, address)


def _port(observed: OvsPort, owner: str, link: Link | None, recorded: OvsPort | None) -> SeenPort:
    iface_id = observed.iface_ids.get("iface-id")
    return SeenPort(
        name=observed.name,
        mark=observed.owner,
        iface_ids=frozenset({iface_id} if iface_id else ()),
        on_our_link=link is not None and ownership.is_ports_device(seen(link), owner),
        known=recorded is not None and recorded.uuid is not None and recorded.uuid == observed.uuid,
    )


def port_is_ours(observed: OvsPort, owner: str, link: Link | None, recorded: OvsPort | None) -> bool:
    """Whether an observed Port row belongs to an owner.

    A row on a link of ours is ours to repair, whatever its external_ids are; without that link or a record it is
    foreign.

    :param link: the observed link of the port's name.
    """
    port = _port(observed, owner, None, recorded)
    if ownership.port_is_ours(port, owner) or (recorded is not None and ownership.port_is_adoptable(port, owner)):
        return True
    return link is not None and ownership.port_is_ours(_port(observed, owner, link, recorded), owner)


def port_shows_it(observed: OvsPort, owner: str, link: Link | None) -> bool:
    """Whether a row shows its owner, by itself or by the link it is on."""
    return ownership.port_is_ours(_port(observed, owner, link, None), owner)


def bridge_is_ours(observed: OvsBridge, owner: str) -> bool:
    """Whether vifplug made an observed OVS bridge for an owner."""
    seen = SeenBridge(name=observed.name, mark=observed.owner, local_mark=observed.born_to)
    return ownership.bridge_is_ours(seen, owner)


def bridge_owner(observed: OvsBridge) -> str:
    """The owner for whom vifplug made an observed OVS bridge; "" for another program's."""
    owners = (owner for owner in (observed.owner, observed.born_to) if naming.is_owner(owner))
    return next((owner for owner in owners if bridge_is_ours(observed, owner)), "")


def holder(observed: Link) -> str:
    """The holder of a link, as text."""
    if observed.owner:
        return owner_in_words(observed.owner)
    mark = f", alias {observed.alias!r}" if observed.alias else ""
    return f"a {observed.other_kind or observed.kind} that vifplug did not make (ifindex {observed.ifindex}{mark})"


def owner_in_words(owner: str) -> str:
    """``VIF ...`` or ``network ...``."""
    if owner.startswith(naming.NETWORK_PREFIX):
        return f"network {owner.removeprefix(naming.NETWORK_PREFIX)}"
    return f"VIF {owner}"
