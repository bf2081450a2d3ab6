"""prctl(2), for attributes without a Python function."""

from __future__ import annotations

import ctypes
import os

SET_PDEATHSIG = 1
"""The signal that this process gets when its parent dies; a change of user cancels it."""
SET_CHILD_SUBREAPER = 36
"""Orphaned descendants become children of this process."""
SET_NO_NEW_PRIVS = 38
"""execve gives this thread no further privileges."""


def prctl(option: int, value: int) -> None:
    """Change an attribute of this process or thread.

    :raises OSError: when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
