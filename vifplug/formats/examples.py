"""The smallest useful document of each vif_type, in vifplug's own format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug.errors import InputError

_ID, _ADDRESS = "00000000-0000-4000-8000-0000000000{:02x}", "02:00:00:00:00:{:02x}"


def _numbered(number: int, vif_type: str, **fields: Any) -> dict[str, Any]:
    """Ids and MACs differ, so that several examples can be plugged on one host."""
    return {"id": _ID.format(number), "vif_type": vif_type, "address": _ADDRESS.format(number), **fields}


EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    vif["vif_type"]: vif
    for vif in (
        _numbered(1, "ovs", network={"bridge": "br-int"}),
        _numbered(2, "ovs-hybrid", network={"bridge": "br-int"}),
        _numbered(3, "bridge", network={"bridge": "br-guests"}),
        _numbered(4, "tap"),
        _numbered(
            5,
            "vhost-user",
            network={"bridge": "br-int"},
            vhost_user={"socket": "/var/lib/vhost_sockets/vhu00000000-00", "mode": "server"},
        ),
        _numbered(6, "host-device", network={"bridge": "br-int"}, pci_device={"address": "0000:3b:10.2"}),
        _numbered(7, "vf", pci_device={"address": "0000:3b:10.3", "vlan": 100}),
        _numbered(8, "macvtap", macvtap={"source": "eth1"}),
        _numbered(9, "external"),
    )
}
"""By vif_type, the default first."""


def example(vif_type: str | None = None) -> dict[str, Any]:
    """The example of a vif_type; by default of the first.

    :raises InputError: there is none; drivers of other packages have their own.
    """
    if vif_type is None:
        vif_type = next(iter(EXAMPLES))
    if vif_type not in EXAMPLES:
        raise InputError(f"there is no example of vif_type {vif_type!r}; there are {', '.join(EXAMPLES)}", vif_type)
    return dict(EXAMPLES[vif_type])
