"""Hears of links that appear, change or go. Needs no privilege, so it runs in the caller."""

from __future__ import annotations

import errno
import socket
import struct

from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_NEWLINK, RTMGRP_IPV6_IFINFO, RTMGRP_LINK

from vifplug.errors import LinkError
from vifplug.netlink import socket as netlink

_SO_RCVBUF_BYTES = 1 << 21
"""Asked for; the kernel gives an unprivileged process net.core.rmem_max. What does not fit is told as lost."""
_GROUPS = RTMGRP_LINK | RTMGRP_IPV6_IFINFO
"""The second alone tells of a link that is up and gets its IPv6 back; no other sysctl of ours is told of."""


class LinkWatch:
    """A socket in the kernel's groups about links.

    :param buffer_bytes: of the receive buffer; the tests' way to overrun it.
    :raises LinkError: when it cannot be opened.
    """

    def __init__(self, buffer_bytes: int = _SO_RCVBUF_BYTES) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            self._socket.bind((0, _GROUPS))
        except OSError as error:
            raise LinkError(f"could not listen for changes of links: {error.strerror}") from error

    def close(self) -> None:
        """Close it; a thread that waits in ``changes`` is told within its time."""
        self._socket.close()

    def changes(self, seconds: float) -> tuple[set[str], set[int]] | None:
        """Names and indexes of links that changed; waits for the first of them, at most ``seconds``.

        :returns: None when some were lost (ENOBUFS, netlink(7)): every link may have changed.
        :raises LinkError: when the socket is unusable.
        """
        names: set[str] = set()
        indexes: set[int] = set()
        self._socket.settimeout(seconds)
        try:
            while True:
                self._note(self._socket.recv(netlink.RECEIVE_BYTES), names, indexes)
                self._socket.setblocking(False)
        except (BlockingIOError, TimeoutError):
            return names, indexes
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return None
            raise LinkError(f"could not hear of changes of links: {error.strerror}") from error

    @staticmethod
    def _note(received: bytes, names: set[str], indexes: set[int]) -> None:
        for kind, _flags, _sequence, payload in netlink.split(received):
            if kind in (RTM_NEWLINK, RTM_DELLINK):
                try:
                    index, name = netlink.index_and_name(payload)
                except struct.error:
                    continue
                indexes.add(index)
                names.add(name)
