"""The command plug.

``plug`` takes the locks, settles what an interrupted request left, and shares its turn with the requests of other
threads (group commit). ``carry_out`` is the plug itself, all or nothing, from the first observation to the record.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from vifplug.drivers.registry import guest_link
from vifplug.engine import functions, notes, own_vlan, report
from vifplug.engine.apply import transaction, verify
from vifplug.engine.apply.executor import Journal
from vifplug.engine.apply.transaction import Task
from vifplug.engine.commands import remove
from vifplug.engine.context import Context
from vifplug.engine.host import Asked, Scope, Settle
from vifplug.engine.plan import bridge_permission, configured, conflicts, request, resolve
from vifplug.engine.plan.plan import Plan
from vifplug.engine.plan.plug import Request, plan_plug
from vifplug.engine.plan.request import Job
from vifplug.engine.removal import Removal
from vifplug.engine.requester import Requester
from vifplug.engine.state import drift_of
from vifplug.errors import Conflict, StoreError
from vifplug.model.reports import ABSENT, VifReport
from vifplug.model.vif import Vif
from vifplug.resources.contract import Resource
from vifplug.resources.observed import Inventory, Observed
from vifplug.store import records
from vifplug.store.events import NEUTRON_FAILED
from vifplug.store.records import Record
from vifplug.store.store import Moment

LOG = logging.getLogger(__name__)

_EARLY_SECONDS_MAX = 0.1
"""How old an observation that began before its locks were held may be: other programs change the host at any time."""


def plan(context: Context, vifs: Sequence[Vif]) -> Plan:
    """The plan that ``plug`` would carry out. Nothing is locked, recorded or changed.

    :raises InputError, Conflict, HostError: as ``plug``.
    """
    return plan_jobs(context, _jobs(context, vifs, context.store.snapshot([vif.id for vif in vifs])))


def plan_jobs(context: Context, work: Sequence[Job]) -> Plan:
    """The plan that ``carry_out`` would carry out. Nothing is locked, recorded or changed.

    :raises Conflict, HostError: as ``carry_out``.
    """
    return _planned(context, work, context.host.observe(_before(_scope(work), work))).plan


@dataclass(frozen=True, slots=True)
class Early:
    """What is known of VIFs before interrupted requests are settled and locks are taken."""

    version: tuple[int, int]
    """The store's, from before it was read: what is known applies while that is the same."""
    known: Moment
    asked: Asked | None
    """The observation of VIFs that are all recorded: OVSDB's answer takes a third of a replug."""


@contextlib.contextmanager
def asking(context: Context, vif_ids: Sequence[str]) -> Iterator[Early]:
    """Begin to observe VIFs that are recorded, by their records alone.

    It applies if the store is unchanged when their locks are held: a request that changes a recorded VIF on the host
    holds its lock, writes an intent first and a record last. ``gc``, which writes nothing, deletes only what has no
    record.
    """
    version, known = context.store.version(), context.store.snapshot(vif_ids)
    parts = [record for record, intent in known.values() if record is not None and intent is None]
    if len(parts) < len(known) or context.plugs.is_busy:
        yield Early(version, known, None)
        return
    guests = {guest_link(record.vif) for record in parts} - {""}
    recorded = [item for record in parts for item in record.resources]
    scope = request.scope_of(recorded, known, guests)
    with context.host.asking(scope) as asked:
        yield Early(version, known, asked)


