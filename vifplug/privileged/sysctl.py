"""A link's IPv6 sysctls: read, compare, write. Keys come from a fixed list; no file is ever created."""

from __future__ import annotations

import os

from vifplug.errors import LinkError

KEYS = ("disable_ipv6", "accept_ra")


def write(link: str, key: str, value: int) -> None:
    """Set one of ``KEYS`` of a link.

    A link without IPv6 (a kernel without it, or an MTU below 1280) has no IPv6 keys; that is as off as can be.

    :raises LinkError: when the kernel refuses.
    """
    path = f"/proc/sys/net/ipv6/conf/{link}/{key}"
    text = str(int(value)).encode()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LinkError(f"could not set {key} of link {link!r}: {error.strerror}", link) from error
    try:
        if os.read(descriptor, 32).strip() != text:
            os.pwrite(descriptor, text, 0)
    except OSError as error:
        raise LinkError(f"could not set {key} of link {link!r} to {value}: {error.strerror}", link) from error
    finally:
        os.close(descriptor)
