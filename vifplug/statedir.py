"""The directory of records and locks: its mode, and whose it is."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterable

from vifplug.errors import StoreError


def prepare(state_dir: str, user: str) -> None:
    """Make it, with mode 0700, and give it to ``user``.

    :raises StoreError: when it cannot be made.
    """
    try:
        os.makedirs(state_dir, mode=0o700, exist_ok=True)
        hand_over(user, [state_dir])
    except OSError as error:
        raise unusable(state_dir, error) from error


def hand_over(user: str, paths: Iterable[str]) -> None:
    """Give files to a user, when that user exists and we are root."""
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_uid != entry.pw_uid:
                os.chown(path, entry.pw_uid, entry.pw_gid)


def unusable(state_dir: str, error: Exception) -> StoreError:
    """The error for a directory, or a file in it, that cannot be used."""
    said = getattr(error, "strerror", None) or error
    return StoreError(
        f"cannot open the store in {state_dir!r}: {said}; check that state_dir can be made, belongs to you and is "
        "not full",
        state_dir,
    )
