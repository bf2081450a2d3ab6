"""The last events, read from the store once for all subscribers, each in its sent form."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vifplug.errors import EventsLost
from vifplug.model import printable
from vifplug.model.events import ORPHAN, REPAIR, Event
from vifplug.store.events import EventLog

KEPT = 512
"""A subscriber that is further behind reads the store."""


class EventFrame(NamedTuple):
    """An event, and its sent form."""

    event: Event
    sent: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    turn: int
    """All events stored before this turn was taken are included."""
    floor: int
    """All events after this number are included."""
    frames: Sequence[EventFrame] = ()

    @property
    def newest(self) -> int:
        return self.frames[-1].event.seq if self.frames else self.floor


class Recent:
    """The last events of a log. For any thread: the known events are replaced as a whole."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._known = _Known(turn=-1, floor=log.sequence())

    @property
    def turn(self) -> int:
        """All events stored before this turn was taken are included."""
        return self._known.turn

    @property
    def newest(self) -> int:
        """The newest included event's number."""
        return self._known.newest

    def after(self, since: int, limit: int) -> Sequence[EventFrame] | None:
        """Events after a number, in order, without waiting; None if only the store has them."""
        known = self._known
        if not known.floor <= since <= known.newest:
            return None
        first = bisect_right(known.frames, since, key=lambda each: each.event.seq)
        return known.frames[first : first + limit]

    def catch_up(self, turn: int) -> None:
        """Read new events. It may block.

        :param turn: taken before; nothing is done if its events are already included.
        :raises StoreError: it cannot be read.
        """
        with self._lock:
            known = self._known
            if known.turn >= turn:
                return
            try:
                added = self.read(known.newest, KEPT)
            except EventsLost:
                added = None
            if added is None or len(added) == KEPT:  # there may be more: start again
                self._known = _Known(turn=turn, floor=self._log.sequence())
                return
            frames = [*known.frames, *added]
            gone = frames[:-KEPT]
            # After 0 the log has all stored events, whatever was deleted; that is not all after 0.
            floor = gone[-1].event.seq if gone else known.floor or (frames[0].event.seq - 1 if frames else 0)
            self._known = _Known(turn=turn, floor=floor, frames=frames[-KEPT:])

    def read(self, since: int, limit: int) -> Sequence[EventFrame]:
        """Events after a number, from the store. It may block.

        :raises EventsLost: some of them are no longer stored.
        :raises StoreError: it cannot be read.
        """
        return [EventFrame(event, sent(event)) for event in self._log.events(since, limit)]


def sent(event: Event) -> bytes:
    """An event as a server-sent one (WHATWG HTML, section 9.2). Its name is the new state, as it was before there were
    kinds; of an event that is not about a new state, its kind."""
    name = event.kind if event.kind in (REPAIR, ORPHAN) or event.state == event.previous else event.state
    return f"id: {event.seq}\nevent: {name}\ndata: {printable.dumps(event.as_json())}\n\n".encode("ascii")
