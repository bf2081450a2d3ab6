"""Live events: wakes subscribers that wait for one, and streams them as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import NamedTuple

import anyio.to_thread

from vifplug.daemon.http import capacity
from vifplug.daemon.http.recent_events import EventFrame, Recent, sent
from vifplug.daemon.metrics import Metrics, Steps
from vifplug.errors import Busy, VifplugError
from vifplug.store.events import EventLog

LOG = logging.getLogger(__name__)

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_SECONDS = 15.0
_ROOT = 0
_FOLLOWERS_MAX = 256
_KEPT_FOR_ROOT = 32
_FOLLOWERS_OF_A_USER = 96
"""Maximum of a user other than root: besides these and the waits of middleware.py, connections are left for changes."""
_CHUNK = 500
"""Events sent at once."""
_WAKE_BATCH = 16
"""Subscribers that are served before other requests get their turn of the loop."""


class _Place(NamedTuple):
    """Where a stream continues after what was read for it alone."""

    since: int
    turn: int
    frames: Sequence[EventFrame]
    vif_ids: Collection[str]
    """Only their events; empty for all."""


class Stream:
    """Events on their way to a subscriber, whose place is kept until the last one, ``aclose`` or ``leave``."""

    def __init__(self, parts: AsyncGenerator[bytes], leave: Callable[[], None], start: int) -> None:
        self._parts = parts
        self.start = start
        """The number of the event before its first."""
        self._leave: Callable[[], None] | None = leave

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> bytes:
        """The next part."""
        try:
            return await anext(self._parts)
        except BaseException:
            self.leave()
            raise

    async def aclose(self) -> None:
        """End it."""
        self.leave()
        await self._parts.aclose()

    def leave(self) -> None:
        """Release the place, also of a stream that has not begun."""
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class Hub:
    """Passes stored events on to their subscribers. ``wake`` and ``close`` are for any thread.

    :param log: the stored events.
    :param metrics: counts events and subscribers.
    """

    def __init__(self, log: EventLog, metrics: Metrics) -> None:
        self.log = log
        self._recent = Recent(log)
        self._metrics = metrics
        self._steps = Steps(metrics)
        self._lock = threading.Lock()
        self._turn = 0
        self._waiting: dict[asyncio.Future[None], asyncio.AbstractEventLoop] = {}
        self._counted = log.sequence()
        self.closed = False
        self._followers: Counter[int] = Counter()
        self._reading: asyncio.Task[None] | None = None

    @property
    def turn(self) -> int:
        """A number for ``changed``, to be taken before a look."""
        return self._turn

    def wake(self) -> None:
        """An event was stored."""
        with self._lock:
            self._turn += 1
            waiting, self._waiting = self._waiting, {}
        for loop in set(waiting.values()):
            futures = [future for future, its_loop in waiting.items() if its_loop is loop]
            with contextlib.suppress(RuntimeError):  # a loop that has ended has no subscribers
                loop.call_soon_threadsafe(_end, loop, futures)

    def close(self) -> None:
        """End all streams and waits: the daemon ends."""
        self.closed = True
        self.wake()

    async def changed(self, turn: int, seconds: float) -> bool:
        """Return once an event was stored after ``turn`` was taken: True; or after ``seconds``, False."""
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
        await self._catch_up()
        return self._recent.newest

    async def await_event(self, vif_ids: Collection[str], since: int, seconds: float) -> None:
        """Return once an event after ``since`` is about one of these VIFs, or after ``seconds``.

        :raises EventsLost: there are so many that some are no longer stored.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.closed:
            turn, frames = await self._after(since)
            if any(each.event.vif_id in vif_ids for each in frames):
                return
            if frames:
                since = frames[-1].event.seq
            else:
                await self.changed(turn, left)

    def count(self) -> None:
        """Count the events since the last call, from any process."""
        with contextlib.suppress(VifplugError):
            self._metrics.set_dropped_notifications(self.log.outbox_counts()[1])
            while events := self.log.events(max(self._counted, self.log.oldest()), _CHUNK):
                for event in events:
                    self._metrics.events.labels(event.state).inc()
                    self._steps.see(event)
                self._counted = events[-1].seq

    # -- subscribers --------------------------------------------------------------------------------------

    async def stream(
        self, since: int | None, *, follow: bool, uid: int = _ROOT, after: str = "", vif_ids: Collection[str] = ()
    ) -> Stream:
        """Events from a number on, as sent; errors are raised before the first byte is read.

        :param since: the subscriber's last number; None for events from now on, or without ``follow`` for all.
        :param uid: the subscriber's.
        :param after: in place of a number, a time (ISO 8601, UTC).
        :param vif_ids: only events of these VIFs.
        :raises EventsLost: some of them are no longer stored.
        :raises Busy: there are too many subscribers.
        """
        self._enter(uid)  # before any await: of many simultaneous subscribers, each is counted
        try:
            start = since if since is not None else await anyio.to_thread.run_sync(self._start, follow, after)
            stored: Sequence[EventFrame] = ()
            covered = start
            if vif_ids:
                stored, covered = await anyio.to_thread.run_sync(self._stored_of, frozenset(vif_ids), start)
            turn, frames = await self._after(covered)
        except BaseException:
            self._leave(uid)
            raise
        place = _Place(covered, turn, frames, frozenset(vif_ids))
        return Stream(self._sent(start, stored, place, follow=follow), lambda: self._leave(uid), start)

    def _enter(self, uid: int) -> None:
        with self._lock:
            total, own = self._followers.total(), self._followers[uid]
            share = capacity.followers()
            most, most_own = min(_FOLLOWERS_MAX, share), min(_FOLLOWERS_OF_A_USER, share * 3 // 8)
            most_others = most - min(_KEPT_FOR_ROOT, share // 4)
            if total >= (most if uid == _ROOT else most_others):
                raise Busy(f"{total} follow already, which is the maximum; try again later")
            if uid != _ROOT and own >= most_own:
                raise Busy(f"{own} of uid {uid} follow already, which is the maximum of one user; try again later")
            self._followers[uid] += 1
            self._metrics.followers.set(total + 1)

    def _leave(self, uid: int) -> None:
        with self._lock:
            self._followers[uid] -= 1
            self._followers += Counter()  # removes users without subscribers
            self._metrics.followers.set(self._followers.total())

    def _stored_of(self, vif_ids: Collection[str], since: int) -> tuple[Sequence[EventFrame], int]:
        stored, covered = self.log.events_of(vif_ids, since)
        return [EventFrame(event, sent(event)) for event in stored], covered

    def _start(self, follow: bool, after: str) -> int:
        if after:
            return self.log.before(after)
        return self.log.sequence() if follow else self.log.oldest()

    async def _catch_up(self) -> None:
        """Read new events, once for all subscribers that request it meanwhile."""
        if self._recent.turn == self._turn:
            return
        loop, reading = asyncio.get_running_loop(), self._reading
        if reading is None or reading.done() or reading.get_loop() is not loop:
            reading = self._reading = loop.create_task(_in_thread(self._recent, self._turn))
        await asyncio.shield(reading)  # a subscriber that ends does not cancel it for the others

    async def _after(self, since: int) -> tuple[int, Sequence[EventFrame]]:
        """Some events after a number; and for ``changed`` the turn whose events are included, or come next."""
        await self._catch_up()
        turn = self._recent.turn
        frames = self._recent.after(since, _CHUNK)
        return turn, await self._read(since) if frames is None else frames

    async def _read(self, since: int) -> Sequence[EventFrame]:
        return await anyio.to_thread.run_sync(self._recent.read, since, _CHUNK)

    async def _sent(
        self, start: int, stored: Sequence[EventFrame], place: _Place, *, follow: bool
    ) -> AsyncGenerator[bytes]:
        # A comment, which shows at once that the stream works. By the standard a block with only an id is not an event,
        # but httpx-sse makes one without data of it.
        yield f": id: {start}\n\n".encode()
        for first in range(0, len(stored), _CHUNK):
            yield b"".join(each.sent for each in stored[first : first + _CHUNK])
        since, turn, frames, vif_ids = place
        while True:
            if frames:
                since = frames[-1].event.seq
                wanted = [each.sent for each in frames if not vif_ids or each.event.vif_id in vif_ids]
                if wanted:
                    yield b"".join(wanted)
            if follow and self.closed:
                return
            is_heartbeat = False
            if len(frames) < _CHUNK:
                if not follow:
                    return
                is_heartbeat = not await self.changed(turn, HEARTBEAT_SECONDS)
                if is_heartbeat:
                    yield b": nothing new\n"  # without an empty line, which httpx-sse would also turn into an event
            try:
                # After a long time the store itself is read, in case a wake-up was missed.
                turn, frames = (self.turn, await self._read(since)) if is_heartbeat else await self._after(since)
            except VifplugError as error:
                # The answer has begun; the next request gets a problem document.
                LOG.warning("a follower at event %d is disconnected: %s", since, error)
                return


async def _in_thread(recent: Recent, turn: int) -> None:
    await anyio.to_thread.run_sync(recent.catch_up, turn)


def _end(loop: asyncio.AbstractEventLoop, futures: Sequence[asyncio.Future[None]]) -> None:
    for future in futures[:_WAKE_BATCH]:
        if not future.done():
            future.set_result(None)
    if len(futures) > _WAKE_BATCH:
        loop.call_soon(_end, loop, futures[_WAKE_BATCH:])
