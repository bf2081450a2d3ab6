"""A guest's description as the library, the daemon and the command line hand it on; and back from its JSON."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from vifplug.errors import InputError

LIBVIRT, QEMU = "libvirt", "qemu"
FORMATS = (LIBVIRT, QEMU)


def check_format(format: str) -> None:
    """See that it is one of FORMATS.

    :raises InputError: when it is not.
    """
    if not isinstance(format, str) or format not in FORMATS:
        raise InputError(f"format is {format!r:.80}; it must be one of {', '.join(FORMATS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestReport:
    """What a hypervisor needs of one VIF."""

    id: str
    format: str
    """libvirt or qemu."""
    text: str
    """The element, or the arguments quoted for a shell."""
    arguments: Sequence[str] = ()
    """QEMU's, one by one."""
    before: Sequence[Sequence[str]] = ()
    """Commands that must have run, as root, before QEMU does: those that make the tap which vifplug did not make."""

    @property
    def warnings(self) -> list[str]:
        """What a person should read; not part of the JSON, which has it in ``before``."""
        if not self.before:
            return []
        commands = " && ".join(map(shlex.join, self.before))
        return [
            f"the tap of VIF {self.id} is the VMM's to make, and QEMU would leave it down and on no bridge: plug the "
            f"VIF again with --create-tap, and vifplug makes it; or first do, as root: {commands}"
        ]

    def as_json(self) -> dict[str, Any]:
        """Every field."""
        return {
            "id": self.id,
            "format": self.format,
            "text": self.text,
            "arguments": list(self.arguments),
            "before": [list(command) for command in self.before],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Of what ``as_json`` gave.

        :raises KeyError, TypeError: for anything else.
        """
        return cls(
            id=data["id"],
            format=data["format"],
            text=data["text"],
            arguments=tuple(data["arguments"]),
            before=tuple(map(tuple, data["before"])),
        )
