"""The daemon's listening socket, bound here or passed by systemd. It always has a path, and is never abstract."""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import socket
import stat
import struct
import time

from vifplug.errors import ConfigError
from vifplug.store import trusted
from vifplug.store.trusted import Owner

LOG = logging.getLogger(__name__)

_SYSTEMD_FIRST_DESCRIPTOR = 3
_BACKLOG = 512
_ANSWER_SECONDS = 2.0
_AGAIN_SECONDS = 0.02
_CREDENTIALS = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""
# The kernel's AF_UNIX address holds 107 bytes and a zero.
_PATH_MAX = 107


def take(path: str, group: str, seconds: float) -> tuple[socket.socket, bool]:
    """The listening socket, and whether we must remove its path at the end.

    :param group: the group whose members may connect; if it does not exist, only the owner may.
    :param seconds: how long the remaining processes of a killed daemon may keep its socket open.
    :raises ConfigError: when the path cannot be bound, or another daemon answers there.
    """
    inherited = _of_systemd()
    return (inherited, False) if inherited is not None else (_bind(path, group, seconds), True)


def _of_systemd() -> socket.socket | None:
    """The descriptor of sd_listen_fds(3)."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return None
    count = os.environ.get("LISTEN_FDS", "0")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    if count == "0":
        return None
    taken = socket.socket(fileno=_SYSTEMD_FIRST_DESCRIPTOR)
    if count != "1" or taken.family != socket.AF_UNIX or taken.type != socket.SOCK_STREAM:
        raise ConfigError(f"systemd passed {count} descriptors; vifplugd takes one, a stream socket of AF_UNIX")
    os.set_inheritable(taken.fileno(), False)
    return taken


def _bind(path: str, group: str, seconds: float) -> socket.socket:
    if not os.path.isabs(path) or len(os.fsencode(path)) > _PATH_MAX:
        length = len(os.fsencode(path))
        raise ConfigError(
            f"[daemon] socket {path!r} must be an absolute path of at most {_PATH_MAX} bytes, and has {length}",
            path,
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        owner = _owner_of_directory(path)
        # As the directory's owner, so that root does not act on files that this user put there.
        with owner.acting():
            _remove_stale(path, seconds)
            previous = os.umask(0o177)
            try:
                listener.bind(path)
            finally:
                os.umask(previous)
        _open_to(path, group, owner)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on [daemon] socket {path!r}: {error.strerror}; choose another path, or free this one", path
        ) from error
    except BaseException:
        listener.close()
        raise
    return listener


def _owner_of_directory(path: str) -> Owner:
    """The owner of the socket's directory, which is created if missing.

    :raises OSError: when it cannot be created, or another user controls the path.
    """
    directory = trusted.directory(os.path.dirname(path), make=0o755)
    try:
        return Owner.of(directory, os.path.dirname(path))
    finally:
        os.close(directory)


def _remove_stale(path: str, seconds: float) -> None:
    """Remove the socket of a daemon that was killed, and nothing else."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(status.st_mode):
            raise ConfigError(f"[daemon] socket {path!r} is a file that is not a socket; it was not changed", path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_ANSWER_SECONDS)
            is_alive = False
            try:
                probe.connect(path)
                is_alive = _has_living_listener(probe)
            except BlockingIOError:
                pass  # its queue of connections is full, so that its process is not known
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except (FileNotFoundError, TimeoutError):
                return
            # An ending worker of a killed daemon releases its lock, by which we know of it, before this socket.
            if is_alive or time.monotonic() >= deadline:
                raise ConfigError(
                    f"another daemon answers on [daemon] socket {path!r}; end it, or choose another path", path
                )
        time.sleep(_AGAIN_SECONDS)


def _has_living_listener(connected: socket.socket) -> bool:
    """Whether the process that called listen(2) still exists: SO_PEERCRED names it for a client (unix(7))."""
    pid, _uid, _gid = _CREDENTIALS.unpack(
        connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )
    if pid == 0:  # it is in a PID namespace that is not visible here
        return True
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1] not in b"ZX"
    except OSError:
        return False


def _open_to(path: str, group: str, owner: Owner) -> None:
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError:
        LOG.warning("no group %r ([daemon] socket_group): only this daemon's own user may connect to %s", group, path)
        return
    # By descriptor, so that a link with which the directory's owner replaced the socket is not followed.
    with owner.acting():
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(handle).st_mode):
            raise ConfigError(f"[daemon] socket {path!r} was replaced meanwhile; choose another directory", path)
        with contextlib.suppress(PermissionError):  # a user other than root can only set its own groups
            os.chown(f"/proc/self/fd/{handle}", -1, number)
            with owner.acting():
                os.chmod(f"/proc/self/fd/{handle}", 0o660)
    finally:
        os.close(handle)


def remove(path: str, listener: socket.socket) -> None:
    """Remove the path, if it is still this socket's."""
    with contextlib.suppress(OSError), listener:
        if listener.getsockname() == path:
            os.unlink(path)
