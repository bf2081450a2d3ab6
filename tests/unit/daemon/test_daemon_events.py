"""The HTTP face of events: streamed, resumed, waited for."""

from __future__ import annotations

import asyncio
import json
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import builders
from tests.support.daemon.daemon_calls import READER, STRANGER, Daemon
from vifplug.daemon.http import event_stream, recent_events
from vifplug.daemon.http import events as event_routes
from vifplug.daemon.http.event_stream import Hub
from vifplug.errors import Busy, EventsLost
from vifplug.store import events as store_events

ID = builders.HYBRID
ONE = f"/v1/vifs/{ID}"
DOCUMENT = builders.vif().model_dump(mode="json", exclude_none=True)


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Daemon:
    return Daemon(tmp_path)


def parsed(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each one's id and name checked against what it says."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line and not line.startswith(":"))
        if "data" in lines:
            data = json.loads(lines["data"])
            assert (lines["id"], lines["event"]) == (str(data["seq"]), data["state"])
            found.append(data)
    return found


def kept(daemon: Daemon, query: str = "", **more: Any) -> list[tuple[int, str]]:
    answer = daemon.ask("GET", f"/v1/events?follow=false{query}", **more)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/event-stream")
    return [(event["seq"], event["state"]) for event in parsed(answer.body.decode())]


def test_what_is_kept_is_streamed_and_ends(daemon: Daemon) -> None:
    assert kept(daemon) == []
    daemon.ask("PUT", ONE, DOCUMENT)
    daemon.ask("DELETE", ONE)
    assert kept(daemon, uid=READER) == [(1, "plugged"), (2, "wired"), (3, "unplugged")]
    assert kept(daemon, "&since=1") == [(2, "wired"), (3, "unplugged")]
    assert kept(daemon, "&since=3") == []


def test_browser_says_in_a_header_where_it_was(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    assert kept(daemon, headers={"Last-Event-ID": "1"}) == [(2, "wired")]
    assert kept(daemon, "&since=0", headers={"Last-Event-ID": "1"}) == [(1, "plugged"), (2, "wired")]
    for wrong in ("x", "-1", "1.5", "9" * 30):
        refused = daemon.ask("GET", "/v1/events?follow=false", headers={"Last-Event-ID": wrong})
        assert (refused.status, refused.error) == (400, "InputError")


@pytest.mark.parametrize("query", ["since=-1", "since=x", "since=1e3", f"since={2**63}", "follow=maybe", "vif=1"])
def test_wrong_query_is_refused(daemon: Daemon, query: str) -> None:
    assert daemon.ask("GET", f"/v1/events?{query}").error == "InputError"


def test_events_that_are_gone_are_reported(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_events, "EVENTS_KEPT", 2)
    daemon.ask("PUT", ONE, DOCUMENT)
    daemon.ask("DELETE", ONE)
    daemon.ask("PUT", ONE, DOCUMENT)
    for since in (1, 6):
        refused = daemon.ask("GET", f"/v1/events?since={since}")
        assert (refused.status, refused.error) == (410, "EventsLost")
    assert kept(daemon) == [(4, "plugged"), (5, "wired")]


def test_stranger_follows_nothing(daemon: Daemon) -> None:
    assert daemon.ask("GET", "/v1/events", uid=STRANGER).status == 403
    assert daemon.ask("POST", "/v1/wait", {"ids": [ID], "for": "wired"}, uid=STRANGER).status == 403


def daemon_sequence(hub: Hub, since: int | None) -> int:
    """Where a follower begins."""
    return hub.log.sequence() if since is None else since


def follow(hub: Hub, since: int | None, deeds: list[Callable[[], object]], count: int) -> list[int]:
    """The numbers a follower gets while deeds are done in another thread, until it has so many."""

    async def run() -> list[int]:
        got: list[int] = []
        stream = await hub.stream(since, follow=True)
        assert await anext(stream) == f": id: {daemon_sequence(hub, since)}\n\n".encode()
        thread = threading.Thread(target=lambda: [deed() for deed in deeds])
        thread.start()
        async with asyncio.timeout(10):
            while len(got) < count:
                got += [event["seq"] for event in parsed((await anext(stream)).decode())]
        await stream.aclose()
        thread.join()
        return got

    return asyncio.run(run())


def test_follower_gets_what_comes_while_it_waits(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(event_stream, "_CHUNK", 2)
    deeds: list[Callable[[], object]] = []
    for _ in range(4):
        deeds += [
            lambda: daemon.host.plug([builders.vif()]),
            lambda: time.sleep(0.02),
            lambda: daemon.host.unplug([ID]),
        ]
    assert follow(daemon.hub, None, deeds, 12) == list(range(1, 13))
    assert follow(daemon.hub, 5, [], 7) == list(range(6, 13))
    assert follow(daemon.hub, None, deeds[:3], 3) == [13, 14, 15]


def test_followers_are_counted_and_bounded(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_FOLLOWERS_MAX", 1)

    async def run() -> None:
        stream = await daemon.hub.stream(None, follow=True)
        await anext(stream)
        assert b"vifplug_followers 1.0" in daemon.metrics.text()
        with pytest.raises(Busy):
            await daemon.hub.stream(None, follow=True)
        daemon.hub.close()
        assert [part async for part in stream] == [], "the daemon ends, and lets its followers go"
        assert b"vifplug_followers 0.0" in daemon.metrics.text()

    asyncio.run(run())


def test_follower_that_lost_events_is_let_go(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_events, "EVENTS_KEPT", 1)
    daemon.host.plug([builders.vif()])

    async def run() -> None:
        stream = await daemon.hub.stream(None, follow=True)
        await anext(stream)
        daemon.host.unplug([ID])
        daemon.host.plug([builders.vif()])
        assert [part async for part in stream] == []
        with pytest.raises(EventsLost):
            await daemon.hub.stream(1, follow=True)
        assert b"vifplug_followers 0.0" in daemon.metrics.text(), "who gets nothing takes no place"

    asyncio.run(run())


def many_events(daemon: Daemon, times: int) -> None:
    """Three of them each time."""
    for _ in range(times):
        daemon.host.plug([builders.vif()])
        daemon.host.unplug([ID])


async def numbers(stream: Any, count: int) -> tuple[list[int], int]:
    """The next events' numbers, and in how many parts they came."""
    got: list[int] = []
    parts = 0
    async with asyncio.timeout(10):
        while len(got) < count:
            found = parsed((await anext(stream)).decode())
            got, parts = [*got, *(event["seq"] for event in found)], parts + bool(found)
    return got, parts


def test_many_followers_cost_one_read_and_a_part_each(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    real = daemon.store.events

    def count(since: int, limit: int) -> Any:
        reads.append(since)
        return real(since, limit)

    async def run() -> None:
        streams = [await daemon.hub.stream(None, follow=True) for _ in range(40)]
        for stream in streams:
            await anext(stream)
        monkeypatch.setattr(daemon.store, "events", count)
        coming = [asyncio.create_task(numbers(stream, 15)) for stream in streams]
        await asyncio.sleep(0.05)  # each of them waits
        many_events(daemon, 5)
        assert await asyncio.gather(*coming) == [(list(range(1, 16)), 1)] * 40
        assert len(reads) <= 2
        daemon.hub.close()

    asyncio.run(run())


def test_follower_that_is_far_behind_misses_nothing(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_events, "KEPT", 4)
    monkeypatch.setattr(event_stream, "_CHUNK", 2)

    async def run() -> None:
        slow, quick = [await daemon.hub.stream(None, follow=True) for _ in range(2)]
        for end in range(3, 31, 3):
            many_events(daemon, 1)
            assert (await numbers(quick, 3))[0] == [end - 2, end - 1, end]
        assert (await numbers(slow, 30))[0] == list(range(1, 31))
        many_events(daemon, 4)
        for stream in (slow, quick):
            assert (await numbers(stream, 12))[0] == list(range(31, 43)), "more at once than are kept"
        daemon.hub.close()

    asyncio.run(run())


def test_recent_events_are_those_of_the_store_or_none(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_events, "KEPT", 4)
    known = recent_events.Recent(daemon.store)
    for turn in range(1, 20):
        many_events(daemon, turn % 2)
        known.catch_up(turn)
        newest = daemon.store.sequence()
        assert known.newest == newest
        for since in range(newest + 2):
            found = known.after(since, 3)
            if found is not None:
                assert [each.event for each in found] == daemon.store.events(since, 3)
        assert known.after(newest, 3) == [] and known.after(newest + 1, 3) is None
        assert known.after(newest - 1, 3)


def test_place_is_taken_before_anything_is_waited_for(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_FOLLOWERS_MAX", 3)

    async def run() -> None:
        coming = (daemon.hub.stream(None, follow=True) for _ in range(10))
        found = await asyncio.gather(*coming, return_exceptions=True)
        assert sum(isinstance(item, Busy) for item in found) == 7
        for item in found:
            if isinstance(item, event_stream.Stream):
                item.leave()  # it never began
                item.leave()
        assert b"vifplug_followers 0.0" in daemon.metrics.text()
        (await daemon.hub.stream(None, follow=True)).leave()

    asyncio.run(run())


def test_one_user_does_not_take_every_place_and_root_has_its_own(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_FOLLOWERS_MAX", 6), ("_KEPT_FOR_ROOT", 2), ("_FOLLOWERS_OF_A_USER", 3)):
        monkeypatch.setattr(event_stream, name, value)

    async def let_in(uid: int) -> int:
        streams = [daemon.hub.stream(None, follow=True, uid=uid) for _ in range(7)]
        found = await asyncio.gather(*streams, return_exceptions=True)
        return sum(isinstance(item, event_stream.Stream) for item in found)

    async def run() -> None:
        assert [await let_in(uid) for uid in (READER, STRANGER, 0)] == [3, 1, 2]

    asyncio.run(run())


def test_follower_behind_is_let_go_when_the_daemon_ends(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "_CHUNK", 1)
    many_events(daemon, 4)

    async def run() -> None:
        stream = await daemon.hub.stream(1, follow=True)
        await anext(stream)
        daemon.hub.close()
        assert len([part async for part in stream]) == 1, "of eleven"

    asyncio.run(run())


def test_metrics_count_events_by_state(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    daemon.ask("DELETE", ONE)
    text = daemon.ask("GET", "/metrics").body.decode()
    for state in ("plugged", "wired", "unplugged"):
        assert f'vifplug_events_total{{state="{state}"}} 1.0' in text


# -- wait -----------------------------------------------------------------------------------------------------


def waited(daemon: Daemon, state: str, timeout: float = 0, ids: list[str] | None = None) -> Any:
    answer = daemon.ask("POST", "/v1/wait", {"ids": [ID] if ids is None else ids, "for": state, "timeout": timeout})
    assert answer.status == 200, answer.body
    return answer.json


def test_wait_is_over_at_once_for_what_is_reached(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    item = {"id": ID, "state": "wired", "error": None, "waits_for": None}
    assert waited(daemon, "wired", 30) == {"reached": True, "vifs": [item], "warnings": []}
    assert waited(daemon, "active", ids=[]) == {"reached": True, "vifs": [], "warnings": []}


def test_wait_says_what_is_missing(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    answer = waited(daemon, "active", 0.1)
    assert not answer["reached"]
    assert answer["vifs"][0]["state"] == "wired" and "tap71a6b0e4-1a" in answer["vifs"][0]["waits_for"]
    assert waited(daemon, "wired", ids=[builders.TAP])["vifs"][0]["state"] == "absent"


def test_wait_ends_when_the_state_comes(daemon: Daemon) -> None:
    threading.Timer(0.1, lambda: daemon.host.plug([builders.vif()])).start()
    deadline = time.monotonic() + 5
    while not waited(daemon, "wired", 5)["reached"]:  # answered now and then while it is not plugged
        assert time.monotonic() < deadline


def test_wait_hears_of_its_own_vifs_only(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[object] = []
    real = event_routes._look

    def look(request: Any, output: Any) -> Any:
        looks.append(output)
        return real(request, output)

    monkeypatch.setattr(event_routes, "_look", look)
    daemon.ask("PUT", ONE, DOCUMENT)
    other = builders.vif("ovs")
    threading.Timer(
        0.1, lambda: [daemon.host.plug([other]) and daemon.host.unplug([other.id]) for _ in range(5)]
    ).start()
    assert not waited(daemon, "active", 0.5)["reached"]
    assert len(looks) == 2, "once, and once more when time was over"


def test_wait_ends_early_when_one_fails(daemon: Daemon) -> None:
    daemon.ask("PUT", ONE, DOCUMENT)
    with daemon.store._transaction() as connection:
        connection.execute("UPDATE records SET body = 'rubbish'")
    began = time.monotonic()
    answer = waited(daemon, "wired", 20)
    assert (answer["reached"], answer["vifs"][0]["state"]) == (False, "failed")
    assert "damaged" in answer["vifs"][0]["error"] and time.monotonic() - began < 10


@pytest.mark.parametrize(
    "body",
    [
        {"ids": [ID]},
        {"ids": [ID], "for": "plugging"},
        {"ids": ID, "for": "wired"},
        {"ids": ["x"], "for": "wired"},
        {"ids": [ID], "for": "wired", "timeout": 61},
        {"ids": [ID], "for": "wired", "timeout": -1},
        {"ids": [ID], "for": "wired", "timeout": "1"},
        {"ids": [ID], "for": "wired", "seconds": 1},
        [ID],
    ],
)
def test_wrong_wait_is_refused(daemon: Daemon, body: Any) -> None:
    assert daemon.ask("POST", "/v1/wait", body).error == "InputError"
