"""HTTP over the daemon's Unix socket: sends a request, and returns a JSON object or raises a typed error.

Nothing heavy is imported here: a command that uses the daemon starts without netlink, OVSDB, or a model.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import selectors
import socket
import struct
import time
import weakref
from dataclasses import dataclass, replace
from typing import Any

from vifplug import errors
from vifplug.api import http_errors, refusals
from vifplug.api.http_stream import Stream

LOG = logging.getLogger(__name__)

_CONNECT_SECONDS = 2
HEALTH_SECONDS = 10.0
"""Time limit of the answer to /healthz, which waits for nothing: enough for a daemon's start."""
IDLE_SECONDS = 2.0
"""How long a connection is kept for the next request; the daemon closes one that was idle for 5 s."""
ANSWER_MAX = 64 * 2**20
"""Bytes; 10,000 VIFs need 10 million. The limit is for another program on the socket, not for a daemon."""
STREAM_TYPE = "text/event-stream"
_REQUEST_ID = "X-Request-Id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request to the daemon."""

    method: str
    target: str
    document: Any = None
    """The JSON body."""
    changes: bool = False
    """Whether it may change the host: such a request is never repeated automatically after it was cut off."""
    seconds: float | None = None
    """The timeout of each part of the answer; None waits without limit, because the daemon limits itself."""


class _Connection(http.client.HTTPConnection):
    """A connection to a path instead of a host. Without a timeout of the request's own, only its end is noticed."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path
        self._pid = os.getpid()
        self._idle_since = 0.0

    def connect(self) -> None:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Not settimeout: with it, a full backlog is EAGAIN at once.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _CONNECT_SECONDS, 0))
            peer.connect(self._path)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
        except BaseException:
            peer.close()
            raise
        self.sock = peer

    def mark_idle(self) -> None:
        """Wait for the next request."""
        self._idle_since = time.monotonic()
        if self.sock is not None:
            self.sock.settimeout(None)

    @property
    def is_fresh(self) -> bool:
        """Whether it can carry another request: it is this process's, not closed by the other side, nor about to be."""
        # A child that shared its parent's connection would read its parent's answers.
        if self.sock is None or self._pid != os.getpid() or time.monotonic() - self._idle_since > IDLE_SECONDS:
            return False
        # Not select.poll as a global name: a process that runs on eventlet, as Nova's compute service may, has none.
        with selectors.DefaultSelector() as readable:
            readable.register(self.sock, selectors.EVENT_READ)
            return not readable.select(0)


