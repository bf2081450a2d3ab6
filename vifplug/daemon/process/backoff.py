"""The delay before the next worker is started. Pure."""

from __future__ import annotations

from vifplug.model.backoff import pause

_SHORT_LIFE_SECONDS = 10.0
_FIRST_SECONDS = 0.1
_SERVED_MAX_SECONDS = 2.0
_FAILED_MAX_SECONDS = 30.0


class Backoff:
    """No delay after a long life; growing delays after short ones, longest for workers that never served."""

    def __init__(self) -> None:
        self._short = 0
        self._failed = 0

    def after(self, served: float | None) -> float:
        """Seconds to wait after a worker's end.

        :param served: seconds it served; None when it never did.
        """
        if served is None:
            # Counted separately: a worker killed during its start must not be delayed like one that cannot start.
            self._failed += 1
            return pause(self._failed, _FIRST_SECONDS, _FAILED_MAX_SECONDS)
        self._failed = 0
        if served >= _SHORT_LIFE_SECONDS:
            self._short = 0
            return 0.0
        self._short += 1
        return pause(self._short, _FIRST_SECONDS, _SERVED_MAX_SECONDS)
