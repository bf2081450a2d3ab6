"""HTTP POST to notify_url: sends a message and returns the status, within a time limit that no server can extend."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import functools
import logging
import re
import socket
import ssl
import threading
import urllib.parse
import uuid
from collections.abc import Generator, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import httpx

from vifplug.daemon.nova.outgoing import Answer

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 15.0
_DRAIN_SECONDS = 1.0
"""How long to read the rest of an answer that is not needed."""
_BODY_MAX = 2**20
"""Bytes. Nova's answer for a hundred events is a fortieth of it."""
_TEXT_MAX = 200
_DIGITS_MAX = 9
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([2-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
_STATUS_LINE_MAX = 1024
"""Bytes."""
_ERRORS = (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, OverflowError)
"""The last two are Python's for a host's name and for a port that cannot be."""

# At INFO httpx logs each URL, whose query may be a secret, and at DEBUG httpcore the headers.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class NoAnswer(Exception):
    """No HTTP status was received; it is not known whether the message arrived.

    :param why: for people.
    :param is_reached: whether the connection was made.
    """

    def __init__(self, reason: str, *, is_reached: bool = False) -> None:
        super().__init__(reason)
        self.is_reached = is_reached


class _Exchange:
    """One request, which another thread can abort at any moment: httpx's timeouts only limit each read."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self.is_cut = False
        self.is_reached = False
        self._received = b""

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by httpcore for each step of the request (its extension "trace")."""
        match event:
            case "connection.connect_tcp.complete":
                # TLS takes the socket over; a duplicate can be shut down even during the handshake.
                self._socket = info["return_value"].get_extra_info("socket").dup()
                if self.is_cut:
                    self.cut()
                self._record(info["return_value"])
            case "connection.start_tls.complete":
                self._record(info["return_value"])
            case "http11.send_request_headers.started":
                self.is_reached = True

    def _record(self, stream: Any) -> None:
        """Keep the beginning of the answer: a status counts, even if the headers after it are invalid or cut off, for
        which httpx has no response."""
        read = stream.read

        def recorded(max_bytes: int, timeout: float | None = None) -> bytes:
            data: bytes = read(max_bytes, timeout)
            self._received += data[: _STATUS_LINE_MAX - len(self._received)]
            return data

        stream.read = recorded

    @property
    def status(self) -> int | None:
        """The status that was received; None for none."""
        line = _STATUS_LINE.match(self._received)
        return int(line[1]) if line else None

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Abort the request when the block takes longer."""
        deadline = threading.Timer(seconds, self.cut)
        deadline.daemon = True
        deadline.start()
        try:
            yield
        finally:
            deadline.cancel()

    def cut(self) -> None:
        """Abort it."""
        self.is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """It is over."""
        if self._socket is not None:
            self._socket.close()


class Endpoint:
    """The endpoint of messages. One at a time; ``close`` may be called from any thread.

    Neither proxies nor credentials of the environment are used, redirects are not followed.

    :param url: an https URL needs a certificate that this machine trusts.
    :param token: sent as X-Auth-Token; empty for none.
    """

    def __init__(
        self, url: str, token: str, *, connect: float = CONNECT_SECONDS, answer: float = ANSWER_SECONDS
    ) -> None:
        self._url, self._token = url, token
        self._answer_seconds = answer
        self._timeout = httpx.Timeout(answer, connect=connect)
        self._exchange: _Exchange | None = None
        self._closed = threading.Event()

    def __str__(self) -> str:
        """Its address without secrets."""
        return urllib.parse.urlsplit(self._without_user())._replace(query="", fragment="").geturl()

    def _without_user(self) -> str:
        parts = urllib.parse.urlsplit(self._url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def close(self) -> None:
        """Abort a running message; nothing is sent any more."""
        self._closed.set()
        if self._exchange is not None:
            self._exchange.cut()

    @contextlib.contextmanager
    def post(self, message: bytes) -> Iterator[Answer]:
        """Send a message. The rest of the answer, which is not needed, is read after the block.

        :raises NoAnswer: when no status was received.
        """
        with contextlib.closing(_Exchange()) as exchange, self._client() as client:
            self._exchange = exchange
            try:
                with exchange.within(self._answer_seconds):
                    response = self._send(client, exchange, message)
                    body = _parts(response)
                    answer = _answer(response, body)
                yield answer
                with exchange.within(_DRAIN_SECONDS), contextlib.closing(body):
                    _read(body)
            finally:
                self._exchange = None

    def _client(self) -> httpx.Client:
        is_secure = urllib.parse.urlsplit(self._url).scheme == "https"
        # Without TLS this machine's certificates need not be loaded.
        context = _trusting() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx.Client(verify=context, trust_env=False, timeout=self._timeout)

    def _send(self, client: httpx.Client, exchange: _Exchange, message: bytes) -> httpx.Response:
        """The response, whose body is not read yet.

        :raises NoAnswer: when no status was received.
        """
        if self._closed.is_set():
            raise NoAnswer("no connection: closed")
        if not (self._token.isascii() and self._token.isprintable()):
            raise NoAnswer("notify_token does not fit an HTTP header")  # h11's error would contain the token
        try:
            # httpx makes a header of a user and password in the URL.
            request = client.build_request(
                "POST",
                self._without_user(),
                content=message,
                headers=self._headers(),
                extensions={"trace": exchange.trace},
            )
            return client.send(request, stream=True)
        except _ERRORS as error:
            if exchange.status is not None:
                return httpx.Response(exchange.status, stream=httpx.ByteStream(b""))
            reason = f"not within {self._answer_seconds:g} s" if exchange.is_cut else _reason(error)
            is_reached = exchange.is_reached
            raise NoAnswer(f"no {'answer' if is_reached else 'connection'}: {reason}", is_reached=is_reached) from error

    def _headers(self) -> dict[str, str]:
        headers = {
            "User-Agent": "vifplugd",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "X-OpenStack-Nova-API-Version": "2.1",
            "X-OpenStack-Request-ID": f"req-{uuid.uuid4()}",
            "Content-Type": "application/json",
        }
        return headers | ({"X-Auth-Token": self._token} if self._token else {})


@functools.cache
def _trusting() -> ssl.SSLContext:
    return ssl.create_default_context()


def _parts(response: httpx.Response) -> Generator[bytes, None, None]:
    """The body as it comes, until its end or an error."""
    with contextlib.closing(response), contextlib.suppress(*_ERRORS):
        yield from response.iter_raw()


def _read(parts: Iterator[bytes]) -> bytes:
    """What is left of a body, up to a limit: a server may treat an early close as an error."""
    body = b""
    while len(body) < _BODY_MAX and (part := next(parts, None)) is not None:
        body += part
    return body[:_BODY_MAX]


def _answer(response: httpx.Response, parts: Iterator[bytes]) -> Answer:
    """The status, with the received part of the body if the status alone is not enough."""
    if response.is_success and response.status_code != HTTPStatus.MULTI_STATUS:
        return Answer(status=response.status_code)
    retry_after = _seconds(response.headers.get("Retry-After", ""))
    return Answer(status=response.status_code, body=_read(parts), retry_after=retry_after)


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


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_TEXT_MAX] or type(error).__name__
