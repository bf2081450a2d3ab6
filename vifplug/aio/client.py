"""The daemon's socket for asyncio, by httpx: ``vifplug.api.http`` without threads."""

from __future__ import annotations

import contextlib
import errno
import http.client
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from vifplug import errors
from vifplug.api import http_errors, refusals
from vifplug.api.http import ANSWER_MAX, HEALTH_SECONDS, IDLE_SECONDS, STREAM_TYPE, Request, encoded

_CONNECT_SECONDS = 2
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=IDLE_SECONDS)
"""Without a limit of their number: a wait holds its connection, and the daemon limits those of a user."""
_HEADERS = {"Accept-Encoding": "identity"}
"""On a Unix socket the copy is faster than the compression."""


class Wire:
    """Connections to the daemon on one socket, for the tasks of one event loop.

    :param seconds: time limit of each part of an answer, unless a request has its own.
    """

    def __init__(self, path: str, *, seconds: float | None = None) -> None:
        self.path, self.seconds = path, seconds
        self.is_closed = False
        # httpx would otherwise load the system's certificates, which takes longer than a plug.
        transport = httpx.AsyncHTTPTransport(
            uds=path, limits=_LIMITS, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://vifplugd", headers=_HEADERS, trust_env=False
        )

    async def open(self) -> None:
        """Check that vifplugd answers.

        :raises DaemonUnreachable: from the OSError with the reason.
        """
        seconds = min(HEALTH_SECONDS, self.seconds or HEALTH_SECONDS)
        try:
            health = await self.ask(Request(method="GET", target="/healthz", seconds=seconds))
        except errors.DaemonUnreachable:
            raise
        except errors.VifplugError as error:
            raise self.not_vifplugd(str(error)) from error
        if "status" not in health:
            raise self.not_vifplugd("its answer has no status")

    async def close(self) -> None:
        """Close the connections, also those in use: their calls end with an error."""
        self.is_closed = True
        await self._client.aclose()

    async def ask(self, request: Request) -> dict[str, Any]:
        """The daemon's answer.

        :raises DaemonUnreachable: none came, or it is not vifplugd's.
        :raises VifplugError: the error of the daemon's host, of the same class.
        """
        try:
            return await self._exchange(request)
        except errors.DaemonUnreachable as error:
            # The daemon may have closed the idle connection just now; a change is never repeated automatically.
            if request.changes or not isinstance(error.__cause__, ConnectionError) or self.is_closed:
                raise
        return await self._exchange(request)

    async def _exchange(self, request: Request) -> dict[str, Any]:
        async with self._answer(request, "application/json", {}) as response:
            body = await self._body(response, request)
        if not 200 <= response.status_code < 300:
            raise _refusal(request, response, body)
        answer = refusals.parsed(body)
        if not isinstance(answer, dict):
            raise self.not_vifplugd("its answer is not a JSON object")
        return answer

    @contextlib.asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[httpx.Response, None]:
        """An answer that comes part by part; ``parts`` reads it.

        :raises DaemonUnreachable, VifplugError: as ``ask``.
        """
        async with self._answer(request, STREAM_TYPE, {"Connection": "close"}) as response:
            if not 200 <= response.status_code < 300:
                raise _refusal(request, response, await self._body(response, request))
            if not response.headers.get("Content-Type", "").startswith(STREAM_TYPE):
                raise self.not_vifplugd(f"its answer to {request.method} {request.target} is another")
            yield response

    async def parts(self, response: httpx.Response, request: Request) -> AsyncGenerator[bytes, None]:
        """The parts of a body.

        :raises DaemonUnreachable: it was cut off, or nothing came within the request's time limit.
        """
        with self._naming(request):
            async for part in response.aiter_raw():
                yield part

    @contextlib.asynccontextmanager
    async def _answer(
        self, request: Request, accepts: str, more: Mapping[str, str]
    ) -> AsyncGenerator[httpx.Response, None]:
        headers = {"Accept": accepts, **more}
        content = None
        if request.document is not None:
            content, headers["Content-Type"] = encoded(request.document), "application/json"
        seconds = self.seconds if request.seconds is None else request.seconds
        timeout = httpx.Timeout(seconds, connect=_CONNECT_SECONDS, pool=None)
        with self._naming(request):
            sent = self._client.build_request(
                request.method, request.target, content=content, headers=headers, timeout=timeout
            )
            response = await self._client.send(sent, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def _body(self, response: httpx.Response, request: Request) -> bytes:
        body = bytearray()
        async with contextlib.aclosing(self.parts(response, request)) as parts:
            async for part in parts:
                body += part
                if len(body) > ANSWER_MAX:
                    raise self.not_vifplugd(f"an answer of more than {ANSWER_MAX} bytes")
        return bytes(body)

    @contextlib.contextmanager
    def _naming(self, request: Request) -> Any:
        """Raise httpx's errors as those of ``vifplug.api.http``, with the same causes."""
        try:
            yield
        except httpx.TransportError as error:
            raise self._no_answer(error, request) from _cause(error)
        except RuntimeError as error:
            if not self.is_closed:
                raise
            raise self._no_answer(error, request) from ConnectionAbortedError(errno.ECONNABORTED, "host closed")

    def _no_answer(self, error: Exception, request: Request) -> errors.DaemonUnreachable:
        cause = _cause(error)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) or _is_full(cause):
            reason = cause if isinstance(cause, OSError) else OSError(str(error))
            text = http_errors.unreachable(
                self.path, BlockingIOError() if _is_full(cause) else reason, _CONNECT_SECONDS
            )
        elif isinstance(error, httpx.TimeoutException):
            seconds = self.seconds if request.seconds is None else request.seconds
            text = http_errors.silent(self.path, seconds or 0, changes=request.changes)
        elif isinstance(cause, OSError | http.client.IncompleteRead):
            text = http_errors.cut_off(self.path, cause, changes=request.changes)
        else:
            return self.not_vifplugd("its HTTP is not vifplugd's")
        return errors.DaemonUnreachable(text, self.path)

    def not_vifplugd(self, reason: str) -> errors.DaemonUnreachable:
        """The error for an answer that is not vifplugd's."""
        return errors.DaemonUnreachable(http_errors.not_vifplugd(self.path, reason), self.path)


def _refusal(request: Request, response: httpx.Response, body: bytes) -> errors.VifplugError:
    return refusals.of(f"{request.method} {request.target}", response.status_code, response.reason_phrase, body)


def _is_full(cause: BaseException | None) -> bool:
    """Whether the backlog is full: connect(2) says EAGAIN, asyncio takes that for a connection, and the first use of it
    says ENOTCONN."""
    return isinstance(cause, BlockingIOError) or (isinstance(cause, OSError) and cause.errno == errno.ENOTCONN)


def _cause(error: BaseException) -> Exception | None:
    """The reason of one of httpx's errors, as http.client raises it; None if it is another program's HTTP."""
    if isinstance(error, httpx.ConnectTimeout):
        return BlockingIOError(errno.EAGAIN, "full backlog")  # nothing else delays connect(2) to a Unix socket
    if isinstance(error, httpx.TimeoutException):
        return TimeoutError(str(error))
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError):
            return seen
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, httpx.RemoteProtocolError) and "complete message body" in str(error):
        return http.client.IncompleteRead(b"")
    is_cut = isinstance(error, httpx.ReadError | httpx.WriteError) or "disconnected" in str(error)
    return ConnectionResetError(str(error)) if is_cut else None
