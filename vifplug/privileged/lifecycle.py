"""The first verb a helper answers: it fixes what may not change later, and closes the door."""

from __future__ import annotations

import ctypes
import os

from vifplug.errors import HostError, PermissionDenied
from vifplug.privileged import door, ovsdb
from vifplug.privileged.context import net

_PR_SET_NO_NEW_PRIVS = 38


@net.entrypoint
def begin(connection: tuple[str, ...], timeout: float) -> int:
    """Fix the OVSDB address, give up any way to new privileges, close the door to imports.

    :param connection: OVSDB remotes, tried in turn.
    :param timeout: seconds, for every OVSDB wait.
    :returns: the helper's pid.
    :raises PermissionDenied: when called a second time.
    """
    if door.is_closed():
        raise PermissionDenied("refused to begin again: the helper's OVSDB address is fixed at its start")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise HostError(f"could not set no_new_privs: {os.strerror(ctypes.get_errno())}")
    ovsdb.fix_address(connection, timeout)
    door.close()
    return os.getpid()
