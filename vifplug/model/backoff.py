"""The growing pause between tries. Pure, and light: the command line imports it at its start.

tenacity repeats plain calls. This is for cases that tenacity does not support: schedules that only compute a delay, and
loops that yield, or wait for more than one thing.
"""

from __future__ import annotations

_EXPONENT_MAX = 32


def pause(failures: int, first: float, longest: float) -> float:
    """Seconds to wait after this many failures in a row: 0, the first pause, then twice as long each time.

    :param first: seconds, after one failure.
    :param longest: seconds, at most.
    """
    return min(first * 2.0 ** min(failures - 1, _EXPONENT_MAX), longest) if failures > 0 else 0.0
