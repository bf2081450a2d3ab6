"""Records and intents: what was built for each VIF from which request, and what is about to be done.

Every write is one transaction. An intent is written before the first effect and ends in the transaction that
writes the record, so a VIF is always either settled or has an intent. Names are claimed with the
intent, so that two VIFs never get the same name.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from vifplug import naming
from vifplug.errors import Damaged
from vifplug.resources.link import Link
from vifplug.store import records, salvage, shared
from vifplug.store.claims import claim, claim_rows, release_claims
from vifplug.store.database import BUSY_SECONDS, rows
from vifplug.store.events import EventLog
from vifplug.store.records import PLUG, Contents, Intent, Record

LOG = logging.getLogger(__name__)

_DIGEST_BYTES = 16

_OF_VIFS = """
SELECT 'records', vif_id, body, '' FROM records WHERE vif_id IN ({marks})
UNION ALL SELECT 'intents', vif_id, body, '' FROM intents WHERE vif_id IN ({marks})
UNION ALL SELECT 'guests', vif_id, absent_since, '' FROM guests WHERE vif_id IN ({marks})
UNION ALL SELECT 'told', vif_id, word, '' FROM told WHERE vif_id IN ({marks})
UNION ALL SELECT 'claims', vif_id, '', '' FROM claims WHERE vif_id IN ({marks})
UNION ALL SELECT 'shared', name, body, holder FROM shared
"""
"""Everything about some VIFs, and the devices that all VIFs share."""
_ID_LENGTH = 36
_LOST = "is missing, or has lost its key, and its names are still claimed"


class Moment(dict[str, tuple[Record | None, Intent | None]]):
    """The store's contents for some VIFs at one moment: the record and the intent of each."""

    damaged: frozenset[str] = frozenset()
    """VIFs whose record cannot be read, or is not found."""
    neutron_status: Mapping[str, str] = {}
    """The last status that Neutron sent, by VIF id."""
    shared: shared.Rows = MappingProxyType({})
    """Configured devices that VIFs share, of all VIFs."""


