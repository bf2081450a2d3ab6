"""Warnings that others can call for as often as they like."""

from __future__ import annotations

import logging
import time

QUIET_SECONDS = 60.0


class RateLimitedWarning:
    """One such warning: it is said at most once a minute."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._count = 0
        self._next = 0.0

    def say(self, text: str) -> None:
        """Say it with how often it was called for since it was last said; or only count it."""
        self._count += 1
        if time.monotonic() < self._next:
            return
        self._log.warning("%s (%d since this was last logged)", text, self._count)
        self._count, self._next = 0, time.monotonic() + QUIET_SECONDS
