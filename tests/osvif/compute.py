"""A stand-in for Nova's compute service: a process that plugs through os-vif, and knows nothing of vifplug.

Run by the python of .venv-osvif, where os-vif is; arguments: its configuration file, and ``eventlet`` to run on that.
One JSON object a line on standard input is one call, and one on standard output its answer.
"""

from __future__ import annotations

import importlib
import sys

if "eventlet" in sys.argv:
    importlib.import_module("eventlet").monkey_patch()  # before all else, as Nova does

import importlib.metadata
import json
import logging
from typing import Any

import os_vif
from os_vif import objects
from oslo_config import cfg
from vif_plug_ovs.ovs import OvsPlugin


def vif_of(said: dict[str, Any]) -> Any:
    """The object of a class and its fields; what is not said stays unset. Or of its serialised form."""
    if "versioned_object.name" in said:
        return objects.vif.VIFBase.obj_from_primitive(said)
    fields = {key: value for key, value in said.items() if key != "class"}
    if fields.get("network"):
        fields["network"] = objects.network.Network(**fields["network"])
    if fields.get("port_profile"):
        profile = dict(fields["port_profile"])
        class_ = getattr(objects.vif, profile.pop("class", "VIFPortProfileOpenVSwitch"))
        fields["port_profile"] = class_(**profile)
    return getattr(objects.vif, said["class"])(**fields)


def described() -> list[dict[str, Any]]:
    """What host_info says, and what common version os-vif finds for it; None for none."""
    return [
        {
            "plugin": plugin.plugin_name,
            "vif": vif.vif_object_name,
            "common": common(vif),
            "profiles": {one.profile_object_name: common(one) for one in vif.supported_port_profiles},
        }
        for plugin in os_vif.host_info().plugin_info
        for vif in plugin.vif_info
    ]


def common(described_: Any) -> str | None:
    """The version that both sides know."""
    try:
        return str(described_.get_common_version())
    except os_vif.exception.ExceptionBase:
        return None


def answer(call: dict[str, Any]) -> Any:
    """Do one call."""
    match call["call"]:
        case "plug" | "unplug" as verb:
            instance = objects.instance_info.InstanceInfo(**call["instance"])
            return getattr(os_vif, verb)(vif_of(call["vif"]), instance)
        case "host_info":
            return described()
        case "configure":
            for option, value in call["options"].items():
                cfg.CONF.set_override(option, value, group=call["group"])
            return None
        case "configure_no_more":
            return [cfg.CONF.clear_override(option, group=call["group"]) for option in call["options"]]
        case "reset":
            return os_vif.initialize(reset=True)
        case "subclass":
            theirs: Any = type("Theirs", (OvsPlugin,), {})
            return type(theirs.load("theirs")).__name__
        case "entry_points":
            return [[one.name, one.value] for one in importlib.metadata.entry_points(group="os_vif")]
        case other:
            raise ValueError(other)


def main(config_file: str) -> None:
    """Serve until standard input ends."""
    logging.basicConfig(level=logging.INFO)
    cfg.CONF(["--config-file", config_file], project="nova")
    os_vif.initialize()
    for line in sys.stdin:
        try:
            result: dict[str, Any] = {"answer": answer(json.loads(line))}
        except Exception as error:
            result = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
