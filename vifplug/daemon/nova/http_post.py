"""HTTP POST to notify_url: sends a message and returns the status, within a time limit that no server can extend."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import functools
import http.client
import socket
import ssl
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator

from vifplug.daemon.nova.outgoing import Answer

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 15.0
_DRAIN_SECONDS = 1.0
"""How long to read the rest of an answer that is not needed."""
_BODY_MAX = 2**20
"""Bytes. Nova's answer for a hundred events is a fortieth of it."""
_READ_BYTES = 2**16
_TEXT_MAX = 200
_DIGITS_MAX = 9


class NoAnswer(Exception):
    """No HTTP status was received; it is not known whether the message arrived.

    :param why: for people.
    :param is_reached: whether the connection was made.
    """

    def __init__(self, why: str, *, is_reached: bool = False) -> None:
        super().__init__(why)
        self.is_reached = is_reached


class _Connection(http.client.HTTPConnection):
    """A connection that another thread can abort at any moment: http.client's timeout only limits each read.

    :param context: for HTTPS.
    :param seconds: limit for each address of the host's name.
    """

    def __init__(self, url: urllib.parse.SplitResult, context: ssl.SSLContext | None, seconds: float) -> None:
        self.default_port = http.client.HTTP_PORT if context is None else http.client.HTTPS_PORT
        # Without a port http.client looks for one in the name, and finds one in an IPv6 address.
        super().__init__(url.hostname or "", url.port or self.default_port)
        self._context, self._seconds = context, seconds
        self._socket: socket.socket | None = None
        self.is_cut = False

    def connect(self) -> None:
        """Connect, with TLS if there is a context.

        :raises OSError: when that fails, or after ``cut``.
        """
        self.sock = self._socket = socket.create_connection((self.host, self.port), self._seconds)
        if self._context is not None:
            # The handshake comes after the socket is stored, so that it can be aborted too.
            secured = self._context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = self._socket = secured
        if self.is_cut:
            raise ConnectionAbortedError
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()

    def allow(self, seconds: float) -> None:
        """Set the limit for each read or write."""
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def cut(self) -> None:
        """Abort a running call."""
        self.is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own shutdown, after which the other thread would continue without TLS.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Endpoint:
    """The endpoint of messages. One at a time; ``close`` may be called from any thread.

    :param url: an https URL needs a certificate that this machine trusts.
    :param token: sent as X-Auth-Token; empty for none.
    """

    def __init__(
        self, url: str, token: str, *, connect: float = CONNECT_SECONDS, answer: float = ANSWER_SECONDS
    ) -> None:
        self._url, self._token = url, token
        self._connect_seconds, self._answer_seconds = connect, answer
        self._connection: _Connection | None = None
        self._closed = threading.Event()

    def __str__(self) -> str:
        """Its address without secrets."""
        parts = urllib.parse.urlsplit(self._url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    def close(self) -> None:
        """Abort a running message; nothing is sent any more."""
        self._closed.set()
        if self._connection is not None:
            self._connection.cut()

    @contextlib.contextmanager
    def post(self, message: bytes) -> Iterator[Answer]:
        """Send a message. The rest of the answer, which is not needed, is read after the block.

        :raises NoAnswer: when no status was received.
        """
        try:
            connection = self._opened()
        except (OSError, ValueError) as error:
            raise NoAnswer(f"no connection: {_words(error)}") from error
        deadline = threading.Timer(self._answer_seconds, connection.cut)
        deadline.daemon = True
        deadline.start()
        try:
            response = self._exchange(connection, message)
            with response:
                yield _answer(response)
                if _has_headers(response):
                    _drain(connection, response)
        finally:
            deadline.cancel()
            self._connection = None
            connection.close()

    def _opened(self) -> _Connection:
        url = urllib.parse.urlsplit(self._url)
        context = _trusting() if url.scheme == "https" else None
        self._connection = _Connection(url, context, self._connect_seconds)
        return self._connection

    def _exchange(self, connection: _Connection, message: bytes) -> http.client.HTTPResponse:
        url = urllib.parse.urlsplit(self._url)
        target = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
        if not (self._token.isascii() and self._token.isprintable()):
            raise NoAnswer("notify_token does not fit an HTTP header")  # http.client's error would contain the token
        is_reached = False
        try:
            connection.connect()
            is_reached = True
            connection.allow(self._answer_seconds)
            if self._closed.is_set():
                raise ConnectionAbortedError
            # A server may answer and close before it has read the whole message.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request("POST", target, message, self._headers())
            return _begun(connection)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = f"not within {self._answer_seconds:g} s" if connection.is_cut else _words(error)
            raise NoAnswer(f"no {'answer' if is_reached else 'connection'}: {why}", is_reached=is_reached) from error

    def _headers(self) -> dict[str, str]:
        headers = {
            "User-Agent": "vifplugd",
            "Accept": "application/json",
            "Connection": "close",
            "X-OpenStack-Nova-API-Version": "2.1",
            "X-OpenStack-Request-ID": f"req-{uuid.uuid4()}",
            "Content-Type": "application/json",
        }
        return headers | ({"X-Auth-Token": self._token} if self._token else {})


@functools.cache
def _trusting() -> ssl.SSLContext:
    return ssl.create_default_context()


def _begun(connection: _Connection) -> http.client.HTTPResponse:
    """An answer with a status, even if its headers are invalid, which http.client itself does not accept.

    :raises OSError, http.client.HTTPException: when no status was received.
    """
    response = http.client.HTTPResponse(connection.sock, method="POST")
    try:
        response.begin()
    except (OSError, http.client.HTTPException):
        if type(vars(response)["status"]) is not int:  # a string until the status has been read
            response.close()
            raise
    return response


def _has_headers(response: http.client.HTTPResponse) -> bool:
    return vars(response)["headers"] is not None


def _answer(response: http.client.HTTPResponse) -> Answer:
    """The status, with the received part of the body if the status alone is not enough."""
    is_all = 200 <= response.status < 300 and response.status != http.HTTPStatus.MULTI_STATUS
    if is_all or not _has_headers(response):
        return Answer(status=response.status)
    try:
        body = response.read(_BODY_MAX)
    except http.client.IncompleteRead as error:
        body = error.partial
    except (OSError, http.client.HTTPException, ValueError):
        body = b""
    return Answer(status=response.status, body=body, retry_after=_seconds(response.getheader("Retry-After") or ""))


def _drain(connection: _Connection, response: http.client.HTTPResponse) -> None:
    """Read to the end, for a short time: a server may treat an early close as an error."""
    until, left = time.monotonic() + _DRAIN_SECONDS, _BODY_MAX
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        while left > 0 and (seconds := until - time.monotonic()) > 0:
            connection.allow(seconds)
            read = len(response.read1(_READ_BYTES))
            if not read:
                break
            left -= read


def _seconds(retry_after: str) -> float:
    """The seconds of a Retry-After, a number or a date; 0 for anything else."""
    value = retry_after.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:_DIGITS_MAX])
    try:
        date = email.utils.parsedate_to_datetime(value)
        return max(0.0, (date - datetime.datetime.now(date.tzinfo)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _words(error: Exception) -> str:
    name = type(error).__name__
    # http.client's errors contain only the invalid data.
    words = f"{name} {error}" if isinstance(error, http.client.HTTPException) else str(error) or name
    return " ".join(words.split())[:_TEXT_MAX]