class Wire:
    """Connections to the daemon on one socket. Safe to share between threads: each request has its own connection.

    :param seconds: time limit of each part of an answer, unless a request has its own.
    """

    def __init__(self, path: str, *, seconds: float | None = None) -> None:
        self.path, self.seconds = path, seconds
        self._idle: list[_Connection] = []
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self.is_closed = False

    def open(self) -> None:
        """Check that vifplugd answers; the connection is kept for the first request.

        :raises DaemonUnreachable: from the OSError with the reason.
        """
        seconds = min(HEALTH_SECONDS, self.seconds or HEALTH_SECONDS)
        request = Request(method="GET", target="/healthz", seconds=seconds)
        try:
            health = self._exchange(self._connected(), request)
        except errors.DaemonUnreachable:
            raise
        except errors.VifplugError as error:
            raise self.not_vifplugd(str(error)) from error
        if "status" not in health:
            raise self.not_vifplugd("its answer has no status")

    def close(self) -> None:
        """Close idle connections and end streams; a connection in use is closed after its answer."""
        self.is_closed = True
        while self._idle:
            self._idle.pop().close()
        for stream in list(self._streams):
            stream.end()

    def ask(self, request: Request) -> dict[str, Any]:
        """The daemon's answer.

        :raises DaemonUnreachable: none came, or it is not vifplugd's.
        :raises VifplugError: the error of the daemon's host, of the same class.
        """
        if request.seconds is None and self.seconds is not None:
            request = replace(request, seconds=self.seconds)
        connection = self._take_idle()
        if connection is not None:
            try:
                return self._exchange(connection, request)
            except errors.DaemonUnreachable as error:
                if request.changes or isinstance(error.__cause__, TimeoutError):
                    raise
        return self._exchange(self._connected(), request)

    def stream(self, request: Request) -> Stream:
        """An answer that comes part by part; ``close`` ends it.

        :raises DaemonUnreachable, VifplugError: as ``ask``.
        """
        connection = self._connected()
        peer = connection.sock  # http.client detaches it if the answer is the connection's last
        try:
            response = _begun(connection, request, STREAM_TYPE)
            body = b"" if 200 <= response.status < 300 else _read(response)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise self.no_answer(error, request) from error
            raise
        if not 200 <= response.status < 300:
            connection.close()
            raise refusals.of(f"{request.method} {request.target}", response.status, response.reason, body)
        if not (response.getheader("Content-Type") or "").startswith(STREAM_TYPE):
            connection.close()
            raise self.not_vifplugd(f"its answer to {request.method} {request.target} is another")
        stream = Stream(peer, response, self._forget, lambda error: self.no_answer(error, request))
        self._streams.add(stream)
        if self.is_closed:
            self.close()
        return stream

    def _forget(self, stream: Stream) -> None:
        self._streams.discard(stream)

    def _connected(self) -> _Connection:
        connection = _Connection(self.path)
        try:
            connection.connect()
        except OSError as error:
            reason = http_errors.unreachable(self.path, error, _CONNECT_SECONDS)
            raise errors.DaemonUnreachable(reason, self.path) from error
        return connection

    def _take_idle(self) -> _Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if connection.is_fresh:
                return connection
            connection.close()

    def _keep(self, connection: _Connection) -> None:
        connection.mark_idle()
        self._idle.append(connection)
        if self.is_closed:
            self.close()

    def _exchange(self, connection: _Connection, request: Request) -> dict[str, Any]:
        try:
            response, body = _send_and_receive(connection, request)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise self.no_answer(error, request) from error
            if request.changes and isinstance(error, KeyboardInterrupt | SystemExit):
                error.add_note(http_errors.CONTINUES)
            raise
        self._keep(connection)
        return self.answer_of(request, response, body)

    def answer_of(self, request: Request, response: http.client.HTTPResponse, body: bytes) -> dict[str, Any]:
        """A received answer.

        :raises VifplugError, DaemonUnreachable: as ``ask``.
        """
        if not 200 <= response.status < 300:
            raise refusals.of(f"{request.method} {request.target}", response.status, response.reason, body)
        answer = refusals.parsed(body)
        if not isinstance(answer, dict):
            raise self.not_vifplugd("its answer is not a JSON object")
        return answer

    def no_answer(self, error: OSError | http.client.HTTPException, request: Request) -> errors.DaemonUnreachable:
        """The error for a request without an answer."""
        if isinstance(error, TimeoutError):
            reason = http_errors.silent(self.path, request.seconds or 0, changes=request.changes)
            return errors.DaemonUnreachable(reason, self.path)
        if isinstance(error, OSError | http.client.IncompleteRead):
            return errors.DaemonUnreachable(http_errors.cut_off(self.path, error, changes=request.changes), self.path)
        return self.not_vifplugd("its HTTP is not vifplugd's")

    def not_vifplugd(self, reason: str) -> errors.DaemonUnreachable:
        """The error for an answer that is not vifplugd's."""
        return errors.DaemonUnreachable(http_errors.not_vifplugd(self.path, reason), self.path)


def _begun(connection: _Connection, request: Request, accepts: str) -> http.client.HTTPResponse:
    body, headers = None, {"Accept": accepts}
    if request.document is not None:
        body, headers["Content-Type"] = encoded(request.document), "application/json"
    if request.seconds is not None:
        connection.sock.settimeout(request.seconds)
    # The answer to a request that is refused before all of it was read is on its way; if not, reading reports the
    # error.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(request.method, request.target, body, headers)
    return connection.getresponse()


def encoded(document: Any) -> bytes:
    """A request's body.

    :raises InputError: JSON that is nested too deeply.
    """
    try:
        return json.dumps(document).encode()
    except RecursionError as error:  # with a few levels more than any answer has
        raise errors.InputError("JSON nested too deeply") from error


def _send_and_receive(connection: _Connection, request: Request) -> tuple[http.client.HTTPResponse, bytes]:
    began = time.monotonic()
    response = _begun(connection, request, "application/json")
    answer = _read(response)
    LOG.debug(
        "%s %s: %d in %.1f ms, request %s",
        *(request.method, request.target, response.status),
        *((time.monotonic() - began) * 1000, response.getheader(_REQUEST_ID, "unknown")),
    )
    return response, answer


def _read(response: http.client.HTTPResponse) -> bytes:
    if response.length is None:
        body = response.read(ANSWER_MAX + 1)
        if len(body) <= ANSWER_MAX:
            return body
    elif response.length <= ANSWER_MAX:
        return response.read()  # not read(n), which does not notice that an answer is cut short
    raise http.client.HTTPException(f"an answer of more than {ANSWER_MAX} bytes")
