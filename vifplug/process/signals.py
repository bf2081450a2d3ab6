"""Delays Ctrl-C while a helper works: the rollback that it starts would race with the helper."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold the signals while a helper starts: it inherits the mask, so that Ctrl-C reaches only the caller, which
    rolls back.

    The thread that reads the helper's answers inherits it too, or it would receive the signals held here.
    """
    with _handlers_held():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _handlers_held() -> Iterator[None]:
    """A mask is per thread: a signal that another thread receives is still handled in the main thread, so it is
    recorded here, and handled later."""
    received: list[int] = []
    before = _handlers() if threading.current_thread() is threading.main_thread() else {}
    try:
        for number in before:
            signal.signal(number, lambda number, _frame: received.append(number))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(received):
            before[number](number, None)


def _handlers() -> dict[int, Callable[[int, FrameType | None], Any]]:
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    return {number: handler for number, handler in handlers.items() if callable(handler)}
