"""When a VIF is repaired again, and which orphans go: decisions without a clock, a kernel or a thread."""

from __future__ import annotations

import pytest

from vifplug.daemon.reconcile.orphan_age import Orphanage
from vifplug.daemon.reconcile.retry import Ledger
from vifplug.model.reports import DriftItem, Orphan

VIF, OTHER = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "81ab5618-df3e-4999-932a-1263b7886e5a"
PORT = [DriftItem(subject="qvo71a6b0e4-1a", attribute="port", observed=None, desired="br-int")]
DEVICE = [DriftItem(subject="tap81ab5618-df", attribute="ifindex", observed=8, desired=7)]
MEMORY = 180.0


def fight(ledger: Ledger, drift: list[DriftItem], times: int, pause: float, start: float = 0.0) -> list[str | None]:
    """A VIF that is found drifted and repaired again and again."""
    said, now = [], start
    for _ in range(times):
        if ledger.is_due(VIF, now):
            said.append(ledger.found(VIF, drift, now))
            ledger.repaired(VIF, drift, now)
        now += pause
    return said


def test_what_is_undone_at_once_is_contended_after_so_many_repairs() -> None:
    ledger = Ledger(3, MEMORY)
    said = fight(ledger, PORT, 4, 0.1)
    assert said[:3] == [None, None, None]
    assert said[3] is not None
    assert "qvo71a6b0e4-1a 'port' was repaired 3 times" in said[3]
    assert ledger.is_contended(VIF)
    assert not ledger.is_due(VIF, 0.5)


def test_waits_of_a_contended_vif_grow_and_end() -> None:
    ledger = Ledger(2, MEMORY)
    fight(ledger, PORT, 20000, 0.1)
    (wait,) = ledger.waiting(2000.0).values()
    assert ledger.is_contended(VIF)
    assert wait <= 300
    assert not ledger.right(VIF, 2000.0), "it has not held for its wait yet"
    assert ledger.right(VIF, 2000.0 + wait + 1)
    assert not ledger.is_contended(VIF)
    assert ledger.waiting(3000.0) == {}


def test_two_faults_far_apart_are_two_faults() -> None:
    assert fight(Ledger(2, MEMORY), PORT, 8, 10) == [None] * 8


def test_slow_undoing_counts_in_the_end() -> None:
    assert any(fight(Ledger(2, MEMORY), PORT, 20, 10))


def test_a_guest_that_restarts_undoes_nobodys_repair() -> None:
    assert fight(Ledger(2, MEMORY), DEVICE, 50, 0.5) == [None] * 50


def test_failures_wait_longer_and_longer_and_are_forgiven() -> None:
    ledger = Ledger(5, MEMORY)
    assert not ledger.failed(VIF, 0.0, retryable=False)
    assert ledger.failed(VIF, 1.0, retryable=False), "a second failure is said"
    for turn in range(20):
        ledger.failed(VIF, float(turn), retryable=False)
    assert 0 < ledger.waiting(19.0)[VIF] <= 60
    assert ledger.is_due(OTHER, 19.0)
    ledger.forgive([VIF])
    assert ledger.is_due(VIF, 19.0)


def test_what_may_succeed_when_merely_tried_again_is_soon() -> None:
    ledger = Ledger(5, MEMORY)
    for turn in range(20):
        ledger.failed(VIF, float(turn), retryable=True)
    assert ledger.waiting(19.0)[VIF] <= 1


def test_vifs_no_longer_recorded_are_forgotten() -> None:
    ledger = Ledger(5, MEMORY)
    ledger.failed(VIF, 0.0, retryable=True)
    ledger.keep_only([OTHER])
    assert ledger.waiting(0.0) == {}


def orphan(owner: str = VIF, name: str = "qbr71a6b0e4-1a") -> Orphan:
    return Orphan(kind="bridge", name=name, vif_id=owner)


def test_orphan_goes_after_its_grace_and_a_second_sighting() -> None:
    orphanage = Orphanage(10)
    assert orphanage.seen([orphan()], [], 0.0) == set()
    assert orphanage.due_in(4.0) == 6.0
    assert orphanage.seen([orphan()], [], 9.9) == set()
    assert orphanage.seen([orphan()], [], 10.0) == {VIF}


def test_one_sighting_is_never_enough() -> None:
    orphanage = Orphanage(0)
    assert orphanage.seen([orphan()], [], 100.0) == set()
    assert orphanage.seen([orphan()], [], 100.0) == {VIF}


def test_orphan_that_was_gone_in_between_starts_anew() -> None:
    orphanage = Orphanage(10)
    orphanage.seen([orphan()], [], 0.0)
    orphanage.seen([], [], 5.0)
    assert orphanage.seen([orphan()], [], 20.0) == set()


@pytest.mark.parametrize("in_use", [True, False])
def test_guest_spares_all_of_its_owners_orphans(in_use: bool) -> None:
    orphanage = Orphanage(0)
    both = [orphan(), orphan(OTHER, "tap81ab5618-df")]
    orphanage.seen(both, [VIF] if in_use else [], 0.0)
    assert orphanage.seen(both, [VIF] if in_use else [], 1.0) == ({OTHER} if in_use else {VIF, OTHER})
    assert orphanage.spared == ({VIF} if in_use else set())


def test_young_orphan_keeps_its_elders_of_the_same_owner() -> None:
    orphanage = Orphanage(10)
    orphanage.seen([orphan()], [], 0.0)
    assert orphanage.seen([orphan(), orphan(name="qvb71a6b0e4-1a")], [], 20.0) == set()


def test_orphan_that_cannot_go_is_not_waited_for() -> None:
    orphanage = Orphanage(0)
    orphanage.seen([orphan()], [], 0.0)
    assert orphanage.seen([orphan()], [], 1.0) == {VIF}
    assert orphanage.due_in(2.0) is None
