"""An os-vif object and the InstanceInfo beside it -> model.Vif. Pure.

The reading itself is that of ``vifplug plug``, of the object's serialised form; here is what only matters to who calls
os-vif: who makes the port, and what os-vif's plugins do that vifplug does not.
"""

from __future__ import annotations

from typing import Any

from os_vif.objects.vif import VIFBridge, VIFOpenVSwitch, VIFPortProfileOpenVSwitch

from vifplug import formats, naming
from vifplug.errors import InputError
from vifplug.model import vif as model

OVS, LINUX_BRIDGE, VIFPLUG = "ovs", "linux_bridge", "vifplug"
"""The names of os-vif's plugins that vifplug is."""
_DATA = "versioned_object.data"


def field_of(object_: Any, field: str) -> Any:
    """What a field holds; None for one that is unset, or unknown to the version of os-vif that is installed."""
    return getattr(object_, field) if object_ is not None and field in object_ else None


def read(vif: Any, instance_info: Any, *, isolates: bool = False) -> model.Vif | None:
    """The VIF to plug; None for one whose port libvirt makes by itself, and would make anew if it were there.

    :param isolates: whether new OVS ports are to be dead until they are wired, whatever vifplug's configuration says.
    :raises InputError: for what is wrong with it, or is nothing that vifplug plugs; it names the field.
    """
    if isinstance(vif, VIFOpenVSwitch) and not _wants_a_port(vif):
        return None
    serialised = vif.obj_to_primitive()
    plugin = field_of(vif, "plugin")
    if plugin == VIFPLUG:
        plugin = serialised[_DATA]["plugin"] = _plugin_meant(vif)
    found = formats.load(serialised, format="os-vif", instance=_instance(instance_info))
    return found.model_copy(update={"isolate": True}) if isolates and plugin == OVS else found


def is_of_our_class(vif: Any) -> bool:
    """Whether vifplug plugs such objects at all."""
    return isinstance(vif, VIFBridge | VIFOpenVSwitch)


def is_on_trunk(vif: Any) -> bool:
    """Whether its OVS bridge is a trunk's, which os-vif makes and deletes; vifplug makes no OVS bridges."""
    return naming.is_trunk_bridge(field_of(field_of(vif, "network"), "bridge") or "")


def _wants_a_port(vif: Any) -> bool:
    """create_tap asks for a port as well: a guest does not get far on a tap alone."""
    profile = field_of(vif, "port_profile")
    if profile is None:
        raise InputError(f"port_profile of VIF {vif.id} is unset, and it is what says who makes the port", vif.id)
    return bool(field_of(profile, "create_port") or field_of(profile, "create_tap"))


def _plugin_meant(vif: Any) -> str:
    """Which of os-vif's plugins makes what is asked of vifplug by name: a VIFBridge can be two things."""
    if isinstance(vif, VIFBridge) and not isinstance(field_of(vif, "port_profile"), VIFPortProfileOpenVSwitch):
        return LINUX_BRIDGE
    return OVS


def _instance(instance_info: Any) -> dict[str, str] | None:
    uuid = field_of(instance_info, "uuid")
    return {"uuid": uuid, "name": field_of(instance_info, "name")} if uuid else None
