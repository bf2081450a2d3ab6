"""What is repeated, for how long, and what is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tenacity

import vifplug
from tests.support.daemon.scripted_daemon import answer, problem, served
from vifplug import errors
from vifplug.api import retry as retrying
from vifplug.model import backoff, durations
from vifplug.model.reports import VifReport

VIF_ID = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
VIFS = {"vifs": [VifReport(id=VIF_ID, state="unplugged").as_json()], "warnings": []}
HANG_UP = b""


def failing(*raised: Exception) -> tuple[Callable[[], str], list[Exception]]:
    """A call that raises each of these, then succeeds; and those it has still to raise."""
    left = list(raised)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call, left


@pytest.mark.parametrize("kind", [errors.Busy, errors.DaemonUnreachable, errors.HelperDied, errors.OvsUnavailable])
def test_retryable_error_is_made_up_for(kind: type[errors.VifplugError]) -> None:
    call, left = failing(kind("x"), kind("x"))
    assert retrying.repeated(call, 30) == "done"
    assert not left


def test_lasting_error_and_the_callers_own_time_out_are_raised_at_once() -> None:
    closed = errors.DaemonUnreachable("no permission")
    closed.__cause__ = PermissionError(13, "Permission denied")
    for error in (errors.Conflict("x"), errors.InputError("x"), errors.NotReached("x"), closed, ValueError("x")):
        call, left = failing(error, error)
        with pytest.raises(type(error)):
            retrying.repeated(call, 30)
        assert len(left) == 1, error


def test_no_time_is_one_try_and_the_last_error_is_raised_when_time_is_over() -> None:
    call, left = failing(errors.Busy("first"), errors.Busy("second"))
    with pytest.raises(errors.Busy, match="first"):
        retrying.repeated(call, 0)
    assert len(left) == 1
    always, left = failing(*[errors.Busy(str(number)) for number in range(1000)])
    began = time.monotonic()
    with pytest.raises(errors.Busy):
        retrying.repeated(always, 0.5)
    assert time.monotonic() - began >= 0.5
    assert len(left) > 990, "pauses grow"


def test_connect_repeats_what_was_cut_off(tmp_path: Path) -> None:
    turns = [HANG_UP, problem("HelperDied", "the helper ended", status=500), answer(VIFS)]
    with served(str(tmp_path / "s"), *turns) as script, vifplug.connect(str(tmp_path / "s"), retry=30) as host:
        (report,) = host.unplug([VIF_ID])
    assert report.state == "unplugged"
    assert [asked.target for asked in script.asked] == ["/v1/batch"] * 3


def test_connect_without_retry_raises_what_was_cut_off(tmp_path: Path) -> None:
    with (
        served(str(tmp_path / "s"), HANG_UP, answer(VIFS)),
        vifplug.connect(str(tmp_path / "s")) as host,
        pytest.raises(errors.DaemonUnreachable),
    ):
        host.unplug([VIF_ID])


def test_connect_waits_for_a_daemon_that_is_away_no_longer_than_requested(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(errors.DaemonUnreachable), vifplug.connect(str(tmp_path / "s"), retry=0.5):
        pass
    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "5", None, True])
def test_retry_that_is_no_number_of_seconds_is_refused(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(errors.InputError, match="retry"), vifplug.connect(str(tmp_path / "s"), retry=wrong):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("0", 0), ("1.5s", 1.5), ("10m", 600), ("2h", 7200), ("1d", 86400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert durations.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "-1", "1w", "10 m", "1e9", "inf", "٣m", "1m30s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(errors.InputError, match="duration"):
        durations.parse(text)


@pytest.mark.parametrize(("first", "longest"), [(0.05, 0.5), (0.5, 60.0), (2.0, 300.0), (1.0, 1.0)])
def test_pauses_grow_as_tenacitys_do(first: float, longest: float) -> None:
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    for state.attempt_number in [*range(1, 40), 10_000]:
        expected = tenacity.wait_exponential(first, longest)(state)
        assert backoff.pause(state.attempt_number, first, longest) == expected
    assert backoff.pause(0, first, longest) == 0
