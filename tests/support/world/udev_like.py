"""A process that treats new taps like udev: it reads each when it appears, and writes a generated MAC a moment later.

udev writes if the MAC was still random when it was read; a write after vifplug's is the worst case, in one of ten plugs
on a busy host. Here it happens in every plug.

``python -m tests.support.world.udev_like SEED`` runs in its own network namespace until it is ended.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator

from tests.support.world.world import REPOSITORY, World

DELAY_SECONDS = 0.005
_RTMGRP_LINK, _RTM_NEWLINK, _RTM_SETLINK = 1, 16, 19
_IFLA_ADDRESS, _IFLA_LINKINFO = 1, 18
_UEVENTS, _FROM_KERNEL = 15, 1
_HEADER, _IFINFO, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=HH")
_REQUEST = 1


@contextlib.contextmanager
def udev_like(world: World, seed: int = 1) -> Iterator[None]:
    """Run it beside a block in the world's namespace."""
    with world.namespace.entered():
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.world.udev_like", str(seed)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
        )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield
        assert process.poll() is None, "it has ended by itself"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _attributes(payload: bytes, offset: int) -> dict[int, bytes]:
    found = {}
    while offset + _ATTRIBUTE.size <= len(payload):
        length, kind = _ATTRIBUTE.unpack_from(payload, offset)
        found[kind] = payload[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def _write(index: int, address: bytes) -> None:
    body = _IFINFO.pack(0, 0, index, 0, 0) + _ATTRIBUTE.pack(10, _IFLA_ADDRESS) + address + bytes(2)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as channel:
        channel.send(_HEADER.pack(_HEADER.size + len(body), _RTM_SETLINK, _REQUEST, 1, 0) + body)


def _main(seed: int) -> None:
    chance = random.Random(seed)
    with contextlib.suppress(OSError):  # its delay must be the one below, not that of a busy machine
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    seen: set[int] = set()
    due: list[tuple[float, int]] = []
    with (
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _UEVENTS) as uevents,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as monitor,
    ):
        # This socket identifies udev. It is not read: the kernel's link messages contain more about a device.
        uevents.bind((0, _FROM_KERNEL))
        monitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        monitor.bind((0, _RTMGRP_LINK))
        print("listening", flush=True)
        while True:
            patience = max(0.0, due[0][0] - time.monotonic()) if due else None
            if select.select([monitor], [], [], patience)[0]:
                for index in _new_taps(monitor.recv(1 << 16), seen):
                    heapq.heappush(due, (time.monotonic() + chance.uniform(0, DELAY_SECONDS), index))
            while due and due[0][0] <= time.monotonic():
                _write(heapq.heappop(due)[1], bytes([0x02, *chance.randbytes(5)]))


def _new_taps(data: bytes, seen: set[int]) -> Iterator[int]:
    offset = 0
    while offset < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        payload = data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3
        if kind != _RTM_NEWLINK or (index := _IFINFO.unpack_from(payload)[2]) in seen:
            continue
        seen.add(index)
        if b"tun\0" in _attributes(payload, _IFINFO.size).get(_IFLA_LINKINFO, b""):
            yield index


if __name__ == "__main__":
    _main(int(sys.argv[1]))
