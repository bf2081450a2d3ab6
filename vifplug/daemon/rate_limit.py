"""Recurring warnings: each is logged when it is new, or at a limited rate."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from vifplug.errors import VifplugError

QUIET_SECONDS = 60.0


class RecurringWarning:
    """A warning that one part of the daemon repeats. For one thread at a time.

    :param log: the logger.
    :param is_limited: log it at most once a minute, whatever its text, with the number of repetitions: for warnings
        that peers can cause at any rate. Otherwise it is logged when its text changes.
    """

    def __init__(self, log: logging.Logger, *, is_limited: bool = False) -> None:
        self._log, self._is_limited = log, is_limited
        self._current: frozenset[str] = frozenset()
        """The warnings that are not logged again."""
        self._text, self._count = "", 0
        self._quiet_until = 0.0

    def warn(self, text: str, *, key: str = "", error: Exception | None = None, level: int = logging.WARNING) -> None:
        """Log it, or only count it.

        :param key: compared instead of the text.
        :param error: its cause; an error that is not a VifplugError is a bug, and is logged as an error with its
            traceback.
        """
        self._text = text
        self._count += 1
        if self._is_limited:
            self._warn_at_limited_rate(text)
            return
        current = frozenset({key or text})
        if current != self._current:
            bug = None if isinstance(error, VifplugError) else error
            self._log.log(level if bug is None else logging.ERROR, "%s", text, exc_info=bug)
        self._current = current

    def update(self, texts: Collection[str]) -> None:
        """Log those texts that are new since the last update; one that is absent may be logged again later."""
        for text in texts:
            if text not in self._current:
                self._log.warning("%s", text)
        self._current = frozenset(texts)

    def over(self, text: str = "") -> bool:
        """It no longer applies.

        :param text: logged, with the number of tries and the last warning, if there was one; "" logs nothing.
        :returns: whether there was one.
        """
        was_current = self._count > 0
        if was_current and text:
            self._log.info("%s, after %d tries: %s", text, self._count, self._text)
        self._current, self._text, self._count = frozenset(), "", 0
        return was_current

    def _warn_at_limited_rate(self, text: str) -> None:
        if time.monotonic() < self._quiet_until:
            return
        self._log.warning("%s (%d since this was last logged)", text, self._count)
        self._count, self._quiet_until = 0, time.monotonic() + QUIET_SECONDS
