"""A long-lived route netlink socket: many changes in one send, each with its own answer.

``message`` packs requests. Answers are decoded here, because that takes 30 us per link, and 800 us with pyroute2's
message classes, and a host has thousands of links.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence

from vifplug import naming
from vifplug.errors import LinkError
from vifplug.netlink.message import ATTRIBUTE, HEADER, IFINFO, Message, attribute
from vifplug.netlink.numbers import NLM_F_DUMP, NLM_F_REQUEST, RTM_GETLINK, RTM_NEWLINK

_SOL_NETLINK, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK = 270, 10, 11, 12
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_DUMP_INTR, _NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x10, 0x100, 0x200
_NLMSGERR_ATTR_MSG = 1
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_EXT_MASK = 3, 10, 29
_RTEXT_FILTER_SKIP_STATS = 8
RECEIVE_BYTES = 1 << 18
_SEND_BYTES = 1 << 16
"""Well under the kernel's default send buffer (net.core.wmem_default)."""
TOGETHER_MAX = 100
"""Messages in one send. All their answers wait in the receive buffer, each as an skb of up to 1.3 kB; by default
the buffer has 208 kB (net.core.rmem_default), and answers that do not fit are lost."""
_REQUESTS_TOGETHER = 20
"""Links requested in one send: each answer is an skb of some 4 kB."""
_SEQUENCE_MASK = 0xFFFFFFFF
_DUMP_TRIES = 5


class Refused(Exception):
    """The kernel refused one message of a send; it carried out those before and after."""

    def __init__(self, index: int, code: int, text: str) -> None:
        super().__init__(index, code, text)
        self.index, self.code = index, code
        self.text = text or os.strerror(code)


@contextlib.contextmanager
def reading(target: str, subject: str = "") -> Iterator[None]:
    """Raise an error of a request as one that says what could not be read.

    :param target: what is read, in words.

    :raises LinkError: the kernel refused a request of the body, or did not answer it.
    """
    try:
        yield
    except (Refused, OSError) as error:
        text = error.text if isinstance(error, Refused) else str(error)
        raise LinkError(f"could not read {target}: {text}", subject) from error


class _Interrupted(Exception):
    """A dump that the kernel marked as inconsistent, or that overran the socket."""


