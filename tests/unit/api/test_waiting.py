"""Waiting, by a clock that a test turns: what is waited for, for how long, and what is made of every end."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from vifplug import errors
from vifplug.api import wait as waiting
from vifplug.api.wait import Expectation, Goal, Watch
from vifplug.model.events import Waited, WaitReport
from vifplug.model.reports import VifReport

A, B = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
OVN = "OVN to set ovn-installed on Interface 'qvo71a6b0e4-1a' of br-int (is ovn-controller running?)"
RANK = {"plugged": 0, "wired": 1, "active": 2}

Change = Callable[["Place"], None]


@dataclass
class Place:
    """A host whose VIFs change as time goes by; a look takes 10 ms, or as long as it may wait."""

    states: dict[str, str] = field(default_factory=dict)
    changes: list[tuple[float, Change]] = field(default_factory=list)
    waits: bool = False
    """Whether a look waits for what is asked, as the daemon's does."""
    now: float = 1000.0
    looks: list[tuple[float, tuple[str, ...], float]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    trouble: errors.VifplugError | None = None

    def at(self, seconds: float, **states: str) -> None:
        """What a VIF is that many seconds after the begin; ``a`` and ``b`` are their names."""
        self.changes.append((1000.0 + seconds, lambda place: place.states.update(_named(states))))

    def during(self, begin: float, end: float, trouble: errors.VifplugError) -> None:
        """Looks fail for a while."""
        self.changes.append((1000.0 + begin, lambda place: setattr(place, "trouble", trouble)))
        self.changes.append((1000.0 + end, lambda place: setattr(place, "trouble", None)))

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        for change in sorted(self.changes, key=lambda each: each[0]):
            if change[0] <= self.now:
                self.changes.remove(change)
                change[1](self)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._pass(seconds)

    def look(self, ids: Sequence[str], state: str, seconds: float) -> WaitReport:
        self._pass(0)
        self.looks.append((self.now - 1000.0, tuple(ids), seconds))
        assert len(self.looks) < 10_000, "it never ends"
        end = self.now + seconds
        while self.trouble is None:
            vifs = [self._waited(each, state) for each in ids]
            reached = all(vif.waits_for is None and vif.state != "failed" for vif in vifs)
            if reached or not self.waits or self.now >= end or any(vif.state == "failed" for vif in vifs):
                self._pass(0.01)
                return WaitReport(reached=reached, vifs=vifs)
            self._pass(min(0.1, end - self.now))
        raise self.trouble

    def _waited(self, vif_id: str, wanted: str) -> Waited:
        state = self.states.get(vif_id, "absent")
        if RANK.get(state, -1) >= RANK[wanted]:
            return Waited(id=vif_id, state=state)
        if state == "failed":
            return Waited(id=vif_id, state=state, error="no")
        return Waited(id=vif_id, state=state, waits_for=OVN)

    def get(self, id: str) -> VifReport:
        if self.trouble is not None:
            raise self.trouble
        if id not in self.states:
            raise errors.UnknownVif(f"VIF {id} is not plugged on this host", id)
        return VifReport(id=id, state=self.states[id], mtu=1450)

    @property
    def watch(self) -> Watch:
        return Watch(look=self.look, get=self.get, clock=lambda: self.now, sleep=self.sleep)

    @property
    def passed(self) -> float:
        return self.now - 1000.0

    def wait(self, *ids: str, state: str = "wired", timeout: float = 5.0) -> list[VifReport]:
        return waiting.wait(self.watch, Goal(ids, state, timeout))

    def expect(self, *ids: str, timeout: float = 5.0, **more: Any) -> Any:
        return waiting.expect(self.watch, Goal(ids, "wired", timeout), **more)


def _named(states: dict[str, str]) -> dict[str, str]:
    return {{"a": A, "b": B}[name]: state for name, state in states.items()}


@pytest.fixture(params=[False, True], ids=["local", "daemon"])
def place(request: pytest.FixtureRequest) -> Place:
    return Place(states={A: "plugged", B: "plugged"}, waits=request.param)


# wait


def test_what_is_there_is_answered_at_once(place: Place) -> None:
    place.states[A] = "active"
    assert place.wait(A) == [VifReport(id=A, state="active", mtu=1450)]
    assert (len(place.looks), place.slept) == (1, [])


def test_answer_is_in_the_order_asked_for_each_once(place: Place) -> None:
    place.states = {A: "wired", B: "wired"}
    assert [vif.id for vif in place.wait(B, A, B)] == [B, A]


def test_ids_may_be_written_in_capitals(place: Place) -> None:
    place.states[B] = "failed"
    with pytest.raises(errors.VifFailed):
        place.wait(A.upper(), B.upper(), timeout=300)
    with place.expect(B.upper()) as expectation:
        expectation.exit_early([B.upper()])


def test_nothing_to_wait_for(place: Place) -> None:
    assert place.wait() == [] and place.looks == []


def test_all_must_be_there_at_one_time(place: Place) -> None:
    place.at(1, a="wired")
    place.at(2, a="plugged")
    place.at(3, b="wired")
    place.at(4, a="wired")
    place.wait(A, B, timeout=10)
    assert 4 <= place.passed < 4.6


def test_looks_grow_rarer_but_none_is_late(place: Place) -> None:
    place.at(3, a="wired")
    place.wait(A, timeout=300)
    assert 3 <= place.passed < 3.6
    if not place.waits:
        assert place.slept == sorted(place.slept) and place.slept[0] < 0.05 and max(place.slept) <= 0.5
        assert len(place.looks) < 14


def test_out_of_time_names_each_that_is_not_there(place: Place) -> None:
    place.states[B] = "wired"
    with pytest.raises(errors.NotReached) as caught:
        place.wait(A, B, timeout=2.5)
    assert str(caught.value) == f"timeout after 2.5 s: VIF {A} is plugged, not wired, and waits for {OVN}"
    assert (caught.value.subject, caught.value.exit_code) == (A, 5)
    assert 2.5 <= place.passed < 2.55
    del place.states[B]
    with pytest.raises(errors.NotReached, match=rf"; VIF {B} is absent: it is not plugged on this host$"):
        place.wait(A, B, timeout=1)


@pytest.mark.parametrize("last", [1.0, 0.999])
def test_state_that_comes_in_the_last_moment_counts(place: Place, last: float) -> None:
    place.at(last, a="wired")
    assert place.wait(A, timeout=1)[0].state == "wired"


def test_no_time_is_one_look(place: Place) -> None:
    with pytest.raises(errors.NotReached, match="timeout after 0 s"):
        place.wait(A, timeout=0)
    assert (len(place.looks), place.slept) == (1, [])
    place.states[A] = "wired"
    assert place.wait(A, timeout=0)


def test_absent_vif_may_come(place: Place) -> None:
    del place.states[A]
    place.at(1, a="plugged")
    place.at(2, a="wired")
    assert place.wait(A)[0].state == "wired"


def test_failed_vif_ends_it(place: Place) -> None:
    place.at(1, b="failed")
    with pytest.raises(errors.VifFailed, match=rf"^VIF {B} failed during the wait: no$"):
        place.wait(A, B, timeout=300)
    assert 1 <= place.passed < 1.6


def test_vif_that_is_gone_when_it_is_reported_is_waited_for(place: Place) -> None:
    class Torn(Place):
        def get(self, id: str) -> VifReport:
            if not self.slept:
                raise errors.UnknownVif("gone", id)
            return super().get(id)

    torn = Torn(states={A: "wired"}, waits=place.waits)
    assert torn.wait(A)[0].state == "wired"


def test_report_has_the_state_that_was_reached(place: Place) -> None:
    class Drifting(Place):
        def get(self, id: str) -> VifReport:
            return VifReport(id=id, state="drifted", mtu=1450)

    drifting = Drifting(states={A: "wired"}, waits=place.waits)
    assert drifting.wait(A) == [VifReport(id=A, state="wired", mtu=1450)]


@pytest.mark.parametrize("kind", [errors.DaemonUnreachable, errors.OvsUnavailable, errors.Busy, errors.HelperDied])
def test_trouble_that_may_pass_is_outlived(place: Place, kind: type[errors.VifplugError]) -> None:
    place.during(0.5, 2, kind("gone for a while"))
    place.at(1, a="wired")
    place.wait(A)
    assert 2 <= place.passed < 2.6


def test_trouble_as_the_vifs_are_reported_is_outlived(place: Place) -> None:
    class Torn(Place):
        def get(self, id: str) -> VifReport:
            if not self.slept:
                raise errors.DaemonUnreachable("gone")
            return super().get(id)

    assert Torn(states={A: "wired"}, waits=place.waits).wait(A)


def test_trouble_to_the_end_is_reported_with_what_was_seen_before(place: Place) -> None:
    place.during(0.5, 99, errors.DaemonUnreachable("no daemon answers"))
    with pytest.raises(errors.NotReached) as caught:
        place.wait(A, timeout=3)
    assert str(caught.value).endswith("their states could not be read at the end, because no daemon answers")
    assert f"VIF {A} is plugged, not wired" in str(caught.value) or place.waits
    assert 3 <= place.passed < 3.1


def test_trouble_from_begin_to_end(place: Place) -> None:
    place.trouble = errors.OvsUnavailable("no answer")
    with pytest.raises(errors.NotReached, match=rf"VIF {A} is not known to be wired; their states .* no answer$"):
        place.wait(A, timeout=3)
    assert len(place.looks) < 15


@pytest.mark.parametrize("kind", [errors.NotPermitted, errors.StoreError, errors.InputError, errors.VifplugError])
def test_trouble_that_stays_is_raised(place: Place, kind: type[errors.VifplugError]) -> None:
    place.trouble = kind("no")
    with pytest.raises(kind, match=r"^no$"):
        place.wait(A)
    assert place.slept == []


@pytest.mark.parametrize(
    ("ids", "state", "timeout", "said"),
    [
        ([A], "unplugged", 1, "'unplugged' is not a state to wait for; it must be one of plugged, wired, active"),
        ([A], "", 1, "not a state"),
        ([A], None, 1, "not a state"),
        (A, "wired", 1, "give a list"),
        ([uuid.UUID(A)], "wired", 1, "it must be a UUID as text"),
        ([None], "wired", 1, "None is not a VIF's id"),
        ([A, "tap0"], "wired", 1, "'tap0' is not a VIF's id"),
        ([A], "wired", -1, "-1 is not a timeout"),
        ([A], "wired", math.nan, "nan is not a timeout"),
        ([A], "wired", math.inf, "inf is not a timeout"),
        ([A], "wired", "5", "'5' is not a timeout"),
        ([A], "wired", None, "None is not a timeout"),
        ([A], "wired", True, "True is not a timeout"),
    ],
)
def test_what_can_never_be_is_refused(ids: Any, state: Any, timeout: Any, said: str) -> None:
    with pytest.raises(errors.InputError, match=said):
        Goal(ids, state, timeout)


# expect: Nova's contract


def test_time_begins_at_the_end_of_the_body_one_for_all(place: Place) -> None:
    with pytest.raises(errors.NotReached, match="timeout after 5 s"), place.expect(A, B):
        assert place.looks == []
        place.sleep(100)
    assert 105 <= place.passed < 105.6


def test_what_came_during_the_body_is_kept(place: Place) -> None:
    place.at(1, a="wired")
    with place.expect(A):
        place.sleep(2)
        began = place.passed
    assert place.passed - began < 0.02


def test_what_comes_after_the_body_is_waited_for(place: Place) -> None:
    place.at(3, a="wired")
    with place.expect(A) as expectation:
        place.sleep(1)
        assert isinstance(expectation, Expectation) and expectation.ids == (A,)
    assert 3 <= place.passed < 3.6


def test_body_that_raises_is_not_waited_for(place: Place) -> None:
    with pytest.raises(ZeroDivisionError), place.expect(A):
        raise ZeroDivisionError
    assert place.looks == []


def test_no_time_is_no_wait(place: Place) -> None:
    with place.expect(A, timeout=0):
        pass
    assert place.looks == []


def test_failed_vif_raises_by_default(place: Place) -> None:
    with pytest.raises(errors.VifFailed, match=A), place.expect(A, B):
        place.states[A] = "failed"


@pytest.mark.parametrize("answer", [True, None])
def test_callback_that_goes_on(place: Place, answer: bool | None) -> None:
    told: list[VifReport] = []

    def callback(vif: VifReport) -> bool | None:
        told.append(vif)
        return answer

    place.at(2, b="wired")
    with place.expect(A, B, error_callback=callback):
        place.states[A] = "failed"
    assert told == [VifReport(id=A, state="failed", error="no", mtu=1450)], "each is told of once"
    assert 2 <= place.passed < 2.6
    assert place.looks[-1][1] == (B,)


def test_callback_that_goes_on_does_not_stop_the_clock(place: Place) -> None:
    with pytest.raises(errors.NotReached) as caught, place.expect(A, B, error_callback=lambda _: True):
        place.states[A] = "failed"
    assert A not in str(caught.value) and B in str(caught.value)


def test_vif_that_a_callback_dealt_with_is_not_named_when_time_is_over(place: Place) -> None:
    place.states[A] = "failed"

    def ask(_vif: VifReport) -> None:
        place.trouble = errors.OvsUnavailable("no answer")

    with pytest.raises(errors.NotReached) as caught, place.expect(A, B, error_callback=ask):
        pass
    assert (A in str(caught.value), caught.value.subject) == (False, B)
    assert f"VIF {B} is plugged, not wired" in str(caught.value)


def test_callback_when_all_have_failed(place: Place) -> None:
    told: list[str] = []
    with place.expect(A, B, error_callback=lambda vif: told.append(vif.id)):
        place.states = {A: "failed", B: "failed"}
    assert told == [A, B]


def test_callback_that_stops_the_wait(place: Place) -> None:
    told: list[str] = []

    def callback(vif: VifReport) -> bool:
        told.append(vif.id)
        return False

    with place.expect(A, B, error_callback=callback):
        place.states = {A: "failed", B: "failed"}
    assert (told, place.slept) == ([A], [])


@pytest.mark.parametrize("error", [ZeroDivisionError(), errors.Busy("mine", A), KeyboardInterrupt()])
def test_callback_that_raises(place: Place, error: BaseException) -> None:
    def callback(_: VifReport) -> bool:
        raise error

    with pytest.raises(type(error)) as caught, place.expect(A, B, error_callback=callback):
        place.states[A] = "failed"
    assert caught.value is error


def test_callback_gets_a_vif_that_cannot_be_read(place: Place) -> None:
    class Torn(Place):
        def get(self, id: str) -> VifReport:
            raise errors.StoreError("damaged")

    told: list[VifReport] = []
    with Torn(states={A: "failed"}, waits=place.waits).expect(A, error_callback=told.append):
        pass
    assert told == [VifReport(id=A, state="failed", error="no")]


def test_body_may_end_early(place: Place) -> None:
    place.at(2, b="wired")
    reached = False
    with place.expect(A, B) as expectation:
        expectation.exit_early([A])
        reached = True
    assert not reached
    assert 2 <= place.passed < 2.6
    with place.expect(A) as expectation:
        expectation.exit_early([A])


def test_early_end_is_for_its_own_body_only(place: Place) -> None:
    place.states = {A: "wired", B: "plugged"}
    came = []
    with place.expect(B) as outer:
        with place.expect(A):
            outer.exit_early([B])
        came.append("after the inner body")
    assert came == []
    assert place.looks == [], "the inner body did not come to its end"


def test_early_end_that_a_body_swallows_holds_for_its_vifs(place: Place) -> None:
    place.states[B] = "wired"
    with place.expect(A, B) as expectation:
        try:
            expectation.exit_early([A])
        except BaseException as error:
            assert not isinstance(error, Exception), "no clean-up of a failure is run"
    assert place.slept == []


def test_early_end_for_a_strange_vif_is_an_error(place: Place) -> None:
    with pytest.raises(errors.InputError, match="not among those expected"), place.expect(A) as expectation:
        expectation.exit_early([B])
