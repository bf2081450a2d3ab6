"""The use cases that change the host: plug, unplug, repair.

Each tells one story: observe, plan, record the intent, apply, verify, record the result; on failure undo
what this call began.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import tenacity

from vifplug import store as stores
from vifplug.drivers.contract import Options
from vifplug.engine import drift, executor, jobs, planner, resolution, views
from vifplug.engine.host import Host, Scope
from vifplug.engine.jobs import Job
from vifplug.engine.plan import Plan
from vifplug.errors import Conflict, OvsdbError, OvsUnavailable, TeardownError, TimedOut, VerifyError, VifplugError
from vifplug.locks import LockFile
from vifplug.model import Vif
from vifplug.reports import PLUGGED, VifReport
from vifplug.resources import Bridge, Inventory, Observed, OvsPort, Resource
from vifplug.store import Intent, Record, Store

LOG = logging.getLogger(__name__)

_VERIFY_SECONDS = 1.0
_VERIFY_PAUSE_SECONDS = 0.02


class Plugger:
    """Plugs and unplugs on one host, from one store.

    :param lock_seconds: how long a request waits for another one on the same VIF.
    """

    def __init__(self, host: Host, store: Store, locks: LockFile, options: Options, lock_seconds: float) -> None:
        self.host, self.store, self.locks, self.options = host, store, locks, options
        self._lock_seconds = lock_seconds

    # -- plug ---------------------------------------------------------------------------------------------

    def plan(self, vifs: Sequence[Vif]) -> Plan:
        """What ``plug`` would do. Nothing is locked, recorded or changed.

        :raises InputError, Conflict, HostError: as ``plug``.
        """
        work = self._jobs(vifs)
        observed = self.host.observe(self._scope(work))
        return planner.plan_plug(self._requests(work, observed), observed)

    def plug(self, vifs: Sequence[Vif]) -> list[VifReport]:
        """Make every VIF plugged, or leave the host as it was.

        :raises InputError, Conflict: nothing was touched.
        :raises HostError: what this call had made was taken back.
        """
        with self._held(vifs):
            return self.plug_held(vifs)

    def plug_held(self, vifs: Sequence[Vif]) -> list[VifReport]:
        """``plug`` for a caller that holds the VIFs' locks."""
        return self._plug_jobs(self._jobs(vifs))

    def converge_held(self, record: Record, also: Inventory) -> None:
        """Make a VIF as recorded again, and take away what an interrupted plug had added.

        The caller holds its lock.
        """
        job = jobs.job(record.vif, record, self.options)
        known = {(item.plane, item.name) for item in record.resources}
        added = tuple(item for item in also.items if (item.plane, item.name) not in known)
        self._plug_jobs([replace(job, record=replace(record, resources=(*record.resources, *added)))])

    def _plug_jobs(self, work: Sequence[Job]) -> list[VifReport]:
        scope = self._scope(work)
        observed = self.host.observe(scope)
        requests = self._requests(work, observed)
        plan = planner.plan_plug(requests, observed)
        resolved = {job.vif.id: request.desired for job, request in zip(work, requests, strict=True)}
        if plan:
            self._intend(work, resolved)
            observed = self._carry_out(plan, work, resolved, scope)
        records = [self._recorded(job, resolved[job.vif.id], observed) for job in work]
        if plan or records != [job.record for job in work]:
            self.store.keep(records)
        return [
            views.report(record, job.driver, observed, warnings=_datapath_warning(job, observed))
            for job, record in zip(work, records, strict=True)
        ]

    def _jobs(self, vifs: Sequence[Vif]) -> list[Job]:
        return [jobs.job(vif, self.store.record(vif.id), self.options) for vif in vifs]

    @staticmethod
    def _scope(work: Sequence[Job]) -> Scope:
        everything = [resource for job in work for resource in (*job.desired, *job.recorded.items)]
        return jobs.scope_of(everything, {job.vif.id for job in work}, {job.driver.guest_link(job.vif) for job in work})

    @staticmethod
    def _requests(work: Sequence[Job], observed: Observed) -> list[planner.Request]:
        return [job.request(resolution.resolve(job.desired, observed)) for job in work]

    @contextlib.contextmanager
    def _held(self, vifs: Sequence[Vif]) -> Iterator[None]:
        identities: set[str] = set()
        for job in self._jobs(vifs):
            identities |= job.identities
        with self.locks.held(identities, self._lock_seconds):
            yield

    def _intend(self, work: Sequence[Job], resolved: dict[str, tuple[Resource, ...]]) -> None:
        intents = [
            Intent(vif_id=job.vif.id, verb=stores.PLUG, session=self.host.session, resources=resolved[job.vif.id])
            for job in work
        ]
        claims = {job.vif.id: {resource.name: resource.owner for resource in resolved[job.vif.id]} for job in work}
        self.store.intend(intents, claims)

    def _carry_out(
        self, plan: Plan, work: Sequence[Job], resolved: dict[str, tuple[Resource, ...]], scope: Scope
    ) -> Observed:
        journal = executor.Journal(self.host)
        try:
            journal.run(plan)
            self.host.settle()
            return self._verified([item for desired in resolved.values() for item in desired], scope)
        except BaseException as cause:
            left = journal.undo(cause)
            if left:
                # The intents stay: the next command settles what could not be taken back now.
                LOG.error("after %s, could not take back: %s", cause, "; ".join(map(str, left)))
            else:
                self.store.withdraw([job.vif.id for job in work])
            raise

    def _verified(self, resolved: Sequence[Resource], scope: Scope) -> Observed:
        """The host read back, once it is as desired.

        :raises OvsdbError: with OVS's own words, when it has an interface in error.
        :raises VerifyError: when anything else differs.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(VerifyError),
            stop=tenacity.stop_after_delay(_VERIFY_SECONDS),
            wait=tenacity.wait_fixed(_VERIFY_PAUSE_SECONDS),
            reraise=True,
        )
        return retrying(self._verified_once, resolved, scope)

    def _verified_once(self, resolved: Sequence[Resource], scope: Scope) -> Observed:
        observed = self.host.observe(scope)
        items = drift.differences(resolved, observed, Inventory())
        for item in items:
            if item.attribute == "error":
                raise OvsdbError(
                    f"ovs-vswitchd could not use port {item.subject!r}: {item.observed}", item.subject, "verify"
                )
        if items:
            raise VerifyError(f"read back {items[0]}; somebody else may be changing it", items[0].subject, "verify")
        return observed

    @staticmethod
    def _recorded(job: Job, resolved: tuple[Resource, ...], observed: Observed) -> Record:
        resources = jobs.built(resolved, observed)
        known = job.record
        if known is not None and known.vif == job.vif and known.resources == resources and known.state == PLUGGED:
            return known
        return Record(vif=job.vif, resources=resources, state=PLUGGED, updated_at=stores.now())

    # -- repair -------------------------------------------------------------------------------------------

    def repair(self, vif_ids: Sequence[str]) -> list[VifReport]:
        """Make recorded VIFs as recorded again, each by itself.

        :raises UnknownVif: for an id that is not recorded; nothing was touched.
        :raises TeardownError, HostError: after all others were repaired.
        """
        records = [views.known(self.store, vif_id) for vif_id in vif_ids]
        reports: list[VifReport] = []
        errors: list[VifplugError] = []
        for record in records:
            try:
                reports += self.plug([record.vif])
            except VifplugError as error:
                errors.append(error)
        _raise(errors)
        return reports

    # -- unplug -------------------------------------------------------------------------------------------

    def unplug(self, vif_ids: Sequence[str]) -> list[VifReport]:
        """Take VIFs away; absent is done.

        :raises TeardownError, HostError: when something is left; all that could go is gone, and the next command
            goes on with the rest.
        """
        reports: list[VifReport] = []
        errors: list[VifplugError] = []
        for vif_id in vif_ids:
            record = self.store.record(vif_id)
            owners = {vif_id} | ({item.owner for item in record.resources} if record else set())
            with self.locks.held(owners, self._lock_seconds):
                warnings, failed = self._unplug_held(vif_id)
            errors += failed
            reports.append(views.unplugged(vif_id, record, warnings))
        _raise(errors)
        return reports

    def _unplug_held(self, vif_id: str) -> tuple[list[str], list[VifplugError]]:
        record = self.store.record(vif_id)
        if record is None:
            return [], []
        intent = Intent(vif_id=vif_id, verb=stores.UNPLUG, session=self.host.session, resources=record.resources)
        self.store.intend([intent], {})
        return self.remove_held(vif_id, Inventory(record.resources))

    def remove_held(self, vif_id: str, built: Inventory) -> tuple[list[str], list[VifplugError]]:
        """Take away what was built for a VIF whose lock the caller holds, and forget it once all is gone.

        :returns: warnings, and errors. With errors the intent stays, for the next command.
        """
        errors: list[VifplugError] = []
        scope = jobs.scope_of(built.items, {vif_id})
        observed, unreachable = self._observe_what_can_be(scope)
        plan = planner.plan_unplug(built, {vif_id}, observed, self._shared_with_others(vif_id))
        errors += executor.teardown(self.host, plan.actions)
        warnings = self._settle_or_warn() if any(action.plane == "ports" for action in plan.actions) else []
        if unreachable is not None:
            errors.append(unreachable)
        if not errors:
            self.store.forget([vif_id])
        return warnings, errors

    def _observe_what_can_be(self, scope: Scope) -> tuple[Observed, VifplugError | None]:
        try:
            return self.host.observe(scope), None
        except OvsUnavailable as error:
            without = Scope(links=scope.links, members_of=scope.members_of, ovs=False)
            return self.host.observe(without), error

    def _shared_with_others(self, vif_id: str) -> set[str]:
        contents = self.store.contents()
        held = [record.resources for record in contents.records.values() if record.id != vif_id]
        held += [intent.resources for intent in contents.intents.values() if intent.vif_id != vif_id]
        return {item.owner for resources in held for item in resources if isinstance(item, Bridge) and item.shared}

    def _settle_or_warn(self) -> list[str]:
        try:
            self.host.settle()
        except TimedOut as error:
            return [f"the rows and links are gone, but {error}"]
        return []


def _datapath_warning(job: Job, observed: Observed) -> list[str]:
    """The bridge's own datapath decides; a request that believes in another gets one warning."""
    for port in (resource for resource in job.desired if isinstance(resource, OvsPort)):
        bridge = observed.bridges.get(port.bridge)
        if job.asked_datapath and bridge and (bridge.datapath_type or "system") != job.asked_datapath:
            return [
                f"VIF {job.vif.id} asks for datapath_type {job.asked_datapath!r}, but OVS bridge {bridge.name!r} has "
                f"{bridge.datapath_type or 'system'!r}; the bridge's own was used"
            ]
    return []


def _raise(errors: Iterable[VifplugError]) -> None:
    collected = list(errors)
    if len(collected) == 1:
        raise collected[0]
    if collected:
        worst = next((error for error in collected if not isinstance(error, Conflict)), None)
        raise TeardownError.of(collected) if worst else Conflict("; ".join(map(str, collected)))
