"""What goes into a message, and what an answer to it means: decisions, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vifplug.daemon.nova import outgoing
from vifplug.daemon.nova.outgoing import Answer, Outcome
from vifplug.daemon.nova.rate import SIZE_MAX, WAIT_MAX_SECONDS, Pace, Waiting
from vifplug.store.events import PLUGGED_EVENT, UNPLUGGED_EVENT, Notice

INSTANCE = "c0ffee00-1111-4222-8333-000000000011"
A, B, C = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abc")


def notice(seq: int, vif_id: str = A, name: str = PLUGGED_EVENT) -> Notice:
    return Notice(seq=seq, vif_id=vif_id, instance=INSTANCE, name=name, status="completed")


BATCH = [notice(4, A), notice(5, B), notice(7, C)]


def echo(*codes: object, **changes: object) -> list[dict[str, Any]]:
    """Nova's way: what failed says so in its status, too."""
    events = json.loads(outgoing.message(BATCH))["events"]
    return [event | {"status": "failed", "code": code} | changes for event, code in zip(events, codes, strict=True)]


def judged(status: int, body: object = None, batch: list[Notice] = BATCH) -> Outcome:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return outgoing.judge(Answer(status=status, body=data), batch)


# -- what goes into a message ---------------------------------------------------------------------------------


def test_message_has_the_keys_that_neutron_sends_and_no_other() -> None:
    event = json.loads(outgoing.message([notice(1)]))
    with open("tests/samples/ml2ovs_nova_events.jsonl") as samples:
        captured = json.loads(samples.readline())["body"]
    assert event.keys() == captured.keys()
    assert event["events"][0] == captured["events"][0] | {"tag": A, "server_uuid": INSTANCE}


def test_a_vifs_events_go_one_after_the_other() -> None:
    waiting = [notice(1, A), notice(2, A, UNPLUGGED_EVENT), notice(3, B), notice(4, A)]
    assert [each.seq for each in outgoing.choose(waiting, 100, set(), set())] == [1, 3]


def test_a_vif_that_waits_keeps_back_all_that_comes_after() -> None:
    waiting = [notice(1, A), notice(2, A, UNPLUGGED_EVENT), notice(3, B)]
    assert [each.seq for each in outgoing.choose(waiting, 100, {A}, set())] == [3]


def test_size_is_held() -> None:
    waiting = [notice(number, f"vif-{number}") for number in range(500)]
    assert [each.seq for each in outgoing.choose(waiting, 3, {"vif-1"}, set())] == [0, 2, 3]


def test_what_spoils_a_message_goes_alone() -> None:
    assert [each.seq for each in outgoing.choose(BATCH, 100, set(), {A})] == [4]
    assert [each.seq for each in outgoing.choose(BATCH, 100, set(), {B})] == [4, 7]
    assert [each.seq for each in outgoing.choose(BATCH, 1, set(), {B, C})] == [4]


# -- what an answer means -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"\x00\xff", b'{"events": [', {"events": []}, {"events": echo(404, 404, 404)}])
@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_status_of_success_says_all(status: int, body: object) -> None:
    assert judged(status, body) == Outcome(done=frozenset({4, 5, 7}), is_taken=True)


def test_each_event_has_its_own_code() -> None:
    for body in (echo(200, 404, 422), list(reversed(echo(200, 404, 422)))):
        assert judged(207, {"events": body}) == Outcome(
            done=frozenset({4}), refused={5: "404"}, later={7: "422"}, is_taken=True
        )
    assert judged(207, {"events": echo(400, 503, 403)}) == Outcome(
        refused={4: "400"}, later={5: "503", 7: "403"}, is_taken=True
    )


def test_an_event_that_the_answer_leaves_out_is_sent_again() -> None:
    found = judged(207, {"events": [None, 5, *echo(200, "200", None)[:2]]})
    assert (found.done, found.refused, set(found.later)) == (frozenset({4}), {}, {5, 7})


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\xff\xfe", b"{", b"[]", b"null", b"9" * 5000, b"[" * 100_000, b'{"events": {}}', b'{"events": [7]}'),
        json.dumps({"events": echo(200, 200, 200)}).encode()[:-2],
        {"events": echo(200, 200, 200, tag=["x"])},
        {"events": echo("200", True, 200.0)},
        {"events": [{"code": 200}] * 3},
    ],
    ids=repr,
)
def test_codes_that_cannot_be_understood_take_nothing(body: object) -> None:
    found = judged(207, body)
    assert (found.done, found.refused, found.later, found.is_taken) == (frozenset(), {}, {}, False)
    assert "cannot be parsed" in found.failure


def test_novas_own_404_is_about_instances_and_any_other_about_the_path() -> None:
    body = {"itemNotFound": {"code": 404, "message": "No instances found for any event"}}
    found = judged(404, body)
    assert found.refused.keys() == {4, 5, 7}
    assert "No instances found for any event" in found.refused[4]
    assert found.is_taken
    for other in (b"404 Not Found", b"", {"message": "no Route matched"}, [{"itemNotFound": 1}]):
        assert not judged(404, other).refused
        assert judged(404, other).failure.startswith("it answered 404")


