"""How results look to a person: what each table has. Pure.

A terminal gets what fits it (layout.py, drawing.py), anything else plain aligned columns, all of them.
"""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from vifplug.cli import layout
from vifplug.cli.layout import NOTHING, Shape
from vifplug.model import printable as readable
from vifplug.model import reports

if TYPE_CHECKING:
    from vifplug.cli.rich_table import Grid
    from vifplug.model.events import Event

_STATE_STYLES = {reports.DRIFTED: "yellow", reports.CONTENDED: "red", reports.FAILED: "red", reports.PLUGGED: "green"}
_STATE_STYLES |= {reports.WIRED: "green", reports.ACTIVE: "green"}
_START_SECONDS = 60
_WIDTH = 80
"""Of a terminal that does not say how wide it is."""

Row = Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What the place a result goes to can show."""

    terminal: bool = False
    color: bool = False
    unicode: bool = False
    width: int = _WIDTH

    @classmethod
    def of(cls, stream: TextIO | None) -> Screen:
        """What ``stream`` can show, which is None when it is closed. NO_COLOR is honoured (no-color.org)."""
        terminal = stream is not None and stream.isatty()
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if terminal else _WIDTH
        return cls(terminal=terminal, color=color, unicode=encoding.startswith("utf8"), width=width)


def printable(text: str) -> str:
    """``text`` on one line, with what could steer a terminal written out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in readable.text(text))


