"""Sends frames into a VIF until one of them comes out of another port of its bridge: a process of its own, so that it
takes no contestant's time.

Reads a JSON object per line (``device``, ``address``, ``kind``), answers ``"armed"`` at once, and then the time of the
first frame by the monotonic clock, which all processes share; null if none came. Argument: the tap that is the other
port.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x2, 0x1000
_PAUSE_SECONDS = 0.0001
_SECONDS = 10.0
_ETHERTYPE = b"\x88\xb5"
"""IEEE's local experimental ethertype: nothing answers it."""
SINK_ADDRESS = "fa:16:3e:ff:ff:01"
_NOT_YET = (
    None,
    errno.ENODEV,
    errno.ENXIO,
    errno.ENETDOWN,
    errno.EIO,
    errno.EBUSY,
    errno.EBADFD,
    errno.EINVAL,
    errno.ENOBUFS,
)


def _tap(name: str) -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH14x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _opened(kind: str, device: str) -> tuple[Callable[[bytes], Any], Callable[[], Any]]:
    """How frames get into a VIF: what a guest writes to its tap, or what its Linux bridge sends to the veth."""
    if kind == "ovs":
        socket.if_nametoindex(device)  # opening a tap that is not there would make it
        tap = _tap(device)
        return lambda frame: os.write(tap, frame), lambda: os.close(tap)
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    try:
        packets.bind((device, 0))
    except OSError:
        packets.close()
        raise
    return packets.send, packets.close


def _drained(sink: int) -> list[bytes]:
    frames = []
    while True:
        try:
            frames.append(os.read(sink, 2048))
        except BlockingIOError:
            return frames


def _first(sink: int, kind: str, device: str, address: str) -> float | None:
    source = bytes.fromhex(address.replace(":", ""))
    frame = bytes.fromhex(SINK_ADDRESS.replace(":", "")) + source + _ETHERTYPE + bytes(46)
    deadline = time.monotonic() + _SECONDS
    send = close = None
    try:
        while time.monotonic() < deadline:
            try:
                if send is None:
                    send, close = _opened(kind, device)
                send(frame)
            except OSError as error:
                if error.errno not in _NOT_YET:
                    raise
            if any(received[6:14] == source + _ETHERTYPE for received in _drained(sink)):
                return time.monotonic()
            time.sleep(_PAUSE_SECONDS)
        return None
    finally:
        if close is not None:
            close()


def main() -> None:
    """Serve."""
    sink = _tap(sys.argv[1])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        _drained(sink)
        print(json.dumps("armed"), flush=True)
        print(json.dumps(_first(sink, asked["kind"], asked["device"], asked["address"])), flush=True)


if __name__ == "__main__":
    main()
