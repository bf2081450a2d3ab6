"""When to compare which VIFs. Times are seconds of a monotonic clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

_NEVER = float("inf")


@dataclass(slots=True)
class Schedule:
    """The comparisons that are due later."""

    everything: float = 0.0
    """When to compare everything."""
    busy: set[str] = field(default_factory=set)
    """VIFs on which another request was working."""
    _again: float = _NEVER
    _fresh: set[str] = field(default_factory=set)
    _later: float = _NEVER
    _down: set[str] = field(default_factory=set)
    _ask: float = _NEVER

    def compare_again(self, vif_ids: Collection[str], when: float) -> None:
        """Compare VIFs again on which another request was working."""
        if vif_ids:
            self.busy.update(vif_ids)
            self._again = min(self._again, when)

    def compare_built(self, vif_ids: Collection[str], when: float) -> None:
        """Compare newly built VIFs once, together."""
        if vif_ids:
            self._fresh.update(vif_ids)
            self._later = min(self._later, when)

    def due(self, now: float) -> set[str]:
        """VIFs that are due now."""
        vif_ids: set[str] = set()
        if self._again <= now:
            self._again = _NEVER
            vif_ids |= self.busy
        if self._later <= now:
            self._later = _NEVER
            vif_ids |= self._fresh
            self._fresh = set()
        return vif_ids

    def ask_about(self, down: Collection[str], compared: Collection[str], when: float) -> None:
        """Ask ovs-vswitchd again about VIFs whose guest's end it reports as down, of those that were compared."""
        self._down = (self._down - set(compared)) | set(down)
        self._ask = min(self._ask, when) if self._down else _NEVER

    def due_to_ask(self, now: float) -> set[str]:
        """VIFs about which ovs-vswitchd is to be asked now, once: it reports any later change itself."""
        if self._ask > now:
            return set()
        self._ask, due, self._down = _NEVER, self._down, set()
        return due

    @property
    def next(self) -> float:
        """When the next comparison is due."""
        return min(self.everything, self._again, self._later, self._ask)
