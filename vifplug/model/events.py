"""Events of VIFs, with a sequence and a kind; the levels from plugged to active, and which of them VIFs have. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vifplug.model import printable
from vifplug.model.codec import Value
from vifplug.model.reports import ACTIVE, PLUGGED, UNPLUGGED, WIRED, DriftItem

LEVELS = (PLUGGED, WIRED, ACTIVE)
"""Each level includes those before it: an active VIF is also wired and plugged."""

STATE, REPAIR, ORPHAN, CONTENTION, CONFLICT = "state", "repair", "orphan", "contention", "conflict"
KINDS = (STATE, REPAIR, ORPHAN, CONTENTION, CONFLICT)
"""The kinds of events: a state changed; drift was repaired; an orphan was found or deleted; another program undoes
repairs; something that vifplug did not make is in the way."""

FOUND, DELETED = "found", "deleted"
"""What an orphan's change is."""

_CHANGES_MAX = 20
"""Changes that an event keeps: all 50,000 events have to fit the disk."""
_TEXT_MAX = 200
"""Characters of a value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventChange(Value):
    """One thing that changed, and its values before and after."""

    subject: str
    """The VIF, device, port or bridge."""
    attribute: str
    """``state`` is a VIF's own; ``orphan`` is about an orphan; else as of drift."""
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.subject} {self.attribute}: {_shown(self.before)} -> {_shown(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCause:
    """What a change of a record is about, for its events."""

    kind: str = STATE
    changes: tuple[EventChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Value):
    """Something happened to a VIF: its state changed, or one of the other kinds."""

    seq: int
    """Its number in the sequence, from 1, in the order of commits; never reused."""
    vif_id: str
    state: str
    """The present state; ``unplugged`` is the last of a VIF."""
    previous: str | None = None
    """The state before; None for the first of a VIF."""
    error: str | None = None
    """The reason, for failed, contended and drifted."""
    instance: str | None = None
    """The guest's UUID, if known."""
    note: str | None = None
    """What was restored of another program's settings, if a port had to be recreated."""
    time: str
    """ISO 8601, UTC."""
    kind: str = STATE
    """state, repair, orphan, contention or conflict."""
    changes: Sequence[EventChange] = ()
    """What changed, with the values before and after; of a state, at least the state itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited(Value):
    """A VIF during a wait."""

    id: str
    state: str
    """As of a VIF; absent if it is not plugged here."""
    error: str | None = None
    waits_for: str | None = None
    """What has to be done by which program before it reaches the state; null if it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReport(Value):
    """Whether VIFs have reached a state."""

    reached: bool
    """Whether all of them have."""
    vifs: Sequence[Waited]


def has_reached(state: str, wanted: str) -> bool:
    """Whether a VIF in ``state`` has the level ``wanted``, or a higher one."""
    return state in LEVELS and LEVELS.index(state) >= LEVELS.index(wanted)


def steps(before: str | None, after: str) -> list[str]:
    """The states to report for a VIF, one event each: on the way up, every level; else the new state."""
    if before == after:
        return []
    if after in LEVELS and (before is None or before in LEVELS):
        low = LEVELS.index(before) if before is not None else -1
        return list(LEVELS[low + 1 : LEVELS.index(after) + 1]) or [after]
    return [after]


def drifted(drift: Sequence[DriftItem]) -> tuple[EventChange, ...]:
    """The changes by which a VIF drifted: from the recorded to the observed values."""
    return tuple(
        EventChange(subject=item.subject, attribute=item.attribute, before=item.desired, after=item.observed)
        for item in drift
    )


def repaired(drift: Sequence[DriftItem]) -> tuple[EventChange, ...]:
    """The changes of a repair: from the observed to the recorded values."""
    return tuple(
        EventChange(subject=item.subject, attribute=item.attribute, before=item.observed, after=item.desired)
        for item in drift
    )


def of_state(vif_id: str, before: str | None, after: str) -> EventChange:
    """The change of a VIF's state."""
    return EventChange(subject=vif_id, attribute="state", before=before, after=after)


def bounded(changes: Sequence[EventChange]) -> list[dict[str, Any]]:
    """Changes as they are stored: the first of many, and long texts cut."""
    return [{name: _cut(value) for name, value in change.as_json().items()} for change in tuple(changes)[:_CHANGES_MAX]]


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _TEXT_MAX else f"{value[:_TEXT_MAX]}..."
    if value is None or isinstance(value, bool | int | float):
        return value
    text = printable.dumps(value, default=str)
    return printable.document(value) if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}..."


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return printable.in_words(value)


def is_wired(state: str) -> bool | None:
    """Whether the control plane has wired a VIF of that state; None if the state does not show it."""
    if state in (PLUGGED, UNPLUGGED):
        return False
    return True if state in (WIRED, ACTIVE) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """An event, and what came of it."""

    event: Event
    seconds: float | None = None
    """How long the state that began with it lasted; None for an event that begins none, and for the end."""
    lasts: bool = False
    """Whether the VIF is still in that state."""

    def as_json(self) -> dict[str, Any]:
        """The event, with ``seconds`` and ``lasts``."""
        return {**self.event.as_json(), "seconds": self.seconds, "lasts": self.lasts}


def history(events: Iterable[Event], now: str) -> list[Chapter]:
    """The story of one VIF.

    :param events: its events in order.
    :param now: the present time, ISO 8601.
    """
    known = list(events)
    return [_chapter(event, known[place + 1 :], now) for place, event in enumerate(known)]


def _chapter(event: Event, later: Sequence[Event], now: str) -> Chapter:
    if not begins_state(event) or event.state == UNPLUGGED:
        return Chapter(event=event)
    following = next((each for each in later if begins_state(each)), None)
    end = now if following is None else following.time
    return Chapter(event=event, seconds=between(event.time, end), lasts=following is None)


def begins_state(event: Event) -> bool:
    """Whether the VIF's state changed with an event."""
    return event.state != event.previous and any(change.attribute == "state" for change in event.changes)


def between(start: str, end: str) -> float | None:
    """Seconds between two times of events; None if one cannot be read."""
    try:
        times = [datetime.datetime.fromisoformat(text) for text in (start, end)]
        return max(0.0, (times[1] - times[0]).total_seconds())
    except (ValueError, TypeError):
        return None