class LinkSocket:
    """A socket for link messages, shared by threads.

    :param timeout: seconds; the kernel answers at once, so this is only for faults.
    """

    def __init__(self, timeout: float = 10.0) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            self._socket.setsockopt(_SOL_NETLINK, option, 1)
        self._timeout = timeout
        self._socket.settimeout(timeout)
        self._sequence = _numbers()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def ioctl(self, command: int, request: bytes) -> bytes:
        """An ioctl about a device (netdevice(7)): a socket of any family accepts it, so it needs no other one.

        :raises OSError: the kernel's.
        """
        return fcntl.ioctl(self._socket, command, request)

    def change(self, messages: Sequence[Message]) -> None:
        """Send changes together and read every answer.

        :raises Refused: for the first failed message. The kernel carried out the following ones.
        """
        with self._lock:
            first = next(self._sequence)
            encoded = [msg.numbered(next(self._sequence) if number else first) for number, msg in enumerate(messages)]
            refused: dict[int, Refused] = {}
            for start, chunk in _chunks(encoded):
                try:
                    self._socket.send(b"".join(chunk))
                    refused.update(self._answers(first, start, len(chunk)))
                except OSError as error:
                    raise Refused(
                        start, error.errno or errno.ETIMEDOUT, f"no answer from the kernel: {error}"
                    ) from error
        if refused:
            raise refused[min(refused)]

    def _answers(self, first: int, start: int, count: int) -> dict[int, Refused]:
        refused: dict[int, Refused] = {}
        awaited = set(range(start, start + count))
        while awaited:
            for kind, flags, sequence, payload in split(self._socket.recv(RECEIVE_BYTES)):
                index = (sequence - first) & _SEQUENCE_MASK
                if kind != _NLMSG_ERROR or index not in awaited:
                    continue
                awaited.discard(index)
                (code,) = struct.unpack_from("=i", payload)
                if code:
                    refused[index] = Refused(index, -code, _reason(flags, payload))
        return refused

    def get(self, names: Sequence[str]) -> dict[str, bytes]:
        """The messages of the existing links of these names, requested together.

        :raises Refused: for any answer but the link and ENODEV (absent); ``index`` is that of the name.
        """
        requests = [(0, attribute(_IFLA_IFNAME, naming.encoded(name) + b"\0")) for name in names]
        return {names[position]: payload for position, payload in self._answered(requests)}

    def get_by_index(self, indexes: Sequence[int], mask: int = 0) -> list[bytes]:
        """The messages of the existing links of these ifindexes, requested together.

        :param mask: RTEXT_FILTER_... bits of what they are to hold besides.
        :raises Refused: as ``get``.
        """
        return [payload for _position, payload in self._answered([(index, b"") for index in indexes], mask)]

    def _answered(self, requests: Sequence[tuple[int, bytes]], mask: int = 0) -> Iterator[tuple[int, bytes]]:
        for start in range(0, len(requests), _REQUESTS_TOGETHER):
            chunk = requests[start : start + _REQUESTS_TOGETHER]
            for number, (kind, flags, payload) in self._request_each(chunk, mask).items():
                if kind == RTM_NEWLINK:
                    yield start + number, payload
                    continue
                (code,) = struct.unpack_from("=i", payload)
                if -code != errno.ENODEV:
                    raise Refused(start + number, -code, _reason(flags, payload))

    def _request_each(self, requests: Sequence[tuple[int, bytes]], mask: int) -> dict[int, tuple[int, int, bytes]]:
        """Each request's answer, by its position."""
        answers: dict[int, tuple[int, int, bytes]] = {}
        with self._lock:
            numbers = {next(self._sequence): position for position in range(len(requests))}
            packed = [
                _get_link(attributes, sequence, index=index, mask=mask)
                for (index, attributes), sequence in zip(requests, numbers, strict=True)
            ]
            self._socket.send(b"".join(packed))
            try:
                while len(answers) < len(requests):
                    for kind, flags, sequence, payload in split(self._socket.recv(RECEIVE_BYTES)):
                        if sequence in numbers:
                            answers[numbers[sequence]] = kind, flags, payload
            except OSError:
                self._drain()
                raise
        return answers

    def _drain(self) -> None:
        """Discard outdated answers, which would fill the receive buffer."""
        self._socket.setblocking(False)
        try:
            with contextlib.suppress(OSError):
                while self._socket.recv(RECEIVE_BYTES):
                    pass
        finally:
            self._socket.settimeout(self._timeout)

    def dump(self, master: int = 0, *, family: int = 0, mask: int = 0) -> list[bytes]:
        """Every link's message, or those of one master's members.

        If links changed during the dump, it is repeated a few times: the kernel marks it with
        NLM_F_DUMP_INTR, or drops part of it (ENOBUFS).

        :param family: AF_BRIDGE for the messages of ports of bridges.
        :param mask: as in ``get_by_index``.

        :raises Refused: when every attempt is interrupted, or for a kernel error.
        """
        request = attribute(_IFLA_MASTER, struct.pack("=I", master)) if master else b""
        for _try in range(_DUMP_TRIES):
            with contextlib.suppress(_Interrupted):
                return self._dump_once(request, family, mask)
        raise Refused(0, errno.EINTR, f"links changed during each of {_DUMP_TRIES} dumps")

    def table(self, kind: int, body: bytes) -> list[bytes]:
        """The messages of another kind of dump: of forwarding tables, of queueing disciplines.

        :raises Refused: for a kernel error.
        """
        length = HEADER.size + len(body)
        answers = self._collect(
            lambda sequence: HEADER.pack(length, kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0) + body
        )
        for type_, flags, payload in answers:
            if type_ == _NLMSG_ERROR:
                raise Refused(0, -struct.unpack_from("=i", payload)[0], _reason(flags, payload))
        return [payload for _kind, _flags, payload in answers]

    def _dump_once(self, request: bytes, family: int, mask: int) -> list[bytes]:
        links: list[bytes] = []
        interrupted = False
        for kind, flags, payload in self._request_dump(request, family, mask):
            interrupted |= bool(flags & _NLM_F_DUMP_INTR)
            if kind == RTM_NEWLINK:
                links.append(payload)
            elif kind == _NLMSG_ERROR:
                raise Refused(0, -struct.unpack_from("=i", payload)[0], _reason(flags, payload))
        if interrupted:
            raise _Interrupted
        return links

    def _request_dump(self, attributes: bytes, family: int, mask: int) -> list[tuple[int, int, bytes]]:
        return self._collect(lambda sequence: _get_link(attributes, sequence, NLM_F_DUMP, mask=mask, family=family))

    def _collect(self, request: Callable[[int], bytes]) -> list[tuple[int, int, bytes]]:
        answers: list[tuple[int, int, bytes]] = []
        with self._lock:
            sequence = next(self._sequence)
            self._socket.send(request(sequence))
            while True:
                try:
                    received = self._socket.recv(RECEIVE_BYTES)
                except OSError as error:
                    if error.errno == errno.ENOBUFS:
                        raise _Interrupted from error
                    raise
                for kind, flags, its_sequence, payload in split(received):
                    if its_sequence != sequence:
                        continue
                    if kind == _NLMSG_DONE:
                        return answers
                    answers.append((kind, flags, payload))
                    if kind == _NLMSG_ERROR:
                        return answers


