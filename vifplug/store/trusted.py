"""Opens paths that other users cannot redirect.

A directory's owner may replace its entries at any moment, also by a link. So a path must not lead from an entry that
an unprivileged user owns to an entry of another user (the rule of systemd's CHASE_SAFE). Each part is opened
separately, relative to the previous one, without following links, so that the checked entry is the one that is used.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
from dataclasses import dataclass

from vifplug.process import fsuser

_LINKS_MAX = 40
_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class Unsafe(OSError):
    """Another user controls a path or a file. ``strerror`` names the part and the reason."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The owner of a directory."""

    uid: int
    gid: int
    is_shut_out: bool = False
    """A directory above is closed to this user, so the user cannot put anything there."""

    @classmethod
    def of(cls, directory: int, path: str) -> Owner:
        """The owner of an open directory with this path."""
        status = os.fstat(directory)
        try:
            with fsuser.acting_as(status.st_uid, status.st_gid):
                os.lstat(path)
        except PermissionError:
            return cls(status.st_uid, status.st_gid, is_shut_out=True)
        return cls(status.st_uid, status.st_gid)

    def acting(self) -> contextlib.AbstractContextManager[None]:
        """Open, create and remove files as this user, in this thread, if this process is root."""
        return contextlib.nullcontext() if self.is_shut_out else fsuser.acting_as(self.uid, self.gid)


def directory(path: str, *, make: int | None = None) -> int:
    """A descriptor (O_PATH) of a directory.

    :param make: create missing parts, the last with this mode, each as the owner of its parent directory.
    :raises Unsafe: when another user controls the path.
    :raises OSError: when it is missing, or not a directory.
    """
    parts = _parts(os.path.join(os.getcwd(), path))
    here = os.open("/", _HANDLE)
    owner, links = os.fstat(here).st_uid, 0
    try:
        while parts:
            part = parts.pop()
            entry = _entered(here, part, mode=0o777 if parts and make is not None else make)
            status = os.fstat(entry)
            try:
                _refuse_lead(path, part, owner, status.st_uid)
                owner = status.st_uid
                if not stat.S_ISLNK(status.st_mode):
                    here, entry = entry, here
                    continue
                links += 1
                if links > _LINKS_MAX:
                    raise Unsafe(40, f"{path!r} leads through more than {_LINKS_MAX} symbolic links")
                target = os.readlink("", dir_fd=entry)
                parts += _parts(target)
                if target.startswith("/"):
                    os.close(here)
                    here = os.open("/", _HANDLE)
                    _refuse_lead(path, part, owner, os.fstat(here).st_uid)
            finally:
                os.close(entry)
        if not stat.S_ISDIR(os.fstat(here).st_mode):
            raise NotADirectoryError(20, "Not a directory")
        return here
    except BaseException:
        os.close(here)
        raise


def _entered(here: int, part: str, *, mode: int | None) -> int:
    """One part of a path, created with ``mode`` if missing."""
    try:
        return os.open(part, _HANDLE, dir_fd=here)
    except FileNotFoundError:
        if mode is None:
            raise
    place = os.fstat(here)
    with fsuser.acting_as(place.st_uid, place.st_gid), contextlib.suppress(FileExistsError):
        os.mkdir(part, mode, dir_fd=here)
    return os.open(part, _HANDLE, dir_fd=here)


def _parts(path: str) -> list[str]:
    """The parts of a path, in reverse order."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _refuse_lead(path: str, part: str, before: int, after: int) -> None:
    if before != after and before not in _roots():
        raise Unsafe(1, f"uid {before} controls the path {path!r}: {part!r} in it belongs to uid {after}")


@functools.cache
def _roots() -> frozenset[int]:
    """Root; and, in a user namespace, the uid that stands for all users outside it, such as the host's root."""
    with open("/proc/self/uid_map", "rb") as mapped, open("/proc/sys/kernel/overflowuid", "rb") as unmapped:
        is_whole = mapped.read().split() == [b"0", b"0", b"4294967295"]
        return frozenset({0} if is_whole else {0, int(unmapped.read())})


def is_writable_by_others(status: os.stat_result) -> bool:
    """Whether users other than its owner may write to a directory; root's group counts as root."""
    return bool(status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and status.st_gid != 0))


def refuse_other(status: os.stat_result, path: str, owner: Owner) -> None:
    """Check that a file, opened or read without following links, belongs to its owner and has no other name.

    :raises Unsafe: with what it is instead.
    """
    if stat.S_ISLNK(status.st_mode):
        raise Unsafe(1, f"{path!r} is a symbolic link; it was not followed: remove it")
    if not stat.S_ISREG(status.st_mode):
        raise Unsafe(1, f"{path!r} is not a regular file; it was not opened: remove it")
    if status.st_nlink > 1:
        raise Unsafe(1, f"{path!r} is a hard link, the file has another name too; it was not opened: remove it")
    # If the directory's owner is shut out, root created the files as itself, and no other user could.
    owners = {owner.uid, 0} if owner.is_shut_out else {owner.uid}
    if status.st_uid not in owners:
        raise Unsafe(
            1, f"{path!r} belongs to uid {status.st_uid}, and its directory to uid {owner.uid}; give both to one user"
        )
