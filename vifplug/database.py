"""The store's file: SQLite in WAL mode, shared safely by processes; every write is one transaction."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator

from vifplug import statedir
from vifplug.errors import StoreError
from vifplug.records import Replaced

FILE = "vifplug.db"
_BUSY_SECONDS = 30.0
_SCHEMA_VERSION = 3
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (vif_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS intents (vif_id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (name TEXT, holder TEXT NOT NULL, vif_id TEXT NOT NULL,
                                   PRIMARY KEY (name, vif_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_vif ON claims (vif_id);
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS announced (vif_id TEXT PRIMARY KEY, wired INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS told (vif_id TEXT PRIMARY KEY, word TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""


class Database:
    """The open file of a state directory. Safe to share between threads.

    :param state_dir: made with mode 0700 when missing.
    :param user: whom it and its files are given to, when that user exists and we are root.
    :raises StoreError: when it cannot be opened.
    """

    def __init__(self, state_dir: str, user: str) -> None:
        self.state_dir = state_dir
        self._path = os.path.join(state_dir, FILE)
        self._lock = threading.RLock()
        statedir.prepare(state_dir, user)
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
            statedir.hand_over(state_dir, user)
            there = os.stat(self._path)
            self._identity = (there.st_dev, there.st_ino)
        except (OSError, sqlite3.Error) as error:
            raise statedir.unusable(state_dir, error) from error

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

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._database.close()

    def version(self) -> tuple[int, int]:
        """Two of these are equal when nobody has written in between."""
        with self._lock:
            (others,) = self._database.execute("PRAGMA data_version").fetchone()
            return int(others), self._database.total_changes

    @contextlib.contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._refuse_another()
            try:
                self._database.execute(f"BEGIN {mode}")
                yield self._database
                self._database.execute("COMMIT")
            except sqlite3.Error as error:
                raise StoreError(f"the store in {self.state_dir!r} failed: {error}", self.state_dir) from error
            finally:
                # A COMMIT that failed, or a Ctrl-C at any point, must not leave the next call inside this transaction.
                with contextlib.suppress(sqlite3.Error):
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")

    def _refuse_another(self) -> None:
        """What others read is the file of that name: one that is ours alone tells nothing of what is wanted.

        :raises Replaced: when somebody has deleted or replaced the file.
        """
        try:
            found = os.stat(self._path)
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._identity:
            raise Replaced(f"the store in {self.state_dir!r} was deleted or replaced; start anew", self.state_dir)


def rows(database: sqlite3.Connection, table: str, vif_ids: Collection[str] | None = None) -> list[tuple[str, str]]:
    """A table's rows by VIF id, of all VIFs or of some."""
    columns = {"told": "word"}.get(table, "body")
    if vif_ids is None:
        return list(database.execute(f"SELECT vif_id, {columns} FROM {table} ORDER BY vif_id"))
    query = f"SELECT vif_id, {columns} FROM {table} WHERE vif_id = ?"
    return [row for vif_id in sorted(vif_ids) for row in database.execute(query, (vif_id,))]
