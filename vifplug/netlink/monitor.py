"""Watches links that appear, change or disappear. That needs no privilege, so it runs in the caller."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct

from vifplug.errors import LinkError
from vifplug.netlink import socket as netlink
from vifplug.netlink.numbers import (
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTMGRP_IPV6_IFINFO,
    RTMGRP_LINK,
    RTMGRP_NEIGH,
)

_SO_RCVBUF_BYTES = 1 << 21
"""The requested size; the kernel limits an unprivileged process to net.core.rmem_max, and reports lost messages."""
_GROUPS = RTMGRP_LINK | RTMGRP_IPV6_IFINFO | RTMGRP_NEIGH
"""Only the second reports that a link that is up gets its IPv6 back; the kernel reports no other sysctl of ours. The
third reports the peers of VXLAN devices, besides all that ``_FILTER`` drops."""

_SO_ATTACH_FILTER = 26
_INDEX = struct.Struct("=4xi")
"""ndm_ifindex of struct ndmsg."""
_LOAD_WORD, _LOAD_HALF, _LOAD_BYTE, _IF_EQUAL, _RETURN = 0x20, 0x28, 0x30, 0x15, 0x06
_ACCEPTED, _DROPPED = (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)
_FILTER = (
    # Of the neighbour messages only those about the MAC of all zeros in a forwarding database (vxlan_fdb_info puts it
    # first): a busy host changes thousands of ARP entries and learnt stations a second.
    (_LOAD_HALF, 0, 0, 4),
    (_IF_EQUAL, 2, 0, socket.htons(RTM_NEWNEIGH)),
    (_IF_EQUAL, 1, 0, socket.htons(RTM_DELNEIGH)),
    _ACCEPTED,
    (_LOAD_BYTE, 0, 0, 16),
    (_IF_EQUAL, 0, 5, socket.AF_BRIDGE),
    (_LOAD_WORD, 0, 0, 32),
    (_IF_EQUAL, 0, 3, 0),
    (_LOAD_HALF, 0, 0, 36),
    (_IF_EQUAL, 0, 1, 0),
    _ACCEPTED,
    _DROPPED,
)
"""A program of classic BPF (linux/filter.h): operation, jumps if true and if false, operand. It reads in network byte
order, and the kernel's type is in the host's."""


class LinkWatch:
    """A socket in the kernel's link groups.

    :param buffer_bytes: of the receive buffer; tests use a small one to overrun it.
    :raises LinkError: when it cannot be opened.
    """

    def __init__(self, buffer_bytes: int = _SO_RCVBUF_BYTES) -> None:
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
            _attach_filter(self._socket)
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
            elif kind in (RTM_NEWNEIGH, RTM_DELNEIGH) and len(payload) >= _INDEX.size:
                indexes.add(_INDEX.unpack_from(payload)[0])


def _attach_filter(socket_: socket.socket) -> None:
    program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _FILTER)
    buffer = ctypes.create_string_buffer(program, len(program))  # the kernel copies it
    socket_.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(_FILTER), ctypes.addressof(buffer)))
