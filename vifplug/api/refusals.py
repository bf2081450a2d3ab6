"""The error in a problem document of the daemon, with the class that it had in the daemon."""

from __future__ import annotations

import json
from typing import Any

from vifplug import errors

_DETAIL_MAX = 200
"""The maximum of characters of a foreign message in an error."""


def parsed(body: bytes) -> Any:
    """A body's JSON; None if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def of(request: str, status: int, reason: str, body: bytes) -> errors.VifplugError:
    """The error of an unsuccessful answer.

    :param request: method and path, for an answer without an error of ours.
    :param reason: the status line's text.
    """
    problem = parsed(body)
    error = problem.get("error") if isinstance(problem, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return _class(error.get("type"))(
            error["message"], str(error.get("subject") or ""), str(error.get("step") or "")
        )
    detail = (
        problem.get("detail") or problem.get("title") if isinstance(problem, dict) else body.decode(errors="replace")
    )
    words = " ".join(str(detail or reason).split())[:_DETAIL_MAX]
    return errors.VifplugError(f"the daemon answered {request} with status {status}: {words}")


def _class(name: object) -> type[errors.VifplugError]:
    named = getattr(errors, name, None) if isinstance(name, str) else None
    return named if isinstance(named, type) and issubclass(named, errors.VifplugError) else errors.VifplugError
