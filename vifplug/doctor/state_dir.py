"""Whether the records' file can be read and written, found out without writing: even a transaction that is begun and
given up leaves its traces in the directory, where SQLite makes a log and takes it away."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import replace

from vifplug.doctor.facts import Store
from vifplug.process import netns
from vifplug.store import database, holders
from vifplug.store import directory as statedir
from vifplug.store.database import FILE
from vifplug.store.directory import LOCKS as LOCKS
from vifplug.store.trusted import Unsafe

_LOCKED_SECONDS = 1.0
"""Our own writes take milliseconds."""
_OWN = ("", FILE, f"{FILE}-shm", f"{FILE}-wal", LOCKS)
"""What must be written, the directory itself included. What else lies there, an operator's copy say, is nobody's
business."""


def look(state_dir: str) -> Store:
    """The store of a state directory, which may not be there yet. Nothing is made."""
    path = os.path.join(state_dir, FILE)
    try:
        is_there = os.path.exists(path) or _is_closed(state_dir)
        if not is_there:
            return _place(state_dir)
        if _is_closed(state_dir) or not os.access(path, os.R_OK, effective_ids=True):
            return Store(path=path, error="this user may not read it", closed=True)
        told = Store(path=path, error=_unwritable(state_dir), free_bytes=_free_bytes(state_dir))
        return told if told.error else _read(told, state_dir)
    except Unsafe as error:
        return Store(path=path, error=error.strerror or str(error), unreadable=True)
    except OSError as error:
        return Store(path=path, error=error.strerror or str(error))


def look_as(state_dir: str, user: str) -> Store:
    """The store as root sees it, and where it belongs to a user, as that user does: root may write what the daemon may
    not. What is not the user's is given to it by the next who is root.

    The whole process is that user meanwhile: not with other threads at work.
    """
    told = look(state_dir)
    if told.error or not exists(state_dir):
        return told
    with statedir.acting_as(user):
        path = os.path.join(state_dir, FILE)
        if os.geteuid() != 0 and os.stat(state_dir).st_uid == os.geteuid():
            seen = look(state_dir)
            return replace(seen, closed=False, path=path, error=seen.error and f"user {user}: {seen.error}")
    return told


def exists(state_dir: str) -> bool:
    """Whether there is one."""
    return os.path.exists(os.path.join(state_dir, FILE))


def _is_closed(state_dir: str) -> bool:
    """Whether this user may not even see what is in there."""
    return os.path.isdir(state_dir) and not os.access(state_dir, os.X_OK, effective_ids=True)


def _place(state_dir: str) -> Store:
    """Where it would be made: in the directory, or where that would be made itself."""
    there = os.path.abspath(state_dir)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        return Store(path=state_dir, error=f"{there} is no directory")
    if not os.access(there, os.W_OK | os.X_OK, effective_ids=True):
        # To somebody else's directory that user may have access; a file system that takes no writes has none.
        if os.geteuid() != 0 and not os.statvfs(there).f_flag & os.ST_RDONLY:
            return Store(
                path=state_dir, error=f"it is not there yet, and this user may not write to {there}", closed=True
            )
        return Store(path=state_dir, error=f"nothing can be made in {there}")
    return Store(path=state_dir, free_bytes=_free_bytes(there))


def _read(told: Store, state_dir: str) -> Store:
    """With SQLite's own word on whether it can be read, and by whom it is kept from being written."""
    locked_by = holders.who_keeps(told.path, _LOCKED_SECONDS)
    try:
        with contextlib.closing(database.copied(state_dir)) as copy:
            return replace(told, locked_by=locked_by, elsewhere=database.elsewhere(copy, netns.current()))
    except sqlite3.OperationalError as error:
        # Somebody is writing just now: so it can be read, too.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_BUSY)
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return replace(told, locked_by=locked_by)
        return replace(told, error=str(error), unreadable=True)
    except sqlite3.Error as error:
        return replace(told, error=str(error), unreadable=True)


def _unwritable(state_dir: str) -> str:
    """The directory, or a file of its own in it, that cannot be written. Asked, and not tried: to open and close a file
    takes SQLite's locks on it away from the rest of this process."""
    for path in (os.path.join(state_dir, name).rstrip("/") for name in _OWN):
        if os.path.exists(path) and not os.access(path, os.W_OK, effective_ids=True):
            is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            return "its file system takes no writes" if is_read_only else f"no permission to write {path}"
    return ""


def _free_bytes(directory: str) -> int:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
