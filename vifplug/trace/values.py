"""The result of ``trace``: a VIF's path with counters, what handles its frames at each hop, and what stops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from vifplug.model.claims import Claims
from vifplug.model.codec import NEEDED, Value
from vifplug.model.reports import DriftItem, VifReport

FROM_GUEST, TO_GUEST, BOTH = "from the guest", "to the guest", "in both directions"
STOPS, MAY_STOP, LIMITS = "stops", "may stop", "limits"
EFFECTS = (STOPS, MAY_STOP, LIMITS)
"""Of a cause, the worst first."""
PASSES, DROPPED, UNSEEN = "passes", "dropped", "unseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(Value):
    """Frames that a device has counted, as the device sees them: what a guest sends, its tap receives."""

    received: int = 0
    sent: int = 0
    received_dropped: int = 0
    sent_dropped: int = 0
    received_errors: int = 0
    sent_errors: int = 0

    @property
    def lost(self) -> int:
        """Frames that were dropped, or were in error."""
        return self.received_dropped + self.sent_dropped + self.received_errors + self.sent_errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Station(Value):
    """An entry of a forwarding table."""

    bridge: str
    """The Linux bridge or OVS bridge."""
    port: str
    address: str
    """A MAC."""
    vlan: int = 0
    kind: str = "learnt"
    """learnt or static."""
    age: float | None = None
    """Seconds since a frame of that MAC has renewed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour(Value):
    """What the host itself knows of the guest's MAC (``ip neighbour``)."""

    device: str
    ip: str
    state: str
    """reachable, stale, failed, ..."""
    age: float
    """Seconds since it was confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedPort(Value):
    """The rows of an OVS port."""

    bridge: str
    ofport: int | None = None
    tag: int | None = None
    trunks: Sequence[int] = ()
    vlan_mode: str = ""
    policing_rate: int = 0
    """kbit/s that the guest may send; 0 for no limit."""
    policing_burst: int = 0
    """kbit."""
    admin_state: str = ""
    link_state: str = ""
    error: str = ""
    statistics: Counted | None = None
    """As Open vSwitch counted since the port was added; it updates them every 5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceHop(Value):
    """One station of the path, from the guest outwards."""

    name: str
    kind: str
    state: str
    mtu: int | None = None
    joined: bool = True
    """Whether it is connected to the next one."""
    notes: Sequence[str] = ()
    drift: Sequence[DriftItem] = ()
    counted: Counted | None = None
    """During the interval; null for a hop without counters of its own."""
    total: Counted | None = None
    """Since the device was made."""
    from_guest: int | None = None
    """Frames of the interval that went from the guest outwards through it; null if it is no device."""
    to_guest: int | None = None
    stations: Sequence[Station] = ()
    """Of a bridge: where it has the guest's MAC. Of the guest's side: other MACs learnt there."""
    port: TracedPort | None = None
    queueing: Sequence[str] = ()
    """Queueing disciplines that another program set, and filters of tc."""
    rules: Sequence[str] = ()
    """Rules of nftables that drop, or may drop, frames here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedFrame(Value):
    """The way of a frame through the flows of an OVS bridge, as ovs-vswitchd computed it; no frame was sent."""

    frame: str
    """What it is, for a person."""
    direction: str
    """from the guest, or to the guest."""
    bridge: str
    in_port: str
    outcome: str
    """passes, dropped or unseen."""
    reason: str = ""
    """The last table and flow that handled it, or why it was not computed."""
    actions: str = ""
    """Datapath actions; those with names are ports that get it."""
    is_certain: bool = True
    """Whether a frame of the guest could look just so: without a known address it may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause(Value):
    """Why frames stop, or may."""

    subject: str
    """The hop, device, port, bridge or program."""
    direction: str
    """from the guest, to the guest, or in both directions."""
    effect: str
    """stops, may stop, or limits."""
    reason: str
    since: str | None = None
    """Since when, for a person; null if this host does not record that."""
    actor: str
    """Which program or person can mend it."""
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeReport(Value):
    """How far frames came that were sent through the VIF."""

    sent: int = 0
    """Frames from the guest's end; 0 if none were sent."""
    reached: Sequence[str] = ()
    """Hops that counted all of them, in order."""
    stopped_at: str | None = None
    """The first hop that did not."""
    reason: str = ""
    """Why none were sent, or what limits the result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReport(Value):
    """Where the frames of a VIF stop, and why."""

    COMPUTED: ClassVar[tuple[str, ...]] = ("stops",)

    vif: VifReport
    seconds: float = field(default=0.0, metadata=NEEDED)
    """The interval of the counters."""
    hops: Sequence[TraceHop] = field(default=(), metadata=NEEDED)
    """In order from the guest."""
    frames: Sequence[TracedFrame] = field(default=(), metadata=NEEDED)
    flows: Sequence[str] = field(default=(), metadata=NEEDED)
    """Flows of the datapath that concern the guest, as ovs-appctl prints them."""
    neighbours: Sequence[Neighbour] = field(default=(), metadata=NEEDED)
    causes: Sequence[Cause] = field(default=(), metadata=NEEDED)
    """The worst first; what follows from another cause is left out."""
    verdict: str = field(default="", metadata=NEEDED)
    """The result in a sentence."""
    probe: ProbeReport | None = field(default=None, metadata=NEEDED)
    claims: Claims = field(default=Claims(), metadata=NEEDED)

    @property
    def stops(self) -> bool:
        """Whether frames certainly stop."""
        return any(cause.effect == STOPS for cause in self.causes)
