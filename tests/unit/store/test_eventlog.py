"""Events, the outbox and what Neutron said: in one file with the records, in order, bounded."""

from __future__ import annotations

import pathlib
import threading
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.support import builders
from vifplug.errors import EventsLost
from vifplug.model import events
from vifplug.model.events import Event
from vifplug.model.reports import ACTIVE, CONTENDED, DRIFTED, FAILED, PLUGGED, UNPLUGGED, WIRED
from vifplug.model.vif import Instance
from vifplug.store import events as store_events
from vifplug.store import records
from vifplug.store.records import Record
from vifplug.store.store import Moment, Store


def record(
    state: str = PLUGGED, vif_id: str = builders.HYBRID, error: str | None = None, *, guest: bool = True
) -> Record:
    instance = Instance(uuid=builders.INSTANCE) if guest else None
    vif = builders.vif(id=vif_id).model_copy(update={"instance": instance})
    return Record(vif=vif, resources=(), state=state, updated_at=records.now(), error=error)


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Store:
    return Store(str(tmp_path / "state"), user="no-such-user", notifies=True)


def told(store: Store, since: int = 0) -> list[tuple[str, str | None]]:
    return [(event.state, event.previous) for event in store.events(since, 1000)]


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        (None, PLUGGED, [PLUGGED]),
        (None, ACTIVE, [PLUGGED, WIRED, ACTIVE]),
        (PLUGGED, PLUGGED, []),
        (PLUGGED, ACTIVE, [WIRED, ACTIVE]),
        (ACTIVE, PLUGGED, [PLUGGED]),
        (ACTIVE, WIRED, [WIRED]),
        (WIRED, DRIFTED, [DRIFTED]),
        (DRIFTED, ACTIVE, [ACTIVE]),
        (None, FAILED, [FAILED]),
        (FAILED, CONTENDED, [CONTENDED]),
    ],
)
def test_steps_go_up_rung_by_rung(before: str | None, after: str, steps: list[str]) -> None:
    assert events.steps(before, after) == steps


def test_levels_include_those_before_them() -> None:
    assert events.has_reached(ACTIVE, WIRED) and events.has_reached(WIRED, WIRED)
    assert not events.has_reached(PLUGGED, WIRED) and not events.has_reached(DRIFTED, PLUGGED)


def test_every_change_of_a_record_is_one_event(store: Store) -> None:
    for state, error in ((PLUGGED, None), (PLUGGED, None), (ACTIVE, None), (DRIFTED, "why"), (WIRED, None)):
        store.save_records([record(state, error=error)])
    store.forget([builders.HYBRID])
    store.forget([builders.HYBRID])
    assert told(store) == [
        (PLUGGED, None),
        (WIRED, PLUGGED),
        (ACTIVE, WIRED),
        (DRIFTED, ACTIVE),
        (WIRED, DRIFTED),
        (UNPLUGGED, WIRED),
    ]
    assert [event.error for event in store.events(0, 10)] == [None, None, None, "why", None, None]
    assert {event.instance for event in store.events(0, 10)} == {builders.INSTANCE}
    assert [event.seq for event in store.events(2, 3)] == [3, 4, 5]


def test_plug_that_is_taken_back_tells_nothing(store: Store) -> None:
    store.restore(Moment({builders.HYBRID: (None, None)}))
    store.save_records([record()])
    store.restore(Moment({builders.HYBRID: (record(), None)}))
    assert told(store) == [(PLUGGED, None)]


def test_what_was_sent_before_it_was_taken_back_is_taken_back_as_well(store: Store) -> None:
    store.save_records([record(WIRED)])
    store.restore(Moment({builders.HYBRID: (None, None)}))
    assert told(store) == [(PLUGGED, None), (WIRED, PLUGGED), (UNPLUGGED, WIRED)]
    assert notices(store) == [(PLUGGED_EVENT, "completed"), GONE]
    store.save_records([record(PLUGGED)])
    store.save_records([record(WIRED)])
    store.restore(Moment({builders.HYBRID: (record(PLUGGED), None)}))
    assert told(store)[-2:] == [(WIRED, PLUGGED), (PLUGGED, WIRED)]


def test_guest_that_is_named_later_is_notified(store: Store) -> None:
    store.save_records([record(WIRED, guest=False)])
    store.save_records([record(WIRED)])
    assert notices(store) == [(PLUGGED_EVENT, "completed")]
    assert told(store) == [(PLUGGED, None), (WIRED, PLUGGED), (WIRED, WIRED)]


def test_vif_of_a_damaged_record_ends_with_an_event(store: Store) -> None:
    store.save_records([record(WIRED)])
    with store._transaction() as connection:
        connection.execute("UPDATE records SET body = 'rubbish'")
    store.forget([builders.HYBRID])
    assert told(store)[-1] == (UNPLUGGED, None)
    store.save_records([record(WIRED)])
    assert [notice.name for notice in store.outbox(10)] == [PLUGGED_EVENT] * 2


