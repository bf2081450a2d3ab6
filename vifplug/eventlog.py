"""The store's events: what happened to VIFs, what of it is to be told to others, and what Neutron has told us.

Every event is written in the transaction that changes the record it is about, so that neither is there without
the other; the sequence is the order of commits. All tables are bounded.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from vifplug import database, events, records
from vifplug.database import Database
from vifplug.errors import EventsLost
from vifplug.events import Event
from vifplug.records import Record
from vifplug.reports import FAILED, UNPLUGGED

LOG = logging.getLogger(__name__)

EVENTS_KEPT = 50_000
"""About 15 MB. Whoever follows and missed more than these looks at every VIF."""
OUTBOX_MAX = 10_000
TOLD_MAX = 10_000

PLUGGED_EVENT, UNPLUGGED_EVENT = "network-vif-plugged", "network-vif-unplugged"
TOLD_PLUGGED, TOLD_UNPLUGGED, TOLD_FAILED = "plugged", "unplugged", "failed"
_DROPPED = "outbox_dropped"
DAMAGED = "damaged"
"""The state in an event that cannot be read any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What Nova is to be told of a VIF, in the words of its external events."""

    seq: int
    """The event's."""
    vif_id: str
    instance: str
    """The guest's UUID."""
    name: str
    status: str
    """completed or failed."""


