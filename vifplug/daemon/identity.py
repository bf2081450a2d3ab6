"""Who the worker becomes: the configured user, with nothing that would lead back."""

from __future__ import annotations

import ctypes
import logging
import os
import pwd
import signal

LOG = logging.getLogger(__name__)

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def become(user: str) -> None:
    """Change to a user for good. Where there is none of that name, or we are not root, stay as we are.

    :raises OSError: when the change fails half-way; the process must not go on.
    """
    if os.geteuid() == 0:
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            LOG.warning("no user %r ([daemon] user): the worker stays uid %d", user, os.geteuid())
        else:
            os.setgroups(os.getgrouplist(entry.pw_name, entry.pw_gid))
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def end_with_parent(parent: int) -> None:
    """Be killed when the parent dies. To be called after ``become``: a change of user cancels it (prctl(2))."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
