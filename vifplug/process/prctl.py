"""prctl(2), for what Python has no call of its own for."""

from __future__ import annotations

import ctypes
import os

SET_PDEATHSIG = 1
"""The signal this process gets when its parent dies; a change of user cancels it."""
SET_CHILD_SUBREAPER = 36
"""Orphans among this process's descendants become its children."""
SET_NO_NEW_PRIVS = 38
"""No execve gives what this thread does not have."""


def prctl(option: int, value: int) -> None:
    """Change an attribute of this process or thread.

    :raises OSError: when the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
