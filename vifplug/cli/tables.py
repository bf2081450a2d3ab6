"""Results as text: the columns and rows of each table. Pure.

On a terminal a table shows the columns that fit (layout.py, rich_table.py); elsewhere all columns, aligned.
"""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vifplug.cli import layout
from vifplug.cli.layout import NOTHING, Screen, Shape
from vifplug.model import durations, reports
from vifplug.model import printable as readable
from vifplug.model.events import CONFLICT, CONTENTION, ORPHAN, REPAIR

if TYPE_CHECKING:
    from vifplug.cli.rich_table import Grid
    from vifplug.model.events import Chapter, Event

_STATE_STYLES = {reports.DRIFTED: "yellow", reports.CONTENDED: "red", reports.FAILED: "red", reports.PLUGGED: "green"}
_STATE_STYLES |= {reports.WIRED: "green", reports.ACTIVE: "green"}
_START_SECONDS = 60

Row = Sequence[object]


def printable(text: str) -> str:
    """``text`` on one line, with control characters escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in readable.text(text))


def paragraph(text: str, screen: Screen) -> str:
    """``text``, which a terminal gets in lines that fit it."""
    return "\n".join(textwrap.wrap(text, screen.width)) if screen.terminal else text


def columns(shape: Shape, rows: Sequence[Row], screen: Screen) -> str:
    """A table; an empty value is a dash."""
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
    """A line for each name and value; on a terminal a long value is wrapped below itself."""
    if not screen.terminal:
        return _aligned(named)
    from vifplug.cli import rich_table

    return rich_table.hanging(named, screen)


_VIFS = Shape(
    headers=("ID", "TYPE", "STATE", "ADDRESS", "MTU", "BRIDGE", "DEVICES", "OFPORTS", "NOTE"),
    spare=("TYPE", "ADDRESS", "BRIDGE", "DEVICES", "OFPORTS", "MTU"),
    texts=("NOTE",),
    alternatives="wider terminal, vifplug show ID, -o json",
)
_HISTORY = Shape(headers=("TIME", "EVENT", "FOR", "WHAT"), texts=("WHAT",))
_UNPLUGGED = Shape(headers=("ID", "TYPE", "BRIDGE", "RESULT"), spare=("TYPE", "BRIDGE"))
_CHECK = Shape(
    headers=("VIF", "SUBJECT", "ATTRIBUTE", "OBSERVED", "DESIRED"), texts=("ATTRIBUTE", "OBSERVED", "DESIRED")
)
_GC = Shape(headers=("KIND", "NAME", "VIF", "RESULT"))
_EVENTS = Shape(
    headers=("SEQ", "TIME", "VIF", "EVENT", "PREVIOUS", "NOTE"), spare=("TIME", "PREVIOUS"), texts=("NOTE",)
)
_EVENT_WIDTHS = (6, 23, 36, 10, 10, 0)
"""For events that are printed one by one, when the width of the next is not known."""
_FOLLOWED_WIDTHS = (5, 23, 36, 9, 9, layout.READABLE)
"""The initial widths on a terminal. 80 columns hold the important ones, up to event 99,999."""


def vifs(reported: Sequence[reports.VifReport], screen: Screen) -> str:
    """A line for each VIF."""
    if not reported:
        return "no VIFs"
    return columns(_VIFS, [_vif_row(vif) for vif in reported], screen)


def _vif_row(vif: reports.VifReport) -> Row:
    names = ",".join(device.name for device in vif.devices)
    ofports = ",".join(str(port.ofport or NOTHING) for port in vif.ports)
    return (vif.id, vif.vif_type, vif.state, vif.address, vif.mtu, vif.bridge, names, ofports, _note(vif))


def _note(vif: reports.VifReport) -> str:
    waiting = f"waits for {vif.waiting_for}" if vif.waiting_for else ""
    absent = _absent(vif.absent_since) if vif.absent_since else ""
    return "; ".join(part for part in (vif.error, waiting, absent) if part)


def _absent(since: str) -> str:
    return f"no guest since {durations.local(since)}"


def unplugged(reported: Sequence[reports.VifReport], screen: Screen) -> str:
    """The result of each unplug; ``absent`` for a VIF that was not plugged."""
    rows = [(vif.id, vif.vif_type, vif.bridge, _unplug_result(vif)) for vif in reported]
    return columns(_UNPLUGGED, rows, screen) if rows else "no VIFs"


def _unplug_result(vif: reports.VifReport) -> str:
    was_plugged = vif.vif_type is not None or vif.updated_at is not None  # a damaged record has only the time
    return vif.state if was_plugged or vif.state != reports.UNPLUGGED else "absent"


def single_vif(vif: reports.VifReport, screen: Screen) -> str:
    """All details of a VIF, a line each."""
    document = vif.as_json()
    devices, ports = document.pop("devices"), document.pop("ports")
    if document["absent_since"] is None:
        del document["absent_since"]
    for name in document.keys() & {"absent_since", "updated_at"}:
        document[name] = durations.local(document[name] or "")
    instance = document.pop("instance") or {}
    document["instance"] = " ".join(str(value) for value in (instance.get("uuid"), instance.get("name")) if value)
    named = [(name, _cell(value)) for name, value in document.items()]
    named += [("device", _fields(device)) for device in devices]
    named += [("port", _fields(port)) for port in ports]
    return lines(named, screen)


def _fields(item: Mapping[str, Any]) -> str:
    fields = (f"{key}={_cell(value)}" for key, value in item.items() if key != "name")
    return " ".join((_cell(item.get("name")), *fields))


def repaired(reported: Sequence[reports.VifReport], screen: Screen) -> str:
    """Each change that was made, and then a line for each VIF."""
    changes = [printable(f"{vif.id}: {action}") for vif in reported for action in vif.actions or ()]
    return "\n".join([*(changes or ["nothing to repair"]), "", vifs(reported, screen)])


def check(report: reports.CheckReport, screen: Screen) -> str:
    """Drift and orphans, or "clean"; then the VIFs without a guest, which is not drift."""
    result = "clean" if report.clean else columns(_CHECK, list(_check_rows(report)), screen)
    absent = (
        f"VIF {vif.id} has no guest since {printable(durations.local(vif.absent_since))}"
        for vif in report.vifs
        if vif.absent_since and _is_old(vif.absent_since)
    )
    return "\n".join([result, *absent])


def _is_old(time: str) -> bool:
    """Whether a guest had time to start: a VIF without a guest right after its plug is normal."""
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


def events(stored: Sequence[Event], screen: Screen) -> str:
    """A line for each event."""
    return columns(_EVENTS, [_event_row(event) for event in stored], screen) if stored else "no events"


class Followed:
    """Events that are printed one by one."""

    def __init__(self, screen: Screen) -> None:
        self._grid: Grid | None = None
        if screen.terminal:
            from vifplug.cli import rich_table

            self._grid = rich_table.Grid(_EVENTS, _FOLLOWED_WIDTHS, _STATE_STYLES, screen)

    def head(self) -> str:
        """The header."""
        return self._grid.head() if self._grid else _padded(_EVENTS.headers)

    def line(self, event: Event) -> str:
        """The row of an event."""
        cells = [_cell(value) for value in _event_row(event)]
        return self._grid.row(cells) if self._grid else _padded(cells)


def _event_row(event: Event) -> Row:
    previous = event.previous if event.previous != event.state else None
    return (event.seq, durations.local(event.time), event.vif_id, _word(event), previous, note_of(event))


def _word(event: Event) -> str:
    """The new state; of an event without one, its kind."""
    return event.state if event.state != event.previous and event.kind != ORPHAN else event.kind


def note_of(event: Event) -> str:
    """What an event says besides the state: the reason, what was put back, and what was changed."""
    parts = [part for part in (event.error, event.note) if part]
    is_complete = event.kind in (CONTENTION, CONFLICT) and bool(parts)
    changes = [str(change) for change in event.changes if change.attribute not in ("state", CONFLICT)]
    # A drifted VIF's reason is its first difference.
    more = changes if event.kind in (REPAIR, ORPHAN) else changes[1:]
    return "; ".join([*parts, *([] if is_complete else more)])


def history(chapters: Sequence[Chapter], screen: Screen) -> str:
    """A VIF's events, oldest first, and how long each state lasted."""
    if not chapters:
        return "no events"
    return columns(_HISTORY, [_chapter_row(chapter) for chapter in chapters], screen)


def _chapter_row(chapter: Chapter) -> Row:
    event = chapter.event
    lasted = durations.in_words(chapter.seconds) if chapter.seconds is not None else None
    return (
        durations.local(event.time),
        _word(event),
        lasted and (f"{lasted} so far" if chapter.lasts else lasted),
        note_of(event),
    )


def _padded(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _EVENT_WIDTHS, strict=True)).rstrip()


def gc(report: reports.GcReport, screen: Screen) -> str:
    """Each orphan and each VIF without a guest, and its result."""
    deleted, unplugged = list(report.deleted), list(report.unplugged)
    left = [orphan for orphan in report.orphans if orphan not in deleted]
    rows: list[Row] = [(orphan.kind, orphan.name, orphan.vif_id, "deleted") for orphan in deleted]
    rows += [(orphan.kind, orphan.name, orphan.vif_id, "left") for orphan in left]
    rows += [
        (
            "vif",
            vif.device,
            vif.vif_id,
            "unplugged" if vif in unplugged else f"no guest since {durations.local(vif.absent_since)}",
        )
        for vif in report.absent or ()
    ]
    return columns(_GC, rows, screen) if rows else "no orphans"
