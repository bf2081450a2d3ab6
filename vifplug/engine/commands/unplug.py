"""The use case of taking VIFs away: many in one plan, as far as it goes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vifplug.engine import report
from vifplug.engine.apply.group_commit import Group
from vifplug.engine.commands import remove as removal
from vifplug.engine.host import Host
from vifplug.engine.requester import Requester
from vifplug.errors import Busy, OvsUnavailable, VifplugError
from vifplug.model.reports import VifReport
from vifplug.resources.observed import Inventory
from vifplug.store.records import UNPLUG, Intent, Record
from vifplug.store.store import Store

if TYPE_CHECKING:
    from vifplug.engine.commands.plug import Plugger

_CHUNK = 100
"""VIFs of one request that go in one plan: others get their turn between two of them."""
_PATIENCE_SECONDS = 2.0
"""For the locks of many; after that each is waited for by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """VIFs that go, under locks that the asking thread holds; their intents are written."""

    built: Mapping[str, Inventory]
    """What each may have on the host."""
    away: VifplugError | None = None
    """OVSDB has just been found so, and need not be asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departed:
    """What came of it."""

    errors: Sequence[VifplugError] = ()
    warnings: Sequence[str] = ()
    left: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What stays on the host of each VIF, in words."""
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What each VIF had there, in words."""


def group(host: Host, store: Store, most: int) -> Group[Departure, Departed]:
    """Where departures meet."""

    def together(asked: Sequence[Departure]) -> list[Departed | VifplugError]:
        built = {vif_id: left for one in asked for vif_id, left in one.built.items()}
        away = next((one.away for one in asked if one.away is not None), None)
        removed = removal.remove(host, store, built, away)
        warnings = removal.settle_or_warn(host)
        return [
            Departed(
                errors=[error for vif_id in one.built for error in removed.errors[vif_id]],
                warnings=warnings,
                left={vif_id: removed.left.get(vif_id, ()) for vif_id in one.built},
                gone={vif_id: removed.gone.get(vif_id, ()) for vif_id in one.built},
            )
            for one in asked
        ]

    return Group(together, lambda one: len(one.built), most)


Spared = Callable[[Mapping[str, Record | None]], Collection[str]]
"""Of VIFs whose locks are held, those that are not to go after all."""


def unplug(
    plugger: Plugger, vif_ids: Sequence[str], requester: Requester | None, *, spared: Spared = lambda _records: ()
) -> list[VifReport]:
    """Take VIFs away; absent is done.

    :returns: what went, or was absent; of those that were spared, nothing.
    :raises NotPermitted: for one that is not the requester's; nothing was touched.
    :raises TeardownError, HostError: when something is left; all that could go is gone, and the next command goes on
        with the rest.
    """
    plugger.authorise(vif_ids, requester)
    records: dict[str, Record | None] = {}
    errors: list[VifplugError] = []
    warnings: dict[str, None] = {}
    left: dict[str, Sequence[str]] = {}
    with plugger.under_way.work(vif_ids, len(vif_ids)) as tell:
        for start in range(0, len(vif_ids), _CHUNK):
            away = next((error for error in errors if isinstance(error, OvsUnavailable)), None)
            outcome = _chunk(plugger, vif_ids[start : start + _CHUNK], requester, away, spared)
            records |= outcome.records
            errors += outcome.errors
            warnings |= dict.fromkeys(outcome.warnings)
            left |= outcome.left
            tell(len(records))
    removal.raise_all(errors)
    return [
        report.unplugged(vif_id, records[vif_id], list(warnings), left.get(vif_id))
        for vif_id in vif_ids
        if vif_id in records
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    records: Mapping[str, Record | None]
    errors: Sequence[VifplugError] = ()
    warnings: Sequence[str] = ()
    left: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What is to be reported of each VIF that was there, recorded or not."""


def _chunk(
    plugger: Plugger, vif_ids: Sequence[str], requester: Requester | None, away: VifplugError | None, spared: Spared
) -> _Outcome:
    try:
        patience = None if len(vif_ids) == 1 else _PATIENCE_SECONDS
        with plugger.held(lambda: set().union(*map(plugger.owners, vif_ids)), patience):
            plugger.authorise(vif_ids, requester)
            known = {vif_id: plugger.store.record_or_none(vif_id) for vif_id in vif_ids}
            staying = set(spared(known))
            known = {vif_id: record for vif_id, record in known.items() if vif_id not in staying}
            damaged = {one for one, record in known.items() if record is None and plugger.store.is_damaged(one)}
            departure = Departure(built=_begin(plugger, known, damaged), away=away)
            if not departure.built:
                return _Outcome(records=known)
            departed = plugger.departures.ask(departure)
            left = {**departed.left, **{one: _by_mark(one, departed) for one in damaged}}
            return _Outcome(records=known, errors=departed.errors, warnings=departed.warnings, left=left)
    except Busy as error:
        if len(vif_ids) == 1:
            return _Outcome(records={vif_ids[0]: None}, errors=[error])
    # Somebody is at work on one of them: that one must not hold up the others.
    parts = [_chunk(plugger, [vif_id], requester, away, spared) for vif_id in vif_ids]
    return _Outcome(
        records={vif_id: record for part in parts for vif_id, record in part.records.items()},
        errors=[error for part in parts for error in part.errors],
        warnings=[warning for part in parts for warning in part.warnings],
        left={vif_id: words for part in parts for vif_id, words in part.left.items()},
    )


def _by_mark(vif_id: str, departed: Departed) -> list[str]:
    """What became of a VIF whose record cannot be read."""
    gone = ", ".join(departed.gone.get(vif_id, ())) or "nothing was there"
    return [
        f"the record of VIF {vif_id} was damaged; what bears its mark was taken away: {gone}",
        *departed.left.get(vif_id, ()),
    ]


def _begin(plugger: Plugger, known: Mapping[str, Record | None], damaged: Collection[str]) -> dict[str, Inventory]:
    """Write down what is about to go; what each VIF that is there may have on the host."""
    built: dict[str, Inventory] = {}
    for vif_id, record in known.items():
        intent = plugger.store.intent(vif_id)
        if record is None and intent is None and vif_id not in damaged:
            plugger.store.clear_neutron_status([vif_id])
            continue
        plugger.await_helper_of(intent)
        left = plugger.left_on_host(vif_id)
        if vif_id in damaged:
            left = removal.marked(plugger.host, plugger.store.held_by_damaged(vif_id) | {vif_id}, left)
        built[vif_id] = left
    session = plugger.host.session
    intents = [
        Intent(vif_id=vif_id, verb=UNPLUG, session=session, resources=left.items) for vif_id, left in built.items()
    ]
    if intents:
        plugger.store.begin(intents, {})
    return built
