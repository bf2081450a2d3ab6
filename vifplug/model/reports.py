"""The results of the library's methods: frozen values, converted to and from the JSON form of DESIGN section 5.

A key of the JSON is a field here, its description the field's docstring: ``vifplug.model.codec`` writes and reads them,
and the daemon's OpenAPI description is derived from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vifplug.model.claims import CHECKED, DRAWN, Claims
from vifplug.model.codec import HIDDEN, NEEDED, OMITTED, Keyed, Value, omitted_with

ABSENT = "absent"
"""The state of a VIF that is not plugged here; no recorded VIF has it."""
PLUGGING, PLUGGED, WIRED, ACTIVE = "plugging", "plugged", "wired", "active"
UNPLUGGING, UNPLUGGED, DRIFTED, CONTENDED, FAILED = "unplugging", "unplugged", "drifted", "contended", "failed"
STATES = (PLUGGING, PLUGGED, WIRED, ACTIVE, UNPLUGGING, DRIFTED, CONTENDED, FAILED)
"""The states of recorded VIFs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftItem(Value):
    """One attribute that is not as recorded."""

    subject: str
    """The device, port or bridge."""
    attribute: str
    """``present`` and ``port`` are about the device and the port themselves; ``ifindex`` means the device was deleted
    and recreated."""
    observed: Any
    desired: Any

    def __str__(self) -> str:
        if self.attribute == "present":
            return f"{self.subject} is missing" if self.desired else f"{self.subject} should not be there"
        return f"{self.subject} {self.attribute}: {self.observed!r}, should be {self.desired!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Value):
    """The progress of a request for several VIFs."""

    done: int = field(default=0, metadata=NEEDED)
    total: int = field(default=0, metadata=NEEDED)
    """Steps of a plug's plan, or VIFs; 0 when nothing is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport(Keyed):
    """A link of a VIF's path, in order from the guest; null values do not exist."""

    name: str
    kind: str
    """bridge, veth or tap."""
    mtu: int | None = None
    """Bytes."""
    up: bool | None = None
    master: str | None = None
    """The bridge it is on."""
    ifindex: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortReport(Keyed):
    """An OVS port."""

    bridge: str
    name: str
    ofport: int | None = None
    """Its OpenFlow port number; -1 if vswitchd has no device for it, null if it does not exist."""
    tag: int | None = None
    """Its VLAN, as the control plane set it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceReport(Keyed):
    """The guest."""

    uuid: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedAction(Value):
    """One change that would be made, or that a repair has made."""

    action: str
    """The action's name: create-bridge, add-port, ..."""
    subject: str
    """The device or port it changes."""
    text: str
    """The change in a line."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class VifReport(Value):
    """One VIF, as recorded and, if the host was observed, in its present state."""

    id: str
    """The port's UUID."""
    vif_type: str | None = None
    state: str
    """plugging, plugged (built and read back), wired, active, unplugging, unplugged, drifted, contended (another
    program undoes every repair) or failed."""
    address: str | None = None
    """The guest's MAC address."""
    mtu: int | None = None
    """Bytes."""
    bridge: str | None = None
    network: str | None = None
    """The network's UUID."""
    instance: InstanceReport | None = None
    join_tap: bool | None = field(default=None, metadata=OMITTED)
    """Whether vifplug puts the tap that another program makes on the bridge."""
    devices: Sequence[DeviceReport] = ()
    """In path order from the guest."""
    ports: Sequence[PortReport] = ()
    waiting_for: str | None = None
    """A device that another program has yet to make: the VMM's tap."""
    absent_since: str | None = None
    """Since when nothing is at the guest's end, ISO 8601, UTC; null if a guest is there, or if it is unknown."""
    error: str | None = None
    """The reason, for drifted, contended and failed."""
    updated_at: str | None = None
    """ISO 8601, UTC."""
    actions: Sequence[PlannedAction] | None = field(default=None, metadata=OMITTED)
    """Of a repair: the changes that it made, in order; left out otherwise."""
    warnings: Sequence[str] = field(default=(), metadata=HIDDEN)
    """Messages for a person; not part of the JSON, so through the daemon the host's own ``warnings`` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan(Value):
    """A resource of ours on the host that no record mentions."""

    kind: str
    """bridge, veth, tap, ovs-port or qos."""
    name: str
    vif_id: str
    """The VIF id in its mark, or net: and a network's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VifCheck(Value):
    """The result of ``check`` for one VIF."""

    id: str
    state: str
    error: str | None = None
    """The reason, for drifted, contended and failed."""
    drift: Sequence[DriftItem] = ()
    absent_since: str | None = None
    """As of a VIF; it is not drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport(Value):
    """The result of a comparison."""

    COMPUTED: ClassVar[tuple[str, ...]] = ("clean",)

    vifs: Sequence[VifCheck] = field(default=(), metadata=NEEDED)
    orphans: Sequence[Orphan] = field(default=(), metadata=NEEDED)
    """Only when all VIFs are checked."""
    claims: Claims = CHECKED
    """What was compared, and what was not."""

    @property
    def clean(self) -> bool:
        """No drift, no orphan, and no VIF that failed or whose record is damaged."""
        return not self.orphans and not any(vif.drift or vif.state == FAILED for vif in self.vifs)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentGuest(Value):
    """A recorded VIF that is not to be kept, and has nothing at the guest's end."""

    vif_id: str
    instance: str | None
    """Its UUID."""
    device: str
    """The guest's end."""
    absent_since: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GcReport(Value):
    """Orphans, and those of them that were deleted."""

    orphans: Sequence[Orphan] = field(default=(), metadata=NEEDED)
    deleted: Sequence[Orphan] = field(default=(), metadata=NEEDED)
    absent: Sequence[AbsentGuest] | None = field(default=None, metadata=OMITTED)
    """With ``keep``: VIFs that are not in it and have no guest. Left out without ``keep``."""
    unplugged: Sequence[AbsentGuest] = field(default=(), metadata=omitted_with("absent"))
    """With ``keep``: those of them that were unplugged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop(Value):
    """One station of a VIF's path, from the guest outwards."""

    name: str
    kind: str
    """guest, tap, bridge, veth, ovs-port or ovs-bridge."""
    state: str
    """up, down, missing, waiting, error or unknown."""
    mtu: int | None = None
    """Bytes."""
    note: str = ""
    """A problem, or a detail: an ofport, a tag, an error."""
    joined: bool = True
    """Whether it is connected to the next one."""
    drift: Sequence[DriftItem] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PathReport(Value):
    """A VIF's path through the host, hop by hop."""

    vif: VifReport
    hops: Sequence[Hop] = field(default=(), metadata=NEEDED)
    """In order from the guest."""
    claims: Claims = DRAWN
    """What was looked at, and what was not."""


@dataclass(frozen=True, slots=True)
class PlanReport(Value):
    """The changes that a plug would make, in order. A plan cannot be carried out."""

    actions: Sequence[PlannedAction] = field(default=(), metadata=NEEDED)

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __str__(self) -> str:
        return "\n".join(map(str, self.actions))


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReport(Value):
    """An error, as the command line prints it and a problem document contains it."""

    type: str
    """A class of vifplug.errors, or InternalError."""
    message: str
    step: str | None = None
    """The step of the plan that failed."""
    subject: str | None = None
    """The device, port or VIF."""
    retryable: bool = False
    """Whether the same call may succeed a moment later."""
