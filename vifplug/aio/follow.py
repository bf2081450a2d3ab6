"""Events for asyncio: the daemon's stream, resumed after an interruption, or the store's."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace

from vifplug.aio.client import Wire
from vifplug.api import follow as following
from vifplug.api.follow import Choice, Log, Position
from vifplug.errors import StoreError, VifplugError
from vifplug.model.events import Event

LOG = logging.getLogger(__name__)


async def of_daemon(wire: Wire, choice: Choice) -> AsyncGenerator[Event, None]:
    """The daemon's events; as ``vifplug.api.follow.of_daemon``."""
    position, failures = Position(choice.number), 0
    asked = choice
    while not _is_over(wire):
        try:
            async with contextlib.aclosing(_of_stream(wire, position, asked)) as events:
                async for event in events:
                    failures = 0
                    yield event
            if not choice.follow:
                return
        except VifplugError as error:
            if _is_over(wire):
                return
            # Only what has begun is resumed: the first request must reach the daemon.
            if not (choice.follow and position.has_begun and following.is_away(error)):
                raise
            LOG.info("%s; it is followed again after event %s when it answers", error, position.since)
        asked = replace(choice, since=position.since)
        failures += 1
        await asyncio.sleep(following.until_next(failures))


def _is_over(wire: Wire) -> bool:
    # A call: between two of them another task may close the host, which a checker does not see of an attribute.
    return wire.is_closed


async def _of_stream(wire: Wire, position: Position, choice: Choice) -> AsyncGenerator[Event, None]:
    request = following.request(choice)
    async with wire.stream(request) as response, contextlib.aclosing(wire.parts(response, request)) as parts:
        position.begin(response.headers.get(following.SEQUENCE_HEADER))
        async for part in parts:
            try:
                events = position.events(part)
            except following.NOT_EVENTS as error:
                raise following.not_events(wire.not_vifplugd) from error
            for event in events:
                yield event


async def of_log(
    log: Log,
    choice: Choice,
    *,
    in_thread: Callable[[Callable[[], list[Event]]], Awaitable[list[Event]]],
    is_over: Callable[[], bool],
) -> AsyncGenerator[Event, None]:
    """The events in the store and, when following, those added to it; as ``vifplug.api.follow.of_log``.

    :param in_thread: runs a read of the store.
    """
    ids = choice.ids
    position = following.start_of(log, choice)
    if ids is not None:
        stored, position = log.events_of(ids, position)
        for event in stored:
            yield event
        if not choice.follow:
            return
    while True:
        try:
            page = await in_thread(functools.partial(log.events, position, following.PAGE))
        except StoreError:
            if is_over():
                return
            raise
        for event in page:
            position = event.seq
            if ids is None or event.vif_id in ids:
                yield event
        if is_over() or not (page or choice.follow):
            return
        if not page:
            await asyncio.sleep(following.LOOK_SECONDS)
