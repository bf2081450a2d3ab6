"""Warnings that are said once, however often what they are about is found again."""

from __future__ import annotations

import logging
from collections.abc import Sequence


class Failing:
    """What is tried again and again: why it fails is logged when that changes, and how often it has when it is over."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._text, self._tries = "", 0

    def say(self, text: str, error: Exception | None = None) -> None:
        """It failed.

        :param error: an internal error, whose traceback is logged.
        """
        self._tries += 1
        if text != self._text:
            self._log.log(logging.WARNING if error is None else logging.ERROR, "%s", text, exc_info=error)
        self._text = text

    def over(self, text: str) -> None:
        """It has not failed."""
        if self._tries:
            self._log.info("%s, after %d tries: %s", text, self._tries, self._text)
        self._text, self._tries = "", 0


class WarnOnChange:
    """What one part of the daemon has to complain about."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._logged: set[str] = set()

    def say(self, texts: Sequence[str]) -> None:
        """Say what is new since the last time; what is over may be said again when it comes back."""
        for text in texts:
            if text not in self._logged:
                self._log.warning("%s", text)
        self._logged = set(texts)
