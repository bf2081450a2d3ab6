"""Hundreds of guests in this process: each holds its tap open as a VMM does, and answers calls.

In each group one calls (a broadcast frame, up to 40 times a second while needed); each receiver answers only to the
caller. An answer that arrives has crossed both VIFs in one direction, and the call in the other.
"""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
import time
from collections.abc import Iterable
from typing import Self

from tests.support.network.relay import FRAME_BYTES, open_tap
from tests.support.world.fleet import Fleet, Member

_ETHERTYPE = 0x88B5  # for local experiments
_HEADER = struct.Struct("!6s6sHBII")
_CALL, _ANSWER = 1, 2
_EVERYBODY = b"\xff" * 6
_CALL_SECONDS, _CALL_SECONDS_A_GUEST = 0.025, 0.00025
"""The maximum rate: a call is flooded to all, and must not keep Open vSwitch from its work."""


def _address(member: Member) -> bytes:
    return bytes.fromhex(member.request.address.replace(":", ""))


class Guests:
    """The guests of a fleet, except those in separate machines; a context manager."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._taps: dict[int, tuple[int, Member]] = {}
        self._callers = {group: fleet.caller(group) for group in ("br-int", "vlan", "brq")}
        self._lock = threading.Lock()
        self._poll = select.epoll()
        self._round = 0
        self._pause = max(_CALL_SECONDS, _CALL_SECONDS_A_GUEST * len(fleet.members))
        self._calling = False
        self._heard: dict[int, float] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join()
        self.leave()
        self._poll.close()

    def arrive(self, members: Iterable[Member]) -> int:
        """Open the missing taps of those that have one; return the number of those without."""
        missing = 0
        present = {link["ifname"] for link in self._fleet.world.ip("link", "show")}
        there = {member.number for _fd, member in self._taps.values()}
        for member in members:
            if member.number in there:
                continue
            if member.request.tap not in present:
                missing += 1
                continue
            try:
                with self._fleet.world.namespace.entered():
                    fd = open_tap(member.request.tap)
            except OSError:  # EBUSY: it is being created
                missing += 1
                continue
            with self._lock:
                self._taps[fd] = (fd, member)
                self._poll.register(fd, select.EPOLLIN)
        return missing

    def leave(self) -> None:
        """End all guests, and close what they hold."""
        with self._lock:
            for fd in self._taps:
                os.close(fd)
            self._taps.clear()

    def call(self) -> None:
        """Call again and again; only answers to calls yet to come count."""
        with self._lock:
            self._round += 1
            self._heard.clear()
            self._calling = True

    def hush(self) -> None:
        """Stop calling."""
        self._calling = False

    def answered(self) -> dict[int, float]:
        """By number of the member: the time of its first answer; for a caller, of the first answer at all."""
        with self._lock:
            received = dict(self._heard)
        for group, caller in self._callers.items():
            times = [at for number, at in received.items() if self._fleet.members[number].group == group]
            if times:
                received[caller.number] = min(times)
        return received

    def _work(self) -> None:
        upcoming = time.monotonic()
        while not self._closing:
            now = time.monotonic()
            if now >= upcoming:
                upcoming = now + self._pause
                if self._calling:
                    self._call()
            for fd, _event in self._poll.poll(max(0.0, upcoming - time.monotonic())):
                with self._lock:
                    self._read(fd)

    def _call(self) -> None:
        with self._lock:
            for fd, member in self._taps.values():
                if self._callers[member.group].number == member.number:
                    self._send(fd, _EVERYBODY, member, _CALL, member.number)

    def _send(self, fd: int, to: bytes, member: Member, kind: int, number: int) -> None:
        frame = _HEADER.pack(to, _address(member), _ETHERTYPE, kind, self._round, number)
        with contextlib.suppress(OSError):  # its link is down, or deleted
            os.write(fd, frame.ljust(60, b"\0"))

    def _read(self, fd: int) -> None:
        if fd not in self._taps:
            return
        member = self._taps[fd][1]
        try:
            frame = os.read(fd, FRAME_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # Its tap was deleted, or is down: a guest continues with what it holds until it ends.
            time.sleep(0.001)
            return
        if len(frame) < _HEADER.size:
            return
        to, source, ethertype, kind, number_of_round, number = _HEADER.unpack_from(frame)
        if ethertype != _ETHERTYPE or number_of_round != self._round:
            return
        if kind == _CALL and number == self._callers[member.group].number:
            self._send(fd, source, member, _ANSWER, member.number)
        elif kind == _ANSWER and to == _address(member):
            self._heard.setdefault(number, time.monotonic())
