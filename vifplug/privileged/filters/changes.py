"""Changes of our tables by any program, as the kernel reports them (NFNLGRP_NFTABLES); only root may listen to them."""

from __future__ import annotations

import errno
import re
import socket
import threading
import time
from typing import Any

from vifplug import naming
from vifplug.netlink import nftables as nft
from vifplug.netlink import socket as netlink
from vifplug.privileged import arguments
from vifplug.privileged.filters import rules
from vifplug.privileged.helper.context import net
from vifplug.resources.nftables import filter as filters
from vifplug.resources.nftables.filter import TABLE

FOLLOW_SECONDS_MAX = 5.0

_GROUP = 1 << 6
"""NFNLGRP_NFTABLES is group 7."""
_SO_RCVBUFFORCE, _RECEIVE_BYTES = 33, 4 << 20
_OURS = nft.name(TABLE)
_OF_VIF = re.compile(
    rb"(?:%s|%s)(%s)" % (naming.ALIAS_PREFIX.encode(), filters.chain_of("").encode(), naming.UUID.pattern.encode())
)
"""A mark of an element, or the name of a VIF's chain."""
_lock = threading.Lock()
_watch: list[socket.socket] = []


@net.entrypoint
def changes(seconds: float) -> dict[str, Any]:
    """Changes of our tables since the last call; waits for at most 5 s for any.

    :returns: ``owners``, the VIFs that they are about; ``everything`` if they may be about any VIF, as at first.
    """
    with _lock:
        first = not _watch
        if first:
            _watch.append(_opened())
        deadline = time.monotonic() + arguments.seconds(seconds, FOLLOW_SECONDS_MAX)
        owners: set[str] = set()
        everything = first
        while True:
            left = 0.0 if everything or owners else deadline - time.monotonic()
            received = _received(_watch[0], max(0.0, left))
            if received is None:
                everything = True
            elif not received:
                if left <= 0:
                    return {"owners": sorted(owners), "everything": everything}
            else:
                more, of_all = _about(received)
                owners |= more
                everything |= of_all


def _opened() -> socket.socket:
    watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nft.NETLINK_NETFILTER)
    watch.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
    watch.bind((0, _GROUP))
    return watch


def _received(watch: socket.socket, seconds: float) -> bytes | None:
    """What the kernel has sent; nothing if it sends nothing in time, None if some was lost."""
    watch.settimeout(seconds)
    try:
        return watch.recv(netlink.RECEIVE_BYTES)
    except (BlockingIOError, TimeoutError):
        return b""
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            return None
        raise


def _about(received: bytes) -> tuple[set[str], bool]:
    """The VIFs that messages are about, and whether one may be about any VIF."""
    if _OURS not in received:
        return set(), False
    owners: set[str] = set()
    everything = False
    for _kind, _flags, _sequence, payload in netlink.split(received):
        if payload[:1] and payload[0] in rules.FAMILIES and _OURS in payload:
            named = {match.decode() for match in _OF_VIF.findall(payload)}
            owners |= named
            everything |= not named
    return owners, everything
