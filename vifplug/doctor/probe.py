"""The doctor's questions to a host, besides what the engine observes. Each answer is plain data; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vifplug.engine.host import Host


class Probe(Protocol):
    """The privileged side, Open vSwitch and the firewall. ``vifplug.privileged.diagnostics`` documents the answers.

    Every method raises HelperDied, TimedOut or OvsUnavailable when there is no answer; ``has_ovs`` asks nothing.
    """

    def helper(self) -> Mapping[str, Any]:
        """The privileged side's process."""
        ...

    def reach(self) -> Sequence[Mapping[str, Any]]:
        """The configured OVSDB addresses, and which of them answer."""
        ...

    def vswitchd(self) -> Mapping[str, Any]:
        """Whether ovs-vswitchd answers at its control socket, and its version."""
        ...

    def forwarding(self) -> Mapping[str, Any]:
        """The messages of nftables' chains, and iptables-legacy's families."""
        ...

    def firewall(self, kind: str, family: int, table: str, name: str) -> Sequence[bytes] | None:
        """The messages of a chain's ``rules`` or of a set's ``elements``; None if it does not exist, or is too large.

        :param family: of netfilter: 2 is ip.
        """
        ...

    def about(self) -> Mapping[str, Any]:
        """Open vSwitch's versions, types and bridges."""
        ...

    def switch(self) -> Mapping[str, Any]:
        """Open vSwitch's bridges, ports and mirrors, and whether vswitchd is behind."""
        ...

    def switching(self, names: Sequence[str] = (), counted: Sequence[str] = ()) -> Mapping[str, Any]:
        """Every bridge, port and interface of Open vSwitch, as ``vifplug.privileged.switching`` describes them."""
        ...

    def settings(self, names: Sequence[str]) -> Mapping[str, int]:
        """Settings of the host that decide about frames, by their path below /proc/sys/net; an absent one is left out.

        :param names: links whose own settings are read.
        """
        ...

    def own_addresses(self) -> Mapping[str, Sequence[str]]:
        """The host's own addresses, by device."""
        ...

    def has_ovs(self) -> bool:
        """Whether an OVSDB socket exists: a host with plain bridges only has none, and needs none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A host whose privileged side runs."""

    host: Host
    probe: Probe
