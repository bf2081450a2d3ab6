"""The drivers by vif_type: vifplug's own, and those of stevedore's namespace ``vifplug.drivers``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from stevedore import ExtensionManager

from vifplug.drivers.bridge import LinuxBridge
from vifplug.drivers.contract import Driver, tap_name
from vifplug.drivers.external import External
from vifplug.drivers.guest_end import GuestEnd, Tap, link_of
from vifplug.drivers.ovs import Ovs
from vifplug.drivers.ovs_hybrid import OvsHybrid
from vifplug.drivers.tap import LoneTap
from vifplug.drivers.vhost_user import VhostUserPort
from vifplug.errors import InputError
from vifplug.model.vif import Vif

NAMESPACE = "vifplug.drivers"
_OWN: tuple[Driver, ...] = (OvsHybrid(), Ovs(), LinuxBridge(), LoneTap(), External(), VhostUserPort())


@functools.cache
def drivers() -> Mapping[str, Driver]:
    """Every driver by vif_type. A broken third-party driver is skipped."""
    by_type: dict[str, Driver] = {driver.vif_type: driver for driver in _OWN}
    others: ExtensionManager[Driver]
    others = ExtensionManager(NAMESPACE, invoke_on_load=True, on_load_failure_callback=_ignore)
    for extension in others:
        if extension.obj is not None:
            by_type.setdefault(extension.name, extension.obj)
    return by_type


def _ignore(_manager: object, _entry_point: object, _error: BaseException) -> None:
    """stevedore logs it."""


def driver_for(vif_type: str, vif_id: str = "") -> Driver:
    """The driver of a vif_type.

    :raises InputError: when there is none.
    """
    try:
        return drivers()[vif_type]
    except KeyError as error:
        known = ", ".join(sorted(drivers()))
        raise InputError(
            f"vif_type of VIF {vif_id} is {vif_type!r}, which has no driver here; vif_types with a driver: {known}",
            vif_id,
        ) from error


def guest_end(vif: Vif) -> GuestEnd:
    """The guest's end of a plugged VIF: from its driver or, if that is not installed any more, the tap of the naming
    rule.

    A VIF can be shown and unplugged without its driver.
    """
    driver = drivers().get(vif.vif_type)
    return end_by(driver, vif) if driver is not None else Tap(tap_name(vif))


def end_by(driver: Driver, vif: Vif) -> GuestEnd:
    """The guest's end of a VIF, from its driver; a driver for vifplug's first contract names a tap."""
    named: Any = driver
    return driver.guest_end(vif) if hasattr(driver, "guest_end") else Tap(named.guest_link(vif))


def guest_link(vif: Vif) -> str:
    """The link that shows whether a plugged VIF's guest is there; "" if there is none."""
    return link_of(guest_end(vif))
