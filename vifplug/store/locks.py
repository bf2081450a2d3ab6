"""Locks shared by processes and threads, which the kernel releases when their holder dies.

One file, one byte per identity: a write lock on a VIF's byte serialises work on that VIF; a read lock on a
session's byte means that the session is alive. They are open-file-description locks (fcntl(2), F_OFD_SETLK):
each acquisition has its own description, so threads exclude each other too, and a forked helper, which
shares the session's description, keeps the session alive. No pid is ever used.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import struct
from collections.abc import Iterable, Iterator

import tenacity

from vifplug.errors import Busy, StoreError
from vifplug.store import trusted
from vifplug.store.trusted import Owner

_FLOCK = struct.Struct("hhqqi4x")
_POLL_SECONDS = 0.005
_SESSIONS = 1 << 62
"""Bytes from here on are for sessions, those below for VIFs and networks."""


def _request(descriptor: int, command: int, kind: int, offset: int, length: int = 1) -> int:
    """Request a lock on ``length`` bytes; 0 means all."""
    answer = fcntl.fcntl(descriptor, command, _FLOCK.pack(kind, os.SEEK_SET, offset, length, 0))
    return int(_FLOCK.unpack(answer)[0])


def _offset(identity: str) -> int:
    return int.from_bytes(hashlib.sha256(identity.encode()).digest()[:7], "big")


class LockFile:
    """The lock file of a state directory.

    :param asks_only: do not create it, and open it for reading; then no lock can be taken, and only
        ``free``, ``await_free``, ``is_session_alive`` and ``await_end`` work.
    :raises StoreError: when it cannot be opened.
    """

    def __init__(self, path: str, *, asks_only: bool = False) -> None:
        self.path = path
        self._asks_only = asks_only
        self._owner = self._directorys_owner()
        os.close(self._open())

    def _directorys_owner(self) -> Owner:
        try:
            directory = trusted.directory(os.path.dirname(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return Owner(0, 0)  # the following open reports it
        except OSError as error:
            raise self._unusable(error) from error
        try:
            return Owner.of(directory, os.path.dirname(self.path))
        finally:
            os.close(directory)

    def _unusable(self, error: OSError) -> StoreError:
        return StoreError(f"cannot open lock file {self.path!r}: {error.strerror}", self.path)

    def _open(self) -> int:
        flags = os.O_RDONLY if self._asks_only else os.O_RDWR | os.O_CREAT
        try:
            # As the directory's owner, so that root does not act on files that this user put there.
            with self._owner.acting():
                opened = os.open(self.path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            try:
                trusted.refuse_other(os.fstat(opened), self.path, self._owner)
            except BaseException:
                os.close(opened)
                raise
            return opened
        except (FileNotFoundError, NotADirectoryError) as error:
            if not self._asks_only:
                raise self._unusable(error) from error
            # An empty stand-in: without a lock file there are no locks.
            return os.memfd_create("vifplug-no-locks")
        except OSError as error:
            raise self._unusable(error) from error

    @contextlib.contextmanager
    def held(self, identities: Iterable[str], seconds: float) -> Iterator[None]:
        """Hold the locks of all identities, taken in a fixed order to avoid deadlocks.

        :raises Busy: when one of them stays locked for longer than ``seconds``.
        """
        descriptor = self._open()
        try:
            for identity in sorted(set(identities)):
                self._acquire(descriptor, identity, seconds)
            yield
        finally:
            # A process forked meanwhile (a restarted helper, a worker of the caller) has the descriptor, too:
            # if only ours were closed, the lock would stay with it.
            _request(descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0, 0)
            os.close(descriptor)

    @contextlib.contextmanager
    def held_if_free(self, identities: Iterable[str]) -> Iterator[set[str]]:
        """Hold the free locks, without waiting for the others; yields their identities."""
        descriptor = self._open()
        try:
            free = set()
            for identity in sorted(set(identities)):
                with contextlib.suppress(Busy):
                    self._acquire(descriptor, identity, 0)
                    free.add(identity)
            yield free
        finally:
            _request(descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, 0, 0)
            os.close(descriptor)

    def free(self, identities: Iterable[str]) -> set[str]:
        """The identities whose lock is free at this moment; no lock is taken."""
        descriptor = self._open()
        try:
            return {
                identity
                for identity in set(identities)
                if _request(descriptor, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, _offset(identity)) == fcntl.F_UNLCK
            }
        finally:
            os.close(descriptor)

    def await_free(self, identities: Iterable[str], seconds: float) -> None:
        """Wait until all these locks are free, for at most ``seconds``."""
        left = set(identities)

        def held() -> bool:
            left.difference_update(self.free(left))
            return bool(left)

        tenacity.Retrying(
            retry=tenacity.retry_if_result(bool),
            stop=tenacity.stop_after_delay(seconds),
            wait=tenacity.wait_fixed(_POLL_SECONDS),
            retry_error_callback=lambda _state: None,
        )(held)

    def _acquire(self, descriptor: int, identity: str, seconds: float) -> None:
        wanted = (descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, _offset(identity))
        # Most locks are free, and there is usually no wait for the others.
        with contextlib.suppress(BlockingIOError):
            _request(*wanted)
            return
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(BlockingIOError),
            stop=tenacity.stop_after_delay(seconds),
            wait=tenacity.wait_fixed(_POLL_SECONDS),
            reraise=True,
        )
        try:
            if seconds <= 0:
                raise BlockingIOError
            retrying(_request, *wanted)
        except BlockingIOError as error:
            raise Busy(
                f"another request works on {identity} and did not end within {seconds:g} s; try again", identity
            ) from error

    def is_session_alive(self, session: int) -> bool:
        """Whether the caller or the helper of a session is still alive."""
        descriptor = self._open()
        try:
            return _request(descriptor, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, session) != fcntl.F_UNLCK
        finally:
            os.close(descriptor)

    def await_end(self, session: int, seconds: float) -> bool:
        """Wait for the end of a session that may be ending.

        :returns: whether it has ended.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(bool),
            stop=tenacity.stop_after_delay(seconds),
            wait=tenacity.wait_fixed(_POLL_SECONDS),
            retry_error_callback=lambda _state: True,
        )
        return not retrying(self.is_session_alive, session)

    def open_session(self) -> Session:
        """A new session, alive until closed or dead."""
        descriptor = self._open()
        try:
            # A caller may have closed 0-2; the helper replaces what it inherits there by /dev/null, and loses the lock.
            return Session(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3), self.path)
        finally:
            os.close(descriptor)


class Session:
    """A read lock that this process and its forked helper hold while they are alive."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self.path = path
        self.number = _SESSIONS + secrets.randbelow(_SESSIONS - 1)
        _request(descriptor, fcntl.F_OFD_SETLK, fcntl.F_RDLCK, self.number)

    def close(self) -> None:
        """Release it in this process."""
        os.close(self._descriptor)
