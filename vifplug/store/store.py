"""Records and intents: what was built for each VIF and from what request, and what is about to be done.

Every write is one transaction. An intent is written before the first effect and goes in the same transaction that
writes the record, so at any moment a VIF is either settled or known to be in between. Names are claimed with the
intent: two VIFs never get the same one.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vifplug.errors import Conflict, Damaged
from vifplug.model import limits
from vifplug.store import records, salvage
from vifplug.store.database import BUSY_SECONDS, rows
from vifplug.store.events import EventLog
from vifplug.store.records import PLUG, Contents, Intent, Record

LOG = logging.getLogger(__name__)

_DIGEST_BYTES = 16

Moment = Mapping[str, tuple[Record | None, Intent | None]]
"""What the store held for some VIFs."""
_ID_LENGTH = 36
_LOST = "is missing, or has lost its key, and its names are claimed still"


class _Held(dict[str, tuple[Record | None, Intent | None]]):
    """A moment that knows which of its VIFs have a record that cannot be read, or is not found."""

    damaged: frozenset[str] = frozenset()


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
        self._strayed: set[str] = set()
        """VIFs with a record that was not found under their id, and may be there under another key."""
        self._find_strays()

    def contents(self, vif_ids: Collection[str] | None = None) -> Contents:
        """Everything, or what there is of some VIFs, read at one moment.

        :raises StoreError: when it cannot be read.
        """
        with self._transaction("DEFERRED") as database:
            found, begun = rows(database, "records", vif_ids), rows(database, "intents", vif_ids)
            absent = dict(rows(database, "guests", vif_ids))
            claims = _claims(database, vif_ids)
        known: dict[str, Record] = {}
        unreadable: dict[Any, tuple[Any, str]] = {}
        for vif_id, body in found:
            try:
                known[vif_id] = self._with_guest(vif_id, body, absent.get(vif_id))
            except Damaged as error:
                unreadable[vif_id] = (body, str(error))
        if vif_ids is None:
            for gone in self._parsed.keys() - known.keys():
                self._parsed.pop(gone, None)
        torn = [part for key, (body, _why) in unreadable.items() for part in (key, body)]
        torn += [part for row in begun if not _is_sound_intent(*row) for part in row]
        damaged = self._damaged(known, unreadable, {key for key, _body in begun}, {row[2] for row in claims})
        return Contents(
            records=known,
            intents={salvage.key_of(vif_id): self._intent(vif_id, body) for vif_id, body in begun},
            damaged=damaged,
            held_by_damaged={
                one: frozenset({one, *(salvage.text_of(holder) for _name, holder, vif_id in claims if vif_id == one)})
                for one in damaged
            },
            covered=frozenset({salvage.text_of(part) for row in claims for part in row[1:]} | salvage.owners_in(*torn)),
            covered_names=frozenset({salvage.text_of(row[0]) for row in claims} | salvage.names_in(*torn)),
        )

    def _damaged(
        self, known: Collection[str], unreadable: Mapping[Any, tuple[Any, str]], begun: set[Any], claimed: set[Any]
    ) -> dict[str, str]:
        """Why a VIF's record cannot be used, by VIF id; by the row's key, where that is all there is."""
        damaged = {}
        lost = {one for one in claimed if isinstance(one, str)} - set(known) - begun - unreadable.keys()
        for key, (body, why) in unreadable.items():
            vif_id = salvage.vif_of(body)
            if vif_id is not None and vif_id not in known and _tells_less(key, vif_id in lost, key in claimed):
                lost.add(vif_id)
                damaged[vif_id] = _advised(vif_id, f"has lost its key (it is stored as {salvage.key_of(key)!r})")
            else:
                damaged[salvage.key_of(key)] = why
        damaged |= {vif_id: _advised(vif_id, _LOST) for vif_id in sorted(lost - damaged.keys())}
        self._strayed |= lost
        return damaged

    def _find_strays(self) -> None:
        """Know the VIFs whose records are under what is no VIF's id."""
        query = "SELECT vif_id, body FROM records WHERE typeof(vif_id) != 'text' OR length(vif_id) != ?"
        with self._reading() as database:
            found = database.execute(query, (_ID_LENGTH,)).fetchall()
        self._strayed |= {vif_id for _key, body in found if (vif_id := salvage.vif_of(body)) is not None}

    def record(self, vif_id: str) -> Record | None:
        """One VIF's record.

        :raises StoreError: when it is damaged, or not found although names are claimed for it.
        """
        with self._reading() as database:
            found = rows(database, "records", [vif_id])
            absent = dict(rows(database, "guests", [vif_id]))
            if not found and self._is_lost(database, vif_id):
                raise Damaged(_advised(vif_id, _LOST), vif_id)
        return self._with_guest(*found[0], absent.get(vif_id)) if found else None

    def _is_lost(self, database: sqlite3.Connection, vif_id: str) -> bool:
        """Whether names are claimed for a VIF that has no record, and is not in the middle of anything; or its record
        is under another key."""
        if vif_id in self._strayed:
            return not rows(database, "intents", [vif_id])
        query = "SELECT 1 FROM claims WHERE vif_id = ?"
        if not database.execute(query, (vif_id,)).fetchone() or rows(database, "intents", [vif_id]):
            return False
        self._strayed.add(vif_id)
        return True

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

    def held_by_damaged(self, vif_id: str) -> frozenset[str]:
        """The owners of what a VIF has whose record cannot be read: itself, and networks whose bridges it shares."""
        if not self.is_damaged(vif_id):
            return frozenset()
        return self.contents([vif_id]).held_by_damaged.get(vif_id, frozenset())

    def intent(self, vif_id: str) -> Intent | None:
        """What one VIF is in the middle of."""
        with self._reading() as database:
            found = rows(database, "intents", [vif_id])
        return self._intent(*found[0]) if found else None

    def begun(self) -> list[str]:
        """VIFs with something under way, or left in between."""
        with self._reading() as database:
            return [row[0] for row in database.execute("SELECT vif_id FROM intents")]

    def intend(
        self, intents: Sequence[Intent], claims: Mapping[str, Mapping[str, str]], *, is_new: bool = False
    ) -> None:
        """Write what is about to be done, and claim its names.

        :param claims: for each VIF id, name -> holder (the VIF itself, or the network that shares it).
        :param is_new: whether a VIF is among them that nothing is recorded of. On a full disk those wait.
        :raises StoreFull: when there is no room; nothing is written.
        :raises Conflict: when another holder has one of the names; nothing is written.
        :raises StoreElsewhere: when another namespace's VIFs have been recorded meanwhile.
        """
        write = functools.partial(self._intend, intents, claims)
        if is_new:
            self._refuse_when_full()
            write()
        else:
            self._essentially(write)

    def _intend(self, intents: Sequence[Intent], claims: Mapping[str, Mapping[str, str]]) -> None:
        with self._transaction() as database:
            self._refuse_elsewhere(database)
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

    def keep(self, kept: Sequence[Record], *, seconds: float = BUSY_SECONDS) -> None:
        """Write records and end their intents, all at once; names no longer used are given back.

        :param seconds: how long to wait for another process that has the store locked.
        :raises Conflict: when another holder has one of the names; nothing is written.
        """
        self._essentially(functools.partial(self._keep, kept, seconds))
        self.tell_listeners([record.id for record in kept])

    def _keep(self, kept: Sequence[Record], seconds: float) -> None:
        with self._transaction(seconds=seconds) as database:
            for record in kept:
                before = rows(database, "records", [record.id])
                self._note(database, self._sound(*before[0]) if before else None, record)
                self._drop_strays(database, record.id)
                self._write_record(database, record)
                # Names of what was found as it should be were claimed by no intent.
                self._claim(database, record.id, _names(record))
                database.execute("DELETE FROM intents WHERE vif_id = ?", (record.id,))
                self._give_back(database, record.id, set(_names(record)))

    def _write_record(self, database: sqlite3.Connection, record: Record) -> None:
        body = records.to_json(record)
        self._parsed[record.id] = (_digest(body), replace(record, note=None))
        database.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (record.id, body))

    def note_guests(self, noted: Mapping[str, str]) -> None:
        """Keep since when recorded VIFs' guest ends are missing; "" for one that is there."""
        query = "INSERT OR REPLACE INTO guests SELECT vif_id, ? FROM records WHERE vif_id = ?"

        def write() -> None:
            with self._transaction() as database:
                database.executemany(query, [(since, vif_id) for vif_id, since in noted.items()])

        self._essentially(write)

    def forget(self, vif_ids: Sequence[str]) -> None:
        """Delete VIFs' records, intents and claims."""
        self._essentially(functools.partial(self._forget_all, vif_ids))
        self.tell_listeners(vif_ids)

    def _forget_all(self, vif_ids: Sequence[str]) -> None:
        with self._transaction() as database:
            for vif_id in vif_ids:
                known = rows(database, "records", [vif_id])
                if known:
                    self._note_end(database, vif_id, self._sound(*known[0]))
                # The next life of a port begins without the last one's word, and with another guest.
                database.execute("DELETE FROM told WHERE vif_id = ?", (vif_id,))
                database.execute("DELETE FROM guests WHERE vif_id = ?", (vif_id,))
                self._forget(database, vif_id)

    def _drop_strays(self, database: sqlite3.Connection, vif_id: str) -> None:
        """Delete records of a VIF's that are under another key."""
        if vif_id not in self._strayed:
            return
        self._strayed.discard(vif_id)
        for key, body in rows(database, "records"):
            if key != vif_id and salvage.vif_of(body) == vif_id:
                database.execute("DELETE FROM records WHERE vif_id = ?", (key,))
                database.execute("DELETE FROM claims WHERE vif_id = ?", (key,))

    def end_intent(self, vif_id: str) -> None:
        """Be no longer in the middle of anything with a VIF; its record and its claims stay as they are."""

        def write() -> None:
            with self._transaction() as database:
                database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))

        self._essentially(write)

    def _forget(self, database: sqlite3.Connection, vif_id: str) -> None:
        self._parsed.pop(vif_id, None)
        self._drop_strays(database, vif_id)
        database.execute("DELETE FROM records WHERE vif_id = ?", (vif_id,))
        database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))
        self._give_back(database, vif_id, set())

    def moment(self, vif_ids: Sequence[str]) -> Moment:
        """What is held for these VIFs now, with no record where it is damaged; for ``revert``, too."""
        with self._transaction("DEFERRED") as database:
            bodies, begun = dict(rows(database, "records", vif_ids)), dict(rows(database, "intents", vif_ids))
            absent = dict(rows(database, "guests", vif_ids))
            missing = set(vif_ids) - bodies.keys() - begun.keys()
            lost = {vif_id for vif_id in missing if self._is_lost(database, vif_id)}
        found = _Held()
        for vif_id in vif_ids:
            record = None
            with contextlib.suppress(Damaged):
                if vif_id in bodies:
                    record = self._with_guest(vif_id, bodies[vif_id], absent.get(vif_id))
            found[vif_id] = (record, self._intent(vif_id, begun[vif_id]) if vif_id in begun else None)
        found.damaged = frozenset(lost | {vif_id for vif_id in bodies if found[vif_id][0] is None})
        return found

    def revert(self, before: Moment) -> None:
        """Hold again what was held before, whatever was written since."""
        self._essentially(functools.partial(self._revert, before))

    def _revert(self, before: Moment) -> None:
        damaged = before.damaged if isinstance(before, _Held) else frozenset()
        with self._transaction() as database:
            for vif_id, (record, intent) in before.items():
                if vif_id in damaged and intent is None and not self._is_written(database, vif_id):
                    # It is plugged, for all that is known, and its claims keep what it has from being an orphan.
                    database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))
                    continue
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

    def _is_written(self, database: sqlite3.Connection, vif_id: str) -> bool:
        """Whether there is a record that can be read."""
        found = rows(database, "records", [vif_id])
        return bool(found) and self._sound(*found[0]) is not None

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
            return Intent(vif_id=salvage.key_of(vif_id), verb=PLUG, session=0, resources=())


