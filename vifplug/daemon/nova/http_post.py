"""HTTP to notify_url: a message goes out, a status comes back, within a time that no server can draw out."""

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
"""How long the rest of an answer is listened to that says nothing more."""
_BODY_MAX = 2**20
"""Bytes. What Nova says of a hundred events is a fortieth of it."""
_READ_BYTES = 2**16
_SAID_MAX = 200
_DIGITS_MAX = 9


class NoAnswer(Exception):
    """No HTTP status came; why, for people. Whether the message arrived is not known.

    :param is_reached: whether there was somebody to send it to.
    """

    def __init__(self, why: str, *, is_reached: bool = False) -> None:
        super().__init__(why)
        self.is_reached = is_reached


class _Connection(http.client.HTTPConnection):
    """A connection that can be cut from another thread at any moment: http.client's time-out is one of each read.

    :param context: for HTTPS.
    :param seconds: for each address the host's name stands for.
    """

    def __init__(self, url: urllib.parse.SplitResult, context: ssl.SSLContext | None, seconds: float) -> None:
        self.default_port = http.client.HTTP_PORT if context is None else http.client.HTTPS_PORT
        # With no port given http.client looks for one in the name, and finds it in an IPv6 address.
        super().__init__(url.hostname or "", url.port or self.default_port)
        self._context, self._seconds = context, seconds
        self._socket: socket.socket | None = None
        self.is_cut = False

    def connect(self) -> None:
        """Connect, by TLS where there is a context.

        :raises OSError: when that fails, or once it is cut.
        """
        self.sock = self._socket = socket.create_connection((self.host, self.port), self._seconds)
        if self._context is not None:
            # The handshake comes after the socket is known here: it can be drawn out like all else.
            secured = self._context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = self._socket = secured
        if self.is_cut:
            raise ConnectionAbortedError
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()

    def allow(self, seconds: float) -> None:
        """How long each read or write may take from now on."""
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def cut(self) -> None:
        """End whatever is under way."""
        self.is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which would make the other thread go on in clear.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class Endpoint:
    """Where messages go. One at a time; ``close`` may be called from any thread.

    :param url: used as it is; an https one must have a certificate that this machine trusts.
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
        """Its address, without what is secret in it."""
        parts = urllib.parse.urlsplit(self._url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()

    def close(self) -> None:
        """Cut what is under way; nothing is sent any more."""
        self._closed.set()
        if self._connection is not None:
            self._connection.cut()

    @contextlib.contextmanager
    def post(self, message: bytes) -> Iterator[Answer]:
        """Send a message. What follows on the answer is listened to only after the block: it changes nothing.

        :raises NoAnswer: when no status came.
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
            raise NoAnswer("notify_token has characters that no header can hold")  # http.client's error would tell it
        is_reached = False
        try:
            connection.connect()
            is_reached = True
            connection.allow(self._answer_seconds)
            if self._closed.is_set():
                raise ConnectionAbortedError
            # One that answers before it has read all, and closes, has answered all the same.
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
    """An answer once its status is known, whatever follows: http.client's own way ends with the headers.

    :raises OSError, http.client.HTTPException: when no status came.
    """
    response = http.client.HTTPResponse(connection.sock, method="POST")
    try:
        response.begin()
    except (OSError, http.client.HTTPException):
        if type(vars(response)["status"]) is not int:  # a word stands there until it has been read
            response.close()
            raise
    return response


def _has_headers(response: http.client.HTTPResponse) -> bool:
    return vars(response)["headers"] is not None


def _answer(response: http.client.HTTPResponse) -> Answer:
    """A status that says all by itself, or as much of the body as comes with one that does not."""
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
    """Listen to the end, not for long: a server may take a connection closed too early for a fault."""
    until, left = time.monotonic() + _DRAIN_SECONDS, _BODY_MAX
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        while left > 0 and (seconds := until - time.monotonic()) > 0:
            connection.allow(seconds)
            read = len(response.read1(_READ_BYTES))
            if not read:
                break
            left -= read


def _seconds(retry_after: str) -> float:
    """What a Retry-After asks for: a number of seconds, or a date; 0 for anything else."""
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
    # http.client's own say nothing but what they stumbled over.
    words = f"{name} {error}" if isinstance(error, http.client.HTTPException) else str(error) or name
    return " ".join(words.split())[:_SAID_MAX]