class Store(EventLog):
    """The store of a state directory; the base classes have its file and its events.

    :param state_dir: created with mode 0700 if missing.
    :param user: becomes the owner of the directory and its files, if that user exists and this process is root.
    :param notifies: as of ``EventLog``.
    :raises StoreError: when it cannot be opened.
    """

    def __init__(self, state_dir: str, user: str, *, notifies: bool = False) -> None:
        super().__init__(state_dir, user, notifies=notifies)
        self._parsed: dict[str, tuple[bytes, Record]] = {}
        """Records as last read or written, by VIF id, with a digest of their text: parsing costs more than reading, and
        the texts of a thousand VIFs take megabytes."""
        self._misfiled: set[str] = set()
        """VIFs whose record was not found under their id, and may be under another key."""
        self._find_misfiled()

    def contents(self, vif_ids: Collection[str] | None = None) -> Contents:
        """Everything, or the rows of some VIFs, read in one transaction.

        :raises StoreError: when it cannot be read.
        """
        with self._transaction("DEFERRED") as database:
            stored, begun = rows(database, "records", vif_ids), rows(database, "intents", vif_ids)
            absent = dict(rows(database, "guests", vif_ids))
            claimed = claim_rows(database, vif_ids)
        known: dict[str, Record] = {}
        unreadable: dict[Any, tuple[Any, str]] = {}
        for vif_id, body in stored:
            try:
                known[vif_id] = self._with_guest(vif_id, body, absent.get(vif_id))
            except Damaged as error:
                unreadable[vif_id] = (body, str(error))
        if vif_ids is None:
            for gone in self._parsed.keys() - known.keys():
                self._parsed.pop(gone, None)
        unread_parts = [part for key, (body, _why) in unreadable.items() for part in (key, body)]
        intents: dict[str, Intent] = {}
        for key, body in begun:
            try:
                intents[salvage.key_of(key)] = records.intent_from_json(key, body)
            except Damaged as error:
                intents[salvage.key_of(key)] = _only_begun(key, error)
                unread_parts += (key, body)
        damaged = self._damaged(known, unreadable, {key for key, _body in begun}, {row[2] for row in claimed})
        return Contents(
            records=known,
            intents=intents,
            damaged=damaged,
            held_by_damaged={
                key: frozenset({key, *(salvage.text_of(holder) for _name, holder, vif_id in claimed if vif_id == key)})
                for key in damaged
            },
            covered=frozenset(
                salvage.texts_of(part for row in claimed for part in row[1:]) | salvage.owners_in(*unread_parts)
            ),
            covered_names=frozenset(salvage.texts_of(row[0] for row in claimed) | salvage.names_in(*unread_parts)),
        )

    def _damaged(
        self, known: Collection[str], unreadable: Mapping[Any, tuple[Any, str]], begun: set[Any], claimed: set[Any]
    ) -> dict[str, str]:
        """Why a VIF's record cannot be used, by VIF id, or by the row's key if the id is unknown."""
        damaged = {}
        lost = {vif_id for vif_id in claimed if isinstance(vif_id, str)} - set(known) - begun - unreadable.keys()
        for key, (body, reason) in unreadable.items():
            vif_id = salvage.vif_of(body)
            if vif_id is not None and vif_id not in known and _is_key_worse(key, vif_id in lost, key in claimed):
                lost.add(vif_id)
                damaged[vif_id] = _advised(vif_id, f"has lost its key (it is stored as {salvage.key_of(key)!r})")
            else:
                damaged[salvage.key_of(key)] = reason
        damaged |= {vif_id: _advised(vif_id, _LOST) for vif_id in sorted(lost - damaged.keys())}
        self._misfiled |= lost
        return damaged

    def _find_misfiled(self) -> None:
        """Find the VIFs whose records have a key that is not a VIF's id."""
        query = "SELECT vif_id, body FROM records WHERE typeof(vif_id) != 'text' OR length(vif_id) != ?"
        with self._reading() as database:
            rows = database.execute(query, (_ID_LENGTH,)).fetchall()
        self._misfiled |= {vif_id for _key, body in rows if (vif_id := salvage.vif_of(body)) is not None}

    def record(self, vif_id: str) -> Record | None:
        """One VIF's record.

        :raises StoreError: when it is damaged, or not found although names are claimed for it.
        """
        with self._reading() as database:
            stored = rows(database, "records", [vif_id])
            absent = dict(rows(database, "guests", [vif_id]))
            if not stored and self._is_lost(database, vif_id):
                raise Damaged(_advised(vif_id, _LOST), vif_id)
        return self._with_guest(*stored[0], absent.get(vif_id)) if stored else None

    def _is_lost(self, database: sqlite3.Connection, vif_id: str) -> bool:
        """Whether a VIF without record and intent has claims; or its record is under another key."""
        if vif_id in self._misfiled:
            return not rows(database, "intents", [vif_id])
        query = "SELECT 1 FROM claims WHERE vif_id = ?"
        if not database.execute(query, (vif_id,)).fetchone() or rows(database, "intents", [vif_id]):
            return False
        self._misfiled.add(vif_id)
        return True

    def record_or_none(self, vif_id: str) -> Record | None:
        """One VIF's record; None if it is damaged, for a caller that rewrites it or unplugs the VIF."""
        with contextlib.suppress(Damaged):
            return self.record(vif_id)
        return None

    def is_damaged(self, vif_id: str) -> bool:
        """Whether the VIF has a record that cannot be read."""
        try:
            self.record(vif_id)
        except Damaged:
            return True
        return False

    def held_by_damaged(self, vif_id: str) -> frozenset[str]:
        """The owners of a damaged record's resources: the VIF, and networks whose bridges it shares."""
        if not self.is_damaged(vif_id):
            return frozenset()
        return self.contents([vif_id]).held_by_damaged.get(vif_id, frozenset())

    def intent(self, vif_id: str) -> Intent | None:
        """One VIF's intent."""
        with self._reading() as database:
            stored = rows(database, "intents", [vif_id])
        return self._intent(*stored[0]) if stored else None

    def shared_links(self) -> dict[str, Link]:
        """Configured devices that VIFs share, by name: all values that these VIFs have asked for, and ``former``."""
        with self._reading() as database:
            return shared.links(database)

    def pending(self) -> list[str]:
        """VIFs with an intent: of running or interrupted work."""
        with self._reading() as database:
            return [row[0] for row in database.execute("SELECT vif_id FROM intents")]

    def begin(
        self,
        intents: Sequence[Intent],
        claims: Mapping[str, Mapping[str, str]],
        *,
        is_new: bool = False,
        configured: Mapping[str, Link] = MappingProxyType({}),
    ) -> None:
        """Write intents, and claim their names.

        :param claims: for each VIF id, name -> holder (the VIF itself, or the network that shares it).
        :param is_new: whether one of the VIFs has no record. On a full disk new VIFs are refused.
        :param configured: as of ``save_records``.
        :raises StoreFull: when there is no room; nothing is written.
        :raises Conflict: when another holder has one of the names; nothing is written.
        :raises StoreElsewhere: when VIFs of another namespace were recorded in the meantime.
        """
        write = functools.partial(self._begin_intents, intents, claims, configured)
        if is_new:
            self._refuse_when_full()
            write()
        else:
            self._essentially(write)

    def _begin_intents(
        self, intents: Sequence[Intent], claims: Mapping[str, Mapping[str, str]], configured: Mapping[str, Link]
    ) -> None:
        with self._transaction() as database:
            self._refuse_other_namespace(database)
            for vif_id, names in claims.items():
                claim(database, vif_id, names)
            shared.write(database, configured)
            for intent in intents:
                self._write_intent(database, intent)

    @staticmethod
    def _write_intent(database: sqlite3.Connection, intent: Intent) -> None:
        body = records.intent_to_json(intent)
        database.execute("INSERT OR REPLACE INTO intents VALUES (?, ?)", (intent.vif_id, body))

    def save_records(
        self,
        kept: Sequence[Record],
        *,
        seconds: float = BUSY_SECONDS,
        configured: Mapping[str, Link] = MappingProxyType({}),
    ) -> None:
        """Write records and end their intents in one transaction; unused names are released.

        :param configured: devices that VIFs share, as all these VIFs have asked for them (``shared_links``).
        :param seconds: how long to wait for another process that has the store locked.
        :raises Conflict: when another holder has one of the names; nothing is written.
        """
        self._essentially(functools.partial(self._save_records, kept, seconds, configured))
        self.notify_listeners([record.id for record in kept])

    def _save_records(self, kept: Sequence[Record], seconds: float, configured: Mapping[str, Link]) -> None:
        with self._transaction(seconds=seconds) as database:
            shared.write(database, configured)
            for record in kept:
                before = rows(database, "records", [record.id])
                known = self._sound(*before[0]) if before else None
                self._note(database, known, record)
                self._drop_misfiled(database, record.id)
                self._write_record(database, record)
                # No intent claimed the names of resources that were already right.
                claim(database, record.id, _names(record), records.functions_kept(known, record))
                database.execute("DELETE FROM intents WHERE vif_id = ?", (record.id,))
                release_claims(database, record.id, set(_names(record)))
            shared.release(database)

    def _write_record(self, database: sqlite3.Connection, record: Record) -> None:
        body = records.to_json(record)
        self._parsed[record.id] = (_digest(body), replace(record, note=None, cause=None))
        database.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (record.id, body))

    def note_guests(self, noted: Mapping[str, str]) -> None:
        """Store since when guest ends of recorded VIFs are missing; "" for a present one."""
        query = "INSERT OR REPLACE INTO guests SELECT vif_id, ? FROM records WHERE vif_id = ?"

        def write() -> None:
            with self._transaction() as database:
                database.executemany(query, [(since, vif_id) for vif_id, since in noted.items()])

        self._essentially(write)

    def forget(self, vif_ids: Sequence[str]) -> None:
        """Delete VIFs' records, intents and claims."""
        self._essentially(functools.partial(self._forget_all, vif_ids))
        self.notify_listeners(vif_ids)

    def _forget_all(self, vif_ids: Sequence[str]) -> None:
        with self._transaction() as database:
            for vif_id in vif_ids:
                known = rows(database, "records", [vif_id])
                if known:
                    self._note_end(database, vif_id, self._sound(*known[0]))
                # When the port is plugged again, Neutron's old status does not apply, and the guest is another one.
                database.execute("DELETE FROM told WHERE vif_id = ?", (vif_id,))
                database.execute("DELETE FROM guests WHERE vif_id = ?", (vif_id,))
                self._forget(database, vif_id)
            shared.release(database)

    def _drop_misfiled(self, database: sqlite3.Connection, vif_id: str) -> None:
        """Delete a VIF's records under other keys."""
        if vif_id not in self._misfiled:
            return
        self._misfiled.discard(vif_id)
        for key, body in rows(database, "records"):
            if key != vif_id and salvage.vif_of(body) == vif_id:
                database.execute("DELETE FROM records WHERE vif_id = ?", (key,))
                database.execute("DELETE FROM claims WHERE vif_id = ?", (key,))

    def end_intent(self, vif_id: str) -> None:
        """Delete a VIF's intent; its record and its claims stay as they are."""

        def write() -> None:
            with self._transaction() as database:
                database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))

        self._essentially(write)

    def _forget(self, database: sqlite3.Connection, vif_id: str) -> None:
        self._parsed.pop(vif_id, None)
        self._drop_misfiled(database, vif_id)
        database.execute("DELETE FROM records WHERE vif_id = ?", (vif_id,))
        database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))
        release_claims(database, vif_id, set())

    def snapshot(self, vif_ids: Sequence[str]) -> Moment:
        """The records and intents of these VIFs, without damaged records; also for ``restore``."""
        marks = ", ".join(f"?{number}" for number in range(1, len(vif_ids) + 1))
        by_table: dict[str, dict[str, str]] = {
            table: {} for table in ("records", "intents", "guests", "told", "claims")
        }
        configured: dict[tuple[str, str], str] = {}
        with self._reading() as database:
            everything = database.execute(_OF_VIFS.format(marks=marks), vif_ids).fetchall()
        for table, key, value, holder in everything:
            if table == "shared":
                configured[key, holder] = value
            else:
                by_table[table][key] = value
        bodies, begun, absent, reported = (by_table[table] for table in ("records", "intents", "guests", "told"))
        missing = set(vif_ids) - bodies.keys() - begun.keys()
        lost = {vif_id for vif_id in missing if vif_id in self._misfiled or vif_id in by_table["claims"]}
        self._misfiled |= lost
        held = Moment()
        held.neutron_status = reported
        held.shared = configured
        for vif_id in vif_ids:
            record = None
            with contextlib.suppress(Damaged):
                if vif_id in bodies:
                    record = self._with_guest(vif_id, bodies[vif_id], absent.get(vif_id))
            held[vif_id] = (record, self._intent(vif_id, begun[vif_id]) if vif_id in begun else None)
        held.damaged = frozenset(lost | {vif_id for vif_id in bodies if held[vif_id][0] is None})
        return held

    def restore(self, before: Moment) -> None:
        """Restore earlier contents, whatever was written since."""
        self._essentially(functools.partial(self._restore, before))

    def _restore(self, before: Moment) -> None:
        with self._transaction() as database:
            shared.restore(database, before.shared, before)
            for vif_id, (record, intent) in before.items():
                if vif_id in before.damaged and intent is None and not self._is_written(database, vif_id):
                    # The VIF is probably plugged, and its claims keep its resources from being orphans.
                    database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))
                    continue
                known = rows(database, "records", [vif_id])
                self._forget(database, vif_id)
                if record is not None:
                    # Events of the restored record follow those of the committed one.
                    self._note(database, self._sound(*known[0]) if known else None, record)
                    self._write_record(database, record)
                elif known:
                    self._note_end(database, vif_id, self._sound(*known[0]))
                if intent is not None:
                    self._write_intent(database, intent)
                kept = records.functions_kept(record, record)
                claim(database, vif_id, _names(record) | _names(intent), kept)
            # Behind the claims, without which what has just been restored would go.
            shared.release(database)

    def _is_written(self, database: sqlite3.Connection, vif_id: str) -> bool:
        """Whether the VIF has a readable record."""
        stored = rows(database, "records", [vif_id])
        return bool(stored) and self._sound(*stored[0]) is not None

    def _record(self, vif_id: str, body: str) -> Record:
        digest, parsed = _digest(body), self._parsed.get(vif_id)
        if parsed is None or parsed[0] != digest:
            parsed = self._parsed[vif_id] = (digest, records.from_json(vif_id, body))
        return parsed[1]

    def _with_guest(self, vif_id: str, body: str, absent_since: str | None) -> Record:
        """A record with its guest's absence; the same object as before while neither has changed."""
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
            return _only_begun(vif_id, error)


def _is_key_worse(key: Any, is_lost: bool, is_claimed: bool) -> bool:
    """Whether a row's text is a better source of its VIF than its key: the key is not an id, or names are claimed only
    for the VIF of the text."""
    return not (isinstance(key, str) and naming.is_uuid(key)) or (is_lost and not is_claimed)


def _only_begun(vif_id: str, error: Damaged) -> Intent:
    """In place of an unreadable intent: that of a plug that has only begun, so that the VIF gets its recorded state, or
    none."""
    LOG.error("%s; it is settled as a plug that has changed nothing", error)
    return Intent(vif_id=salvage.key_of(vif_id), verb=PLUG, session=0, resources=())


def _advised(vif_id: str, problem: str) -> str:
    return f"the record of VIF {vif_id} {problem}; plug it again to rewrite it, or unplug it"


def _digest(body: str) -> bytes:
    # str(): another program may have written any SQLite value as a body; it is reported as damaged later.
    return hashlib.blake2b(str(body).encode(errors="surrogateescape"), digest_size=_DIGEST_BYTES).digest()


def _names(part: Record | Intent | None) -> dict[str, str]:
    """Each name and its holder: the VIF, or what shares it."""
    return records.claims_of(part) if part is not None else {}