def test_word_is_taken_back(store: Store) -> None:
    store.set_neutron_status(builders.HYBRID, store_events.NEUTRON_FAILED)
    store.set_neutron_status(builders.TAP, store_events.NEUTRON_PLUGGED)
    store.clear_neutron_status([builders.HYBRID, builders.TAP], only=store_events.NEUTRON_FAILED)
    assert store.neutron_status() == {builders.TAP: "plugged"}
    store.forget([builders.TAP])
    assert store.neutron_status() == {}, "of a VIF that was never recorded, too"


def test_event_of_a_record_that_is_refused_is_not_there(store: Store) -> None:
    class Refused(Exception):
        pass

    before = store.sequence()
    with pytest.raises(Refused), store._transaction() as connection:
        store._note(connection, None, record())
        raise Refused
    assert (store.sequence(), told(store)) == (before, [])


def test_sequence_goes_on_over_restarts_and_after_all_is_gone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_events, "EVENTS_KEPT", 3)
    for number in range(10):
        store.save_records([record(PLUGGED if number % 2 else WIRED)])
    store.close()
    again = Store(store.state_dir, user="no-such-user")
    newest = again.sequence()
    again.save_records([record(FAILED)])
    assert [event.seq for event in again.events(newest, 10)] == [newest + 1]
    assert len(again.events(again.oldest(), 10)) == 3


@pytest.mark.parametrize(("since", "lost"), [(1, True), (6, True), (7, False), (10, False), (11, True)])
def test_events_that_cannot_be_had_are_an_error(
    store: Store, monkeypatch: pytest.MonkeyPatch, since: int, lost: bool
) -> None:
    monkeypatch.setattr(store_events, "EVENTS_KEPT", 3)
    for number in range(9):
        store.save_records([record(FAILED if number % 2 else DRIFTED)])
    store.save_records([record(PLUGGED)])
    assert (store.sequence(), store.oldest()) == (10, 7)
    if lost:
        with pytest.raises(EventsLost, match=str(since)):
            store.events(since, 10)
    else:
        assert [event.seq for event in store.events(since, 10)] == list(range(since + 1, 11))


def test_events_of_two_writers_have_no_gap_and_no_double(store: Store) -> None:
    def write(vif_id: str) -> None:
        own = Store(store.state_dir, user="no-such-user")
        for number in range(30):
            own.save_records([record(FAILED if number % 2 else PLUGGED, vif_id)])
        own.close()

    threads = [threading.Thread(target=write, args=(vif_id,)) for vif_id in (builders.HYBRID, builders.TAP)]
    for thread in threads:
        thread.start()
    seen: list[Event] = []
    while any(thread.is_alive() for thread in threads) or len(seen) < store.sequence():
        seen += store.events(seen[-1].seq if seen else 0, 7)
    assert [event.seq for event in seen] == list(range(1, 61))


def test_event_is_the_same_after_its_journey(store: Store) -> None:
    store.save_records([record()])
    (event,) = store.events(0, 1)
    assert Event.from_json({**event.as_json(), "added": "by a later version"}) == event


def test_listeners_hear_of_what_is_written(store: Store) -> None:
    heard: list[int] = []
    store.listeners.append(lambda _ids: heard.append(store.sequence()))
    store.save_records([record()])
    store.forget([builders.HYBRID])
    assert heard == [1, 2], "after the commit"


def notices(store: Store) -> list[tuple[str, str]]:
    return [(notice.name, notice.status) for notice in store.outbox(100)]


