"""A guest's description, as the library, the daemon and the command line return it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from vifplug.errors import InputError
from vifplug.model.codec import NEEDED, Value

LIBVIRT, QEMU = "libvirt", "qemu"
FORMATS = (LIBVIRT, QEMU)


def check_format(format: str) -> None:
    """Check that it is one of FORMATS.

    :raises InputError: it is not.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise InputError(f"format is {format!r:.80}; it must be one of {', '.join(FORMATS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReport(Value):
    """What a hypervisor needs for a VIF."""

    id: str
    format: str
    """libvirt or qemu."""
    text: str
    """The element, or the arguments quoted for a shell."""
    arguments: Sequence[str] = field(default=(), metadata=NEEDED)
    """QEMU's, one by one; none for libvirt."""
    before: Sequence[Sequence[str]] = field(default=(), metadata=NEEDED)
    """Commands that must run, as root, before QEMU: they make the tap if vifplug does not."""

    @property
    def warnings(self) -> list[str]:
        """A warning for people; not part of the JSON, which has ``before``."""
        if not self.before:
            return []
        commands = " && ".join(map(shlex.join, self.before))
        if "macvtap" in self.before[-2]:
            name = self.before[-1][4]
            return [
                f"QEMU takes the macvtap of VIF {self.id} as descriptor 3; first run, as root: {commands}; then start "
                f"it with 3<>/dev/tap$(cat /sys/class/net/{name}/ifindex)"
            ]
        return [
            f"the VMM has to create the tap of VIF {self.id}, and QEMU would leave it down and on no bridge: plug the "
            f"VIF again with --create-tap, so that vifplug creates it; or first run, as root: {commands}"
        ]
