"""Carries out the steps of ``vifplug.api.wait`` in asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vifplug.aio.contract import ErrorCallback
from vifplug.api import wait as waiting
from vifplug.api.wait import Expectation, Goal
from vifplug.model.reports import VifReport

if TYPE_CHECKING:
    from vifplug.model.events import WaitReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How to look at a host during a wait."""

    look: Callable[[Sequence[str], str, float], Awaitable[WaitReport]]
    """The states of VIFs on the way to a state. It may wait for them for up to that many seconds."""
    get: Callable[[str], Awaitable[VifReport]]


async def wait(watch: Watch, goal: Goal, error_callback: ErrorCallback = waiting.refuse) -> list[VifReport]:
    """The VIFs, once all have reached the state; as ``vifplug.api.wait.wait``."""
    steps = waiting.steps(goal)
    try:
        step = next(steps)
        while True:
            try:
                answer = await _done(watch, step, error_callback)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as done:
        reports: list[VifReport] = done.value
        return reports


async def _done(watch: Watch, step: waiting.Step, error_callback: ErrorCallback) -> Any:
    match step:
        case waiting.Look(ids, state, seconds):
            return await watch.look(ids, state, seconds)
        case waiting.Get(vif_id):
            return await watch.get(vif_id)
        case waiting.Failure(vif):
            answer = error_callback(vif)
            return await answer if inspect.isawaitable(answer) else answer
        case waiting.Pause(seconds):
            return await asyncio.sleep(seconds)


def expect(
    watch: Watch, goal: Goal, error_callback: ErrorCallback | None = None
) -> contextlib.AbstractAsyncContextManager[Expectation]:
    """Wait at the end of a block; as ``vifplug.api.wait.expect``."""
    waiting.check_callback(error_callback)
    return _expected(watch, goal, error_callback or waiting.refuse)


@contextlib.asynccontextmanager
async def _expected(watch: Watch, goal: Goal, error_callback: ErrorCallback) -> AsyncIterator[Expectation]:
    expectation = Expectation(goal.ids)
    try:
        yield expectation
    except waiting.ExitEarly as early:
        if early.expectation is not expectation:
            raise
    if goal.timeout > 0:
        await wait(watch, replace(goal, ids=expectation.ids), error_callback)
