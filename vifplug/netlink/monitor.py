"""Watches links that appear, change or disappear. That needs no privilege, so it runs in the caller."""

from __future__ import annotations

import errno
import socket
import struct

from pyroute2.netlink.rtnl import RTM_DELLINK, RTM_NEWLINK, RTMGRP_IPV6_IFINFO, RTMGRP_LINK

from vifplug.errors import LinkError
from vifplug.netlink import socket as netlink

_SO_RCVBUF_BYTES = 1 << 21
"""The requested size; the kernel limits an unprivileged process to net.core.rmem_max, and reports lost messages."""
_GROUPS = RTMGRP_LINK | RTMGRP_IPV6_IFINFO
"""Only the second reports that a link that is up gets its IPv6 back; the kernel reports no other sysctl of ours."""


class LinkWatch:
    """A socket in the kernel's link groups.

    :param buffer_bytes: of the receive buffer; tests use a small one to overrun it.
    :raises LinkError: when it cannot be opened.
    """

    def __init__(self, buffer_bytes: int = _SO_RCVBUF_BYTES) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            self._socket.bind((0, _GROUPS))
        except OSError as error:
            raise LinkError(f"could not watch links: {error.strerror}") from error

    def close(self) -> None:
        """Close it; a thread that waits in ``changes`` notices at its timeout."""
        self._socket.close()

    def changes(self, seconds: float) -> tuple[set[str], set[int]] | None:
        """Names and indexes of changed links; waits at most ``seconds`` for the first change.

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
            raise LinkError(f"could not receive link changes: {error.strerror}") from error

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
