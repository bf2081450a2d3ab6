"""Persistent taps: fully configured before they become persistent.

Until TUNSETPERSIST the kernel deletes a tap when its last descriptor closes, so a helper killed before that leaves
nothing behind; the mark and the sysctls are set by then.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import struct
from collections.abc import Iterator

from vifplug import naming
from vifplug.errors import Conflict, LinkError

_TUNSETIFF, _TUNSETPERSIST, _TUNSETOWNER, _TUNSETGROUP = 0x400454CA, 0x400454CB, 0x400454CC, 0x400454CE
_TUNGETVNETHDRSZ = 0x800454D7
_SIOCSIFHWADDR, _ARPHRD_ETHER = 0x8924, 1
_IFF_TAP, _IFF_MULTI_QUEUE, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 0x0002, 0x0100, 0x1000, 0x4000, 0x8000


@contextlib.contextmanager
def opened(name: str, multiqueue: bool, *, create: bool) -> Iterator[int]:
    """A descriptor of a tap: a new one that is not yet persistent, or an existing one.

    :raises Conflict: the name of a new one is taken.
    :raises LinkError: the kernel refuses.
    """
    try:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise LinkError(f"could not open /dev/net/tun for tap {name!r}: {error.strerror}", name) from error
    try:
        flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
        flags |= (_IFF_MULTI_QUEUE if multiqueue else 0) | (_IFF_TUN_EXCL if create else 0)
        try:
            fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", naming.encoded(name), flags))
        except OSError as error:
            if create and error.errno in (errno.EBUSY, errno.EEXIST, errno.EINVAL):
                raise Conflict(f"could not create tap {name!r}: the name is taken", name) from error
            raise LinkError(f"could not attach to tap {name!r}: {error.strerror}", name) from error
        yield descriptor
    finally:
        os.close(descriptor)


def header_bytes(descriptor: int) -> int:
    """The length of the virtio header before each frame of an open tap. The last VMM's stays: QEMU sets 12 for a guest
    with virtio 1.0, and 10 is the kernel's own."""
    (size,) = struct.unpack("i", fcntl.ioctl(descriptor, _TUNGETVNETHDRSZ, bytes(4)))
    return int(size)


def give(descriptor: int, name: str, uid: int | None, gid: int | None) -> None:
    """Let a user or group open the tap; with None only root may.

    :raises LinkError: the kernel refuses.
    """
    try:
        if uid is not None:
            fcntl.ioctl(descriptor, _TUNSETOWNER, _signed(uid))
        if gid is not None:
            fcntl.ioctl(descriptor, _TUNSETGROUP, _signed(gid))
    except OSError as error:
        raise LinkError(f"could not give tap {name!r} to {uid}:{gid}: {error.strerror}", name) from error


def _signed(number: int) -> int:
    """The C int of the same 32 bits, because Python's ioctl takes no larger one; directories assign ids above 2**31."""
    return number - 2**32 if number >= 2**31 else number


def set_address(descriptor: int, name: str, address: str) -> None:
    """Give a new tap its MAC, at once: until then udev treats the random one as a MAC that it may replace.

    :raises LinkError: the kernel refuses.
    """
    octets = bytes.fromhex(address.replace(":", ""))
    try:
        fcntl.ioctl(descriptor, _SIOCSIFHWADDR, struct.pack("16sH6s16x", name.encode(), _ARPHRD_ETHER, octets))
    except OSError as error:
        raise LinkError(f"could not give tap {name!r} the MAC {address}: {error.strerror}", name) from error


def keep(descriptor: int, name: str) -> None:
    """Keep the tap after its descriptor is closed.

    :raises LinkError: the kernel refuses.
    """
    try:
        fcntl.ioctl(descriptor, _TUNSETPERSIST, 1)
    except OSError as error:
        raise LinkError(f"could not make tap {name!r} persistent: {error.strerror}", name) from error
