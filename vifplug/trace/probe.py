"""The questions of a trace to a host, besides the doctor's. Each answer is plain data; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vifplug.doctor import probe


class Probe(probe.Probe, Protocol):
    """The kernel's counters and tables, and what ovs-vswitchd decides about frames.

    ``vifplug.netlink.traffic`` and ``vifplug.privileged.vswitchd`` document the answers. Every method raises a
    HostError when there is no answer.
    """

    def counters(self, names: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """What links have counted, by name."""
        ...

    def tables(self, names: Sequence[str], bridges: Sequence[str], address: str) -> Mapping[str, Any]:
        """What the kernel holds of links and of a MAC: ``stations``, ``neighbours``, ``disciplines``, ``filters``.

        :param bridges: the Linux bridges among the links.
        """
        ...

    def trace_frame(self, bridge: str, frame: Mapping[str, Any]) -> Mapping[str, str]:
        """The way of a frame through the flows of an OVS bridge."""
        ...

    def datapath_flows(self, bridge: str) -> Mapping[str, str]:
        """The flows of an OVS bridge's datapath."""
        ...

    def learnt_stations(self, bridge: str) -> Mapping[str, str]:
        """The forwarding table of an OVS bridge."""
        ...

    def send_frames(self, tap: Mapping[str, Any], count: int) -> Mapping[str, Any]:
        """Send marked frames as the guest of a tap that no guest holds."""
        ...
