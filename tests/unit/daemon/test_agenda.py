"""When to look, and at which VIFs."""

from __future__ import annotations

from vifplug.daemon.reconcile.schedule import Agenda


def test_nothing_is_due_before_its_time() -> None:
    agenda = Agenda(everything=100.0)
    agenda.look_again({"a"}, 5.0)
    agenda.look_later({"b"}, 6.0)
    assert (agenda.next, agenda.due(4.9)) == (5.0, set())
    assert (agenda.due(5.0), agenda.next) == ({"a"}, 6.0)
    assert (agenda.due(7.0), agenda.next, agenda.due(8.0)) == ({"b"}, 100.0, set())


def test_first_time_counts_and_many_share_it() -> None:
    agenda = Agenda(everything=100.0)
    for number in range(3):
        agenda.look_later({str(number)}, 6.0 + number)
    assert agenda.next == 6.0
    assert agenda.due(6.0) == {"0", "1", "2"}


def test_busy_ones_stay_until_they_were_looked_at() -> None:
    agenda = Agenda(everything=100.0)
    agenda.look_again({"a"}, 1.0)
    assert agenda.due(1.0) == {"a"}
    assert agenda.busy == {"a"}, "whoever looks takes it off"
    agenda.look_again([], 2.0)
    assert agenda.next == 100.0
