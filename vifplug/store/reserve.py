"""Room that is kept on the disk of the store for what must go on when that is full: unplugs, repairs, roll-backs."""

from __future__ import annotations

import contextlib
import errno
import os

from vifplug.store import directory as statedir
from vifplug.store import trusted
from vifplug.store.trusted import Owner

ROOM_BYTES = 128 * 1024
"""What a new VIF is not to use up. An unplug takes some 40 kB of the log until that is written back."""
_SIZES = (512 * 1024, 256 * 1024, ROOM_BYTES)
_PROBE_BYTES = 64 * 1024
_UNBOUNDED = 2**62
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Reserve:
    """A file that takes room, in a state directory.

    :param owner: the directory's.
    """

    def __init__(self, state_dir: str, owner: Owner) -> None:
        self._state_dir, self._owner = state_dir, owner
        self._path = os.path.join(state_dir, statedir.RESERVE)

    def is_there(self) -> bool:
        """Whether it takes room now."""
        with self._owner.acting(), contextlib.suppress(OSError):
            return os.lstat(self._path).st_size > 0
        return False

    def is_spent(self) -> bool:
        """Whether it has given its room back, and nobody has taken it again."""
        with self._owner.acting(), contextlib.suppress(OSError):
            return os.lstat(self._path).st_size == 0
        return False

    def fill(self) -> bool:
        """Take room, if that leaves as much to others; whether it does.

        What was spent is taken again only when much more is free than was: an empty disk, and not what was given back.
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
        """Give the room back; whether there was any."""
        was_there = self.is_there()
        with contextlib.suppress(OSError), self._owner.acting():
            self._sized(0)
            return was_there
        return False

    def lend(self, log: str) -> None:
        """Let SQLite's log have room of its own, if that leaves as much to others.

        Only what a file holds already is safe on a disk that something else fills: room that is given back is gone
        before it can be used. SQLite reads its log up to the first frame that is not its own, and starts again at its
        beginning, so what is behind that is harmless.
        """
        with contextlib.suppress(OSError), self._owner.acting():
            opened = os.open(log, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                found = os.fstat(opened)
                trusted.refuse_other(found, log, self._owner)
                size = _size_within(_bytes(self._state_dir)[0] // 2)
                if size > found.st_size:
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
        """Whether so little is left that a new VIF would use up what others need. Of a quota this does not know."""
        with contextlib.suppress(OSError):
            return _bytes(self._state_dir)[0] < ROOM_BYTES
        return False

    def why_full(self) -> str:
        """What the kernel answers to a try to write there, if that is that there is no room; else ""."""
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
    """The largest size that fits; 0 where none does."""
    return next((size for size in _SIZES if size <= free), 0)


def _bytes(directory: str) -> tuple[int, int]:
    """What others than root may still use, and what there is in all."""
    found = os.statvfs(directory)
    if not found.f_blocks:  # a tmpfs without a bound
        return _UNBOUNDED, _UNBOUNDED
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
