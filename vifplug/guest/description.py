"""A VIF in one of the formats, by the format's name. Pure."""

from __future__ import annotations

import shlex

from vifplug.guest import libvirt, qemu
from vifplug.guest.nic import Nic
from vifplug.guest.report import LIBVIRT, GuestReport, check_format
from vifplug.model.vif import Vif


def describe(vif: Vif, format: str, nic: Nic | None = None) -> GuestReport:
    """What a hypervisor needs for a VIF.

    :raises InputError: for an unknown format, and for a card or a name that the hypervisor cannot use.
    """
    check_format(format)
    if format == LIBVIRT:
        return GuestReport(id=vif.id, format=format, text=libvirt.text(vif, nic))
    arguments, before = qemu.arguments(vif, nic), qemu.before(vif, nic)
    return GuestReport(
        id=vif.id,
        format=format,
        text=shlex.join(arguments),
        arguments=tuple(arguments),
        before=tuple(map(tuple, before)),
    )
