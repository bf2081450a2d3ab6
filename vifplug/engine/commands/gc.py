"""The command gc: resources that are owned on the host, but in no record."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection
from dataclasses import replace

from vifplug.engine.apply import executor
from vifplug.engine.commands import inspect, remove
from vifplug.engine.context import Context
from vifplug.engine.orphans import orphans
from vifplug.engine.plan import ownership, unplug
from vifplug.errors import StoreError, VifplugError
from vifplug.model import printable
from vifplug.model.events import DELETED, FOUND
from vifplug.model.reports import GcReport, Orphan
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.observed import Inventory, Observed

LOG = logging.getLogger(__name__)


def gc(context: Context, *, delete: bool) -> GcReport:
    """Find orphans; with ``delete``, delete those that are still orphans under their owner's lock.

    :raises TeardownError, HostError: one could not be deleted.
    """
    all_orphans = inspect.check(context).orphans
    if not delete:
        return GcReport(orphans=all_orphans)
    deleted, errors = collect(context, {orphan.vif_id for orphan in all_orphans})
    remove.raise_all(errors)
    return GcReport(orphans=all_orphans, deleted=tuple(deleted))


def collect(
    context: Context, owners: Collection[str], spared: Callable[[str, Observed], bool] = lambda _owner, _seen: False
) -> tuple[list[Orphan], list[VifplugError]]:
    """Delete what these owners have on the host, if it is still an orphan under their locks, all in one plan.

    :returns: what was deleted, and the errors.
    :raises HostError, StoreError: nothing could be tried.
    """
    with context.locks.held_if_free(owners) as free:
        contents = context.store.contents()
        observed = inspect.observe(context, inspect.everything(contents))
        going = {owner for owner in free if not spared(owner, observed)}
        candidates = [orphan for orphan in orphans(observed, contents, contents) if orphan.vif_id in going]
        if not candidates:
            return [], []
        names = {orphan.name for orphan in candidates}
        lost = {orphan.vif_id for orphan in candidates}
        links = tuple(
            replace(link, role=ownership.role_of(link))
            for link in observed.links.values()
            if link.owner in lost and printable.text(link.name) in names
        )
        filters = tuple(
            Filter(name=name, owner=owner, place=place) for owner, name, place in observed.filtered if owner in lost
        )
        plan = unplug.plan_unplug(Inventory((*links, *filters)), lost, observed, ownership.NOT_IN_USE)
        errors = executor.teardown(context.host, plan.actions)
        for warning in remove.settle_or_warn(context.host):
            LOG.warning("%s", warning)
        # A shared bridge with another program's link on it stays; it is still an orphan, and was not deleted.
        left = orphans(inspect.observe(context, inspect.everything(contents)), contents, contents)
        deleted = [orphan for orphan in candidates if orphan not in left]
        if deleted:
            with contextlib.suppress(StoreError):  # they are deleted, whether that is recorded or not
                context.store.note_orphans(deleted, FOUND, DELETED)
        return deleted, errors
