"""When a daemon is ready: its first comparison of everything has ended, with the repairs that it called for. Pure.

A unit ordered behind vifplugd (libvirtd, nova-compute) then finds the links and the ports that a reboot took away. What
holds the comparison up is waited for within bounds: a host must boot without Open vSwitch, too.
"""

from __future__ import annotations

from dataclasses import dataclass

_OVS_SECONDS = 30.0
"""From the worker's start: how long Open vSwitch may take to answer, or to do what a repair asks of it."""
_SECONDS_MAX = 240.0
"""The same for a comparison that goes on: after a boot thousands of VIFs are made again."""


@dataclass(slots=True, kw_only=True)
class Readiness:
    """Written by the keeper's thread, read by the server's."""

    began: float
    """When the worker began, in seconds of a monotonic clock."""
    has_compared: bool = False
    """Each recorded VIF is right, was repaired, or could not be repaired twice."""
    awaits_ovs: bool = False
    """Open vSwitch does not answer, or did not do in time what a repair asked of it."""

    def is_reached(self, now: float) -> bool:
        """Whether the daemon is ready."""
        return self.has_compared or now - self.began >= (_OVS_SECONDS if self.awaits_ovs else _SECONDS_MAX)
