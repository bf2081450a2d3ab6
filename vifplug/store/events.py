"""The store's events, the outbox of notices to Nova, and the last status that Neutron sent for each VIF.

An event is written in the transaction that changes its record, so that neither exists without the other; the sequence
is the order of commits. All tables are bounded.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

from vifplug.errors import EventsLost
from vifplug.model import events
from vifplug.model.events import Event, EventCause, EventChange
from vifplug.model.reports import ABSENT, CONTENDED, FAILED, UNPLUGGED, Orphan
from vifplug.store import database, records
from vifplug.store.database import Database
from vifplug.store.records import Record

LOG = logging.getLogger(__name__)

EVENTS_KEPT = 50_000
"""About 15 MB. A follower that has missed more than these reads every VIF."""
_PAGE = 2000
"""Events that are read while the store is held."""
OUTBOX_MAX = 10_000
NEUTRON_MAX = 10_000

PLUGGED_EVENT, UNPLUGGED_EVENT = "network-vif-plugged", "network-vif-unplugged"
NEUTRON_PLUGGED, NEUTRON_UNPLUGGED, NEUTRON_FAILED = "plugged", "unplugged", "failed"
_DROPPED = "outbox_dropped"
_ANNOUNCED_FAILED = 2
"""In place of wired or not, after a "failed" notice: the next state is always sent."""
DAMAGED = "damaged"
"""The state of an event that cannot be read any more."""


class _Entry(NamedTuple):
    """An event to be written."""

    vif_id: str
    state: str
    previous: str | None
    kind: str = events.STATE
    changes: Sequence[EventChange] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A notice to Nova about a VIF, in the form of its external events."""

    seq: int
    """The event's."""
    vif_id: str
    instance: str
    """The guest's UUID."""
    name: str
    status: str
    """completed or failed."""


