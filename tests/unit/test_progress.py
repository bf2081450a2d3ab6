"""What a person is told while many VIFs are taken away."""

from __future__ import annotations

import pytest

from tests.unit.test_cli import Notes
from vifplug.cli import progress, streams
from vifplug.events import Event

IDS = [f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa" for number in range(4)]


def event(vif_id: str, state: str = "unplugged") -> Event:
    return Event(seq=1, vif_id=vif_id, state=state, time="2026-11-21T07:36:29.104Z")


def test_those_that_reach_the_state_are_struck_out() -> None:
    left = set(IDS)
    progress.strike_out([event(IDS[0]), event("somebody else's"), event(IDS[1], "drifted")], left, "unplugged")
    assert left == set(IDS[1:])
    events = iter([*map(event, IDS), event("one that nobody waits for")])
    progress.strike_out(events, left, "unplugged")
    assert not left
    assert next(events).vif_id == "one that nobody waits for"


def test_a_line_a_second_while_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(streams, "tell", said.append)
    left = set(IDS)
    turns = iter([IDS[:1], [], IDS[1:3], []])

    def done(seconds: float) -> bool:
        assert seconds == 1
        going = next(turns, None)
        left.difference_update(going or ())
        return going is None

    progress.tell(len(IDS), left, "unplugged", done)
    assert said == ["1 of 4 VIFs are unplugged", "3 of 4 VIFs are unplugged"]


@pytest.mark.parametrize(("ids", "told"), [(IDS[:1], []), (IDS, ["unplugging 4 VIFs ..."])])
def test_many_are_announced(monkeypatch: pytest.MonkeyPatch, ids: list[str], told: list[str]) -> None:
    said: list[str] = []
    monkeypatch.setattr(streams, "is_watched", lambda: True)
    monkeypatch.setattr(streams, "tell", said.append)
    with progress.shown(Notes(), "unplugging", ids, "unplugged"):
        pass
    assert said == told


def test_nothing_is_said_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "tell", lambda line: pytest.fail(line))
    with progress.shown(Notes(), "unplugging", IDS, "unplugged"):
        pass
