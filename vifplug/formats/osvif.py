"""An os-vif object in its serialised form (oslo.versionedobjects' obj_to_primitive). os-vif itself is not imported.

An unset field is absent from the data and means its default; reading it raises an error in os-vif (LP 2160637).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.formats import binding, devices
from vifplug.formats.reader import Entry, as_uuid
from vifplug.model import messages
from vifplug.model import vif as model

NAME = "os-vif"
OBJECT, DATA, NAMESPACE = "versioned_object.name", "versioned_object.data", "versioned_object.namespace"
KEYS = (OBJECT, DATA)

_BRIDGE, _OPEN_VSWITCH, _GENERIC = "VIFBridge", "VIFOpenVSwitch", "VIFGeneric"
_HOST_DEVICE, _VHOST_USER, _DIRECT = "VIFHostDevice", "VIFVHostUser", "VIFDirect"
_REPRESENTED = "representor_address"
_NOOP = "noop"
"""os-vif's plugin for VIFs for which nothing is made on the host."""
_CLASSES = (_BRIDGE, _OPEN_VSWITCH, _GENERIC, _HOST_DEVICE, _VHOST_USER, _DIRECT)
_PROFILE = "VIFPortProfileOpenVSwitch"
_PROFILES = (_PROFILE, "VIFPortProfileFPOpenVSwitch", "VIFPortProfileOVSRepresentor")
"""The class for a port of Open vSwitch, and its subclasses."""
_ON_NO_BRIDGE, _WITHOUT_TAP = ("tap", "external"), ("external", "host-device")
_PLAIN_PROFILE = "VIFPortProfileBase"
_ON_DEVICE = "vf or macvtap"
"""Instead of a vif_type, if the class alone does not determine it."""
_TAPS_PROFILE = "VIFPortProfileFPTap"


def recognises(data: Mapping[str, Any]) -> bool:
    """Whether an object is a serialised versioned object, by its keys."""
    return OBJECT in data or DATA in data


def members(data: Mapping[str, Any]) -> list[Any] | None:
    """The members of a serialised list; None for an object that is not a list."""
    content = data.get(DATA)
    objects = content.get("objects") if isinstance(content, Mapping) else None
    return objects if isinstance(objects, list) else None


def read(entry: Entry) -> model.Vif:
    """The VIF of an object. Its instance is another object, which the caller gives.

    :raises InputError: for a wrong field, with its name in os-vif.
    """
    if entry.data.get(NAMESPACE) not in (None, "os_vif"):
        raise entry.refusal(NAMESPACE, "it must be os_vif")
    fields = _content(entry)
    vif = Entry(fields.data, fields.path, as_uuid(fields.data.get("id")) or "")
    vif_type = _vif_type(entry, vif)
    identity = vif.require("id", "and an os-vif VIF needs it")
    address = vif.require("address", "and a VIF needs it")
    network, profile = _nested(vif, "network"), _nested(vif, "port_profile")
    profile.check_interface_id("interface_id")
    _check_technology(vif_type, vif)
    if entry.data.get(OBJECT) == _DIRECT:
        return _direct(vif, network)
    bridge, bridge_key = _bridge(vif_type, vif, network)
    return vif.vif(
        {
            "id": identity,
            "vif_type": vif_type,
            "address": address,
            "network": {
                "id": network.data.get("id"),
                "bridge": bridge.data.get(bridge_key) if vif_type not in _ON_NO_BRIDGE else None,
                "mtu": network.mtu("mtu"),
                "datapath_type": profile.text("datapath_type") or None,
                "uplink": binding.uplink(network, "provide") if vif_type == "bridge" else None,
            },
            **_end(entry, vif, profile, vif_type),
            **(_tap(vif_type, profile) if vif_type not in _WITHOUT_TAP else {}),
            "multiqueue": profile.flag("multiqueue"),
            "names": _names(vif_type, vif),
        },
        {
            "network.bridge": bridge.at(bridge_key),
            "network.datapath_type": profile.at("datapath_type"),
            **binding.sources_of_uplink(network),
            "names.tap": vif.at("vif_name"),
            "names.qbr": vif.at("bridge_name"),
            "tap.address": profile.at("mac_address"),
            "pci_device.address": vif.at("dev_address"),
            "vhost_user.socket": vif.at("path"),
            "vhost_user.mode": vif.at("mode"),
        },
    )


def _direct(vif: Entry, network: Entry) -> model.Vif:
    """A VIFDirect. The VMM chooses its ``vif_name``, that of the macvtap."""
    of_network = {"id": network.data.get("id"), "mtu": network.mtu("mtu")}
    identity = {"id": vif.data["id"], "address": vif.data["address"], "network": of_network}
    sources = {"pci_device.address": vif.at("dev_address"), **devices.sources_of_direct(vif, network)}
    return vif.vif({**identity, **devices.direct(vif, network)}, sources)


