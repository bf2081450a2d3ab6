"""Network namespaces of the kernel, entered and left by this process; no ``ip netns``, nothing left in /run."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


class Namespace:
    """A network namespace held by a file descriptor; the kernel ends it with the last descriptor, socket and process.

    Entering moves only the calling thread: children and threads that it starts meanwhile, and sockets that it creates
    meanwhile, belong to the namespace.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def current(cls) -> Namespace:
        """The calling thread's own."""
        return cls(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))

    @classmethod
    def new(cls) -> Namespace:
        """A new one; the calling thread stays where it is."""
        before = cls.current()
        try:
            _check(_libc.unshare(CLONE_NEWNET))
            return cls.current()
        finally:
            before.enter()
            before.close()

    @property
    def path(self) -> str:
        """A path for ``ip link set X netns PATH``, valid while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def enter(self) -> None:
        """Move the calling thread here."""
        _check(_libc.setns(self.fd, CLONE_NEWNET))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Enter it for a ``with`` block."""
        before = Namespace.current()
        self.enter()
        try:
            yield
        finally:
            before.enter()
            before.close()

    def processes(self) -> dict[int, str]:
        """Pid and command line of every process in it."""
        inode = os.fstat(self.fd).st_ino
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):  # a process that ended meanwhile, or a zombie
                if (entry / "ns/net").stat().st_ino == inode:
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)


@contextlib.contextmanager
def empty_namespace() -> Iterator[None]:
    """The calling thread is in an empty network namespace, for a ``with`` block."""
    other = Namespace.new()
    try:
        with other.entered():
            yield
    finally:
        other.close()
