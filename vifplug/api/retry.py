"""Repeats a call whose error permits a retry, for a limited time. The repeated call finds what is already done."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from vifplug.errors import DaemonUnreachable, NotReached, VifplugError

LOG = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _PAUSE_MAX_SECONDS, _JITTER_SECONDS = 0.1, 2.0, 0.1

T = TypeVar("T")


def is_retryable(error: BaseException) -> bool:
    """Whether the same call may succeed a moment later.

    Not after NotReached: the caller's own time is over. Not if this user has no access to the daemon's socket: that
    needs a group and a new login.
    """
    if isinstance(error, NotReached) or not isinstance(error, VifplugError):
        return False
    return error.retryable and not (
        isinstance(error, DaemonUnreachable) and isinstance(error.__cause__, PermissionError)
    )


def repeated(call: Callable[[], T], seconds: float, *, retries: Callable[[BaseException], bool] = is_retryable) -> T:
    """The result of ``call``, which is repeated with growing pauses while ``retries`` accepts its error.

    :param seconds: no call begins later than that after the first; 0 calls once.
    :raises VifplugError: the last call's error.
    """
    if seconds <= 0:
        return call()
    import tenacity  # here: the command line starts without it

    return tenacity.Retrying(**_schedule(seconds, retries))(call)


async def repeated_async(
    call: Callable[[], Awaitable[T]], seconds: float, *, retries: Callable[[BaseException], bool] = is_retryable
) -> T:
    """``repeated`` for asyncio: it sleeps in the event loop, and a cancellation ends it."""
    if seconds <= 0:
        return await call()
    import tenacity

    async def attempt() -> T:  # of a function that only returns a coroutine tenacity would take that for the result
        return await call()

    return await tenacity.AsyncRetrying(**_schedule(seconds, retries))(attempt)


def _schedule(seconds: float, retries: Callable[[BaseException], bool]) -> dict[str, Any]:
    import tenacity

    def log(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        level = logging.WARNING if state.attempt_number == 1 else logging.DEBUG
        LOG.log(level, "%s; repeated for up to %g s", error, seconds)

    return {
        "retry": tenacity.retry_if_exception(retries),
        "stop": tenacity.stop_after_delay(seconds),
        "wait": tenacity.wait_exponential(_FIRST_PAUSE_SECONDS, _PAUSE_MAX_SECONDS)
        + tenacity.wait_random(0, _JITTER_SECONDS),
        "before_sleep": log,
        "reraise": True,
    }
