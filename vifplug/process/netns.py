"""Identifies the calling thread's network namespace by a name that is unique until the next boot."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

_SO_NETNS_COOKIE = 71
"""Linux 5.14: a number that is never reused, unlike an inode's (asm-generic/socket.h)."""
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace of a boot."""

    boot: str
    number: str

    def __str__(self) -> str:
        return f"{self.boot}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> Namespace:
        """From the output of ``str``."""
        boot, _slash, number = text.partition("/")
        return cls(boot, number)


def current() -> Namespace:
    """The calling thread's network namespace.

    :raises OSError: when /proc cannot be read.
    """
    with open(_BOOT_ID, encoding="ascii") as boot:
        return Namespace(boot.read().strip(), _number())


def _number() -> str:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as any_socket:
        try:
            cookie = any_socket.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8)
        except OSError:
            return f"inode-{os.stat('/proc/thread-self/ns/net').st_ino}"
    return f"cookie-{int.from_bytes(cookie, 'little')}"
