"""A Neutron port, from the networking API as an administrator or a service sees it, or from openstacksdk.

`openstack port show -f json` prints openstacksdk's keys: those of the API, with another prefix of the binding's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug.formats import binding, port_security
from vifplug.formats.reader import Entry, as_uuid
from vifplug.model import vif as model

NAME = "neutron-port"
KEYS = ("id", "mac_address", "binding:vif_type")
SINGLE, LIST = "port", "ports"
"""The keys the API wraps a port, and a list of them, in."""

_BINDING, _SDK_BINDING = "binding:", "binding_"
_VIF_TYPE = "vif_type"
_COMPUTE, _SUBPORT = "compute:", "trunk:subport"


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether an object is a port, by its keys."""
    return "mac_address" in data or any(isinstance(key, str) and key.startswith(_BINDING) for key in data)


def read(port: Entry) -> model.Vif:
    """The VIF of a port. A port has no MTU: its network has.

    :raises InputError: for a wrong field, with its name.
    """
    identity = port.require("id", "a Neutron port always has one")
    address = port.require("mac_address", "a Neutron port always has one")
    mark = _mark(port.data)
    bound = binding.Binding(port, _keys(mark))
    details = bound.details
    _check_own_link(port, bound.profile)
    port.require(f"{mark}{_VIF_TYPE}", "only administrators and services are shown it")
    return port.vif(
        {
            "id": identity,
            **bound.fields(),
            "address": address,
            "network": {
                "id": port.data.get("network_id"),
                "bridge": details.data.get("bridge_name") if bound.is_on_bridge else None,
                # ML2/OVN sends "" for a chassis that reports no datapath type.
                "datapath_type": details.text("datapath_type") or None,
            },
            "instance": _instance(port),
            **port_security.fields(port, details, address),
        },
        {
            "address": port.at("mac_address"),
            "network.id": port.at("network_id"),
            "network.bridge": details.at("bridge_name"),
            **port_security.sources(port),
            **bound.sources(),
        },
    )


def _mark(data: Mapping[str, Any]) -> str:
    """The prefix of this port's binding keys."""
    is_sdk = f"{_SDK_BINDING}{_VIF_TYPE}" in data and f"{_BINDING}{_VIF_TYPE}" not in data
    return _SDK_BINDING if is_sdk else _BINDING


def _keys(mark: str) -> binding.Keys:
    return binding.Keys(
        vif_type=f"{mark}{_VIF_TYPE}",
        vnic_type=f"{mark}vnic_type",
        details=f"{mark}vif_details",
        profile=f"{mark}profile",
    )


def _check_own_link(port: Entry, profile: Entry) -> None:
    """Refuse a port without a link on any host: another port carries its frames, with a VLAN tag."""
    if profile.data.get("parent_name"):
        raise profile.refusal("parent_name", "its frames come through that port; plug that one")
    if port.data.get("device_owner") == _SUBPORT:
        raise port.refusal("device_owner", "its frames come through the parent port of its trunk; plug that one")


def _instance(port: Entry) -> dict[str, str] | None:
    """The instance, if the port's device is one: routers and DHCP servers have ports too."""
    owner = port.text("device_owner") or ""
    device = as_uuid(port.data.get("device_id")) if owner.startswith(_COMPUTE) else None
    return {"uuid": device} if device else None
