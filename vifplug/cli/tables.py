"""How results look to a person: rich tables on a terminal, plain aligned columns elsewhere. Pure."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from vifplug import reports

if TYPE_CHECKING:
    from vifplug.events import Event

NOTHING = "-"
_WHOLE = ("ID", "VIF")
"""Columns that are copied from: never folded."""
_STATE_STYLES = {reports.DRIFTED: "yellow", reports.CONTENDED: "red", reports.FAILED: "red", reports.PLUGGED: "green"}
_STATE_STYLES |= {reports.WIRED: "green", reports.ACTIVE: "green"}

Row = Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What the place a result goes to can show."""

    terminal: bool = False
    color: bool = False
    unicode: bool = False

    @classmethod
    def of(cls, stream: TextIO | None) -> Screen:
        """What ``stream`` can show, which is None when it is closed. NO_COLOR is honoured (no-color.org)."""
        terminal = stream is not None and stream.isatty()
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(terminal=terminal, color=color, unicode=encoding.startswith("utf8"))


def printable(text: str) -> str:
    """``text`` on one line, with what could steer a terminal written out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def columns(headers: Sequence[str], rows: Sequence[Row], screen: Screen) -> str:
    """A table. Without a terminal every value is one word where it can be, and an empty one is a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    return _drawn(headers, cells, screen) if screen.terminal else _aligned([list(headers), *cells])


def _cell(value: object) -> str:
    return NOTHING if value is None or value == "" else printable(str(value))


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def _drawn(headers: Sequence[str], cells: Sequence[Sequence[str]], screen: Screen) -> str:
    from rich import box  # here, because only a terminal needs it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SQUARE if screen.unicode else box.ASCII)
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=header in _WHOLE)
    for row in cells:
        table.add_row(*(Text(cell, style=_STATE_STYLES.get(cell, "")) for cell in row))
    drawn = io.StringIO()
    width = shutil.get_terminal_size().columns
    Console(file=drawn, force_terminal=True, no_color=not screen.color, width=width).print(table)
    return drawn.getvalue().rstrip("\n")


def vifs(found: Sequence[reports.VifReport], screen: Screen) -> str:
    """A line for each VIF."""
    if not found:
        return "no VIFs"
    headers = ("ID", "TYPE", "STATE", "ADDRESS", "MTU", "BRIDGE", "DEVICES", "OFPORTS", "NOTE")
    return columns(headers, [_vif_row(vif) for vif in found], screen)


def _vif_row(vif: reports.VifReport) -> Row:
    names = ",".join(str(device["name"]) for device in vif.devices)
    ofports = ",".join(str(port.get("ofport") or NOTHING) for port in vif.ports)
    return (vif.id, vif.vif_type, vif.state, vif.address, vif.mtu, vif.bridge, names, ofports, _note(vif))


def _note(vif: reports.VifReport) -> str:
    waiting = f"waits for {vif.waiting_for}" if vif.waiting_for else ""
    return "; ".join(part for part in (vif.error, waiting) if part)


def unplugged(found: Sequence[reports.VifReport], screen: Screen) -> str:
    """What became of each VIF that was to go, in a word: ``absent`` was not there to begin with."""
    rows = [(vif.id, vif.vif_type, vif.bridge, _removal(vif)) for vif in found]
    return columns(("ID", "TYPE", "BRIDGE", "RESULT"), rows, screen) if rows else "no VIFs"


def _removal(vif: reports.VifReport) -> str:
    return "absent" if vif.state == reports.UNPLUGGED and vif.vif_type is None else vif.state


def one_vif(vif: reports.VifReport) -> str:
    """A VIF, a line for each thing there is to know."""
    document = vif.as_json()
    devices, ports = document.pop("devices"), document.pop("ports")
    instance = document.pop("instance") or {}
    document["instance"] = " ".join(str(value) for value in (instance.get("uuid"), instance.get("name")) if value)
    lines = [(name, _cell(value)) for name, value in document.items()]
    lines += [("device", _fields(device)) for device in devices]
    lines += [("port", _fields(port)) for port in ports]
    return _aligned(lines)


def _fields(item: Mapping[str, Any]) -> str:
    rest = (f"{key}={_cell(value)}" for key, value in item.items() if key != "name")
    return " ".join((_cell(item.get("name")), *rest))


def check(report: reports.CheckReport, screen: Screen) -> str:
    """What is not as it should be, or that all is."""
    if report.clean:
        return "clean"
    return columns(("VIF", "SUBJECT", "ATTRIBUTE", "OBSERVED", "DESIRED"), list(_check_rows(report)), screen)


def _check_rows(report: reports.CheckReport) -> Iterator[Row]:
    for vif in report.vifs:
        for item in vif.drift:
            yield vif.id, item.subject, item.attribute, item.observed, item.desired
    for orphan in report.orphans:
        yield orphan.vif_id, orphan.name, "orphan", orphan.kind, None


_EVENT_HEADERS = ("SEQ", "TIME", "VIF", "STATE", "PREVIOUS", "NOTE")
_EVENT_WIDTHS = (6, 24, 36, 10, 10, 0)
"""Of events that are printed one by one: nobody knows how wide the next is."""


def events(found: Sequence[Event], screen: Screen) -> str:
    """A line for each event."""
    return columns(_EVENT_HEADERS, [_event_row(event) for event in found], screen) if found else "no events"


def events_head() -> str:
    """What stands above events that come one by one."""
    return _padded(_EVENT_HEADERS)


def event(one: Event) -> str:
    """One of them."""
    return _padded([_cell(value) for value in _event_row(one)])


def _event_row(one: Event) -> Row:
    return (one.seq, one.time, one.vif_id, one.state, one.previous, one.error)


def _padded(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _EVENT_WIDTHS, strict=True)).rstrip()


def gc(report: reports.GcReport, screen: Screen) -> str:
    """Each orphan and what became of it."""
    deleted = list(report.deleted)
    left = [orphan for orphan in report.orphans if orphan not in deleted]
    if not deleted and not left:
        return "no orphans"
    rows = [(orphan.kind, orphan.name, orphan.vif_id, "deleted") for orphan in deleted]
    rows += [(orphan.kind, orphan.name, orphan.vif_id, "left") for orphan in left]
    return columns(("KIND", "NAME", "VIF", "RESULT"), rows, screen)
