"""The notifier: sends the notices of the store's outbox to notify_url until they are accepted, in its own thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Sequence
from typing import Protocol

from vifplug.config.options import Settings
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.nova import outgoing
from vifplug.daemon.nova.http_post import Endpoint, NoAnswer
from vifplug.daemon.nova.outgoing import Outcome
from vifplug.daemon.nova.rate import SIZE_MAX, WAIT_MAX_SECONDS, Pace, Waiting
from vifplug.daemon.rate_limit import RecurringWarning
from vifplug.store.events import UNPLUGGED_EVENT, Notice

LOG = logging.getLogger(__name__)

_POLL_SECONDS = 5.0
"""The interval for reading the outbox; ``wake`` makes it shorter."""
_AGAIN_SECONDS = 1.0
_LAST_SECONDS = 0.5
"""The part of ``stop``'s time for the end of an aborted message."""
_NAMED_MAX = 3
DELIVERED, REFUSED, RETRIED = "delivered", "refused", "retried"


class Outbox(Protocol):
    """The part of the store that the notifier needs; every method raises StoreError."""

    def outbox(self, limit: int) -> list[Notice]:
        """Unsent notices, oldest first."""

    def ack_outbox(self, seqs: Collection[int]) -> None:
        """Remove notices that were delivered, or refused permanently."""

    def outbox_counts(self) -> tuple[int, int]:
        """The numbers of waiting and of dropped notices."""


