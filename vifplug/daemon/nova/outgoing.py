"""Nova's external events as they go out: which go into a message, what it says, and what its answer means. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vifplug.model import printable
from vifplug.store.events import Notice

_SAID_MAX = 200
"""Characters of somebody else's words in a line of the log."""

_TAKEN, _EACH = 200, 207
_UNACCEPTABLE = (400, 413, 422)
"""Of a whole message: something in it, or its length, is not to the endpoint's liking."""
_FAILED = 500
"""May well be about one event among them, other than what gateways say of an endpoint that is away."""
_MISSING = 404
_REFUSED_EVENT = (400, 404)
_NO_INSTANCE = "itemNotFound"
"""How Nova's own 404 begins, which is about instances and not about a wrong path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    body: bytes = b""
    """As much of it as came."""
    retry_after: float = 0.0
    """Seconds the endpoint asked us to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What an answer means for a message's events, by sequence number. Those named nowhere are to be sent again."""

    done: frozenset[int] = frozenset()
    refused: Mapping[int, str] = field(default_factory=dict)
    """Never to be sent again, and why."""
    later: Mapping[int, str] = field(default_factory=dict)
    """Not taken now, for a reason of their own."""
    is_taken: bool = False
    """Whether the endpoint took the message as such."""
    trouble: str = ""
    """Why it did not, where that says something of the endpoint."""
    splits: bool = False
    """Whether a part of the message may fare better than the whole."""


def choose(waiting: Iterable[Notice], size: int, held: Collection[str], alone: Collection[str]) -> list[Notice]:
    """The next message's events: at most ``size``, in order, and of each VIF the oldest alone.

    Were two of a VIF in one message, the later could be taken and the earlier be left to be sent after it.

    :param held: VIFs whose events have to wait.
    :param alone: VIFs whose events spoil a message for the others; each gets one of its own.
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
        {"name": one.name, "server_uuid": one.instance, "status": one.status, "tag": one.vif_id} for one in notices
    ]
    return printable.dumps({"events": events}).encode()


def judge(answer: Answer, notices: Sequence[Notice]) -> Judgement:
    """What an answer to a message with these events means."""
    status, is_alone = answer.status, len(notices) == 1
    if status == _EACH:
        return _each(answer.body, notices)
    # The status says all: a body that is cut short or makes no sense takes nothing back.
    if _TAKEN <= status < 300:
        return Judgement(done=frozenset(one.seq for one in notices), is_taken=True)
    reason = _reason(answer)
    if status == _MISSING and _NO_INSTANCE in _object(answer.body):
        # Nova's answer when it could hand on none of the events.
        return Judgement(refused=dict.fromkeys((one.seq for one in notices), reason), is_taken=True)
    if status in _UNACCEPTABLE:
        return Judgement(refused={notices[0].seq: reason}) if is_alone else Judgement(splits=True)
    if status == _FAILED:
        return broken(f"it answered {reason}", notices)
    return Judgement(trouble=f"it answered {reason}")


def broken(why: str, notices: Sequence[Notice]) -> Judgement:
    """The endpoint got a message and failed over it: its own fault, the message's length, or one of the events."""
    if len(notices) > 1:
        return Judgement(trouble=why, splits=True)
    return Judgement(trouble=why, later={notices[0].seq: why})


def _each(body: bytes, notices: Sequence[Notice]) -> Judgement:
    """Each event's own code, found by what the event says: nothing promises that the order is kept."""
    echoed = _object(body).get("events")
    codes = {_key(one): one.get("code") for one in echoed if isinstance(one, dict)} if isinstance(echoed, list) else {}
    done: set[int] = set()
    refused: dict[int, str] = {}
    later: dict[int, str] = {}
    unsaid: dict[int, str] = {}
    for one in notices:
        code = codes.get((one.name, one.instance, one.vif_id))
        if type(code) is not int:
            unsaid[one.seq] = "its answer says nothing of it"
        elif _TAKEN <= code < 300:
            done.add(one.seq)
        elif code in _REFUSED_EVENT:
            refused[one.seq] = str(code)
        else:
            later[one.seq] = str(code)
    if len(unsaid) == len(notices):
        return Judgement(trouble=f"its answer of {_EACH} cannot be understood: {body[:_SAID_MAX]!r}")
    return Judgement(done=frozenset(done), refused=refused, later=later | unsaid, is_taken=True)


def _key(event: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(event.get(key)) for key in ("name", "server_uuid", "tag"))


def _object(body: bytes) -> dict[str, Any]:
    """What a body says; nothing where it is no JSON object."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(answer: Answer) -> str:
    """A status and the words that came with it, for people: Nova's own form, or whatever there is."""
    words = ""
    for part in _object(answer.body).values():
        if isinstance(part, dict) and isinstance(part.get("message"), str):
            words = part["message"]
    words = words or answer.body[: 4 * _SAID_MAX].decode(errors="replace")
    words = " ".join(words.split())[:_SAID_MAX]
    return f"{answer.status} ({words})" if words else str(answer.status)