def _tells_less(key: Any, is_lost: bool, is_claimed: bool) -> bool:
    """Whether a row's key says less of whose it is than its text: it is no id, or names are claimed for the other."""
    return not (isinstance(key, str) and limits.is_uuid(key)) or (is_lost and not is_claimed)


def _is_sound_intent(vif_id: str, body: str) -> bool:
    with contextlib.suppress(Damaged):
        records.intent_from_json(vif_id, body)
        return True
    return False


def _claims(database: sqlite3.Connection, vif_ids: Collection[str] | None) -> list[tuple[Any, Any, Any]]:
    """Name, holder and VIF of each claim, of all VIFs or of some."""
    query = "SELECT name, holder, vif_id FROM claims"
    if vif_ids is None:
        return list(database.execute(query))
    return [row for vif_id in vif_ids for row in database.execute(f"{query} WHERE vif_id = ?", (vif_id,))]


def _advised(vif_id: str, what: str) -> str:
    return f"the record of VIF {vif_id} {what}; plug it again to write it anew, or unplug it"


def _digest(body: str) -> bytes:
    # str(): where somebody wrote from outside, a body may be any SQLite value; it is told as damaged further on.
    return hashlib.blake2b(str(body).encode(errors="surrogateescape"), digest_size=_DIGEST_BYTES).digest()


def _names(part: Record | Intent | None) -> dict[str, str]:
    """Each name and its holder: the VIF, or the network that shares it."""
    return records.claimed(part.resources) if part is not None else {}
