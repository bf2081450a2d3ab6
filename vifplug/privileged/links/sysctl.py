"""A link's IPv6 sysctls: read, compare, write. Keys come from a fixed list; no file is ever created."""

from __future__ import annotations

import errno
import os

from vifplug.errors import LinkError

KEYS = ("disable_ipv6", "accept_ra")
_VALUE_BYTES = 32


def write(link: str, key: str, value: int) -> None:
    """Set one of ``KEYS`` of a link.

    A link without IPv6 (a kernel without it, or an MTU below 1280) has no IPv6 keys; that counts as off.

    :raises LinkError: the kernel refuses.
    """
    path = f"/proc/sys/net/ipv6/conf/{link}/{key}"
    text = str(int(value)).encode()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        # One open in the usual case. If /proc/sys is mounted read-only, a correct value needs no write.
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) and _is(path, text):
            return
        raise _refused(link, key, value, error) from error
    try:
        if os.read(descriptor, _VALUE_BYTES).strip() != text:
            os.pwrite(descriptor, text, 0)
    except OSError as error:
        raise _refused(link, key, value, error) from error
    finally:
        os.close(descriptor)


def read_only() -> bool:
    """Whether these sysctls cannot be written here, because of how /proc/sys is mounted."""
    try:
        return bool(os.statvfs("/proc/sys/net").f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _is(path: str, text: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(_VALUE_BYTES).strip() == text
    except OSError:
        return False


def _refused(link: str, key: str, value: int, error: OSError) -> LinkError:
    reason = error.strerror
    if error.errno == errno.EROFS:
        reason = f"{reason}: /proc/sys is mounted read-only; mount it read-write for vifplug"
    return LinkError(f"could not set {key} of link {link!r} to {value}: {reason}", link)
