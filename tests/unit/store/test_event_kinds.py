"""Kinds of events: what changed, before and after; events of some VIFs and since a time; those of older versions."""

from __future__ import annotations

import datetime
import json
import pathlib
from dataclasses import replace

import pytest

from tests.support import builders
from tests.unit.store.test_eventlog import record
from vifplug.api import follow
from vifplug.errors import Conflict, InputError
from vifplug.model import durations, events
from vifplug.model.events import Event, EventCause, EventChange
from vifplug.model.reports import ABSENT, ACTIVE, CONTENDED, DRIFTED, PLUGGED, DriftItem, Orphan
from vifplug.store.store import Store
from vifplug.testing import FakeHost

DRIFT = (DriftItem(subject="qvo71a6b0e4-1a", attribute="port", observed=None, desired="br-int"),)


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Store:
    return Store(str(tmp_path / "state"), user="no-such-user")


def shown(store: Store) -> list[tuple[str, str, list[str]]]:
    return [(event.kind, event.state, [str(change) for change in event.changes]) for event in store.events(0, 100)]


def test_each_kind_has_what_changed(store: Store) -> None:
    drifted = EventCause(changes=events.drifted(DRIFT))
    for state, error, cause in (
        (ACTIVE, None, None),
        (DRIFTED, "why", drifted),
        (PLUGGED, None, EventCause(kind=events.REPAIR, changes=events.repaired(DRIFT))),
        (CONTENDED, "again", drifted),
    ):
        store.save_records([replace(record(state, error=error), cause=cause)])
    vif = builders.HYBRID
    assert shown(store)[3:] == [
        (
            "state",
            DRIFTED,
            [f"{vif} state: active -> drifted", "qvo71a6b0e4-1a port: br-int -> none"],
        ),
        ("repair", DRIFTED, ["qvo71a6b0e4-1a port: none -> br-int"]),
        ("state", PLUGGED, [f"{vif} state: drifted -> plugged"]),
        (
            "contention",
            CONTENDED,
            [f"{vif} state: plugged -> contended", "qvo71a6b0e4-1a port: br-int -> none"],
        ),
    ]


def test_repair_without_a_new_state_is_one_event(store: Store) -> None:
    store.save_records([record()])
    store.save_records([replace(record(), cause=EventCause(kind=events.REPAIR, changes=events.repaired(DRIFT)))])
    store.save_records([record()])
    assert [kind for kind, _state, _changes in shown(store)] == ["state", "repair"]


def test_orphans_and_conflicts_are_events(store: Store) -> None:
    orphan = Orphan(kind="veth", name="qvo1", vif_id=builders.TAP)
    store.note_orphans([orphan], None, events.FOUND)
    store.note_orphans([orphan], events.FOUND, events.DELETED)
    for _ in range(3):
        store.note_conflict({builders.HYBRID: ABSENT}, "tap1", "'tap1' is held by a stranger")
    store.note_conflict({builders.HYBRID: ABSENT}, "tap2", "'tap2' is held by a stranger")
    assert shown(store) == [
        ("orphan", ABSENT, ["qvo1 orphan: none -> found"]),
        ("orphan", ABSENT, ["qvo1 orphan: found -> deleted"]),
        ("conflict", ABSENT, ["tap1 conflict: none -> 'tap1' is held by a stranger"]),
        ("conflict", ABSENT, ["tap2 conflict: none -> 'tap2' is held by a stranger"]),
    ]


def test_large_changes_are_cut(store: Store) -> None:
    many = tuple(EventChange(subject="x", attribute="y", before="a" * 10_000, after=["b" * 10_000]) for _ in range(99))
    store.save_records([replace(record(DRIFTED), cause=EventCause(changes=many))])
    with store._reading() as connection:
        (body,) = connection.execute("SELECT body FROM events").fetchone()
    assert len(body) < 20_000 and len(json.loads(body)["changes"]) == 20


def test_event_of_an_older_version_is_a_change_of_a_state(store: Store) -> None:
    body = {"vif_id": builders.HYBRID, "state": "wired", "previous": "plugged", "error": None, "instance": None}
    later = {**body, "note": None, "time": "2026-11-21T07:36:29.104Z", "added_later": 1}
    with store._transaction() as connection:
        for each in ({**body, "time": "2026-11-21T07:36:29.104Z"}, later):
            connection.execute("INSERT INTO events (body) VALUES (?)", (json.dumps(each),))
    assert shown(store) == [("state", "wired", [f"{builders.HYBRID} state: plugged -> wired"])] * 2


