"""When the next message may be sent, and which VIFs' events wait. Times are seconds of one monotonic clock. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass

from vifplug.model.backoff import pause

SIZE_MAX = 100
"""Events in a message; Nova takes about 100 KB, six times as many."""
WAIT_MAX_SECONDS = 60.0
_WAIT_FIRST_SECONDS = 1.0

Jitter = Callable[[float, float], float]
"""A random number between two, so that hosts that lost an endpoint together do not retry at the same time."""


def wait_after(failures: int, jitter: Jitter) -> float:
    """Seconds to wait after this many failures in a row."""
    return jitter(0.5, 1.0) * pause(failures, _WAIT_FIRST_SECONDS, WAIT_MAX_SECONDS)


class Pace:
    """The endpoint's rate: one message per interval, a back-off while it fails, shorter messages if it refuses long
    ones.

    :param interval: seconds from a message's end to the next one's start.
    """

    def __init__(self, interval: float, jitter: Jitter = random.uniform) -> None:
        self._interval, self._jitter = interval, jitter
        self._failures = 0
        self.due = 0.0
        """When the next message may be sent."""
        self.size = SIZE_MAX
        """The maximum of events in it."""

    def taken(self, now: float) -> None:
        """The endpoint accepted a message."""
        self._failures = 0
        self.size = min(2 * self.size, SIZE_MAX)
        self.due = now + self._interval

    def failed(self, now: float, asked: float = 0.0) -> None:
        """The endpoint failed.

        :param asked: seconds of its Retry-After.
        """
        self._failures += 1
        self._try_again(now, max(wait_after(self._failures, self._jitter), asked))

    def halve(self, now: float, size: int) -> None:
        """The endpoint refused a message of several events as a whole."""
        self.size = size // 2
        self._try_again(now, 0.0)

    def _try_again(self, now: float, wait: float) -> None:
        # A long interval does not apply to retries.
        self.due = max(self.due, now + min(max(wait, self._interval), WAIT_MAX_SECONDS))


@dataclass(slots=True)
class _Case:
    failures: int = 0
    not_before: float = 0.0
    is_alone: bool = False


class Waiting:
    """VIFs whose events the endpoint does not accept while it accepts others."""

    def __init__(self, jitter: Jitter = random.uniform) -> None:
        self._jitter = jitter
        self._cases: dict[str, _Case] = {}

    def failed(self, vif_id: str, now: float, *, alone: bool) -> bool:
        """An event of this VIF must be sent again later.

        :param now: the time from which to wait, which may be that of the next message.
        :param alone: whether it makes a whole message fail.
        :returns: whether this is the VIF's first failure.
        """
        case = self._cases.setdefault(vif_id, _Case())
        case.failures += 1
        case.is_alone |= alone
        case.not_before = now + wait_after(case.failures, self._jitter)
        return case.failures == 1

    def over(self, vif_id: str) -> None:
        """An event of this VIF was accepted or refused: its next event starts without failures."""
        case = self._cases.pop(vif_id, None)
        if case is not None and case.is_alone:
            # The endpoint was at fault, not this event, and probably not the other suspected events either.
            self._cases.clear()

    def held(self, now: float) -> set[str]:
        """The VIFs that still wait."""
        return {vif_id for vif_id, case in self._cases.items() if case.not_before > now}

    @property
    def alone(self) -> set[str]:
        """The VIFs whose events are sent in separate messages."""
        return {vif_id for vif_id, case in self._cases.items() if case.is_alone}

    def due_in(self, now: float) -> float:
        """Seconds until the next one may be sent; infinite if none waits."""
        return min(
            (case.not_before - now for case in self._cases.values() if case.not_before > now), default=float("inf")
        )

    def keep_only(self, vif_ids: Collection[str]) -> None:
        """Forget VIFs without unsent events."""
        for gone in self._cases.keys() - set(vif_ids):
            del self._cases[gone]
