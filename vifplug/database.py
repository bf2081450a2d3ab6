"""The store's file: SQLite in WAL mode, shared safely by processes; every write is one transaction."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Collection, Iterator

import tenacity

from vifplug import statedir
from vifplug.errors import Replaced, StoreError

FILE = "vifplug.db"
_BUSY_SECONDS = 30.0
_AGAIN_SECONDS = (0.002, 0.02)
_LOOK_SECONDS = 2.0
_LOOKS_MAX = 20
_SCHEMA_VERSION = 4
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
CREATE TABLE IF NOT EXISTS guests (vif_id TEXT PRIMARY KEY, absent_since TEXT NOT NULL) WITHOUT ROWID;
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
        try:
            self._database = self._opened(user)
        except (OSError, sqlite3.Error) as error:
            raise statedir.unusable(state_dir, error) from error

    def _opened(self, user: str) -> sqlite3.Connection:
        """The file, made where there is none, in this version's tables and ``user``'s."""
        statedir.prepare(self.state_dir, user)
        # The files a connection makes take the directory's mode for granted; the umask may say otherwise.
        previous = os.umask(0o077)
        try:
            database = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            _RETRYING(_prepare, database)
        finally:
            os.umask(previous)
        statedir.hand_over(self.state_dir, user)
        there = os.stat(self._path)
        self._identity = (there.st_dev, there.st_ino)
        return database

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
                raise self._failed(error) from error
            finally:
                # A COMMIT that failed, or a Ctrl-C at any point, must not leave the next call inside this transaction.
                with contextlib.suppress(sqlite3.Error):
                    if self._database.in_transaction:
                        self._database.execute("ROLLBACK")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """For one SELECT, or several that need not be of one moment: each is a transaction by itself."""
        with self._lock:
            self._refuse_another()
            try:
                yield self._database
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"the store in {self.state_dir!r} failed: {error}", self.state_dir)

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


def _is_busy(error: BaseException) -> bool:
    # What SQLite made of it more closely is in the higher bytes.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF == sqlite3.SQLITE_BUSY


# Two that turn a new file to WAL at once would wait for each other for ever: SQLite tells one of them at once that
# the file is locked, whatever the timeout (sqlite3_busy_handler: no wait where it would be a deadlock).
_RETRYING = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_is_busy),
    stop=tenacity.stop_after_delay(_BUSY_SECONDS),
    wait=tenacity.wait_random(*_AGAIN_SECONDS),
    reraise=True,
)


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA journal_mode=WAL")
    # NORMAL survives any death of a process. A power cut may lose the last commits; it takes every link
    # with it, and what it leaves in OVSDB carries our mark and is an orphan to gc.
    database.execute("PRAGMA synchronous=NORMAL")
    bring_up_to_date(database)


def bring_up_to_date(database: sqlite3.Connection) -> None:
    """Make the tables that an older version did not know.

    :raises sqlite3.Error: when it cannot, or a newer version was there.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"it was written by a newer vifplug (schema {version})")
    if version < _SCHEMA_VERSION:
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")


def copied(state_dir: str) -> sqlite3.Connection:
    """What is in the file now, in memory and in this version's tables; nothing, where there is none.

    Nothing is made, written or locked against others. SQLite would make the log and its index for any reader that may,
    and whoever closes the file as the last one writes the log back.

    :raises sqlite3.Error, OSError: when it cannot be read.
    """
    path = os.path.join(state_dir, FILE)
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        for _look in range(_LOOKS_MAX):
            seen = traces(state_dir)
            try:
                if not seen or _copy(
                    path, copy, has_log=any(size for name, _inode, size, _when in seen if name != FILE)
                ):
                    break
            except sqlite3.Error:
                if traces(state_dir) == seen:
                    raise
                continue
            # Without a log nobody else had it open, and no lock was needed, if it has stayed so.
            if traces(state_dir) == seen:
                break
        else:
            raise sqlite3.OperationalError("it is written all the time")
        bring_up_to_date(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _copy(path: str, copy: sqlite3.Connection, *, has_log: bool) -> bool:
    """Copy it.

    :returns: whether SQLite's own locks saw to it that it is of one moment.
    """
    if has_log and not os.path.exists(f"{path}-shm"):
        raise sqlite3.DatabaseError(f"{path}-wal has lost its index, which any command that plugs would make anew")
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    how = "readonly_shm=1" if has_log else "immutable=1"
    source = sqlite3.connect(f"file:{quoted}?mode=ro&{how}", uri=True, timeout=_LOOK_SECONDS, isolation_level=None)
    try:
        source.execute("BEGIN")
        # backup() waits for locks without an end; within a transaction that reads already there are none to wait for.
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(copy)
    finally:
        source.close()
    return has_log


def traces(state_dir: str) -> list[tuple[str, int, int, int]]:
    """Of the file and its log, name, inode, size and when it was written (ns): what does not change without them.

    :raises OSError: when they cannot be seen.
    """
    found = []
    for name in (FILE, f"{FILE}-wal"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            there = os.stat(os.path.join(state_dir, name))
            found.append((name, there.st_ino, there.st_size, there.st_mtime_ns))
    return found if found and found[0][0] == FILE else []


def rows(database: sqlite3.Connection, table: str, vif_ids: Collection[str] | None = None) -> list[tuple[str, str]]:
    """A table's rows by VIF id, of all VIFs or of some."""
    columns = {"told": "word", "guests": "absent_since"}.get(table, "body")
    if vif_ids is None:
        return list(database.execute(f"SELECT vif_id, {columns} FROM {table} ORDER BY vif_id"))
    query = f"SELECT vif_id, {columns} FROM {table} WHERE vif_id = ?"
    return [row for vif_id in sorted(vif_ids) for row in database.execute(query, (vif_id,))]
