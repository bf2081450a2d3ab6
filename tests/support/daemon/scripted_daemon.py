"""A daemon of a few lines on a real Unix socket: it answers /healthz itself, and everything else by a script."""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

HEALTH = {"status": "ok"}


@dataclass(frozen=True)
class Asked:
    """A received request."""

    method: str
    target: str
    document: Any
    connection: int


Turn = bytes | Callable[["Conversation"], bytes]
"""The parts of an answer to a request; empty means to hang up."""


def answer(document: Any, status: int = 200, kind: str = "application/json") -> bytes:
    """A whole answer."""
    return text(json.dumps(document).encode(), status, kind)


def text(body: bytes, status: int = 200, kind: str = "text/plain") -> bytes:
    """A whole answer that need not be JSON."""
    head = f"HTTP/1.1 {status} Whatever\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def streamed(*parts: bytes, ended: bool = True) -> bytes:
    """The beginning of an answer that comes in parts, such as server-sent events; or all of it."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(map(chunk, parts)) + (b"0\r\n\r\n" if ended else b"")


def chunk(part: bytes) -> bytes:
    """A part of such an answer."""
    return b"%x\r\n%s\r\n" % (len(part), part)


def problem(
    type: str, message: str, *, status: int = 400, subject: str | None = None, step: str | None = None
) -> bytes:
    """A problem document in the daemon's form."""
    error = {"type": type, "message": message, "step": step, "subject": subject, "retryable": False}
    document = {"type": f"urn:vifplug:error:{type}", "title": "no", "status": status, "detail": message, "error": error}
    return answer(document, status, "application/problem+json")


class Conversation(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        script = cast(_Server, self.server).script
        number = script.begin()
        while line := self.rfile.readline():
            method, target, _ = line.decode().split()
            headers = dict(self._headers())
            if target == "/healthz" and script.is_well:
                self.wfile.write(answer(HEALTH))
                continue
            turn = script.turn()
            if not script.reads_bodies:
                self.wfile.write(turn if isinstance(turn, bytes) else turn(self))
                return
            body = self.rfile.read(int(headers.get("content-length", 0)))
            script.asked.append(Asked(method, target, json.loads(body) if body else None, number))
            output = turn if isinstance(turn, bytes) else turn(self)
            if not output:
                return
            self.wfile.write(output)
            if script.hangs_up:
                return

    def _headers(self) -> Iterator[tuple[str, str]]:
        while line := self.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            yield name.lower(), value.strip()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, path: str, script: Script) -> None:
        super().__init__(path, Conversation)
        self.script = script
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def hang_up(self) -> None:
        """End every connection, as a killed daemon does."""
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that disconnects is part of the script."""


@dataclass
class Script:
    """The daemon's answers, in order (the last one repeatedly), and its received requests."""

    path: str
    turns: list[Turn] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    is_well: bool = True
    """Whether it answers /healthz by itself."""
    reads_bodies: bool = True
    hangs_up: bool = False
    """Whether it closes each connection after an answer, without announcing it."""
    connections: int = 0
    hang_up: Callable[[], None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> int:
        with self._lock:
            self.connections += 1
            return self.connections

    def turn(self) -> Turn:
        with self._lock:
            return self.turns.pop(0) if len(self.turns) > 1 else self.turns[0]


@contextlib.contextmanager
def served(path: str, *turns: Turn) -> Iterator[Script]:
    """The daemon at ``path``, with its script."""
    script = Script(path, list(turns))
    with _Server(path, script) as server:
        script.hang_up = server.hang_up
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.hang_up()
            server.shutdown()
            thread.join()
