"""The store's part of a plug: its intent before the first effect, its record behind the last, or what was before."""

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
from vifplug.resources.contract import Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.store.records import PLUG, Intent, Record, claimed
from vifplug.store.store import Moment, Store

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A plan, and the requests that it is for."""

    plan: Plan
    work: Sequence[Job]
    resolved: Mapping[str, tuple[Resource, ...]]
    """What each VIF is to have."""
    shared: Mapping[str, Link] = field(default_factory=dict)
    """What the store is to keep of configured devices that VIFs share, by name."""

    @property
    def wanted(self) -> list[Resource]:
        """What all of them are to have."""
        return [item for desired in self.resolved.values() for item in desired]

    @property
    def vif_ids(self) -> list[str]:
        """The VIFs."""
        return [job.vif.id for job in self.work]


def begin(store: Store, task: Task, before: Moment, session: int) -> None:
    """Write what is about to be built, and claim its names.

    :param before: what the store holds of the VIFs.
    :raises StoreError: when it cannot be written.
    """
    intents = [
        Intent(
            vif_id=vif_id,
            verb=PLUG,
            session=session,
            # What an interrupted request left there stays known until it is gone.
            resources=request.united(request.left(*before[vif_id]).items, task.resolved[vif_id]).items,
        )
        for vif_id in task.vif_ids
    ]
    claims = {vif_id: claimed(task.resolved[vif_id]) for vif_id in task.vif_ids}
    is_new = any(before[vif_id][0] is None for vif_id in task.vif_ids)
    store.begin(intents, claims, is_new=is_new, configured=task.shared)


def records(task: Task, observed: Observed, wiring: Wiring) -> list[Record]:
    """The records of VIFs as they were built; their events say what was restored on a port that another program had
    deleted."""
    made = request.records(task.work, task.resolved, observed, wiring)
    restored = {
        action.port.owner: f"port {action.port.name} restored with {action.restored}"
        for action in task.plan.actions
        if isinstance(action, AddPort | SetPort) and action.restored
    }
    return [replace(record, note=restored.get(record.id)) for record in made] if restored else made


def take_back(store: Store, task: Task, journal: Journal, before: Moment, cause: BaseException) -> None:
    """Take back what a plan has begun, and its intents, after a failure. A repair is not taken back: another one goes
    on from there."""
    if not journal.begun and isinstance(cause, VifplugError):
        return  # the store refused the intent: it has not written it, and what it held before still stands
    left = journal.undo(cause) if all(job.takes_back for job in task.work) else []
    if left:
        # The intents stay: the next command settles what could not be taken back now.
        LOG.error("after %s, could not take back: %s", cause, "; ".join(map(str, left)))
        return
    try:
        store.restore(before)
    except VifplugError as error:
        # Nothing is left on the host; the intents show that to the next command. The cause is what matters now.
        LOG.error("after %s, could not end its intents: %s", cause, error)
