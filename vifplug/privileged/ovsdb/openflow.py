"""The OpenFlow configuration of ports (``ovs-ofctl mod-port``): no database has it, so it is read from a bridge's
management socket, by OpenFlow 1.0. A port with one of these flags stops frames although its rows look correct."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Sequence

from vifplug.errors import OvsdbError

_SECONDS = 1.0
"""vswitchd answers within a few ms, unless it is processing its ports, or hangs."""
_VERSION = 1
_HELLO, _ERROR, _PORT_MOD, _STATS_REQUEST, _STATS_REPLY, _BARRIER, _BARRIER_DONE = 0, 1, 15, 16, 17, 18, 19
_PORT_DESC, _MORE = 13, 1
_HEADER = struct.Struct("!BBHI")
_STATS = struct.Struct("!HH")
_PORT = struct.Struct("!H6s16sII16x")
"""struct ofp10_phy_port: number, MAC, name, config, state."""
_MOD = struct.Struct("!H6sIII4x")
_AGGREGATE, _AGGREGATED = 2, struct.Struct("!QQI")
"""OFPST_AGGREGATE, and the beginning of struct ofp10_aggregate_stats_reply: frames, bytes, flows."""
_EVERY_FLOW = struct.pack("!I36xBxH", (1 << 22) - 1, 0xFF, 0xFFFF)
"""struct ofp10_flow_stats_request: a match of OFPFW10_ALL, every table, OFPP_NONE."""
FLAGS = {1 << 2: "no-receive", 1 << 4: "no-flood", 1 << 5: "no-forward", 1 << 6: "no-packet-in"}
"""OFPPC10_... of openflow-1.0.h, as ovs-ofctl names them."""


def socket_path(remotes: Sequence[str], bridge: str) -> str | None:
    """The management socket of a bridge, next to OVSDB's; None if OVSDB is not on a local Unix socket."""
    places = (os.path.dirname(remote[5:]) for remote in remotes if remote.startswith("unix:"))
    paths = (os.path.join(place, f"{bridge}.mgmt") for place in places)
    return next((path for path in paths if os.path.exists(path)), None)


def flow_count(path: str) -> int:
    """The number of flows in all tables of a bridge, without those that vswitchd hides.

    :raises OSError: there is no answer in time.
    """
    with _Connection(path) as switch:
        switch.send(_STATS_REQUEST, _STATS.pack(_AGGREGATE, 0) + _EVERY_FLOW)
        body = switch.answer(_STATS_REPLY)
    _packets, _bytes, flows = _AGGREGATED.unpack_from(body, _STATS.size)
    return int(flows)


class Question:
    """The ports of a bridge, asked for in advance: vswitchd takes as long to answer as OVSDB does.

    :raises OSError: it cannot be asked.
    """

    def __init__(self, path: str) -> None:
        self._switch = _Connection(path)
        try:
            self._switch.ask_for_ports()
        except OSError:
            self._switch.close()
            raise

    def flags(self) -> dict[str, str]:
        """Ports with flags that stop frames, and those flags as text.

        :raises OSError: there is no answer in time.
        """
        ports = {
            name: [flag for bit, flag in FLAGS.items() if config & bit]
            for name, _number, _address, config in self._switch.ports_asked_for()
        }
        return {name: ", ".join(names) for name, names in ports.items() if names}

    def close(self) -> None:
        """End the connection."""
        self._switch.close()


def clear(path: str, name: str) -> None:
    """Remove these flags from a port.

    :raises OvsdbError: vswitchd does not.
    """
    try:
        with _Connection(path) as switch:
            switch.ask_for_ports()
            for port, number, address, _config in switch.ports_asked_for():
                if port == name:
                    switch.send(_PORT_MOD, _MOD.pack(number, address, 0, sum(FLAGS), 0))
                    switch.send(_BARRIER)
                    switch.answer(_BARRIER_DONE)
    except OSError as error:
        raise OvsdbError(f"could not reset the OpenFlow configuration of port {name!r}: {error}", name) from error


class _Connection:
    """One connection to a bridge."""

    def __init__(self, path: str) -> None:
        self._until = time.monotonic() + _SECONDS
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._received = b""
        # Goes out with the first request: the bridge's own is not waited for, so that vswitchd wakes up once only.
        self._unsent = _HEADER.pack(_VERSION, _HELLO, _HEADER.size, 1)
        try:
            self._socket.settimeout(_SECONDS)
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_about: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def send(self, kind: int, body: bytes = b"") -> None:
        """Send a message."""
        self._socket.sendall(self._unsent + _HEADER.pack(_VERSION, kind, _HEADER.size + len(body), 1) + body)
        self._unsent = b""

    def answer(self, wanted: int) -> bytes:
        """The next message of a type; others are skipped.

        :raises OSError: the switch's error, or no such message in time.
        """
        while True:
            _version, kind, length, _number = _HEADER.unpack(self._bytes(_HEADER.size))
            body = self._bytes(length - _HEADER.size)
            if kind == wanted:
                return body
            if kind == _ERROR:
                raise OSError("the bridge refused an OpenFlow 1.0 message")

    def ask_for_ports(self) -> None:
        """Send the request that ``ports_asked_for`` has the answer to."""
        self.send(_STATS_REQUEST, _STATS.pack(_PORT_DESC, 0))

    def ports_asked_for(self) -> list[tuple[str, int, bytes, int]]:
        """Name, number, MAC and configuration of every port."""
        ports: list[tuple[str, int, bytes, int]] = []
        more = True
        while more:
            body = self.answer(_STATS_REPLY)
            _kind, more_flags = _STATS.unpack_from(body)
            more = bool(more_flags & _MORE)
            for offset in range(_STATS.size, len(body) - _PORT.size + 1, _PORT.size):
                number, address, name, config, _state = _PORT.unpack_from(body, offset)
                ports.append((name.rstrip(b"\0").decode(errors="surrogateescape"), number, address, config))
        return ports

    def _bytes(self, count: int) -> bytes:
        while len(self._received) < count:
            self._socket.settimeout(max(self._until - time.monotonic(), 0.001))
            received = self._socket.recv(1 << 16)
            if not received:
                raise OSError("the bridge closed the connection; does it allow OpenFlow 1.0?")
            self._received += received
        taken, self._received = self._received[:count], self._received[count:]
        return taken
