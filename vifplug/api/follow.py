"""Events in order, each once: from the daemon's stream, resumed after an interruption, or from the store."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import itertools
import json
import logging
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from vifplug.api import parameters, sse
from vifplug.api.http import Request, Wire
from vifplug.api.http_stream import Stream
from vifplug.errors import DaemonUnreachable, InputError, StoreError, VifplugError
from vifplug.model import limits
from vifplug.model.backoff import pause
from vifplug.model.events import Event
from vifplug.model.quoting import quote_python
from vifplug.model.types import each_once

LOG = logging.getLogger(__name__)

_PATH = "/v1/events"
SEQUENCE_HEADER = "X-Vifplug-Sequence"
_SILENT_SECONDS = 45.0
"""The daemon sends something every 15 s; after three times as long without anything the follower reconnects."""
_FIRST_SECONDS, _LONGEST_SECONDS = 0.05, 1.0
"""Between tries to reach a daemon that is away."""
LOOK_SECONDS = 0.2
"""Between reads of the store."""
PAGE = 1000


class Log(Protocol):
    """The part of the store that is followed."""

    def sequence(self) -> int:
        """The newest event's number."""

    def oldest(self) -> int:
        """The number to follow from to get all stored events."""

    def before(self, time: str) -> int:
        """The number to follow from to get the events since a time."""

    def events(self, since: int, limit: int) -> list[Event]:
        """Those after a number; EventsLost if some of them are no longer stored."""

    def events_of(self, vif_ids: Collection[str], since: int) -> tuple[list[Event], int]:
        """Those of some VIFs; and the newest number of all events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which events.

    :raises InputError: no event can have that number, an id is none, or something is of the wrong type.
    """

    since: int | datetime.datetime | None = None
    ids: Sequence[str] | None = None
    follow: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.since, datetime.datetime):
            _checked(self.since)
        parameters.flag("follow", self.follow)
        if self.ids is not None:
            ids = each_once(self.ids)
            if len(ids) > limits.FOLLOWED_MAX:
                raise InputError(f"ids: events of {len(ids)} VIFs; give at most {limits.FOLLOWED_MAX}, or none for all")
            object.__setattr__(self, "ids", ids or None)

    @property
    def number(self) -> int | None:
        """The last known event's number, if that is given."""
        return None if isinstance(self.since, datetime.datetime) else self.since

    @property
    def time(self) -> str:
        """The given time as events have it; "" if none is given. One without a zone is local."""
        if not isinstance(self.since, datetime.datetime):
            return ""
        utc = self.since.astimezone(datetime.UTC)
        return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def of_log(
    log: Log,
    choice: Choice,
    *,
    sleep: Callable[[float], None] = time.sleep,
    is_over: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """The events in the store and, when following, those added to it. This call determines where they begin.

    :param is_over: whether the log was closed, which ends the iterator.
    :raises EventsLost, StoreError: also by the iterator.
    """
    start = start_of(log, choice)
    if choice.ids is None:
        return _paged(log, start, log.events(start, PAGE), sleep if choice.follow else None, is_over)
    stored, covered = log.events_of(choice.ids, start)
    if not choice.follow:
        return iter(stored)
    new = _paged(log, covered, [], sleep, is_over)
    return itertools.chain(stored, (event for event in new if event.vif_id in (choice.ids or ())))


def start_of(log: Log, choice: Choice) -> int:
    """The number of the event before the first one."""
    if choice.time:
        return log.before(choice.time)
    if choice.number is not None:
        return choice.number
    return log.sequence() if choice.follow else log.oldest()


def _paged(
    log: Log, since: int, page: list[Event], sleep: Callable[[float], None] | None, is_over: Callable[[], bool]
) -> Iterator[Event]:
    while True:
        yield from page
        if is_over():
            return
        since = page[-1].seq if page else since
        if not page:
            if sleep is None:
                return
            sleep(LOOK_SECONDS)
        try:
            page = log.events(since, PAGE)
        except StoreError:
            if is_over():
                return
            raise


def of_daemon(wire: Wire, choice: Choice) -> Iterator[Event]:
    """The daemon's events. This call determines where they begin, and must reach the daemon.

    When the daemon restarts, the follower resumes its stream after the last event. It ends with the connections.

    :raises EventsLost: also by the iterator, if the daemon was away for longer than events are stored.
    :raises DaemonUnreachable: it does not answer; without ``follow``, also by the iterator.
    """
    stream = wire.stream(request(choice))
    reader = _Reader(wire, choice.number)
    return _followed(wire, reader, stream, choice) if choice.follow else reader.read(stream)


def _checked(since: object) -> None:
    if since is None:
        return
    if isinstance(since, bool) or not isinstance(since, int) or not 0 <= since <= limits.SEQUENCE_MAX:
        raise InputError(f"{quote_python(since)} is not an event number; it must be a whole number, 0 or more")


def request(choice: Choice) -> Request:
    """The request of a stream."""
    asked = [("follow", "true" if choice.follow else "false")]
    asked += [] if choice.number is None else [("since", str(choice.number))]
    asked += [("after", choice.time)] if choice.time else []
    asked += [("vif", vif_id) for vif_id in choice.ids or ()]
    return Request(method="GET", target=f"{_PATH}?{urllib.parse.urlencode(asked)}", seconds=_SILENT_SECONDS)


class Position:
    """Where a follower is: its events from the parts of streams, one stream after the other. Without I/O.

    :param since: the number of the last known event.
    """

    def __init__(self, since: int | None) -> None:
        self.since = since
        self.has_begun = False
        """Whether the daemon has answered with a stream."""
        self._parser = sse.Parser()

    def begin(self, sequence: str | None) -> None:
        """A stream begins. If it is cut off before its first event, the next one returns to there.

        :param sequence: its header.
        """
        self._parser, self.has_begun = sse.Parser(), True
        if sequence is not None and sequence.isascii() and sequence.isdigit():
            self.since = int(sequence) if self.since is None else max(self.since, int(sequence))

    def events(self, part: bytes) -> list[Event]:
        """The events that a part completes, without those that were received before.

        :raises KeyError, TypeError, ValueError, RecursionError: they are not vifplugd's.
        """
        return [event for frame in self._parser.feed(part) if (event := self._taken(frame)) is not None]

    def _taken(self, frame: sse.Frame) -> Event | None:
        seq = int(frame.id) if frame.id else None
        event = Event.from_json(json.loads(frame.data)) if frame.data else None
        seq = int(event.seq) if event is not None else seq
        if seq is None or (self.since is not None and seq <= self.since):
            return None
        self.since = seq
        return event


NOT_EVENTS = (KeyError, TypeError, ValueError, RecursionError)
"""The errors of ``Position.events``."""


def not_events(not_vifplugd: Callable[[str], DaemonUnreachable]) -> DaemonUnreachable:
    """The error for a stream that is not one of events."""
    return not_vifplugd(f"its stream at {_PATH} is another")


class _Reader:
    """Reads streams, one after the other, and keeps the position."""

    def __init__(self, wire: Wire, since: int | None) -> None:
        self._wire = wire
        self.position = Position(since)

    def read(self, stream: Stream) -> Iterator[Event]:
        """Its events, until its end.

        :raises DaemonUnreachable: it is cut off, or is not vifplugd's.
        """
        with contextlib.closing(stream):
            self.position.begin(stream.header(SEQUENCE_HEADER))
            while part := stream.read():
                try:
                    events = self.position.events(part)
                except NOT_EVENTS as error:
                    raise not_events(self._wire.not_vifplugd) from error
                yield from events


def _followed(wire: Wire, reader: _Reader, stream: Stream | None, choice: Choice) -> Iterator[Event]:
    failures = 0
    while not wire.is_closed:
        try:
            stream = stream or wire.stream(request(replace(choice, since=reader.position.since)))
            for event in reader.read(stream):
                failures = 0
                yield event
            LOG.debug("the daemon ended its stream after event %s", reader.position.since)
        except VifplugError as error:
            if not (wire.is_closed or is_away(error)):
                raise
            if stream is not None and not wire.is_closed:
                LOG.info("%s; it is followed again after event %s when it answers", error, reader.position.since)
        stream = None
        if not wire.is_closed:
            failures += 1
            time.sleep(until_next(failures))


def until_next(failures: int) -> float:
    """Seconds until the daemon is tried again, after so many failures in a row."""
    return pause(failures, _FIRST_SECONDS, _LONGEST_SECONDS)


def is_away(error: VifplugError) -> bool:
    """Whether to wait for the daemon: there was no answer, or it was full; another program's answer is an error."""
    if isinstance(error, DaemonUnreachable):
        return isinstance(error.__cause__, OSError | http.client.IncompleteRead)
    return error.retryable
