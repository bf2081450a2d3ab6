"""The store's file: SQLite in WAL mode, shared safely by processes; every write is one transaction."""

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
"""Text as it is there: one damaged row must not keep the others from being read."""
_CREATING = threading.Lock()
_MAYBE_FULL = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class Database:
    """The open file of a state directory. Safe to share between threads.

    :param state_dir: made with mode 0700 when missing.
    :param user: whom it and its files are given to, when that user exists and we are root.
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
            self._settle_in()
        except BaseException:
            self.close()
            raise

    def _settle_in(self) -> None:
        """Be where the VIFs are that are recorded.

        :raises StoreElsewhere: when those are in another network namespace of this boot.
        """
        self._namespace = netns.current()
        with self._reading() as database:
            known = _namespace(database)
        if known != self._namespace:
            self._essentially(self._enter)

    def _enter(self) -> None:
        with self._transaction() as database:
            self._refuse_elsewhere(database)

    def _refuse_elsewhere(self, database: sqlite3.Connection) -> None:
        """See, within a transaction, that it is this namespace's; of an empty store, and after a boot, it becomes so.

        :raises StoreElsewhere: when it is another one's.
        """
        known = _namespace(database)
        if known == self._namespace:
            return
        if why := elsewhere(database, self._namespace):
            raise StoreElsewhere(f"the store in {self.state_dir!r} cannot be used here: {why}", self.state_dir)
        database.execute("INSERT OR REPLACE INTO identity VALUES ('namespace', ?)", (str(self._namespace),))

    def _opened(self, user: str) -> sqlite3.Connection:
        """The file, made where there is none, in this version's tables and the directory's owner's."""
        self._owner = directory.prepare(self.state_dir, user)
        # SQLite opens log, index and journal when it needs them, as whoever the thread is then: so here, and in every
        # transaction, it is the owner.
        self._reserve = Reserve(self.state_dir, self._owner)
        with self._owner.acting():
            try:
                self._create()
                database = self._connected()
            except (OSError, sqlite3.Error) as error:
                if not self._is_full(error) or not self._reserve.spend():
                    raise
                database = self._connected()
            self._reserve.lend(self._log_path)
            self._reserve.fill()
            self._identity = self._seen()
        return database

    def _create(self) -> None:
        # SQLite gives its other files the mode of this one, whatever the umask. To close a file takes the process's
        # locks on it away (fcntl_locking(2)): no other thread may have it open before that.
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
        """Two of these are equal when nobody has written in between."""
        with self._lock, self._owner.acting():
            (others,) = self._database.execute("PRAGMA data_version").fetchone()
            return int(others), self._database.total_changes

    @contextlib.contextmanager
    def _transaction(self, mode: str = "IMMEDIATE", seconds: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
        """One transaction, with SQLite's lock taken.

        While another process has the lock, other threads have their turn between two tries.

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
        """No transaction is open before it, and none after it.

        A COMMIT may fail, and a Ctrl-C may come between any two instructions, of a ``with`` statement, too: what it
        leaves open would make every later call fail.
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
        """Whether it has begun; not, where another process has SQLite's lock and the deadline is not over."""
        self._refuse_another()
        try:
            self._database.execute(f"BEGIN {mode}")
            if mode == "DEFERRED":  # which takes no lock before it reads
                self._database.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            if _is_busy(error) and time.monotonic() < deadline:
                return False
            raise
        return True

    def _essentially(self, write: Callable[[], None]) -> None:
        """Write what must be written although the disk is full: with the room that is kept for it.

        The log has some of its own, which starts anew once it is written back; what the file lacks for that is the
        reserve's, which may be gone as soon as it is given back.

        :raises StoreFull: when that is used up.
        """
        for make_room in (self._write_back, self._spend):
            try:
                return write()
            except StoreFull:
                make_room()
        write()

    def _spend(self) -> None:
        if self._reserve.spend():
            text = "the disk of %r is full: what is left there is kept for unplugs and repairs"
            LOG.warning(text, self.state_dir)
        self._write_back()

    def _write_back(self, mode: str = "RESTART") -> None:
        """Have the log written back into the file, as far as no other connection reads it.

        :param mode: SQLite's: RESTART keeps the log's room for the next frames, TRUNCATE gives it back to the disk.
        """
        with self._lock, self._owner.acting(), contextlib.suppress(sqlite3.Error):
            self._database.execute(f"PRAGMA wal_checkpoint({mode})")

    def _refuse_when_full(self) -> None:
        """See that a new VIF does not take the room that others need to be repaired, and to go.

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
            self._reserve.lend(self._log_path)
        if is_full and (why := self._reserve.why_full() or (os.strerror(errno.ENOSPC) if was_spent else "")):
            raise self._full(why)

    def _full(self, why: str) -> StoreFull:
        return StoreFull(
            f"the store in {self.state_dir!r} is full: {why}; free space there, until then nothing new is plugged",
            self.state_dir,
        )

    def _is_full(self, error: BaseException) -> bool:
        # SQLite keeps the kernel's answer to itself, but for ENOSPC to a write.
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
            who = holders.who_locks(self._path) or "another process that cannot be seen from here"
        return StoreLocked(
            f"the store in {self.state_dir!r} is locked by {who}, for more than {BUSY_SECONDS:g} s; "
            "try again once that has let go of it",
            self.state_dir,
        )

    def _seen(self) -> Identity:
        """The files of those names, by device and inode."""
        found: Identity = {}
        for name in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                there = os.lstat(f"{self._path}{name}")
                found[name] = (there.st_dev, there.st_ino)
        return found

    def trouble(self) -> str:
        """Why what this process has open is not the store any more; "" when it is. Takes no lock."""
        with self._owner.acting():
            found = self._seen()
        lost = [name for name in self._identity if found.get(name) != self._identity[name]]
        if not lost:
            return ""
        how = "replaced" if lost[0] in found else "deleted"
        return f"the store in {self.state_dir!r} was deleted or replaced: {FILE}{lost[0]} was {how}; start anew"

    def _refuse_another(self) -> None:
        """What others read is the file of that name: one that is ours alone tells nothing of what is wanted.

        :raises Replaced: when somebody has deleted or replaced the file, its log, or its log's index.
        """
        found = self._seen()
        if found == self._identity:
            return
        if found.get("") == self._identity[""] and found.items() <= self._identity.items():
            # The log or its index was deleted, and nobody has made another: what is in it can still be saved.
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raise Replaced(self.trouble(), self.state_dir)


def _namespace(database: sqlite3.Connection) -> Namespace | None:
    found = database.execute("SELECT value FROM identity WHERE name = 'namespace'").fetchone()
    return Namespace.parse(str(found[0])) if found else None


def elsewhere(database: sqlite3.Connection, here: Namespace) -> str:
    """Why what is recorded is not in this namespace; "" where it is, or may be: links end with a boot."""
    known = _namespace(database)
    if known is None or known == here or known.boot != here.boot:
        return ""
    tables = ("records", "intents", "claims")
    if not any(database.execute(f"SELECT 1 FROM {table}").fetchone() for table in tables):
        return ""
    return (
        f"its VIFs are plugged in another network namespace ({known.number}, this one is {here.number}); run vifplug "
        "there, or give each namespace a state_dir of its own (of a namespace that is gone, delete this store)"
    )


def _is_busy(error: BaseException) -> bool:
    # What SQLite made of it more closely is in the higher bytes.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF == sqlite3.SQLITE_BUSY


# Two that turn a new file to WAL at once would wait for each other for ever: SQLite tells one of them at once that
# the file is locked, whatever the timeout (sqlite3_busy_handler: no wait where it would be a deadlock).
_RETRYING = tenacity.Retrying(
    retry=tenacity.retry_if_exception(_is_busy),
    stop=tenacity.stop_after_delay(BUSY_SECONDS),
    wait=tenacity.wait_random(*_AGAIN_SECONDS),
    reraise=True,
)


def copied(state_dir: str) -> sqlite3.Connection:
    """What is in the file now, in memory and in this version's tables; nothing, where there is none.

    Nothing is made, written or locked against others. SQLite would make the log and its index for any reader that may,
    and whoever closes the file as the last one writes the log back.

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
            # Without a log nobody else had it open, and no lock was needed, if it has stayed so.
            if traces(state_dir) == seen:
                break
        else:
            raise sqlite3.OperationalError("it is written all the time")
        schema.bring_up_to_date(copy)
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
