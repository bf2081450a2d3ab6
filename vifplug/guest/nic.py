"""The guest's network card: its properties that are not part of the VIF."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vifplug.errors import InputError
from vifplug.model.limits import QUEUES_MAX, VIRTIO

MODEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"
"""Libvirt's pattern, without characters that QEMU would read as another property."""

_MODEL = re.compile(MODEL_PATTERN.removesuffix("$") + r"\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network card.

    :raises InputError: for values that no hypervisor can use.
    """

    model: str = VIRTIO
    """Libvirt's model name, or the name of a QEMU device."""
    queues: int | None = None
    """Usually the guest's number of CPUs; None is one, or two for a multi-queue tap."""
    is_userspace: bool = False
    """Whether the OVS bridge has the userspace datapath; it matters if the guest's tap is itself the port."""

    function_device: str = ""
    """The network device of the VIF's virtual function; it matters if the guest has a macvtap on that."""

    vdpa: str = ""
    """The character device of the vDPA device of the function that the VIF is; "" where it has none."""

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not _MODEL.match(self.model):
            raise InputError(f"model is {self.model!r:.80}; it must be letters, digits, '-' and '_', such as virtio")
        if self.queues is None:
            return
        is_number = isinstance(self.queues, int) and not isinstance(self.queues, bool)
        if not is_number or not 1 <= self.queues <= QUEUES_MAX:
            raise InputError(f"queues is {self.queues!r:.80}; it must be a whole number from 1 to {QUEUES_MAX}")

    @property
    def is_virtio(self) -> bool:
        """Whether the guest and the host share queues, checksums and an MTU."""
        return self.model == VIRTIO or self.model.startswith(f"{VIRTIO}-")