class EventLog(Database):
    """The part of the store that events are in.

    :param notifies: whether somebody is to be told of VIFs that are wired, and of those that are no longer.
    """

    def __init__(self, state_dir: str, user: str, *, notifies: bool = False) -> None:
        super().__init__(state_dir, user)
        self._notifies = notifies
        self.listeners: list[Callable[[], None]] = []
        """Called, in the thread that wrote, after a transaction of this process that events were noted in."""

    # -- noted, inside transactions of the store ----------------------------------------------------------

    def _note(self, connection: sqlite3.Connection, before: Record | None, after: Record) -> None:
        """A record is written."""
        previous = before.state if before is not None else None
        for state in events.steps(previous, after.state):
            self._add(connection, after, state, previous)
            previous = state

    def _note_end(self, connection: sqlite3.Connection, gone: Record) -> None:
        """A VIF is unplugged."""
        self._add(connection, gone, UNPLUGGED, gone.state)
        connection.execute("DELETE FROM announced WHERE vif_id = ?", (gone.id,))
        connection.execute("DELETE FROM told WHERE vif_id = ?", (gone.id,))

    def _add(self, connection: sqlite3.Connection, record: Record, state: str, previous: str | None) -> None:
        instance = record.vif.instance.uuid if record.vif.instance is not None else None
        body = {
            "vif_id": record.id,
            "state": state,
            "previous": previous,
            "error": record.error if state not in (*events.RUNGS, UNPLUGGED) else None,
            "instance": instance,
            "time": records.now(),
        }
        written = connection.execute("INSERT INTO events (body) VALUES (?)", (json.dumps(body),))
        seq = written.lastrowid or 0
        connection.execute("DELETE FROM events WHERE seq <= ?", (seq - EVENTS_KEPT,))
        if self._notifies and instance is not None:
            self._announce(connection, seq, record.id, instance, state)

    def _announce(self, connection: sqlite3.Connection, seq: int, vif_id: str, instance: str, state: str) -> None:
        """Put into the outbox what changes for Nova: a drift that is repaired is nothing to it."""
        wired = events.is_wired(state)
        if wired is not None:
            found = connection.execute("SELECT wired FROM announced WHERE vif_id = ?", (vif_id,)).fetchone()
            if bool(found and found[0]) == wired:
                return
            connection.execute("INSERT OR REPLACE INTO announced VALUES (?, ?)", (vif_id, wired))
        elif state != FAILED:
            return
        name = UNPLUGGED_EVENT if wired is False else PLUGGED_EVENT
        status = "failed" if wired is None else "completed"
        notice = Notice(seq=seq, vif_id=vif_id, instance=instance, name=name, status=status)
        connection.execute("INSERT INTO outbox VALUES (?, ?)", (seq, json.dumps(asdict(notice))))
        (count,) = connection.execute("SELECT COUNT(*) FROM outbox").fetchone()
        if count > OUTBOX_MAX:
            connection.execute("DELETE FROM outbox WHERE seq = (SELECT MIN(seq) FROM outbox)")
            query = "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
            connection.execute(query, (_DROPPED,))

    def tell_listeners(self) -> None:
        """Somebody has noted something: whoever is to hear of it looks."""
        for listener in self.listeners:
            listener()

    # -- followed -----------------------------------------------------------------------------------------

    def sequence(self) -> int:
        """The newest event's number; 0 when there has never been one."""
        with self._transaction("DEFERRED") as connection:
            return _newest(connection)

    def events(self, since: int, limit: int) -> list[Event]:
        """Events after a number, in order.

        :raises EventsLost: when some of them are not kept any more, or the number was never given.
        """
        with self._transaction("DEFERRED") as connection:
            newest = _newest(connection)
            (oldest,) = connection.execute("SELECT COALESCE(MIN(seq), ?) FROM events", (newest + 1,)).fetchone()
            query = "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
            found = connection.execute(query, (since, limit)).fetchall() if oldest - 1 <= since <= newest else []
        if since > newest:
            raise EventsLost(
                f"event {since} was never given, the newest is {newest}: the store was made anew; "
                "look at every VIF and follow from there",
                str(since),
            )
        if since < oldest - 1:
            raise EventsLost(
                f"events after {since} are not kept any more, the oldest is {oldest}; "
                "look at every VIF and follow from there",
                str(since),
            )
        return [_event(seq, body) for seq, body in found]

    def oldest(self) -> int:
        """The number to follow from for all that is kept."""
        with self._transaction("DEFERRED") as connection:
            (oldest,) = connection.execute(
                "SELECT COALESCE(MIN(seq), ?) FROM events", (_newest(connection) + 1,)
            ).fetchone()
            return int(oldest) - 1

    # -- told to others -----------------------------------------------------------------------------------

    def outbox(self, limit: int) -> list[Notice]:
        """What is to be told, oldest first."""
        with self._transaction("DEFERRED") as connection:
            found = connection.execute("SELECT seq, body FROM outbox ORDER BY seq LIMIT ?", (limit,)).fetchall()
        notices: list[Notice] = []
        damaged: list[int] = []
        for seq, body in found:
            try:
                notices.append(Notice(**json.loads(body)))
            except (ValueError, TypeError):
                damaged.append(seq)
        if damaged:
            # One that nobody can read must not hold up those behind it for ever.
            LOG.error("notices %s are damaged, and are told to nobody", damaged)
            self.told_off(damaged)
        return notices

    def told_off(self, seqs: Collection[int]) -> None:
        """These are told, or refused for good."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in seqs])

    def outbox_counts(self) -> tuple[int, int]:
        """How many wait to be told, and how many never will be, because more than the bound waited."""
        with self._transaction("DEFERRED") as connection:
            (waiting,) = connection.execute("SELECT COUNT(*) FROM outbox").fetchone()
            dropped = connection.execute("SELECT value FROM counters WHERE name = ?", (_DROPPED,)).fetchone()
        return waiting, dropped[0] if dropped else 0

    # -- told by Neutron ----------------------------------------------------------------------------------

    def tell(self, vif_id: str, word: str) -> None:
        """Keep what Neutron last said of a VIF, of one that is not plugged yet, too.

        :param word: TOLD_PLUGGED, TOLD_UNPLUGGED or TOLD_FAILED.
        """
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO told (vif_id, word) VALUES (?, ?)", (vif_id, word))
            (count,) = connection.execute("SELECT COUNT(*) FROM told").fetchone()
            if count > TOLD_MAX:
                # The longest unchanged of those that no VIF here has come for.
                connection.execute(
                    "DELETE FROM told WHERE rowid = (SELECT MIN(rowid) FROM told "
                    "WHERE vif_id NOT IN (SELECT vif_id FROM records))"
                )

    def told(self, vif_ids: Collection[str] | None = None) -> dict[str, str]:
        """What Neutron last said, by VIF id."""
        with self._transaction("DEFERRED") as connection:
            return dict(database.rows(connection, "told", vif_ids))


def _event(seq: int, body: str) -> Event:
    try:
        return Event(seq=seq, **json.loads(body))
    except (ValueError, TypeError):
        # Its number is there, so nobody takes it for lost; what it said, the VIF's own state still says.
        return Event(seq=seq, vif_id="", state=DAMAGED, time="")


def _newest(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()
    return int(found[0]) if found else 0
