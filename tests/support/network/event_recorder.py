"""Records which links and rows are written meanwhile: from the kernel's own notifications, and the database's own
log."""

from __future__ import annotations

import collections
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any, Self

from tests.support.world.world import World

_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_SO_RCVBUFFORCE = 33
# linux/rtnetlink.h: RTNLGRP_LINK, addresses, and the sysctls' (NETCONF). Learnt bridge entries are not writes.
_GROUPS = (1, 5, 9, 24, 25)
_HEADER, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=HH")
_LINK_KINDS = {16, 17}
_ADDRESS_KINDS = {20, 21}
_IFNAME = 3
_QUIET_SECONDS, _QUIET_WITHIN_SECONDS = 1.1, 10.0
"""The kernel reports a carrier up to a second late (linkwatch): earlier changes must not be counted now."""
_BY_VSWITCHD = {"ofport", "error"}
"""Columns that are kept and that ovs-vswitchd writes (vswitch.ovsschema); all others of its own are ephemeral."""


class EventRecorder:
    """Listens while it is open.

    ``links`` are notifications by device; ``lost`` means that the kernel had to drop some.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.links: collections.Counter[str] = collections.Counter()
        self.lost = False
        with world.namespace.entered():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 26)
        self._socket.bind((0, 0))
        for group in _GROUPS:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
        self._socket.settimeout(0.05)
        self._names = {link["ifindex"]: link["ifname"] for link in world.ip("link", "show")}
        self._closing = False
        self._since = self._heard_at = 0.0
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        """Start after the kernel has reported all earlier changes."""
        self._heard_at = time.monotonic()
        deadline = self._heard_at + _QUIET_WITHIN_SECONDS
        self._thread.start()
        while time.monotonic() < self._heard_at + _QUIET_SECONDS:
            assert time.monotonic() < deadline, f"links change all the time: {self.links}"
            time.sleep(0.05)
        self.links.clear()
        self._since = time.time()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except TimeoutError:
                if self._closing:
                    return
                continue
            except OSError:
                self.lost = True
                continue
            for kind, body in _messages(data):
                self._note(kind, body)

    def _note(self, kind: int, body: bytes) -> None:
        self._heard_at = time.monotonic()
        if kind in _LINK_KINDS:
            (index,) = struct.unpack_from("=i", body, 4)
            self._names[index] = _name(body) or self._names.get(index, "")
        elif kind in _ADDRESS_KINDS:
            (index,) = struct.unpack_from("=I", body, 4)
        else:
            index = next((struct.unpack("=i", value)[0] for type_, value in _attributes(body, 4) if type_ == 1), 0)
        self.links[f"{self._names.get(index, '')} ({kind})"] += 1

    def writes_to(self, devices: Collection[str]) -> list[str]:
        """The writes to some devices and to the ports on them, by any program except ovs-vswitchd."""
        assert not self.lost, "the kernel could not keep all notifications: nothing can be told"
        found = [
            f"link {reported} x {count}" for reported, count in self.links.items() if reported.split()[0] in devices
        ]
        return found + self.rows_of(devices)

    def rows_of(self, devices: Collection[str]) -> list[str]:
        """The writes to the Port and Interface rows of these names, from the database's log."""
        named: dict[str, str] = {}
        found: list[str] = []
        for record in _log(self._world):
            recent = record.get("_date", 0) >= self._since * 1000
            for table in ("Port", "Interface"):
                for uuid, columns in record.get(table, {}).items():
                    if columns and "name" in columns:
                        named[uuid] = columns["name"]
                    changed = sorted(set(columns) - _BY_VSWITCHD) if columns else ["deleted"]
                    if recent and changed and named.get(uuid) in devices:
                        found.append(f"{table} {named[uuid]} {changed} {record.get('_comment', '')}")
        return found


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, offset)
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(body: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    while offset + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, body[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def _name(body: bytes) -> str:
    return next((value.rstrip(b"\0").decode() for kind, value in _attributes(body, 16) if kind == _IFNAME), "")


def _log(world: World) -> Iterator[dict[str, Any]]:
    """The transactions of the database's file: each is a line of JSON after a line with its length."""
    for line in (world.directory / "conf.db").read_bytes().splitlines():
        if line.startswith(b"{"):
            with contextlib.suppress(json.JSONDecodeError):  # the last one is incomplete
                yield json.loads(line)
