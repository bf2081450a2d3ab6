"""The store's file: SQLite in WAL mode, which processes can share; every write is one transaction."""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator

import tenacity

from vifplug.errors import Replaced, StoreElsewhere, StoreError, StoreFull, StoreLocked
from vifplug.process import netns
from vifplug.process.netns import Namespace
from vifplug.store import directory, holders, schema
from vifplug.store.reserve import Reserve
from vifplug.store.trusted import Owner

LOG = logging.getLogger(__name__)

FILE = directory.DATABASE
Identity = dict[str, tuple[int, int]]
BUSY_SECONDS = 10.0
"""Our own transactions take milliseconds."""
_AGAIN_SECONDS = (0.002, 0.02)
_LOOK_SECONDS = 2.0
_LOOKS_MAX = 20
TEXT = functools.partial(str, encoding="utf-8", errors="surrogateescape")
"""Text without validation: a damaged row must not prevent reading the others."""
_CREATING = threading.Lock()
_MAYBE_FULL = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class Database:
    """The open file of a state directory. Safe to share between threads.

    :param state_dir: created with mode 0700 if missing.
    :param user: becomes the owner of the directory and its files, if that user exists and this process is root.
    :raises StoreError: when it cannot be opened.
    """

    def __init__(self, state_dir: str, user: str) -> None:
        self.state_dir = state_dir
        self._path = os.path.join(state_dir, FILE)
        self._log_path = f"{self._path}-wal"
        self._lock = threading.RLock()
        self._owner = Owner(0, 0)
        self._reserve = Reserve(state_dir, self._owner)
        self._identity: Identity = {}
        try:
            self._database = self._opened(user)
        except (OSError, sqlite3.Error) as error:
            raise self._unopened(error) from error
        try:
            self._check_namespace()
        except BaseException:
            self.close()
            raise

    def _check_namespace(self) -> None:
        """Check that this process is in the network namespace of the recorded VIFs.

        :raises StoreElsewhere: when they are in another namespace of this boot.
        """
        self._namespace = netns.current()
        with self._reading() as database:
            known = _namespace(database)
        if known != self._namespace:
            self._essentially(self._enter)

    def _enter(self) -> None:
        with self._transaction() as database:
            self._refuse_other_namespace(database)

    def _refuse_other_namespace(self, database: sqlite3.Connection) -> None:
        """Check, within a transaction, that the store belongs to this namespace; take it if it is empty, or after a
        boot.

        :raises StoreElsewhere: when it belongs to another namespace.
        """
        known = _namespace(database)
        if known == self._namespace:
            return
        if reason := other_namespace(database, self._namespace):
            raise StoreElsewhere(f"the store in {self.state_dir!r} cannot be used here: {reason}", self.state_dir)
        database.execute("INSERT OR REPLACE INTO identity VALUES ('namespace', ?)", (str(self._namespace),))

    def _opened(self, user: str) -> sqlite3.Connection:
        """Open the file, and create it if missing, with this version's tables and as the directory's owner."""
        self._owner = directory.prepare(self.state_dir, user)
        # SQLite opens log, index and journal when it needs them, as the thread's user at that moment: so here, and in
        # every transaction, the thread acts as the owner.
        self._reserve = Reserve(self.state_dir, self._owner)
        with self._owner.acting():
            try:
                self._create()
                database = self._connected()
            except (OSError, sqlite3.Error) as error:
                if not self._is_full(error) or not self._reserve.spend():
                    raise
                database = self._connected()
            self._reserve.preallocate(self._log_path)
            self._reserve.fill()
            self._identity = self._seen()
        return database

    def _create(self) -> None:
        # SQLite gives its other files the mode of this one, whatever the umask. Closing a file drops all locks of the
        # process on it (fcntl_locking(2)): no other thread may have it open before that.
        with _CREATING, contextlib.suppress(FileExistsError):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(self._path, flags, 0o600))

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        database.text_factory = TEXT
        try:
            _RETRYING(schema.prepare, database)
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Close it."""
        with self._lock, self._owner.acting():
            self._database.close()

    def version(self) -> tuple[int, int]:
        """Changes whenever any process has written."""
        with self._lock, self._owner.acting():
            try:
                (others,) = self._database.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                raise self._failed(error) from error
            return int(others), self._database.total_changes

    @contextlib.contextmanager
    def _transaction(self, mode: str = "IMMEDIATE", seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
        """One transaction, with SQLite's lock.

        While another process has the lock, other threads can run between two attempts.

        :raises StoreLocked: when another process keeps its lock for too long.
        """
        deadline = time.monotonic() + seconds
        while True:
            with self._lock, self._owner.acting(), self._ended():
                if self._begin(mode, deadline):
                    yield self._database
                    self._database.execute("COMMIT")
                    return
            time.sleep(random.uniform(*_AGAIN_SECONDS))

    def _reading(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        """For SELECTs."""
        return self._transaction("DEFERRED")

    @contextlib.contextmanager
    def _ended(self) -> Iterator[None]:
        """Ensure that no transaction is open before and after the block.

        A COMMIT may fail, and a Ctrl-C may come between any two instructions, even of a ``with`` statement: an open
        transaction would make every later call fail.
        """
        try:
            self._roll_back()
            yield
        except sqlite3.Error as error:
            raise self._failed(error) from error
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._roll_back()

    def _roll_back(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")

    def _begin(self, mode: str, deadline: float) -> bool:
        """Begin; return False if another process has SQLite's lock and the deadline has not passed."""
        self._refuse_another()
        try:
            self._database.execute(f"BEGIN {mode}")
            if mode == "DEFERRED":  # takes no lock before the first read
                self._database.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            if _is_busy(error) and time.monotonic() < deadline:
                return False
            raise
        return True

    def _essentially(self, write: Callable[[], None]) -> None:
        """Write even if the disk is full, with the room that is kept for such writes.

        First the log's own room, which can be reused once the log is written back; then the reserve, which another
        program may take as soon as it is released.

        :raises StoreFull: when both are used up.
        """
        for make_room in (self._write_back, self._spend):
            try:
                return write()
            except StoreFull:
                make_room()
        write()

    def _spend(self) -> None:
        if self._reserve.spend():
            text = "the disk of %r is full: the remaining room is kept for unplugs and repairs"
            LOG.warning(text, self.state_dir)
        self._write_back()

    def _write_back(self, mode: str = "RESTART") -> None:
        """Write the log back into the file, as far as no other connection reads it.

        :param mode: SQLite's: RESTART keeps the log's room for the next frames, TRUNCATE releases it.
        """
        with self._lock, self._owner.acting(), contextlib.suppress(sqlite3.Error):
            self._database.execute(f"PRAGMA wal_checkpoint({mode})")

    def _refuse_when_full(self) -> None:
        """Check that a new VIF does not use the room that repairs and unplugs need.

        :raises StoreFull: when it would.
        """
        was_spent = self._reserve.is_spent()
        if self._reserve.lacks_room():
            self._write_back()
            if self._reserve.lacks_room():
                raise self._full(os.strerror(errno.ENOSPC))
        if was_spent:
            self._write_back("TRUNCATE")
        is_full = not self._reserve.fill()
        if was_spent:
            self._reserve.preallocate(self._log_path)
        if is_full and (reason := self._reserve.why_full() or (os.strerror(errno.ENOSPC) if was_spent else "")):
            raise self._full(reason)

    def _full(self, reason: str) -> StoreFull:
        return StoreFull(
            f"the store in {self.state_dir!r} is full: {reason}; free space there; no new VIF is plugged until then",
            self.state_dir,
        )

    def _is_full(self, error: BaseException) -> bool:
        # SQLite does not report the kernel's error, except ENOSPC for a write.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
        if isinstance(error, OSError):
            return error.errno in (errno.ENOSPC, errno.EDQUOT)
        return code == sqlite3.SQLITE_FULL or (code & 0xFF in _MAYBE_FULL and bool(self._reserve.why_full()))

    def _failed(self, error: sqlite3.Error) -> StoreError:
        if _is_busy(error):
            return self._locked()
        if self._is_full(error):
            return self._full(self._reserve.why_full() or str(error))
        return StoreError(f"the store in {self.state_dir!r} failed: {error}", self.state_dir)

    def _unopened(self, error: Exception) -> StoreError:
        if _is_busy(error):
            return self._locked()
        if self._is_full(error):
            return self._full(self._reserve.why_full() or str(error))
        return directory.unusable(self.state_dir, error)

    def _locked(self) -> StoreLocked:
        with self._owner.acting():
            holder = holders.lock_holder(self._path) or "another process that cannot be seen from here"
        return StoreLocked(
            f"the store in {self.state_dir!r} is locked by {holder}, for more than {BUSY_SECONDS:g} s; "
            "try again when that process has released it",
            self.state_dir,
        )

    def _seen(self) -> Identity:
        """Device and inode of the file, its log and its index, by suffix."""
        present: Identity = {}
        for suffix in ("", "-wal", "-shm"):
            try:
                status = os.lstat(self._path + suffix)
            except OSError:
                continue
            present[suffix] = (status.st_dev, status.st_ino)
        return present

    def problem(self) -> str:
        """Why the file that this process has open is not the store any more; "" if it is. Takes no lock."""
        with self._owner.acting():
            present = self._seen()
        lost = [suffix for suffix in self._identity if present.get(suffix) != self._identity[suffix]]
        if not lost:
            return ""
        how = "replaced" if lost[0] in present else "deleted"
        return f"the store in {self.state_dir!r} was deleted or replaced: {FILE}{lost[0]} was {how}; restart"

    def _refuse_another(self) -> None:
        """Check that the open file is still the one of that name, which other processes read.

        :raises Replaced: when the file, its log, or its log's index was deleted or replaced.
        """
        present = self._seen()
        if present == self._identity:
            return
        if present.get("") == self._identity[""] and present.items() <= self._identity.items():
            # The log or its index was deleted, and there is no new one: its contents can still be saved.
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raise Replaced(self.problem(), self.state_dir)


