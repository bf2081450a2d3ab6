"""An os-vif object and its InstanceInfo -> model.Vif. Pure.

``formats`` reads the object's serialised form, as for ``vifplug plug``; this module decides what only concerns callers
of os-vif: who creates the port, and which VIFs os-vif's own plugins have to plug.
"""

from __future__ import annotations

from typing import Any

from os_vif.objects.vif import VIFBridge, VIFOpenVSwitch, VIFPortProfileOpenVSwitch

from vifplug import formats, naming
from vifplug.errors import InputError
from vifplug.model import vif as model
from vifplug.osvif import versions

OVS, LINUX_BRIDGE, VIFPLUG = "ovs", "linux_bridge", "vifplug"
"""The names of vifplug's os-vif plugins."""
_DATA = "versioned_object.data"


def field_of(object_: Any, field: str) -> Any:
    """The value of a field; None for an unset one, or one that the installed os-vif does not have."""
    return getattr(object_, field) if object_ is not None and field in object_ else None


def read(vif: Any, instance_info: Any, *, isolates: bool = False, gives_own_bridge: bool = False) -> model.Vif:
    """The VIF to plug. An unset ``create_port`` is false, as os-vif takes it: libvirt makes the port.

    :param isolates: whether new OVS ports are dead until they are wired, regardless of vifplug's configuration.
    :param gives_own_bridge: whether it gets an OVS bridge of its own, regardless of vifplug's configuration.
    :raises InputError: for an invalid or unsupported object, with the name of the field.
    """
    serialised = vif.obj_to_primitive()
    if isinstance(vif, VIFOpenVSwitch):
        serialised[_DATA]["port_profile"][_DATA]["create_port"] = wants_a_port(vif)
    plugin = field_of(vif, "plugin")
    if plugin == VIFPLUG:
        plugin = serialised[_DATA]["plugin"] = _plugin_name(vif)
    request = formats.load(serialised, format="os-vif", instance=_instance(instance_info))
    more = {"isolate": True} if isolates and plugin == OVS else {}
    return request.model_copy(update={**more, "per_port_bridge": True} if gives_own_bridge else more)


def is_of_our_class(vif: Any) -> bool:
    """Whether vifplug supports objects of this class."""
    return isinstance(vif, tuple(versions.CLASSES))


def is_on_trunk(vif: Any) -> bool:
    """Whether its OVS bridge is a trunk's, which the plugin creates and deletes."""
    return naming.is_trunk_bridge(field_of(field_of(vif, "network"), "bridge") or "")


def wants_a_port(vif: Any) -> bool:
    """Whether the plugin creates the port; create_tap implies that: a tap alone is of no use to a guest.

    :raises InputError: for an object that does not show it.
    """
    if not isinstance(vif, VIFOpenVSwitch):
        return True
    profile = field_of(vif, "port_profile")
    if profile is None:
        raise InputError(f"port_profile of VIF {vif.id} is unset, but it decides who creates the port", vif.id)
    return bool(field_of(profile, "create_port") or field_of(profile, "create_tap"))


def _plugin_name(vif: Any) -> str:
    """The os-vif plugin that corresponds to a request for plugin ``vifplug``: a VIFBridge has two meanings."""
    if isinstance(vif, VIFBridge) and not isinstance(field_of(vif, "port_profile"), VIFPortProfileOpenVSwitch):
        return LINUX_BRIDGE
    return OVS


def _instance(instance_info: Any) -> dict[str, str] | None:
    uuid = field_of(instance_info, "uuid")
    return {"uuid": uuid, "name": field_of(instance_info, "name")} if uuid else None
