"""Changes the worker to the configured user, irrevocably."""

from __future__ import annotations

import logging
import os
import pwd
import signal

from vifplug.process.prctl import SET_NO_NEW_PRIVS, SET_PDEATHSIG, prctl

LOG = logging.getLogger(__name__)


def become(user: str) -> None:
    """Change to a user permanently. If the user does not exist, or this process is not root, nothing changes.

    :raises OSError: when the change fails half-way; the process must not continue.
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
    prctl(SET_NO_NEW_PRIVS, 1)


def end_with_parent(parent: int) -> None:
    """Be killed when the parent dies. Call it after ``become``: a change of user cancels it (prctl(2))."""
    prctl(SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
