"""The keeper: compares what should be with what is, and repairs what drifted. Events only make it faster."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from vifplug.config.options import Settings
from vifplug.daemon.log_text import Failing, WarnOnChange
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.reconcile.decisions import judge
from vifplug.daemon.reconcile.inbox import Heard, News
from vifplug.daemon.reconcile.index import Index
from vifplug.daemon.reconcile.orphans import Collector
from vifplug.daemon.reconcile.readiness import Readiness
from vifplug.daemon.reconcile.reasons import Reasons
from vifplug.daemon.reconcile.retry import Ledger
from vifplug.daemon.reconcile.schedule import Agenda
from vifplug.daemon.reconcile.watchers import WatchedHost, Watchers
from vifplug.engine.commands import reconcile, recover
from vifplug.engine.commands.plug import Plugger
from vifplug.engine.commands.reconcile import Survey
from vifplug.engine.wiring import Standing
from vifplug.errors import Busy, HelperDied, OvsUnavailable, Replaced, TimedOut, VifplugError
from vifplug.model.reports import CONTENDED, DRIFTED, FAILED, PLUGGED, STATES, VifCheck
from vifplug.store.records import Record
from vifplug.store.records import now as timestamp

LOG = logging.getLogger(__name__)

_GATHER_SECONDS = 0.03
"""What comes together is looked at together."""
_REST_FACTOR = 3
"""Rests for so many times the processor time of a look that repaired nothing: a storm of events that are no drift
costs a bounded part of a core."""
_AGAIN_SECONDS = 0.2
_FRESH_SECONDS = 0.5
"""Until VIFs that were just built and read back are looked at: many plugs share one look."""
_CHUNK_MAX, _CHUNK_MIN = 500, 50
"""VIFs repaired in one plan. vswitchd needs seconds for a transaction that re-attaches one port among a thousand, and
hardly more for one that re-attaches hundreds (measured); but it must end within [ovs] timeout."""
_MEMORY_INTERVALS = 3


class Keeper:
    """Keeps recorded VIFs plugged; ends with ``stop``.

    :param died: called when the privileged helper has ended, or the store was replaced: all is to begin anew.
    """

    def __init__(
        self,
        plugger: Plugger,
        host: WatchedHost,
        settings: Settings,
        metrics: Metrics,
        died: Callable[[], None],
    ) -> None:
        self._plugger, self._host, self._settings, self._metrics, self._died = plugger, host, settings, metrics, died
        self._news = News()
        self._watchers = Watchers(host, plugger.store, self._news, died, self._ovsdb_answers)
        plugger.store.listeners.append(self._news.written)
        self._ledger = Ledger(settings.contended_after, _MEMORY_INTERVALS * settings.repair_interval)
        self._collector = Collector(plugger, settings.orphan_grace, metrics)
        self._agenda = Agenda()
        self._index = Index()
        self._states: dict[str, str] = {}
        self._absent: set[str] = set()
        """VIFs whose guest's end was missing when they were last compared."""
        self._compared_at: str | None = None
        self._unsettled, self._damaged, self._unwritten = WarnOnChange(LOG), WarnOnChange(LOG), WarnOnChange(LOG)
        self._reasons = Reasons(LOG, self._index.of_bridges)
        self._failing = Failing(LOG)
        self._readiness = Readiness(began=time.monotonic())
        self._compared_all = False
        """Whether everything was compared once, what needs Open vSwitch included."""
        self._chunk = _CHUNK_MAX
        self._repaired = False
        """Whether the last look was of use; the next one follows at once then."""
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._answered = threading.Event()
        self._ovsdb_connected = False
        # Until OVSDB has answered once nobody is to wait for it.
        host.ovs_away = reconcile.needs_ovs(plugger, host.has_ovs())
        self._readiness.awaits_ovs = host.ovs_away

    def start(self) -> None:
        """Start to watch and to compare."""
        self._news.doubt("start")
        self._watchers.start()
        self._thread.start()

    def await_ovsdb(self, seconds: float) -> None:
        """Return once OVSDB has answered for the first time, or after ``seconds``."""
        self._answered.wait(seconds)

    def is_ready(self) -> bool:
        """Whether the first comparison has ended, with its repairs, or took too long."""
        return self._readiness.is_reached(time.monotonic())

    def told(self, vif_ids: Collection[str]) -> None:
        """Neutron said something of these VIFs."""
        self._news.told(vif_ids)

    def stop(self, seconds: float) -> None:
        """End: after the repair that is under way, if that ends within ``seconds``."""
        self._news.close()
        self._thread.join(seconds)

    def status(self) -> dict[str, Any]:
        """How things stand, as last compared."""
        return {
            "ovsdb_connected": self._ovsdb_connected,
            "ovsdb_missed": self._host.ovs_away,
            "compared_at": self._compared_at,
            "queue": len(self._agenda.busy),
            "vifs": dict(collections.Counter(self._states.copy().values())),
            "orphans": self._collector.count,
        }

    def _ovsdb_answers(self, answers: bool) -> None:
        LOG.info("OVSDB answers" if answers else "OVSDB does not answer; what needs it is repaired once it does")
        self._ovsdb_connected = answers
        self._host.ovs_away = not answers and reconcile.needs_ovs(self._plugger, self._host.has_ovs())
        self._readiness.awaits_ovs = self._host.ovs_away
        self._metrics.ovsdb_connected.set(answers)
        self._answered.set()

    # -- the loop -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._news.closed:
            began = time.thread_time()
            self._repaired = False
            compared_at = self._compared_at
            try:
                self._look(self._news.take())
                if self._compared_at != compared_at:
                    self._failing.over("everything is compared again")
                # A VIF whose first repair failed has another within a second, and then holds nothing up.
                self._readiness.has_compared |= self._compared_all and not self._ledger.has_failed_once()
            except (HelperDied, Replaced) as error:
                LOG.error("%s", error)
                self._died()
                return
            except OvsUnavailable as error:
                # Everything is compared as soon as it answers again; the watcher says so.
                self._failing.say(f"stopped comparing: {error}")
                self._agenda.everything = time.monotonic() + self._settings.repair_interval
            except Exception as error:
                # Whatever it is, the next VIF's guest must not pay for it.
                self._failing.say(f"a comparison failed: {error}", None if isinstance(error, VifplugError) else error)
                self._agenda.everything = time.monotonic() + min(1.0, self._settings.repair_interval)
            if not self._repaired:
                self._news.rest(_REST_FACTOR * (time.thread_time() - began))
            self._news.wait(self._seconds_until_next())
            self._news.rest(_GATHER_SECONDS)

    def _seconds_until_next(self) -> float:
        now = time.monotonic()
        waits = [self._agenda.next - now]
        if not self._host.ovs_away:
            # While it is, nobody knows whether they are still in trouble; all are looked at once it answers.
            waits += [max(wait, _AGAIN_SECONDS) for wait in self._ledger.waiting(now).values()]
        return max(0.0, min(waits))

    def _look(self, heard: Heard) -> None:
        now = time.monotonic()
        reasons = heard.reasons or ({"periodic"} if self._agenda.everything <= now else set())
        written = self._take_in_records(heard, everything=bool(reasons))
        concerned = self._index.of_bridges(heard.bridges)
        # A bridge that came back, and an OVSDB that did, take the obstacle away.
        self._ledger.forgive(concerned if "ovsdb" not in reasons else self._states.keys() | concerned)
        concerned |= self._index.of_devices(heard.names) | written | (heard.told & self._index.known)
        concerned |= {vif_id for vif_id, wait in self._ledger.waiting(now).items() if wait <= 0}
        concerned |= self._agenda.due(now)
        if reasons:
            self._compare_everything(reasons)
        elif concerned:
            self._compare(concerned)

    def _take_in_records(self, heard: Heard, *, everything: bool) -> set[str]:
        """Know the records as they are; VIFs that were built since, and that are to be looked at now.

        What somebody else is still to do about a VIF may have been done, and heard of, before its record was there to
        say whose it is. With the others there is time.
        """
        store = self._plugger.store
        if heard.all_records or everything:
            known = store.contents().records
            built = self._index.update(known)
        elif heard.records:
            known = store.contents(heard.records).records
            built = self._index.update(known, heard.records)
        else:
            return set()
        self._agenda.look_later(built, time.monotonic() + _FRESH_SECONDS)
        return {vif_id for vif_id in built if known[vif_id].state == PLUGGED}

    # -- compare ------------------------------------------------------------------------------------------

    def _compare_everything(self, reasons: Collection[str]) -> None:
        for reason in reasons:
            self._metrics.resyncs.labels(reason).inc()
        level = logging.DEBUG if set(reasons) == {"periodic"} else logging.INFO
        LOG.log(level, "comparing everything (%s)", ", ".join(sorted(reasons)))
        away = self._host.ovs_away
        if not away:
            self._unsettled.say(recover.settle(self._plugger))
        found = reconcile.survey(self._plugger, None, ovs=not away)
        known = self._plugger.store.contents()
        self._damaged.say(list(known.damaged.values()))
        self._ledger.keep_only(known.records)
        self._reasons.keep_only(known.records)
        self._states = {vif_id: state for vif_id, state in self._states.items() if vif_id in known.records}
        self._states |= dict.fromkeys(known.damaged, FAILED)
        self._absent &= known.records.keys()
        self._agenda.busy.clear()
        self._attend(found)
        if not away:
            self._collector.collect(found)
        self._compared_all |= not away or not reconcile.needs_ovs(self._plugger, has_ovs=False)
        self._compared_at = timestamp()
        self._schedule()

    def _schedule(self) -> None:
        now = time.monotonic()
        due = self._collector.due_in()
        interval = self._settings.repair_interval
        self._agenda.everything = now + (interval if due is None else min(interval, max(due, _AGAIN_SECONDS)))

    def _compare(self, vif_ids: Collection[str]) -> None:
        self._agenda.busy -= set(vif_ids)
        found = reconcile.survey(self._plugger, vif_ids, ovs=not self._host.ovs_away)
        for vif_id in set(vif_ids) - self._plugger.store.contents(vif_ids).records.keys():
            self._states.pop(vif_id, None)
            self._absent.discard(vif_id)
            self._reasons.well([vif_id])
        self._attend(found)

    def _attend(self, found: Survey) -> None:
        now = time.monotonic()
        self._metrics.compared.inc(len(found.checks))
        # An intent whose VIF's lock is free is that of a caller who gave up.
        wanted = sorted(self._plugger.locks.free(found.unsteady))
        self._agenda.look_again(found.unsteady - set(wanted), now + _AGAIN_SECONDS)
        self._states |= {vif_id: check.state for vif_id, check in found.checks.items()}
        self._absent = (self._absent - found.records.keys()) | found.absent
        verdicts = judge(found, self._ledger, now)
        self._reasons.well([vif_id for vif_id, check in found.checks.items() if not check.drift])
        for vif_id, error in verdicts.failed.items():
            self._fail(vif_id, error, verdicts.standings)
        self._reasons.log()
        self._note(verdicts.standings, found.records)
        wanted += verdicts.wanted
        while wanted:
            chunk, wanted = wanted[: self._chunk], wanted[self._chunk :]
            self._repair(chunk, found.checks)
        self._reasons.log()
        self._count(found)
        # Last: a store that cannot be written must not keep VIFs from being repaired.
        if found.guests:
            self._plugger.store.note_guests(found.guests)

    def _note(self, standings: Mapping[str, Standing], seen: Mapping[str, Record] | None = None) -> None:
        left, full = reconcile.note(self._plugger, standings, seen)
        self._unwritten.say([f"states of VIFs were not written down: {full}"] if full else [])
        # Somebody is at work on these, or they were plugged anew: what was seen is said of them no more.
        self._agenda.look_again(left, time.monotonic() + _AGAIN_SECONDS)
        for vif_id, (state, reason) in standings.items():
            if vif_id in left:
                continue
            if reason is not None and state != DRIFTED and self._states.get(vif_id) != state:
                level = logging.DEBUG if self._reasons.is_shared(vif_id) else logging.ERROR
                LOG.log(level, "VIF %s is %s: %s", vif_id, state, reason, extra={"vif_id": vif_id})
            self._states[vif_id] = state

    # -- repair -------------------------------------------------------------------------------------------

    def _repair(self, vif_ids: Sequence[str], checks: Mapping[str, VifCheck]) -> None:
        began = time.monotonic()
        outcome = reconcile.repair(self._plugger, vif_ids)
        ended = time.monotonic()
        standings: dict[str, Standing] = {}
        for vif_id, error in outcome.items():
            drift = checks[vif_id].drift if vif_id in checks else ()
            if isinstance(error, HelperDied | OvsUnavailable):
                raise error
            if isinstance(error, Busy):
                self._agenda.look_again([vif_id], ended + _AGAIN_SECONDS)
            elif error is not None:
                self._fail(vif_id, error, standings)
            else:
                self._reasons.well([vif_id])
            if error is None and drift:
                self._ledger.repaired(vif_id, drift, ended)
                self._states[vif_id] = CONTENDED if self._ledger.is_contended(vif_id) else PLUGGED
                self._repaired = True
                self._metrics.repairs.labels("repaired").inc()
                LOG.info("repaired VIF %s: %s", vif_id, "; ".join(map(str, drift)), extra={"vif_id": vif_id})
        late = any(isinstance(error, TimedOut) for error in outcome.values())
        self._chunk = max(_CHUNK_MIN, self._chunk // 2) if late else min(_CHUNK_MAX, self._chunk + _CHUNK_MIN)
        result = "failed" if any(error is not None for error in outcome.values()) else "ok"
        self._metrics.repair_seconds.labels(result).observe(ended - began)
        self._note(standings)

    def _fail(self, vif_id: str, error: VifplugError, standings: dict[str, Standing]) -> None:
        lasting = self._ledger.failed(vif_id, time.monotonic(), retryable=error.retryable)
        self._metrics.repairs.labels("failed").inc()
        self._readiness.awaits_ovs |= isinstance(error, TimedOut)
        self._reasons.failed(vif_id, error)
        if lasting and not self._ledger.is_contended(vif_id):
            standings[vif_id] = (FAILED, str(error))

    def _count(self, found: Survey) -> None:
        counts = collections.Counter(self._states.values())
        for state in STATES:
            self._metrics.vifs.labels(state).set(counts[state])
        self._metrics.drift.set(sum(len(check.drift) for check in found.checks.values()))
        self._metrics.queue.set(len(self._agenda.busy))
        self._metrics.absent_guests.set(len(self._absent))