def plug(
    context: Context, vifs: Sequence[Vif], requester: Requester | None = None, early: Early | None = None
) -> list[VifReport]:
    """Plug every VIF, or leave the host as it was.

    :param early: from ``asking`` about these VIFs, if that was done.
    :raises InputError, Conflict, NotPermitted: nothing was changed.
    :raises Busy: another request works on one of them for too long; nothing was changed.
    :raises HostError: what this call had made was undone.
    """
    with (
        conflicts_noted(context, [vif.id for vif in vifs]),
        _held_jobs(context, vifs, requester, early) as (work, asked),
        context.plugs.turn(work) as turn,
    ):
        for batch in turn:
            with batch:
                work_of_all = [job for jobs in batch.requests for job in jobs]
                if batch.is_repeated:
                    work_of_all = _with_records_of_now(context, work_of_all)
                is_alone = len(batch.requests) == 1 and not batch.is_repeated and batch.requests[0] is work
                applies = asked is not None and is_alone and time.monotonic() < asked.began + _EARLY_SECONDS_MAX
                reports = iter(plug_held(context, work_of_all, asked if applies else None))
                batch.answers = [list(itertools.islice(reports, len(jobs))) for jobs in batch.requests]
        return turn.answer()


@contextlib.contextmanager
def conflicts_noted(context: Context, vif_ids: Sequence[str]) -> Iterator[None]:
    """Record an event if something that vifplug did not make is in the way."""
    try:
        yield
    except Conflict as error:
        with contextlib.suppress(StoreError):  # the conflict itself is more important
            known = context.store.contents(vif_ids).records
            states = {vif_id: known[vif_id].state if vif_id in known else ABSENT for vif_id in vif_ids}
            context.store.note_conflict(states, error.subject, error.message)
        raise


def _with_records_of_now(context: Context, work: Sequence[Job]) -> list[Job]:
    """The jobs with their records read again. An earlier try may have ended after its record: the host's present state
    is then not the one before vifplug, and must not be recorded as former values."""
    known = context.store.snapshot([job.vif.id for job in work])
    return [replace(job, record=known[job.vif.id][0]) for job in work]


def plug_held(context: Context, work: Sequence[Job], asked: Asked | None = None) -> list[VifReport]:
    """``plug`` for a caller that holds the locks of the jobs' identities, and has settled their VIFs."""
    records, observed, _plan = carry_out(context, work, asked)
    return [
        report.built(
            record,
            observed,
            [*notes.warnings(job, observed, work), *configured.left_behind(job.recorded, job.desired, observed)],
        )
        for job, record in zip(work, records, strict=True)
    ]


class Done(NamedTuple):
    """What a plug or a repair has done."""

    records: list[Record]
    observed: Observed
    """The host afterwards."""
    plan: Plan
    """What was changed."""


def carry_out(context: Context, work: Sequence[Job], asked: Asked | None = None) -> Done:
    """Make VIFs as desired, under locks that the caller holds: observe, plan, record the intent, apply, verify, record
    the result; on failure undo what was begun, newest first, the failing step included.

    :param asked: the observation, if it has begun.
    :raises VifplugError: the first failure; what had been made was undone.
    """
    host, store = context.host, context.store
    observed = host.observe(_before(_scope(work), work)) if asked is None else asked.observe()
    task = _planned(context, work, observed)
    if not task.plan:
        agreed = _agreed(context, task, observed)
        if agreed != [job.record for job in work]:
            store.save_records(agreed, configured=configured.settled(task.shared))
        return Done(agreed, observed, task.plan)
    before, journal = store.snapshot(task.vif_ids), Journal(host)
    scope = _scope(work)  # with the first filters, which were not read before
    settle = Settle(opening=verify.opening(task.wanted, observed, task.plan), scope=scope)
    with context.under_way.work(task.vif_ids, len(task.plan.actions)) as progress:
        try:
            transaction.begin(store, task, before, host.session)
            for stages, then in journal.parts(task.plan, settle, progress):
                observed = host.apply(stages, then)
            observed = verify.verified(host, observed, task.wanted, scope, journal.run)
            made = transaction.records(task, observed, context.wiring(task.vif_ids))
            store.save_records(made, configured=configured.settled(task.shared))
        except BaseException as cause:
            transaction.take_back(store, task, journal, before, cause)
            raise
    return Done(made, observed, task.plan)


