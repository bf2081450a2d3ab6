"""The doctor's and the trace's questions to the real host. Nothing is changed."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from vifplug import naming
from vifplug.config.options import Settings
from vifplug.errors import TimedOut
from vifplug.linux.turns import turn
from vifplug.netlink import addresses
from vifplug.netlink import socket as netlink
from vifplug.netlink.traffic import counters, stations, tc
from vifplug.privileged import diagnostics, probing, switching, vswitchd

_EXAMINING_MAX = 2
"""Concurrent examinations: the privileged side must have threads left for requests."""
_HELPER_SECONDS, _SECONDS, _OVSDB_SECONDS = 3.0, 10.0, 5.0
"""Time limit of the privileged side; for OVSDB, in addition to the time for the connection."""


_SETTINGS = (
    *("ipv4/ip_forward", "netfilter/nf_conntrack_count", "netfilter/nf_conntrack_max"),
    *("bridge/bridge-nf-call-iptables", "bridge/bridge-nf-call-ip6tables", "bridge/bridge-nf-call-arptables"),
)


class Call(Protocol):
    """Calls a verb of the privileged side, with a time limit in seconds."""

    def __call__(self, verb: Any, seconds: float, *arguments: Any) -> Any:
        """The verb's answer."""


class LinuxProbe:
    """This machine's privileged side, Open vSwitch, firewall and links: the real ``vifplug.trace.probe.Probe``."""

    def __init__(self, settings: Settings, call: Call) -> None:
        self._settings, self._call = settings, call
        self._slots = threading.BoundedSemaphore(_EXAMINING_MAX)

    def helper(self) -> Mapping[str, Any]:
        """The privileged side's process."""
        answer: Mapping[str, Any] = self._examine(diagnostics.helper, _HELPER_SECONDS)
        return answer

    def reach(self) -> Sequence[Mapping[str, Any]]:
        """The configured OVSDB addresses, and which of them answer."""
        answer: Sequence[Mapping[str, Any]] = self._examine(diagnostics.reach, _SECONDS)
        return answer

    def vswitchd(self) -> Mapping[str, Any]:
        """Whether ovs-vswitchd answers at its control socket, and its version."""
        answer: Mapping[str, Any] = self._examine(diagnostics.vswitchd, _SECONDS)
        return answer

    def forwarding(self) -> Mapping[str, Any]:
        """The messages of nftables' chains, and iptables-legacy's families."""
        answer: Mapping[str, Any] = self._examine(diagnostics.forwarding, _SECONDS)
        return answer

    def firewall(self, kind: str, family: int, table: str, name: str) -> Sequence[bytes] | None:
        """The messages of a chain's ``rules`` or of a set's ``elements``; None if it does not exist, or is too
        large."""
        answer: Sequence[bytes] | None = self._examine(diagnostics.firewall, _SECONDS, kind, family, table, name)
        return answer

    def about(self) -> Mapping[str, Any]:
        """Open vSwitch's versions, types and bridges."""
        answer: Mapping[str, Any] = self._examine(diagnostics.about, _OVSDB_SECONDS + 2 * self._settings.timeout)
        return answer

    def switch(self) -> Mapping[str, Any]:
        """Open vSwitch's bridges, ports and mirrors, and whether vswitchd is behind."""
        answer: Mapping[str, Any] = self._examine(diagnostics.switch, _OVSDB_SECONDS + 2 * self._settings.timeout)
        return answer

    def switching(self, names: Sequence[str] = (), counted: Sequence[str] = ()) -> Mapping[str, Any]:
        """Every bridge, port and interface of Open vSwitch."""
        answer: Mapping[str, Any] = self._examine(switching.switching, _SECONDS, list(names), list(counted))
        return answer

    def trace_frame(self, bridge: str, frame: Mapping[str, Any]) -> Mapping[str, str]:
        """The way of a frame through the flows of an OVS bridge."""
        answer: Mapping[str, str] = self._examine(vswitchd.trace_frame, _SECONDS, bridge, dict(frame))
        return answer

    def datapath_flows(self, bridge: str) -> Mapping[str, str]:
        """The flows of an OVS bridge's datapath."""
        answer: Mapping[str, str] = self._examine(vswitchd.datapath_flows, _SECONDS, bridge)
        return answer

    def learnt_stations(self, bridge: str) -> Mapping[str, str]:
        """The forwarding table of an OVS bridge."""
        answer: Mapping[str, str] = self._examine(vswitchd.learnt_stations, _SECONDS, bridge)
        return answer

    def send_frames(self, tap: Mapping[str, Any], count: int) -> Mapping[str, Any]:
        """Send marked frames as the guest of a tap that no guest holds."""
        answer: Mapping[str, Any] = self._examine(probing.send_frames, _SECONDS, dict(tap), count)
        return answer

    def counters(self, names: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """What links have counted, by name."""
        with _links() as reader:
            indexes = {index: name for index, name in _names().items() if name in names}
            return counters.counters(reader, indexes)

    def tables(self, names: Sequence[str], bridges: Sequence[str], address: str) -> Mapping[str, Any]:
        """What the kernel holds of links and of a MAC."""
        every = _names()
        chosen = {index: name for index, name in every.items() if name in names}
        of_bridges = {index: name for index, name in every.items() if name in bridges}
        with _links() as reader:
            disciplines = tc.disciplines(reader, chosen)
            return {
                "stations": stations.learnt(reader, of_bridges, every) if of_bridges else [],
                "neighbours": stations.neighbours(reader, address, every),
                "disciplines": disciplines,
                "filters": {
                    name: listed
                    for index, name in chosen.items()
                    for each in disciplines.get(name, ())
                    if each["place"] == "ingress" and (listed := tc.filters(reader, index, each["kind"]))
                },
            }

    def own_addresses(self) -> Mapping[str, Sequence[str]]:
        """The host's own addresses, by device."""
        with _links() as reader:
            held = addresses.addresses(reader)
        return {name: held[index] for index, name in _names().items() if index in held}

    def settings(self, names: Sequence[str]) -> Mapping[str, int]:
        """Settings of the host that decide about frames, by their path below /proc/sys/net."""
        paths = [*_SETTINGS, *(f"ipv4/conf/{name}/rp_filter" for name in ("all", *names))]
        read: dict[str, int] = {}
        for path in paths:
            # That directory shows the namespace of the thread that opens it.
            with contextlib.suppress(OSError, ValueError):
                read[path] = int(Path("/proc/sys/net", path).read_text())
        return read

    def has_ovs(self) -> bool:
        """Whether an OVSDB socket exists: a host with plain bridges only has none, and needs none."""
        local = [remote.partition(":")[2] for remote in self._settings.connection if remote.startswith("unix:")]
        return len(local) < len(self._settings.connection) or any(os.path.exists(path) for path in local)

    def _examine(self, verb: Any, seconds: float, *arguments: Any) -> Any:
        """:raises HelperDied, TimedOut, OvsUnavailable: it cannot be examined."""
        with turn(self._slots, seconds, TimedOut("other requests examine the host; try again")):
            return self._call(verb, seconds, *arguments)


@contextlib.contextmanager
def _links() -> Iterator[netlink.LinkSocket]:
    """A socket in the network namespace of the calling thread."""
    with contextlib.closing(netlink.LinkSocket()) as reader:
        yield reader


def _names() -> dict[int, str]:
    """The names of all links, by ifindex."""
    return {index: naming.decoded(os.fsencode(name)) for index, name in socket.if_nameindex()}
