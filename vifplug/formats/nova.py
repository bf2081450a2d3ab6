"""Nova's network_info: the list of VIFs it caches per instance (instance_info_caches.network_info)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.formats import binding
from vifplug.formats.reader import Entry
from vifplug.model import vif as model

NAME = "nova-network-info"
KEYS = ("id", "address", "type")

_KEYS = binding.Keys(vif_type="type", vnic_type="vnic_type", details="details", profile="profile")
_MARKS = ("address", "devname", "ovs_interfaceid", "vnic_type")


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether an object is a VIF of network_info, by its keys."""
    return "type" in data and any(mark in data for mark in _MARKS)


def read(entry: Entry) -> model.Vif:
    """The VIF as Nova describes it. The list does not contain the instance: the caller gives it.

    :raises InputError: for a wrong field, with its name.
    """
    identity = entry.require("id", "each VIF of network_info has one")
    address = entry.require("address", "each VIF of network_info has one")
    bound, network = binding.Binding(entry, _KEYS), entry.part("network")
    details, meta = bound.details, network.part("meta")
    entry.require("type", "each VIF of network_info has one")
    fields = bound.fields()
    entry.check_interface_id("ovs_interfaceid")
    uplink = binding.uplink(meta, "create") if fields["vif_type"] == "bridge" else None
    # Nova cuts network.bridge to 14 characters; Neutron's bridge_name is complete.
    bridge = details if details.data.get("bridge_name") is not None else network
    bridge_key = "bridge_name" if bridge is details else "bridge"
    return entry.vif(
        {
            "id": identity,
            **fields,
            "address": address,
            "network": {
                "id": network.data.get("id"),
                "bridge": bridge.data.get(bridge_key) if bound.is_on_bridge else None,
                "mtu": meta.mtu("mtu"),
                "datapath_type": details.text("datapath_type") or None,
                "uplink": uplink,
            },
            "names": {**fields.get("names", {}), "tap": entry.own_name("devname", naming.ROLE_TAP)},
        },
        {
            "network.bridge": bridge.at(bridge_key),
            "network.mtu": meta.at("mtu"),
            **binding.sources_of_uplink(meta),
            **bound.sources(),
            "names.tap": entry.at("devname"),
        },
    )
