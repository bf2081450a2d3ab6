"""Slots for calls to the privileged side, so that calls that hang do not occupy all of its threads."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from vifplug.errors import VifplugError


@contextlib.contextmanager
def turn(slots: threading.BoundedSemaphore, seconds: float, error: VifplugError) -> Iterator[None]:
    """Hold one of some slots.

    :raises VifplugError: the given error, if none is free in time.
    """
    if not slots.acquire(timeout=seconds):
        raise error
    try:
        yield
    finally:
        slots.release()
