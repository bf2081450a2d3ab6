"""When to repair a VIF again: at once, later, or ever more rarely because somebody undoes it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vifplug.model.reports import DriftItem

_QUICK_SECONDS = 5.0
"""A repair found undone within this time was undone by somebody; later, it may be another event."""
_SLOW_FACTOR = 5
"""How many times as many repairs it takes when they are undone more slowly than that."""
_FAILED_FIRST_SECONDS, _FAILED_MAX_SECONDS = 0.5, 60.0
_RETRYABLE_MAX_SECONDS = 1.0
_CONTENDED_FIRST_SECONDS, _CONTENDED_MAX_SECONDS = 2.0, 300.0
_LASTING_FAILURES = 2

_COMES_AND_GOES = ("ifindex", "ofport")
"""What differs when a VMM's device goes and comes: a guest that restarts every few seconds undoes nobody's repair."""

Thing = tuple[str, str]
"""A subject and an attribute."""


@dataclass(slots=True)
class _Case:
    """One VIF's troubles."""

    failures: int = 0
    not_before: float = 0.0
    repaired: frozenset[Thing] = frozenset()
    repaired_at: float = 0.0
    quick: dict[Thing, int] = field(default_factory=dict)
    slow: dict[Thing, int] = field(default_factory=dict)
    contended_wait: float = 0.0


class Ledger:
    """What was repaired and what came of it, by VIF. Times are seconds of one monotonic clock.

    :param contended_after: repairs of one thing, each undone at once, after which its VIF is contended.
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
        """Whether somebody undoes this VIF's repairs."""
        case = self._cases.get(vif_id)
        return case is not None and case.contended_wait > 0

    def found(self, vif_id: str, drift: Sequence[DriftItem], now: float) -> str | None:
        """A VIF that is due was found drifted.

        :returns: when that makes it contended, or keeps it so: why, for people.
        """
        case = self._cases.setdefault(vif_id, _Case())
        again = {(item.subject, item.attribute) for item in drift if item.attribute not in _COMES_AND_GOES}
        again &= case.repaired
        since = now - case.repaired_at
        case.quick = _counted(case.quick, again) if since <= max(_QUICK_SECONDS, 2 * case.contended_wait) else {}
        case.slow = _counted(case.slow, again) if since <= self._memory else {}
        often = [thing for thing, count in case.quick.items() if count >= self._contended_after]
        often += [thing for thing, count in case.slow.items() if count >= _SLOW_FACTOR * self._contended_after]
        if not often:
            return None
        case.contended_wait = min(max(2 * case.contended_wait, _CONTENDED_FIRST_SECONDS), _CONTENDED_MAX_SECONDS)
        subject, attribute = sorted(often)[0]
        times = max(case.quick.get(often[0], 0), case.slow.get(often[0], 0))
        return (
            f"{subject} {attribute!r} was repaired {times} times and undone each time by somebody else; find who "
            f"does it, or unplug the VIF; the next repair is in {case.contended_wait:g} s at the earliest"
        )

    def repaired(self, vif_id: str, drift: Sequence[DriftItem], now: float) -> None:
        """What had drifted is as it should be again."""
        case = self._cases.setdefault(vif_id, _Case())
        case.failures = 0
        case.repaired = frozenset((item.subject, item.attribute) for item in drift)
        case.repaired_at = now
        case.not_before = now + case.contended_wait

    def failed(self, vif_id: str, now: float, *, retryable: bool) -> bool:
        """A repair failed.

        :param retryable: whether it may well succeed when merely tried again.
        :returns: whether it has failed for long enough for the VIF to be reported as failed.
        """
        case = self._cases.setdefault(vif_id, _Case())
        case.failures += 1
        longest = _RETRYABLE_MAX_SECONDS if retryable else _FAILED_MAX_SECONDS
        wait = min(_FAILED_FIRST_SECONDS * 2 ** min(case.failures - 1, 10), longest)
        case.not_before = now + max(wait, case.contended_wait)
        return case.failures >= _LASTING_FAILURES

    def right(self, vif_id: str, now: float) -> bool:
        """A VIF was found as it should be.

        :returns: whether its troubles are over: nothing failed, and what was contended has held for its whole wait.
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
        """What stood in these VIFs' way may be gone: no wait, and no suspicion."""
        for vif_id in vif_ids:
            self._cases.pop(vif_id, None)

    def has_failed_once(self) -> bool:
        """Whether any VIF's repair has failed once and is about to be tried again."""
        return any(case.failures == 1 for case in self._cases.values())

    def waiting(self, now: float) -> dict[str, float]:
        """VIFs that are to be looked at again, with the seconds until then."""
        return {
            vif_id: max(0.0, case.not_before - now)
            for vif_id, case in self._cases.items()
            if case.failures or case.contended_wait
        }

    def keep_only(self, vif_ids: Iterable[str]) -> None:
        """Forget VIFs that are no longer recorded."""
        for gone in self._cases.keys() - set(vif_ids):
            del self._cases[gone]


def _counted(before: dict[Thing, int], again: set[Thing]) -> dict[Thing, int]:
    return {thing: before.get(thing, 0) + 1 for thing in again}
