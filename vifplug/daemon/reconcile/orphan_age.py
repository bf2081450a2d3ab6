"""Which orphans may go: seen twice, past their grace, and with no guest on them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vifplug.model.reports import Orphan


class Orphanage:
    """Orphans as they were seen, from one look at everything to the next.

    :param grace: seconds from an orphan's first sighting to its end.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._first_seen: dict[Orphan, float] = {}
        self._spared: set[str] = set()
        self._tried: set[str] = set()
        """Owners that were due at the last look: what then stays cannot go now, and waits for the next look."""

    def seen(self, orphans: Sequence[Orphan], in_use: Collection[str], now: float) -> set[str]:
        """Note what was found; those not found again were none.

        :param in_use: owners of orphans that a guest is on.
        :returns: owners whose orphans are due, every one of them.
        """
        known = self._first_seen
        self._first_seen = {orphan: known.get(orphan, now) for orphan in orphans}
        young = {
            orphan.vif_id
            for orphan, first in self._first_seen.items()
            if orphan not in known or now - first < self._grace
        }
        self._spared = {orphan.vif_id for orphan in orphans} & set(in_use)
        self._tried = {orphan.vif_id for orphan in orphans} - young - self._spared
        return set(self._tried)

    @property
    def spared(self) -> set[str]:
        """Owners whose orphans stay because a guest is on them."""
        return set(self._spared)

    def due_in(self, now: float) -> float | None:
        """Seconds until the next one may go; None when there is none to wait for."""
        waits = [
            max(0.0, first + self._grace - now)
            for orphan, first in self._first_seen.items()
            if orphan.vif_id not in self._spared | self._tried
        ]
        return min(waits, default=None)
