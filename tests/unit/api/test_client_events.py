"""The client's events and waits against a real small server that breaks off, lies, is silent, or goes away."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import threading
import time
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.daemon import scripted_daemon
from tests.support.daemon.scripted_daemon import (
    Conversation,
    Script,
    Turn,
    answer,
    chunk,
    problem,
    served,
    streamed,
    text,
)
from vifplug import errors
from vifplug.api import follow as following
from vifplug.api import sse
from vifplug.api.follow import Choice, of_log
from vifplug.api.remote import DaemonHost
from vifplug.model.events import Event, Waited, WaitReport
from vifplug.model.reports import VifReport

VIF_ID = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
WIRED = {"reached": True, "vifs": [{"id": VIF_ID, "state": "wired", "error": None, "waits_for": None}], "warnings": []}
PLUGGED = {
    "reached": False,
    "vifs": [{"id": VIF_ID, "state": "plugged", "error": None, "waits_for": "OVN to set ovn-installed"}],
    "warnings": ["beware"],
}
VIF = VifReport(id=VIF_ID, state="plugged", mtu=1450)


def event(seq: int) -> Event:
    return Event(seq=seq, vif_id=VIF_ID, state="wired", previous="plugged", time="2026-11-21T07:36:29+00:00")


def frame(seq: int) -> bytes:
    return f"id: {seq}\nevent: wired\ndata: {json.dumps(event(seq).as_json() | {'new': 'key'})}\n\n".encode()


def frames(*seqs: int) -> bytes:
    return b"".join(map(frame, seqs))


def cut(*parts: bytes) -> Turn:
    """A stream that breaks off."""

    def turn(conversation: Conversation) -> bytes:
        conversation.wfile.write(streamed(*parts, ended=False))
        return b""

    return turn


def seqs(found: Iterator[Event], count: int) -> list[int]:
    return [each.seq for each in itertools.islice(found, count)]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Script]:
    with served(str(tmp_path / "s"), answer(PLUGGED)) as script:
        yield script


@pytest.fixture
def host(daemon: Script) -> Iterator[DaemonHost]:
    with vifplug.connect(daemon.path) as host:
        yield host


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_FIRST_SECONDS", 0.005)
    monkeypatch.setattr(following, "_LONGEST_SECONDS", 0.02)


# Events


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ({}, "/v1/events?follow=false"),
        ({"since": 0}, "/v1/events?follow=false&since=0"),
        ({"since": 7, "follow": True}, "/v1/events?follow=true&since=7"),
        ({"follow": True}, "/v1/events?follow=true"),
    ],
)
def test_events_are_asked_for_as_the_library_is(
    host: DaemonHost, daemon: Script, asked: dict[str, Any], target: str
) -> None:
    daemon.turns = [streamed(b": after 7\n\n", frames(8, 9))]
    assert list(itertools.islice(host.events(**asked), 2)) == [event(8), event(9)]
    assert (daemon.asked[0].method, daemon.asked[0].target) == ("GET", target)


@pytest.mark.parametrize("since", [-1, 1.5, "7", True])
def test_since_must_be_a_number(host: DaemonHost, daemon: Script, since: Any) -> None:
    with pytest.raises(errors.InputError, match="is not an event number"):
        host.events(since)
    with pytest.raises(errors.InputError, match="is not an event number"):
        of_log(Kept(), Choice(since=since))
    assert daemon.asked == []


def test_stream_is_asked_for_at_once(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [streamed(frames(1))]
    found = host.events(follow=True)
    assert len(daemon.asked) == 1, "from now on is from this call on, not from the first look at its result"
    assert next(found) == event(1)


def test_nothing_has_happened(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [streamed(b": nothing\n\n")]
    assert list(host.events()) == []
    daemon.turns = [streamed()]
    assert list(host.events()) == []


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 10**6])
def test_stream_is_the_same_however_it_is_cut_into_parts(host: DaemonHost, daemon: Script, size: int) -> None:
    whole = (b": after 7\r\n\r\n" + frames(8, 9) + b": x\n\n" + frames(10)).replace(b"\nid", b"\n\nid", 1)
    parts = [whole[place : place + size] for place in range(0, len(whole), size)]
    daemon.turns = [streamed(*parts)]
    assert [each.seq for each in host.events()] == [8, 9, 10]


def test_follower_goes_on_where_it_was_cut_off(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [
        cut(frames(5, 6)),
        cut(frame(7), frame(8)[:-1]),  # one that did not come whole has not come
        cut(),
        b"",
        cut(frames(7, 8, 9)),  # a daemon that is not exact makes no duplicates here
        streamed(frames(10)),
        cut(frames(11)),
    ]
    assert seqs(host.events(4, follow=True), 7) == [5, 6, 7, 8, 9, 10, 11]
    since = [each.target.rpartition("=")[2] for each in daemon.asked]
    assert since == ["4", "6", "7", "7", "7", "9", "10"]


def test_follower_from_now_on_knows_where_that_was(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [cut(b"id: 41\n\n"), cut(frames(42))]
    assert seqs(host.events(follow=True), 1) == [42]
    assert [each.target for each in daemon.asked] == ["/v1/events?follow=true", "/v1/events?follow=true&since=41"]


def test_follower_outlives_the_daemon(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as first:
        daemon = first.enter_context(served(path, cut(frames(1, 2))))
        with vifplug.connect(path) as host:
            found = host.events(0, follow=True)
            assert seqs(found, 2) == [1, 2]
            heard: list[int] = []
            follower = threading.Thread(target=lambda: heard.extend(seqs(found, 2)))
            daemon.hang_up()
            first.close()
            Path(path).unlink()
            follower.start()
            time.sleep(0.1)
            with served(path, cut(frames(3, 4))) as another:
                follower.join(5)
                assert heard == [3, 4]
                assert another.asked[0].target.endswith("since=2")


def test_events_that_are_lost_end_it(host: DaemonHost, daemon: Script) -> None:
    lost = problem("EventsLost", "events after 2 are not kept any more", status=410, subject="2")
    daemon.turns = [lost]
    for follow in (False, True):
        with pytest.raises(errors.EventsLost, match="not kept any more"):
            host.events(2, follow=follow)
    daemon.turns = [cut(frames(3)), lost]
    found = host.events(2, follow=True)
    assert next(found).seq == 3
    with pytest.raises(errors.EventsLost):
        next(found)


@pytest.mark.parametrize("kind", ["NotPermitted", "StoreError"])
def test_refusal_ends_it(host: DaemonHost, daemon: Script, kind: str) -> None:
    daemon.turns = [cut(frames(3)), problem(kind, "no", status=403)]
    found = host.events(2, follow=True)
    assert next(found).seq == 3
    with pytest.raises(errors.VifplugError, match=r"^no$"):
        next(found)


def test_daemon_that_has_no_room_is_asked_again(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [cut(frames(3)), problem("Busy", "256 follow already", status=503), cut(frames(4))]
    assert seqs(host.events(2, follow=True), 2) == [3, 4]


def test_without_following_a_stream_that_breaks_off_is_an_error(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [cut(frames(3))]
    found = host.events(2)
    assert next(found).seq == 3
    with pytest.raises(errors.DaemonUnreachable, match="ended before it answered"):
        next(found)


_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@pytest.mark.parametrize(
    "said",
    [
        answer({"events": []}),
        text(b"<html>"),
        text(b"", 200),
        b"SSH-2.0-OpenSSH_9.2\r\n",
        streamed(b"data: x\n\n"),
        streamed(b"data: []\n\n"),
        streamed(b"data: {}\n\n"),
        streamed(b'data: {"seq": "x", "vif_id": "", "state": "", "time": ""}\n\n'),
        streamed(b'data: {"seq": null, "vif_id": "", "state": "", "time": ""}\n\n'),
        streamed(b"id: seven\n\n"),
        streamed(b"data: " + b"[" * 100_000 + b"\n\n"),
        streamed(b"data: \xff\xfe\n\n"),
        streamed(b"x" * (2**20 + 1)),
        streamed(b"data: x\n" * 2**18),
    ],
)
@pytest.mark.parametrize("follow", [False, True])
def test_stream_of_something_else_is_named(host: DaemonHost, daemon: Script, said: bytes, follow: bool) -> None:
    def turn(conversation: Conversation) -> bytes:
        conversation.wfile.write(said)
        return b""

    daemon.turns = [turn]
    with pytest.raises(errors.DaemonUnreachable, match="is not vifplugd of this version"):
        list(host.events(0, follow=follow))


def test_stream_by_length_that_is_cut_is_noticed(host: DaemonHost, daemon: Script) -> None:
    def turn(conversation: Conversation) -> bytes:
        conversation.wfile.write(_STREAM + b"content-length: 9999\r\n\r\n" + frames(1))
        return b""

    daemon.turns = [turn]
    found = host.events(0)
    assert next(found).seq == 1
    with pytest.raises(errors.DaemonUnreachable, match="ended before it answered"):
        next(found)


def test_silence_is_the_end_of_a_stream_and_a_heartbeat_is_not(
    host: DaemonHost, daemon: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_SILENT_SECONDS", 0.6)

    def beating(conversation: Conversation) -> bytes:
        conversation.wfile.write(streamed(frames(1), ended=False))
        for _ in range(6):
            time.sleep(0.1)
            conversation.wfile.write(chunk(b": nothing new\n\n"))
        conversation.wfile.write(chunk(frames(2)))
        time.sleep(5)
        return b""

    daemon.turns = [beating, cut(frames(3))]
    began = time.monotonic()
    assert seqs(host.events(0, follow=True), 3) == [1, 2, 3]
    assert 1.1 <= time.monotonic() - began < 4
    assert [each.target.rpartition("=")[2] for each in daemon.asked] == ["0", "2"]


def test_daemon_that_hangs_is_tried_again(host: DaemonHost, daemon: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_SILENT_SECONDS", 0.1)

    def hangs(_: Conversation) -> bytes:
        time.sleep(0.5)
        return b""

    daemon.turns = [cut(frames(1)), hangs, cut(frames(2))]
    assert seqs(host.events(0, follow=True), 2) == [1, 2]


def test_closing_the_connection_ends_a_follower_in_another_thread(daemon: Script) -> None:
    released = threading.Event()

    def quiet(conversation: Conversation) -> bytes:
        conversation.wfile.write(streamed(frames(1), ended=False))
        released.wait(5)
        return b""

    daemon.turns = [quiet]
    heard: list[int] = []
    with vifplug.connect(daemon.path) as host:
        found = host.events(0, follow=True)

        def follow() -> None:
            for each in found:
                heard.append(each.seq)

        follower = threading.Thread(target=follow)
        follower.start()
        while not heard:
            time.sleep(0.01)
    follower.join(2)
    released.set()
    assert not follower.is_alive()
    assert heard == [1]


def test_events_without_a_reader_leave_nothing_open(daemon: Script) -> None:
    daemon.turns = [streamed(frames(1))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with vifplug.connect(daemon.path) as host:
            host.events(0)
            each = host.events(0, follow=True)
            next(each)
            del each
            gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_first_call_must_reach_the_daemon(host: DaemonHost, daemon: Script) -> None:
    daemon.hang_up()
    daemon.turns = [b""]
    with pytest.raises(errors.DaemonUnreachable):
        host.events(follow=True)


def test_frames() -> None:
    parser = sse.Parser()
    assert parser.feed(b"retry: 5\n\nid: 1\ndata: a\ndata:b\n\n\n\n: c\ndata\nid\n\nid: 2\n") == [
        sse.Frame("1", "a\nb"),
        sse.Frame("", ""),
    ]
    assert parser.feed(b"\n") == [sse.Frame("2", "")]


# Events in this process


class Kept:
    """A log with a page's size of its own."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.asked: list[int] = []

    def sequence(self) -> int:
        return max(self.numbers, default=0)

    def oldest(self) -> int:
        return min(self.numbers, default=self.sequence() + 1) - 1

    def events(self, since: int, limit: int) -> list[Event]:
        self.asked.append(since)
        if since < self.oldest():
            raise errors.EventsLost("gone", str(since))
        return [event(seq) for seq in self.numbers if seq > since][:3]

    def before(self, time: str) -> int:
        return self.oldest()

    def events_of(self, vif_ids: Collection[str], since: int) -> tuple[list[Event], int]:
        return [event(seq) for seq in self.numbers if seq > since], self.sequence()


