"""When a daemon is ready: at the end of its first comparison, and at bounds where there is none."""

from __future__ import annotations

from vifplug.daemon.reconcile.readiness import Readiness
from vifplug.daemon.reconcile.retry import RetryState


def test_comparison_that_has_ended_is_enough() -> None:
    assert not Readiness(began=100).is_reached(100)
    assert Readiness(began=100, has_compared=True).is_reached(100)


def test_open_vswitch_is_waited_for_less_long_than_a_comparison_that_goes_on() -> None:
    assert not Readiness(began=100, awaits_ovs=True).is_reached(129)
    assert Readiness(began=100, awaits_ovs=True).is_reached(130)
    assert not Readiness(began=100).is_reached(330)
    assert Readiness(began=100).is_reached(340)


def test_vif_that_failed_once_is_tried_again_first() -> None:
    retry_state = RetryState(5, 180)
    assert not retry_state.has_failed_once()
    retry_state.failed("a", 10, retryable=False)
    assert retry_state.has_failed_once()
    retry_state.failed("a", 11, retryable=False)
    assert not retry_state.has_failed_once()
    retry_state.failed("b", 11, retryable=True)
    retry_state.clean("b", 12)
    assert not retry_state.has_failed_once()
