"""When to repair a VIF again: at once, after a back-off, or with growing delays because its repairs are undone.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vifplug.model.backoff import pause
from vifplug.model.reports import DriftItem

_QUICK_SECONDS = 5.0
"""A repair that is undone within this time was undone by another program; later it may be a new event."""
_SLOW_FACTOR = 5
"""The factor by which more repairs are needed when they are undone more slowly."""
_FAILED_FIRST_SECONDS, _FAILED_MAX_SECONDS = 0.5, 60.0
_RETRYABLE_MAX_SECONDS = 1.0
_CONTENDED_FIRST_SECONDS, _CONTENDED_MAX_SECONDS = 2.0, 300.0
_LASTING_FAILURES = 2

_COMES_AND_GOES = ("ifindex", "ofport")
"""Attributes that change when a VMM's device is recreated: a guest that restarts often does not undo repairs."""

Difference = tuple[str, str]
"""A subject and an attribute."""


@dataclass(slots=True)
class _Case:
    """One VIF's failures and undone repairs."""

    failures: int = 0
    not_before: float = 0.0
    repaired: frozenset[Difference] = frozenset()
    repaired_at: float = 0.0
    quick: dict[Difference, int] = field(default_factory=dict)
    slow: dict[Difference, int] = field(default_factory=dict)
    contentions: int = 0
    """How often it was contended, without a time in which its repair lasted."""

    @property
    def contended_wait(self) -> float:
        """Seconds until its next repair; 0 if it is not contended."""
        return pause(self.contentions, _CONTENDED_FIRST_SECONDS, _CONTENDED_MAX_SECONDS)


class RetryState:
    """Repairs and their results by VIF. Times are seconds of one monotonic clock.

    :param contended_after: number of repairs of an attribute, each undone at once, after which its VIF is contended.
    :param memory: seconds within which repairs that are undone more slowly are counted together.
    """

    def __init__(self, contended_after: int, memory: float) -> None:
        self._contended_after = contended_after
        self._memory = memory
        self._cases: dict[str, _Case] = {}

    def is_due(self, vif_id: str, now: float) -> bool:
        """Whether a VIF that drifted may be repaired now."""
        case = self._cases.get(vif_id)
        return case is None or case.not_before <= now

    def is_contended(self, vif_id: str) -> bool:
        """Whether another program undoes this VIF's repairs."""
        case = self._cases.get(vif_id)
        return case is not None and case.contended_wait > 0

    def drifted(self, vif_id: str, drift: Sequence[DriftItem], now: float) -> str | None:
        """Record that a due VIF has drifted.

        :returns: the reason, if the VIF is contended.
        """
        case = self._cases.setdefault(vif_id, _Case())
        again = {(item.subject, item.attribute) for item in drift if item.attribute not in _COMES_AND_GOES}
        again &= case.repaired
        since = now - case.repaired_at
        case.quick = _counted(case.quick, again) if since <= max(_QUICK_SECONDS, 2 * case.contended_wait) else {}
        case.slow = _counted(case.slow, again) if since <= self._memory else {}
        often = [difference for difference, count in case.quick.items() if count >= self._contended_after]
        often += [
            difference for difference, count in case.slow.items() if count >= _SLOW_FACTOR * self._contended_after
        ]
        if not often:
            return None
        case.contentions += 1
        subject, attribute = sorted(often)[0]
        times = max(case.quick.get(often[0], 0), case.slow.get(often[0], 0))
        return (
            f"{subject} {attribute!r} was repaired {times} times and undone each time by another program; find that "
            f"program, or unplug the VIF; the next repair is in {case.contended_wait:g} s at the earliest"
        )

    def repaired(self, vif_id: str, drift: Sequence[DriftItem], now: float) -> None:
        """Record a successful repair."""
        case = self._cases.setdefault(vif_id, _Case())
        case.failures = 0
        case.repaired = frozenset((item.subject, item.attribute) for item in drift)
        case.repaired_at = now
        case.not_before = now + case.contended_wait

    def failed(self, vif_id: str, now: float, *, retryable: bool) -> bool:
        """Record a failed repair.

        :param retryable: whether a retry may succeed.
        :returns: whether the VIF has to be reported as failed.
        """
        case = self._cases.setdefault(vif_id, _Case())
        case.failures += 1
        longest = _RETRYABLE_MAX_SECONDS if retryable else _FAILED_MAX_SECONDS
        wait = pause(case.failures, _FAILED_FIRST_SECONDS, longest)
        case.not_before = now + max(wait, case.contended_wait)
        return case.failures >= _LASTING_FAILURES

    def clean(self, vif_id: str, now: float) -> bool:
        """Record that a VIF has no drift.

        :returns: whether it has recovered: no failure, and a contended VIF's repair has lasted for its whole delay.
        """
        case = self._cases.get(vif_id)
        if case is None:
            return True
        case.failures = 0
        if case.contended_wait and now < case.not_before:
            return False
        if case.contended_wait or now - case.repaired_at > self._memory:
            del self._cases[vif_id]
        return True

    def forgive(self, vif_ids: Iterable[str]) -> None:
        """Forget these VIFs' failures and delays, because their cause may be gone."""
        for vif_id in vif_ids:
            self._cases.pop(vif_id, None)

    def has_failed_once(self) -> bool:
        """Whether any VIF's repair has failed once and will be retried."""
        return any(case.failures == 1 for case in self._cases.values())

    def waiting(self, now: float) -> dict[str, float]:
        """VIFs that must be compared again, with the seconds until then."""
        return {
            vif_id: max(0.0, case.not_before - now)
            for vif_id, case in self._cases.items()
            if case.failures or case.contended_wait
        }

    def keep_only(self, vif_ids: Iterable[str]) -> None:
        """Forget VIFs that are no longer recorded."""
        for gone in self._cases.keys() - set(vif_ids):
            del self._cases[gone]


def _counted(before: dict[Difference, int], again: set[Difference]) -> dict[Difference, int]:
    return {difference: before.get(difference, 0) + 1 for difference in again}
