"""Disk space that is reserved for writes that must work on a full disk: unplugs, repairs, rollbacks."""

from __future__ import annotations

import contextlib
import errno
import os

from vifplug.store import directory, trusted
from vifplug.store.trusted import Owner

ROOM_BYTES = 128 * 1024
"""Space that a new VIF must not use. An unplug takes some 40 kB of the log until that is written back."""
_SIZES = (512 * 1024, 256 * 1024, ROOM_BYTES)
_PROBE_BYTES = 64 * 1024
_UNBOUNDED = 2**62
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """A file in a state directory that occupies space.

    :param owner: of the directory.
    """

    def __init__(self, state_dir: str, owner: Owner) -> None:
        self._state_dir, self._owner = state_dir, owner
        self._path = os.path.join(state_dir, directory.RESERVE)

    def is_there(self) -> bool:
        """Whether it occupies space now."""
        with self._owner.acting(), contextlib.suppress(OSError):
            return os.lstat(self._path).st_size > 0
        return False

    def is_spent(self) -> bool:
        """Whether its space was released, and not allocated again."""
        with self._owner.acting(), contextlib.suppress(OSError):
            return os.lstat(self._path).st_size == 0
        return False

    def fill(self) -> bool:
        """Allocate space, if that leaves as much free; return whether it is allocated.

        After it was spent, it is allocated again only when much more is free than the released space.
        """
        if self.is_there():
            return True
        with contextlib.suppress(OSError), self._owner.acting():
            free, total = _bytes(self._state_dir)
            if self.is_spent() and free < min(2 * _SIZES[0], total // 2):
                return False
            size = _size_within(free // 2)
            return bool(size) and self._sized(size)
        return False

    def spend(self) -> bool:
        """Release the space; return whether there was any."""
        was_there = self.is_there()
        with contextlib.suppress(OSError), self._owner.acting():
            self._sized(0)
            return was_there
        return False

    def preallocate(self, log: str) -> None:
        """Allocate space for SQLite's log, if that leaves as much free.

        On a disk that another program fills, only space that a file already holds is safe: released space is gone
        before it can be used. SQLite reads its log up to the first frame that is not its own, and reuses it from the
        beginning, so the bytes behind that are harmless.
        """
        with contextlib.suppress(OSError), self._owner.acting():
            opened = os.open(log, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                status = os.fstat(opened)
                trusted.refuse_other(status, log, self._owner)
                size = _size_within(_bytes(self._state_dir)[0] // 2)
                if size > status.st_size:
                    os.posix_fallocate(opened, 0, size)
            finally:
                os.close(opened)

    def _sized(self, size: int) -> bool:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        opened = os.open(self._path, flags, 0o600)
        try:
            trusted.refuse_other(os.fstat(opened), self._path, self._owner)
            os.ftruncate(opened, 0)
            try:
                if size:
                    os.posix_fallocate(opened, 0, size)
            except OSError:
                os.ftruncate(opened, 0)
                raise
            return True
        finally:
            os.close(opened)

    def lacks_room(self) -> bool:
        """Whether a new VIF would use space that repairs and unplugs need. A quota is not considered."""
        with contextlib.suppress(OSError):
            return _bytes(self._state_dir)[0] < ROOM_BYTES
        return False

    def why_full(self) -> str:
        """The kernel's error for a test write, if it is about missing space; else ""."""
        try:
            with self._owner.acting():
                opened = os.open(self._state_dir, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(opened, 0, _PROBE_BYTES)
            finally:
                os.close(opened)
        except OSError as error:
            return os.strerror(error.errno) if error.errno in _FULL else ""
        return ""


def _size_within(free: int) -> int:
    """The largest size that fits; 0 if none does."""
    return next((size for size in _SIZES if size <= free), 0)


def _bytes(directory: str) -> tuple[int, int]:
    """The space free for users other than root, and the total."""
    status = os.statvfs(directory)
    if not status.f_blocks:  # a tmpfs without a limit
        return _UNBOUNDED, _UNBOUNDED
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
