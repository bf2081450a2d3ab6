"""Outgoing external events: which go into a message, the message's body, and the meaning of its answer. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vifplug.model import printable
from vifplug.store.events import Notice

_TEXT_MAX = 200
"""Characters of an endpoint's text in a log line."""

_TAKEN, _EACH = 200, 207
_UNACCEPTABLE = (400, 413, 422)
"""Statuses for a whole message: the endpoint refuses a part of it, or its length."""
_FAILED = 500
"""May be caused by a single event, unlike a gateway's status for an endpoint that is away."""
_MISSING = 404
_REFUSED_EVENT = (400, 404)
_NO_INSTANCE = "itemNotFound"
"""The key of Nova's own 404, which is about instances and not about a wrong path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An endpoint's answer."""

    status: int
    body: bytes = b""
    """The received part of the body."""
    retry_after: float = 0.0
    """Seconds of its Retry-After."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The meaning of an answer for a message's events, by sequence number. Unmentioned events must be sent again."""

    done: frozenset[int] = frozenset()
    refused: Mapping[int, str] = field(default_factory=dict)
    """Events that must not be sent again, and why."""
    later: Mapping[int, str] = field(default_factory=dict)
    """Events that were not accepted now, each for its own reason."""
    is_taken: bool = False
    """Whether the endpoint accepted the message as a whole."""
    failure: str = ""
    """The reason, if the endpoint itself failed."""
    splits: bool = False
    """Whether a smaller message may succeed."""


def choose(waiting: Iterable[Notice], size: int, held: Collection[str], alone: Collection[str]) -> list[Notice]:
    """The next message's events: at most ``size``, in order, and only the oldest of each VIF.

    With two events of a VIF in one message, the later could be accepted and the earlier be sent again after it.

    :param held: VIFs whose events have to wait.
    :param alone: VIFs whose events make a whole message fail; each gets a separate message.
    """
    chosen: list[Notice] = []
    passed = set(held)
    for notice in waiting:
        if notice.vif_id in passed:
            continue
        passed.add(notice.vif_id)
        if notice.vif_id in alone:
            if chosen:
                continue
            return [notice]
        chosen.append(notice)
        if len(chosen) == size:
            break
    return chosen


def message(notices: Sequence[Notice]) -> bytes:
    """The body of a request."""
    events = [
        {"name": notice.name, "server_uuid": notice.instance, "status": notice.status, "tag": notice.vif_id}
        for notice in notices
    ]
    return printable.dumps({"events": events}).encode()


def judge(answer: Answer, notices: Sequence[Notice]) -> Outcome:
    """The meaning of an answer to a message with these events."""
    status, is_alone = answer.status, len(notices) == 1
    if status == _EACH:
        return _each(answer.body, notices)
    # The status is enough: an incomplete or invalid body does not matter.
    if _TAKEN <= status < 300:
        return Outcome(done=frozenset(notice.seq for notice in notices), is_taken=True)
    reason = _reason(answer)
    if status == _MISSING and _NO_INSTANCE in _object(answer.body):
        # Nova's answer if it could dispatch none of the events.
        return Outcome(refused=dict.fromkeys((notice.seq for notice in notices), reason), is_taken=True)
    if status in _UNACCEPTABLE:
        return Outcome(refused={notices[0].seq: reason}) if is_alone else Outcome(splits=True)
    if status == _FAILED:
        return broken(f"it answered {reason}", notices)
    return Outcome(failure=f"it answered {reason}")


def broken(reason: str, notices: Sequence[Notice]) -> Outcome:
    """The endpoint received a message and failed, because of itself, the message's length, or one of the events."""
    if len(notices) > 1:
        return Outcome(failure=reason, splits=True)
    return Outcome(failure=reason, later={notices[0].seq: reason})


def _each(body: bytes, notices: Sequence[Notice]) -> Outcome:
    """Each event's own code, matched by the event's fields, because the order is not guaranteed."""
    echoed = _object(body).get("events")
    events = [event for event in echoed if isinstance(event, dict)] if isinstance(echoed, list) else []
    codes = {_key(event): event.get("code") for event in events}
    done: set[int] = set()
    refused: dict[int, str] = {}
    later: dict[int, str] = {}
    missing: dict[int, str] = {}
    for notice in notices:
        code = codes.get((notice.name, notice.instance, notice.vif_id))
        if type(code) is not int:
            missing[notice.seq] = "its answer has no code for it"
        elif _TAKEN <= code < 300:
            done.add(notice.seq)
        elif code in _REFUSED_EVENT:
            refused[notice.seq] = str(code)
        else:
            later[notice.seq] = str(code)
    if len(missing) == len(notices):
        return Outcome(failure=f"its answer of {_EACH} cannot be parsed: {body[:_TEXT_MAX]!r}")
    return Outcome(done=frozenset(done), refused=refused, later=later | missing, is_taken=True)


def _key(event: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(event.get(key)) for key in ("name", "server_uuid", "tag"))


def _object(body: bytes) -> dict[str, Any]:
    """A body's JSON object; empty for anything else."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _reason(answer: Answer) -> str:
    """The status and its text, in Nova's form or any other, for people."""
    text = ""
    for part in _object(answer.body).values():
        if isinstance(part, dict) and isinstance(part.get("message"), str):
            text = part["message"]
    text = text or answer.body[: 4 * _TEXT_MAX].decode(errors="replace")
    text = " ".join(text.split())[:_TEXT_MAX]
    return f"{answer.status} ({text})" if text else str(answer.status)
