"""The store's events, the outbox of notices to Nova, and the last status that Neutron sent for each VIF.

An event is written in the transaction that changes its record, so that neither exists without the other; the sequence
is the order of commits. All tables are bounded.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from vifplug.errors import EventsLost
from vifplug.model import events
from vifplug.model.events import Event
from vifplug.model.reports import FAILED, UNPLUGGED
from vifplug.store import database, records
from vifplug.store.database import Database
from vifplug.store.records import Record

LOG = logging.getLogger(__name__)

EVENTS_KEPT = 50_000
"""About 15 MB. A follower that has missed more than these reads every VIF."""
OUTBOX_MAX = 10_000
NEUTRON_MAX = 10_000

PLUGGED_EVENT, UNPLUGGED_EVENT = "network-vif-plugged", "network-vif-unplugged"
NEUTRON_PLUGGED, NEUTRON_UNPLUGGED, NEUTRON_FAILED = "plugged", "unplugged", "failed"
_DROPPED = "outbox_dropped"
_ANNOUNCED_FAILED = 2
"""In place of wired or not, after a "failed" notice: the next state is always sent."""
DAMAGED = "damaged"
"""The state of an event that cannot be read any more."""


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
        steps = events.steps(previous, after.state)
        if before is not None and _guest(before) != _guest(after):
            # The VIF has a new instance, or its first: nothing has been sent for that instance.
            connection.execute("DELETE FROM announced WHERE vif_id = ?", (after.id,))
            steps = steps or [after.state]
        if after.note:
            steps = steps or [after.state]
        for state in steps:
            self._add(connection, after.id, state, previous, after)
            previous = state

    def _note_end(self, connection: sqlite3.Connection, vif_id: str, gone: Record | None) -> None:
        """Record the event of an unplug; the previous state is unknown if the record is damaged."""
        self._add(connection, vif_id, UNPLUGGED, gone.state if gone is not None else None, gone)
        connection.execute("DELETE FROM announced WHERE vif_id = ?", (vif_id,))

    def _add(
        self, connection: sqlite3.Connection, vif_id: str, state: str, previous: str | None, record: Record | None
    ) -> None:
        instance = _guest(record) if record is not None else None
        error = record.error if record is not None and state not in (*events.LEVELS, UNPLUGGED) else None
        body = {
            "vif_id": vif_id,
            "state": state,
            "previous": previous,
            "error": error,
            "instance": instance,
            "note": record.note if record is not None else None,
            "time": records.now(),
        }
        written = connection.execute("INSERT INTO events (body) VALUES (?)", (json.dumps(body),))
        seq = written.lastrowid or 0
        connection.execute("DELETE FROM events WHERE seq <= ?", (seq - EVENTS_KEPT,))
        if self._notifies and instance is not None:
            self._announce(connection, seq, vif_id, instance, state)

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
        with self._transaction("DEFERRED") as connection:
            newest = _newest(connection)
            (oldest,) = connection.execute("SELECT COALESCE(MIN(seq), ?) FROM events", (newest + 1,)).fetchone()
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
        return [_event(seq, body) for seq, body in rows]

    def oldest(self) -> int:
        """The number to follow from to get all stored events."""
        with self._transaction("DEFERRED") as connection:
            (oldest,) = connection.execute(
                "SELECT COALESCE(MIN(seq), ?) FROM events", (_newest(connection) + 1,)
            ).fetchone()
            return int(oldest) - 1

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
    try:
        return Event(seq=seq, **json.loads(body))
    except (ValueError, TypeError):
        # Its number stays, so that no follower takes it for lost; the VIF's present state is in its record.
        return Event(seq=seq, vif_id="", state=DAMAGED, time="")


def _newest(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(row[0]) if row else 0
