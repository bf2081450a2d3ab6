"""What the checks have said: a line each."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class Tally:
    """Counts checks and prints a line for each.

    :param name: of what is checked; every line begins with it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.passed = self.failed = 0

    @contextmanager
    def check(self, name: str) -> Iterator[None]:
        """One check: its block ended without an exception or not; the next one is made either way."""
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            self.failed += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = " ".join(str(error).split()) or f"line {where.lineno}: {where.line}"
            print(f"{self.name}: FAILED {name}: {type(error).__name__}: {text[:1500]}", flush=True)
        else:
            self.passed += 1
            print(f"{self.name}: ok {name} ({time.monotonic() - began:.0f} s)", flush=True)

    def note(self, text: str) -> None:
        """A line that is no check."""
        print(f"{self.name}:    {text}", flush=True)
