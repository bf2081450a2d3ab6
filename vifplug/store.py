"""Records and intents: what was built for each VIF and from what request, and what is about to be done.

SQLite in WAL mode, shared safely by processes; every write is one transaction. An intent is written before
the first effect and goes in the same transaction that writes the record, so at any moment a VIF is either
settled or known to be in between. Names are claimed with the intent: two VIFs never get the same one.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import pwd
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from vifplug import resources
from vifplug.errors import Conflict, StoreError
from vifplug.model import Vif
from vifplug.resources import Resource

_FILE = "vifplug.db"
_BUSY_SECONDS = 30.0
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (vif_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intents (vif_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (name TEXT, holder TEXT NOT NULL, vif_id TEXT NOT NULL,
                                   PRIMARY KEY (name, vif_id)) WITHOUT ROWID;
"""

PLUG, UNPLUG = "plug", "unplug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was built for a VIF."""

    vif: Vif
    """The request, with everything filled in that it did not say."""
    resources: tuple[Resource, ...]
    """What was built: links with their ifindex, ports with their row's UUID."""
    state: str
    updated_at: str = ""
    error: str | None = None

    @property
    def id(self) -> str:
        """The VIF's id."""
        return self.vif.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is about to be done to a VIF, and by which session."""

    vif_id: str
    verb: str
    session: int
    resources: tuple[Resource, ...]
    """What the host may hold for this VIF from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything in the store, at one moment."""

    records: Mapping[str, Record] = field(default_factory=dict)
    intents: Mapping[str, Intent] = field(default_factory=dict)


def now() -> str:
    """This moment, ISO 8601 in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Store:
    """The store of a state directory.

    :param state_dir: made with mode 0700 when missing.
    :param user: whom it and its files are given to, when that user exists and we are root.
    :raises StoreError: when it cannot be opened.
    """

    def __init__(self, state_dir: str, user: str) -> None:
        self.state_dir = state_dir
        self._path = os.path.join(state_dir, _FILE)
        self._lock = threading.RLock()
        self.prepare(state_dir, user)
        try:
            # The files a connection makes take the directory's mode for granted; the umask may say otherwise.
            previous = os.umask(0o077)
            try:
                self._database = sqlite3.connect(
                    self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
                )
                self._prepare()
            finally:
                os.umask(previous)
            self._hand_over(user, [os.path.join(state_dir, name) for name in os.listdir(state_dir)])
        except (OSError, sqlite3.Error) as error:
            raise _unusable(state_dir, error) from error

    @classmethod
    def prepare(cls, state_dir: str, user: str) -> None:
        """Make the state directory, with its mode and owner.

        :raises StoreError: when it cannot be made.
        """
        try:
            os.makedirs(state_dir, mode=0o700, exist_ok=True)
            cls._hand_over(user, [state_dir])
        except OSError as error:
            raise _unusable(state_dir, error) from error

    def _prepare(self) -> None:
        database = self._database
        database.execute("PRAGMA journal_mode=WAL")
        # NORMAL survives any death of a process. A power cut may lose the last commits; it takes every link
        # with it, and what it leaves in OVSDB carries our mark and is an orphan to gc.
        database.execute("PRAGMA synchronous=NORMAL")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"it was written by a newer vifplug (schema {version})")
        if version < _SCHEMA_VERSION:
            database.executescript(_SCHEMA)
            database.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")

    @staticmethod
    def _hand_over(user: str, paths: Iterable[str]) -> None:
        if os.geteuid() != 0:
            return
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            return
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_uid != entry.pw_uid:
                    os.chown(path, entry.pw_uid, entry.pw_gid)

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._database.close()

    @contextlib.contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._database.execute(f"BEGIN {mode}")
                try:
                    yield self._database
                except BaseException:
                    self._database.execute("ROLLBACK")
                    raise
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreError(f"the store in {self.state_dir!r} failed: {error}", self.state_dir) from error

    def contents(self) -> Contents:
        """Everything, read at one moment.

        :raises StoreError: when it cannot be read.
        """
        with self._transaction("DEFERRED") as database:
            records = database.execute("SELECT body FROM records ORDER BY vif_id").fetchall()
            intents = database.execute("SELECT body FROM intents ORDER BY vif_id").fetchall()
        read = [self._record(body) for (body,) in records]
        begun = [self._intent(body) for (body,) in intents]
        return Contents(
            records={record.id: record for record in read}, intents={intent.vif_id: intent for intent in begun}
        )

    def record(self, vif_id: str) -> Record | None:
        """One VIF's record."""
        with self._transaction("DEFERRED") as database:
            row = database.execute("SELECT body FROM records WHERE vif_id = ?", (vif_id,)).fetchone()
        return self._record(row[0]) if row else None

    def intend(self, intents: Sequence[Intent], claims: Mapping[str, Mapping[str, str]]) -> None:
        """Write what is about to be done, and claim its names.

        :param claims: for each VIF id, name -> holder (the VIF itself, or the network that shares it).
        :raises Conflict: when another holder has one of the names; nothing is written.
        """
        with self._transaction() as database:
            for vif_id, names in claims.items():
                for name, holder in names.items():
                    self._claim(database, name, holder, vif_id)
            for intent in intents:
                body = {
                    "vif_id": intent.vif_id,
                    "verb": intent.verb,
                    "session": intent.session,
                    "resources": [resources.to_dict(resource) for resource in intent.resources],
                }
                database.execute("INSERT OR REPLACE INTO intents VALUES (?, ?)", (intent.vif_id, json.dumps(body)))

    @staticmethod
    def _claim(database: sqlite3.Connection, name: str, holder: str, vif_id: str) -> None:
        other = database.execute(
            "SELECT holder, vif_id FROM claims WHERE name = ? AND holder != ?", (name, holder)
        ).fetchone()
        if other:
            raise Conflict(
                f"{name!r} is held by VIF {other[1]}, which is plugged on this host; VIF {vif_id} cannot have the "
                "same name (give one of them explicit names)",
                name,
            )
        database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (name, holder, vif_id))

    def keep(self, records: Sequence[Record]) -> None:
        """Write records and end their intents, all at once; names no longer used are given back."""
        with self._transaction() as database:
            for record in records:
                body = {
                    "vif": record.vif.model_dump(mode="json", exclude_none=True),
                    "resources": [resources.to_dict(resource) for resource in record.resources],
                    "state": record.state,
                    "updated_at": record.updated_at,
                    "error": record.error,
                }
                database.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (record.id, json.dumps(body)))
                database.execute("DELETE FROM intents WHERE vif_id = ?", (record.id,))
                self._give_back(database, record.id, {resource.name for resource in record.resources})

    def forget(self, vif_ids: Sequence[str]) -> None:
        """Delete VIFs' records, intents and claims."""
        with self._transaction() as database:
            for vif_id in vif_ids:
                database.execute("DELETE FROM records WHERE vif_id = ?", (vif_id,))
                database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))
                self._give_back(database, vif_id, set())

    def withdraw(self, vif_ids: Sequence[str]) -> None:
        """End intents that were undone: each VIF is again what its record says, or nothing."""
        with self._transaction() as database:
            for vif_id in vif_ids:
                database.execute("DELETE FROM intents WHERE vif_id = ?", (vif_id,))
                row = database.execute("SELECT body FROM records WHERE vif_id = ?", (vif_id,)).fetchone()
                names = {item["name"] for item in json.loads(row[0])["resources"]} if row else set()
                self._give_back(database, vif_id, names)

    @staticmethod
    def _give_back(database: sqlite3.Connection, vif_id: str, kept: set[str]) -> None:
        claimed = {row[0] for row in database.execute("SELECT name FROM claims WHERE vif_id = ?", (vif_id,))}
        database.executemany(
            "DELETE FROM claims WHERE vif_id = ? AND name = ?", [(vif_id, name) for name in claimed - kept]
        )

    def _record(self, body: str) -> Record:
        try:
            data: dict[str, Any] = json.loads(body)
            return Record(
                vif=Vif.model_validate(data["vif"]),
                resources=tuple(resources.from_dict(item) for item in data["resources"]),
                state=data["state"],
                updated_at=data["updated_at"],
                error=data["error"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"a record in {self._path!r} is damaged: {error}", self._path) from error

    def _intent(self, body: str) -> Intent:
        try:
            data: dict[str, Any] = json.loads(body)
            return Intent(
                vif_id=data["vif_id"],
                verb=data["verb"],
                session=data["session"],
                resources=tuple(resources.from_dict(item) for item in data["resources"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"an intent in {self._path!r} is damaged: {error}", self._path) from error


def _unusable(state_dir: str, error: Exception) -> StoreError:
    said = getattr(error, "strerror", None) or error
    return StoreError(
        f"cannot open the store in {state_dir!r}: {said}; check that state_dir can be made, belongs to you and is "
        "not full",
        state_dir,
    )


def at(record: Record, state: str, error: str | None = None) -> Record:
    """A record moved to another state, now."""
    return replace(record, state=state, error=error, updated_at=now())
