"""A stand-in for a virtual machine's NIC: copies frames between a tap on the host and one inside a "guest" namespace.

It runs as a separate program, so that no other process has its file descriptors: ``python -m
tests.support.network.relay``. It opens the host's tap in the namespace of its start, as a VMM does, then moves into the
guest's namespace and makes the guest's.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import select
import struct

from tests.support.world.namespaces import Namespace

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x0100
FRAME_BYTES = 65535


def open_tap(name: str, multi_queue: bool = False) -> int:
    """Attach to the tap of that name, or make one that exists as long as the descriptor."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    flags = IFF_TAP | IFF_NO_PI | (IFF_MULTI_QUEUE if multi_queue else 0)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH14x", name.encode(), flags))
    return fd


def copy_frames(host: int, guest: int) -> None:
    """Copy frames both ways until killed."""
    other = {host: guest, guest: host}
    poller = select.poll()
    for fd in other:
        poller.register(fd, select.POLLIN)
    while True:
        for fd, _ in poller.poll():
            try:
                frame = os.read(fd, FRAME_BYTES)
                os.write(other[fd], frame)
            except OSError:
                # EIO: that side is down, as with an unplugged cable; EAGAIN: another reader took the frame.
                continue


def main() -> None:
    """Open both taps, report that, and relay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tap", help="the host's tap")
    parser.add_argument("guest", help="the guest's device, made here")
    parser.add_argument("namespace", help="the guest's namespace, as a path")
    parser.add_argument("--multi-queue", action="store_true")
    arguments = parser.parse_args()
    host = open_tap(arguments.tap, arguments.multi_queue)
    Namespace(os.open(arguments.namespace, os.O_RDONLY)).enter()
    guest = open_tap(arguments.guest)
    print("ready", flush=True)
    copy_frames(host, guest)


if __name__ == "__main__":
    main()
