"""Events as they come: wakes those who wait for one, and streams them as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence

import anyio.to_thread

from vifplug.daemon.metrics import Metrics
from vifplug.errors import Busy, VifplugError
from vifplug.eventlog import EventLog
from vifplug.events import Event

LOG = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
_FOLLOWERS_MAX = 256
_CHUNK = 500
"""Events read at once."""


class Hub:
    """Where those meet who wait for events and those who note them. ``wake`` and ``close`` are for any thread.

    :param log: where events are kept.
    :param metrics: is told of events, and of how many follow them.
    """

    def __init__(self, log: EventLog, metrics: Metrics) -> None:
        self.log = log
        self._metrics = metrics
        self._lock = threading.Lock()
        self._turn = 0
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}
        self._counted = log.sequence()
        self.closed = False
        self._followers = 0

    @property
    def turn(self) -> int:
        """A number for ``changed``, to be taken before one looks."""
        return self._turn

    def wake(self) -> None:
        """Something was noted."""
        with self._lock:
            self._turn += 1
            waiting, self._waiting = self._waiting, {}
        for future, loop in waiting.items():
            with contextlib.suppress(RuntimeError):  # a loop that has ended has nobody to wake
                loop.call_soon_threadsafe(_end, future)

    def close(self) -> None:
        """Let everybody go: the daemon ends."""
        self.closed = True
        self.wake()

    async def changed(self, turn: int, seconds: float) -> bool:
        """Return once something was noted after ``turn`` was taken: True; or after ``seconds``, False."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            if turn != self._turn or self.closed:
                return True
            self._waiting[future] = loop
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return False
        finally:
            with self._lock:
                self._waiting.pop(future, None)
        return True

    async def newest(self) -> int:
        """The number of the newest event."""
        return await anyio.to_thread.run_sync(self.log.sequence)

    async def concerned(self, vif_ids: Collection[str], since: int, seconds: float) -> None:
        """Return once an event after ``since`` is about one of these VIFs, or after ``seconds``.

        :raises EventsLost: when there are so many that some are gone.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.closed:
            turn = self.turn
            found = await self._read(since)
            if any(event.vif_id in vif_ids for event in found):
                return
            if found:
                since = found[-1].seq
            else:
                await self.changed(turn, left)

    def count(self) -> None:
        """Tell the metrics of what was noted since the last time, whoever noted it."""
        with contextlib.suppress(VifplugError):
            while found := self.log.events(max(self._counted, self.log.oldest()), _CHUNK):
                for event in found:
                    self._metrics.events.labels(event.state).inc()
                self._counted = found[-1].seq

    @contextlib.contextmanager
    def _following(self) -> Iterator[None]:
        self._followers += 1
        self._metrics.followers.set(self._followers)
        try:
            yield
        finally:
            self._followers -= 1
            self._metrics.followers.set(self._followers)

    async def stream(self, since: int | None, *, follow: bool) -> AsyncIterator[bytes]:
        """Events from a number on, as they are sent; what cannot be had is raised before the first byte is asked for.

        :param since: the last number the follower has; None for what comes from now on, or without ``follow`` for all.
        :raises EventsLost: when some of them are gone.
        :raises Busy: when too many follow.
        """
        if self._followers >= _FOLLOWERS_MAX:
            raise Busy(f"{self._followers} follow already, which is the most there may be; try again later")
        turn = self.turn
        start = await anyio.to_thread.run_sync(self._start, since, follow)
        found = await self._read(start)
        return self._sent(start, found, turn, follow=follow)

    def _start(self, since: int | None, follow: bool) -> int:
        if since is not None:
            return since
        return self.log.sequence() if follow else self.log.oldest()

    async def _read(self, since: int) -> Sequence[Event]:
        return await anyio.to_thread.run_sync(self.log.events, since, _CHUNK)

    async def _sent(self, since: int, found: Sequence[Event], turn: int, *, follow: bool) -> AsyncIterator[bytes]:
        with self._following():
            # An id alone is no event, but what a follower is to come back with that is let go before the first one.
            yield f"id: {since}\n\n".encode()
            while True:
                for event in found:
                    yield sent(event)
                    since = event.seq
                if len(found) < _CHUNK:
                    if not follow or self.closed:
                        return
                    if not await self.changed(turn, HEARTBEAT_SECONDS):
                        yield b": nothing new\n\n"
                turn = self.turn
                try:
                    found = await self._read(since)
                except VifplugError as error:
                    # The answer has begun; whoever asks again is told in a problem document.
                    LOG.warning("a follower at event %d is let go: %s", since, error)
                    return


def sent(event: Event) -> bytes:
    """An event as a server-sent one (WHATWG HTML, section 9.2)."""
    return f"id: {event.seq}\nevent: {event.state}\ndata: {json.dumps(event.as_json())}\n\n".encode("ascii")


def _end(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
