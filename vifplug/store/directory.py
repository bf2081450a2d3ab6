"""The directory of records and locks: its mode, whose it is, and that its files are what they seem to be.

It is [daemon] user's. What that user puts there (a link, say) must not become root's doing: root opens what is in it as
the directory's owner (``fsuser``), and only regular files of that owner's with one name. systemd's unit leaves root no
CAP_DAC_OVERRIDE either, so that root gets in as that user only.
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
"""All that vifplug and SQLite open in it."""
_ROOT = 0
_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(state_dir: str, user: str) -> Owner:
    """Make it, with mode 0700, give it and its files to ``user``, and see that nothing in it leads elsewhere.

    :raises StoreError: when it cannot be made, or another user decides what is opened there.
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
    """Whose it is, once it is seen that nothing in it leads elsewhere. Nothing is made or changed.

    :raises OSError: when it is not there, or another user decides what is opened there.
    """
    directory = trusted.directory(state_dir)
    try:
        return _inspected(directory, state_dir)
    finally:
        os.close(directory)


def _inspected(directory: int, state_dir: str) -> Owner:
    found = os.fstat(directory)
    owner = Owner.of(directory, state_dir)
    if os.geteuid() not in (_ROOT, found.st_uid):
        raise Unsafe(1, f"it belongs to {_named(found.st_uid)}, and this process is {_named(os.geteuid())}")
    if found.st_uid == os.geteuid() == _ROOT and trusted.is_anybodys(found):
        raise Unsafe(1, "others than root may write to it: chmod go-w")
    with owner.acting():
        for name, there in _files(directory):
            trusted.refuse_other(os.fstat(there), os.path.join(state_dir, name), owner)
    return owner


def _hand_over(directory: int, entry: pwd.struct_passwd) -> None:
    """Give our files in a directory of a user's to that user.

    A link is left alone, and so is a file that has another name: they may be anybody's.
    """
    with fsuser.acting_as(entry.pw_uid, entry.pw_gid):  # root may be without CAP_DAC_OVERRIDE
        found = [os.dup(there) for _name, there in _files(directory)]
    for descriptor in found:
        there = os.fstat(descriptor)
        if stat.S_ISREG(there.st_mode) and there.st_nlink == 1 and there.st_uid != entry.pw_uid:
            os.chown(f"/proc/self/fd/{descriptor}", entry.pw_uid, entry.pw_gid)
        os.close(descriptor)


def _files(directory: int) -> Iterator[tuple[str, int]]:
    """Descriptors that stand for what has the name of a file of ours, and are good for nothing but that.

    With O_PATH: to close another kind would take this process's locks on a file of SQLite's away (fcntl_locking(2)).
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
    """Open and make files as a user, for the length of a block, when there is such a user and we are root.

    The whole process is that user meanwhile: not with other threads at work.
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
    """The user to whom we, as root, can give something."""
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
    """The error for a directory, or a file in it, that cannot be used."""
    reason = getattr(error, "strerror", None) or error
    remedy = (
        "let vifplugd do it, or use a configuration with a state_dir of this user's own"
        if isinstance(error, Unsafe) and os.geteuid() != _ROOT
        else "nothing in it was changed"
        if isinstance(error, Unsafe)
        else "check that state_dir can be made, belongs to you and is not full"
    )
    return StoreError(f"cannot open the store in {state_dir!r}: {reason}; {remedy}", state_dir)
