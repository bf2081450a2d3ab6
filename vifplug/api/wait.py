"""Waits for VIFs: until they are plugged, wired or active, or one of them has failed, or until the timeout.

The present state counts, not events: a state that was reached before the wait began counts as reached.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from vifplug.errors import InputError, NotReached, VifFailed, VifplugError
from vifplug.model.backoff import pause
from vifplug.model.events import LEVELS, has_reached
from vifplug.model.quoting import quote_python
from vifplug.model.reports import ABSENT, FAILED, VifReport
from vifplug.model.types import each_once

if TYPE_CHECKING:
    from vifplug.model.events import Waited, WaitReport

LOG = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT_MAX_SECONDS = 1e9
"""Thirty years. A larger value added to a clock's overflows a C time_t somewhere below."""
_FIRST_SECONDS, _LONGEST_SECONDS = 0.05, 0.5
"""Between looks."""

ErrorCallback = Callable[[VifReport], bool | None]
"""Called for a VIF that failed. True or None: continue with the others; False: end the wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How to look at a host during a wait, and a clock."""

    look: Callable[[Sequence[str], str, float], WaitReport]
    """The states of VIFs on the way to a state. It may wait for them for up to that many seconds."""
    get: Callable[[str], VifReport]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class Goal:
    """The goal of a wait.

    :raises InputError: it can never be reached.
    """

    ids: Sequence[str]
    state: str
    timeout: float
    """Seconds, 0 or more."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(each_once(self.ids)))
        if self.state not in LEVELS:
            shown = quote_python(self.state)
            raise InputError(f"{shown} is not a state to wait for; it must be one of {', '.join(LEVELS)}")
        is_number = isinstance(self.timeout, int | float) and not isinstance(self.timeout, bool)
        if not is_number or not 0 <= self.timeout <= _TIMEOUT_MAX_SECONDS:  # which NaN and infinity are not
            shown = quote_python(self.timeout)
            raise InputError(f"{shown} is not a timeout; it must be a number of seconds, 0 or more")


@dataclass(frozen=True, slots=True)
class Look:
    """Look at these VIFs; the answer is a WaitReport. It may wait for them for so many seconds."""

    ids: Sequence[str]
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Get:
    """The report of a VIF."""

    id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Sleep for so many seconds; the answer is None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A VIF that failed, for the error callback; the answer is the callback's."""

    vif: VifReport


Step = Look | Get | Pause | Failure
"""What a wait has its host do."""
Steps = Generator[Step, Any, T]
"""A wait without I/O: it yields steps, and is sent their answers, or their errors."""


class Expectation:
    """The wait, for the body of ``expect``."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = tuple(ids)
        """The VIFs to wait for at the body's end."""

    def exit_early(self, ids: Sequence[str]) -> NoReturn:
        """End the body here, and exclude these VIFs from the wait.

        :raises InputError: one of them was not in it.
        """
        given = each_once([ids] if isinstance(ids, str) else ids)
        strange = next((vif_id for vif_id in given if vif_id not in self.ids), None)
        if strange is not None:
            raise InputError(f"VIF {strange} is not among those expected", strange)
        # Before the exception is raised: even if it is caught, these are excluded.
        self.ids = tuple(vif_id for vif_id in self.ids if vif_id not in given)
        raise ExitEarly(self)


class ExitEarly(BaseException):  # not an Exception: a body that rolls back on those has nothing to roll back
    """Ends the body of an expectation."""

    def __init__(self, expectation: Expectation) -> None:
        super().__init__("the body of an expectation ends early")
        self.expectation = expectation


def wait(watch: Watch, goal: Goal) -> list[VifReport]:
    """The VIFs, once all have reached the state; in the given order.

    :raises NotReached: on timeout; it names each VIF that has not reached it, and the program that has to act.
    :raises VifFailed: one has failed.
    """
    return _driven(watch, steps(goal, watch.clock), refuse)


def expect(
    watch: Watch, goal: Goal, error_callback: ErrorCallback | None = None
) -> contextlib.AbstractContextManager[Expectation]:
    """Wait at the end of a body until the VIFs have reached the state; like Nova's wait_for_instance_event.

    The time begins at the body's end, for all VIFs together; a timeout of 0 means no wait. After a body that raises
    there is no wait.

    :param error_callback: called for each VIF that failed; its exception ends the wait. By default VifFailed is raised.
    :raises NotReached: as ``wait``.
    """
    check_callback(error_callback)
    return _expected(watch, goal, error_callback or refuse)


def check_callback(error_callback: object) -> None:
    """Check an argument.

    :raises InputError: it is not a function.
    """
    if error_callback is not None and not callable(error_callback):
        raise InputError(f"error_callback: {quote_python(error_callback)}: it must be a function of a VifReport")


@contextlib.contextmanager
def _expected(watch: Watch, goal: Goal, error_callback: ErrorCallback) -> Iterator[Expectation]:
    expectation = Expectation(goal.ids)
    try:
        yield expectation
    except ExitEarly as early:
        if early.expectation is not expectation:
            raise
    if goal.timeout > 0:
        _driven(watch, steps(replace(goal, ids=expectation.ids), watch.clock), error_callback)


