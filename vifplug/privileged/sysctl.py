"""Per-link sysctls: read, compare, write. Keys come from a fixed list; no file is ever created."""

from __future__ import annotations

import os

from vifplug.errors import LinkError

_FAMILY = {"disable_ipv6": "ipv6", "accept_ra": "ipv6", "arp_ignore": "ipv4", "arp_announce": "ipv4"}


def write(link: str, key: str, value: int) -> None:
    """Set one of the known keys of a link.

    A link without IPv6 (a kernel without it, or an MTU below 1280) has no IPv6 keys; that is as off as can be.

    :raises LinkError: when the kernel refuses.
    """
    path = f"/proc/sys/net/{_FAMILY[key]}/conf/{link}/{key}"
    text = str(int(value)).encode()
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if _FAMILY[key] == "ipv6":
            return
        raise LinkError(f"could not set {key} of link {link!r}: the link is gone", link) from error
    except OSError as error:
        raise LinkError(f"could not set {key} of link {link!r}: {error.strerror}", link) from error
    try:
        if os.read(descriptor, 32).strip() != text:
            os.pwrite(descriptor, text, 0)
    except OSError as error:
        raise LinkError(f"could not set {key} of link {link!r} to {value}: {error.strerror}", link) from error
    finally:
        os.close(descriptor)
