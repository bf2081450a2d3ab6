"""The drivers by vif_type: vifplug's own, and those of the entry points ``vifplug.drivers``."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Mapping
from typing import Any

from vifplug.drivers.bridge import LinuxBridge
from vifplug.drivers.contract import Driver, tap_name
from vifplug.drivers.external import External
from vifplug.drivers.guest_end import GuestEnd, Tap, link_of
from vifplug.drivers.host_device import RepresentedFunction
from vifplug.drivers.macvtap import OnDevice
from vifplug.drivers.ovs import Ovs
from vifplug.drivers.ovs_hybrid import OvsHybrid
from vifplug.drivers.tap import LoneTap
from vifplug.drivers.vf import VirtualFunction
from vifplug.drivers.vhost_user import VhostUserPort
from vifplug.errors import InputError
from vifplug.model.vif import Vif
from vifplug.resources import kinds

LOG = logging.getLogger(__name__)

GROUP = "vifplug.drivers"
"""Of entry points."""
_OWN: tuple[Driver, ...] = (
    OvsHybrid(),
    Ovs(),
    LinuxBridge(),
    LoneTap(),
    External(),
    VhostUserPort(),
    OnDevice(),
    VirtualFunction(),
    RepresentedFunction(),
)


_OWN_BY_TYPE: Mapping[str, Driver] = {driver.vif_type: driver for driver in _OWN}


@functools.cache
def drivers() -> Mapping[str, Driver]:
    """Every driver by vif_type. A broken third-party driver is skipped, with a warning."""
    by_type = dict(_OWN_BY_TYPE)
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        if entry_point.name in by_type:
            continue
        try:
            by_type[entry_point.name] = entry_point.load()()
        except Exception as error:
            LOG.warning("skipped the driver of vif_type %r (%s): %s", entry_point.name, entry_point.value, error)
    return by_type


kinds.load_with(drivers)


def _driver(vif_type: str) -> Driver | None:
    # The entry points of all installed packages are read only if necessary: that takes 4 ms, once in a process.
    return _OWN_BY_TYPE.get(vif_type) or drivers().get(vif_type)


def driver_for(vif_type: str, vif_id: str = "") -> Driver:
    """The driver of a vif_type.

    :raises InputError: when there is none.
    """
    driver = _driver(vif_type)
    if driver is None:
        known = ", ".join(sorted(drivers()))
        raise InputError(
            f"vif_type of VIF {vif_id} is {vif_type!r}, which has no driver here; vif_types with a driver: {known}",
            vif_id,
        )
    return driver


def guest_end(vif: Vif) -> GuestEnd:
    """The guest's end of a plugged VIF: from its driver or, if that is no longer installed, the tap of the naming rule.

    A VIF can be shown and unplugged without its driver.
    """
    driver = _driver(vif.vif_type)
    return end_by(driver, vif) if driver is not None else Tap(tap_name(vif))


def end_by(driver: Driver, vif: Vif) -> GuestEnd:
    """The guest's end of a VIF, from its driver; a driver for vifplug's first contract names a tap."""
    named: Any = driver
    return driver.guest_end(vif) if hasattr(driver, "guest_end") else Tap(named.guest_link(vif))


def guest_link(vif: Vif) -> str:
    """The link that shows whether a plugged VIF's guest exists; "" if there is none."""
    return link_of(guest_end(vif))