def _driven(watch: Watch, waiting: Steps[list[VifReport]], error_callback: ErrorCallback) -> list[VifReport]:
    """The result of a wait whose steps this thread carries out."""
    try:
        step = next(waiting)
        while True:
            try:
                answer = _done(watch, step, error_callback)
            except Exception as error:
                step = waiting.throw(error)
            else:
                step = waiting.send(answer)
    except StopIteration as done:
        reports: list[VifReport] = done.value
        return reports


def _done(watch: Watch, step: Step, error_callback: ErrorCallback) -> WaitReport | VifReport | bool | None:
    match step:
        case Look(ids, state, seconds):
            return watch.look(ids, state, seconds)
        case Get(vif_id):
            return watch.get(vif_id)
        case Failure(vif):
            return error_callback(vif)
        case Pause(seconds):
            watch.sleep(seconds)
            return None


def refuse(vif: VifReport) -> NoReturn:
    """The error callback of a wait without one.

    :raises VifFailed: always.
    """
    reason = f": {vif.error}" if vif.error else ""
    raise VifFailed(f"VIF {vif.id} failed during the wait{reason}", vif.id)


def steps(goal: Goal, clock: Callable[[], float] = time.monotonic) -> Steps[list[VifReport]]:
    """The steps of a wait; its result is the VIFs in the given order. Its errors are those of ``wait``."""
    return _Waiting(goal, clock).run()


@dataclass(slots=True)
class _Waiting:
    """One wait, from its start to its end."""

    goal: Goal
    clock: Callable[[], float]
    pending: list[str] = field(init=False)
    last: Sequence[Waited] = ()
    """The last known state of those pending."""
    failure: VifplugError | None = None
    """Why the last look failed."""

    def run(self) -> Steps[list[VifReport]]:
        """Reports of the VIFs that have reached the state."""
        self.pending = list(self.goal.ids)
        deadline = self.clock() + self.goal.timeout
        looks = 0
        while self.pending:
            began = self.clock()
            report = yield from self._looked(max(0.0, deadline - began))
            if report is not None and report.reached:
                reports = yield from self._reports(report.vifs)
                if reports is not None:
                    return reports
            elif report is not None and (yield from self._has_failed(report.vifs)):
                continue
            now = self.clock()
            if began >= deadline:
                raise self._not_reached()
            looks += 1
            yield Pause(max(0.0, min(began + pause(looks, _FIRST_SECONDS, _LONGEST_SECONDS), deadline) - now))
        return []

    def _looked(self, seconds: float) -> Steps[WaitReport | None]:
        """Their states; None on an error that may be temporary."""
        try:
            report: WaitReport = yield Look(tuple(self.pending), self.goal.state, seconds)
        except VifplugError as error:
            self._put_up_with(error)
            return None
        self.last, self.failure = report.vifs, None
        return report

    def _put_up_with(self, error: VifplugError) -> None:
        if not error.retryable:
            raise error
        if self.failure is None:
            LOG.info("%s; retried until the timeout", error)
        self.failure = error

    def _reports(self, waited: Sequence[Waited]) -> Steps[list[VifReport] | None]:
        """The reports of VIFs that have reached the state; None if they cannot be read."""
        try:
            reports: list[VifReport] = []
            for vif in waited:
                report: VifReport = yield Get(vif.id)
                reports.append(replace(report, state=vif.state, error=vif.error))
            return reports
        except LookupError:
            return None  # unplugged just now: the next look reports it
        except VifplugError as error:
            self._put_up_with(error)
            return None

    def _has_failed(self, vifs: Sequence[Waited]) -> Steps[bool]:
        """Whether any has failed; if so, it is reported and removed from those pending."""
        failed = [vif for vif in vifs if vif.state == FAILED and vif.id in self.pending]
        for vif in failed:
            self.pending.remove(vif.id)
            goes_on: bool | None = yield Failure((yield from self._report(vif)))
            if goes_on is False:
                self.pending.clear()
                break
        return bool(failed)

    def _report(self, vif: Waited) -> Steps[VifReport]:
        try:
            report: VifReport = yield Get(vif.id)
            return replace(report, state=vif.state, error=vif.error or report.error)
        except VifplugError:
            return VifReport(id=vif.id, state=vif.state, error=vif.error)

    def _not_reached(self) -> NotReached:
        state = self.goal.state
        # An earlier look may also have shown others: those that have failed since are already reported.
        missing = [vif for vif in self.last if vif.id in self.pending and not has_reached(vif.state, state)]
        reasons = [_missing(vif, state) for vif in missing]
        if not reasons:
            reasons = [f"VIF {vif_id} is not known to be {state}" for vif_id in self.pending]
        if self.failure is not None:
            reasons.append(f"their states could not be read at the end, because {self.failure}")
        subject = missing[0].id if missing else self.pending[0]
        return NotReached(f"timeout after {self.goal.timeout:g} s: {'; '.join(reasons)}", subject)


def _missing(vif: Waited, state: str) -> str:
    if vif.state == ABSENT:
        return f"VIF {vif.id} is {ABSENT}: it is not plugged on this host"
    return f"VIF {vif.id} is {vif.state}, not {state}" + (f", and waits for {vif.waits_for}" if vif.waits_for else "")
