"""The store's part of a plug: its intent before the first effect, its record after the last, or the former record."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from vifplug.engine.apply.executor import Journal
from vifplug.engine.plan import request
from vifplug.engine.plan.actions import AddPort, SetPort
from vifplug.engine.plan.plan import Plan
from vifplug.engine.plan.request import Job
from vifplug.engine.wiring import Wiring
from vifplug.errors import VifplugError
from vifplug.model import events
from vifplug.model.events import REPAIR, EventCause
from vifplug.model.reports import DriftItem
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.store.records import PLUG, Intent, Record, claimed, functions_claimed
from vifplug.store.store import Moment, Store

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A plan, and its requests."""

    plan: Plan
    work: Sequence[Job]
    resolved: Mapping[str, tuple[Resource, ...]]
    """The desired resources of each VIF."""
    shared: Mapping[str, Link] = field(default_factory=dict)
    """Configured devices that VIFs share, by name, as the store is to keep them."""
    physical: Mapping[str, str] = field(default_factory=dict)
    """The physical functions of the virtual ones of the VIFs' guests."""
    repaired: Mapping[str, Sequence[DriftItem]] = field(default_factory=dict)
    """What had drifted, of the VIFs that are repaired."""

    @property
    def wanted(self) -> list[Resource]:
        """The desired resources of all VIFs."""
        return [item for desired in self.resolved.values() for item in desired]

    @property
    def vif_ids(self) -> list[str]:
        """The VIFs."""
        return [job.vif.id for job in self.work]


def begin(store: Store, task: Task, before: Moment, session: int) -> None:
    """Record what is about to be built, and claim its names.

    :param before: what the store holds of the VIFs.
    :raises StoreError: the store cannot be written.
    """
    intents = [
        Intent(
            vif_id=vif_id,
            verb=PLUG,
            session=session,
            # What an interrupted request left stays recorded until it is gone.
            resources=request.united(request.left(*before[vif_id]).items, task.resolved[vif_id]).items,
        )
        for vif_id in task.vif_ids
    ]
    claims = {job.vif.id: claimed(task.resolved[job.vif.id]) | _new_functions(job, task) for job in task.work}
    is_new = any(before[vif_id][0] is None for vif_id in task.vif_ids)
    store.begin(intents, claims, is_new=is_new, configured=task.shared)


def _new_functions(job: Job, task: Task) -> dict[str, str]:
    """The claims on a function that the VIF has not had before; those on a recorded one are renewed with the record."""
    return {} if job.keeps_function else functions_claimed(job.vif, task.physical.get(job.function, ""))


def records(task: Task, observed: Observed, wiring: Wiring) -> list[Record]:
    """The records of VIFs after the plug; their events contain what was restored on a port that another program had
    deleted."""
    made = request.records(task.work, task.resolved, observed, wiring)
    restored = {
        action.port.owner: f"port {action.port.name} restored with {action.restored}"
        for action in task.plan.actions
        if isinstance(action, AddPort | SetPort) and action.restored
    }
    if not (restored or task.repaired):
        return made
    return [
        replace(record, note=restored.get(record.id), cause=_cause(task.repaired.get(record.id, ()))) for record in made
    ]


def _cause(drift: Sequence[DriftItem]) -> EventCause | None:
    return EventCause(kind=REPAIR, changes=events.repaired(drift)) if drift else None


def take_back(store: Store, task: Task, journal: Journal, before: Moment, cause: BaseException) -> None:
    """Undo what a plan has begun, and its intents, after a failure. A repair is not undone: the next one continues
    it."""
    if not journal.begun and isinstance(cause, VifplugError):
        return  # the store refused the intent: it was not written, and the former one still applies
    left = journal.undo(cause) if all(job.takes_back for job in task.work) else []
    if left:
        # The intents stay: the next command settles what could not be undone now.
        LOG.error("after %s, could not undo: %s", cause, "; ".join(map(str, left)))
        return
    try:
        store.restore(before)
    except VifplugError as error:
        # Nothing is left on the host; the intents show that to the next command. The original error is raised.
        LOG.error("after %s, could not end its intents: %s", cause, error)
