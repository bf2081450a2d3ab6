"""The directory of the store and the locks: its mode, its owner, and the checks of its files.

It belongs to [daemon] user. Root must not act on files that this user put there (such as a link): root opens them as
the directory's owner (``fsuser``), and only regular files of that owner with one name. In systemd's unit root has no
CAP_DAC_OVERRIDE either, so that it can enter only as that user.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator

from vifplug.errors import StoreError
from vifplug.process import fsuser
from vifplug.store import trusted
from vifplug.store.trusted import Owner, Unsafe

DATABASE, LOCKS, RESERVE = "vifplug.db", "locks", "reserve"
FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", LOCKS, RESERVE)
"""All files that vifplug and SQLite open in it."""
_ROOT = 0
_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(state_dir: str, user: str) -> Owner:
    """Create it with mode 0700, make ``user`` the owner of it and its files, and check the files.

    :raises StoreError: when it cannot be created, or another user controls its files.
    """
    try:
        directory = trusted.directory(state_dir, make=0o700)
        try:
            entry = _entry(user)
            if entry is not None:
                if os.fstat(directory).st_uid != entry.pw_uid:
                    os.chown(f"/proc/self/fd/{directory}", entry.pw_uid, entry.pw_gid)
                _hand_over(directory, entry)
            return _inspected(directory, state_dir)
        finally:
            os.close(directory)
    except OSError as error:
        raise unusable(state_dir, error) from error


def inspected(state_dir: str) -> Owner:
    """Check its files, and return its owner. Nothing is created or changed.

    :raises OSError: when it is missing, or another user controls its files.
    """
    directory = trusted.directory(state_dir)
    try:
        return _inspected(directory, state_dir)
    finally:
        os.close(directory)


def _inspected(directory: int, state_dir: str) -> Owner:
    status = os.fstat(directory)
    owner = Owner.of(directory, state_dir)
    if os.geteuid() not in (_ROOT, status.st_uid):
        raise Unsafe(1, f"it belongs to {_named(status.st_uid)}, and this process is {_named(os.geteuid())}")
    if status.st_uid == os.geteuid() == _ROOT and trusted.is_writable_by_others(status):
        raise Unsafe(1, "users other than root may write to it: chmod go-w")
    with owner.acting():
        for name, there in _files(directory):
            trusted.refuse_other(os.fstat(there), os.path.join(state_dir, name), owner)
    return owner


def _hand_over(directory: int, entry: pwd.struct_passwd) -> None:
    """Make a directory's user the owner of our files in it.

    Links and files with another name are left alone: they may belong to any user.
    """
    with fsuser.acting_as(entry.pw_uid, entry.pw_gid):  # root may be without CAP_DAC_OVERRIDE
        held = [os.dup(there) for _name, there in _files(directory)]
    for descriptor in held:
        there = os.fstat(descriptor)
        if stat.S_ISREG(there.st_mode) and there.st_nlink == 1 and there.st_uid != entry.pw_uid:
            os.chown(f"/proc/self/fd/{descriptor}", entry.pw_uid, entry.pw_gid)
        os.close(descriptor)


def _files(directory: int) -> Iterator[tuple[str, int]]:
    """O_PATH descriptors of the entries with names of our files.

    O_PATH, because closing any other descriptor drops this process's locks on a file of SQLite (fcntl_locking(2)).
    """
    for name in FILES:
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(name, _HANDLE, dir_fd=directory)
            try:
                yield name, descriptor
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def acting_as(user: str) -> Iterator[None]:
    """Open and create files as a user during the block, if the user exists and this process is root.

    It changes the user of the whole process: do not use it while other threads run.
    """
    entry = _entry(user)
    if entry is None:
        yield
        return
    group = os.getegid()
    os.setegid(entry.pw_gid)
    os.seteuid(entry.pw_uid)
    try:
        yield
    finally:
        os.seteuid(_ROOT)
        os.setegid(group)


def _entry(user: str) -> pwd.struct_passwd | None:
    """The user's entry, if this process is root and the user exists."""
    if os.geteuid() != _ROOT:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError:
        return None


def _named(uid: int) -> str:
    try:
        return f"user {pwd.getpwuid(uid).pw_name!r}"
    except KeyError:
        return f"uid {uid}"


def unusable(state_dir: str, error: Exception) -> StoreError:
    """The error for an unusable directory, or an unusable file in it."""
    reason = getattr(error, "strerror", None) or error
    remedy = (
        "use vifplugd, or a configuration with a state_dir of this user"
        if isinstance(error, Unsafe) and os.geteuid() != _ROOT
        else "nothing in it was changed"
        if isinstance(error, Unsafe)
        else "check that state_dir can be created, belongs to you and is not full"
    )
    return StoreError(f"cannot open the store in {state_dir!r}: {reason}; {remedy}", state_dir)
