"""Which orphans may be deleted: seen twice, older than the grace period, and with no guest on them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from vifplug.model.reports import Orphan


class OrphanAges:
    """The ages of orphans over comparisons of everything.

    :param grace: seconds from an orphan's first sighting to its deletion.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._first_seen: dict[Orphan, float] = {}
        self._lasting: set[Orphan] = set()
        self._spared: set[str] = set()
        self._tried: set[str] = set()
        """Owners that were due at the last comparison: orphans that remain could not be deleted, and wait for the
        next."""

    def seen(self, orphans: Sequence[Orphan], in_use: Collection[str], now: float) -> set[str]:
        """Record the orphans of a comparison; the age of an orphan that is missing from it is forgotten.

        :param in_use: owners of orphans that a guest uses.
        :returns: owners all of whose orphans are due.
        """
        known = self._first_seen
        self._lasting = set(known) & set(orphans)
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
    def lasting(self) -> set[Orphan]:
        """Orphans that the comparison before had seen, too."""
        return set(self._lasting)

    @property
    def spared(self) -> set[str]:
        """Owners whose orphans stay because a guest uses them."""
        return set(self._spared)

    def due_in(self, now: float) -> float | None:
        """Seconds until the next one is due; None if there is none."""
        waits = [
            max(0.0, first + self._grace - now)
            for orphan, first in self._first_seen.items()
            if orphan.vif_id not in self._spared | self._tried
        ]
        return min(waits, default=None)