def _agreed(context: Context, task: Task, observed: Observed) -> list[Record]:
    """The records of VIFs that are already as desired.

    :raises VerifyError: something differs that no plan changes.
    """
    verify.require_agreement(task.wanted, observed)
    return request.records(task.work, task.resolved, observed, context.wiring(task.vif_ids))


# -- requests and their plans ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _held_jobs(
    context: Context, vifs: Sequence[Vif], requester: Requester | None, early: Early | None
) -> Iterator[tuple[list[Job], Asked | None]]:
    """Hold the locks of VIFs that are to be plugged.

    :returns: as a context, the jobs as of then; and the early observation, if it still applies.
    """
    store, vif_ids = context.store, [vif.id for vif in vifs]
    while True:
        version, known, asked = (
            (early.version, early.known, early.asked)
            if early is not None
            else (store.version(), store.snapshot(vif_ids), None)
        )
        early = None
        work = _jobs(context, vifs, known, requester)
        wanted = _identities(work, known)
        with context.locks.held(wanted, context.lock_seconds):
            if store.version() != version:
                asked = None
                known = store.snapshot(vif_ids)
                work = _jobs(context, vifs, known, requester)
                if not _identities(work, known) <= wanted:
                    continue
            interrupted = [vif_id for vif_id, (_record, intent) in known.items() if intent is not None]
            for vif_id in interrupted:
                settle_interrupted(context, vif_id)
            if interrupted:
                work = _jobs(context, vifs, store.snapshot(vif_ids), requester)
            # A failure that Neutron reported of an earlier try does not apply to this one.
            if NEUTRON_FAILED in known.neutron_status.values():
                store.clear_neutron_status(vif_ids, only=NEUTRON_FAILED)
            # A request may need more than its record names.
            yield work, asked if asked is not None and asked.scope == _before(_scope(work), work) else None
            return


def _jobs(context: Context, vifs: Sequence[Vif], known: Moment, requester: Requester | None = None) -> list[Job]:
    context.authorise([vif.id for vif in vifs], requester)
    return [request.job(vif, known[vif.id][0], context.options, requester) for vif in vifs]


def _identities(work: Sequence[Job], known: Moment) -> set[str]:
    left = (item.owner for parts in known.values() for item in request.left(*parts).items)
    return set(left).union(*(job.identities for job in work))


def _scope(work: Sequence[Job]) -> Scope:
    desired = [resource for job in work for resource in job.desired]
    recorded = [resource for job in work for resource in job.recorded.items]
    guests = {job.guest_link for job in work} - {""}
    scope = request.scope_of_plan(desired, recorded, {job.vif.id for job in work}, guests)
    functions = frozenset(job.function for job in work if job.function)
    return replace(scope, functions=functions, thorough=any(job.thorough for job in work))


def _before(scope: Scope, work: Sequence[Job]) -> Scope:
    """The scope before the work: a VIF's first filter is not read, because it replaces whatever is there."""
    known = {item.name for job in work for item in job.recorded.filters.values()}
    if known >= scope.filters.keys():
        return scope
    return replace(scope, filters={name: item for name, item in scope.filters.items() if name in known})


