"""The guest's end of a VIF: the values that ``Driver.guest_end`` returns. Pure.

A guest of a VIF that a remote host or a smart NIC serves has no end here: None.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tap:
    """A tap that the guest's VMM opens. vifplug or the VMM makes it."""

    name: str


@dataclass(frozen=True, slots=True)
class VhostUser:
    """A socket that connects the guest's VMM and Open vSwitch's userspace datapath."""

    path: str
    is_server: bool
    """Whether the VMM listens on it."""


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A PCI function that is given to the guest."""

    address: str
    """As in ``0000:3b:10.2``."""
    vdpa: bool | None = False
    """Whether the guest gets the function's vDPA device in its place; None for "if it has one": os-vif's objects do not
    say."""


@dataclass(frozen=True, slots=True)
class Macvtap:
    """A macvtap that the guest's VMM makes on a device."""

    source: str
    mode: str


@dataclass(frozen=True, slots=True)
class FunctionMacvtap:
    """A macvtap that the guest's VMM makes on the network device of a virtual function."""

    address: str
    """The function's PCI address. Its network device is known to the host alone."""
    mode: str


GuestEnd = Tap | VhostUser | HostDevice | Macvtap | FunctionMacvtap | None


def link_of(end: GuestEnd) -> str:
    """The name of the link that shows on this host whether the guest exists; "" if there is none."""
    return end.name if isinstance(end, Tap) else ""
