"""A Neutron port, as the networking API shows it to an administrator or a service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug import model
from vifplug.formats import binding
from vifplug.formats.entry import Entry, as_uuid

NAME = "neutron-port"
KEYS = ("id", "mac_address", "binding:vif_type")
ONE, MANY = "port", "ports"
"""The keys the API wraps a port, and a list of them, in."""

_COMPUTE = "compute:"


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether an object is a port, by its keys."""
    return "mac_address" in data or any(isinstance(key, str) and key.startswith("binding:") for key in data)


def read(port: Entry) -> model.Vif:
    """The VIF a port stands for. A port carries no MTU: its network does.

    :raises InputError: naming the field that is wrong.
    """
    identity = port.require("id", "a Neutron port always has one")
    address = port.require("mac_address", "a Neutron port always has one")
    details = port.part("binding:vif_details")
    binding.check_vnic(port, "binding:vnic_type")
    return port.vif(
        {
            "id": identity,
            "vif_type": _vif_type(port, details),
            "address": address,
            "network": {
                "id": port.data.get("network_id"),
                "bridge": details.data.get("bridge_name"),
                # ML2/OVN says "" for a chassis that reports no datapath type.
                "datapath_type": details.text("datapath_type") or None,
            },
            "instance": _instance(port),
            "create_tap": binding.create_tap(details),
        },
        {
            "address": port.at("mac_address"),
            "network.id": port.at("network_id"),
            "network.bridge": details.at("bridge_name"),
            "network.datapath_type": details.at("datapath_type"),
        },
    )


def _vif_type(port: Entry, details: Entry) -> str:
    port.require(
        "binding:vif_type",
        "only administrators and services are shown it, and only by the networking API itself "
        "('openstack port show' prints other keys)",
    )
    return binding.vif_type(port, "binding:vif_type", details)


def _instance(port: Entry) -> dict[str, str] | None:
    """The guest, when the port's device is one: routers and DHCP servers have ports too."""
    owner = port.text("device_owner") or ""
    device = as_uuid(port.data.get("device_id")) if owner.startswith(_COMPUTE) else None
    return {"uuid": device} if device else None
