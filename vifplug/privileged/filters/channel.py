"""The socket for nf_tables: questions, dumps, and transactions of which the kernel carries out all or nothing."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator, Sequence

from vifplug.netlink import nftables as nft
from vifplug.netlink import socket as netlink
from vifplug.netlink.nftables import Part

_ERROR, _DONE = 2, 3
_ACK, _INTERRUPTED = 0x4, 0x10
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_SEND_BYTES, _RECEIVE_BYTES = 8 << 20, 4 << 20
"""A transaction is one send. 250 filters have 2 MB."""
_SECONDS = 10.0
_TRIES = 5
_GENERATION = 1
"""NFTA_GEN_ID."""


class Channel:
    """A long-lived socket, shared by threads; opened at first use, in the network namespace of then."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.RLock()
        self._sequence = 0

    def close(self) -> None:
        """Close it; the next use opens another one."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _opened(self) -> socket.socket:
        if self._socket is None:
            opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nft.NETLINK_NETFILTER)
            opened.settimeout(_SECONDS)
            opened.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BYTES)
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
            opened.bind((0, 0))
            self._socket = opened
        return self._socket

    def _send(self, data: bytes) -> socket.socket:
        channel = self._opened()
        channel.send(data)
        return channel

    def _messages(self, channel: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
        try:
            while True:
                yield from netlink.split(channel.recv(netlink.RECEIVE_BYTES))
        except OSError:
            self.close()  # what still arrives belongs to no later request
            raise

    def generation(self) -> int:
        """The number of the present ruleset, which every change raises."""
        (answer,) = self.ask([(nft.GET_GENERATION, 0, b"")])
        return int.from_bytes(netlink.attributes(answer or b"", 4).get(_GENERATION, b"\0"), "big")

    def ask(self, questions: Sequence[tuple[int, int, bytes]]) -> list[bytes | None]:
        """The answer to each question, sent together; None for what does not exist.

        :raises OSError: any other error of the kernel.
        """
        with self._lock:
            first = self._numbers(len(questions))
            packed = [
                nft.message(kind, family, body, flags=_ACK, sequence=first + place)
                for place, (kind, family, body) in enumerate(questions)
            ]
            channel = self._send(b"".join(packed))
            answers: list[bytes | None] = [None] * len(questions)
            left = len(questions)
            failed = 0
            for kind, _flags, sequence, payload in self._messages(channel):
                place = sequence - first
                if not 0 <= place < len(questions):
                    continue
                if kind != _ERROR:
                    answers[place] = payload
                    continue
                (code,) = struct.unpack_from("=i", payload)
                failed = failed or (0 if -code == errno.ENOENT else -code)
                left -= 1
                if not left:
                    break
        if failed:
            raise OSError(failed, os.strerror(failed))
        return answers

    def dump(self, kind: int, family: int, body: bytes = b"") -> list[bytes]:
        """The payloads of a dump of one moment; none for what does not exist.

        :raises OSError: an error of the kernel; EINTR if the ruleset changed during each try.
        """
        with self._lock:
            for _try in range(_TRIES):
                payloads = self._dumped(kind, family, body)
                if payloads is not None:
                    return payloads
        raise OSError(errno.EINTR, "the ruleset changed again and again while it was read")

    def _dumped(self, kind: int, family: int, body: bytes) -> list[bytes] | None:
        sequence = self._numbers(1)
        channel = self._send(nft.message(kind, family, body, flags=nft.DUMP, sequence=sequence))
        payloads: list[bytes] = []
        interrupted = False
        for answer, flags, number, payload in self._messages(channel):
            if number != sequence:
                continue
            interrupted |= bool(flags & _INTERRUPTED)
            if answer == _ERROR:
                (code,) = struct.unpack_from("=i", payload)
                if code and -code != errno.ENOENT:
                    raise OSError(-code, os.strerror(-code))
                return []
            if answer == _DONE:
                break
            payloads.append(payload)
        return None if interrupted else payloads

    def commit(self, parts: Sequence[Part], generation: int | None = None) -> None:
        """Carry out one transaction: all of it, or nothing.

        :param generation: as of ``nft.batch``.
        :raises OSError: the kernel's first error; ERESTART if the ruleset is of another generation.
        """
        if not parts:
            return
        with self._lock:
            channel = self._send(nft.batch(parts, generation))
            failed = 0
            for kind, _flags, sequence, payload in self._messages(channel):
                if kind != _ERROR:
                    continue
                (code,) = struct.unpack_from("=i", payload)
                failed = failed or -code
                # The first message begins the transaction: an error of it ends it.
                if sequence == len(parts) + 1 or (sequence == 1 and code):
                    break
        if failed:
            raise OSError(failed, os.strerror(failed))

    def _numbers(self, count: int) -> int:
        """The first of some unused sequence numbers, above those of any transaction."""
        first = max(self._sequence, 1 << 24)
        self._sequence = first + count if first + count < 1 << 31 else 0
        return first
