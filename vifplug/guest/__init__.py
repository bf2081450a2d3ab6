"""What a hypervisor needs of a plugged VIF: libvirt's ``<interface>`` element, QEMU's arguments. Pure.

from vifplug.guest import Nic, libvirt, qemu

qemu.arguments(vif, Nic(queues=4))

The VIF is one as recorded; what it leaves unsaid is taken as ``plug`` would, but for an MTU, which is left out. Nothing
heavy is imported here.
"""

from __future__ import annotations

from vifplug.guest.nic import Nic
from vifplug.guest.report import LIBVIRT, QEMU, GuestReport

__all__ = ["LIBVIRT", "QEMU", "GuestReport", "Nic"]