def _vif_type(entry: Entry, vif: Entry) -> str:
    """By the object's class and plugin: a VIFBridge is a hybrid VIF's qbr, or a network's Linux bridge."""
    plugin = vif.data.get("plugin")
    match entry.data.get(OBJECT):
        case str(name) if name == _OPEN_VSWITCH:
            if plugin in (None, "ovs"):
                return "ovs"
            raise vif.refusal("plugin", f"it must be ovs, for a {_OPEN_VSWITCH}")
        case str(name) if name == _BRIDGE:
            if plugin == "ovs":
                return "ovs-hybrid"
            if plugin == "linux_bridge":
                return "bridge"
            raise vif.refusal("plugin", f"it must be ovs or linux_bridge, for a {_BRIDGE}")
        case str(name) if name == _GENERIC:
            if plugin in (None, "ovs"):
                return "tap"
            raise vif.refusal("plugin", f"it must be ovs, for a {_GENERIC}: every other plugin wires the tap itself")
        case str(name) if name == _VHOST_USER:
            if plugin in (None, "ovs"):
                return "vhost-user"
            if plugin == _NOOP:
                return "external"
            raise vif.refusal("plugin", f"it must be ovs or {_NOOP}, for a {_VHOST_USER}")
        case str(name) if name == _DIRECT:
            if plugin in (None, "ovs"):
                return _ON_DEVICE
            raise vif.refusal("plugin", f"it must be ovs, for a {_DIRECT}")
        case str(name) if name == _HOST_DEVICE:
            if plugin in (None, "ovs"):
                return "host-device"
            if plugin == _NOOP:
                return "external"
            raise vif.refusal("plugin", f"it must be ovs or {_NOOP}, for a {name}")
    which = f"VIF {vif.subject}" if vif.subject else "the object"
    should = f"{which} is of a class vifplug does not plug; it must be one of {', '.join(_CLASSES)}"
    raise messages.refusal(entry.at(OBJECT), entry.data.get(OBJECT), should, vif.subject)


def _check_technology(vif_type: str, vif: Entry) -> None:
    """Refuse unsupported parts: any port profile but the type's own."""
    if vif_type == "bridge":
        return
    profile = vif.part("port_profile")
    if vif_type == "external":
        return
    if vif_type == _ON_DEVICE:
        if profile.data.get(OBJECT) not in (None, _PLAIN_PROFILE):
            raise profile.refusal(OBJECT, f"it must be omitted, for a {_DIRECT}: vifplug does not support 802.1Qbg")
        return
    if vif_type == "tap":
        if profile.data.get(OBJECT) not in (None, _TAPS_PROFILE):
            raise profile.refusal(OBJECT, f"it must be {_TAPS_PROFILE}, or be omitted, for a {_GENERIC}")
    elif profile.data.get(OBJECT) not in (None, *_PROFILES):
        raise profile.refusal(OBJECT, f"it must be {_PROFILE}, for a port of Open vSwitch")


def _end(entry: Entry, vif: Entry, profile: Entry, vif_type: str) -> dict[str, Any]:
    """The guest's end of a VIF, if it is not a tap.

    os-vif itself goes by dev_address; callers that leave it out name the function in the profile.
    """
    if entry.data.get(OBJECT) == _VHOST_USER:
        socket = vif.require("path", "and the guest's end is that socket")
        return {"vhost_user": {"socket": socket, "mode": vif.text("mode") or model.SERVER}}
    if entry.data.get(OBJECT) != _HOST_DEVICE:
        return {}
    if vif_type == "external":
        address = vif.require("dev_address", "and the guest's end is that PCI function")
        return {"pci_device": {"address": address, "whole": vif.text("dev_type") == "generic"}}
    if vif.text("dev_type") == "generic":
        raise vif.refusal("dev_type", "it must be ethernet, for a virtual function with a representor")
    offload = _nested(profile, "datapath_offload")
    named = (place.data.get(_REPRESENTED) for place in (offload, profile))
    address = vif.data.get("dev_address") or next(filter(None, named), None)
    if address is None:
        vif.require("dev_address", "and the representor is that function's")
    return {"pci_device": {"address": address}}


def _tap(vif_type: str, profile: Entry) -> dict[str, Any]:
    """Which program makes the tap and the port; for a single tap, its MAC."""
    if vif_type == "tap":
        return {"tap": binding.lone_tap(profile)}
    create_tap = bool(profile.flag("create_tap"))
    # A tap that vifplug makes is useless without its port.
    create_port = profile.flag("create_port") if vif_type == "ovs" and not create_tap else None
    return {"create_tap": create_tap, "create_port": create_port}


def _names(vif_type: str, vif: Entry) -> dict[str, str | None]:
    """Device names that differ from the naming rule."""
    return {
        # os-vif also ignores the name of a vhost-user port.
        "tap": vif.own_name("vif_name", naming.ROLE_TAP) if vif_type not in ("vhost-user", *_WITHOUT_TAP) else None,
        "qbr": vif.own_name("bridge_name", naming.ROLE_BRIDGE) if vif_type == "ovs-hybrid" else None,
    }


def _bridge(vif_type: str, vif: Entry, network: Entry) -> tuple[Entry, str]:
    """The field with the bridge's name. os-vif's plugin ovs uses the network's; a hybrid VIF's bridge_name is its
    qbr."""
    by_network, by_vif = (network, "bridge"), (vif, "bridge_name")
    places = {"ovs": (by_network, by_vif), "bridge": (by_vif, by_network)}.get(vif_type, (by_network,))
    return next((place for place in places if place[0].data.get(place[1]) is not None), by_network)


def _nested(vif: Entry, key: str) -> Entry:
    """The fields of an object within the VIF; an empty one if it is unset or null."""
    nested = vif.part(key)
    return _content(nested) if nested.data else nested


def _content(entry: Entry) -> Entry:
    """An object's fields; their paths omit ``versioned_object.data``."""
    content = entry.data.get(DATA)
    if not isinstance(content, Mapping):
        raise entry.refusal(DATA, "it must be an object: the fields of a serialised os-vif object")
    return Entry(content, entry.path, entry.subject)
