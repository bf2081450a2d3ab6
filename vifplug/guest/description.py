"""A VIF in one of the formats, by the format's name. Pure."""

from __future__ import annotations

import shlex

from vifplug.errors import InputError
from vifplug.guest import libvirt, qemu
from vifplug.guest.nic import Nic
from vifplug.guest.report import FORMATS, LIBVIRT, GuestReport
from vifplug.model import Vif


def check_format(format: str) -> None:
    """See that it is one of FORMATS.

    :raises InputError: when it is not.
    """
    if format not in FORMATS:
        raise InputError(f"format is {format!r:.80}; it must be one of {', '.join(FORMATS)}")


def describe(vif: Vif, format: str, nic: Nic | None = None) -> GuestReport:
    """What a hypervisor needs of a VIF.

    :raises InputError: for a format there is not, and when that hypervisor could not take it so.
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