PLUGGED_EVENT, UNPLUGGED_EVENT = "network-vif-plugged", "network-vif-unplugged"
GONE = (UNPLUGGED_EVENT, "completed")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([PLUGGED], []),
        ([PLUGGED, UNPLUGGED], []),
        ([WIRED], [(PLUGGED_EVENT, "completed")]),
        ([ACTIVE, WIRED, ACTIVE], [(PLUGGED_EVENT, "completed")]),
        ([WIRED, PLUGGED], [(PLUGGED_EVENT, "completed"), (UNPLUGGED_EVENT, "completed")]),
        ([ACTIVE, UNPLUGGED], [(PLUGGED_EVENT, "completed"), (UNPLUGGED_EVENT, "completed")]),
        ([WIRED, DRIFTED, WIRED], [(PLUGGED_EVENT, "completed")]),
        ([WIRED, DRIFTED, PLUGGED], [(PLUGGED_EVENT, "completed"), (UNPLUGGED_EVENT, "completed")]),
        ([PLUGGED, FAILED, WIRED], [(PLUGGED_EVENT, "failed"), (PLUGGED_EVENT, "completed")]),
        (
            [WIRED, FAILED, WIRED, UNPLUGGED],
            [
                (PLUGGED_EVENT, "completed"),
                (PLUGGED_EVENT, "failed"),
                (PLUGGED_EVENT, "completed"),
                (UNPLUGGED_EVENT, "completed"),
            ],
        ),
        ([WIRED, FAILED, UNPLUGGED], [*[(PLUGGED_EVENT, word) for word in ("completed", "failed")], GONE]),
        ([WIRED, CONTENDED, WIRED], [(PLUGGED_EVENT, "completed")]),
    ],
)
def test_nova_gets_what_changes_for_it(store: Store, states: list[str], expected: list[tuple[str, str]]) -> None:
    for state in states:
        if state == UNPLUGGED:
            store.forget([builders.HYBRID])
        else:
            store.save_records([record(state)])
    assert notices(store) == expected
    for notice in store.outbox(100):
        assert (notice.vif_id, notice.instance) == (builders.HYBRID, builders.INSTANCE)


def test_guest_without_a_name_is_not_notified(store: Store) -> None:
    store.save_records([record(WIRED, guest=False)])
    assert notices(store) == []


def test_store_without_notices_keeps_no_outbox(store: Store) -> None:
    quiet = Store(store.state_dir, user="no-such-user")
    quiet.save_records([record(WIRED)])
    assert notices(store) == []


def test_outbox_keeps_what_is_not_acknowledged(store: Store) -> None:
    for vif_id in (builders.HYBRID, builders.TAP, builders.BRIDGE):
        store.save_records([record(WIRED, vif_id)])
    first, second, third = store.outbox(10)
    assert first.seq < second.seq < third.seq
    store.ack_outbox({second.seq})
    store.close()
    again = Store(store.state_dir, user="no-such-user", notifies=True)
    assert again.outbox(10) == [first, third]
    assert again.outbox(1) == [first]
    assert again.outbox_counts() == (2, 0)


def test_outbox_is_bounded_and_says_what_it_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_events, "OUTBOX_MAX", 4)
    for number in range(10):
        store.save_records([record(PLUGGED if number % 2 else WIRED)])
    assert store.outbox_counts() == (4, 6)
    assert [notice.name for notice in store.outbox(10)] == [PLUGGED_EVENT, UNPLUGGED_EVENT] * 2


def test_neutron_status_is_kept_until_the_vif_goes(store: Store) -> None:
    store.set_neutron_status(builders.HYBRID, store_events.NEUTRON_PLUGGED)
    store.set_neutron_status(builders.TAP, store_events.NEUTRON_FAILED)
    store.set_neutron_status(builders.HYBRID, store_events.NEUTRON_UNPLUGGED)
    known: Mapping[str, str] = {builders.HYBRID: "unplugged", builders.TAP: "failed"}
    assert store.neutron_status() == known
    assert store.neutron_status([builders.TAP]) == {builders.TAP: "failed"}
    store.save_records([record()])
    store.forget([builders.HYBRID])
    assert store.neutron_status() == {builders.TAP: "failed"}, (
        "the next life of a port begins without the last one's word"
    )


def test_statuses_without_a_vif_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_events, "NEUTRON_MAX", 3)
    store.save_records([record()])
    store.set_neutron_status(builders.HYBRID, store_events.NEUTRON_PLUGGED)
    for number in range(5):
        store.set_neutron_status(f"0000000{number}-0000-4000-8000-000000000000", store_events.NEUTRON_PLUGGED)
    assert len(store.neutron_status()) == 3
    assert store.neutron_status([builders.HYBRID]), "of a VIF that is plugged, the word stays"


def test_record_that_is_damaged_does_not_stop_the_next_plug(store: Store) -> None:
    store.save_records([record()])
    with store._transaction() as connection:
        connection.execute("UPDATE records SET body = 'rubbish'")
    store.save_records([replace(record(WIRED), updated_at="later")])
    assert told(store, 1) == [(PLUGGED, None), (WIRED, PLUGGED)]


def test_rows_that_are_damaged_delay_no_other(store: Store) -> None:
    for vif_id in (builders.HYBRID, builders.TAP):
        store.save_records([record(WIRED, vif_id)])
    with store._transaction() as connection:
        connection.execute("UPDATE outbox SET body = '{' WHERE seq = 2")
        connection.execute("UPDATE events SET body = '[]' WHERE seq = 2")
    assert [notice.vif_id for notice in store.outbox(10)] == [builders.TAP]
    assert store.outbox_counts() == (1, 0)
    assert [event.state for event in store.events(0, 10)] == [PLUGGED, store_events.DAMAGED, PLUGGED, WIRED]
