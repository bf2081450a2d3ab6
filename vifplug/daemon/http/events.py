"""The HTTP routes of events: follow them, or wait for a state."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Coroutine
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends, Query, Request
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from vifplug.daemon.http import event_stream, middleware, requests
from vifplug.daemon.http.answers import Waits, extended
from vifplug.daemon.http.delivery.delivery import ASKED_METHOD
from vifplug.daemon.http.event_stream import Hub, Stream
from vifplug.daemon.http.openapi import route
from vifplug.daemon.http.protocol import Level
from vifplug.daemon.http.requests import EventsQuery, WaitRequest
from vifplug.errors import InputError
from vifplug.model import limits, messages
from vifplug.model.events import WaitReport
from vifplug.model.reports import ABSENT, FAILED

ROUTES = APIRouter(generate_unique_id_function=lambda route: route.name)

SEQUENCE_HEADER = "X-Vifplug-Sequence"
"""The number to resume with, for a subscriber that is disconnected before its first event."""
_LOOK_SECONDS = 5.0
"""Interval of looks without an event; events only make it faster."""
_ABSENT_SECONDS = 0.1
"""Minimum delay of the answer that a VIF is absent: at once would let a client poll without pause."""
T = TypeVar("T")


class _Following(StreamingResponse):
    """A stream; its subscriber's place is released however it ends."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream, media_type=event_stream.MEDIA_TYPE, headers=_headers(stream))
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.leave()


def _headers(stream: Stream) -> dict[str, str]:
    return {"Cache-Control": "no-store", SEQUENCE_HEADER: str(stream.start)}


@ROUTES.get("/v1/events", **route(Level.READ, "", 410, 503, text=event_stream.MEDIA_TYPE) | {"dependencies": []})
async def get_events(request: Request, query: Annotated[EventsQuery, Query()]) -> Response:
    """Follow the events of VIFs.

    Server-sent events: the id is the event's number, the event its new state (or, if the state is not new, its kind),
    the data a JSON object. A client that resumes from its last number receives every event exactly once; before the
    first event that number is the answer's header X-Vifplug-Sequence.
    """
    hub: Hub = request.app.state.hub
    since = query.since if query.since is not None else _last_id(request)
    _lingers(request)
    if query.after is not None and since is not None:
        raise InputError("since and after exclude each other; give one of them")
    stream = await hub.stream(
        since, follow=query.follow, uid=request.state.peer.uid, after=query.after or "", vif_ids=query.vif
    )
    if getattr(request.state, ASKED_METHOD, "") == "HEAD":
        await stream.aclose()
        head = Response(media_type=event_stream.MEDIA_TYPE, headers=_headers(stream))
        del head.headers["Content-Length"]  # a stream has none
        return head
    return _Following(stream)


def _lingers(request: Request) -> None:
    """Have the request dropped when its peer has disconnected: it changes nothing, and could continue for long."""
    linger = getattr(request.state, "linger", None)  # only on sockets
    if linger is not None:
        linger()


def _last_id(request: Request) -> int | None:
    """The header that a browser's EventSource sends when it reconnects.

    :raises InputError: it is not a number.
    """
    header = request.headers.get("last-event-id")
    if not header:
        return None
    if not (header.isascii() and header.isdigit() and int(header) <= limits.SEQUENCE_MAX):
        raise messages.refusal("Last-Event-ID", header, "it must be the number of an event")
    return int(header)


@ROUTES.post("/v1/wait", **route(Level.READ, "Waits", 503, 504, body="WaitRequest"))
async def post_wait(request: Request, body: Annotated[bytes, Depends(requests.read)]) -> Response:
    """Wait until VIFs have reached a state.

    Answered as soon as all have, when one of them has failed, when one is not plugged here, or on timeout; the answer
    lists what each still waits for.
    """
    wanted = requests.of(body, WaitRequest)
    lane: middleware.Lane = request.state.lane
    if wanted.timeout:
        _lingers(request)
        with lane.waiting():
            report = await _cancelled_on_disconnect(request, _reached(request, wanted))
    else:
        report = await _reached(request, wanted)
    return JSONResponse(extended(Waits, report).as_json())


async def _cancelled_on_disconnect(request: Request, work: Coroutine[None, None, T]) -> T:
    """Work for a peer until it disconnects.

    :raises ClientDisconnect: it has disconnected.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reached(request: Request, wanted: WaitRequest) -> WaitReport:
    """The states of the VIFs once all have reached it, one has failed, or on timeout."""
    hub: Hub = request.app.state.hub
    lane: middleware.Lane = request.state.lane
    deadline = time.monotonic() + wanted.timeout
    while True:
        seen = await hub.newest()
        report = await lane.work(functools.partial(_look, request, wanted))
        states = {vif.state for vif in report.vifs}
        left = deadline - time.monotonic()
        if report.reached or FAILED in states or left <= 0 or hub.closed:
            return report
        if ABSENT in states:
            deadline = min(deadline, time.monotonic() + _ABSENT_SECONDS)
        await hub.await_event(wanted.ids, seen, min(deadline - time.monotonic(), _LOOK_SECONDS))


def _look(request: Request, wanted: WaitRequest) -> WaitReport:
    report: WaitReport = request.app.state.host.look(wanted.ids, wanted.state)
    return report
