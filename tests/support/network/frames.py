"""Single Ethernet frames into and out of a path: a VMM's end of a tap, a host's end behind a veth, and no addresses.

Cheaper than a station: no namespace, no process. What counts is whether frames cross, in both directions, as broadcast
and as unicast, since a bridge port may flood one kind and drop the other.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.network.relay import IFF_NO_PI, IFF_TAP, TUNSETIFF
from tests.support.world.world import World

ETHERTYPE = 0x88B5
"""IEEE 802: local experiments."""
BROADCAST = "ff:ff:ff:ff:ff:ff"
TRIES, TRY_SECONDS = 6, 0.5
_FRAME_BYTES = 65535
_IFF_VNET_HDR, _VNET_HEADER = 0x4000, bytes(10)
_TUNSETVNETHDRSZ, _VIRTIO_1_HEADER_BYTES = 0x400454D8, 12
_numbers = itertools.count(1)


class GuestTap:
    """A VMM's descriptor of a tap: the persistent tap of that name, else one that is deleted with the descriptor."""

    def __init__(self, world: World, tap: str, address: str) -> None:
        self.tap, self.address = tap, address
        with world.namespace.entered():
            self._descriptor = _open_as_qemu(tap)
        self.is_open = True

    def send(self, frame: bytes) -> None:
        """A frame of the guest's."""
        with contextlib.suppress(OSError):  # the device is down or deleted: the frame is lost
            os.write(self._descriptor, _VNET_HEADER + frame)

    def receive(self, seconds: float) -> bytes | None:
        """The next frame to the guest."""
        return _read(self._descriptor, seconds, lambda: os.read(self._descriptor, _FRAME_BYTES)[len(_VNET_HEADER) :])

    def negotiate(self) -> None:
        """Give each frame the longer header of virtio 1.0, as QEMU does. The tap keeps it when the guest ends."""
        fcntl.ioctl(self._descriptor, _TUNSETVNETHDRSZ, struct.pack("i", _VIRTIO_1_HEADER_BYTES))

    def close(self) -> None:
        """The guest ends."""
        if self.is_open:
            self.is_open = False
            os.close(self._descriptor)


class HostEnd:
    """The far end of a veth pair whose near end is a port of a bridge."""

    def __init__(self, world: World, near: str, far: str) -> None:
        self.world, self.near, self.far = world, near, far
        world.ip("link", "add", near, "mtu", "1450", "type", "veth", "peer", "name", far, "mtu", "1450")
        with world.namespace.entered():
            for device in (near, far):
                Path(f"/proc/sys/net/ipv6/conf/{device}/disable_ipv6").write_text("1")
        for device in (near, far):
            world.ip("link", "set", device, "up")
        with world.namespace.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
            self._socket.bind((far, ETHERTYPE))
        (link,) = world.ip("link", "show", "dev", far)
        self.address = str(link["address"])

    def send(self, frame: bytes) -> None:
        """A frame of the host's."""
        with contextlib.suppress(OSError):
            self._socket.send(frame)

    def receive(self, seconds: float) -> bytes | None:
        """The next frame to the host."""
        return _read(self._socket.fileno(), seconds, lambda: self._socket.recv(_FRAME_BYTES))

    def close(self) -> None:
        """Close the socket; the pair is deleted with the world."""
        self._socket.close()


def _open_as_qemu(tap: str) -> int:
    """A descriptor with a virtio-net header before each frame, as QEMU opens it."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    flags = IFF_TAP | IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH14x", tap.encode(), flags))
    return descriptor


End = GuestTap | HostEnd


def _read(descriptor: int, seconds: float, read: Callable[[], bytes]) -> bytes | None:
    if not select.select([descriptor], [], [], max(seconds, 0))[0]:
        return None
    try:
        return read()
    except OSError:  # the device was deleted
        return None


def lost(guest: GuestTap, host: HostEnd) -> list[str]:
    """The kinds of frames that do not cross between a guest and a host; empty if all do."""
    ways: list[tuple[str, End, End, str]] = [
        ("broadcast from the guest", guest, host, BROADCAST),
        ("broadcast to the guest", host, guest, BROADCAST),
        ("unicast from the guest", guest, host, host.address),
        ("unicast to the guest", host, guest, guest.address),
    ]
    return [name for name, source, sink, target in ways if not _crosses(source, sink, target)]


def _crosses(source: End, sink: End, target: str) -> bool:
    return any(_one_crosses(source, sink, target) for _ in range(TRIES))


def _one_crosses(source: End, sink: End, target: str) -> bool:
    mark = f"vifplug {next(_numbers)}".encode()
    frame = _octets(target) + _octets(source.address) + ETHERTYPE.to_bytes(2, "big") + mark
    source.send(frame.ljust(60, b"\0"))
    deadline = time.monotonic() + TRY_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        received = sink.receive(left)
        if received is not None and received[14:].startswith(mark + b"\0"):
            return True
    return False


def _octets(address: str) -> bytes:
    return bytes.fromhex(address.replace(":", ""))
