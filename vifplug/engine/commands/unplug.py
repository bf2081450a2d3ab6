"""The command unplug: many VIFs in one plan, as far as possible."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vifplug.drivers.registry import guest_link
from vifplug.engine import report
from vifplug.engine.commands import remove
from vifplug.engine.context import Context
from vifplug.engine.plan import request
from vifplug.engine.removal import Removal, Removed
from vifplug.engine.requester import Requester
from vifplug.errors import Busy, OvsUnavailable, VifplugError
from vifplug.model.reports import PlanReport, VifReport
from vifplug.resources.contract import Relation
from vifplug.resources.observed import Inventory
from vifplug.store.records import UNPLUG, Intent, Record
from vifplug.store.store import Moment

_CHUNK = 100
"""Maximum of VIFs of one request that are removed in one plan: other requests are served between two plans."""
_MANY_SECONDS = 2.0
"""How long to wait for the locks of many VIFs; after that each VIF waits separately."""

Spared = Callable[[Mapping[str, Record | None]], Collection[str]]
"""Of VIFs whose locks are held, those that are to be kept after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """The results for some VIFs."""

    records: Mapping[str, Record | None]
    """Those that were removed or absent, with their former records."""
    errors: Sequence[VifplugError] = ()
    warnings: Sequence[str] = ()
    left: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The results to report for each VIF that was present, recorded or not."""


def plan(context: Context, vif_ids: Sequence[str]) -> PlanReport:
    """The deletions that ``unplug`` would make; none for an absent VIF. Nothing is locked, recorded or changed."""
    known = context.store.snapshot(vif_ids)
    built = {vif_id: _built(context, known, vif_id) for vif_id in vif_ids if _is_here(known, vif_id)}
    return remove.planned(context.host, context.store, built).report() if built else PlanReport()


def _is_here(known: Moment, vif_id: str) -> bool:
    return known[vif_id] != (None, None) or vif_id in known.damaged


def unplug(
    context: Context,
    vif_ids: Sequence[str],
    requester: Requester | None = None,
    *,
    spared: Spared = lambda _records: (),
) -> list[VifReport]:
    """Unplug VIFs; an absent one counts as success.

    :returns: the VIFs that were unplugged or absent, without those that were spared.
    :raises NotPermitted: a VIF is not the requester's; nothing was changed.
    :raises TeardownError, HostError: something is left; everything else is deleted, and the next command continues with
        the rest.
    """
    context.authorise(vif_ids, requester)
    records: dict[str, Record | None] = {}
    errors: list[VifplugError] = []
    warnings: dict[str, None] = {}
    left: dict[str, Sequence[str]] = {}
    with context.under_way.work(vif_ids, len(vif_ids)) as progress:
        for start in range(0, len(vif_ids), _CHUNK):
            away = next((error for error in errors if isinstance(error, OvsUnavailable)), None)
            outcome = _unplug_chunk(context, vif_ids[start : start + _CHUNK], requester, away, spared)
            records |= outcome.records
            errors += outcome.errors
            warnings |= dict.fromkeys(outcome.warnings)
            left |= outcome.left
            progress(len(records))
    remove.raise_all(errors)
    return [
        report.unplugged(vif_id, records[vif_id], list(warnings), left.get(vif_id))
        for vif_id in vif_ids
        if vif_id in records
    ]


def _unplug_chunk(
    context: Context, vif_ids: Sequence[str], requester: Requester | None, away: VifplugError | None, spared: Spared
) -> _Outcome:
    try:
        seconds = None if len(vif_ids) == 1 else _MANY_SECONDS
        with context.held(lambda: context.owners(vif_ids), seconds):
            context.authorise(vif_ids, requester)
            known = context.store.snapshot(vif_ids)
            staying = spared({vif_id: record for vif_id, (record, _intent) in known.items()})
            for vif_id in staying:
                known.pop(vif_id, None)
            return _unplug_held(context, known, away)
    except Busy as error:
        if len(vif_ids) == 1:
            return _Outcome(records={vif_ids[0]: None}, errors=[error])
    # Another request works on one of them; it must not delay the others.
    parts = [_unplug_chunk(context, [vif_id], requester, away, spared) for vif_id in vif_ids]
    return _Outcome(
        records={vif_id: record for part in parts for vif_id, record in part.records.items()},
        errors=[error for part in parts for error in part.errors],
        warnings=[warning for part in parts for warning in part.warnings],
        left={vif_id: words for part in parts for vif_id, words in part.left.items()},
    )


def _unplug_held(context: Context, known: Moment, away: VifplugError | None) -> _Outcome:
    """Unplug VIFs whose locks are held: record the intents, remove what they have, forget them.

    :param known: the store's content about them.
    """
    records, damaged = {vif_id: record for vif_id, (record, _intent) in known.items()}, known.damaged & known.keys()
    # A VIF of which vifplug only watches a port keeps its network.
    guests = {
        vif_id: name
        for vif_id, record in records.items()
        if record
        and (name := guest_link(record.vif))
        and any(item.relation is not Relation.REFERENCED for item in record.resources)
    }
    removal = Removal(built=_begin(context, known), away=away, guests=guests)
    if not removal.built:
        return _Outcome(records=records)
    with context.removals.turn(removal) as turn:
        for batch in turn:
            with batch:
                batch.answers = _remove_together(context, batch.requests)
        removed = turn.answer()
    left = {**removed.left, **{vif_id: _removed_by_mark(vif_id, removed) for vif_id in damaged}}
    for vif_id in removed.active & guests.keys():
        left[vif_id] = [_unplugged_from_guest(vif_id, guests[vif_id]), *left.get(vif_id, ())]
    errors = [error for vif_id in removal.built for error in removed.errors[vif_id]]
    return _Outcome(records=records, errors=errors, warnings=removed.warnings, left=left)


def _remove_together(context: Context, removals: Sequence[Removal]) -> list[Removed]:
    """The removal of the VIFs of several requests, in one plan."""
    together = Removal(
        built={vif_id: left for removal in removals for vif_id, left in removal.built.items()},
        away=next((removal.away for removal in removals if removal.away is not None), None),
        guests={vif_id: name for removal in removals for vif_id, name in removal.guests.items()},
    )
    removed = remove.remove(context.host, context.store, together)
    return [replace(removed, warnings=remove.settle_or_warn(context.host))] * len(removals)


def _unplugged_from_guest(vif_id: str, tap: str) -> str:
    return f"VIF {vif_id} was unplugged while a guest had its tap {tap!r} open; that guest has lost its network"


def _removed_by_mark(vif_id: str, removed: Removed) -> list[str]:
    """The result for a VIF whose record cannot be read."""
    gone = ", ".join(removed.gone.get(vif_id, ())) or "nothing was found"
    return [
        f"the record of VIF {vif_id} was damaged; resources with its mark were deleted: {gone}",
        *removed.left.get(vif_id, ()),
    ]


def _begin(context: Context, known: Moment) -> dict[str, Inventory]:
    """Record what is about to be removed; return what each existing VIF may have on the host."""
    store, built = context.store, dict[str, Inventory]()
    for vif_id, (_record, intent) in known.items():
        if not _is_here(known, vif_id):
            store.clear_neutron_status([vif_id])
            continue
        context.await_helper_of(intent)
        built[vif_id] = _built(context, known, vif_id)
    session = context.host.session
    intents = [
        Intent(vif_id=vif_id, verb=UNPLUG, session=session, resources=left.items) for vif_id, left in built.items()
    ]
    if intents:
        store.begin(intents, {})
    return built


def _built(context: Context, known: Moment, vif_id: str) -> Inventory:
    """What an existing VIF may have on the host."""
    left = request.left(*known[vif_id])
    if vif_id not in known.damaged:
        return left
    owners = context.store.held_by_damaged(vif_id) | {vif_id}
    # A configured device has no mark; the values set on shared ones are stored beside the records.
    shared = [link for link in context.store.shared_links().values() if link.owner in owners]
    return remove.marked(context.host, owners, Inventory((*left.items, *shared)))
