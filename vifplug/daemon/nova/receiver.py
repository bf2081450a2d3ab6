"""Receives Nova's external events from Neutron.

They never change the host: each is a status of a VIF, which the store keeps.
"""

from __future__ import annotations

import hmac
import json
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from vifplug.config.options import Settings
from vifplug.daemon import logs
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.nova import incoming
from vifplug.daemon.nova.incoming import FORGET, TAKEN, LocalVifs
from vifplug.daemon.rate_limit import RecurringWarning
from vifplug.engine.context import Context
from vifplug.errors import InputError, StoreError

LOG = logging.getLogger(__name__)

PATH = "/v2.1/os-server-external-events"
BODY_MAX_MIB = 1
BODY_MAX = BODY_MAX_MIB * 2**20
"""Bytes; an event is a hundred and fifty."""
WHOLE = "message"
"""The event name in the metric for an answer to a message as a whole."""

_TOKEN = b"x-auth-token"
_REQUEST_ID = "X-OpenStack-Request-ID"
_VERSION = "X-OpenStack-Nova-API-Version"
_GIVEN_ID = re.compile(r"[!-~]{1,64}")
_GIVEN_VERSION = re.compile(r"2\.[0-9]{1,3}")
_OWN_VERSION = "2.1"
_KINDS = {400: "badRequest", 401: "unauthorized", 405: "badMethod", 413: "overLimit", 503: "serviceUnavailable"}
"""Nova's names of errors. An unknown path does not get Nova's itemNotFound, which means an unknown server to
senders."""
_RETRY_SECONDS = "1"
_SHOWN_MAX = 20


def create_receiver(
    context: Context, settings: Settings, metrics: Metrics, on_status: Callable[[set[str]], None]
) -> Receiver:
    """The ASGI application for ``[events] listen``.

    :param metrics: counts in ``external_events``, by ``name`` and ``code``.
    :param on_status: called, in a thread, with the ids of VIFs with a new status; some may not be plugged here.
    """
    return Receiver(context, settings.listen_token, metrics, on_status)


class Receiver:
    """Serves one path and one method, for senders with the token."""

    def __init__(self, context: Context, token: str, metrics: Metrics, on_status: Callable[[set[str]], None]) -> None:
        self._context, self._metrics, self._on_status = context, metrics, on_status
        self._token = token.encode("utf-8", "surrogateescape")
        self._turn: anyio.CapacityLimiter | None = None
        """One message at a time, in the order of completion: a status must not overtake an earlier one."""
        self._unauthorized = RecurringWarning(LOG, is_limited=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        token = logs.CURRENT.set(logs.Request(id=_request_id(request)))
        try:
            response = await self._answer(request)
            response.headers[_REQUEST_ID] = _request_id(request)
            response.headers[_VERSION] = _version(request)
            await response(scope, receive, send)
        except ClientDisconnect:
            LOG.info("the sender of events disconnected before its message was complete")
        finally:
            logs.CURRENT.reset(token)

    async def _answer(self, request: Request) -> Response:
        if not self._is_known(request):
            sender = request.client.host if request.client else "an unknown address"
            self._unauthorized.warn(
                f"refused a request from {sender} without the X-Auth-Token of [events] listen_token"
            )
            return self._refusal(401, "the X-Auth-Token of [events] listen_token is needed")
        if request.scope["path"] != PATH:
            return self._refusal(404, f"only {PATH} is served here")
        if request.method != "POST":
            return self._refusal(405, f"{PATH} takes only POST")
        try:
            body = await _body(request)
            if body is None:
                return self._refusal(413, f"the body is larger than {BODY_MAX_MIB} MiB; send fewer events at once")
            return await self._in_turn(body)
        except InputError as error:
            LOG.info("refused a message of events: %s", error)
            return self._refusal(400, error.message)
        except StoreError as error:
            LOG.error("could not store the events: %s", error)
            return self._refusal(503, error.message)
        except ClientDisconnect:
            raise
        except Exception:
            LOG.exception("could not serve a message of events")
            return self._refusal(500, "internal error; please report it with the daemon's log of this request")

    def _is_known(self, request: Request) -> bool:
        given = [value for name, value in request.scope["headers"] if name == _TOKEN]
        # Two tokens are ambiguous, and an empty listen_token must never match.
        return bool(self._token) and len(given) == 1 and hmac.compare_digest(given[0], self._token)

    async def _in_turn(self, body: bytes) -> Response:
        if self._turn is None:
            self._turn = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(self._process, body, limiter=self._turn)

    def _process(self, body: bytes) -> Response:
        """Judge the events of a message and store their statuses.

        :raises InputError: for an invalid message; nothing is stored.
        :raises StoreError: when not everything can be stored; sending it again is safe.
        """
        events, given = incoming.read(body)
        here = LocalVifs.of(self._context.store.contents())
        results = [incoming.judge(event, here) for event in events]
        self._store_statuses(incoming.latest_statuses(results))
        for event, result in zip(events, results, strict=True):
            self._metrics.external_events.labels(event.name, str(result.code)).inc()
        status = 200 if all(result.code == TAKEN for result in results) else 207
        answers = [result.as_json(event) for result, event in zip(results, given, strict=True)]
        return _response(status, {"events": answers})

    def _store_statuses(self, statuses: Mapping[str, str]) -> None:
        if not statuses:
            return
        logs.concerning(*statuses)
        stored: set[str] = set()
        try:
            for vif_id, status in statuses.items():
                if status == FORGET:
                    self._context.store.clear_neutron_status([vif_id])
                    continue
                self._context.store.set_neutron_status(vif_id, status)
                stored.add(vif_id)
        finally:
            self._on_status(stored)
        if stored:
            shown = ", ".join(f"VIF {vif_id} is {statuses[vif_id]}" for vif_id in sorted(stored)[:_SHOWN_MAX])
            more = f", and {len(stored) - _SHOWN_MAX} more" * (len(stored) > _SHOWN_MAX)
            LOG.info("received: %s%s", shown, more)

    def _refusal(self, status: int, message: str) -> Response:
        self._metrics.external_events.labels(WHOLE, str(status)).inc()
        kind = _KINDS.get(status, "notFound" if status == 404 else "computeFault")
        response = _response(status, {kind: {"code": status, "message": message}})
        if status == 401:
            response.headers["WWW-Authenticate"] = "X-Auth-Token"
        elif status == 405:
            response.headers["Allow"] = "POST"
        elif status == 503:
            response.headers["Retry-After"] = _RETRY_SECONDS
        return response


def _response(status: int, document: Mapping[str, Any]) -> Response:
    return Response(json.dumps(document).encode("ascii"), status, media_type="application/json")


async def _body(request: Request) -> bytes | None:
    """The whole body; None if it is too large."""
    if int(request.headers.get("content-length", 0)) > BODY_MAX:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            return None
    return bytes(body)


def _request_id(request: Request) -> str:
    """The sender's request id if it is plain, so that both logs have the same id."""
    if not hasattr(request.state, "id"):
        given = request.headers.get(_REQUEST_ID, "")
        request.state.id = given if _GIVEN_ID.fullmatch(given) else f"req-{uuid.uuid4()}"
    return str(request.state.id)


def _version(request: Request) -> str:
    """The microversion of the answer: novaclient warns about each answer without one."""
    given = request.headers.get(_VERSION, "")
    return given if _GIVEN_VERSION.fullmatch(given) else _OWN_VERSION
