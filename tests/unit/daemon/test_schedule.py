"""When to look, and at which VIFs."""

from __future__ import annotations

from vifplug.daemon.reconcile.schedule import Schedule


def test_nothing_is_due_before_its_time() -> None:
    schedule = Schedule(everything=100.0)
    schedule.compare_again({"a"}, 5.0)
    schedule.compare_built({"b"}, 6.0)
    assert (schedule.next, schedule.due(4.9)) == (5.0, set())
    assert (schedule.due(5.0), schedule.next) == ({"a"}, 6.0)
    assert (schedule.due(7.0), schedule.next, schedule.due(8.0)) == ({"b"}, 100.0, set())


def test_first_time_counts_and_many_share_it() -> None:
    schedule = Schedule(everything=100.0)
    for number in range(3):
        schedule.compare_built({str(number)}, 6.0 + number)
    assert schedule.next == 6.0
    assert schedule.due(6.0) == {"0", "1", "2"}


def test_busy_ones_stay_until_they_were_looked_at() -> None:
    schedule = Schedule(everything=100.0)
    schedule.compare_again({"a"}, 1.0)
    assert schedule.due(1.0) == {"a"}
    assert schedule.busy == {"a"}, "whoever looks takes it off"
    schedule.compare_again([], 2.0)
    assert schedule.next == 100.0


def test_ports_that_are_called_down_are_asked_about_once_a_comparison() -> None:
    schedule = Schedule(everything=100.0)
    schedule.ask_about({"a", "b"}, {"a", "b", "c"}, 5.0)
    schedule.ask_about({"d"}, {"d"}, 6.0)
    assert (schedule.next, schedule.due_to_ask(4.9)) == (5.0, set())
    schedule.ask_about([], {"a"}, 7.0)
    assert schedule.due_to_ask(5.0) == {"b", "d"}, "a is up by now"
    assert (schedule.next, schedule.due_to_ask(99.0)) == (100.0, set())
    schedule.ask_about([], {"a"}, 7.0)
    assert schedule.next == 100.0
