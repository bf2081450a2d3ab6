"""The command guest: a recorded VIF, and what a guest's network card needs to know of its host."""

from __future__ import annotations

from dataclasses import dataclass

from vifplug.drivers.guest_end import FunctionMacvtap, HostDevice
from vifplug.drivers.registry import guest_end, guest_link
from vifplug.engine import report
from vifplug.engine.commands import inspect
from vifplug.engine.context import Context
from vifplug.engine.host import Scope
from vifplug.engine.plan import resolve as plan_resolve
from vifplug.model.vif import Vif
from vifplug.resources import kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """The host's properties that a guest's network card depends on."""

    vif: Vif
    is_userspace: bool = False
    """Whether the guest's tap is a port of OVS's userspace datapath."""
    function_device: str = ""
    """The network device of the virtual function on which the guest has a macvtap; "" if it has none."""
    vdpa: str = ""
    """The character device of its function's vDPA device; "" if there is none."""


def guest_seat(context: Context, vif_id: str) -> Seat:
    """A recorded VIF, and what its guest's card depends on.

    Open vSwitch is asked only if the tap is a port.

    :raises UnknownVif: it is not recorded.
    :raises OvsUnavailable, BridgeMissing: the datapath is unknown; a wrong guess would lose frames, or slow them down.
    """
    record = report.known(context.store, vif_id)
    end = guest_end(record.vif)
    if isinstance(end, HostDevice) and end.vdpa is not False:
        # The number of a vDPA device is another one after each boot.
        kinds_ = kinds.functions_in(record.resources)
        scope = Scope(links=frozenset(kinds_), function_kinds=kinds_, ovs=False)
        function = inspect.observe(context, scope).links.get(end.address)
        return Seat(vif=record.vif, vdpa=(function.vdpa or "") if function is not None else "")
    if isinstance(end, FunctionMacvtap):
        # Its driver, or udev, may have given the device another name since the plug.
        function = inspect.observe(context, inspect.scope_of([record])).links.get(end.address)
        return Seat(vif=record.vif, function_device=function.own_device if function is not None else "")
    tap = guest_link(record.vif)
    ports = [port for port in kinds.ports_in(record.resources) if port.name == tap]
    if not ports:
        return Seat(vif=record.vif)
    observed = inspect.observe(context, inspect.scope_of([record]))
    plan_resolve.resolve(ports, observed)
    return Seat(vif=record.vif, is_userspace=any(observed.bridges[port.bridge].userspace for port in ports))