def _numbers(first: int = 1) -> Iterator[int]:
    """Sequence numbers: nlmsg_seq has 32 bits."""
    return (number & _SEQUENCE_MASK for number in itertools.count(first))


def _get_link(
    attributes: bytes, sequence: int, flags: int = 0, *, index: int = 0, mask: int = 0, family: int = 0
) -> bytes:
    filtered = attribute(_IFLA_EXT_MASK, struct.pack("=I", _RTEXT_FILTER_SKIP_STATS | mask))
    body = IFINFO.pack(family, 0, index, 0, 0) + attributes + filtered
    return HEADER.pack(HEADER.size + len(body), RTM_GETLINK, NLM_F_REQUEST | flags, sequence, 0) + body


def attributes(data: bytes, offset: int = 0) -> dict[int, bytes]:
    """The attributes of a message or of a nest, by number."""
    by_number: dict[int, bytes] = {}
    unpack, size, last = ATTRIBUTE.unpack_from, ATTRIBUTE.size, len(data) - ATTRIBUTE.size
    while offset <= last:
        length, kind = unpack(data, offset)
        if length < size:
            break
        by_number[kind & 0x3FFF] = data[offset + size : offset + length]
        offset += (length + 3) & ~3
    return by_number


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a nest in which a number may occur more than once."""
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size:
            break
        yield kind & 0x3FFF, data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def entries(data: bytes) -> Iterator[dict[int, bytes]]:
    """The attributes of each entry of a list, in which every entry has the same number."""
    return (attributes(entry) for _number, entry in each_attribute(data))


def link_header(payload: bytes) -> tuple[int, int, dict[int, bytes]]:
    """A link message's ifindex, IFF_ flags and attributes."""
    _family, _kind, index, flags, _change = IFINFO.unpack_from(payload)
    return index, flags, attributes(payload, IFINFO.size)


def index_and_name(payload: bytes) -> tuple[int, str]:
    """A link message's ifindex and name; a fast path for bursts, because the name comes first."""
    _family, _kind, index, _flags, _change = IFINFO.unpack_from(payload)
    offset = IFINFO.size
    while offset + ATTRIBUTE.size <= len(payload):
        length, kind = ATTRIBUTE.unpack_from(payload, offset)
        if kind == _IFLA_IFNAME:
            name = payload[offset + ATTRIBUTE.size : offset + length]
            return index, naming.decoded(name.rstrip(b"\0"))
        if length < ATTRIBUTE.size:
            break
        offset += (length + 3) & ~3
    return index, ""


def split(received: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The messages of one receive: type, NLM_F_ flags, sequence number and payload."""
    offset = 0
    while offset + HEADER.size <= len(received):
        length, kind, flags, sequence, _port = HEADER.unpack_from(received, offset)
        if length < HEADER.size:
            return
        yield kind, flags, sequence, received[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def exchange(channel: socket.socket, request: bytes, most: int) -> list[bytes]:
    """The payloads of a request's answers, from a socket of any netlink protocol: up to the end of a dump, or up to the
    acknowledgement of any other request.

    :param most: the limit of all answers, in bytes.
    :raises OSError: the kernel's error, EMSGSIZE for more than ``most`` bytes, TimeoutError for no answer.
    """
    channel.send(request)
    payloads: list[bytes] = []
    left = most
    while left > 0:
        received = channel.recv(RECEIVE_BYTES)
        left -= len(received)
        for kind, _flags, _sequence, payload in split(received):
            if kind == _NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", payload)
                if code:
                    raise OSError(-code, os.strerror(-code))
            if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                return payloads
            payloads.append(payload)
    raise OSError(errno.EMSGSIZE, f"the kernel's answer has more than {most} bytes")


def _reason(flags: int, payload: bytes) -> str:
    """The kernel's text, if there is one (NLMSGERR_ATTR_MSG)."""
    if not flags & _NLM_F_ACK_TLVS:
        return ""
    (length,) = struct.unpack_from("=I", payload, 4)
    offset = 4 + (HEADER.size if flags & _NLM_F_CAPPED else (length + 3) & ~3)
    return attributes(payload, offset).get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")


def _chunks(encoded: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    start, size = 0, 0
    for number, data in enumerate(encoded):
        if size + len(data) > _SEND_BYTES or number - start == TOGETHER_MAX:
            yield start, list(encoded[start:number])
            start, size = number, 0
        size += len(data)
    if encoded:
        yield start, list(encoded[start:])
