"""Reads rows of OVSDB (RFC 7047) with a connection per request, without logging and without a thread."""

from __future__ import annotations

import codecs
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

_SCHEMA = "Open_vSwitch"
_CHUNK = 65536
_ANSWER_MAX = 2**20
"""Bytes; the rows of one VIF are a few hundred."""


class Database:
    """An OVSDB server.

    :param connection: ``unix:PATH`` or ``tcp:HOST:PORT``, or several separated by commas; the first that answers is
        used.
    :param seconds: timeout of a request.
    """

    def __init__(self, connection: str, seconds: float) -> None:
        self._addresses, self._seconds = connection.split(","), seconds

    def select(self, table: str, columns: list[str], condition: list[Any]) -> list[dict[str, Any]]:
        """The matching rows.

        :raises OSError: when no server answers in time.
        :raises ValueError: for an invalid address or answer.
        """
        operation = {"op": "select", "table": table, "where": [condition], "columns": columns}
        request = {"method": "transact", "params": [_SCHEMA, operation], "id": 0}
        with self._connected() as peer:
            peer.sendall(json.dumps(request).encode())
            answer = _answer(peer, time.monotonic() + self._seconds)
        try:
            rows: list[dict[str, Any]] = answer["result"][0]["rows"]
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"OVSDB answers {json.dumps(answer):.200}") from error
        return rows

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        errors: list[OSError] = []
        for address in self._addresses:
            try:
                peer = _open(address.strip(), self._seconds)
            except OSError as error:
                errors.append(OSError(error.errno, f"{address.strip()}: {error.strerror or error}"))
                continue
            with peer:
                yield peer
            return
        raise errors[-1]


def _open(address: str, seconds: float) -> socket.socket:
    scheme, _, place = address.partition(":")
    if scheme == "unix" and place:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            peer.settimeout(seconds)
            peer.connect(place)
        except OSError:
            peer.close()
            raise
        return peer
    host, _, port = place.rpartition(":")
    if scheme == "tcp" and host and port.isdigit():
        return socket.create_connection((host.strip("[]"), int(port)), timeout=seconds)
    raise ValueError(f"[os_vif_ovs] ovsdb_connection {address!r} is not a unix: or tcp: address")


def _answer(peer: socket.socket, deadline: float) -> dict[str, Any]:
    """The first message with our id; the server may send echo requests before it."""
    decoder, text = json.JSONDecoder(), ""
    characters = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        peer.settimeout(max(0.001, deadline - time.monotonic()))
        data = peer.recv(_CHUNK)
        if not data:
            raise ConnectionResetError("OVSDB closed the connection before it answered")
        text += characters.decode(data)
        while text:
            try:
                message, end = decoder.raw_decode(text)
            except ValueError:
                break  # incomplete
            text = text[end:].lstrip()
            if isinstance(message, dict) and message.get("id") == 0 and "result" in message:
                return message
        if len(text) > _ANSWER_MAX:
            raise ValueError("OVSDB's answer is too long")
