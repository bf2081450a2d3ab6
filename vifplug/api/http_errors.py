"""Messages for an unreachable daemon: the system's error, and what this user can do about it."""

from __future__ import annotations

import grp
import os
import pwd
import stat

_PATH_MAX = 107
"""sun_path has 108 bytes, and one is the terminating zero."""
_AGAIN = "what is already done stays"
CONTINUES = "the daemon continues the request; `vifplug list` shows the result"
"""Added to an interruption of a request that changes the host."""


def unreachable(path: str, error: OSError, seconds: float) -> str:
    """No process accepted the connection.

    :param seconds: how long it waited for a full backlog.
    """
    if (length := len(os.fsencode(path))) > _PATH_MAX:
        return (
            f"the path of the daemon's socket, {path!r}, has {length} bytes, and a Unix socket's path at most "
            f"{_PATH_MAX} (unix(7)); give a shorter one as [daemon] socket or --socket, or try again with --local"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    if isinstance(error, PermissionError):
        return f"no permission to use the daemon's socket {path!r} ({reason}): {_admission(path)}"
    if isinstance(error, BlockingIOError):
        reason = f"too many connections wait, after {seconds} s"
    return f"no daemon answers on socket {path!r} ({reason}); start vifplugd, or try again with --local"


def cut_off(path: str, error: Exception, *, changes: bool) -> str:
    """The connection ended before the answer did.

    :param changes: whether the request may have changed the host.
    """
    reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "connection closed"
    cut = f"the daemon on socket {path!r} ended before it answered ({reason})"
    if not changes:
        return f"{cut}; try again when it runs, or with --local"
    return (
        f"{cut}: the outcome is unknown; when it runs, look with `vifplug list`, or try again, which is safe: {_AGAIN}"
    )


def silent(path: str, seconds: float, *, changes: bool) -> str:
    """The daemon accepted the connection and does not answer.

    :param changes: whether the request may have changed the host.
    """
    silence = f"the daemon on socket {path!r} does not answer, within {seconds:g} s"
    if not changes:
        return f"{silence}; restart it, or try again with --local"
    return f"{silence}: it may continue the request; try again, which is safe: {_AGAIN}"


def not_vifplugd(path: str, reason: str) -> str:
    """The answer is not vifplugd's."""
    return (
        f"the program that answers on socket {path!r} is not vifplugd of this version: {reason}; "
        "name vifplugd's socket, or try again with --local"
    )


def _admission(path: str) -> str:
    """How this user gets access to the socket, as far as this user can see it."""
    try:
        status = os.stat(path)
    except OSError:  # its directory is not accessible either
        return "join the group that [daemon] socket_group names, log in anew and try again"
    if status.st_mode & stat.S_IWGRP:
        return f"join group {_group(status.st_gid)!r}, log in anew and try again"
    return f"only user {_user(status.st_uid)!r} may; try again as that user"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
