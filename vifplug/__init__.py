"""vifplug plugs guests' virtual interfaces into their host's network: all or nothing, and ours only.

import vifplug

vif = vifplug.load(port, instance={"uuid": uuid})
with vifplug.connect() as host:  # through the daemon; vifplug.local() works in this process
    host.plug([vif])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vifplug import errors, guest
    from vifplug.api.local import local
    from vifplug.api.remote import connect
    from vifplug.api.wait import Expectation
    from vifplug.doctor.findings import Diagnosis, Finding
    from vifplug.doctor.host_info import HostInfo
    from vifplug.formats import load, load_all, schema
    from vifplug.model.events import Event, Waited, WaitReport
    from vifplug.model.reports import CheckReport, GcReport, VifReport
    from vifplug.model.vif import Instance, Network, Vif

__all__ = [
    "CheckReport",
    "Diagnosis",
    "Event",
    "Expectation",
    "Finding",
    "GcReport",
    "HostInfo",
    "Instance",
    "Network",
    "Vif",
    "VifReport",
    "WaitReport",
    "Waited",
    "connect",
    "errors",
    "guest",
    "load",
    "load_all",
    "local",
    "schema",
]

_WHERE = {
    "CheckReport": "vifplug.model.reports",
    "Diagnosis": "vifplug.doctor.findings",
    "Event": "vifplug.model.events",
    "Expectation": "vifplug.api.wait",
    "Finding": "vifplug.doctor.findings",
    "GcReport": "vifplug.model.reports",
    "HostInfo": "vifplug.doctor.host_info",
    "Instance": "vifplug.model.vif",
    "Network": "vifplug.model.vif",
    "Vif": "vifplug.model.vif",
    "VifReport": "vifplug.model.reports",
    "WaitReport": "vifplug.model.events",
    "Waited": "vifplug.model.events",
    "connect": "vifplug.api.remote",
    "load": "vifplug.formats",
    "load_all": "vifplug.formats",
    "local": "vifplug.api.local",
    "schema": "vifplug.formats",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a command line that only prints a schema needs no netlink."""
    if name in ("errors", "guest"):
        return importlib.import_module(f"vifplug.{name}")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'vifplug' has no attribute {name!r}")
