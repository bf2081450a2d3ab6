"""vifplug plugs guests' virtual interfaces into their host's network: all or nothing, and ours only.

import vifplug

vif = vifplug.load(port, instance={"uuid": uuid})
with vifplug.connect() as host:  # through the daemon; vifplug.local() works in this process
    host.plug([vif])

``Host`` documents what both can do; a function that takes one is annotated with it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # a command that asks the daemon takes as long as importing typing and importlib
if TYPE_CHECKING:
    from typing import Any

    from vifplug import aio as aio
    from vifplug import errors as errors
    from vifplug import guest as guest
    from vifplug import testing as testing
    from vifplug.api.contract import Host
    from vifplug.api.local import local
    from vifplug.api.remote import connect
    from vifplug.api.wait import Expectation
    from vifplug.doctor.findings import Diagnosis, Finding
    from vifplug.doctor.host_info import DaemonInfo, HostInfo, OvsInfo
    from vifplug.formats import load, load_all, schema
    from vifplug.guest.report import GuestReport
    from vifplug.model.claims import Claims
    from vifplug.model.events import Event, EventChange, Waited, WaitReport
    from vifplug.model.reports import (
        AbsentGuest,
        CheckReport,
        DeviceReport,
        DriftItem,
        GcReport,
        Hop,
        InstanceReport,
        Orphan,
        PathReport,
        PlannedAction,
        PlanReport,
        PortReport,
        Progress,
        VifCheck,
        VifReport,
    )
    from vifplug.model.vif import Instance, Names, Network, TapOwner, Vif
    from vifplug.trace.values import (
        Cause,
        Counted,
        Neighbour,
        ProbeReport,
        Station,
        TracedFrame,
        TracedPort,
        TraceHop,
        TraceReport,
    )

    __version__: str

__all__ = [
    "AbsentGuest",
    "Cause",
    "CheckReport",
    "Claims",
    "Counted",
    "DaemonInfo",
    "DeviceReport",
    "Diagnosis",
    "DriftItem",
    "Event",
    "EventChange",
    "Expectation",
    "Finding",
    "GcReport",
    "GuestReport",
    "Hop",
    "Host",
    "HostInfo",
    "Instance",
    "InstanceReport",
    "Names",
    "Neighbour",
    "Network",
    "Orphan",
    "OvsInfo",
    "PathReport",
    "PlanReport",
    "PlannedAction",
    "PortReport",
    "ProbeReport",
    "Progress",
    "Station",
    "TapOwner",
    "TraceHop",
    "TraceReport",
    "TracedFrame",
    "TracedPort",
    "Vif",
    "VifCheck",
    "VifReport",
    "WaitReport",
    "Waited",
    "aio",
    "connect",
    "errors",
    "guest",
    "load",
    "load_all",
    "local",
    "schema",
    "testing",
]

_WHERE = {
    "vifplug.api.contract": ("Host",),
    "vifplug.api.local": ("local",),
    "vifplug.api.remote": ("connect",),
    "vifplug.api.wait": ("Expectation",),
    "vifplug.doctor.findings": ("Diagnosis", "Finding"),
    "vifplug.doctor.host_info": ("DaemonInfo", "HostInfo", "OvsInfo"),
    "vifplug.formats": ("load", "load_all", "schema"),
    "vifplug.guest.report": ("GuestReport",),
    "vifplug.model.claims": ("Claims",),
    "vifplug.model.events": ("Event", "EventChange", "WaitReport", "Waited"),
    "vifplug.model.reports": (
        *("AbsentGuest", "CheckReport", "DeviceReport", "DriftItem", "GcReport", "Hop", "InstanceReport", "Orphan"),
        *("PathReport", "PlanReport", "PlannedAction", "PortReport", "Progress", "VifCheck", "VifReport"),
    ),
    "vifplug.trace.values": (
        *(
            "Cause",
            "Counted",
            "Neighbour",
            "ProbeReport",
            "Station",
            "TraceHop",
            "TraceReport",
            "TracedFrame",
            "TracedPort",
        ),
    ),
    "vifplug.model.vif": ("Instance", "Names", "Network", "TapOwner", "Vif"),
}
"""The module of each public name."""
_MODULES = {name: module for module, names in _WHERE.items() for name in names}


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


if not TYPE_CHECKING:  # otherwise a checker would accept any name

    def __getattr__(name: str) -> Any:
        """Import on first use: a command line that only prints a schema needs no netlink."""
        import importlib

        if name in _MODULES:
            return getattr(importlib.import_module(_MODULES[name]), name)
        if name in __all__:
            return importlib.import_module(f"vifplug.{name}")
        if name == "__version__":
            return importlib.import_module("vifplug.version").installed()
        raise AttributeError(f"module 'vifplug' has no attribute {name!r}")
