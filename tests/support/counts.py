"""How often to try what only shows in the long run: as often as CI has time for, or as often as the promise says."""

from __future__ import annotations

import os

THOROUGH = bool(os.environ.get("VIFPLUG_THOROUGH"))
"""``tools/test --thorough``."""


def times(quick: int, thorough: int) -> int:
    """How often."""
    return thorough if THOROUGH else quick
