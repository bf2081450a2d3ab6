"""The number of repetitions of tests for rare failures: as many as CI has time for, or as the promise states."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("VIFPLUG_THOROUGH"))
"""``tools/test --thorough``."""


def times(quick: int, thorough: int) -> int:
    """The number of repetitions."""
    return thorough if THOROUGH else quick
