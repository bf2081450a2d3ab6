"""What a hypervisor needs for a plugged VIF: libvirt's ``<interface>`` element, QEMU's arguments. Pure.

from vifplug.guest import Nic, libvirt, qemu

qemu.arguments(vif, Nic(queues=4))

The VIF may be a recorded one or a request; missing values get the defaults of ``plug``, except the MTU, which is left
out. Nothing heavy is imported here.
"""

from __future__ import annotations

from vifplug.guest.nic import Nic
from vifplug.guest.report import LIBVIRT, QEMU, GuestReport

__all__ = ["LIBVIRT", "QEMU", "GuestReport", "Nic"]
