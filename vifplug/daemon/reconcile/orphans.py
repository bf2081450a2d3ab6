"""Deletes due orphans: owned, in no record, seen twice, older than the grace period, and without a guest."""

from __future__ import annotations

import contextlib
import logging
import time

from vifplug.daemon.metrics import Metrics
from vifplug.daemon.rate_limit import RecurringWarning
from vifplug.daemon.reconcile.orphan_age import OrphanAges
from vifplug.engine.commands import gc, reconcile
from vifplug.engine.commands.reconcile import Survey
from vifplug.engine.context import Context
from vifplug.errors import StoreError
from vifplug.model.events import FOUND
from vifplug.model.reports import Orphan

LOG = logging.getLogger(__name__)

_MANY = 10
"""Owners of orphans. Up to this number may be leftovers on a host without wanted VIFs."""


class Collector:
    """Deletes a daemon's orphans.

    :param grace: seconds from an orphan's first sighting to its deletion.
    """

    def __init__(self, context: Context, grace: float, metrics: Metrics) -> None:
        self._context, self._metrics = context, metrics
        self._ages = OrphanAges(grace)
        self._spared, self._stuck, self._copied = RecurringWarning(LOG), RecurringWarning(LOG), RecurringWarning(LOG)
        self._noted: set[Orphan] = set()
        """Orphans whose event is recorded."""
        self.count = 0
        """The number of orphans at the last comparison."""

    def due_in(self) -> float | None:
        """Seconds until the next one is due; None if there is none."""
        return self._ages.due_in(time.monotonic())

    def collect(self, survey: Survey) -> None:
        """Delete due orphans.

        :raises HostError, StoreError: when none could be tried.
        """
        due = self._ages.seen(survey.orphans, survey.in_use, time.monotonic())
        self._note_lasting(survey)
        if not survey.records and len(due) > _MANY:
            # An empty store beside many VIFs is more likely a wrong or lost one than a host without wanted VIFs.
            self._stuck.update(["no VIF is recorded, but many are on the host: no orphan is deleted; see 'vifplug gc'"])
            due = set()
        self.count = len(survey.orphans) + len(survey.copied_marks)
        self._copied.update(
            [
                f"{orphan.kind} {orphan.name} carries a copy of the mark of {orphan.vif_id} and is left alone"
                for orphan in survey.copied_marks
            ]
        )
        self._spared.update(
            [
                f"orphans of {owner} are left alone, because a guest uses them; 'vifplug gc --delete' deletes them"
                for owner in sorted(self._ages.spared)
            ]
        )
        if due:
            gone, errors = gc.collect(self._context, due, reconcile.is_in_use)
            self._noted -= set(gone)
            for orphan in gone:
                LOG.info("deleted orphan %s %s of %s", orphan.kind, orphan.name, orphan.vif_id)
            self._metrics.collected.inc(len(gone))
            self.count -= len(gone)
            self._stuck.update([f"could not delete an orphan: {error}" for error in errors])
        self._metrics.orphans.set(self.count)

    def _note_lasting(self, survey: Survey) -> None:
        """Record an event for each orphan that was seen at two comparisons; before, it may be a plug that has begun."""
        lasting = self._ages.lasting
        new = [orphan for orphan in survey.orphans if orphan in lasting and orphan not in self._noted]
        self._noted = (self._noted & set(survey.orphans)) | set(new)
        if new:
            with contextlib.suppress(StoreError):  # a full disk must not prevent the deletion
                self._context.store.note_orphans(new, None, FOUND)
