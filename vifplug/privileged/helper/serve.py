"""The helper's end of the channel, with limits for one message, and for the messages that wait.

oslo.privsep reads as fast as its caller writes, and queues everything: 100 messages of 8 MB take 800 MB, and one of
more than 100 MB ends the daemon. Here a message that is too large is skipped and refused by its number, and nothing is
read while too much is under way: then the caller's socket fills, and the caller waits.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped]  # oslo.privsep's own codec
from oslo_privsep import comm, daemon

from vifplug.privileged.helper.message_reader import Malformed, Skipper, Unbounded

LOG = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 2 << 20
"""The plan of 1,000 link actions has 400 kB, the names of 10,000 VIFs 1 MB."""
UNDER_WAY_BYTES_MAX, UNDER_WAY_MAX = 512 << 10, 512
"""Limits of decoded messages without an answer, in bytes as sent and in number: decoded they may take 20 times as
much."""
_SMALL_BYTES, _SMALL_LENGTH = 16 << 10, 1024
"""Limits of a plug's message. Its arrays have lower limits: an announced array takes its memory at once."""
_RECEIVE_BYTES = 64 << 10
_NUMBER_BYTES_MAX = 64
_REFUSED = "vifplug.errors.PermissionDenied"
_FORMAT: dict[str, Any] = {
    "use_list": False,
    "raw": False,
    "strict_map_key": False,
    "unicode_errors": "surrogateescape",
    "max_ext_len": 0,
}


class BoundedChannel(comm.ServerChannel):
    """The caller's messages, one after the other, as long as not too much is under way."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.reader_iter = self._messages(sock)
        self._under_way: dict[str, list[int]] = {}
        self._bytes = self._count = 0
        self._less = threading.Condition()
        self._is_warned = False

    def _messages(self, sock: socket.socket) -> Iterator[tuple[str, tuple[Any, ...]]]:
        stream = _Stream(sock)
        while True:
            self._wait_for_room()
            try:
                message, size = stream.message()
            except EOFError:
                return
            except Malformed as error:
                LOG.error("the caller sent no message: %s", error)
                return
            except Unbounded as error:
                self._refuse(error.number, str(error))
                continue
            match message:
                case (str(number), tuple(call)) if len(number) <= _NUMBER_BYTES_MAX:
                    self._begin(number, size)
                    yield number, call
                case _:
                    # Only once: a caller that sends many must not fill the log.
                    LOG.log(logging.DEBUG if self._is_warned else logging.WARNING, "dropped a message without a number")
                    self._is_warned = True

    def _wait_for_room(self) -> None:
        with self._less:
            self._less.wait_for(lambda: self._bytes <= UNDER_WAY_BYTES_MAX and self._count < UNDER_WAY_MAX)

    def _begin(self, number: str, size: int) -> None:
        with self._less:
            self._under_way.setdefault(number, []).append(size)
            self._bytes += size
            self._count += 1

    def answered(self, number: str) -> None:
        """A message has been carried out, and its answer sent."""
        with self._less:
            sizes = self._under_way[number]
            self._bytes -= sizes.pop()
            self._count -= 1
            if not sizes:
                del self._under_way[number]
            self._less.notify_all()

    def _refuse(self, number: str | None, text: str) -> None:
        LOG.debug("a message was refused: %s", text)  # the sender gets an error
        if number is not None:
            self.send((number, (comm.Message.ERR.value, _REFUSED, (f"the privileged helper refused {text}",))))


class BoundedDaemon(daemon.Daemon):
    """oslo.privsep's, which reports when a message is finished."""

    channel: BoundedChannel

    def _create_done_callback(self, msgid: str) -> Callable[[futures.Future[Any]], None]:
        answer = super()._create_done_callback(msgid)

        def answered(result: futures.Future[Any]) -> None:
            try:
                answer(result)
            finally:
                self.channel.answered(msgid)

        return answered


class _Stream:
    """Messages of a socket, none larger than allowed."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = bytearray()
        """Received bytes that belong to no message yet."""

    def _receive(self) -> bytes:
        data = self._sock.recv(_RECEIVE_BYTES)
        if not data:
            raise EOFError
        return data

    def message(self) -> tuple[Any, int]:
        """The next message, and how many bytes it had.

        :raises EOFError: the caller has closed the channel.
        :raises Unbounded: it is too large; it was skipped.
        :raises Malformed: the data is not a message, so the next one cannot be found.
        """
        # In C, without checking each value; it processes all received data.
        small = msgpack.Unpacker(max_array_len=_SMALL_LENGTH, max_map_len=_SMALL_LENGTH, max_buffer_size=0, **_FORMAT)
        given = 0
        if not self._raw:
            self._raw += self._receive()
        while len(self._raw) <= _SMALL_BYTES or given == 0:
            small.feed(bytes(self._raw[given:]))
            given = len(self._raw)
            try:
                message = small.unpack()
            except msgpack.OutOfData:
                if given > _SMALL_BYTES:
                    break
                self._raw += self._receive()
                continue
            except Exception:  # whatever the error is, the message is checked value by value
                break
            return message, self._consumed(small.tell())
        return self._large()

    def _consumed(self, size: int) -> int:
        del self._raw[:size]
        return size

    def _large(self) -> tuple[Any, int]:
        skipper, given = Skipper(), 0
        number: str | None = None
        while True:
            ended = skipper.end_in(self._raw[given:])
            if ended is not None:
                break
            given = len(self._raw)
            if given > MESSAGE_BYTES_MAX:
                number = number or _number_of(self._raw)
                self._raw.clear()
                given = 0
            self._raw += self._receive()
        raw = bytes(self._raw[: given + ended])
        self._consumed(given + ended)
        if skipper.size > MESSAGE_BYTES_MAX or skipper.excess:
            text = f"a message of {skipper.size} bytes and {skipper.values} values"
            raise Unbounded(number or _number_of(raw), skipper.excess or text)
        try:
            return msgpack.unpackb(raw, **_FORMAT), len(raw)
        except Exception as error:
            raise Unbounded(_number_of(raw), f"a message that cannot be read: {error}") from error


def _number_of(raw: bytes | bytearray) -> str | None:
    """The number of a message, for its answer."""
    reader = msgpack.Unpacker(max_str_len=_NUMBER_BYTES_MAX, max_array_len=2, **_FORMAT)
    reader.feed(bytes(raw[: _NUMBER_BYTES_MAX + 8]))
    try:
        number = reader.unpack() if reader.read_array_header() == 2 else None
    except Exception:
        return None
    return number if isinstance(number, str) else None


def serve(sock: socket.socket, context: Any) -> NoReturn:
    """Run the helper, in a process that was just forked; the process ends with it."""
    gc.freeze()  # objects from before the fork stay, so the garbage collector need not visit them
    daemon.un_monkey_patch()
    channel = BoundedChannel(sock)
    daemon.replace_logging(daemon.PrivsepLogHandler(channel, processName=str(context)))
    BoundedDaemon(channel, context).run()
    os._exit(0)
