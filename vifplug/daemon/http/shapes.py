"""What the daemon answers, drawn for the OpenAPI description. Answers are made of reports, not of these."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_VIF: dict[str, Any] = {
    "id": "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b",
    "vif_type": "ovs-hybrid",
    "state": "plugged",
    "address": "fa:16:3e:eb:5e:26",
    "mtu": 1450,
    "bridge": "br-int",
    "network": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24",
    "instance": {"uuid": "c0ffee00-1111-4222-8333-000000000011", "name": "web-1"},
    "devices": [
        {"name": "qbr71a6b0e4-1a", "kind": "bridge", "mtu": 1450, "up": True, "master": None, "ifindex": 7},
        {"name": "qvb71a6b0e4-1a", "kind": "veth", "mtu": 1450, "up": True, "master": "qbr71a6b0e4-1a", "ifindex": 9},
        {"name": "qvo71a6b0e4-1a", "kind": "veth", "mtu": 1450, "up": True, "master": None, "ifindex": 8},
    ],
    "ports": [{"bridge": "br-int", "name": "qvo71a6b0e4-1a", "ofport": 3, "tag": 1}],
    "waiting_for": "tap71a6b0e4-1a",
    "absent_since": "2026-11-21T07:36:29.000Z",
    "error": None,
    "updated_at": "2026-11-21T07:36:29.000000+00:00",
}
_PROBLEM: dict[str, Any] = {
    "type": "urn:vifplug:error:Conflict",
    "title": "Another VIF or a stranger holds what is asked for",
    "status": 409,
    "detail": "the name 'tap71a6b0e4-1a' is held by a link that is not vifplug's",
    "instance": "/v1/vifs/71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b",
    "request_id": "7f1d0b6c5f9c4d0e8a35a1d8b1d3c0aa",
    "error": {
        "type": "Conflict",
        "message": "the name 'tap71a6b0e4-1a' is held by a link that is not vifplug's",
        "step": None,
        "subject": "tap71a6b0e4-1a",
        "retryable": False,
    },
}


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Device(_Shape):
    """A link of a VIF's path, in order from the guest; what is null is not there."""

    name: str
    kind: str = Field(description="bridge, veth or tap.")
    mtu: int | None
    up: bool | None
    master: str | None
    ifindex: int | None


class Port(_Shape):
    """An OVS port."""

    bridge: str
    name: str
    ofport: int | None
    tag: int | None


class InstanceReport(_Shape):
    """The guest."""

    uuid: str
    name: str | None


class VifReport(_Shape):
    """One VIF, as recorded and as it is; the same object as the command line's."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_VIF]})

    id: str = Field(description="The port's UUID.")
    vif_type: str | None
    state: str = Field(
        description="plugging, plugged (built and read back), wired, active, unplugging, unplugged, drifted, "
        "contended (somebody else undoes every repair) or failed."
    )
    address: str | None
    mtu: int | None
    bridge: str | None
    network: str | None = Field(description="The network's UUID.")
    instance: InstanceReport | None
    devices: list[Device]
    ports: list[Port]
    waiting_for: str | None = Field(description="A device that is to come from somebody else: the VMM's tap.")
    absent_since: str | None = Field(
        description="Since when nothing is at the guest's end, ISO 8601, UTC; null where a guest is there."
    )
    error: str | None
    updated_at: str | None = Field(description="ISO 8601, UTC.")


class Vifs(_Shape):
    """VIFs, and what a person should read about them."""

    vifs: list[VifReport]
    warnings: list[str]


class ActionReport(_Shape):
    """One change."""

    action: str
    subject: str
    text: str


class Actions(_Shape):
    """What a plug would do, in order."""

    actions: list[ActionReport]


class DriftReport(_Shape):
    """One attribute that is not as recorded."""

    subject: str
    attribute: str
    observed: Any
    desired: Any


class CheckedVif(_Shape):
    """One VIF, compared."""

    id: str
    state: str
    error: str | None = Field(description="Why, for drifted, contended and failed.")
    drift: list[DriftReport]
    absent_since: str | None = Field(description="As of a VIF; it is no drift.")


class OrphanReport(_Shape):
    """Something of ours that no record knows."""

    kind: str
    name: str
    vif_id: str = Field(description="The VIF id in its mark, or net: and a network's.")


class Checked(_Shape):
    """What a comparison found."""

    clean: bool = Field(description="No drift and no orphan.")
    vifs: list[CheckedVif]
    orphans: list[OrphanReport]
    warnings: list[str]


class AbsentReport(_Shape):
    """A recorded VIF that is not to be kept, and has nothing at the guest's end."""

    vif_id: str
    instance: str | None = Field(description="Its UUID.")
    device: str = Field(description="The guest's end.")
    absent_since: str = Field(description="ISO 8601, UTC.")


