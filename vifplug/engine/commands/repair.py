"""The command repair: restores recorded VIFs, each separately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vifplug.engine import report
from vifplug.engine.commands import plug, remove
from vifplug.engine.context import Context
from vifplug.engine.plan import request
from vifplug.engine.plan.request import Job
from vifplug.engine.requester import Requester
from vifplug.errors import VifplugError
from vifplug.model.reports import PlanReport, VifReport
from vifplug.store.records import Record


def repair(context: Context, vif_ids: Sequence[str], requester: Requester | None = None) -> list[VifReport]:
    """Restore recorded VIFs, each separately.

    :raises UnknownVif: an id is not recorded; nothing was changed.
    :raises NotPermitted: a VIF is not the requester's; nothing was changed.
    :raises TeardownError, HostError: after all others were repaired.
    """
    known = [report.known(context.store, vif_id) for vif_id in vif_ids]
    context.authorise(vif_ids, requester)
    reports: list[VifReport] = []
    errors: list[VifplugError] = []
    with context.under_way.work(vif_ids, len(vif_ids)) as progress:
        for done, record in enumerate(known, 1):
            try:
                reports += _repair(context, record.id, requester)
            except VifplugError as error:
                errors.append(error)
            progress(done)
    remove.raise_all(errors)
    return reports


def _repair(context: Context, vif_id: str, requester: Requester | None) -> list[VifReport]:
    """Restore one VIF as its present record describes it; a VIF that was unplugged meanwhile stays unplugged."""
    with context.held(lambda: _identities(context, vif_id)):
        plug.settle_interrupted(context, vif_id)
        record = context.store.record_or_none(vif_id)
        if record is None:
            return []
        context.authorise([vif_id], requester)
        with plug.conflicts_noted(context, [vif_id]):
            done = plug.carry_out(context, [_job(context, record, requester)])
        actions, wiring = done.plan.report().actions, context.wiring([vif_id])
        return [
            replace(report.recorded(record, done.observed, wiring, None), actions=actions) for record in done.records
        ]


def plan(context: Context, vif_ids: Sequence[str]) -> PlanReport:
    """The changes that ``repair`` would make. Nothing is locked, recorded or changed.

    :raises UnknownVif: an id is not recorded.
    :raises Conflict, HostError: a VIF cannot be repaired.
    """
    known = [report.known(context.store, vif_id) for vif_id in vif_ids]
    plans = [plug.plan_jobs(context, [_job(context, record)]).report() for record in known]
    return PlanReport(actions=tuple(action for each in plans for action in each.actions))


def _job(context: Context, record: Record, requester: Requester | None = None) -> Job:
    job = request.job(record.vif, record, context.options, requester)
    return replace(job, thorough=True, repairs=True)


def _identities(context: Context, vif_id: str) -> set[str]:
    record = context.store.record_or_none(vif_id)
    wanted = request.job(record.vif, record, context.options).identities if record is not None else set()
    return context.owners([vif_id]) | wanted
