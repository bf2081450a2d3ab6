"""Results as text: the columns and rows of each table. Pure.

On a terminal a table shows the columns that fit (layout.py, rich_table.py); elsewhere all columns, aligned.
"""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vifplug.cli import layout
from vifplug.cli.layout import NOTHING, Screen, Shape
from vifplug.model import durations, reports
from vifplug.model import printable as readable
from vifplug.model.events import CONFLICT, CONTENTION, ORPHAN, REPAIR

if TYPE_CHECKING:
    from vifplug.cli.terminal.rich_table import Grid
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


def with_note(table: str, note: str, screen: Screen) -> str:
    """A table and a note below it, which a script does not get with its rows."""
    return "\n".join(part for part in (table, paragraph(note, screen)) if part) if screen.headed else table


def columns(shape: Shape, rows: Sequence[Row], screen: Screen) -> str:
    """A table; an empty value is a dash."""
    places = shape.chosen(screen)
    cells = [[_cell(row[place]) for place in places] for row in rows]
    # A table that a person or a script has chosen is not fitted: its columns are where they were asked for.
    if not screen.terminal or screen.wide or screen.columns or not screen.headed:
        return _aligned([[shape.headers[place] for place in places], *cells] if screen.headed else cells)
    from vifplug.cli.terminal import rich_table  # here, because only a terminal needs it

    return rich_table.table(shape.only(places), cells, _STATE_STYLES, screen)


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
    from vifplug.cli.terminal import rich_table

    return rich_table.hanging(named, screen)


_VIFS = Shape(
    headers=(
        *("ID", "TYPE", "STATE", "ADDRESS", "MTU", "BRIDGE", "DEVICES", "OFPORTS", "INSTANCE"),
        *("NETWORK", "UPDATED", "NOTE"),
    ),
    spare=("TYPE", "ADDRESS", "INSTANCE", "BRIDGE", "DEVICES", "OFPORTS", "MTU"),
    texts=("NOTE",),
    extra=("NETWORK", "UPDATED"),
)
_HISTORY = Shape(headers=("TIME", "EVENT", "FOR", "WHAT"), texts=("WHAT",))
_DESCRIBED = replace(_VIFS, spare=tuple(header for header in _VIFS.spare if header != "ADDRESS"))
"""Of a VIF whose MAC was made up: it is not hidden."""
_UNPLUGGED = Shape(headers=("ID", "TYPE", "BRIDGE", "RESULT"), spare=("TYPE", "BRIDGE"))
_CHECK = Shape(
    headers=("VIF", "SUBJECT", "ATTRIBUTE", "OBSERVED", "DESIRED"), texts=("ATTRIBUTE", "OBSERVED", "DESIRED")
)
_GC = Shape(headers=("KIND", "NAME", "VIF", "RESULT"))
_EVENTS = Shape(
    headers=("SEQ", "TIME", "VIF", "EVENT", "PREVIOUS", "NOTE"), spare=("TIME", "PREVIOUS"), texts=("NOTE",)
)
SHAPES: Mapping[str, Shape] = {
    **dict.fromkeys(("plug", "list", "repair", "wait"), _VIFS),
    "unplug": _UNPLUGGED,
    "check": _CHECK,
    "gc": _GC,
    "events": _EVENTS,
    "history": _HISTORY,
}
"""The table of each verb that prints one."""
_EVENT_WIDTHS = (6, 23, 36, 10, 10, 0)
"""For events that are printed one by one, when the width of the next is not known."""
_FOLLOWED_WIDTHS = (5, 23, 36, 9, 9, layout.READABLE)
"""The initial widths on a terminal. 80 columns hold the important ones, up to event 99,999."""


def vifs(reported: Sequence[reports.VifReport], screen: Screen) -> str:
    """A line for each VIF."""
    return columns(_VIFS, [_vif_row(vif) for vif in reported], screen) if reported else nothing("no VIFs", screen)


def described_vif(reported: Sequence[reports.VifReport], screen: Screen) -> str:
    """A VIF whose id and MAC were made up: both are shown at any width."""
    return columns(_DESCRIBED, [_vif_row(vif) for vif in reported], screen)


def nothing(text: str, screen: Screen) -> str:
    """What stands in place of a table without rows; nothing in a table without headers, which a script reads."""
    return text if screen.headed else ""