@pytest.mark.parametrize("status", [301, 307, 401, 403, 405, 407, 409, 429, 502, 503, 504, 599, 101, 999])
def test_what_says_nothing_of_the_events_is_tried_again(status: int) -> None:
    body = {"computeFault": {"code": status, "message": "try\n again"}}
    assert judged(status, body) == Outcome(failure=f"it answered {status} (try again)")


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_message_that_is_not_to_its_liking_is_split_down_to_the_one(status: int) -> None:
    assert judged(status) == Outcome(splits=True)
    body = {"badRequest": {"code": 400, "message": "Invalid input for field/attribute 0."}}
    found = judged(status, body, BATCH[:1])
    assert found == Outcome(refused={4: f"{status} (Invalid input for field/attribute 0.)"})


def test_an_event_that_makes_it_fail_is_found_but_never_given_up() -> None:
    found = judged(500, b"oops")
    assert found == outgoing.broken("it answered 500 (oops)", BATCH)
    assert (found.splits, found.failure, found.later) == (True, "it answered 500 (oops)", {})
    alone = judged(500, b"oops", BATCH[:1])
    assert (alone.splits, alone.refused, set(alone.later)) == (False, {}, {4})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["events", "code", "tag", "message"]), inner),
)


@given(st.integers(100, 999), st.binary() | JSON.map(lambda body: json.dumps(body).encode()))
def test_no_answer_loses_an_event_or_settles_it_twice(status: int, body: bytes) -> None:
    found = judged(status, body)
    assert not found.done & found.refused.keys()
    assert not (found.done | found.refused.keys()) & found.later.keys()
    if not found.is_taken:
        assert not found.done and not found.refused
        assert found.failure or found.splits
    assert len(found.failure) < 1000


# -- when -----------------------------------------------------------------------------------------------------


def longest(low: float, high: float) -> float:
    return high


def test_the_first_goes_at_once_and_the_next_after_the_interval() -> None:
    pace = Pace(2.0, longest)
    assert pace.due == 0.0
    pace.taken(100.0)
    assert pace.due == 102.0


def test_waits_grow_to_a_minute_and_are_forgotten_by_a_success() -> None:
    pace, now, waits = Pace(0.1), 0.0, []
    for _ in range(5000):
        pace.failed(now)
        waits.append(pace.due - now)
        now = pace.due
    assert 0.5 <= waits[0] <= 1
    assert all(30 <= wait <= 60.001 for wait in waits[10:])
    assert len({round(wait, 3) for wait in waits[10:]}) > 100, "hosts are not to come back together"
    pace.taken(now)
    assert pace.due - now == pytest.approx(0.1)


@pytest.mark.parametrize(("interval", "wait"), [(0.1, 1.0), (2.0, 2.0), (3600.0, WAIT_MAX_SECONDS)])
def test_a_try_again_keeps_the_interval_unless_that_is_very_long(interval: float, wait: float) -> None:
    pace = Pace(interval, longest)
    pace.failed(0.0)
    assert pace.due == wait


def test_what_the_endpoint_asks_for_is_heeded_within_bounds() -> None:
    pace = Pace(0.1, longest)
    pace.failed(0.0, asked=20.0)
    assert pace.due == 20.0
    pace.failed(100.0, asked=86400.0)
    assert pace.due == 100.0 + WAIT_MAX_SECONDS


def test_size_is_halved_and_comes_back() -> None:
    pace, sizes = Pace(0.1, longest), []
    for turn in range(6):
        pace.halve(float(turn), pace.size)
        sizes.append(pace.size)
    assert sizes == [50, 25, 12, 6, 3, 1]
    for turn in range(8):
        pace.taken(float(turn))
    assert pace.size == SIZE_MAX


def test_a_vif_waits_by_itself_ever_longer_and_no_more_once_it_is_over() -> None:
    waiting, now, waits = Waiting(longest), 0.0, []
    assert waiting.due_in(now) == float("inf")
    for turn in range(10):
        assert waiting.failed(A, now, alone=False) == (turn == 0)
        waits.append(waiting.due_in(now))
        assert waiting.held(now) == {A}
        now += waits[-1]
        assert waiting.held(now) == set()
    assert waits[:4] == [1, 2, 4, 8]
    assert max(waits) == WAIT_MAX_SECONDS
    assert waiting.alone == set()
    waiting.failed(A, now, alone=True)
    waiting.failed(A, now, alone=False)
    assert waiting.alone == {A}
    waiting.over(A)
    assert (waiting.held(now), waiting.alone) == (set(), set())
    waiting.failed(A, now, alone=True)
    waiting.failed(B, now, alone=True)
    waiting.over(A)
    assert waiting.alone == set(), "what one was suspected of was the endpoint's fault"
    waiting.failed(A, now, alone=True)
    waiting.keep_only([B])
    assert waiting.held(now) == set()
