"""Processing of every request: its id and peer, access, a lane, the log, the metrics, and unexpected errors."""

from __future__ import annotations

import contextlib
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vifplug.daemon import logs
from vifplug.daemon.http import capacity, problems
from vifplug.daemon.http.event_stream import Hub
from vifplug.daemon.http.protocol import Access, Level, Peer
from vifplug.daemon.metrics import Metrics
from vifplug.errors import Busy, InputError, NotPermitted

LOG = logging.getLogger(__name__)

HEALTH_PATH = "/healthz"
REQUEST_ID = "X-Request-Id"

_THREADS = 64
_THREADS_OF_A_USER = 48
"""The maximum of threads of a user other than root: one is always left for the others."""
_WAITS_OF_A_USER = 128
"""Maximum of connections of a user other than root; besides those of events.py, some are left for changes."""
_BODIES_MAX_MIB = 64
_BODIES_MAX = _BODIES_MAX_MIB * 2**20
"""The maximum of bytes of a user's incomplete bodies."""
_ROOT = 0
_GIVEN_ID = re.compile(r"[!-~]{1,64}")
_READING = ("GET", "HEAD", "OPTIONS")
T = TypeVar("T")

_ID_HEADER = REQUEST_ID.lower().encode()


class Waits:
    """The requests of all users that wait for a state."""

    def __init__(self) -> None:
        self.count = 0


class Lane:
    """The limits of a user's simultaneous use of the daemon, independent of the number of connections."""

    def __init__(self, uid: int, of_all: Waits | None = None) -> None:
        self._threads = anyio.CapacityLimiter(_THREADS if uid == _ROOT else _THREADS_OF_A_USER)
        self._waits_max = capacity.waits() if uid == _ROOT else capacity.waits_of_user(_WAITS_OF_A_USER)
        self._waits = 0
        self._of_all = of_all or Waits()
        self._kept_bytes = 0

    async def work(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread; never read a request or send an answer there, because a peer may delay
        those."""
        async with self._threads:
            return await anyio.to_thread.run_sync(work)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count a request that waits for a state.

        :raises Busy: the user has too many of them.
        """
        if self._waits >= self._waits_max:
            raise Busy(f"{self._waits} of your requests wait already, which is the maximum; try again later")
        if self._of_all.count >= capacity.waits():
            raise Busy(f"{self._of_all.count} requests wait already, which is the maximum; try again later")
        self._waits += 1
        self._of_all.count += 1
        try:
            yield
        finally:
            self._waits -= 1
            self._of_all.count -= 1

    def keep(self, size: int) -> None:
        """Count bytes of bodies that are being read; a negative size releases them.

        :raises Busy: the user has too many.
        """
        self._kept_bytes += size
        if size > 0 and self._kept_bytes > _BODIES_MAX:
            raise Busy(
                f"the bodies of your requests under way are larger than {_BODIES_MAX_MIB} MiB together; try again"
            )


class Gate:
    """The outermost layer of the application: no unexpected error passes it."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics) -> None:
        self._app, self._access, self._metrics = app, access, metrics
        self._lanes: dict[int, Lane] = {}
        self._waits = Waits()
        self._is_ready = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._is_ready:
            anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
            self._is_ready = True
        answer = _Answer(send, scope["app"].state.hub)
        answer.request.peer = scope.get("state", {}).get("peer")
        answer.request.id = _given_id(scope) or uuid.uuid4().hex
        token = logs.CURRENT.set(answer.request)
        began = time.monotonic()
        try:
            await self._serve(scope, receive, answer)
        finally:
            self._log_request(scope, answer, time.monotonic() - began)
            logs.CURRENT.reset(token)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            if scope["path"] == HEALTH_PATH:
                await self._app(scope, receive, answer.send)
                return
            self._admit(scope, answer.request.peer)
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            LOG.info("the peer disconnected before it was answered")
        except Exception as error:
            if not isinstance(error, NotPermitted):
                LOG.exception("could not serve %s %s", scope["method"], scope["path"])
            if not answer.status:
                await problems.response(error, scope["path"])(scope, receive, answer.send)

    def _admit(self, scope: Scope, peer: Peer | None) -> None:
        """Check a peer's access; its level and lane are stored in the scope's state.

        :raises NotPermitted: it has none.
        """
        level = Level.NONE if peer is None else self._access.level(peer)
        if peer is None or level is Level.NONE:
            user = "an unknown peer" if peer is None else f"uid {peer.uid}"
            raise NotPermitted(
                f"{user} may not use this daemon; the operator permits users and groups by [daemon] reader_users, "
                "operator_users, admin_users and their groups, or members of socket_group"
            )
        scope["state"] |= {"level": level, "lane": self._lane(peer.uid)}

    def _lane(self, uid: int) -> Lane:
        if uid not in self._lanes:
            self._lanes[uid] = Lane(uid, self._waits)
        return self._lanes[uid]

    def _log_request(self, scope: Scope, answer: _Answer, seconds: float) -> None:
        route: Any = scope.get("route")
        path = getattr(route, "path", None) or "other"
        self._metrics.requests.labels(_method(scope), path, str(answer.status or 0)).inc()
        LOG.log(
            logging.DEBUG if scope["method"] in _READING and answer.status < 400 else logging.INFO,
            "%s %s: %s in %.1f ms",
            *(scope["method"], scope["path"], answer.status or "no answer", 1000 * seconds),
            extra={"status": answer.status, "seconds": round(seconds, 6)},
        )


class _Answer:
    """An answer under way."""

    def __init__(self, send: Send, hub: Hub) -> None:
        self._send, self._hub = send, hub
        self.request = logs.Request(id="")
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass a part on, the request's id with the first; after the last the connection may end."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), (_ID_HEADER, self.request.id.encode("ascii"))]
            if self._hub.closed:  # the server waits for connections, and has ended those that it already knew
                headers.append((b"connection", b"close"))
            message = {**message, "headers": headers}
        await self._send(message)


def require(request: Request, level: Level, action: str) -> None:
    """Check that a peer has a level.

    :raises NotPermitted: its level is lower.
    """
    own: Level = request.state.level
    if own < level:
        peer: Peer = request.state.peer
        raise NotPermitted(f"{action} needs level {level.word}, and uid {peer.uid} has level {own.word}")


async def no_query(request: Request) -> None:
    """Refuse a query on a route without parameters: a filter or a dry run must not be ignored.

    :raises InputError: naming it.
    """
    unknown = next(iter(request.query_params), None)
    if unknown is not None:
        raise InputError(f"unknown query parameter {unknown!r}; see /openapi.json")


def _given_id(scope: MutableMapping[str, Any]) -> str:
    """The peer's own id for its request, if it is plain."""
    given = next((value for name, value in scope["headers"] if name == _ID_HEADER), b"").decode("latin-1")
    return given if _GIVEN_ID.fullmatch(given) else ""


def _method(scope: Scope) -> str:
    # A label for each possible method would make an unlimited number.
    known = ("GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE", "PATCH")
    return scope["method"] if scope["method"] in known else "other"
