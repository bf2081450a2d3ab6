"""Takes Nova's external events, so that Neutron tells this host what it tells Nova.

Nothing that comes in here changes the host: it is a word about a VIF's state, and is kept as such.
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
from vifplug.daemon.nova.incoming import FORGET, TAKEN, Here
from vifplug.daemon.rate_limit import RateLimitedWarning
from vifplug.engine.commands.plug import Plugger
from vifplug.errors import InputError, StoreError

LOG = logging.getLogger(__name__)

PATH = "/v2.1/os-server-external-events"
BODY_MAX_MIB = 1
BODY_MAX = BODY_MAX_MIB * 2**20
"""Bytes; an event is a hundred and fifty."""
WHOLE = "message"
"""In the metric, in place of an event's name: what is said of a message as a whole."""

_TOKEN = b"x-auth-token"
_REQUEST_ID = "X-OpenStack-Request-ID"
_VERSION = "X-OpenStack-Nova-API-Version"
_GIVEN_ID = re.compile(r"[!-~]{1,64}")
_GIVEN_VERSION = re.compile(r"2\.[0-9]{1,3}")
_OWN_VERSION = "2.1"
_KINDS = {400: "badRequest", 401: "unauthorized", 405: "badMethod", 413: "overLimit", 503: "serviceUnavailable"}
"""Nova's names of what went wrong. A path that is not there gets another than Nova's itemNotFound, by which senders
know servers that are not."""
_RETRY_SECONDS = "1"
_SHOWN_MAX = 20


def create_receiver(
    plugger: Plugger, settings: Settings, metrics: Metrics, told: Callable[[set[str]], None]
) -> Receiver:
    """The ASGI application for ``[events] listen``.

    :param metrics: counts in ``external_events``, by ``name`` and ``code``.
    :param told: called, in a thread, with the ids of VIFs that an event was about; some may not be plugged here.
    """
    return Receiver(plugger, settings.listen_token, metrics, told)


class Receiver:
    """One path and one method, for whoever gives the token."""

    def __init__(self, plugger: Plugger, token: str, metrics: Metrics, told: Callable[[set[str]], None]) -> None:
        self._plugger, self._token, self._metrics, self._told = (
            plugger,
            token.encode("utf-8", "surrogateescape"),
            metrics,
            told,
        )
        self._turn: anyio.CapacityLimiter | None = None
        """One message at a time, in the order they came whole: a word must not overtake the one before it."""
        self._strangers = RateLimitedWarning(LOG)

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
            LOG.info("the sender of events went before its message was complete")
        finally:
            logs.CURRENT.reset(token)

    async def _answer(self, request: Request) -> Response:
        if not self._is_known(request):
            whom = request.client.host if request.client else "an unknown address"
            self._strangers.say(
                f"refused a request from {whom} that gave no X-Auth-Token, or another than [events] listen_token"
            )
            return self._refusal(401, "the X-Auth-Token of [events] listen_token is needed")
        if request.scope["path"] != PATH:
            return self._refusal(404, f"there is nothing here but {PATH}")
        if request.method != "POST":
            return self._refusal(405, f"{PATH} takes POST alone")
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
        # Two would be a riddle, and no token of ours is nobody's.
        return bool(self._token) and len(given) == 1 and hmac.compare_digest(given[0], self._token)

    async def _in_turn(self, body: bytes) -> Response:
        if self._turn is None:
            self._turn = anyio.CapacityLimiter(1)
        return await anyio.to_thread.run_sync(self._hear, body, limiter=self._turn)

    def _hear(self, body: bytes) -> Response:
        """Judge the events of a message and keep what they say.

        :raises InputError: when it is no such message; nothing is kept.
        :raises StoreError: when it cannot be kept, or not all of it; to say it again does no harm.
        """
        events, given = incoming.read(body)
        here = Here.of(self._plugger.store.contents())
        verdicts = [incoming.judge(event, here) for event in events]
        self._keep(incoming.last_words(verdicts))
        for event, verdict in zip(events, verdicts, strict=True):
            self._metrics.external_events.labels(event.name, str(verdict.code)).inc()
        status = 200 if all(verdict.code == TAKEN for verdict in verdicts) else 207
        answers = [verdict.as_json(one) for verdict, one in zip(verdicts, given, strict=True)]
        return _response(status, {"events": answers})

    def _keep(self, words: Mapping[str, str]) -> None:
        if not words:
            return
        logs.concerning(*words)
        kept: set[str] = set()
        try:
            for vif_id, word in words.items():
                if word == FORGET:
                    self._plugger.store.unsay([vif_id])
                    continue
                self._plugger.store.tell(vif_id, word)
                kept.add(vif_id)
        finally:
            self._told(kept)
        if kept:
            shown = ", ".join(f"VIF {vif_id} is {words[vif_id]}" for vif_id in sorted(kept)[:_SHOWN_MAX])
            LOG.info("heard that %s%s", shown, f", and of {len(kept) - _SHOWN_MAX} more" * (len(kept) > _SHOWN_MAX))

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
    """The whole body; None for one that is too large, of which no more is kept."""
    if int(request.headers.get("content-length", 0)) > BODY_MAX:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_MAX:
            return None
    return bytes(body)


def _request_id(request: Request) -> str:
    """The sender's own, where it gives a plain one: its log and ours are about the same then."""
    if not hasattr(request.state, "id"):
        given = request.headers.get(_REQUEST_ID, "")
        request.state.id = given if _GIVEN_ID.fullmatch(given) else f"req-{uuid.uuid4()}"
    return str(request.state.id)


def _version(request: Request) -> str:
    """The microversion to answer with: novaclient warns with each answer that names none."""
    given = request.headers.get(_VERSION, "")
    return given if _GIVEN_VERSION.fullmatch(given) else _OWN_VERSION
