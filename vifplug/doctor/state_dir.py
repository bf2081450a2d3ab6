"""Checks whether the store's file can be read and written, without writing: even an aborted transaction changes the
directory, where SQLite creates and deletes a log."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from dataclasses import replace

from vifplug.doctor.facts import Store
from vifplug.process import netns
from vifplug.store import database, directory, holders
from vifplug.store.database import FILE
from vifplug.store.directory import LOCKS as LOCKS
from vifplug.store.trusted import Unsafe

_LOCKED_SECONDS = 1.0
"""Our own writes take milliseconds."""
_OWN = ("", FILE, f"{FILE}-shm", f"{FILE}-wal", LOCKS)
"""The files that must be writable, and the directory itself. Other files there, such as an operator's copy, do not
matter."""


def look(state_dir: str) -> Store:
    """The store of a state directory, which may not exist yet. Nothing is created."""
    path = os.path.join(state_dir, FILE)
    try:
        is_there = os.path.exists(path) or _is_closed(state_dir)
        if not is_there:
            return _place(state_dir)
        if _is_closed(state_dir) or not os.access(path, os.R_OK, effective_ids=True):
            return Store(path=path, error="this user may not read it", closed=True)
        store = Store(path=path, error=_unwritable(state_dir), free_bytes=_free_bytes(state_dir))
        return store if store.error else _read(store, state_dir)
    except Unsafe as error:
        return Store(path=path, error=error.strerror or str(error), unreadable=True)
    except OSError as error:
        return Store(path=path, error=error.strerror or str(error))


def look_as(state_dir: str, user: str) -> Store:
    """The store as root sees it, or as its owner if that is a user: root may write what the daemon may not. The next
    command as root makes the user the owner of other files.

    It changes the user of the whole process: do not use it while other threads run.
    """
    store = look(state_dir)
    if store.error or not exists(state_dir):
        return store
    with directory.acting_as(user):
        path = os.path.join(state_dir, FILE)
        if os.geteuid() != 0 and os.stat(state_dir).st_uid == os.geteuid():
            seen = look(state_dir)
            return replace(seen, closed=False, path=path, error=seen.error and f"user {user}: {seen.error}")
    return store


def exists(state_dir: str) -> bool:
    """Whether the file exists."""
    return os.path.exists(os.path.join(state_dir, FILE))


def _is_closed(state_dir: str) -> bool:
    """Whether this user may not even list the directory."""
    return os.path.isdir(state_dir) and not os.access(state_dir, os.X_OK, effective_ids=True)


def _place(state_dir: str) -> Store:
    """A store that does not exist yet: whether it can be created in the directory, or in the nearest existing one."""
    parent = os.path.abspath(state_dir)
    while not os.path.lexists(parent):
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        return Store(path=state_dir, error=f"{parent} is not a directory")
    if not os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
        # Another user may have access to the directory, but no user can write to a read-only file system.
        if os.geteuid() != 0 and not os.statvfs(parent).f_flag & os.ST_RDONLY:
            return Store(
                path=state_dir, error=f"it does not exist yet, and this user may not write to {parent}", closed=True
            )
        return Store(path=state_dir, error=f"nothing can be created in {parent}")
    return Store(path=state_dir, free_bytes=_free_bytes(parent))


def _read(store: Store, state_dir: str) -> Store:
    """Read it with SQLite, and find the processes that keep it locked."""
    locked_by = holders.holder_of(store.path, _LOCKED_SECONDS)
    try:
        with contextlib.closing(database.copied(state_dir)) as copy:
            return replace(store, locked_by=locked_by, other_namespace=database.other_namespace(copy, netns.current()))
    except sqlite3.OperationalError as error:
        # A process is writing at this moment, so the file can be read.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_BUSY)
        if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return replace(store, locked_by=locked_by)
        return replace(store, error=str(error), unreadable=True)
    except sqlite3.Error as error:
        return replace(store, error=str(error), unreadable=True)


def _unwritable(state_dir: str) -> str:
    """Why the directory, or one of the store's files, cannot be written. It only calls access(2): opening and closing a
    file would drop SQLite's locks on it in this process."""
    for path in (os.path.join(state_dir, name).rstrip("/") for name in _OWN):
        if os.path.exists(path) and not os.access(path, os.W_OK, effective_ids=True):
            is_read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            return "its file system is read-only" if is_read_only else f"no permission to write {path}"
    return ""


def _free_bytes(directory: str) -> int:
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize
