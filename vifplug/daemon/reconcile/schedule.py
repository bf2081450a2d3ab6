"""When to look, and at which VIFs. Seconds of one monotonic clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

_NEVER = float("inf")


@dataclass(slots=True)
class Agenda:
    """What a keeper is to look at later."""

    everything: float = 0.0
    """When to compare everything."""
    busy: set[str] = field(default_factory=set)
    """VIFs that somebody was at work on."""
    _again: float = _NEVER
    _fresh: set[str] = field(default_factory=set)
    _later: float = _NEVER

    def look_again(self, vif_ids: Collection[str], when: float) -> None:
        """Somebody was at work on these VIFs: look once more."""
        if vif_ids:
            self.busy.update(vif_ids)
            self._again = min(self._again, when)

    def look_later(self, vif_ids: Collection[str], when: float) -> None:
        """These VIFs were built, and are to be looked at once, together with others."""
        if vif_ids:
            self._fresh.update(vif_ids)
            self._later = min(self._later, when)

    def due(self, now: float) -> set[str]:
        """VIFs to look at by now."""
        found: set[str] = set()
        if self._again <= now:
            self._again = _NEVER
            found |= self.busy
        if self._later <= now:
            self._later = _NEVER
            found |= self._fresh
            self._fresh = set()
        return found

    @property
    def next(self) -> float:
        """When the first of them is due."""
        return min(self.everything, self._again, self._later)
