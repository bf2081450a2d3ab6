"""Delivers answers: HEAD for every GET, 304 for a body that the client has, and gzip for a large one.

A stream, such as the one of events, passes unchanged: its end is not known, and compressing it would delay it.
"""

from __future__ import annotations

import functools
import gzip

import anyio.to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vifplug.daemon.http.delivery import negotiation

_JSON = "application/json"
_READING = ("GET", "HEAD")
ASKED_METHOD = "asked_method"
"""The key of a request's state with its own method; the application sees a HEAD as a GET."""


class Delivery:
    """The layer between the application and Gate."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})[ASKED_METHOD] = scope["method"]
        answer = _Answer(scope, send)
        if scope["method"] != "HEAD":
            await self._app(scope, receive, answer.send)
            return
        # A copy: uvicorn itself looks whether the request is a HEAD.
        as_get = {**scope, "method": "GET"}
        try:
            await self._app(as_get, receive, answer.send)
        finally:
            if "route" in as_get:  # for the metrics
                scope["route"] = as_get["route"]


class _Answer:
    """An answer whose head is held until it is known whether its first part is all of its body."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._asked, self._method = Headers(scope=scope), scope["method"]
        self._send = send
        self._head: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass a part on."""
        if message["type"] == "http.response.start":
            self._head = message
            return
        if message["type"] != "http.response.body":
            await self._send(message)
            return
        head, self._head = self._head, None
        if head is not None:
            if not message.get("more_body"):
                head, message = await self._complete(head, message)
            await self._send(head)
        await self._send({**message, "body": b""} if self._method == "HEAD" else message)

    async def _complete(self, head: Message, message: Message) -> tuple[Message, Message]:
        """A whole answer as it is sent."""
        body: bytes = message.get("body", b"")
        headers = MutableHeaders(raw=[*head["headers"]])
        if self._method in _READING and head["status"] == 200 and headers.get("content-type") == _JSON:
            tag = negotiation.entity_tag(body)
            headers["etag"] = tag
            headers["cache-control"] = "no-cache"
            if negotiation.is_not_modified(self._asked.get("if-none-match", ""), tag):
                del headers["content-length"], headers["content-type"]
                return {**head, "status": 304, "headers": headers.raw}, {**message, "body": b""}
        if len(body) >= negotiation.GZIP_MIN_BYTES:
            headers.add_vary_header("Accept-Encoding")
            if negotiation.accepts_gzip(self._asked.get("accept-encoding", "")):
                # In a thread: ten thousand VIFs take a tenth of a second.
                body = await anyio.to_thread.run_sync(
                    functools.partial(gzip.compress, body, negotiation.GZIP_LEVEL, mtime=0)
                )
                headers["content-encoding"] = "gzip"
                headers["content-length"] = str(len(body))
        return {**head, "headers": headers.raw}, {**message, "body": body}