def _planned(context: Context, work: Sequence[Job], observed: Observed) -> Task:
    """A plan that makes VIFs as desired.

    :raises NotPermitted: the requester's VIFs may not join a bridge.
    :raises Conflict: another VIF or another program holds a name or an identity.
    :raises InputError: the configuration does not list another program's device that a VIF needs.
    """
    _authorise_bridges(context, work, observed)
    _refuse_given_functions(context, work, observed)
    desired = [resolve.resolve(job.desired, observed) for job in work]
    kept = {(item.kind, item.name) for items in desired for item in items}
    given_up = [item for job in work for item in job.recorded.items if (item.kind, item.name) not in kept]
    shared = [*given_up, *(item for items in desired for item in items if configured.is_configured(item))]
    made_new = [link for items in desired for link in conflicts.to_be_made(items, observed)]
    turned = [link for items in desired for link in own_vlan.to_be_turned(items, observed)]
    others = remove.shared_with_others(context.store, [job.vif.id for job in work], [*shared, *made_new, *turned])
    stored = remove.stored_of(context.store, shared)
    requests = [
        _request(job, items, observed, configured.with_shared(job.recorded.items, stored, others))
        for job, items in zip(work, desired, strict=True)
    ]
    together = configured.shared_by([wanted.desired for wanted in requests], observed, stored, others)
    # First: a device that is not listed need not be there, either.
    for wanted in requests:
        configured.refuse_unlisted(wanted.desired, observed, context.options.configurable)
    made = plan_plug(requests, observed, others, together)
    return Task(
        plan=made,
        work=work,
        resolved={job.vif.id: wanted.desired for job, wanted in zip(work, requests, strict=True)},
        shared=together,
        physical=observed.physical,
        repaired={job.vif.id: drift_of(job.record, observed) for job in work if job.repairs and job.record},
    )


def _refuse_given_functions(context: Context, work: Sequence[Job], observed: Observed) -> None:
    """Refuse PCI functions that guests of other VIFs are given; the store is asked only where there are any.

    A VIF keeps a function that it is recorded with: an older version allowed two VIFs with one function, and each must
    still be repaired. What another process does at the same time is refused by the claims.
    """
    wanted = [
        functions.Given(vif_id=job.vif.id, address=job.function, physical=observed.physical.get(job.function, ""))
        for job in work
        # An absent one is bad input, and refused as such.
        if job.function and not job.keeps_function and job.function not in observed.absent
    ]
    if wanted:
        changed = {job.vif.id for job in work if not job.keeps_function}
        known = context.store.contents().records.values()
        functions.refuse_given(wanted, functions.given_by(record for record in known if record.id not in changed))


def _authorise_bridges(context: Context, work: Sequence[Job], observed: Observed) -> None:
    for job in work:
        bridge_permission.authorise_bridges(job, observed, context.options.integration_bridge)
        if moved := bridge_permission.moved_bridges(job, observed):
            users = remove.users_of_shared(context.store, job.vif.id)
            bridge_permission.authorise_mtu(job, moved, observed, users)


def _request(job: Job, resolved: Sequence[Resource], observed: Observed, recorded: tuple[Resource, ...]) -> Request:
    """A job in the planner's form.

    :param resolved: the desired resources, on this host.
    :param recorded: what was built before, with the stored values of devices that VIFs share.
    """
    desired = tuple(configured.remembering(item, observed, job.recorded) for item in resolved)
    return job.request(desired, Inventory(recorded))


# -- interrupted requests --------------------------------------------------------------------------------------


def settle_interrupted(context: Context, vif_id: str) -> bool:
    """If a request on a VIF was interrupted, make the VIF as recorded, or absent. The caller holds its lock.

    :returns: whether there was such a request.
    :raises HostError: that cannot be done now; the next command tries again.
    """
    store = context.store
    intent, record = store.intent(vif_id), store.record_or_none(vif_id)
    if intent is None:
        return False
    context.await_helper_of(intent)
    if record is None and intent.verb == records.PLUG and store.is_damaged(vif_id):
        # It was plugged before, but its record cannot be read: it stays, as a VIF whose record is damaged.
        store.end_intent(vif_id)
    elif intent.verb == records.PLUG and record is not None:
        plug_held(context, [request.recovery(record, Inventory(intent.resources), context.options)])
        if store.intent(vif_id) is not None:  # nothing had to be done
            store.save_records([record])
    else:
        removed = remove.remove(context.host, store, Removal(built={vif_id: context.left_on_host(vif_id)}))
        remove.raise_all(removed.errors[vif_id])
        for warning in removed.left[vif_id]:
            LOG.warning("%s", warning)
    return True
