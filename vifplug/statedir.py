"""The directory of records and locks: its mode, and whose it is.

It is [daemon] user's. What that user puts there (a link, say) must not become root's doing; and systemd's unit leaves
root no CAP_DAC_OVERRIDE, so that root gets in as that user only.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from collections.abc import Iterator

from vifplug.errors import StoreError

_ROOT = 0


def prepare(state_dir: str, user: str) -> None:
    """Make it, with mode 0700, and give it and its files to ``user``.

    :raises StoreError: when it cannot be made.
    """
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        entry = _entry(user)
        if entry is not None and os.stat(state_dir).st_uid != entry.pw_uid:
            os.chown(state_dir, entry.pw_uid, entry.pw_gid)
        hand_over(state_dir, user)
    except OSError as error:
        raise unusable(state_dir, error) from error


def hand_over(state_dir: str, user: str) -> None:
    """Give the files in a directory of a user's to that user, when there is such a user and we are root.

    A link is left alone, and so is a file that has another name: they may be anybody's.

    :raises OSError: when it is not possible.
    """
    entry = _entry(user)
    if entry is None:
        return
    with contextlib.ExitStack() as opened:
        try:
            files = _files(state_dir, opened)
        except PermissionError:  # root without CAP_DAC_OVERRIDE
            with acting_as(user):
                files = _files(state_dir, opened)
        for descriptor in files:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid != entry.pw_uid:
                os.chown(f"/proc/self/fd/{descriptor}", entry.pw_uid, entry.pw_gid)


def _files(directory: str, opened: contextlib.ExitStack) -> list[int]:
    """Descriptors that stand for the files in it, and are good for nothing but that."""
    descriptors = []
    for name in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(os.path.join(directory, name), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            opened.callback(os.close, descriptor)
            descriptors.append(descriptor)
    return descriptors


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


def unusable(state_dir: str, error: Exception) -> StoreError:
    """The error for a directory, or a file in it, that cannot be used."""
    said = getattr(error, "strerror", None) or error
    return StoreError(
        f"cannot open the store in {state_dir!r}: {said}; check that state_dir can be made, belongs to you and is "
        "not full",
        state_dir,
    )
