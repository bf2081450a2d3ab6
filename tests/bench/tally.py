"""Counts and times of named things, shared with forked helpers; both contestants are counted in the same way.

Only the standard library is imported here; counted functions are looked up once they exist.
"""

from __future__ import annotations

import functools
import json
import mmap
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

_CELL = struct.Struct("=QQ")
_CELLS_MAX = 200
_NETLINK_HEADER = struct.Struct("=IH")
_GET = 2
_NOT_WRITING = {"select", "wait", "comment", "assert"}

PRIVILEGED = "privileged calls"
SENDS, MESSAGES, CHANGES, SOCKETS = "netlink sends", "netlink messages", "netlink changes", "netlink sockets"
WRITES, READS = "OVSDB transactions", "OVSDB reads"
COUNTED = (PRIVILEGED, SENDS, MESSAGES, CHANGES, SOCKETS, WRITES, READS)


class Tally:
    """The number of occurrences of each name, and nanoseconds; in memory that a fork shares.

    :param names: all names: a child cannot add one that its parent would see.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._cells = {name: number * _CELL.size for number, name in enumerate(names)}
        self._memory = mmap.mmap(-1, _CELLS_MAX * _CELL.size)
        # Threads of one process; parent and child never add to the same name at once.
        self._lock = threading.Lock()

    def add(self, name: str, count: int = 1, nanoseconds: int = 0) -> None:
        """Count."""
        at = self._cells[name]
        with self._lock:
            before, spent = _CELL.unpack_from(self._memory, at)
            _CELL.pack_into(self._memory, at, before + count, spent + nanoseconds)

    def taken(self) -> dict[str, tuple[int, float]]:
        """Each name's count and seconds; start again from zero."""
        totals: dict[str, tuple[int, float]] = {}
        for name, at in self._cells.items():
            count, nanoseconds = _CELL.unpack_from(self._memory, at)
            _CELL.pack_into(self._memory, at, 0, 0)
            totals[name] = (count, nanoseconds / 1e9)
        return totals

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its calls counted and timed."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                self.add(name, 1, time.perf_counter_ns() - began)

        return call


def count_sockets(tally: Tally) -> None:
    """From now on count every netlink socket of this process and its forks, and what is sent on it."""

    class Counted(socket.socket):
        def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            super().__init__(family, type, proto, fileno)
            self._is_netlink = self.family == socket.AF_NETLINK
            if self._is_netlink and fileno is None:
                tally.add(SOCKETS)

        def _note(self, data: Any) -> None:
            if self._is_netlink:
                kinds = _kinds(bytes(data))
                tally.add(SENDS)
                tally.add(MESSAGES, len(kinds))
                tally.add(CHANGES, sum(kind % 4 != _GET for kind in kinds))

        def send(self, data: Any, *rest: Any) -> int:
            self._note(data)
            return super().send(data, *rest)

        def sendall(self, data: Any, *rest: Any) -> None:
            self._note(data)
            super().sendall(data, *rest)

        def sendto(self, data: Any, *rest: Any) -> int:
            self._note(data)
            return super().sendto(data, *rest)

        def sendmsg(self, buffers: Any, *rest: Any) -> int:
            parts = list(buffers)
            self._note(b"".join(map(bytes, parts)))
            return super().sendmsg(parts, *rest)

    socket.socket = Counted  # type: ignore[misc]


def _kinds(data: bytes) -> list[int]:
    """The types of the messages in one send; of route netlink's, every fourth only reads."""
    kinds: list[int] = []
    offset = 0
    while offset + _NETLINK_HEADER.size <= len(data):
        length, kind = _NETLINK_HEADER.unpack_from(data, offset)
        kinds.append(kind)
        offset += max(length + 3 & ~3, 16)
    return kinds


def count_calls(tally: Tally) -> None:
    """From now on count calls through oslo.privsep and transactions of python-ovs."""
    import ovs.jsonrpc
    from oslo_privsep import comm

    ask, send = comm.Serializer.send, ovs.jsonrpc.Connection.send

    def counted_ask(self: Any, message: Any) -> None:
        if message[1][0] == comm.Message.CALL:  # and no answer
            tally.add(PRIVILEGED)
        ask(self, message)

    def counted_send(self: Any, message: Any) -> Any:
        if message.method == "transact":
            operations = json.loads(json.dumps(message.params))[1:]
            writes = any(operation["op"] not in _NOT_WRITING for operation in operations)
            tally.add(WRITES if writes else READS)
        return send(self, message)

    setattr(comm.Serializer, "send", counted_ask)  # noqa: B010
    setattr(ovs.jsonrpc.Connection, "send", counted_send)  # noqa: B010
