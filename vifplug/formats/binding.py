"""Port bindings in Neutron's terms, which Nova uses too, and the parts of a network that are checked with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug.formats.reader import Entry

_TYPES, _VHOST_USER = ("ovs", "bridge"), "vhostuser"
_PARTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "vhost-user": ("vhost_user", {"socket": "vhostuser_socket", "mode": "vhostuser_mode"}),
}
"""vif_type -> the part of a VIF that only its requests carry, and the keys of the details that its fields come from."""


def vif_type(port: Entry, key: str, details: Entry) -> str:
    """Our vif_type for a bound port.

    :param key: of the port's vif_type.
    :raises InputError: for a port that is not bound, or whose binding no driver supports.
    """
    vif_type = port.data.get(key)
    if vif_type == "unbound":
        raise port.refusal(key, f"{_name(port)} is bound to no host; bind it to this host first")
    if vif_type == "binding_failed":
        raise port.refusal(
            key,
            f"Neutron could not bind {_name(port)} to its host; see neutron-server's log for why "
            "(often no agent is alive on that host), correct that, and bind the port again",
        )
    if vif_type == _VHOST_USER:
        return _vhost_user(port, key, details)
    if vif_type not in _TYPES:
        should = f"it must be {', '.join(_TYPES)} or {_VHOST_USER}"
        raise port.refusal(key, f"vifplug does not support {_name(port)}'s type; {should}")
    return "ovs-hybrid" if vif_type == "ovs" and details.flag("ovs_hybrid_plug") else str(vif_type)


def _vhost_user(port: Entry, key: str, details: Entry) -> str:
    """Open vSwitch's vhost-user ports; 6WIND's and Contrail's are their own plugins' (nova's os_vif_util)."""
    others = [name for name in ("vhostuser_fp_plug", "vhostuser_vrouter_plug") if details.flag(name)]
    if others or not details.flag("vhostuser_ovs_plug"):
        raise port.refusal(
            key,
            f"vifplug does not support {_name(port)}'s type without vhostuser_ovs_plug"
            f"{f' or with {others[0]}' if others else ''}: Open vSwitch gets no port for it",
        )
    return "vhost-user"


def part(vif_type: str, details: Entry) -> tuple[dict[str, Any], dict[str, str]]:
    """What a binding's details say of the part that only VIFs of its type have.

    :returns: the part by its name, and the paths of its fields in the document; nothing for a type without one.
    """
    if vif_type not in _PARTS:
        return {}, {}
    name, keys = _PARTS[vif_type]
    values = {field: details.data[key] for field, key in keys.items() if details.data.get(key) is not None}
    return {name: values}, {f"{name}.{field}": details.at(key) for field, key in keys.items()}


def check_vnic(port: Entry, key: str) -> None:
    """Refuse a port that needs hardware; a missing value is Neutron's default, normal."""
    if port.data.get(key) not in (None, "normal"):
        raise port.refusal(key, f"vifplug does not support {_name(port)}'s vnic_type; it must be normal")


def check_uplink(network: Entry, verb: str) -> None:
    """Refuse a Linux bridge that needs a NIC or a VLAN device, which os-vif's former plugin added.

    :param verb: in the keys: Nova has ``should_create_bridge``, os-vif ``should_provide_bridge``.
    """
    switch = f"should_{verb}_bridge"
    if not network.flag(switch):
        return
    for key in (f"should_{verb}_vlan", "bridge_interface"):
        if network.data.get(key):
            raise network.refusal(
                key,
                "vifplug adds neither a NIC nor a VLAN device to a bridge; create the bridge beforehand, and omit "
                f"{switch}",
            )


def create_tap(details: Entry) -> bool:
    """Whether vifplug creates the tap: exactly the port's value, and a missing one is no.

    ML2/OVN may send it for every port of a host, and a vhost-user port has no tap.
    """
    return bool(details.flag("ovs_create_tap")) and not details.flag("vhostuser_ovs_plug")


def _name(port: Entry) -> str:
    return f"port {port.subject}" if port.subject else "the port"