def test_log_is_read_page_by_page() -> None:
    log = Kept(*range(5, 13))
    assert [each.seq for each in of_log(log, Choice())] == list(range(5, 13))
    assert [each.seq for each in of_log(log, Choice(since=9))] == [10, 11, 12]
    assert list(of_log(Kept(), Choice())) == []


def test_log_that_has_lost_some_says_so_at_once() -> None:
    with pytest.raises(errors.EventsLost):
        of_log(Kept(5, 6), Choice(since=3))


def test_log_is_followed() -> None:
    log, naps = Kept(1, 2), []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        log.numbers.append(log.sequence() + 1)

    found = of_log(log, Choice(follow=True), sleep=sleep)
    log.numbers.append(3)
    assert seqs(found, 3) == [3, 4, 5]
    assert naps == [0.2, 0.2], "from now on is from the call on, and nobody sleeps while there are some"


# Waiting


def test_wait_asks_the_daemon_to_wait(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [answer(PLUGGED), answer(PLUGGED), answer(WIRED), answer(VIF.as_json())]
    (found,) = host.wait([VIF_ID], "wired", timeout=100)
    assert (found.state, found.mtu) == ("wired", 1450)
    posts = [each.document for each in daemon.asked if each.method == "POST"]
    assert {each.target for each in daemon.asked} == {"/v1/wait", f"/v1/vifs/{VIF_ID}"}
    assert [(each["ids"], each["for"]) for each in posts] == [([VIF_ID], "wired")] * 3
    assert all(0 < each["timeout"] <= 60 for each in posts)


def test_look_does_not_wait(host: DaemonHost, daemon: Script) -> None:
    report = host.look([VIF_ID], "active")
    waited = Waited(id=VIF_ID, state="plugged", waits_for="OVN to set ovn-installed")
    assert report == WaitReport(reached=False, vifs=(waited,))
    assert daemon.asked[0].document == {"ids": [VIF_ID], "for": "active", "timeout": 0}
    assert host.warnings == ["beware"]
    with pytest.raises(errors.InputError):
        host.look([VIF_ID], "gone")


def test_wait_that_is_over_names_what_is_waited_for(host: DaemonHost) -> None:
    with pytest.raises(errors.NotReached, match="is plugged, not wired, and waits for OVN to set ovn-installed"):
        host.wait([VIF_ID], timeout=0.2)


def test_wait_outlives_the_daemon(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with vifplug_after(path, 0.3, answer(WIRED), answer(VIF.as_json())) as host:
        assert host.wait([VIF_ID], timeout=5)[0].state == "wired"


def test_expect_outlives_the_daemon(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with vifplug_after(path, 0.3, answer(WIRED), answer(VIF.as_json())) as host, host.expect([VIF_ID], timeout=5):
        pass


@contextlib.contextmanager
def vifplug_after(path: str, seconds: float, *turns: Turn) -> Iterator[DaemonHost]:
    """A host whose daemon has just gone; another comes in some time."""
    over = threading.Event()

    def come() -> None:
        time.sleep(seconds)
        with served(path, *turns):
            over.wait(10)

    with served(path, answer(PLUGGED)), vifplug.connect(path) as host:
        pass
    with served(path + "2", b""):
        Path(path + "2").rename(path)
        with vifplug.connect(path) as host:
            Path(path).unlink()
            another = threading.Thread(target=come)
            another.start()
            try:
                yield host
            finally:
                over.set()
                another.join()


def test_wait_for_a_daemon_that_never_comes_back_is_over_in_time(daemon: Script) -> None:
    with vifplug.connect(daemon.path) as host:
        Path(daemon.path).unlink()
        daemon.hang_up()
        began = time.monotonic()
        with pytest.raises(errors.NotReached, match=r"is not known to be wired; .* no daemon answers on socket"):
            host.wait([VIF_ID], timeout=0.5)
        assert 0.5 <= time.monotonic() - began < 4


def test_wait_for_a_daemon_that_hangs_is_over_in_time(
    host: DaemonHost, daemon: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vifplug.api.calls._WAIT_SPARE_SECONDS", 0.2)

    def hangs(_: Conversation) -> bytes:
        time.sleep(6)
        return b""

    daemon.turns = [hangs]
    began = time.monotonic()
    with pytest.raises(errors.NotReached, match="does not answer, within"):
        host.wait([VIF_ID], timeout=0.3)
    assert time.monotonic() - began < 5


def test_daemon_that_knows_no_waiting_is_reported(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [scripted_daemon.answer({"detail": "'/v1/wait' is no path of this API"}, 404)]
    with pytest.raises(errors.VifplugError, match="is no path of this API"):
        host.wait([VIF_ID])


@pytest.mark.parametrize("said", [{}, {"reached": True}, {"reached": False, "vifs": [{}]}, {"vifs": None}])
def test_answer_that_is_another_is_never_taken_for_reached(host: DaemonHost, daemon: Script, said: Any) -> None:
    daemon.turns = [answer(said)]
    with pytest.raises(errors.NotReached, match="is not vifplugd of this version"):
        host.wait([VIF_ID], timeout=0.1)
