"""Ports on a device of the host: as Neutron's SR-IOV and macvtap agents bind them, os-vif's VIFDirect, and those of
Open vSwitch that are the representor of a virtual function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.formats.reader import Entry

TYPES: Mapping[str, str] = {"macvtap": "macvtap", "hw_veb": "vf"}
"""Neutron's types, and ours."""
_DIRECT, _MACVTAP = "direct", "macvtap"
REPRESENTED: Mapping[str, bool] = {_DIRECT: False, "vdpa": True}
"""The vnic_types of Open vSwitch's ports on a virtual function, and whether the guest gets its vDPA device. Neutron
binds direct so only if the profile's capabilities have switchdev (mech_openvswitch)."""
HOST_DEVICE = "host-device"
VNICS: Mapping[str, tuple[str, ...]] = {"hw_veb": (_DIRECT, _MACVTAP), "ovs": ("normal", *REPRESENTED)}
"""The vnic_types of a port of a type, if they are not just normal."""
_ALWAYS = "and Neutron's macvtap agent needs it, too"
_DIGITS = 9
"""Maximum length of a text that may be a VLAN; longer ones are not."""


def fields(vif_type: str, vnic_type: Any, details: Entry, profile: Entry) -> dict[str, Any]:
    """Fields of the request of a port of one of our types.

    :raises InputError: for a binding that names no device.
    """
    if vif_type == "vf":
        return {"vif_type": vif_type, "pci_device": _pci_device(vnic_type, details, profile)}
    vlan = _vlan(details)
    source = details.require("macvtap_source", _ALWAYS)
    part = {
        "source": source if vlan is None else details.require("physical_interface", _ALWAYS),
        "mode": details.require("macvtap_mode", _ALWAYS),
        "vlan": vlan,
    }
    return {"vif_type": vif_type, "macvtap": part, "names": {"vlan": _vlan_device(source, part["source"], vlan)}}


def represented(vnic_type: Any, profile: Entry) -> dict[str, Any]:
    """Fields of the request of a port that is a virtual function's representor.

    :raises InputError: for a binding that names no function.
    """
    address = profile.require("pci_slot", "and Nova writes it when it has chosen a virtual function")
    return {"vif_type": HOST_DEVICE, "pci_device": {"address": address, "vdpa": REPRESENTED[vnic_type]}}


def sources(details: Entry, profile: Entry) -> dict[str, str]:
    """Fields of the request that have another name here -> their paths."""
    is_tagged = _vlan(details) is not None
    return {
        "pci_device.vlan": details.at("vlan"),
        "pci_device.trusted": profile.at("trusted"),
        "macvtap.source": details.at("physical_interface" if is_tagged else "macvtap_source"),
        "macvtap.mode": details.at("macvtap_mode"),
        "macvtap.vlan": details.at("vlan"),
        "names.vlan": details.at("macvtap_source"),
    }


def direct(vif: Entry, network: Entry) -> dict[str, Any]:
    """Fields of the request of an os-vif VIFDirect: a macvtap on a virtual function, or on a device of the host.

    :raises InputError: when it names neither, or a VLAN device on a function.
    """
    mode, vlan = vif.data.get("mode"), _vlan(network)
    if vif.data.get("dev_address") is None:
        source = vif.require("vlan_name", "and a VIFDirect without dev_address is on that device")
        lower = network.data.get("bridge_interface") if vlan is not None else None
        part = {"source": source, "mode": mode} if lower is None else {"source": lower, "mode": mode, "vlan": vlan}
        name = _vlan_device(source, lower, vlan)
        return {"vif_type": "macvtap", "macvtap": part, "names": {"vlan": name}}
    if vif.data.get("vlan_name"):
        raise vif.refusal(
            "vlan_name",
            "it must be omitted, for a VIFDirect with dev_address: the physical function gives a virtual one its VLAN, "
            "which is network.vlan",
        )
    device = {"address": vif.data["dev_address"], "vlan": vlan, "macvtap": mode or "passthrough"}
    return {"vif_type": "vf", "pci_device": device}


def sources_of_direct(vif: Entry, network: Entry) -> dict[str, str]:
    """As ``sources``, of a VIFDirect."""
    has_lower = network.data.get("bridge_interface") is not None and _vlan(network) is not None
    return {
        "pci_device.vlan": network.at("vlan"),
        "pci_device.macvtap": vif.at("mode"),
        "macvtap.source": network.at("bridge_interface") if has_lower else vif.at("vlan_name"),
        "macvtap.mode": vif.at("mode"),
        "macvtap.vlan": network.at("vlan"),
        "names.vlan": vif.at("vlan_name"),
    }


def _pci_device(vnic_type: Any, details: Entry, profile: Entry) -> dict[str, Any]:
    address = profile.require("pci_slot", "and Nova writes it when it has chosen a virtual function")
    trusted = profile.data.get("trusted")
    # Nova has it as text.
    trusted = {"true": True, "false": False}.get(trusted.lower(), trusted) if isinstance(trusted, str) else trusted
    # Nova's libvirt driver: the mode is always this (set_vif_host_backend_hw_veb).
    macvtap = "passthrough" if vnic_type == _MACVTAP else None
    return {"address": address, "vlan": _vlan(details), "trusted": trusted, "macvtap": macvtap}


def _vlan_device(name: Any, lower: Any, vlan: Any) -> Any:
    """The name of the VLAN device, if it is not vifplug's default one."""
    if vlan is None or not isinstance(lower, str) or not isinstance(vlan, int):
        return None
    return None if name == naming.vlan_device(lower, vlan) else name


def _vlan(details: Entry) -> Any:
    """The VLAN, not validated yet: a number, or a number as text; 0 means none."""
    vlan = details.data.get("vlan")
    if isinstance(vlan, str) and vlan.isascii() and vlan.isdecimal() and len(vlan) <= _DIGITS:
        vlan = int(vlan)
    return None if vlan == "" or (vlan == 0 and not isinstance(vlan, bool)) else vlan
