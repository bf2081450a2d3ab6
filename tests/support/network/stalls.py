"""Times in which the kernel blocked every access to links: other work held its one lock for all namespaces.

Deleting a few thousand links, as at the end of another test's namespace, holds it for seconds. The userspace datapath
of ovs-vswitchd then waits with all its ports. Frames lost meanwhile are not vifplug's fault.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator

from tests.support.network.traffic import Pinger
from tests.support.world.world import World

_INTERVAL_SECONDS, _STALL_SECONDS = 0.02, 0.2
_AFTERWARDS_SECONDS = 0.2
"""The time vswitchd needs for what has piled up."""
_RTM_NEWLINK, _REQUEST_ACK, _IFF_UP, _LOOPBACK = 16, 0x05, 1, 1
# A header, and an ifinfomsg that sets "lo" to its present values: a write that waits for the lock and changes nothing.
_NOTHING = struct.pack("=IHHIIBxHiII", 32, _RTM_NEWLINK, _REQUEST_ACK, 1, 0, socket.AF_UNSPEC, 0, _LOOPBACK, 1, _IFF_UP)


class Stalls:
    """Start and end of each, by the monotonic clock."""

    def __init__(self, world: World) -> None:
        self.times: list[tuple[float, float]] = []
        with world.namespace.entered():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._closing.wait(_INTERVAL_SECONDS):
            began = time.monotonic()
            self._socket.sendto(_NOTHING, (0, 0))
            self._socket.recv(4096)
            if (ended := time.monotonic()) - began > _STALL_SECONDS:
                self.times.append((began - _INTERVAL_SECONDS, ended + _AFTERWARDS_SECONDS))

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()

    def lost_otherwise(self, pinger: Pinger) -> list[float]:
        """The times of pings that were not answered and that no stall explains; valid once both are closed."""
        lost = [moment for number, moment in enumerate(pinger.sent_at) if number not in pinger.answered]
        return [moment for moment in lost if not any(began <= moment <= ended for began, ended in self.times)]


@contextlib.contextmanager
def watched_for_stalls(world: World) -> Iterator[Stalls]:
    """Stalls of the block."""
    stalls = Stalls(world)
    stalls._thread.start()
    try:
        yield stalls
    finally:
        stalls.close()
