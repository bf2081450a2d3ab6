"""Deletes orphans once they are due: owned, in no record, seen twice past their grace, and no guest on them."""

from __future__ import annotations

import logging
import time

from vifplug.daemon.log_text import WarnOnChange
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.reconcile.orphan_age import Orphanage
from vifplug.engine.commands import inspect, reconcile
from vifplug.engine.commands.plug import Plugger
from vifplug.engine.commands.reconcile import Survey

LOG = logging.getLogger(__name__)

_MANY = 10
"""Owners of orphans. So few may well be what is left on a host where nothing is wanted any more."""


class Collector:
    """One daemon's care for orphans.

    :param grace: seconds from an orphan's first sighting to its end.
    """

    def __init__(self, plugger: Plugger, grace: float, metrics: Metrics) -> None:
        self._plugger, self._metrics = plugger, metrics
        self._orphanage = Orphanage(grace)
        self._spared, self._stuck, self._copied = WarnOnChange(LOG), WarnOnChange(LOG), WarnOnChange(LOG)
        self.count = 0
        """Orphans that are there, as last seen."""

    def due_in(self) -> float | None:
        """Seconds until the next one may go; None when there is none to wait for."""
        return self._orphanage.due_in(time.monotonic())

    def collect(self, found: Survey) -> None:
        """Take away what is due.

        :raises HostError, StoreError: when nothing could be tried.
        """
        due = self._orphanage.seen(found.orphans, found.in_use, time.monotonic())
        if not found.records and len(due) > _MANY:
            # An empty store beside many VIFs is more likely a wrong or lost one than a host where nothing is wanted.
            self._stuck.say(["no VIF is recorded, and many are on the host: none is collected; see 'vifplug gc'"])
            due = set()
        self.count = len(found.orphans) + len(found.copied_marks)
        self._copied.say(
            [
                f"{orphan.kind} {orphan.name} carries a copy of the mark of {orphan.vif_id} and is left alone"
                for orphan in found.copied_marks
            ]
        )
        self._spared.say(
            [
                f"orphans of {owner} are left alone, for a guest is on them; 'vifplug gc --delete' takes them"
                for owner in sorted(self._orphanage.spared)
            ]
        )
        if due:
            gone, errors = inspect.collect(self._plugger, due, reconcile.is_in_use)
            for orphan in gone:
                LOG.info("deleted orphan %s %s of %s", orphan.kind, orphan.name, orphan.vif_id)
            self._metrics.collected.inc(len(gone))
            self.count -= len(gone)
            self._stuck.say([f"could not delete an orphan: {error}" for error in errors])
        self._metrics.orphans.set(self.count)