def _vif_row(vif: reports.VifReport) -> Row:
    names = ",".join(device.name for device in vif.devices)
    ofports = ",".join(str(port.ofport or NOTHING) for port in vif.ports)
    instance = (vif.instance.name or vif.instance.uuid) if vif.instance is not None else None
    shown = (vif.id, vif.vif_type, vif.state, vif.address, vif.mtu, vif.bridge, names, ofports, instance)
    return (*shown, vif.network, durations.local(vif.updated_at or ""), _note(vif))


def _note(vif: reports.VifReport) -> str:
    waiting = f"waits for {vif.waiting_for}" if vif.waiting_for else ""
    absent = _absent(vif.absent_since) if vif.absent_since else ""
    return "; ".join(part for part in (vif.error, waiting, absent) if part)


def _absent(since: str) -> str:
    return f"no guest since {durations.local(since)}"


def unplugged(reported: Sequence[reports.VifReport], screen: Screen) -> str:
    """The result of each unplug; ``absent`` for a VIF that was not plugged."""
    rows = [(vif.id, vif.vif_type, vif.bridge, _unplug_result(vif)) for vif in reported]
    return columns(_UNPLUGGED, rows, screen) if rows else nothing("no VIFs", screen)


def _unplug_result(vif: reports.VifReport) -> str:
    return "absent" if is_absent(vif) else vif.state


def is_absent(vif: reports.VifReport) -> bool:
    """Whether ``unplug`` found no such VIF; of one with a damaged record only the time is known."""
    return vif.state == reports.UNPLUGGED and vif.vif_type is None and vif.updated_at is None


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
    if screen.columns or not screen.headed:
        return vifs(reported, screen)  # a script gets rows alone
    return "\n".join([*(changes or ["nothing to repair"]), "", vifs(reported, screen)])


def check(report: reports.CheckReport, screen: Screen) -> str:
    """Drift and orphans, or "clean"; then the VIFs without a guest, which is not drift."""
    result = nothing("clean", screen) if report.clean else columns(_CHECK, list(_check_rows(report)), screen)
    absent = (
        f"VIF {vif.id} has no guest since {printable(durations.local(vif.absent_since))}"
        for vif in report.vifs
        if vif.absent_since and _is_old(vif.absent_since)
    )
    return "\n".join([result, *(absent if screen.headed else ())])


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
    return columns(_EVENTS, [_event_row(event) for event in stored], screen) if stored else nothing("no events", screen)


class Followed:
    """Events that are printed one by one."""

    def __init__(self, screen: Screen) -> None:
        self._grid: Grid | None = None
        self._places, self._is_headed = _EVENTS.chosen(screen), screen.headed
        if screen.terminal and screen.headed and not screen.wide and not screen.columns:
            from vifplug.cli.terminal import rich_table

            self._grid = rich_table.Grid(_EVENTS, _FOLLOWED_WIDTHS, _STATE_STYLES, screen)

    def head(self) -> str:
        """The header; "" if there is none."""
        if self._grid:
            return self._grid.head()
        return self._padded(_EVENTS.headers) if self._is_headed else ""

    def line(self, event: Event) -> str:
        """The row of an event."""
        cells = [_cell(value) for value in _event_row(event)]
        return self._grid.row(cells) if self._grid else self._padded(cells)

    def _padded(self, cells: Sequence[str]) -> str:
        return "  ".join(cells[place].ljust(_EVENT_WIDTHS[place]) for place in self._places).rstrip()


def _event_row(event: Event) -> Row:
    previous = event.previous if event.previous != event.state else None
    return (event.seq, durations.local(event.time), event.vif_id, event_word(event), previous, note_of(event))


def event_word(event: Event) -> str:
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
        return nothing("no events", screen)
    return columns(_HISTORY, [_chapter_row(chapter) for chapter in chapters], screen)


def _chapter_row(chapter: Chapter) -> Row:
    event = chapter.event
    lasted = durations.in_words(chapter.seconds) if chapter.seconds is not None else None
    return (
        durations.local(event.time),
        event_word(event),
        lasted and (f"{lasted} so far" if chapter.lasts else lasted),
        note_of(event),
    )


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
    return columns(_GC, rows, screen) if rows else nothing("no orphans", screen)
