"""Packets that really cross a path: ping, TCP with an integrity check, and the frames seen on a device."""

from __future__ import annotations

import contextlib
import os
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from tests.support.network.endpoints import Station
from tests.support.world.daemons import PATIENCE
from tests.support.world.world import World

IP_AND_ICMP_HEADER_BYTES = 28
ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4


def ping(station: Station, ip: str, size: int = 84, dont_fragment: bool = True, count: int = 3) -> bool:
    """Whether one of up to ``count`` pings is answered; ``size`` is that of the whole IP packet, which an MTU
    limits."""
    payload = str(size - IP_AND_ICMP_HEADER_BYTES)
    argv = ["ping", "-n", "-q", "-c", "1", "-W", f"{PATIENCE:g}", "-s", payload]
    argv += [*(["-M", "do"] if dont_fragment else []), ip]
    return any(station.run(*argv, check=False).returncode == 0 for _ in range(count))


def transfer(server: Station, client: Station, length: int = 1_000_000, seconds: float = 10) -> bool:
    """Whether ``length`` bytes cross by TCP from client to server within ``seconds`` and arrive unchanged."""
    payload = random.Random(length).randbytes(length)
    seconds *= PATIENCE
    deadline = time.monotonic() + seconds
    with server.entered():
        listener = socket.create_server((server.ip, 0))
    with client.entered():
        sender = socket.socket()
    with listener, sender:
        sender.settimeout(seconds)
        listener.settimeout(seconds)
        try:
            sender.connect(listener.getsockname())
            receiver, _ = listener.accept()
            thread = threading.Thread(target=_send, args=(sender, payload), daemon=True)
            thread.start()
            with receiver:
                received = _receive(receiver, deadline)
            thread.join(seconds)
        except TimeoutError:
            return False
    return received == payload


def _send(sender: socket.socket, payload: bytes) -> None:
    with contextlib.suppress(OSError):  # the receiver gave up, and prints that
        sender.sendall(payload)
        sender.shutdown(socket.SHUT_WR)


def _receive(receiver: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while True:
        receiver.settimeout(max(0.001, deadline - time.monotonic()))
        part = receiver.recv(1 << 16)
        if not part:
            return bytes(received)
        received += part


@dataclass(frozen=True)
class Frame:
    """One Ethernet frame as a device saw it; ``outgoing`` is sent by this host's stack through it."""

    device: str
    outgoing: bool
    data: bytes
    at: float = field(compare=False)

    @property
    def ethertype(self) -> int:
        """0x0800 is IPv4, 0x0806 ARP, 0x86DD IPv6."""
        return int.from_bytes(self.data[12:14])


class Sniffer:
    """Collects frames of the world's namespace, or of a station's, while it is open, of one device or of all.

    It may be opened before the device exists: frames are assigned by the device's name on arrival.
    """

    def __init__(
        self, world: World | Station, device: str | None = None, only: Callable[[Frame], bool] | None = None
    ) -> None:
        self.frames: list[Frame] = []
        self._device, self._only = device, only
        with world.namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self._socket.settimeout(0.02)
        self._closing = False
        self._thread = threading.Thread(target=self._collect, daemon=True)

    def _collect(self) -> None:
        while True:
            try:
                data, (device, _, kind, _, _) = self._socket.recvfrom(65535)
            except TimeoutError:
                if self._closing:
                    return
                continue
            frame = Frame(device, kind == PACKET_OUTGOING, data, time.monotonic())
            if self._device in (None, device) and (self._only is None or self._only(frame)):
                self.frames.append(frame)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join()
        self._socket.close()


def capture(world: World, device: str, seconds: float, only: Callable[[Frame], bool] | None = None) -> list[Frame]:
    """The frames that cross ``device`` in the next ``seconds``, both ways."""
    with Sniffer(world, device, only) as sniffer:
        time.sleep(seconds)
    return sniffer.frames


class Pinger:
    """Pings 100 times a second from a thread while it is open, and counts."""

    INTERVAL_SECONDS = 0.01
    LAST_WORD_SECONDS = 0.5

    def __init__(self, station: Station, ip: str) -> None:
        self.sent_at: list[float] = []
        self.answered: set[int] = set()
        self._identity = os.getpid() & 0xFFFF
        self._closing = threading.Event()
        with station.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        self._socket.connect((ip, 0))
        self._socket.setblocking(False)
        self._thread = threading.Thread(target=self._work, daemon=True)

    @property
    def sent(self) -> int:
        """The number of sent pings."""
        return len(self.sent_at)

    @property
    def lost(self) -> int:
        """The number of unanswered pings; exact when closed."""
        return self.sent - len(self.answered)

    @property
    def longest_gap(self) -> float:
        """The longest time in seconds in which no sent ping was answered; 0 if none was lost."""
        gap = longest = 0.0
        for number in range(1, self.sent):
            step = self.sent_at[number] - self.sent_at[number - 1]
            gap = 0.0 if number in self.answered else gap + step
            longest = max(longest, gap)
        return longest

    def _work(self) -> None:
        upcoming = time.monotonic()
        while not self._closing.is_set():
            self._send()
            upcoming += self.INTERVAL_SECONDS
            self._listen_until(upcoming)
        last_word = time.monotonic() + self.LAST_WORD_SECONDS
        while self.lost and time.monotonic() < last_word:
            self._listen_until(min(last_word, time.monotonic() + self.INTERVAL_SECONDS))

    def _send(self) -> None:
        number = len(self.sent_at)
        header = struct.pack("!BBHHH", 8, 0, 0, self._identity, number & 0xFFFF)
        checksum = sum(struct.unpack("!4H", header))
        checksum = ~((checksum >> 16) + (checksum & 0xFFFF)) & 0xFFFF
        self.sent_at.append(time.monotonic())
        with contextlib.suppress(OSError):  # no route, no neighbour: lost
            self._socket.send(header[:2] + checksum.to_bytes(2) + header[4:])

    def _listen_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            if not select.select([self._socket], [], [], left)[0]:
                return
            with contextlib.suppress(OSError):
                packet = self._socket.recv(2048)
                kind, _, _, identity, number = struct.unpack_from("!BBHHH", packet, (packet[0] & 0x0F) * 4)
                if kind == 0 and identity == self._identity:
                    self.answered.add(number)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()


@contextlib.contextmanager
def continuous_ping(station: Station, ip: str) -> Iterator[Pinger]:
    """A ``Pinger`` that has had its first answer when the block begins."""
    assert ping(station, ip), f"no answer from {ip} to begin with"
    with Pinger(station, ip) as pinger:
        yield pinger