class Notifier:
    """Sends in its own thread; undelivered notices stay in the outbox, over restarts.

    :param endpoint: by default the configured one.
    """

    def __init__(self, outbox: Outbox, settings: Settings, metrics: Metrics, endpoint: Endpoint | None = None) -> None:
        self._outbox, self._metrics = outbox, metrics
        self._endpoint = endpoint or Endpoint(settings.notify_url, settings.notify_token)
        self._pace, self._waiting = Pace(settings.notify_interval), Waiting()
        self._settled: set[int] = set()
        """Accepted or refused notices that are still in the outbox: they are never sent again."""
        self._errors, self._failing = RecurringWarning(LOG), RecurringWarning(LOG)
        """Of this side, and of the endpoint."""
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        """Send the notices of the outbox, old and new."""
        self._thread.start()

    def wake(self) -> None:
        """Read the outbox, because it has a new notice."""
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """End within that many seconds, after a pending answer if it comes in time."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(max(0.0, seconds - _LAST_SECONDS))
            self._endpoint.close()
            self._thread.join(min(seconds, _LAST_SECONDS))

    # -- the loop -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._turn()
                self._errors.over()
            except Exception as error:
                # All errors are caught, because the thread must not end.
                self._log_error(error)
                self._stopped.wait(_AGAIN_SECONDS)

    def _turn(self) -> None:
        self._wake.clear()
        self._forget_settled()
        now = time.monotonic()
        if now < self._pace.due:
            self._stopped.wait(min(self._pace.due - now, _POLL_SECONDS))
            return
        batch = self._next(now)
        if batch:
            self._send(batch)
        elif not self._stopped.is_set():
            self._wake.wait(min(self._waiting.due_in(now), _POLL_SECONDS))

    def _forget_settled(self) -> None:
        if self._settled:
            self._outbox.ack_outbox(sorted(self._settled))
            self._settled.clear()
        self._metrics.notifications_queued.set(self._outbox.outbox_counts()[0])

    def _next(self, now: float) -> list[Notice]:
        """The next message's events; none if all have to wait."""
        held, alone, limit = self._waiting.held(now), self._waiting.alone, 4 * SIZE_MAX
        while True:
            notices = self._outbox.outbox(limit)
            batch = outgoing.choose(notices, self._pace.size, held, alone)
            if len(notices) < limit:
                self._waiting.keep_only({notice.vif_id for notice in notices})
                return batch
            if batch:
                return batch
            limit *= 4

    def _send(self, batch: Sequence[Notice]) -> None:
        message = outgoing.message(batch)
        try:
            with self._endpoint.post(message) as answer:
                outcome, asked = outgoing.judge(answer, batch), answer.retry_after
                self._settle(batch, outcome)
        except NoAnswer as error:
            if self._stopped.is_set():
                return  # ``stop`` has aborted it
            outcome = outgoing.broken(str(error), batch) if error.is_reached else Outcome(failure=str(error))
            asked = 0.0
        self._plan_next(batch, outcome, asked)

    def _settle(self, batch: Sequence[Notice], outcome: Outcome) -> None:
        """Remove settled notices from the outbox, before any other error can occur."""
        self._settled |= outcome.done | outcome.refused.keys()
        for notice in batch:
            if notice.seq in self._settled:
                self._waiting.over(notice.vif_id)
        self._metrics.notifications.labels(DELIVERED).inc(len(outcome.done))
        self._metrics.notifications.labels(REFUSED).inc(len(outcome.refused))
        self._log_refused(batch, outcome)
        self._forget_settled()

    def _plan_next(self, batch: Sequence[Notice], outcome: Outcome, asked: float) -> None:
        """Decide when to send the next message, and which notices wait."""
        now = time.monotonic()
        left = len(batch) - len(outcome.done) - len(outcome.refused)
        self._metrics.notifications.labels(RETRIED).inc(left)
        if outcome.is_taken:
            self._pace.taken(now)
            self._log_working()
        elif outcome.splits:
            self._pace.halve(now, len(batch))
        if outcome.failure or not (outcome.is_taken or outcome.splits):
            self._pace.failed(now, asked)
        # A message of events that always fail is no sign of a failing endpoint.
        if outcome.failure and not self._waiting.alone.issuperset(notice.vif_id for notice in batch):
            self._log_failing(outcome.failure)
        self._postpone([notice for notice in batch if notice.seq in outcome.later], outcome)

    def _postpone(self, later: Sequence[Notice], outcome: Outcome) -> None:
        for notice in later:
            # The wait starts with the next message, which is for other events: these are the oldest, and would be
            # first.
            is_first = self._waiting.failed(notice.vif_id, self._pace.due, alone=not outcome.is_taken)
            if is_first and outcome.is_taken:
                LOG.info("%s does not accept %s yet: %s", self._endpoint, _named(notice), outcome.later[notice.seq])

    # -- logging ------------------------------------------------------------------------------------------

    def _log_error(self, error: Exception) -> None:
        text = f"could not send events to {self._endpoint}: {error}"
        self._errors.warn(text, error=error)

    def _log_failing(self, reason: str) -> None:
        text = f"{self._endpoint} does not accept events: {reason}; they are kept and retried, at least every "
        # Logged once in an outage, during which the reason may change often.
        self._failing.warn(f"{text}{WAIT_MAX_SECONDS:g} s", key="outage")

    def _log_working(self) -> None:
        if self._failing.over():
            LOG.info("%s accepts events again", self._endpoint)

    def _log_refused(self, batch: Sequence[Notice], outcome: Outcome) -> None:
        refused = [notice for notice in batch if notice.seq in outcome.refused]
        if refused:
            # Nova soon forgets an instance that is being deleted: that is normal.
            level = logging.INFO if all(notice.name == UNPLUGGED_EVENT for notice in refused) else logging.WARNING
            shown = [f"{_named(notice)}: {outcome.refused[notice.seq]}" for notice in refused[:_NAMED_MAX]]
            shown += [f"and {len(refused) - _NAMED_MAX} more"] if len(refused) > _NAMED_MAX else []
            LOG.log(level, "%s refused permanently: %s", self._endpoint, "; ".join(shown))


def _named(notice: Notice) -> str:
    return f"{notice.name} ({notice.status}) of VIF {notice.vif_id}, instance {notice.instance}"
