"""What an unmarked link must have besides its name before it counts as a VIF's.

os-vif, Nova and the Linux bridge agent give devices of a port the same names as vifplug. Their surroundings distinguish
them: a VIF of ours has a marked link or a marked port, a VIF of other programs a port without a mark.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.privileged import arguments
from vifplug.privileged import ownership as link_checks
from vifplug.privileged.ovsdb import verbs as ovsdb
from vifplug.resources import ownership
from vifplug.resources.ownership import Claim

_PATH = (naming.ROLE_BRIDGE, naming.ROLE_BRIDGE_END, naming.ROLE_PORT_END)
"""The existing links of one VIF."""


def is_allowed(link: Mapping[str, Any], claim: Claim) -> bool:
    """Whether an unmarked link may be marked as a VIF's.

    :raises OvsUnavailable: OVSDB must decide, and does not answer.
    """
    if not ownership.link_is_adoptable(link_checks.seen(link), claim):
        return False
    owner, role = claim.owner, claim.role
    if role != naming.ROLE_TAP:
        siblings = (other for other in _PATH if other != role)
        if any(link_checks.is_owners(ownership.derived_name(owner, other), owner, other) for other in siblings):
            return True
    ports = ovsdb.ports_about(link["name"], owner)
    if role == naming.ROLE_TAP:
        # A tap of a Linux bridge has no port at all.
        return all(ownership.port_is_ours(port, owner) for port in ports)
    return any(port.mark == owner and ownership.port_is_ours(port, owner) for port in ports)


def is_guests(link: Mapping[str, Any], vif_id: str, address: Any) -> bool:
    """Whether a link is the tap of a VIF's guest, which may be put on the VIF's bridge.

    :param address: the guest's MAC, for a tap with another name.
    """
    seen = link_checks.seen(link)
    if ownership.is_containers_end(seen, vif_id):
        return True
    has_name = seen.name == ownership.derived_name(vif_id, naming.ROLE_TAP)
    checked = arguments.address(address) if address else ""
    if not link_checks.is_guests_tap(link, vif_id, checked, lambda mac: ovsdb.is_address_of_another(mac, vif_id)):
        return False
    # An internal port of the userspace datapath is also a tap, and may have any MAC. If another program made a guest's
    # tap a port, only that program may move it, even if it has the name that this VIF's tap gets.
    return not (ovsdb.is_foreign_port(seen.name, vif_id) if has_name else ovsdb.has_port(seen.name))
