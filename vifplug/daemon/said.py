"""Warnings that are said once, however often what they are about is found again."""

from __future__ import annotations

import logging
from collections.abc import Sequence


class SaidOnce:
    """What one part of the daemon has to complain about."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: set[str] = set()

    def say(self, texts: Sequence[str]) -> None:
        """Say what is new since the last time; what is over may be said again when it comes back."""
        for text in texts:
            if text not in self._said:
                self._log.warning("%s", text)
        self._said = set(texts)
