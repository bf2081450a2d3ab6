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
    from vifplug.api import local
    from vifplug.client import connect
    from vifplug.doctor.about import HostInfo
    from vifplug.doctor.findings import Diagnosis, Finding
    from vifplug.events import Event, Waited, WaitReport
    from vifplug.formats import load, load_all, schema
    from vifplug.model import Instance, Network, Vif
    from vifplug.reports import CheckReport, GcReport, VifReport
    from vifplug.waiting import Expectation

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
    "CheckReport": "vifplug.reports",
    "Diagnosis": "vifplug.doctor.findings",
    "Event": "vifplug.events",
    "Expectation": "vifplug.waiting",
    "Finding": "vifplug.doctor.findings",
    "GcReport": "vifplug.reports",
    "HostInfo": "vifplug.doctor.about",
    "Instance": "vifplug.model",
    "Network": "vifplug.model",
    "Vif": "vifplug.model",
    "VifReport": "vifplug.reports",
    "WaitReport": "vifplug.events",
    "Waited": "vifplug.events",
    "connect": "vifplug.client",
    "load": "vifplug.formats",
    "load_all": "vifplug.formats",
    "local": "vifplug.api",
    "schema": "vifplug.formats",
}


def __getattr__(name: str) -> Any:
    """Import on first use: a command line that only prints a schema needs no netlink."""
    if name in ("errors", "guest"):
        return importlib.import_module(f"vifplug.{name}")
    if name in _WHERE:
        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'vifplug' has no attribute {name!r}")
