"""What an uplink is on this host. Pure."""

from __future__ import annotations

from vifplug.resources.link import Link
from vifplug.resources.observed import Observed


def resolve(uplink: Link, observed: Observed, *, is_foreign: bool, on_foreign_bridge: bool) -> Link | None:
    """An uplink as this host needs it; None if another program has made it and put it on the bridge.

    :param is_foreign: whether another program made it.
    :param on_foreign_bridge: whether another program made the bridge.
    """
    current = observed.links.get(uplink.name)
    if on_foreign_bridge and current is not None and not current.owner and current.master == uplink.master:
        return None
    if is_foreign:
        return uplink.as_another_programs()
    if uplink.local_address:
        device = _device_of(uplink.local_address, observed)
        return uplink if device is None else uplink.replaced(lower=device)
    return uplink


def _device_of(address: str, observed: Observed) -> str | None:
    return next((name for name, held in sorted(observed.addresses.items()) if address in held), None)
