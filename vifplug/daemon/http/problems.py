"""Error answers: RFC 9457 problem documents, which contain the command line's error object."""

from __future__ import annotations

import http
import inspect
import logging
import urllib.parse
from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from vifplug import errors
from vifplug.daemon import logs
from vifplug.daemon.http import requests
from vifplug.daemon.http.answers import Problem
from vifplug.daemon.http.delivery.delivery import ASKED_METHOD
from vifplug.model import printable
from vifplug.model.reports import ErrorReport

LOG = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 1

_BLANK = "about:blank"
_STATUS: Mapping[type[errors.VifplugError], int] = {
    errors.UnknownVif: 404,
    errors.InputError: 400,
    errors.NotPermitted: 403,
    errors.Conflict: 409,
    errors.BridgeMissing: 409,
    errors.ResourceMissing: 409,
    errors.EventsLost: 410,
    errors.Busy: 503,
    errors.StoreLocked: 503,
    errors.OvsUnavailable: 503,
    errors.HelperDied: 503,
    errors.TimedOut: 504,
}
"""All others are the host's or the operator's, and get 500."""


def status_of(error: Exception) -> int:
    """The HTTP status of an error."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), 500)


def response(error: Exception, path: str) -> Response:
    """The answer to a request that failed."""
    status = status_of(error)
    known = _known(error)
    is_ours = known is error
    request = logs.CURRENT.get()
    phrase = http.HTTPStatus(status).phrase
    report = ErrorReport(
        type=type(known).__name__ if isinstance(error, errors.VifplugError | HTTPException) else "InternalError",
        message=known.message,
        step=known.step or None,
        subject=known.subject or None,
        retryable=known.retryable,
    )
    problem = Problem(
        type=f"urn:vifplug:error:{type(known).__name__}" if is_ours else _BLANK,
        title=_title(known) if is_ours else phrase,
        status=status,
        detail=known.message,
        # The characters that RFC 3986 permits in a path.
        instance=urllib.parse.quote(path, safe="/:@!$&'()*+,;="),
        request_id=request.id if request else "",
        error=report,
    )
    # ASCII only: a message may quote a lone surrogate, which no encoding has.
    body = printable.dumps(problem.as_json()).encode("ascii")
    return Response(body, status, _headers(error, status, known), MEDIA_TYPE)


def _known(error: Exception) -> errors.VifplugError:
    """The error as a VifplugError: refusals by HTTP itself count as bad input, and an unexpected error as internal."""
    if isinstance(error, errors.VifplugError):
        return error
    if isinstance(error, HTTPException):
        return errors.InputError(error.detail)
    cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return errors.VifplugError(f"internal error: {cause}; please report it with the daemon's log of this request")


def _title(error: errors.VifplugError) -> str:
    """The first sentence of the class's docstring."""
    return (inspect.getdoc(type(error)) or type(error).__name__).partition(".")[0]


def _headers(error: Exception, status: int, known: errors.VifplugError) -> dict[str, str]:
    headers = dict(getattr(error, "headers", None) or {})
    if status == 503 and known.retryable:
        headers["Retry-After"] = str(RETRY_SECONDS)
    return headers


async def of_vifplug(request: Request, error: Exception) -> Response:
    """Answer an error of the library."""
    return response(error, request.scope["path"])


async def of_http(request: Request, error: Exception) -> Response:
    """Answer a refusal by HTTP itself: an unknown path or method, a body that is too large."""
    assert isinstance(error, HTTPException)
    path, method = request.scope["path"], getattr(request.state, ASKED_METHOD, request.method)
    if error.status_code == 404:
        error = HTTPException(404, f"{path!r} is not a path of this API; /openapi.json lists the paths")
    elif error.status_code == 405:
        # Starlette lists those of the first route that has the path, and each method is a separate route here.
        routes = [route for route in request.app.state.routes if route.path_regex.match(path)]
        methods = {name for route in routes for name in route.methods} or {"GET"}
        allowed = ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
        headers = {"Allow": allowed}
        error = HTTPException(405, f"{method!r} is not a method of {path!r}; use {allowed}", headers=headers)
    return response(error, path)


async def of_validation(request: Request, error: Exception) -> Response:
    """Answer an invalid query."""
    assert isinstance(error, RequestValidationError)
    return response(requests.refused(error.errors()), request.scope["path"])
