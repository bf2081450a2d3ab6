"""A plan carried out, all or nothing: its intent before the first effect, its record behind the last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from vifplug.engine.apply import executor, verify
from vifplug.engine.host import Host, Scope
from vifplug.engine.plan import request
from vifplug.engine.plan.actions import AddPort, SetPort
from vifplug.engine.plan.plan import Plan
from vifplug.engine.plan.request import Job
from vifplug.engine.wiring import Wiring
from vifplug.errors import VifplugError
from vifplug.resources.contract import Resource
from vifplug.resources.observed import Observed
from vifplug.store import records
from vifplug.store.records import Intent, Record
from vifplug.store.store import Moment, Store

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Undertaking:
    """A plan, and whose it is."""

    plan: Plan
    work: Sequence[Job]
    resolved: Mapping[str, tuple[Resource, ...]]
    """What each VIF is to have."""
    scope: Scope
    found: Observed
    """What was there when it was planned."""

    @property
    def wanted(self) -> list[Resource]:
        """What is to be there."""
        return [item for desired in self.resolved.values() for item in desired]

    @property
    def vif_ids(self) -> list[str]:
        """Whose it is."""
        return [job.vif.id for job in self.work]


def carry_out(
    host: Host,
    store: Store,
    task: Undertaking,
    wiring: Callable[[Collection[str]], Wiring],
    tell: Callable[[int], None],
) -> tuple[Observed, list[Record]]:
    """Do it, read it back and record it, under locks that the caller holds.

    :param tell: how many of its actions are done.
    :returns: what was read back, and the records.
    :raises VifplugError: for the first thing that failed; what had been made was taken back.
    """
    journal = executor.Journal(host)
    before = store.snapshot(task.vif_ids)
    try:
        _intend(host, store, task, before)
        opening = verify.opening(task.wanted, task.found, task.plan)
        seen = journal.build(task.plan, opening, task.scope, tell)
        observed = verify.verified(host, seen, task.wanted, task.scope, journal.run)
        made = _noted(request.records(task.work, task.resolved, observed, wiring(task.vif_ids)), task.plan)
        store.save_records(made)
    except BaseException as cause:
        # A store that refused the intent has not written it, and what it held before still stands.
        if journal.begun or not isinstance(cause, VifplugError):
            _take_back(store, journal if all(job.takes_back for job in task.work) else None, before, cause)
        raise
    return observed, made


def _noted(made: list[Record], plan: Plan) -> list[Record]:
    """Records whose events say what was restored on a port that another program had deleted."""
    restored = {
        action.port.owner: f"port {action.port.name} restored with {action.restored}"
        for action in plan.actions
        if isinstance(action, AddPort | SetPort) and action.restored
    }
    return [replace(record, note=restored.get(record.id)) for record in made] if restored else made


def _intend(host: Host, store: Store, task: Undertaking, before: Moment) -> None:
    intents = [
        Intent(
            vif_id=vif_id,
            verb=records.PLUG,
            session=host.session,
            # What an interrupted request left there stays known until it is gone.
            resources=request.united(request.left(*before[vif_id]).items, task.resolved[vif_id]).items,
        )
        for vif_id in task.vif_ids
    ]
    claims = {vif_id: records.claimed(task.resolved[vif_id]) for vif_id in task.vif_ids}
    store.begin(intents, claims, is_new=any(before[vif_id][0] is None for vif_id in task.vif_ids))


def _take_back(store: Store, journal: executor.Journal | None, before: Moment, cause: BaseException) -> None:
    left = journal.undo(cause) if journal is not None else []
    if left:
        # The intents stay: the next command settles what could not be taken back now.
        LOG.error("after %s, could not take back: %s", cause, "; ".join(map(str, left)))
        return
    try:
        store.restore(before)
    except VifplugError as error:
        # Nothing is left on the host; the intents say so to the next command. The cause is what matters now.
        LOG.error("after %s, could not end its intents: %s", cause, error)
