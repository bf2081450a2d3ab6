"""The facts that a trace gathers about one VIF. Plain values, between ``gather`` and the causes.

A part that could not be read is empty; ``unseen`` has the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vifplug.doctor.facts import Chain, Obstacle
from vifplug.doctor.switch.state import Interface, SwitchBridge, Switching, SwitchPort
from vifplug.model.reports import PathReport
from vifplug.resources.link import Link
from vifplug.trace.values import Neighbour, Station, TracedFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The guest's end of a VIF, as requested."""

    device: str = ""
    """The tap's name; "" for a VIF whose guest's end is no link of this host."""
    is_ours: bool = False
    """Whether vifplug made that tap."""
    address: str = ""
    network: str | None = None
    mtu: int | None = None
    vlan: int | None = None
    """The VLAN that the request names."""
    addresses: Sequence[str] = ()
    """IPv4 addresses that the guest may send from, if the request has any."""
    is_filtered: bool = False
    """Whether vifplug's filter against spoofing is on the path."""
    absent_since: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Discipline:
    """A queueing discipline of a link."""

    kind: str
    place: str
    """root, ingress or class."""
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A filter of tc."""

    kind: str
    side: str
    """ingress or egress."""
    drops: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another recorded VIF of this host."""

    id: str
    address: str
    network: str | None
    port: str = ""
    """Its OVS port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All facts about a VIF's path."""

    path: PathReport
    guest: Guest
    links: Mapping[str, Link] = field(default_factory=dict)
    obstacles: Sequence[Obstacle] = ()
    drifted_since: str | None = None
    """When the present drift was recorded."""
    seconds: float = 0.0
    before: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    after: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    stations: Sequence[Station] = ()
    """Entries of Linux bridges' tables, and of the OVS bridge's."""
    neighbours: Sequence[Neighbour] = ()
    disciplines: Mapping[str, Sequence[Discipline]] = field(default_factory=dict)
    filters: Mapping[str, Sequence[Filter]] = field(default_factory=dict)
    addresses: Mapping[str, Sequence[str]] = field(default_factory=dict)
    settings: Mapping[str, int] = field(default_factory=dict)
    chains: Sequence[Chain] = ()
    bridged: frozenset[str] = frozenset()
    """The families whose rules br_netfilter applies to bridged frames: ip, ip6."""
    filtered: int = 0
    """Frames of all guests that vifplug's filter dropped during the interval."""
    needs_ovs: bool = False
    ovsdb_error: str = ""
    """Why OVSDB cannot be used, if it cannot."""
    vswitchd_error: str = ""
    """Why ovs-vswitchd cannot be asked; or how far it lags behind its database."""
    port: str = ""
    """The VIF's OVS interface that its guest's frames enter Open vSwitch by."""
    switching: Switching | None = None
    mirrored_to: str = ""
    """The mirror whose output the port is: Open vSwitch then drops what the guest sends."""
    frames: Sequence[TracedFrame] = ()
    flows: Sequence[str] = ()
    peers: Sequence[Peer] = ()
    unseen: Sequence[str] = ()
    """What could not be looked at, and why."""

    def counted(self, name: str, counter: str) -> int:
        """How much a counter of a link grew during the interval."""
        grown = self.after.get(name, {}).get(counter, 0) - self.before.get(name, {}).get(counter, 0)
        return max(grown, 0)

    @property
    def on_switch(self) -> tuple[SwitchBridge, SwitchPort, Interface] | None:
        """The VIF's bridge, port and interface in Open vSwitch."""
        return self.switching.port_of(self.port) if self.switching and self.port else None
