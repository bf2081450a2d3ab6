"""Paths on which no other user can lead this process astray.

A directory's owner may replace what is in it at any moment, by a link too. So a path must not lead from something that
an unprivileged user owns to something that another user owns (the rule of systemd's CHASE_SAFE). Each part is opened by
itself, relative to the one before, without following links: what was looked at is what is used.
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
    """Another user decides where a path leads, or what a file is. ``strerror`` says which part, and why."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose directory it is."""

    uid: int
    gid: int
    is_shut_out: bool = False
    """A directory above is closed to this user, who so can put nothing there."""

    @classmethod
    def of(cls, directory: int, path: str) -> Owner:
        """The owner of a directory that is open and has this path."""
        found = os.fstat(directory)
        try:
            with fsuser.acting_as(found.st_uid, found.st_gid):
                os.lstat(path)
        except PermissionError:
            return cls(found.st_uid, found.st_gid, is_shut_out=True)
        return cls(found.st_uid, found.st_gid)

    def acting(self) -> contextlib.AbstractContextManager[None]:
        """Open, make and remove files as this user, in this thread, where we are root."""
        return contextlib.nullcontext() if self.is_shut_out else fsuser.acting_as(self.uid, self.gid)


def directory(path: str, *, make: int | None = None) -> int:
    """A descriptor (O_PATH) of a directory.

    :param make: missing parts are made, the last one with this mode, each as the owner of the directory it is made in.
    :raises Unsafe: when another user decides where the path leads.
    :raises OSError: when it is not there, or is no directory.
    """
    parts = _parts(os.path.join(os.getcwd(), path))
    here = os.open("/", _HANDLE)
    owner, links = os.fstat(here).st_uid, 0
    try:
        while parts:
            part = parts.pop()
            entry = _entered(here, part, mode=0o777 if parts and make is not None else make)
            found = os.fstat(entry)
            try:
                _refuse_lead(path, part, owner, found.st_uid)
                owner = found.st_uid
                if not stat.S_ISLNK(found.st_mode):
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
    """One part of a path, made with ``mode`` where it is missing."""
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
    """The parts of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _refuse_lead(path: str, part: str, before: int, after: int) -> None:
    if before != after and before not in _roots():
        raise Unsafe(1, f"uid {before} decides where {path!r} leads: {part!r} there belongs to uid {after}")


@functools.cache
def _roots() -> frozenset[int]:
    """Root; and, in a user namespace, the number that stands for all users that are not in it, the host's root too."""
    with open("/proc/self/uid_map", "rb") as mapped, open("/proc/sys/kernel/overflowuid", "rb") as unmapped:
        is_whole = mapped.read().split() == [b"0", b"0", b"4294967295"]
        return frozenset({0} if is_whole else {0, int(unmapped.read())})


def is_anybodys(found: os.stat_result) -> bool:
    """Whether others than its owner may put something into a directory: root's group counts as root."""
    return bool(found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != 0))


def refuse_other(found: os.stat_result, path: str, owner: Owner) -> None:
    """See that a file that was opened, or looked at without following links, is its owner's and has no other name.

    :raises Unsafe: saying what it is instead.
    """
    if stat.S_ISLNK(found.st_mode):
        raise Unsafe(1, f"{path!r} is a symbolic link; it was not followed: remove it")
    if not stat.S_ISREG(found.st_mode):
        raise Unsafe(1, f"{path!r} is no regular file; it was not opened: remove it")
    if found.st_nlink > 1:
        raise Unsafe(1, f"{path!r} is a hard link, the file has another name too; it was left alone: remove it")
    # Where the directory's owner is shut out, root made the files as itself; nothing there can be another's doing.
    owners = {owner.uid, 0} if owner.is_shut_out else {owner.uid}
    if found.st_uid not in owners:
        raise Unsafe(
            1, f"{path!r} belongs to uid {found.st_uid}, and its directory to uid {owner.uid}; give both to one user"
        )
