"""The use cases that change the host: plug, unplug, repair.

Each tells one story: observe, plan, record the intent, apply, verify, record the result; on failure undo
what this call began.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace

from vifplug.drivers.contract import Options
from vifplug.engine import report
from vifplug.engine.apply import progress, transaction, verify
from vifplug.engine.apply.group_commit import Group, apart
from vifplug.engine.commands import remove as removal
from vifplug.engine.commands import unplug as unplugging
from vifplug.engine.host import Host, Scope
from vifplug.engine.plan import bridge_permission, configured
from vifplug.engine.plan import plug as planner
from vifplug.engine.plan import request as jobs
from vifplug.engine.plan import resolve as resolution
from vifplug.engine.plan.plan import Plan
from vifplug.engine.plan.request import Job
from vifplug.engine.requester import Requester
from vifplug.engine.wiring import Wiring
from vifplug.errors import VifplugError
from vifplug.model.reports import VifReport
from vifplug.model.vif import Vif
from vifplug.resources import kinds
from vifplug.resources.observed import Inventory, Observed
from vifplug.store import records
from vifplug.store.events import NEUTRON_FAILED
from vifplug.store.locks import LockFile
from vifplug.store.records import Intent, Record
from vifplug.store.store import Moment, Store

LOG = logging.getLogger(__name__)

_TOGETHER_MAX = 100
"""VIFs that are plugged, or taken away, in one plan, where requests come together."""
_OUTLIVING_SECONDS = 1.0
"""A helper whose caller died ends as soon as its channel does."""


class Plugger:
    """Plugs and unplugs on one host, from one store.

    :param lock_seconds: how long a request waits for another one on the same VIF.
    """

    def __init__(self, host: Host, store: Store, locks: LockFile, options: Options, lock_seconds: float) -> None:
        self.host, self.store, self.locks, self.options = host, store, locks, options
        self._lock_seconds = lock_seconds
        self._plugs = Group[Sequence[Job], list[VifReport]](self._plug_together, len, _TOGETHER_MAX)
        self.departures = unplugging.group(host, store, _TOGETHER_MAX)
        self.under_way = progress.UnderWay()

    def wiring(self, vif_ids: Collection[str] | None = None) -> Wiring:
        """Which source decides that VIFs are wired, and what Neutron has reported of these, or of all."""
        reported = self.store.neutron_status(vif_ids)
        return Wiring(by=self.options.wired_by, listens=self.options.listens, neutron_status=reported)

    # -- plug ---------------------------------------------------------------------------------------------

    def plan(self, vifs: Sequence[Vif]) -> Plan:
        """What ``plug`` would do. Nothing is locked, recorded or changed.

        :raises InputError, Conflict, HostError: as ``plug``.
        """
        work = self._jobs(vifs, self._known(vifs))
        observed = self.host.observe(self._scope(work))
        return self._plan(work, self._requests(work, observed), observed)

    def plug(self, vifs: Sequence[Vif], requester: Requester | None = None) -> list[VifReport]:
        """Make every VIF plugged, or leave the host as it was.

        :raises InputError, Conflict, NotPermitted: nothing was touched.
        :raises HostError: what this call had made was taken back.
        """
        with self._held_jobs(vifs, requester) as (work, known):
            interrupted = [vif_id for vif_id, (_record, intent) in known.items() if intent is not None]
            for vif_id in interrupted:
                self.settle_held(vif_id)
            if interrupted:
                work = self._jobs(vifs, self._known(vifs), requester)
            # That Neutron gave up on the last try says nothing of this one.
            self.store.clear_neutron_status([vif.id for vif in vifs], only=NEUTRON_FAILED)
            return self._plugs.ask(work)

    def _plug_together(self, asked: Sequence[Sequence[Job]]) -> list[list[VifReport] | VifplugError]:
        """What several requests ask for, in one plan; each of them is all or nothing by itself."""

        def work(part: Sequence[Sequence[Job]]) -> list[list[VifReport]]:
            reports = iter(self.plug_held([job for jobs in part for job in jobs]))
            return [list(itertools.islice(reports, len(jobs))) for jobs in part]

        return apart(asked, work)

    def plug_held(self, work: Sequence[Job]) -> list[VifReport]:
        """``plug`` for a caller that holds the locks of the jobs' identities, and has settled their VIFs."""
        records, observed = self._carry_out(work)
        return [
            report.built(
                record,
                observed,
                [*jobs.datapath_warning(job, observed), *configured.left_behind(job.recorded, job.desired, observed)],
            )
            for job, record in zip(work, records, strict=True)
        ]

    def _carry_out(self, work: Sequence[Job]) -> tuple[list[Record], Observed]:
        """The records of VIFs that are as asked for, and what was seen of the host then."""
        scope = self._scope(work)
        observed = self.host.observe(scope)
        self._authorise_bridges(work, observed)
        requests = self._requests(work, observed)
        plan = self._plan(work, requests, observed)
        resolved = {job.vif.id: request.desired for job, request in zip(work, requests, strict=True)}
        if plan:
            task = transaction.Undertaking(plan=plan, work=work, resolved=resolved, scope=scope, found=observed)
            with self.under_way.work(task.vif_ids, len(plan.actions)) as tell:
                observed, records = transaction.carry_out(self.host, self.store, task, self.wiring, tell)
        else:
            verify.require_agreement([item for desired in resolved.values() for item in desired], observed)
            records = jobs.records(work, resolved, observed, self.wiring([job.vif.id for job in work]))
            if records != [job.record for job in work]:
                self.store.save_records(records)
        return records, observed

    def _known(self, vifs: Sequence[Vif]) -> Moment:
        return self.store.snapshot([vif.id for vif in vifs])

    def _jobs(self, vifs: Sequence[Vif], known: Moment, requester: Requester | None = None) -> list[Job]:
        self.authorise([vif.id for vif in vifs], requester)
        return [jobs.job(vif, known[vif.id][0], self.options, requester) for vif in vifs]

    def authorise(self, vif_ids: Sequence[str], requester: Requester | None) -> None:
        """Let a requester change VIFs.

        :raises NotPermitted: for the first that is not its own.
        """
        if requester is None or requester.every_vif:
            return
        for vif_id in vif_ids:
            requester.authorise(vif_id, self.store.record_or_none(vif_id), is_damaged=self.store.is_damaged(vif_id))

    def _authorise_bridges(self, work: Sequence[Job], observed: Observed) -> None:
        """Let the VIFs of operators on the bridges that they ask for.

        :raises NotPermitted: for the first bridge that is not for them; nothing was touched.
        """
        for job in work:
            bridge_permission.authorise_bridges(job, observed, self.options.integration_bridge)
            if moved := bridge_permission.moved_bridges(job, observed):
                users = removal.users_of_shared(self.store, job.vif.id)
                bridge_permission.authorise_mtu(job, moved, observed, users)

    @staticmethod
    def _scope(work: Sequence[Job]) -> Scope:
        everything = [resource for job in work for resource in (*job.desired, *job.recorded.items)]
        guests = {job.guest_link for job in work} - {""}
        scope = jobs.scope_of(everything, {job.vif.id for job in work}, guests)
        return replace(scope, thorough=True) if any(job.thorough for job in work) else scope

    def _requests(self, work: Sequence[Job], observed: Observed) -> list[planner.Request]:
        former = self._former(work)
        return [
            job.request(
                tuple(
                    configured.remembering(item, observed, job.recorded, former)
                    for item in resolution.resolve(job.desired, observed)
                )
            )
            for job in work
        ]

    def _former(self, work: Sequence[Job]) -> configured.Former:
        """What records of other VIFs remember of devices that these share with them and configure."""
        desired = [item for job in work for item in job.desired]
        shared = {link.name for link in kinds.shared_in(desired) if configured.is_configured(link)}
        if not shared:
            return {}
        recorded = (item for record in self.store.contents().records.values() for item in record.resources)
        return {link.name: link.former for link in kinds.shared_in(recorded) if link.name in shared}

    def _plan(self, work: Sequence[Job], requests: Sequence[planner.Request], observed: Observed) -> Plan:
        built = [item for job in work for item in job.recorded.items]
        others = removal.shared_with_others(self.store, [job.vif.id for job in work], built)
        return planner.plan_plug(requests, observed, others)

    @contextlib.contextmanager
    def held(self, identities: Callable[[], set[str]], seconds: float | None = None) -> Iterator[None]:
        """Hold the locks of what is worked on; a record may change while they are waited for, so look again then.

        :param seconds: how long to wait for each; by default as long as a request may take.
        :raises Busy: when another holds one of them for longer.
        """
        while True:
            wanted = identities()
            with self.locks.held(wanted, self._lock_seconds if seconds is None else seconds):
                if identities() <= wanted:
                    yield
                    return

    @contextlib.contextmanager
    def _held_jobs(self, vifs: Sequence[Vif], requester: Requester | None) -> Iterator[tuple[list[Job], Moment]]:
        """Hold the locks of VIFs that are to be plugged, with the work, and what the store holds of them, as it is
        then."""
        while True:
            version = self.store.version()
            known = self._known(vifs)
            work = self._jobs(vifs, known, requester)
            wanted = self._identities(work, known)
            with self.locks.held(wanted, self._lock_seconds):
                if self.store.version() != version:
                    known = self._known(vifs)
                    work = self._jobs(vifs, known, requester)
                if self._identities(work, known) <= wanted:
                    yield work, known
                    return

    @staticmethod
    def _identities(work: Sequence[Job], known: Moment) -> set[str]:
        left = (item.owner for parts in known.values() for item in jobs.left(*parts).items)
        return set(left).union(*(job.identities for job in work))

    def owners(self, vif_id: str) -> set[str]:
        """A VIF, and whoever owns what it may have on the host; of a damaged record, what its claims say."""
        held = self.store.held_by_damaged(vif_id)
        return {vif_id} | {item.owner for item in self.left_on_host(vif_id).items} | held

    def left_on_host(self, vif_id: str) -> Inventory:
        """What a VIF has on the host, or may have of a request that ended in between."""
        return jobs.left(*self.store.snapshot([vif_id])[vif_id])

    # -- what others left in between ----------------------------------------------------------------------

    def settle_held(self, vif_id: str) -> bool:
        """Make a VIF whose lock the caller holds as recorded, or absent, where a request on it ended in between.

        :returns: whether there was such a request.
        :raises HostError: when that cannot be done now; the next command tries again.
        """
        intent, record = self.store.intent(vif_id), self.store.record_or_none(vif_id)
        if intent is None:
            return False
        self.await_helper_of(intent)
        if record is None and intent.verb == records.PLUG and self.store.is_damaged(vif_id):
            # It was plugged before, and nobody can say any more how: it stays, as one whose record is damaged.
            self.store.end_intent(vif_id)
        elif intent.verb == records.PLUG and record is not None:
            self._converge(record, Inventory(intent.resources))
        else:
            removed = removal.remove(self.host, self.store, {vif_id: self.left_on_host(vif_id)})
            removal.raise_all(removed.errors[vif_id])
            for words in removed.left[vif_id]:
                LOG.warning("%s", words)
        return True

    def await_helper_of(self, intent: Intent | None) -> None:
        """Wait until nobody is at what an intent says, for a caller that holds its VIF's lock."""
        # Whoever begun it holds the lock while at work: only a helper that outlives its caller can still be at it. A
        # session that goes on for longer is that of a caller who gave up.
        if intent is not None and intent.session != self.host.session:
            self.locks.await_end(intent.session, _OUTLIVING_SECONDS)

    def _converge(self, record: Record, also: Inventory) -> None:
        """Make a VIF as recorded again, take away what an interrupted plug had added, and end its intent."""
        self.plug_held([jobs.recovery(record, also, self.options)])
        if self.store.intent(record.id) is not None:  # nothing had to be done
            self.store.save_records([record])

    # -- repair -------------------------------------------------------------------------------------------

    def repair(self, vif_ids: Sequence[str], requester: Requester | None = None) -> list[VifReport]:
        """Make recorded VIFs as recorded again, each by itself.

        :raises UnknownVif: for an id that is not recorded; nothing was touched.
        :raises NotPermitted: for one that is not the requester's; nothing was touched.
        :raises TeardownError, HostError: after all others were repaired.
        """
        known = [report.known(self.store, vif_id) for vif_id in vif_ids]
        self.authorise(vif_ids, requester)
        reports: list[VifReport] = []
        errors: list[VifplugError] = []
        with self.under_way.work(vif_ids, len(vif_ids)) as tell:
            for done, record in enumerate(known, 1):
                try:
                    reports += self._repair(record.id, requester)
                except VifplugError as error:
                    errors.append(error)
                tell(done)
        removal.raise_all(errors)
        return reports

    def _repair(self, vif_id: str, requester: Requester | None) -> list[VifReport]:
        """Make one VIF as its record says by now; one that was unplugged meanwhile stays so."""
        with self.held(lambda: self._identities_of_repair(vif_id)):
            self.settle_held(vif_id)
            record = self.store.record_or_none(vif_id)
            if record is None:
                return []
            self.authorise([vif_id], requester)
            job = jobs.job(record.vif, record, self.options, requester)
            records, observed = self._carry_out([replace(job, thorough=True)])
            return [report.recorded(one, observed, self.wiring([vif_id]), None) for one in records]

    def _identities_of_repair(self, vif_id: str) -> set[str]:
        record = self.store.record_or_none(vif_id)
        wanted = jobs.job(record.vif, record, self.options).identities if record is not None else set()
        return self.owners(vif_id) | wanted

    # -- unplug -------------------------------------------------------------------------------------------

    def unplug(self, vif_ids: Sequence[str], requester: Requester | None = None) -> list[VifReport]:
        """Take VIFs away; absent is done.

        :raises NotPermitted: for one that is not the requester's; nothing was touched.
        :raises TeardownError, HostError: when something is left; all that could go is gone, and the next command
            goes on with the rest.
        """
        return unplugging.unplug(self, vif_ids, requester)
