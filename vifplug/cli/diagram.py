"""A VIF's path, drawn from the guest to the integration bridge, to show where it is broken. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vifplug.cli.tables import printable
from vifplug.model.reports import Hop, PathReport

UP, WAITING, UNKNOWN, MISSING = "up", "waiting", "unknown", "missing"
JOINED, BROKEN = "joined", "broken"
"""How two hops are connected; WAITING is the third value."""

_NO_LIMIT = ("guest", "ovs-bridge")
"""Kinds whose MTU does not limit crossing frames: an OVS bridge's MTU is that of its own local port."""
_RED, _YELLOW, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class _Signs:
    up: str
    unknown: str
    waiting: str
    bad: str
    joined: str
    loose: str
    broken: str

    def hop(self, state: str) -> str:
        return {UP: self.up, UNKNOWN: self.unknown, WAITING: self.waiting}.get(state, self.bad)

    def edge(self, edge: str) -> str:
        return {JOINED: self.joined, WAITING: self.loose}.get(edge, self.broken)


_UNICODE = _Signs("●", "○", "◌", "✗", "│", "┊", "╳")  # noqa: RUF001
_ASCII = _Signs("*", "o", "~", "!", "|", ":", "X")


def as_text(path: PathReport, *, unicode: bool = True, color: bool = False) -> str:
    """The path as lines: hops, their connections, and a summary."""
    signs = _UNICODE if unicode else _ASCII
    vif = path.vif
    title = "  ".join(printable(part) for part in (f"VIF {vif.id}", vif.vif_type, vif.state, vif.address) if part)
    lines = [title, ""]
    joints = edges(path.hops)
    cells = [cells_of(hop) for hop in path.hops]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for place, hop in enumerate(path.hops):
        padded = "  ".join(cell.ljust(width) for cell, width in zip(cells[place], widths, strict=True))
        noted = "; ".join(notes(path.hops, place))
        lines.append(_painted(f"{signs.hop(hop.state)} {padded}  {noted}".rstrip(), _hop_color(hop), color=color))
        edge = joints[place] if place < len(joints) else ""
        trunk = signs.edge(edge) if edge else " "
        beside = " " if edge == BROKEN else trunk  # one cross per break
        for item in hop.drift:
            lines.append(_painted(f"{beside}     drift: {printable(str(item))}", _YELLOW, color=color))
        if edge:
            word = "" if edge == JOINED else f" {edge if edge == WAITING else 'not connected'}"
            lines.append(_painted(trunk + word, _edge_color(edge), color=color))
    return "\n".join([*lines, "", _verdict(path)])


def as_dot(path: PathReport) -> str:
    """The path for Graphviz; broken hops are red, and broken connections dashed."""
    lines = [f"graph {_quoted(f'vif {path.vif.id}')} {{", "  rankdir=LR;", '  node [shape=box, fontname="monospace"];']
    for place, hop in enumerate(path.hops):
        cells = (hop.name, hop.kind, *cells_of(hop)[2:], *notes(path.hops, place))
        drift = (f"drift: {item}" for item in hop.drift)
        label = "\n".join(part for part in (*cells, *drift) if part)
        style = ", color=red, fontcolor=red" if is_bad(hop) else ""
        lines.append(f"  hop{place} [label={_quoted(label)}{style}];")
    for place, edge in enumerate(edges(path.hops)):
        style = {JOINED: "", WAITING: " [style=dotted]"}.get(edge, ' [color=red, style=dashed, label="broken"]')
        lines.append(f"  hop{place} -- hop{place + 1}{style};")
    return "\n".join([*lines, "}"])


def as_json(path: PathReport) -> dict[str, Any]:
    """The same as data: the VIF, and its hops in path order from the guest."""
    hops = [
        {
            "name": hop.name,
            "kind": hop.kind,
            "state": hop.state,
            "mtu": hop.mtu,
            "notes": list(notes(path.hops, place)),
            "joined": hop.joined,
            "drift": [item.as_json() for item in hop.drift],
        }
        for place, hop in enumerate(path.hops)
    ]
    return {"vif": path.vif.as_json(), "hops": hops, "claims": path.claims.as_json()}


def edges(hops: Sequence[Hop]) -> list[str]:
    """How each two neighbours are connected."""
    return [_edge(near, far) for near, far in itertools.pairwise(hops)]


def _edge(near: Hop, far: Hop) -> str:
    states = (near.state, far.state)
    if MISSING in states:
        return BROKEN
    if near.joined:
        return JOINED
    # The end of a guest that has not started yet is missing, not broken.
    return WAITING if WAITING in states else BROKEN


def is_bad(hop: Hop) -> bool:
    """Whether a hop breaks the path."""
    return hop.state not in (UP, WAITING, UNKNOWN)


def cells_of(hop: Hop) -> tuple[str, ...]:
    """Kind, name, state and MTU, as text."""
    mtu = f"mtu {hop.mtu}" if hop.mtu is not None else ""
    return hop.kind, printable(hop.name), hop.state, mtu


def notes(hops: Sequence[Hop], place: int) -> Iterator[str]:
    """Remarks about a hop."""
    if hops[place].note:
        yield printable(hops[place].note)
    small = _bottleneck(hops, place)
    if small:
        yield small


def _bottleneck(hops: Sequence[Hop], place: int) -> str:
    """The note for a hop with a smaller MTU than one of its neighbours."""
    here = hops[place]
    if here.mtu is None or here.kind in _NO_LIMIT:
        return ""
    sized = [hop for hop in hops if hop.mtu is not None and hop.kind not in _NO_LIMIT]
    spot = next(index for index, hop in enumerate(sized) if hop is here)
    neighbours = (*sized[max(spot - 1, 0) : spot], *sized[spot + 1 : spot + 2])
    larger = [hop for hop in neighbours if (hop.mtu or 0) > here.mtu]
    if not larger:
        return ""
    return f"smaller than the mtu {larger[0].mtu} of {printable(larger[0].name)}: larger frames are lost here"


def _verdict(path: PathReport) -> str:
    hops = path.hops
    if not hops:
        return f"The path is not known. {path.claims}"
    faults = [f"{printable(hop.name)} is {hop.state}" for hop in hops if is_bad(hop)]
    for near, far in itertools.pairwise(hops):
        if _edge(near, far) == BROKEN and MISSING not in (near.state, far.state):
            faults.append(f"{printable(near.name)} and {printable(far.name)} are not connected")
    drifted = sum(len(hop.drift) for hop in hops)
    limit = path.claims.sentence(path.vif.id)
    tail = f" Drifted: {drifted}; `vifplug repair` repairs it." if drifted else ""
    if faults:
        return f"The path is broken: {', '.join(faults)}.{tail}\n{limit}"
    waiting = [printable(hop.name) for hop in hops if hop.state == WAITING]
    if waiting:
        return f"The path is complete except for: {', '.join(waiting)} (not made yet).{tail}\n{limit}"
    return f"The path is complete.{tail}\n{limit}"


def _hop_color(hop: Hop) -> str:
    if is_bad(hop):
        return _RED
    return _YELLOW if hop.state == WAITING else ""


def _edge_color(edge: str) -> str:
    return {BROKEN: _RED, WAITING: _YELLOW}.get(edge, "")


def _painted(line: str, code: str, *, color: bool) -> str:
    return f"{code}{line}{_PLAIN}" if color and code else line


def _quoted(text: str) -> str:
    """``text`` as a quoted ID of the dot language; its lines stay separate lines."""
    lines = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'