class EventLog(Database):
    """The part of the store that holds events.

    :param notifies: whether to put notices about wired and no longer wired VIFs into the outbox.
    """

    def __init__(self, state_dir: str, user: str, *, notifies: bool = False) -> None:
        super().__init__(state_dir, user)
        self._notifies = notifies
        self.listeners: list[Callable[[Collection[str] | None], None]] = []
        """Called after a transaction that wrote records, in the thread that wrote them, with the VIFs' ids; with None
        when another process has written."""

    # -- recording, inside transactions of the store ------------------------------------------------------

    def _note(self, connection: sqlite3.Connection, before: Record | None, after: Record) -> None:
        """Record the events of a written record."""
        previous = before.state if before is not None else None
        cause = after.cause or EventCause()
        steps = events.steps(previous, after.state)
        if before is not None and _guest(before) != _guest(after):
            # The VIF has a new instance, or its first: nothing has been sent for that instance.
            connection.execute("DELETE FROM announced WHERE vif_id = ?", (after.id,))
            steps = steps or [after.state]
        if after.note:
            steps = steps or [after.state]
        if cause.kind == events.REPAIR:
            if cause.changes:
                state = previous or after.state
                self._add(connection, _Entry(after.id, state, state, events.REPAIR, cause.changes), after)
            cause = EventCause()
        for state in steps:
            kind = events.CONTENTION if state == CONTENDED else cause.kind
            self._add(connection, _Entry(after.id, state, previous, kind, cause.changes), after)
            previous = state

    def _note_end(self, connection: sqlite3.Connection, vif_id: str, gone: Record | None) -> None:
        """Record the event of an unplug; the previous state is unknown if the record is damaged."""
        previous = gone.state if gone is not None else None
        self._add(connection, _Entry(vif_id, UNPLUGGED, previous), gone)
        connection.execute("DELETE FROM announced WHERE vif_id = ?", (vif_id,))

    def _add(self, connection: sqlite3.Connection, entry: _Entry, record: Record | None) -> None:
        instance = _guest(record) if record is not None else None
        error = record.error if record is not None and entry.state not in (*events.LEVELS, UNPLUGGED) else None
        body = {
            "vif_id": entry.vif_id,
            "state": entry.state,
            "previous": entry.previous,
            "error": entry.error or error,
            "instance": instance,
            "note": record.note if record is not None else None,
            "time": records.now(),
            # Left out where they follow from the rest: most events are changes of a state.
            **({"kind": entry.kind} if entry.kind != events.STATE else {}),
            **({"changes": events.bounded(entry.changes)} if entry.changes else {}),
        }
        written = connection.execute("INSERT INTO events (body) VALUES (?)", (json.dumps(body, default=str),))
        seq = written.lastrowid or 0
        connection.execute("DELETE FROM events WHERE seq <= ?", (seq - EVENTS_KEPT,))
        if self._notifies and instance is not None and entry.kind not in (events.REPAIR, events.ORPHAN):
            self._announce(connection, seq, entry.vif_id, instance, entry.state)

    def note_orphans(self, orphans: Collection[Orphan], before: str | None, after: str) -> None:
        """Record that orphans were found or deleted.

        :param before: what was known of them.
        :param after: ``found`` or ``deleted``.
        :raises StoreError: it cannot be written.
        """
        with self._transaction() as connection:
            for orphan in orphans:
                change = EventChange(subject=orphan.name, attribute=events.ORPHAN, before=before, after=after)
                entry = _Entry(orphan.vif_id, ABSENT, None, events.ORPHAN, (change,), f"{orphan.kind} {orphan.name}")
                self._add(connection, entry, None)
        self.notify_listeners([orphan.vif_id for orphan in orphans])

    def note_conflict(self, states: Mapping[str, str], subject: str, reason: str) -> None:
        """Record that a request for VIFs was refused, because something else is in the way; not again if that is a
        VIF's last event already: a caller may repeat the request for days.

        :param states: the present state of each VIF.
        :param subject: what is in the way.
        :raises StoreError: it cannot be written.
        """
        written = []
        with self._transaction() as connection:
            for vif_id, state in states.items():
                last = self._last(connection, vif_id)
                if last is not None and (last.kind, last.error) == (events.CONFLICT, reason):
                    continue
                change = EventChange(subject=subject, attribute=events.CONFLICT, before=None, after=reason)
                self._add(connection, _Entry(vif_id, state, state, events.CONFLICT, (change,), reason), None)
                written.append(vif_id)
        if written:
            self.notify_listeners(written)

    @staticmethod
    def _last(connection: sqlite3.Connection, vif_id: str) -> Event | None:
        query = "SELECT seq, body FROM events WHERE instr(body, ?) ORDER BY seq DESC LIMIT 1"
        row = connection.execute(query, (f'"vif_id": "{vif_id}"',)).fetchone()
        return _event(*row) if row else None

    def _announce(self, connection: sqlite3.Connection, seq: int, vif_id: str, instance: str, state: str) -> None:
        """Put a notice into the outbox if the state changes for Nova, which repaired drift does not."""
        wired = events.is_wired(state)
        if wired is None and state != FAILED:
            return
        row = connection.execute("SELECT wired FROM announced WHERE vif_id = ?", (vif_id,)).fetchone()
        word = _ANNOUNCED_FAILED if wired is None else int(wired)
        if word == (row[0] if row else 0):
            return
        connection.execute("INSERT OR REPLACE INTO announced VALUES (?, ?)", (vif_id, word))
        name = UNPLUGGED_EVENT if wired is False else PLUGGED_EVENT
        status = "failed" if wired is None else "completed"
        notice = Notice(seq=seq, vif_id=vif_id, instance=instance, name=name, status=status)
        connection.execute("INSERT INTO outbox VALUES (?, ?)", (seq, json.dumps(asdict(notice))))
        (count,) = connection.execute("SELECT COUNT(*) FROM outbox").fetchone()
        if count > OUTBOX_MAX:
            connection.execute("DELETE FROM outbox WHERE seq = (SELECT MIN(seq) FROM outbox)")
            query = "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
            connection.execute(query, (_DROPPED,))

    def notify_listeners(self, vif_ids: Collection[str] | None) -> None:
        """Call the listeners after records were written; None if the VIFs are unknown."""
        for listener in self.listeners:
            listener(vif_ids)

    # -- following ----------------------------------------------------------------------------------------

    def sequence(self) -> int:
        """The newest event's number; 0 when there has never been one."""
        with self._reading() as connection:
            return _newest(connection)

    def events(self, since: int, limit: int) -> list[Event]:
        """Events after a number, in order; after 0, all stored events.

        :raises EventsLost: when some of them are no longer stored, or the number was never issued.
        """
        return [_event(seq, body) for seq, body in self._page(since, limit)]

    def events_of(self, vif_ids: Collection[str], since: int) -> tuple[list[Event], int]:
        """Stored events of some VIFs after a number, in order; and the newest number of all events by then.

        :raises EventsLost: as of ``events``.
        """
        page = self._page(since)
        matching: list[Event] = []
        while page:
            # Reading JSON takes ten times as long as this search, and most events are about other VIFs.
            bodies = [(seq, body) for seq, body in page if any(vif_id in body for vif_id in vif_ids)]
            matching += [event for seq, body in bodies if (event := _event(seq, body)).vif_id in vif_ids]
            since = page[-1][0]
            page = self._page(since) if len(page) == _PAGE else []
        return matching, since or self.sequence()

    def _page(self, since: int, limit: int = _PAGE) -> list[tuple[int, str]]:
        with self._transaction("DEFERRED") as connection:
            newest, oldest = _newest(connection), self._oldest(connection)
            since = since or oldest - 1
            query = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
            rows = connection.execute(query, (since, limit)).fetchall() if oldest - 1 <= since <= newest else []
        if since > newest:
            raise EventsLost(
                f"event {since} was never issued, the newest is {newest}: the store is a new one; "
                "read every VIF and follow from there",
                str(since),
            )
        if since < oldest - 1:
            raise EventsLost(
                f"events after {since} are no longer stored, the oldest is {oldest}; "
                "read every VIF and follow from there",
                str(since),
            )
        return rows

    def before(self, time: str) -> int:
        """The number to follow from to get the stored events since a time (ISO 8601, UTC, as events have it)."""
        with self._transaction("DEFERRED") as connection:
            low, high = self._oldest(connection) - 1, _newest(connection)
            while low < high:  # all after high are since that time, low is before it
                middle = (low + high + 1) // 2
                row = connection.execute("SELECT body FROM events WHERE seq = ?", (middle,)).fetchone()
                if row is not None and (event := _event(middle, row[0])).time and event.time < time:
                    low = middle
                else:
                    high = middle - 1
        return low

    @staticmethod
    def _oldest(connection: sqlite3.Connection) -> int:
        """The oldest stored number; the next one if there are none."""
        query = "SELECT COALESCE(MIN(seq), ?) FROM events"
        (oldest,) = connection.execute(query, (_newest(connection) + 1,)).fetchone()
        return int(oldest)

    def oldest(self) -> int:
        """The number to follow from to get all stored events."""
        with self._transaction("DEFERRED") as connection:
            return self._oldest(connection) - 1

    # -- the outbox ---------------------------------------------------------------------------------------

    def outbox(self, limit: int) -> list[Notice]:
        """Unsent notices, oldest first."""
        with self._reading() as connection:
            rows = connection.execute("SELECT seq, body FROM outbox ORDER BY seq LIMIT ?", (limit,)).fetchall()
        notices: list[Notice] = []
        damaged: list[int] = []
        for seq, body in rows:
            try:
                notices.append(Notice(**json.loads(body)))
            except (ValueError, TypeError):
                damaged.append(seq)
        if damaged:
            # An unreadable notice must not block those behind it for ever.
            LOG.error("notices %s are damaged, and are not sent", damaged)
            self.ack_outbox(damaged)
        return notices

    def ack_outbox(self, seqs: Collection[int]) -> None:
        """Remove notices that were delivered, or refused permanently."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in seqs])

    def outbox_counts(self) -> tuple[int, int]:
        """The numbers of notices that wait, and of those that were dropped because too many waited."""
        with self._transaction("DEFERRED") as connection:
            (waiting,) = connection.execute("SELECT COUNT(*) FROM outbox").fetchone()
            dropped = connection.execute("SELECT value FROM counters WHERE name = ?", (_DROPPED,)).fetchone()
        return waiting, dropped[0] if dropped else 0

    # -- Neutron's status ---------------------------------------------------------------------------------

    def set_neutron_status(self, vif_id: str, word: str) -> None:
        """Store the last status that Neutron sent for a VIF, which may not be plugged yet.

        :param word: NEUTRON_PLUGGED, NEUTRON_UNPLUGGED or NEUTRON_FAILED.
        """
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO told (vif_id, word) VALUES (?, ?)", (vif_id, word))
            (count,) = connection.execute("SELECT COUNT(*) FROM told").fetchone()
            if count > NEUTRON_MAX:
                # The oldest row without a recorded VIF.
                connection.execute(
                    "DELETE FROM told WHERE rowid = (SELECT MIN(rowid) FROM told "
                    "WHERE vif_id NOT IN (SELECT vif_id FROM records))"
                )

    def clear_neutron_status(self, vif_ids: Collection[str], *, only: str | None = None) -> None:
        """Delete Neutron's status of these VIFs; with ``only``, where it has that value."""
        if not self.neutron_status(vif_ids):
            return
        with self._transaction() as connection:
            for vif_id in vif_ids:
                query = "DELETE FROM told WHERE vif_id = ? AND word = COALESCE(?, word)"
                connection.execute(query, (vif_id, only))

    def neutron_status(self, vif_ids: Collection[str] | None = None) -> dict[str, str]:
        """The last status that Neutron sent, by VIF id."""
        with self._reading() as connection:
            return dict(database.rows(connection, "told", vif_ids))


def _guest(record: Record) -> str | None:
    return record.vif.instance.uuid if record.vif.instance is not None else None


def _event(seq: int, body: str) -> Event:
    """A stored event; those of earlier versions have no kind and no changes."""
    try:
        data = json.loads(body)
        event = Event.from_json({**data, "seq": seq})
        if event.kind in (events.REPAIR, events.ORPHAN) or (event.changes and event.state == event.previous):
            return event
        change = events.of_state(event.vif_id, event.previous, event.state)
        return replace(event, changes=(change, *event.changes))
    except (ValueError, TypeError, KeyError):
        # Its number stays, so that no follower takes it for lost; the VIF's present state is in its record.
        return Event(seq=seq, vif_id="", state=DAMAGED, time="")


def _newest(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(row[0]) if row else 0