def test_events_of_some_vifs_and_since_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vifplug.store.events._PAGE", 7)
    for minute in range(40):
        monkeypatch.setattr("vifplug.store.records.now", lambda: f"2026-11-21T07:{minute:02}:00.000Z")  # noqa: B023
        vif_id = builders.TAP if minute % 4 else builders.HYBRID
        store.save_records([record(PLUGGED if minute % 8 < 4 else DRIFTED, vif_id=vif_id)])
    found, covered = store.events_of([builders.HYBRID], 0)
    assert [event.vif_id for event in found] == [builders.HYBRID] * 10 and covered == store.sequence()
    assert store.events_of([builders.HYBRID], found[-1].seq) == ([], store.sequence())
    everything = store.events(0, 1000)
    for minute in range(-1, 42):
        time = f"2026-11-21T07:{minute:02}:00.000Z" if minute >= 0 else "2026-11-21T06:00:00.000Z"
        assert store.events(store.before(time), 1000) == [event for event in everything if event.time >= time]


def test_choices_of_events() -> None:
    moment = datetime.datetime(2026, 11, 21, 7, 36, tzinfo=datetime.UTC)
    assert follow.Choice(since=moment).time == "2026-11-21T07:36:00.000Z"
    assert follow.Choice(since=moment).number is None and follow.Choice(since=7).number == 7
    with pytest.raises(InputError, match="101 VIFs; give at most 100"):
        follow.Choice(ids=[f"71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a{number:04x}" for number in range(101)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", "2026-11-21T11:58:30+01:00"),
        ("1h", "2026-11-21T11:00:00+01:00"),
        ("10:30", "2026-11-21T10:30:00+01:00"),
        ("2026-11-20 10:30+00:00", "2026-11-20T11:30:00+01:00"),
        ("2026-11-20T10:30:00Z", "2026-11-20T11:30:00+01:00"),
    ],
)
def test_since_is_a_duration_or_a_time(text: str, expected: str) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=1))
    now = datetime.datetime(2026, 11, 21, 12, 0, tzinfo=zone)
    assert durations.ago(text, now) == datetime.datetime.fromisoformat(expected)


@pytest.mark.parametrize("text", ["", "x", "5w", "25:00", "2026-13-01", "-1h", "m"])
def test_since_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is neither a duration"):
        durations.ago(text, datetime.datetime.now().astimezone())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0421, "42 ms"), (-1, "0 ms"), (1.25, "1.2 s"), (61, "1m 1s"), (3600, "1h"), (90061, "1d 1h")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert durations.in_words(seconds) == text


def story(*parts: tuple[str, str, str | None, str]) -> list[Event]:
    return [
        Event(
            seq=place,
            vif_id=builders.HYBRID,
            kind=kind,
            state=state,
            previous=previous,
            time=f"2026-11-21T07:36:{second}Z",
            changes=(events.of_state(builders.HYBRID, previous, state),) if kind == "state" else (),
        )
        for place, (kind, state, previous, second) in enumerate(parts)
    ]


def test_history_says_how_long_each_state_lasted() -> None:
    chapters = events.history(
        story(
            ("state", "plugged", None, "00.000"),
            ("state", "drifted", "plugged", "10.000"),
            ("repair", "drifted", "drifted", "10.250"),
            ("state", "plugged", "drifted", "10.500"),
        ),
        "2026-11-21T07:37:00.500Z",
    )
    assert [(chapter.seconds, chapter.lasts) for chapter in chapters] == [
        (10, False),
        (0.5, False),
        (None, False),
        (50, True),
    ]
    ended = events.history(story(("state", "plugged", None, "00.000"), ("state", "unplugged", "plugged", "03.000")), "")
    assert [chapter.seconds for chapter in ended] == [3, None]


def test_repair_returns_what_it_changed_and_a_plan_shows_it_first() -> None:
    with FakeHost() as host:
        vif = builders.vif()
        host.plug([vif])
        assert host.plan_repair().actions == () and not host.repair()[0].actions
        host.drift(vif.id)
        before = len(host.applied)
        planned = host.plan_repair([vif.id])
        assert len(host.applied) == before
        (report,) = host.repair([vif.id])
        assert report.actions and report.actions == planned.actions == host.applied[before:]
        assert report.as_json()["actions"] and "actions" not in host.get(vif.id).as_json()
        (repair,) = [event for event in host.events(ids=[vif.id]) if event.kind == "repair"]
        assert [(change.attribute, change.before, change.after) for change in repair.changes] == [("up", False, True)]


def test_conflict_of_a_plug_is_an_event() -> None:
    with FakeHost() as host:
        host.hold("qbr71a6b0e4-1a")
        vif = builders.vif(id="71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b")
        for _ in range(2):
            with pytest.raises(Conflict):
                host.plug([vif])
        (event,) = host.events()
        assert (event.kind, event.state, event.vif_id) == ("conflict", ABSENT, vif.id)
        assert event.error is not None and "qbr71a6b0e4-1a" in event.error