def columns(shape: Shape, rows: Sequence[Row], screen: Screen) -> str:
    """A table. Without a terminal every value is one word where it can be, and an empty one is a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not screen.terminal:
        return _aligned([list(shape.headers), *cells])
    from vifplug.cli import rich_table  # here, because only a terminal needs it

    return rich_table.table(shape, cells, _STATE_STYLES, screen)


def _cell(value: object) -> str:
    return NOTHING if value is None or value == "" else printable(str(value))


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def lines(named: Sequence[tuple[str, str]], screen: Screen) -> str:
    """A line for each thing that has a name; on a terminal what is too long goes on under itself."""
    if not screen.terminal:
        return _aligned(named)
    from vifplug.cli import rich_table

    return rich_table.hanging(named, screen)


_VIFS = Shape(
    headers=("ID", "TYPE", "STATE", "ADDRESS", "MTU", "BRIDGE", "DEVICES", "OFPORTS", "NOTE"),
    spare=("TYPE", "ADDRESS", "BRIDGE", "DEVICES", "OFPORTS", "MTU"),
    texts=("NOTE",),
    elsewhere="wider terminal, vifplug show ID, -o json",
)
_UNPLUGGED = Shape(headers=("ID", "TYPE", "BRIDGE", "RESULT"), spare=("TYPE", "BRIDGE"))
_CHECK = Shape(
    headers=("VIF", "SUBJECT", "ATTRIBUTE", "OBSERVED", "DESIRED"), texts=("ATTRIBUTE", "OBSERVED", "DESIRED")
)
_GC = Shape(headers=("KIND", "NAME", "VIF", "RESULT"))
_EVENTS = Shape(
    headers=("SEQ", "TIME", "VIF", "STATE", "PREVIOUS", "NOTE"), spare=("TIME", "PREVIOUS"), texts=("NOTE",)
)
_EVENT_WIDTHS = (6, 24, 36, 10, 10, 0)
"""Of events that are printed one by one: nobody knows how wide the next is."""
_FOLLOWED_WIDTHS = (5, 24, 36, 9, 9, layout.READABLE)
"""The same on a terminal, to begin with. 80 columns just hold what matters, up to event 99,999."""


def vifs(found: Sequence[reports.VifReport], screen: Screen) -> str:
    """A line for each VIF."""
    if not found:
        return "no VIFs"
    return columns(_VIFS, [_vif_row(vif) for vif in found], screen)


def _vif_row(vif: reports.VifReport) -> Row:
    names = ",".join(device.name for device in vif.devices)
    ofports = ",".join(str(port.ofport or NOTHING) for port in vif.ports)
    return (vif.id, vif.vif_type, vif.state, vif.address, vif.mtu, vif.bridge, names, ofports, _note(vif))


def _note(vif: reports.VifReport) -> str:
    waiting = f"waits for {vif.waiting_for}" if vif.waiting_for else ""
    absent = f"no guest since {vif.absent_since}" if vif.absent_since else ""
    return "; ".join(part for part in (vif.error, waiting, absent) if part)


def unplugged(found: Sequence[reports.VifReport], screen: Screen) -> str:
    """What became of each VIF that was to go, in a word: ``absent`` was not there to begin with."""
    rows = [(vif.id, vif.vif_type, vif.bridge, _removal(vif)) for vif in found]
    return columns(_UNPLUGGED, rows, screen) if rows else "no VIFs"


def _removal(vif: reports.VifReport) -> str:
    was_there = vif.vif_type is not None or vif.updated_at is not None  # of a damaged record there is the time alone
    return vif.state if was_there or vif.state != reports.UNPLUGGED else "absent"


def one_vif(vif: reports.VifReport, screen: Screen) -> str:
    """A VIF, a line for each thing there is to know."""
    document = vif.as_json()
    devices, ports = document.pop("devices"), document.pop("ports")
    if document["absent_since"] is None:
        del document["absent_since"]
    instance = document.pop("instance") or {}
    document["instance"] = " ".join(str(value) for value in (instance.get("uuid"), instance.get("name")) if value)
    named = [(name, _cell(value)) for name, value in document.items()]
    named += [("device", _fields(device)) for device in devices]
    named += [("port", _fields(port)) for port in ports]
    return lines(named, screen)


def _fields(item: Mapping[str, Any]) -> str:
    rest = (f"{key}={_cell(value)}" for key, value in item.items() if key != "name")
    return " ".join((_cell(item.get("name")), *rest))


def check(report: reports.CheckReport, screen: Screen) -> str:
    """What is not as it should be, or that all is; then the VIFs without a guest, which are as they should be."""
    found = "clean" if report.clean else columns(_CHECK, list(_check_rows(report)), screen)
    absent = (
        f"VIF {vif.id} has no guest since {printable(vif.absent_since)}"
        for vif in report.vifs
        if vif.absent_since and _is_old(vif.absent_since)
    )
    return "\n".join([found, *absent])


def _is_old(time: str) -> bool:
    """Whether a guest had the time to start: that a VIF has none right after its plug is nothing to read about."""
    try:
        then = datetime.datetime.fromisoformat(time)
    except ValueError:
        return True
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds() > _START_SECONDS


def _check_rows(report: reports.CheckReport) -> Iterator[Row]:
    for vif in report.vifs:
        for item in vif.drift:
            yield vif.id, item.subject, item.attribute, item.observed, item.desired
        if vif.state == reports.FAILED and not vif.drift:
            yield vif.id, None, "state", vif.state, None
    for orphan in report.orphans:
        yield orphan.vif_id, orphan.name, "orphan", orphan.kind, None


def events(found: Sequence[Event], screen: Screen) -> str:
    """A line for each event."""
    return columns(_EVENTS, [_event_row(event) for event in found], screen) if found else "no events"


class Followed:
    """Events that come one by one."""

    def __init__(self, screen: Screen) -> None:
        self._grid: Grid | None = None
        if screen.terminal:
            from vifplug.cli import rich_table

            self._grid = rich_table.Grid(_EVENTS, _FOLLOWED_WIDTHS, _STATE_STYLES, screen)

    def head(self) -> str:
        """What stands above them."""
        return self._grid.head() if self._grid else _padded(_EVENTS.headers)

    def line(self, one: Event) -> str:
        """One of them."""
        cells = [_cell(value) for value in _event_row(one)]
        return self._grid.row(cells) if self._grid else _padded(cells)


def _event_row(one: Event) -> Row:
    return (one.seq, one.time, one.vif_id, one.state, one.previous, one.error or one.note)


def _padded(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _EVENT_WIDTHS, strict=True)).rstrip()


def gc(report: reports.GcReport, screen: Screen) -> str:
    """Each orphan, each VIF that no guest has, and what became of it."""
    deleted, unplugged = list(report.deleted), list(report.unplugged)
    left = [orphan for orphan in report.orphans if orphan not in deleted]
    rows: list[Row] = [(orphan.kind, orphan.name, orphan.vif_id, "deleted") for orphan in deleted]
    rows += [(orphan.kind, orphan.name, orphan.vif_id, "left") for orphan in left]
    rows += [
        ("vif", vif.device, vif.vif_id, "unplugged" if vif in unplugged else f"no guest since {vif.absent_since}")
        for vif in report.absent or ()
    ]
    return columns(_GC, rows, screen) if rows else "no orphans"
