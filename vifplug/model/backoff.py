"""The pause between tries, wherever it grows. Pure, and light: the command line imports it at its start.

Where a call is simply repeated, tenacity does that. This is for what tenacity cannot do: schedules that only compute a
delay, and loops that yield, or wait for more than one thing.
"""

from __future__ import annotations

_EXPONENT_MAX = 32


def pause(failures: int, first: float, longest: float) -> float:
    """Seconds to wait after this many failures in a row: 0, the first pause, then twice as long each time.

    :param first: seconds, after one failure.
    :param longest: seconds, at most.
    """
    return min(first * 2.0 ** min(failures - 1, _EXPONENT_MAX), longest) if failures > 0 else 0.0
