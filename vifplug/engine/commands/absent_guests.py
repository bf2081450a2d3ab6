"""Finds and unplugs VIFs without a guest, for a caller that knows which guests exist."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vifplug.drivers.registry import guest_link
from vifplug.engine.commands import inspect
from vifplug.engine.commands import unplug as unplug_command
from vifplug.engine.context import Context
from vifplug.engine.plan import guest_absence
from vifplug.model.reports import AbsentGuest
from vifplug.store.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What to keep, whatever the host's state is."""

    ids: Collection[str]
    """Ids of VIFs, or of instances."""
    absent_for: float
    """Seconds: a VIF whose guest's end has been missing for less is kept, too. A server that is being built or moved
    here is not in the caller's list yet."""


def find(context: Context, keep: Keep) -> list[AbsentGuest]:
    """Recorded VIFs that are not to be kept, and whose guest's end is missing.

    :raises HostError, StoreError: the host or the store cannot be read.
    """
    contents = context.store.contents()
    steady = {vif_id: record for vif_id, record in contents.records.items() if vif_id not in contents.intents}
    return _absent(context, steady, keep)


def unplug(context: Context, guests: Sequence[AbsentGuest], keep: Keep) -> list[AbsentGuest]:
    """Unplug those of them that still meet the conditions under their locks.

    :returns: the unplugged ones.
    :raises TeardownError, HostError: one could not be unplugged.
    """
    ids = [vif.vif_id for vif in guests]

    def spared(records: Mapping[str, Record | None]) -> set[str]:
        there = {vif_id: record for vif_id, record in records.items() if record is not None}
        return set(records) - {vif.vif_id for vif in _absent(context, there, keep)}

    gone = {report.id for report in unplug_command.unplug(context, ids, None, spared=spared)}
    return [vif for vif in guests if vif.vif_id in gone]


def _absent(context: Context, records: Mapping[str, Record], keep: Keep) -> list[AbsentGuest]:
    candidates = [record for record in records.values() if not guest_absence.kept(record, keep.ids)]
    if not candidates:
        return []
    observed = inspect.observe(context, inspect.scope_of(candidates))
    guests = []
    for record in candidates:
        since = guest_absence.absent_since(record, observed)
        if since is not None and guest_absence.is_absent_for(since, keep.absent_for):
            instance = record.vif.instance.uuid if record.vif.instance is not None else None
            device = guest_link(record.vif)
            guests.append(AbsentGuest(vif_id=record.id, instance=instance, device=device, absent_since=since))
    return guests
