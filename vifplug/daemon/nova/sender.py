"""The notifier: tells notify_url what the store's outbox holds, until it has been taken. Nobody waits for it."""

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
from vifplug.daemon.nova.outgoing import Judgement
from vifplug.daemon.nova.rate import SIZE_MAX, WAIT_MAX_SECONDS, Pace, Waiting
from vifplug.daemon.reconcile.inbox import News
from vifplug.errors import VifplugError
from vifplug.store.events import UNPLUGGED_EVENT, Notice

LOG = logging.getLogger(__name__)

_LOOK_SECONDS = 5.0
"""How often to look by itself; ``wake`` makes it sooner."""
_AGAIN_SECONDS = 1.0
_LAST_SECONDS = 0.5
"""Of what ``stop`` may take: for the end of a message that was cut."""
_NAMED_MAX = 3
DELIVERED, REFUSED, RETRIED = "delivered", "refused", "retried"


class Outbox(Protocol):
    """What is needed of the store; every method raises StoreError."""

    def outbox(self, limit: int) -> list[Notice]:
        """What is to be told, oldest first."""

    def told_off(self, seqs: Collection[int]) -> None:
        """These need not be told any more."""

    def outbox_counts(self) -> tuple[int, int]:
        """How many wait, and how many were dropped."""


class Notifier:
    """Sends in a thread of its own; what is not taken stays in the outbox, over restarts.

    :param endpoint: by default the configured one.
    """

    def __init__(self, outbox: Outbox, settings: Settings, metrics: Metrics, endpoint: Endpoint | None = None) -> None:
        self._outbox, self._metrics = outbox, metrics
        self._endpoint = endpoint or Endpoint(settings.notify_url, settings.notify_token)
        self._pace, self._waiting = Pace(settings.notify_interval), Waiting()
        self._settled: set[int] = set()
        """Taken or refused, and not yet out of the outbox: these are never sent again."""
        self._is_failing = False
        self._complained = ""
        """Of what, last: what goes on is said once."""
        self._news = News()
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)

    def start(self) -> None:
        """Send what is left from before, then what comes."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._news.doubt("event")

    def stop(self, seconds: float) -> None:
        """End within so many seconds: after the answer that is under way, if that comes in time."""
        self._news.close()
        if self._thread.is_alive():
            self._thread.join(max(0.0, seconds - _LAST_SECONDS))
            self._endpoint.close()
            self._thread.join(min(seconds, _LAST_SECONDS))

    # -- the loop -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._news.closed:
            try:
                self._turn()
                self._complained = ""
            except Exception as error:
                # Whatever it is: a thread that ends tells nothing for good.
                self._complain(error)
                self._news.rest(_AGAIN_SECONDS)

    def _turn(self) -> None:
        self._news.take()
        self._forget_settled()
        now = time.monotonic()
        if now < self._pace.due:
            self._news.rest(min(self._pace.due - now, _LOOK_SECONDS))
            return
        batch = self._next(now)
        if batch:
            self._send(batch)
        else:
            self._news.wait(min(self._waiting.due_in(now), _LOOK_SECONDS))

    def _forget_settled(self) -> None:
        if self._settled:
            self._outbox.told_off(sorted(self._settled))
            self._settled.clear()
        self._metrics.notifications_queued.set(self._outbox.outbox_counts()[0])

    def _next(self, now: float) -> list[Notice]:
        """The next message's events; none where all that is there has to wait."""
        held, alone, limit = self._waiting.held(now), self._waiting.alone, 4 * SIZE_MAX
        while True:
            found = self._outbox.outbox(limit)
            batch = outgoing.choose(found, self._pace.size, held, alone)
            if len(found) < limit:
                self._waiting.keep_only({one.vif_id for one in found})
                return batch
            if batch:
                return batch
            limit *= 4

    def _send(self, batch: Sequence[Notice]) -> None:
        message = outgoing.message(batch)
        try:
            with self._endpoint.post(message) as answer:
                judged, asked = outgoing.judge(answer, batch), answer.retry_after
                self._settle(batch, judged)
        except NoAnswer as error:
            if self._news.closed:
                return  # it is we who cut it
            judged = outgoing.broken(str(error), batch) if error.is_reached else Judgement(trouble=str(error))
            asked = 0.0
        self._go_on(batch, judged, asked)

    def _settle(self, batch: Sequence[Notice], judged: Judgement) -> None:
        """Take out of the outbox what is done, before anything else can go wrong."""
        self._settled |= judged.done | judged.refused.keys()
        for one in batch:
            if one.seq in self._settled:
                self._waiting.over(one.vif_id)
        self._metrics.notifications.labels(DELIVERED).inc(len(judged.done))
        self._metrics.notifications.labels(REFUSED).inc(len(judged.refused))
        self._say_refused(batch, judged)
        self._forget_settled()

    def _go_on(self, batch: Sequence[Notice], judged: Judgement, asked: float) -> None:
        """Decide when to send what next."""
        now = time.monotonic()
        left = len(batch) - len(judged.done) - len(judged.refused)
        self._metrics.notifications.labels(RETRIED).inc(left)
        if judged.is_taken:
            self._pace.taken(now)
            self._say_works()
        elif judged.splits:
            self._pace.halve(now, len(batch))
        if judged.trouble or not (judged.is_taken or judged.splits):
            self._pace.failed(now, asked)
        # What spoils each message it is in says nothing new of the endpoint.
        if judged.trouble and not self._waiting.alone.issuperset(one.vif_id for one in batch):
            self._say_fails(judged.trouble)
        self._put_off([one for one in batch if one.seq in judged.later], judged)

    def _put_off(self, later: Sequence[Notice], judged: Judgement) -> None:
        for one in later:
            # From the next message on, which is to be the others': the oldest would be first in that, too.
            is_first = self._waiting.failed(one.vif_id, self._pace.due, alone=not judged.is_taken)
            if is_first and judged.is_taken:
                LOG.info("%s does not take %s yet: %s", self._endpoint, _named(one), judged.later[one.seq])

    # -- said ---------------------------------------------------------------------------------------------

    def _complain(self, error: Exception) -> None:
        if (text := repr(error)) != self._complained:
            self._complained = text
            is_bug = not isinstance(error, VifplugError)
            level = logging.ERROR if is_bug else logging.WARNING
            LOG.log(level, "could not tell %s anything: %s", self._endpoint, error, exc_info=is_bug)

    def _say_fails(self, why: str) -> None:
        if not self._is_failing:
            self._is_failing = True
            LOG.warning(
                "%s does not take events: %s; they are kept, and it is tried again, at least every %d s",
                *(self._endpoint, why, WAIT_MAX_SECONDS),
            )

    def _say_works(self) -> None:
        if self._is_failing:
            self._is_failing = False
            LOG.info("%s takes events again", self._endpoint)

    def _say_refused(self, batch: Sequence[Notice], judged: Judgement) -> None:
        refused = [one for one in batch if one.seq in judged.refused]
        if refused:
            # An instance that is being deleted is soon unknown to Nova: that is nobody's fault.
            level = logging.INFO if all(one.name == UNPLUGGED_EVENT for one in refused) else logging.WARNING
            told = [f"{_named(one)}: {judged.refused[one.seq]}" for one in refused[:_NAMED_MAX]]
            told += [f"and {len(refused) - _NAMED_MAX} more"] if len(refused) > _NAMED_MAX else []
            LOG.log(level, "%s refused for good: %s", self._endpoint, "; ".join(told))


def _named(notice: Notice) -> str:
    return f"{notice.name} ({notice.status}) of VIF {notice.vif_id}, instance {notice.instance}"
