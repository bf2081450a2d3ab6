"""Whose a link or a port is. Pure.

Owned is what carries our mark on the host; what a record knows counts as evidence too, so that a mark
somebody wiped off does not turn our own port into a stranger.
"""

from __future__ import annotations

from vifplug import naming
from vifplug.resources import Link, OvsPort, Tap


def is_ours(observed: Link, desired: Link, recorded: Link | None) -> bool:
    """Whether an observed link is the desired one's owner's.

    By its alias; or, where it carries no mark of ours, by the MAC it was born with, or by being the very
    link that the record says was made.
    """
    if observed.kind != desired.kind:
        return False
    if observed.owner:
        return observed.owner == desired.owner
    if desired.kind != Tap.kind and observed.address == naming.birth_address(desired.owner, desired.role):
        return True
    return recorded is not None and recorded.ifindex == observed.ifindex


def is_adoptable(observed: Link, desired: Link, recorded: Link | None) -> bool:
    """Whether a link that somebody made again under a recorded name may become ours.

    It must be of the recorded kind and carry nobody's mark. Without a record it is a stranger.
    """
    if recorded is None or observed.owner or observed.alias or observed.kind != desired.kind:
        return False
    if isinstance(observed, Tap) and not observed.persistent:
        return False
    derived = naming.device(desired.role, desired.owner.removeprefix(naming.NETWORK_PREFIX))
    return desired.name == derived


def bears_birth_marks(observed: Link) -> bool:
    """Whether a link that carries our alias was made by us, too: nobody's copy of an alias gets a link deleted.

    Its kind is one we make, and its MAC or its name is the one its owner gives to a link of that kind.
    """
    identity = observed.owner.removeprefix(naming.NETWORK_PREFIX)
    return any(
        observed.address == naming.birth_address(observed.owner, role) or observed.name == naming.device(role, identity)
        for role, kind in naming.KIND_OF_ROLE.items()
        if kind == observed.kind
    )


def port_is_ours(observed: OvsPort, owner: str, link: Link | None, recorded: OvsPort | None) -> bool:
    """Whether an observed Port row is an owner's: by its mark, its link, the record, or its iface-id.

    A row on a link that is ours is ours to repair whatever its external_ids; without that link or a record it
    is a stranger's.
    """
    if observed.owner:
        return observed.owner == owner
    if link is not None and link.owner == owner:
        return True
    if recorded is None:
        return False
    return recorded.uuid == observed.uuid or observed.iface_ids.get("iface-id") in (owner, None)


def holder(observed: Link) -> str:
    """Who holds a link, in words."""
    if observed.owner:
        return owner_in_words(observed.owner)
    mark = f", alias {observed.alias!r}" if observed.alias else ""
    return f"a {observed.other_kind or observed.kind} that vifplug did not make (ifindex {observed.ifindex}{mark})"


def owner_in_words(owner: str) -> str:
    """``VIF ...`` or ``network ...``."""
    if owner.startswith(naming.NETWORK_PREFIX):
        return f"network {owner.removeprefix(naming.NETWORK_PREFIX)}"
    return f"VIF {owner}"
