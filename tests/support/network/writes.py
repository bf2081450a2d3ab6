"""Detects whether anything is written meanwhile: to links (the kernel notifies listeners) and OVSDB (its file
grows)."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.world.daemons import PATIENCE
from tests.support.world.world import World

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
# linux/rtnetlink.h: RTNLGRP_LINK, NEIGH (a bridge's members and MACs too), addresses, and the sysctls' (NETCONF).
_GROUPS = {"link": 1, "neigh": 3, "ipv4-ifaddr": 5, "ipv6-ifaddr": 9, "ipv4-netconf": 24, "ipv6-netconf": 25}
_HEADER = struct.Struct("=IHHII")
_QUIET_SECONDS, _QUIET_WITHIN_SECONDS = 0.3 * PATIENCE, 10.0 * PATIENCE


@dataclass
class Writes:
    """The writes in the block; complete when it has ended."""

    links: list[int] = field(default_factory=list)
    """The types of the kernel's messages."""
    transactions: int = 0
    """How many transactions the database's log gained."""
    next_cfg: int = 0
    """The increase of Open_vSwitch.next_cfg."""

    @property
    def none(self) -> bool:
        return not self.links and self.transactions == 0 and self.next_cfg == 0


@contextlib.contextmanager
def watched(world: World) -> Iterator[Writes]:
    """Count the writes of a block that begins after the kernel has reported all earlier changes.

    The kernel reports an IPv6 address when it is added, and again after duplicate address detection, perhaps two
    seconds later (RFC 4862, 5.4).
    """
    writes = Writes()
    with world.namespace.entered():
        monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    with monitor:
        monitor.bind((0, 0))  # an unbound one receives nothing
        for group in _GROUPS.values():
            monitor.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        deadline = time.monotonic() + _QUIET_WITHIN_SECONDS
        # Asked before the quiet time: the report that a detection has ended is then part of it.
        while _tentative(world) | bool(_heard(monitor, _QUIET_SECONDS)):
            assert time.monotonic() < deadline, "links change all the time: nothing can be told from that"
        transactions, next_cfg = _transactions(world), _next_cfg(world)
        yield writes
        writes.links = _heard(monitor, 0)
    writes.transactions = _transactions(world) - transactions
    writes.next_cfg = _next_cfg(world) - next_cfg


def _tentative(world: World) -> bool:
    return bool(world.ip("-6", "address", "show", "up", "tentative"))


def _heard(monitor: socket.socket, seconds: float) -> list[int]:
    kinds: list[int] = []
    while select.select([monitor], [], [], seconds)[0]:
        data = monitor.recv(1 << 18)
        offset = 0
        while offset < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            kinds.append(kind)
            offset += (length + 3) & ~3
    return kinds


def _transactions(world: World) -> int:
    log = world.run("ovsdb-tool", "show-log", str(world.directory / "conf.db")).stdout
    return sum(line.startswith("record ") for line in log.splitlines())


def _next_cfg(world: World) -> int:
    return int(world.rows("Open_vSwitch", "next_cfg")[0]["next_cfg"])