def _namespace(database: sqlite3.Connection) -> Namespace | None:
    row = database.execute("SELECT value FROM identity WHERE name = 'namespace'").fetchone()
    return Namespace.parse(str(row[0])) if row else None


def other_namespace(database: sqlite3.Connection, here: Namespace) -> str:
    """Why the recorded VIFs are not in this namespace; "" if they are, or after a boot, which ends all links."""
    known = _namespace(database)
    if known is None or known == here or known.boot != here.boot:
        return ""
    tables = ("records", "intents", "claims")
    if not any(database.execute(f"SELECT 1 FROM {table}").fetchone() for table in tables):
        return ""
    return (
        f"its VIFs are plugged in another network namespace ({known.number}, this one is {here.number}); run vifplug "
        "there, or give each namespace its own state_dir (if that namespace is gone, delete this store)"
    )


def _is_busy(error: BaseException) -> bool:
    # The higher bytes hold SQLite's extended error code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF == sqlite3.SQLITE_BUSY


# Two processes that switch a new file to WAL at the same time would deadlock: SQLite tells one of them at once that the
# file is locked, whatever the timeout (sqlite3_busy_handler: no wait in case of a deadlock).
_RETRYING = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_is_busy),
    stop=tenacity.stop_after_delay(BUSY_SECONDS),
    wait=tenacity.wait_random(*_AGAIN_SECONDS),
    reraise=True,
)


