"""Records and intents: what was built for each VIF and from what request, and what is about to be done.

Every write is one transaction. An intent is written before the first effect and goes in the same transaction that
writes the record, so at any moment a VIF is either settled or known to be in between. Names are claimed with the
intent: two VIFs never get the same one.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from vifplug import records
from vifplug.database import rows
from vifplug.errors import Conflict, Damaged
from vifplug.eventlog import EventLog
from vifplug.records import PLUG, Contents, Intent, Record

LOG = logging.getLogger(__name__)

_DIGEST_BYTES = 16

Moment = Mapping[str, tuple[Record | None, Intent | None]]
"""What the store held for some VIFs."""


class Store(EventLog):
    """The store of a state directory; its file and its events are in the rooms below.

    :param state_dir: made with mode 0700 when missing.
    :param user: whom it and its files are given to, when that user exists and we are root.
    :param notifies: as of ``EventLog``.
    :raises StoreError: when it cannot be opened.
    """

    def __init__(self, state_dir: str, user: str, *, notifies: bool = False) -> None:
        super().__init__(state_dir, user, notifies=notifies)
        self._parsed: dict[str, tuple[bytes, Record]] = {}
        """Records as last read or written, by VIF id, and their text's digest: parsing costs more than reading, and
        the texts of a thousand VIFs take megabytes."""

    def contents(self, vif_ids: Collection[str] | None = None) -> Contents:
        """Everything, or what there is of some VIFs, read at one moment.

        :raises StoreError: when it cannot be read.
        """
        known: dict[str, Record] = {}
        damaged: dict[str, str] = {}
        with self._transaction("DEFERRED") as database:
            absent = dict(rows(database, "guests", vif_ids))
            for vif_id, body in rows(database, "records", vif_ids):
                try:
                    known[vif_id] = self._with_guest(vif_id, body, absent.get(vif_id))
                except Damaged as error:
                    damaged[vif_id] = str(error)
            begun = rows(database, "intents", vif_ids)
            query = "SELECT holder FROM claims WHERE vif_id = ?"
            holders = {one: frozenset({one, *(row[0] for row in database.execute(query, (one,)))}) for one in damaged}
        if vif_ids is None:
            for gone in self._parsed.keys() - known.keys():
                self._parsed.pop(gone, None)
        intents = {vif_id: self._intent(vif_id, body) for vif_id, body in begun}
        return Contents(records=known, intents=intents, damaged=damaged, held_by_damaged=holders)

    def record(self, vif_id: str) -> Record | None:
        """One VIF's record.

        :raises StoreError: when it is damaged.
        """
        with self._reading() as database:
            found = rows(database, "records", [vif_id])
            absent = dict(rows(database, "guests", [vif_id]))
        return self._with_guest(*found[0], absent.get(vif_id)) if found else None

    def sound_record(self, vif_id: str) -> Record | None:
        """One VIF's record; none where it is damaged, for those who write it anew or take the VIF away."""
        with contextlib.suppress(Damaged):
            return self.record(vif_id)
        return None

    def is_damaged(self, vif_id: str) -> bool:
        """Whether there is a record that cannot be read."""
        try:
            self.record(vif_id)
        except Damaged:
            return True
        return False

    def intent(self, vif_id: str) -> Intent | None:
        """What one VIF is in the middle of."""
        with self._reading() as database:
            found = rows(database, "intents", [vif_id])
        return self._intent(*found[0]) if found else None

    def begun(self) -> list[str]:
        """VIFs with something under way, or left in between."""
        with self._reading() as database:
            return [row[0] for row in database.execute("SELECT vif_id FROM intents")]

    def intend(self, intents: Sequence[Intent], claims: Mapping[str, Mapping[str, str]]) -> None:
        """Write what is about to be done, and claim its names.

        :param claims: for each VIF id, name -> holder (the VIF itself, or the network that shares it).
        :raises Conflict: when another holder has one of the names; nothing is written.
        """
        with self._transaction() as database:
            for vif_id, names in claims.items():
                self._claim(database, vif_id, names)
            for intent in intents:
                self._write_intent(database, intent)

    @staticmethod
    def _write_intent(database: sqlite3.Connection, intent: Intent) -> None:
        body = records.intent_to_json(intent)
        database.execute("INSERT OR REPLACE INTO intents VALUES (?, ?)", (intent.vif_id, body))

    @staticmethod
    def _claim(database: sqlite3.Connection, vif_id: str, names: Mapping[str, str]) -> None:
        for name, holder in names.items():
            query = "SELECT vif_id FROM claims WHERE name = ? AND holder != ?"
            other = database.execute(query, (name, holder)).fetchone()
            if other:
                raise Conflict(
                    f"{name!r} is held by VIF {other[0]}, which is plugged on this host; VIF {vif_id} cannot have the "
                    "same name (give one of them explicit names)",
                    name,
                )
            database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (name, holder, vif_id))

    def keep(self, kept: Sequence[Record]) -> None:
        """Write records and end their intents, all at once; names no longer used are given back.

        :raises Conflict: when another holder has one of the names; nothing is written.
        """
        with self._transaction() as database:
            for record in kept:
                before = rows(database, "records", [record.id])
                self._note(database, self._sound(*before[0]) if before else None, record)
                self._write_record(database, record)
                # Names of what was found as it should be were claimed by no intent.
                self._claim(database, record.id, _names(record))
                database.execute("DELETE FROM intents WHERE vif_id = ?", (record.id,))
                self._give_back(database, record.id, set(_names(record)))
        self.tell_listeners([record.id for record in kept])

    def _write_record(self, database: sqlite3.Connection, record: Record) -> None:
        body = records.to_json(record)
        self._parsed[record.id] = (_digest(body), replace(record, note=None))
        database.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (record.id, body))

    def note_guests(self, noted: Mapping[str, str]) -> None:
        """Keep since when recorded VIFs' guest ends are missing; "" for one that is there."""
        query = "INSERT OR REPLACE INTO guests SELECT vif_id, ? FROM records WHERE vif_id = ?"
        with self._transaction() as database:
            database.executemany(query, [(since, vif_id) for vif_id, since in noted.items()])

    def forget(self, vif_ids: Sequence[str]) -> None:
        """Delete VIFs' records, intents and claims."""
        with self._transaction() as database:
            for vif_id in vif_ids:
                known = rows(database, "records", [vif_id])
                if known:
                    self._note_end(database, vif_id, self._sound(*known[0]))
                # The next life of a port begins without the last one's word, and with another guest.
                database.execute("DELETE FROM told WHERE vif_id = ?", (vif_id,))
                database.execute("DELETE FROM guests WHERE vif_id = ?", (vif_id,))
                self._forget(database, vif_id)
        self.tell_listeners(vif_ids)

    def _forget(self, database: sqlite3.Connection, vif_id: str) -> None:
        self._parsed.pop(vif_id, None)
        database.execute("DELETE FROM records WHERE vif_id = ?", (vif_id,))
        database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))
        self._give_back(database, vif_id, set())

    def moment(self, vif_ids: Sequence[str]) -> Moment:
        """What is held for these VIFs now, with no record where it is damaged; for ``revert``, too."""
        with self._transaction("DEFERRED") as database:
            bodies, begun = dict(rows(database, "records", vif_ids)), dict(rows(database, "intents", vif_ids))
            absent = dict(rows(database, "guests", vif_ids))
        found: dict[str, Record | None] = dict.fromkeys(vif_ids)
        for vif_id, body in bodies.items():
            with contextlib.suppress(Damaged):
                found[vif_id] = self._with_guest(vif_id, body, absent.get(vif_id))
        return {
            vif_id: (record, self._intent(vif_id, begun[vif_id]) if vif_id in begun else None)
            for vif_id, record in found.items()
        }

    def revert(self, before: Moment) -> None:
        """Hold again what was held before, whatever was written since."""
        with self._transaction() as database:
            for vif_id, (record, intent) in before.items():
                known = rows(database, "records", [vif_id])
                self._forget(database, vif_id)
                if record is not None:
                    # What was committed and told is taken back as plainly.
                    self._note(database, self._sound(*known[0]) if known else None, record)
                    self._write_record(database, record)
                elif known:
                    self._note_end(database, vif_id, self._sound(*known[0]))
                if intent is not None:
                    self._write_intent(database, intent)
                self._claim(database, vif_id, _names(record) | _names(intent))

    @staticmethod
    def _give_back(database: sqlite3.Connection, vif_id: str, kept: set[str]) -> None:
        claimed = {row[0] for row in database.execute("SELECT name FROM claims WHERE vif_id = ?", (vif_id,))}
        database.executemany(
            "DELETE FROM claims WHERE vif_id = ? AND name = ?", [(vif_id, name) for name in claimed - kept]
        )

    def _record(self, vif_id: str, body: str) -> Record:
        digest, parsed = _digest(body), self._parsed.get(vif_id)
        if parsed is None or parsed[0] != digest:
            parsed = self._parsed[vif_id] = (digest, records.from_json(vif_id, body))
        return parsed[1]

    def _with_guest(self, vif_id: str, body: str, absent_since: str | None) -> Record:
        """A record with what is noted of its guest; the same object as before while neither has changed."""
        record = self._record(vif_id, body)
        if record.guest_absent_since != absent_since:
            record = replace(record, guest_absent_since=absent_since)
            self._parsed[vif_id] = (_digest(body), record)
        return record

    def _sound(self, vif_id: str, body: str) -> Record | None:
        with contextlib.suppress(Damaged):
            return self._record(vif_id, body)
        return None

    @staticmethod
    def _intent(vif_id: str, body: str) -> Intent:
        try:
            return records.intent_from_json(vif_id, body)
        except Damaged as error:
            # As if it had only just begun: the record, if there is one, says how the VIF is to be.
            LOG.error("%s; it is settled as a plug that had changed nothing", error)
            return Intent(vif_id=vif_id, verb=PLUG, session=0, resources=())


def _digest(body: str) -> bytes:
    # str(): where somebody wrote from outside, a body may be any SQLite value; it is told as damaged further on.
    return hashlib.blake2b(str(body).encode(), digest_size=_DIGEST_BYTES).digest()


def _names(part: Record | Intent | None) -> dict[str, str]:
    """Each name and its holder: the VIF, or the network that shares it."""
    return {item.name: item.owner for item in part.resources} if part is not None else {}