class Collected(_Shape):
    """Orphans, and those of them that were deleted."""

    orphans: list[OrphanReport]
    deleted: list[OrphanReport]
    absent: list[AbsentReport] = Field(
        default=[], description="With `keep`: VIFs that it does not name, and that have no guest."
    )
    unplugged: list[AbsentReport] = Field(default=[], description="With keep: those of them that were unplugged.")
    warnings: list[str]


class WaitedReport(_Shape):
    """One VIF that is waited for."""

    id: str
    state: str = Field(description="As of a VIF; absent when it is not plugged here.")
    error: str | None
    waits_for: str | None = Field(description="Who is to do what; null when it is where it is waited for.")


class Waits(_Shape):
    """Whether VIFs are where they are waited for."""

    reached: bool
    vifs: list[WaitedReport]
    warnings: list[str]


class HopReport(_Shape):
    """One station of a VIF's path, from the guest outwards."""

    name: str
    kind: str
    state: str = Field(description="up, down, missing, waiting, error or unknown.")
    mtu: int | None
    note: str
    joined: bool = Field(description="Whether it is connected to the next one.")
    drift: list[DriftReport]


class Path(_Shape):
    """A VIF's path through the host."""

    vif: VifReport
    hops: list[HopReport]


class GuestReport(_Shape):
    """What a hypervisor needs of a VIF."""

    id: str
    format: str = Field(description="libvirt or qemu.")
    text: str = Field(description="The element, or the arguments quoted for a shell.")
    arguments: list[str] = Field(description="QEMU's, one by one; of libvirt, none.")
    before: list[list[str]] = Field(description="Commands that make the tap, where vifplug does not; QEMU needs it up.")


class OvsReport(_Shape):
    """Open vSwitch, as the daemon last knew it."""

    connected: bool
    connection: list[str]
    address: str | None = Field(default=None, description="Of those, the one that is used.")
    ovs_version: str | None
    db_version: str | None
    datapath_types: list[str] = Field(description="Those that its vswitchd can.")
    iface_types: list[str]


class HostReport(_Shape):
    """The daemon, and what it says of its host."""

    version: str
    pid: int
    level: str = Field(description="What the asking peer may do: read, operate or admin.")
    kernel: str
    vif_types: list[str] = Field(description="Those that have a driver here.")
    integration_bridge: str | None
    integration_bridge_datapath: str | None = Field(description="system or netdev; null where it is not there.")
    bridges: dict[str, str] = Field(description="Every OVS bridge, with its datapath.")
    mtu: int | None
    ovs: OvsReport
    keeper: dict[str, Any]


class FindingReport(_Shape):
    """What one check says of one thing."""

    check: str
    status: str = Field(description="ok, warning, error or unseen.")
    subject: str
    reason: str
    remedy: str


class DiagnosisReport(_Shape):
    """What is wrong with the host."""

    healthy: bool = Field(description="No check says error.")
    checks: list[FindingReport]


class Health(BaseModel):
    """Whether all is well, and the keeper's own words."""

    model_config = ConfigDict(extra="allow")

    status: str = Field(
        description="ok; or degraded, while OVSDB is away; or unhealthy, when the store's file is gone or another."
    )


class ErrorReport(_Shape):
    """The command line's error object."""

    type: str = Field(description="A class of vifplug.errors, or InternalError.")
    message: str
    step: str | None
    subject: str | None
    retryable: bool


class Problem(_Shape):
    """An RFC 9457 problem document."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_PROBLEM]})

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str = Field(description="The answer's X-Request-Id, and in each line the daemon logged about it.")
    error: ErrorReport


class ProgressReport(_Shape):
    """How far a request of several VIFs has come."""

    done: int
    total: int = Field(description="Steps of a plug's plan, or VIFs; 0 when nothing is under way.")


ANSWERS: tuple[type[BaseModel], ...] = (
    *(Actions, Checked, Collected, DiagnosisReport, GuestReport, Health),
    *(HostReport, Path, Problem, ProgressReport, VifReport, Vifs, Waits),
)
