"""When a VIF is repaired again, and which orphans go: decisions without a clock, a kernel or a thread."""

from __future__ import annotations

import pytest

from vifplug.daemon.reconcile.orphan_age import OrphanAges
from vifplug.daemon.reconcile.retry import RetryState
from vifplug.model.reports import DriftItem, Orphan

VIF, OTHER = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "81ab5618-df3e-4999-932a-1263b7886e5a"
PORT = [DriftItem(subject="qvo71a6b0e4-1a", attribute="port", observed=None, desired="br-int")]
DEVICE = [DriftItem(subject="tap81ab5618-df", attribute="ifindex", observed=8, desired=7)]
MEMORY = 180.0


def fight(
    retry_state: RetryState, drift: list[DriftItem], times: int, pause: float, start: float = 0.0
) -> list[str | None]:
    """A VIF that is found drifted and repaired again and again."""
    output, now = [], start
    for _ in range(times):
        if retry_state.is_due(VIF, now):
            output.append(retry_state.drifted(VIF, drift, now))
            retry_state.repaired(VIF, drift, now)
        now += pause
    return output


def test_what_is_undone_at_once_is_contended_after_so_many_repairs() -> None:
    retry_state = RetryState(3, MEMORY)
    output = fight(retry_state, PORT, 4, 0.1)
    assert output[:3] == [None, None, None]
    assert output[3] is not None
    assert "qvo71a6b0e4-1a 'port' was repaired 3 times" in output[3]
    assert retry_state.is_contended(VIF)
    assert not retry_state.is_due(VIF, 0.5)


def test_waits_of_a_contended_vif_grow_and_end() -> None:
    retry_state = RetryState(2, MEMORY)
    fight(retry_state, PORT, 20000, 0.1)
    (wait,) = retry_state.waiting(2000.0).values()
    assert retry_state.is_contended(VIF)
    assert wait <= 300
    assert not retry_state.clean(VIF, 2000.0), "it has not held for its wait yet"
    assert retry_state.clean(VIF, 2000.0 + wait + 1)
    assert not retry_state.is_contended(VIF)
    assert retry_state.waiting(3000.0) == {}


def test_two_faults_far_apart_are_two_faults() -> None:
    assert fight(RetryState(2, MEMORY), PORT, 8, 10) == [None] * 8


def test_slow_undoing_counts_in_the_end() -> None:
    assert any(fight(RetryState(2, MEMORY), PORT, 20, 10))


def test_a_guest_that_restarts_undoes_no_repair() -> None:
    assert fight(RetryState(2, MEMORY), DEVICE, 50, 0.5) == [None] * 50


def test_failures_wait_longer_and_longer_and_are_forgiven() -> None:
    retry_state = RetryState(5, MEMORY)
    assert not retry_state.failed(VIF, 0.0, retryable=False)
    assert retry_state.failed(VIF, 1.0, retryable=False), "a second failure is said"
    for turn in range(20):
        retry_state.failed(VIF, float(turn), retryable=False)
    assert 0 < retry_state.waiting(19.0)[VIF] <= 60
    assert retry_state.is_due(OTHER, 19.0)
    retry_state.forgive([VIF])
    assert retry_state.is_due(VIF, 19.0)


def test_what_may_succeed_when_merely_tried_again_is_soon() -> None:
    retry_state = RetryState(5, MEMORY)
    for turn in range(20):
        retry_state.failed(VIF, float(turn), retryable=True)
    assert retry_state.waiting(19.0)[VIF] <= 1


def test_vifs_no_longer_recorded_are_forgotten() -> None:
    retry_state = RetryState(5, MEMORY)
    retry_state.failed(VIF, 0.0, retryable=True)
    retry_state.keep_only([OTHER])
    assert retry_state.waiting(0.0) == {}


def orphan(owner: str = VIF, name: str = "qbr71a6b0e4-1a") -> Orphan:
    return Orphan(kind="bridge", name=name, vif_id=owner)


def test_orphan_goes_after_its_grace_and_a_second_sighting() -> None:
    ages = OrphanAges(10)
    assert ages.seen([orphan()], [], 0.0) == set()
    assert ages.due_in(4.0) == 6.0
    assert ages.seen([orphan()], [], 9.9) == set()
    assert ages.seen([orphan()], [], 10.0) == {VIF}


def test_one_sighting_is_never_enough() -> None:
    ages = OrphanAges(0)
    assert ages.seen([orphan()], [], 100.0) == set()
    assert ages.seen([orphan()], [], 100.0) == {VIF}


def test_orphan_that_was_gone_in_between_starts_anew() -> None:
    ages = OrphanAges(10)
    ages.seen([orphan()], [], 0.0)
    ages.seen([], [], 5.0)
    assert ages.seen([orphan()], [], 20.0) == set()


@pytest.mark.parametrize("in_use", [True, False])
def test_guest_spares_all_of_its_owners_orphans(in_use: bool) -> None:
    ages = OrphanAges(0)
    both = [orphan(), orphan(OTHER, "tap81ab5618-df")]
    ages.seen(both, [VIF] if in_use else [], 0.0)
    assert ages.seen(both, [VIF] if in_use else [], 1.0) == ({OTHER} if in_use else {VIF, OTHER})
    assert ages.spared == ({VIF} if in_use else set())


def test_young_orphan_keeps_its_elders_of_the_same_owner() -> None:
    ages = OrphanAges(10)
    ages.seen([orphan()], [], 0.0)
    assert ages.seen([orphan(), orphan(name="qvb71a6b0e4-1a")], [], 20.0) == set()


def test_orphan_that_cannot_go_is_not_waited_for() -> None:
    ages = OrphanAges(0)
    ages.seen([orphan()], [], 0.0)
    assert ages.seen([orphan()], [], 1.0) == {VIF}
    assert ages.due_in(2.0) is None
