"""The keeper: compares the records with the host, and repairs drift. Events only make it faster."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from vifplug.config.options import Settings
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.rate_limit import RecurringWarning
from vifplug.daemon.reconcile.decisions import decide
from vifplug.daemon.reconcile.inbox import Changes, Inbox
from vifplug.daemon.reconcile.index import Index
from vifplug.daemon.reconcile.orphans import Collector
from vifplug.daemon.reconcile.readiness import Readiness
from vifplug.daemon.reconcile.reasons import Reasons
from vifplug.daemon.reconcile.retry import RetryState
from vifplug.daemon.reconcile.schedule import Schedule
from vifplug.daemon.reconcile.watchers import WatchedHost, Watchers
from vifplug.engine.commands import reconcile, recover
from vifplug.engine.commands.reconcile import Survey
from vifplug.engine.context import Context
from vifplug.engine.wiring import StateAndReason
from vifplug.errors import (
    Busy,
    Conflict,
    HelperDied,
    OvsdbError,
    OvsUnavailable,
    PermissionDenied,
    Replaced,
    TimedOut,
    VifplugError,
)
from vifplug.model.events import CONFLICT, EventCause
from vifplug.model.reports import CONTENDED, DRIFTED, FAILED, PLUGGED, STATES, VifCheck
from vifplug.store.records import Record
from vifplug.store.records import now as timestamp

LOG = logging.getLogger(__name__)

_GATHER_SECONDS = 0.03
"""Changes within this time are processed together."""
_PAUSE_FACTOR = 3
"""The pause after a comparison that repaired nothing, as a multiple of its processor time: a storm of events without
drift uses a bounded part of a core."""
_AGAIN_SECONDS = 0.2
_FRESH_SECONDS = 0.5
"""The delay before newly built VIFs are compared, so that many plugs share one comparison."""
_ASK_SECONDS = 2.0
"""The delay before ovs-vswitchd is asked again about ports that it reports as down: a starting guest needs as long."""
_CHUNK_MAX, _CHUNK_MIN = 500, 50
"""VIFs repaired in one plan. vswitchd needs seconds for a transaction that re-attaches one port among a thousand, and
hardly more for a transaction that re-attaches hundreds (measured); but it must end within [ovs] timeout."""
_MEMORY_INTERVALS = 3


class Reconciler:
    """Keeps recorded VIFs plugged until ``stop``.

    :param has_ovs: whether this host has an OVSDB.
    :param died: called when the privileged helper has ended, or the store was replaced: the worker must restart.
    """

    def __init__(
        self,
        context: Context,
        host: WatchedHost,
        has_ovs: Callable[[], bool],
        settings: Settings,
        metrics: Metrics,
        died: Callable[[], None],
    ) -> None:
        self._context, self._has_ovs, self._settings = context, has_ovs, settings
        self._metrics, self._died = metrics, died
        self._inbox = Inbox()
        self._watchers = Watchers(
            host, context.store, self._inbox, died, self._ovsdb_answers, filters=settings.filter_enabled
        )
        context.store.listeners.append(self._inbox.records_written)
        self._retry_state = RetryState(settings.contended_after, _MEMORY_INTERVALS * settings.repair_interval)
        self._collector = Collector(context, settings.orphan_grace, metrics)
        self._schedule = Schedule()
        self._index = Index()
        self._states: dict[str, str] = {}
        self._absent: set[str] = set()
        """VIFs whose guest's end was missing at their last comparison."""
        self._compared_at: str | None = None
        self._unsettled, self._damaged = RecurringWarning(LOG), RecurringWarning(LOG)
        self._unwritten = RecurringWarning(LOG)
        self._reasons = Reasons(LOG, self._index.of_bridges)
        self._failing = RecurringWarning(LOG)
        self._readiness = Readiness(began=time.monotonic())
        self._compared_all = False
        """Whether everything was compared once, including VIFs on Open vSwitch."""
        self._chunk = _CHUNK_MAX
        self._repaired = False
        """Whether the last comparison repaired something; then the next one follows at once."""
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._answered = threading.Event()
        self._ovsdb_connected = False
        # Until OVSDB has answered once, no request waits for it.
        context.ovs_away = reconcile.needs_ovs(context, has_ovs())
        self._readiness.awaits_ovs = context.ovs_away

    def start(self) -> None:
        """Start watching and comparing."""
        self._inbox.mark_all_stale("start")
        self._watchers.start()
        self._thread.start()

    def await_ovsdb(self, seconds: float) -> None:
        """Return once OVSDB has answered for the first time, or after ``seconds``."""
        self._answered.wait(seconds)

    def is_ready(self) -> bool:
        """Whether the first comparison has ended, with its repairs, or took too long."""
        return self._readiness.is_reached(time.monotonic())

    def statuses_changed(self, vif_ids: Collection[str]) -> None:
        """Compare VIFs whose Neutron status has changed."""
        self._inbox.statuses_changed(vif_ids)

    def stop(self, seconds: float) -> None:
        """End, after a running repair if it ends within ``seconds``."""
        self._inbox.close()
        self._thread.join(seconds)

    def status(self) -> dict[str, Any]:
        """The state at the last comparison."""
        return {
            "ovsdb_connected": self._ovsdb_connected,
            "ovsdb_missed": self._context.ovs_away,
            "compared_at": self._compared_at,
            "queue": len(self._schedule.busy),
            "vifs": dict(collections.Counter(self._states.copy().values())),
            "orphans": self._collector.count,
        }

    def _ovsdb_answers(self, answers: bool) -> None:
        LOG.info("OVSDB answers" if answers else "OVSDB does not answer; VIFs with OVS ports are repaired once it does")
        self._ovsdb_connected = answers
        self._context.ovs_away = not answers and reconcile.needs_ovs(self._context, self._has_ovs())
        self._readiness.awaits_ovs = self._context.ovs_away
        self._metrics.ovsdb_connected.set(answers)
        self._answered.set()

    # -- the loop -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._inbox.closed:
            began = time.thread_time()
            self._repaired = False
            compared_at = self._compared_at
            try:
                self._process(self._inbox.drain())
                if self._compared_at != compared_at:
                    self._failing.over("everything is compared again")
                # A VIF whose first repair failed is retried within a second; after that it does not delay readiness.
                self._readiness.has_compared |= self._compared_all and not self._retry_state.has_failed_once()
            except (HelperDied, Replaced) as error:
                LOG.error("%s", error)
                self._died()
                return
            except OvsUnavailable as error:
                # Everything is compared as soon as it answers again; the watcher requests that.
                self._failing.warn(f"stopped comparing: {error}")
                self._schedule.everything = time.monotonic() + self._settings.repair_interval
            except Exception as error:
                # All errors are caught, so that one VIF's error does not affect other VIFs.
                self._failing.warn(f"a comparison failed: {error}", error=error)
                self._schedule.everything = time.monotonic() + min(1.0, self._settings.repair_interval)
            if not self._repaired:
                self._inbox.pause(_PAUSE_FACTOR * (time.thread_time() - began))
            self._inbox.wait(self._seconds_until_next())
            self._inbox.pause(_GATHER_SECONDS)

    def _seconds_until_next(self) -> float:
        now = time.monotonic()
        waits = [self._schedule.next - now]
        if not self._context.ovs_away:
            # While it is away, their state is unknown; all are compared once it answers.
            waits += [max(wait, _AGAIN_SECONDS) for wait in self._retry_state.waiting(now).values()]
        return max(0.0, min(waits))

    def _process(self, changes: Changes) -> None:
        now = time.monotonic()
        reasons = changes.reasons or ({"periodic"} if self._schedule.everything <= now else set())
        written = self._update_index(changes, everything=bool(reasons))
        affected = self._index.of_bridges(changes.bridges)
        # The cause of failures may be gone when a bridge or OVSDB is back.
        self._retry_state.forgive(affected if "ovsdb" not in reasons else self._states.keys() | affected)
        affected |= self._index.of_devices(changes.names) | written | (changes.statuses & self._index.known)
        affected |= {vif_id for vif_id, wait in self._retry_state.waiting(now).items() if wait <= 0}
        affected |= self._schedule.due(now)
        if reasons:
            self._compare_everything(reasons)
        elif affected:
            self._compare(affected)
        self._ask_about(self._schedule.due_to_ask(now))

    def _ask_about(self, vif_ids: Collection[str]) -> None:
        """Make ovs-vswitchd check again the ports that it reports as down."""
        if not vif_ids or self._context.ovs_away:
            return
        try:
            reconcile.refresh(self._context, vif_ids)
        except (OvsdbError, Conflict, PermissionDenied) as error:
            LOG.debug("ovs-vswitchd was not asked again: %s", error)

    def _update_index(self, changes: Changes, *, everything: bool) -> set[str]:
        """Update the index from the records; return newly built VIFs that must be compared now.

        Those are VIFs that are only plugged: the control plane may have wired its port before the record existed, so
        that the change could not be matched to the VIF. The other built VIFs are compared a little later.
        """
        store = self._context.store
        if changes.all_records or everything:
            known = store.contents().records
            built = self._index.update(known)
        elif changes.records:
            known = store.contents(changes.records).records
            built = self._index.update(known, changes.records)
        else:
            return set()
        self._schedule.compare_built(built, time.monotonic() + _FRESH_SECONDS)
        return {vif_id for vif_id in built if known[vif_id].state == PLUGGED}

    # -- compare ------------------------------------------------------------------------------------------

    def _compare_everything(self, reasons: Collection[str]) -> None:
        for reason in reasons:
            self._metrics.resyncs.labels(reason).inc()
        level = logging.DEBUG if set(reasons) == {"periodic"} else logging.INFO
        LOG.log(level, "comparing everything (%s)", ", ".join(sorted(reasons)))
        away = self._context.ovs_away
        if not away:
            self._unsettled.update(recover.settle(self._context))
        survey = reconcile.survey(self._context, None, ovs=not away)
        known = self._context.store.contents()
        self._damaged.update(list(known.damaged.values()))
        self._retry_state.keep_only(known.records)
        self._reasons.keep_only(known.records)
        self._states = {vif_id: state for vif_id, state in self._states.items() if vif_id in known.records}
        self._states |= dict.fromkeys(known.damaged, FAILED)
        self._absent &= known.records.keys()
        self._schedule.busy.clear()
        self._act_on(survey)
        if not away:
            self._collector.collect(survey)
        self._compared_all |= not away or not reconcile.needs_ovs(self._context, has_ovs=False)
        self._compared_at = timestamp()
        self._plan_next()

    def _plan_next(self) -> None:
        now = time.monotonic()
        due = self._collector.due_in()
        interval = self._settings.repair_interval
        self._schedule.everything = now + (interval if due is None else min(interval, max(due, _AGAIN_SECONDS)))

    def _compare(self, vif_ids: Collection[str]) -> None:
        self._schedule.busy -= set(vif_ids)
        survey = reconcile.survey(self._context, vif_ids, ovs=not self._context.ovs_away)
        for vif_id in set(vif_ids) - self._context.store.contents(vif_ids).records.keys():
            self._states.pop(vif_id, None)
            self._absent.discard(vif_id)
            self._reasons.well([vif_id])
        self._act_on(survey)

    def _act_on(self, survey: Survey) -> None:
        now = time.monotonic()
        self._metrics.compared.inc(len(survey.checks))
        # If the VIF's lock is free, its intent is that of a caller that gave up.
        repairs = sorted(self._context.locks.free(survey.unsteady))
        self._schedule.compare_again(survey.unsteady - set(repairs), now + _AGAIN_SECONDS)
        self._states |= {vif_id: check.state for vif_id, check in survey.checks.items()}
        self._absent = (self._absent - survey.records.keys()) | survey.absent
        self._schedule.ask_about(survey.called_down, survey.records.keys(), now + _ASK_SECONDS)
        decisions = decide(survey, self._retry_state, now)
        self._reasons.well([vif_id for vif_id, check in survey.checks.items() if not check.drift])
        for vif_id, error in decisions.failed.items():
            self._fail(vif_id, error, decisions.states)
        self._reasons.log()
        self._write_states(decisions.states, survey.records, decisions.causes(survey))
        repairs += decisions.repairs
        while repairs:
            chunk, repairs = repairs[: self._chunk], repairs[self._chunk :]
            self._repair(chunk, survey.checks)
        self._reasons.log()
        self._count(survey)
        # Last: a store that cannot be written must not prevent repairs.
        if survey.guests:
            self._context.store.note_guests(survey.guests)

    def _write_states(
        self,
        states: Mapping[str, StateAndReason],
        seen: Mapping[str, Record] | None = None,
        causes: Mapping[str, EventCause] = MappingProxyType({}),
    ) -> None:
        left, full = reconcile.note(self._context, states, seen, causes)
        self._unwritten.update([f"states of VIFs were not written: {full}"] if full else [])
        # Another request works on these, or they were plugged again: the observed state is outdated.
        self._schedule.compare_again(left, time.monotonic() + _AGAIN_SECONDS)
        for vif_id, (state, reason) in states.items():
            if vif_id in left:
                continue
            if reason is not None and state != DRIFTED and self._states.get(vif_id) != state:
                level = logging.DEBUG if self._reasons.is_shared(vif_id) else logging.ERROR
                LOG.log(level, "VIF %s is %s: %s", vif_id, state, reason, extra={"vif_id": vif_id})
            self._states[vif_id] = state

    # -- repair -------------------------------------------------------------------------------------------

    def _repair(self, vif_ids: Sequence[str], checks: Mapping[str, VifCheck]) -> None:
        began = time.monotonic()
        outcome = reconcile.repair(self._context, vif_ids)
        ended = time.monotonic()
        states: dict[str, StateAndReason] = {}
        refused = [vif_id for vif_id, error in outcome.items() if isinstance(error, Conflict)]
        for vif_id, error in outcome.items():
            drift = checks[vif_id].drift if vif_id in checks else ()
            if isinstance(error, HelperDied | OvsUnavailable):
                raise error
            if isinstance(error, Busy):
                self._schedule.compare_again([vif_id], ended + _AGAIN_SECONDS)
            elif error is not None:
                self._fail(vif_id, error, states)
            else:
                self._reasons.well([vif_id])
            if error is None and drift:
                self._retry_state.repaired(vif_id, drift, ended)
                self._states[vif_id] = CONTENDED if self._retry_state.is_contended(vif_id) else PLUGGED
                self._repaired = True
                self._metrics.repairs.labels("repaired").inc()
                LOG.info("repaired VIF %s: %s", vif_id, "; ".join(map(str, drift)), extra={"vif_id": vif_id})
        late = any(isinstance(error, TimedOut) for error in outcome.values())
        self._chunk = max(_CHUNK_MIN, self._chunk // 2) if late else min(_CHUNK_MAX, self._chunk + _CHUNK_MIN)
        result = "failed" if any(error is not None for error in outcome.values()) else "ok"
        self._metrics.repair_seconds.labels(result).observe(ended - began)
        self._write_states(states, causes=dict.fromkeys(refused, EventCause(kind=CONFLICT)))

    def _fail(self, vif_id: str, error: VifplugError, states: dict[str, StateAndReason]) -> None:
        lasting = self._retry_state.failed(vif_id, time.monotonic(), retryable=error.retryable)
        self._metrics.repairs.labels("failed").inc()
        self._readiness.awaits_ovs |= isinstance(error, TimedOut)
        self._reasons.failed(vif_id, error)
        if lasting and not self._retry_state.is_contended(vif_id):
            states[vif_id] = (FAILED, str(error))

    def _count(self, survey: Survey) -> None:
        counts = collections.Counter(self._states.values())
        for state in STATES:
            self._metrics.vifs.labels(state).set(counts[state])
        self._metrics.drift.set(sum(len(check.drift) for check in survey.checks.values()))
        self._metrics.queue.set(len(self._schedule.busy))
        self._metrics.absent_guests.set(len(self._absent))