def copied(state_dir: str) -> sqlite3.Connection:
    """A copy of the file in memory, in this version's tables; empty if there is no file.

    Nothing is created, written or locked for others. SQLite itself would create the log and its index for any reader
    that is allowed to, and the last process to close the file writes the log back.

    :raises sqlite3.Error, OSError: when it cannot be read.
    """
    path = os.path.join(state_dir, FILE)
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), directory.inspected(state_dir).acting():
        return _copied(state_dir, path)
    return _copied(state_dir, path)


def _copied(state_dir: str, path: str) -> sqlite3.Connection:
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    copy.text_factory = TEXT
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
            # Without a log no other process had it open, and no lock was needed, if that has not changed.
            if traces(state_dir) == seen:
                break
        else:
            raise sqlite3.OperationalError("it is being written all the time")
        schema.bring_up_to_date(copy)
    except BaseException:
        copy.close()
        raise
    return copy


def _copy(path: str, copy: sqlite3.Connection, *, has_log: bool) -> bool:
    """Copy the file.

    :returns: whether SQLite's own locks made the copy consistent.
    """
    if has_log and not os.path.exists(f"{path}-shm"):
        raise sqlite3.DatabaseError(f"{path}-wal has lost its index, which any command that plugs would recreate")
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    how = "readonly_shm=1" if has_log else "immutable=1"
    source = sqlite3.connect(f"file:{quoted}?mode=ro&{how}", uri=True, timeout=_LOOK_SECONDS, isolation_level=None)
    try:
        source.execute("BEGIN")
        # backup() waits for locks without a limit; within a read transaction there are none to wait for.
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()
        source.backup(copy)
    finally:
        source.close()
    return has_log


def traces(state_dir: str) -> list[tuple[str, int, int, int]]:
    """Name, inode, size and modification time (ns) of the file and its log: any write changes them.

    :raises OSError: when they cannot be read.
    """
    present = []
    for name in (FILE, f"{FILE}-wal"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.stat(os.path.join(state_dir, name))
            present.append((name, status.st_ino, status.st_size, status.st_mtime_ns))
    return present if present and present[0][0] == FILE else []


def rows(database: sqlite3.Connection, table: str, vif_ids: Collection[str] | None = None) -> list[tuple[str, str]]:
    """A table's rows by VIF id, of all VIFs or of some."""
    columns = {"told": "word", "guests": "absent_since"}.get(table, "body")
    if vif_ids is None:
        return list(database.execute(f"SELECT vif_id, {columns} FROM {table} ORDER BY vif_id"))
    query = f"SELECT vif_id, {columns} FROM {table} WHERE vif_id = ?"
    return [row for vif_id in sorted(vif_ids) for row in database.execute(query, (vif_id,))]
