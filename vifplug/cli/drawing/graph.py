"""A picture as boxes and lines: of a VIF's path, or of a host; every format draws the same one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vifplug.cli import diagram
from vifplug.cli.tables import printable
from vifplug.model import reports
from vifplug.model.claims import Claims
from vifplug.model.reports import PathReport, VifReport

GOOD, WAITING, BAD, PLAIN = "good", "waiting", "bad", "plain"
"""How a box or a line looks."""
_LOOKS = {reports.DRIFTED: BAD, reports.CONTENDED: BAD, reports.FAILED: BAD}
_LOOKS |= {reports.PLUGGED: WAITING, reports.PLUGGING: WAITING, reports.UNPLUGGING: WAITING}
_EDGES = {diagram.JOINED: GOOD, diagram.WAITING: WAITING, diagram.BROKEN: BAD}
_UPLINKS = ("nic", "vlan", "vxlan")
"""Kinds of devices that join a network's bridge to other hosts."""
_BRIDGE_KINDS = ("bridge", "ovs-bridge")
_NONE = "(no bridge)"

HOST_CLAIMS = Claims(
    looked_at=("recorded VIFs and their states", "their bridges and uplinks"),
    not_looked_at=("ports of other programs", "patch ports between OVS bridges", "OpenFlow flows"),
)
"""Of the picture of a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box, with lines of text."""

    lines: Sequence[str]
    look: str = PLAIN
    column: int = 0
    """From left to right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line between two boxes, by their places."""

    near: int
    far: int
    look: str = GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A picture."""

    title: str
    boxes: Sequence[Box] = ()
    lines: Sequence[Line] = ()
    claims: str = ""


@dataclass(slots=True)
class BridgeGroup:
    """A bridge of the host, what joins it to other hosts, and the VIFs on it."""

    name: str
    kind: str
    uplinks: list[str] = field(default_factory=list)
    vifs: list[VifReport] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The same as data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "uplinks": self.uplinks,
            "vifs": [{"id": vif.id, "state": vif.state, "path": path_of(vif)} for vif in self.vifs],
        }


def of_path(path: PathReport) -> Graph:
    """The picture of a VIF's path, a column for each hop."""
    boxes = []
    for place, hop in enumerate(path.hops):
        cells = (hop.name, hop.kind, hop.state, *diagram.cells_of(hop)[3:], *diagram.notes(path.hops, place))
        drift = (f"drift: {item}" for item in hop.drift)
        look = BAD if diagram.is_bad(hop) or hop.drift else WAITING if hop.state == diagram.WAITING else GOOD
        text = [printable(part) for part in (*cells, *drift) if part]
        boxes.append(Box(lines=text, look=PLAIN if hop.state == diagram.UNKNOWN else look, column=place))
    lines = [Line(near=place, far=place + 1, look=_EDGES[edge]) for place, edge in enumerate(diagram.edges(path.hops))]
    title = " ".join(printable(part) for part in ("VIF", path.vif.id, path.vif.vif_type, path.vif.state) if part)
    return Graph(title=title, boxes=boxes, lines=lines, claims=str(path.claims))


def groups(vifs: Sequence[VifReport], bridges: Mapping[str, str]) -> list[BridgeGroup]:
    """The host's bridges, each with its uplinks and VIFs; at the end the VIFs that are on none.

    :param bridges: OVS bridges, and the datapath of each.
    """
    known = {name: BridgeGroup(name, "ovs-bridge") for name in sorted(bridges)}
    for vif in vifs:
        name, kind = _bridge_of(vif)
        group = known.setdefault(name, BridgeGroup(name, kind))
        group.vifs.append(vif)
        for device in vif.devices:
            if device.kind in _UPLINKS and device.master == name and device.name not in group.uplinks:
                group.uplinks.append(device.name)
    return sorted(known.values(), key=lambda group: (group.name == _NONE, group.name))


def of_host(host: str, known: Sequence[BridgeGroup]) -> Graph:
    """The picture of a host: uplinks, bridges, VIFs from left to right."""
    boxes: list[Box] = []
    lines: list[Line] = []
    for group in known:
        bridge = len(boxes)
        count = f"{len(group.vifs)} VIF{'' if len(group.vifs) == 1 else 's'}"
        boxes.append(Box(lines=[part for part in (printable(group.name), group.kind, count) if part], column=1))
        for uplink in group.uplinks:
            lines.append(Line(near=len(boxes), far=bridge))
            boxes.append(Box(lines=[printable(uplink), "uplink"], column=0))
        for vif in group.vifs:
            look = _LOOKS.get(vif.state, GOOD)
            lines.append(Line(near=bridge, far=len(boxes), look=look))
            boxes.append(Box(lines=[f"{vif.id}  {vif.state}", *_details(vif)], look=look, column=2))
    return Graph(title=f"host {printable(host)}", boxes=boxes, lines=lines, claims=str(HOST_CLAIMS))


def _details(vif: VifReport) -> list[str]:
    return [printable(part) for part in (path_of(vif), vif.error or "") if part]


def path_of(vif: VifReport) -> str:
    """A VIF's own devices and ports on their way to the bridge, in one line."""
    own = [device.name for device in vif.devices if device.kind not in _UPLINKS]
    ports = [port.name for port in vif.ports if port.name not in own]
    return " - ".join([*([vif.waiting_for] if vif.waiting_for else []), *own, *ports])


def _bridge_of(vif: VifReport) -> tuple[str, str]:
    for port in vif.ports:
        return port.bridge, "ovs-bridge"
    masters = [device.master for device in vif.devices if device.master]
    made = [device.name for device in vif.devices if device.kind in _BRIDGE_KINDS]
    if masters or made:
        return (masters or made)[-1], "bridge"
    return (vif.bridge, "bridge") if vif.bridge else (_NONE, "")
