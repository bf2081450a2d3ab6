"""A stand-in for Nova's os-server-external-events: a real TCP server that answers as scripted, also with errors."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

Key = tuple[str, str]
"""A tag and an event's name."""


@dataclass
class Received:
    """A received request."""

    target: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)
    taken: list[Key] = field(default_factory=list)
    """The events that the sender could know to be accepted; written before the answer."""

    @property
    def events(self) -> list[dict[str, Any]]:
        found = json.loads(self.body)["events"]
        assert isinstance(found, list)
        return found

    @property
    def keys(self) -> list[Key]:
        return [(event["tag"], event["name"]) for event in self.events]


Behaviour = Callable[[socket.socket, Received], None]
"""Answers a request."""


def _head(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Whatever", *headers, "", ""]).encode()


def whole(status: int, body: bytes, *headers: str) -> bytes:
    return _head(status, "Content-Type: application/json", f"Content-Length: {len(body)}", *headers) + body


def ok(peer: socket.socket, request: Received) -> None:
    request.taken += request.keys
    peer.sendall(whole(200, json.dumps({"events": [event | {"code": 200} for event in request.events]}).encode()))


def per_event(code: Callable[[dict[str, Any]], object]) -> Behaviour:
    """207, with a code for each event; those with 200 are accepted."""

    def behave(peer: socket.socket, request: Received) -> None:
        codes = [code(event) for event in request.events]
        failed = {"status": "failed"}
        echo = [
            event | ({} if output == 200 else failed) | {"code": output}
            for event, output in zip(request.events, codes, strict=True)
        ]
        request.taken += [key for key, output in zip(request.keys, codes, strict=True) if output == 200]
        peer.sendall(whole(207, json.dumps({"events": echo}).encode()))

    return behave


def answering(status: int, body: bytes = b"", *headers: str) -> Behaviour:
    """The same answer to every request; a 200 accepts everything."""

    def behave(peer: socket.socket, request: Received) -> None:
        request.taken += request.keys if status == 200 else []
        peer.sendall(whole(status, body, *headers))

    return behave


def sending(data: bytes, *, takes: bool = False, then: float = 0.0) -> Behaviour:
    """These bytes, then silence for that many seconds, then the end."""

    def behave(peer: socket.socket, request: Received) -> None:
        request.taken += request.keys if takes else []
        peer.sendall(data)
        time.sleep(then)

    return behave


def trickling(data: bytes, pause: float, *, takes: bool = False) -> Behaviour:
    """A byte at a time, while the client is connected."""

    def behave(peer: socket.socket, request: Received) -> None:
        request.taken += request.keys if takes else []
        for byte in data:
            peer.sendall(bytes([byte]))
            time.sleep(pause)

    return behave


def hanging_up(peer: socket.socket, request: Received) -> None:
    """No answer."""


class Endpoint:
    """Listens on loopback until the block ends; every connection has a thread.

    ``script`` has the answers of the next requests, one each; after it, ``behaviour`` applies.
    """

    def __init__(self, behaviour: Behaviour = ok, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = behaviour
        self.script: list[Behaviour] = []
        self.received: list[Received] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._peers: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/v2.1/os-server-external-events"

    @property
    def taken(self) -> list[Key]:
        """Every accepted event, as often as it was accepted."""
        return [key for request in self.received for key in request.taken]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Refuse connections, and cut existing ones."""
        for each in (self._listener, *self._peers.copy()):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _address = self._listener.accept()
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        self._peers.add(peer)
        # In half of the tests the sender hangs up.
        with peer, contextlib.suppress(OSError):
            talk = peer if self._tls is None else self._tls.wrap_socket(peer, server_side=True)
            with talk:
                request = read(talk)
                self.received.append(request)
                behaviour = self.script.pop(0) if self.script else self.behaviour
                behaviour(talk, request)
        self._peers.discard(peer)


def read(peer: socket.socket) -> Received:
    """One request; OSError if there is none."""
    with peer.makefile("rb") as stream:
        first = stream.readline().decode()
        if not first:
            raise ConnectionResetError
        headers = dict(_headers(iter(stream.readline, b"\r\n")))
        method, target, _version = first.split()
        assert method == "POST", first
        return Received(target, headers, stream.read(int(headers["Content-Length"])))


def _headers(lines: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        yield name, value.strip()
