"""The command guest: a recorded VIF, and what a guest's network card needs to know of its host."""

from __future__ import annotations

from vifplug.drivers.registry import guest_link
from vifplug.engine import report
from vifplug.engine.commands import inspect
from vifplug.engine.context import Context
from vifplug.engine.plan import resolve as plan_resolve
from vifplug.model.vif import Vif
from vifplug.resources import kinds


def guest_seat(context: Context, vif_id: str) -> tuple[Vif, bool]:
    """A recorded VIF, and whether its guest's tap is a port of OVS's userspace datapath.

    Open vSwitch is asked only if the tap is a port.

    :raises UnknownVif: it is not recorded.
    :raises OvsUnavailable, BridgeMissing: the datapath is unknown; a wrong guess would lose frames, or slow them down.
    """
    record = report.known(context.store, vif_id)
    tap = guest_link(record.vif)
    ports = [port for port in kinds.ports_in(record.resources) if port.name == tap]
    if not ports:
        return record.vif, False
    observed = inspect.observe(context, inspect.scope_of([record]))
    plan_resolve.resolve(ports, observed)
    return record.vif, any(observed.bridges[port.bridge].userspace for port in ports)
