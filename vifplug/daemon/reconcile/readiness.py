"""When a daemon is ready: its first comparison of everything has ended, with its repairs. Pure.

A unit ordered after vifplugd (libvirtd, nova-compute) then finds the links and ports that a reboot removed. The wait is
bounded: a host must boot without Open vSwitch, too.
"""

from __future__ import annotations

from dataclasses import dataclass

_OVS_SECONDS = 30.0
"""From the worker's start: the limit for Open vSwitch to answer, or to carry out a repair."""
_SECONDS_MAX = 240.0
"""The limit for a running comparison: after a boot thousands of VIFs are recreated."""


@dataclass(slots=True, kw_only=True)
class Readiness:
    """Written by the keeper's thread, read by the server's."""

    began: float
    """When the worker began, in seconds of a monotonic clock."""
    has_compared: bool = False
    """Each recorded VIF matches, was repaired, or its repair failed twice."""
    awaits_ovs: bool = False
    """Open vSwitch does not answer, or did not carry out a repair in time."""

    def is_reached(self, now: float) -> bool:
        """Whether the daemon is ready."""
        return self.has_compared or now - self.began >= (_OVS_SECONDS if self.awaits_ovs else _SECONDS_MAX)
