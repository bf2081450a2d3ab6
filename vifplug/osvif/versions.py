"""The content of host_info(): the supported os-vif classes and versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import os_vif.objects.vif
from os_vif.objects.host_info import HostPluginInfo, HostPortProfileInfo, HostVIFInfo
from os_vif.objects.vif import (
    VIFBridge,
    VIFDirect,
    VIFGeneric,
    VIFHostDevice,
    VIFOpenVSwitch,
    VIFPortProfileFPTap,
    VIFPortProfileOpenVSwitch,
    VIFPortProfileOVSRepresentor,
    VIFVHostUser,
)

CLASSES: Mapping[type[Any], tuple[type[Any], ...]] = {
    VIFBridge: (VIFPortProfileOpenVSwitch,),
    VIFOpenVSwitch: (VIFPortProfileOpenVSwitch,),
    VIFVHostUser: (VIFPortProfileOpenVSwitch,),
    VIFHostDevice: (VIFPortProfileOVSRepresentor, VIFPortProfileOpenVSwitch),
    VIFGeneric: (VIFPortProfileFPTap,),
    VIFDirect: (),
}
"""The classes that vifplug plugs, with their port profiles. A further class is a line here and, for what its objects
become, a case of ``formats.osvif``."""
_FIRST = "1.0"


def described(plugin_name: str, *vif_info: Any) -> Any:
    """A plugin's description, a new one for each call, because os-vif filters it in place."""
    return HostPluginInfo(plugin_name=plugin_name, vif_info=list(vif_info))


def plugged() -> list[Any]:
    """What vifplug plugs in place of os-vif's plugin ``ovs``."""
    return [_vif(class_, *profiles) for class_, profiles in CLASSES.items()]


def bridge() -> Any:
    """A VIF on a network's Linux bridge."""
    return _vif(VIFBridge)


def of_their_classes(described_: Any) -> list[Any]:
    """Another plugin's description, with the versions of the installed classes.

    os-vif's own plugins still report 1.0, which its classes do not support any more, so that get_common_version() finds
    none.
    """
    return [
        _vif(
            _class(info.vif_object_name),
            *(_class(profile.profile_object_name) for profile in info.supported_port_profiles),
        )
        for info in described_.vif_info
    ]


def _class(name: str) -> Any:
    return getattr(os_vif.objects.vif, name)


def _vif(class_: Any, *profiles: Any) -> Any:
    return HostVIFInfo(
        vif_object_name=class_.__name__,
        min_version=_FIRST,
        max_version=class_.VERSION,
        supported_port_profiles=[
            HostPortProfileInfo(profile_object_name=profile.__name__, min_version=_FIRST, max_version=profile.VERSION)
            for profile in profiles
        ],
    )
