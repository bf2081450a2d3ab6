"""The notifier against real servers that answer well, badly, slowly, or not at all: nothing lost, nothing twice."""

from __future__ import annotations

import collections
import contextlib
import logging
import pathlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from tests.support import builders
from tests.support.daemon import nova_endpoint
from tests.support.daemon.nova_endpoint import (
    Behaviour,
    Key,
    Received,
    answering,
    hanging_up,
    ok,
    per_event,
    sending,
    trickling,
    whole,
)
from vifplug.config.options import Settings
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.nova import http_post as http
from vifplug.daemon.nova import rate
from vifplug.daemon.nova import sender as notifier
from vifplug.daemon.nova.http_post import Endpoint, NoAnswer
from vifplug.daemon.nova.sender import Notifier
from vifplug.errors import StoreError
from vifplug.store import records
from vifplug.store.events import PLUGGED_EVENT, UNPLUGGED_EVENT, Notice
from vifplug.store.records import Record
from vifplug.store.store import Store

INTERVAL = 0.02
ANSWER_SECONDS = 0.3
STOP_SECONDS = 2.0
UNKNOWN = b'{"itemNotFound": {"code": 404, "message": "No instances found for any event"}}'


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_WAIT_FIRST_SECONDS", 0.02)
    monkeypatch.setattr(http, "_DRAIN_SECONDS", 0.2)


@pytest.fixture
def store(tmp_path: pathlib.Path) -> Iterator[Store]:
    with contextlib.closing(Store(str(tmp_path / "state"), "no-such-user", notifies=True)) as store:
        yield store


@pytest.fixture
def nova() -> Iterator[nova_endpoint.Endpoint]:
    with nova_endpoint.Endpoint() as nova:
        yield nova


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "vifplug")
    return caplog


def vif_id(number: int) -> str:
    return f"{number:08x}-1a1b-4fd9-8f4a-7cab3f9a425b"


def wire(store: Store, *numbers: int) -> list[Key]:
    """These VIFs are wired; what Nova is to be told of it."""
    for number in numbers:
        vif = builders.vif(id=vif_id(number), instance={"uuid": builders.INSTANCE})
        store.save_records([Record(vif=vif, resources=(), state="wired", updated_at=records.now())])
    return [(vif_id(number), PLUGGED_EVENT) for number in numbers]


def unplug(store: Store, *numbers: int) -> list[Key]:
    store.forget([vif_id(number) for number in numbers])
    return [(vif_id(number), UNPLUGGED_EVENT) for number in numbers]


class Sender:
    """A notifier at work, and what it counts."""

    def __init__(self, outbox: notifier.Outbox, url: str, *, interval: float = INTERVAL, token: str = "") -> None:
        self.metrics = Metrics()
        settings = Settings(notify_url=url, notify_token=token, notify_interval=interval)
        way = Endpoint(url, token, connect=ANSWER_SECONDS, answer=ANSWER_SECONDS)
        self.notifier = Notifier(outbox, settings, self.metrics, way)

    def __enter__(self) -> Sender:
        self.notifier.start()
        return self

    def __exit__(self, *_error: object) -> None:
        began = time.monotonic()
        self.notifier.stop(STOP_SECONDS)
        assert time.monotonic() - began < STOP_SECONDS + 2
        assert not self.notifier._thread.is_alive()

    def count(self, result: str) -> float:
        return self.metrics.registry.get_sample_value("vifplug_notifications_total", {"result": result}) or 0.0

    @property
    def queued(self) -> float | None:
        return self.metrics.registry.get_sample_value("vifplug_notifications_queued")


def until(condition: Callable[[], object], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.005)


def empty(store: Store) -> Callable[[], bool]:
    return lambda: store.outbox_counts()[0] == 0


# -- when all is well -----------------------------------------------------------------------------------------


def test_the_first_event_goes_at_once_and_what_follows_goes_together(
    store: Store, nova: nova_endpoint.Endpoint
) -> None:
    with Sender(store, nova.url, interval=2) as sender:
        time.sleep(0.05)
        keys = wire(store, 1)
        began = time.monotonic()
        sender.notifier.wake()
        until(lambda: nova.taken == keys)
        assert time.monotonic() - began < 1.5
        for number in range(2, 12):
            keys += wire(store, number)
            sender.notifier.wake()
        until(empty(store))
        assert nova.taken == keys
        assert [len(one.events) for one in nova.received] == [1, 10]
        assert nova.received[1].at - nova.received[0].at >= 2
        until(lambda: sender.queued == 0)
        assert (sender.count("delivered"), sender.count("refused"), sender.count("retried")) == (11, 0, 0)


def test_request_is_the_one_that_neutron_sends(store: Store, nova: nova_endpoint.Endpoint) -> None:
    wire(store, 1)
    with Sender(store, nova.url + "?a=b%20c", token="s3cret"):
        until(empty(store))
    (request,) = nova.received
    assert request.target == "/v2.1/os-server-external-events?a=b%20c"
    assert request.events == [
        {"name": PLUGGED_EVENT, "server_uuid": builders.INSTANCE, "status": "completed", "tag": vif_id(1)}
    ]
    assert request.headers["X-OpenStack-Nova-API-Version"] == "2.1"
    assert request.headers["X-Auth-Token"] == "s3cret"
    assert request.headers["Content-Type"] == request.headers["Accept"] == "application/json"
    assert request.headers["X-OpenStack-Request-ID"].startswith("req-")
    assert request.headers["User-Agent"].startswith("vifplug")
    assert request.headers["Host"] == f"127.0.0.1:{nova.port}"


def test_no_token_no_header(store: Store, nova: nova_endpoint.Endpoint) -> None:
    wire(store, 1)
    with Sender(store, nova.url):
        until(empty(store))
    assert "X-Auth-Token" not in nova.received[0].headers


def test_it_needs_no_wake_up(store: Store, nova: nova_endpoint.Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "_POLL_SECONDS", 0.1)
    with Sender(store, nova.url):
        time.sleep(0.05)
        wire(store, 1)
        until(empty(store))


def test_many_events_of_many_threads_go_in_bounded_messages_in_order(
    store: Store, nova: nova_endpoint.Endpoint
) -> None:
    def flap(first: int) -> None:
        for number in range(first, first + 60):
            wire(store, number)
            sender.notifier.wake()
            unplug(store, number)
            sender.notifier.wake()

    with Sender(store, nova.url, interval=0.01) as sender:
        threads = [threading.Thread(target=flap, args=(1000 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(empty(store))
    assert set(collections.Counter(nova.taken).values()) == {1}
    assert len(nova.taken) == 480
    by_vif: dict[str, list[str]] = {}
    for tag, name in nova.taken:
        by_vif.setdefault(tag, []).append(name)
    assert all(names == [PLUGGED_EVENT, UNPLUGGED_EVENT] for names in by_vif.values())
    assert max(len(one.events) for one in nova.received) <= rate.SIZE_MAX


# -- whatever the endpoint does -------------------------------------------------------------------------------

OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
NOT_TAKEN: dict[str, Behaviour] = {
    "hangs up": hanging_up,
    "says nothing": sending(b"", then=3 * ANSWER_SECONDS),
    "garbage": sending(b"\x00\xffSSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" * 50),
    "a status line without end": sending(b"HTTP/1.1 2" + b"0" * 200_000),
    "a status a byte at a time": trickling(b"HTTP/1.1 200 OK\r\n\r\n", 0.1),
    "no status but headers": sending(b"Content-Length: 0\r\n\r\n"),
    "continue for ever": sending(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000, then=3 * ANSWER_SECONDS),
    "too many headers": sending(b"HTTP/1.1 503 No\r\n" + b"a: b\r\n" * 5000 + b"\r\n"),
    "redirect": answering(307, b"", "Location: http://127.0.0.1:1/"),
    "unauthorized": answering(401, b'{"error": {"message": "no such token"}}'),
    "forbidden": answering(403),
    "wrong path": answering(404, b"404 Not Found"),
    "too many requests": answering(429, b"", "Retry-After: 0"),
    "a bad Retry-After": answering(503, b"", "Retry-After: \xb2soon"),
    "server error": answering(500, b"<html>" * 1000),
    "bad gateway": sending(b"HTTP/1.0 502 Bad Gateway\r\n\r\n"),
    "multi-status with garbage": answering(207, b"\x1f\x8b\x08\x00garbage"),
    "multi-status cut short": sending(whole(207, b'{"events": [{"code": 200}]}')[:-9]),
    "multi-status a byte at a time": trickling(whole(207, b'{"events": [{"code": 200}]}'), 0.02),
    "multi-status with a chunk that is none": sending(
        b"HTTP/1.1 207 Multi-Status\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n"
    ),
    "multi-status of a terabyte": sending(
        b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 1000000000000\r\n\r\n" + b" " * 2**21, then=3 * ANSWER_SECONDS
    ),
}
TAKEN: dict[str, Behaviour] = {
    "closes in mid-body": sending(OK_HEAD + b'{"events": [', takes=True),
    "garbage for a body": answering(200, b"\x00\xff\x00"),
    "a body that never comes": sending(OK_HEAD, takes=True, then=3 * ANSWER_SECONDS),
    "a body a byte at a time": trickling(whole(200, b" " * 1000), 0.001, takes=True),
    "a body without end": sending(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 2**21, takes=True),
    "chunks that are none": sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n", takes=True),
    "headers a byte at a time": trickling(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 90, 0.002, takes=True),
    "too many headers": sending(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 5000 + b"\r\n", takes=True),
    "closes in mid-headers": sending(b"HTTP/1.1 200 OK\r\nContent-Le", takes=True),
    "a continue before it": sending(b"HTTP/1.1 100 Continue\r\n\r\n" + whole(200, b""), takes=True),
    "an old protocol": sending(b"HTTP/1.0 200\r\n\r\n", takes=True),
}


@pytest.mark.parametrize("how", NOT_TAKEN)
def test_what_was_not_taken_is_sent_again_and_taken_once(
    store: Store, nova: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture, how: str
) -> None:
    nova.script = [NOT_TAKEN[how]] * 2
    keys = wire(store, 1, 2, 3)
    with Sender(store, nova.url) as sender:
        until(empty(store))
    assert sorted(nova.taken) == keys
    assert 3 <= len(nova.received) <= 6
    assert sender.count("delivered") == 3
    assert sender.count("retried") >= 4
    assert sender.count("refused") == 0
    assert "could not send" not in said.text


@pytest.mark.parametrize("how", TAKEN)
def test_after_a_200_nothing_is_sent_again(
    store: Store, nova: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture, how: str
) -> None:
    nova.script = [TAKEN[how]]
    keys = wire(store, 1, 2)
    with Sender(store, nova.url) as sender:
        until(empty(store), 2 * ANSWER_SECONDS)
        later = wire(store, 3)
        sender.notifier.wake()
        until(lambda: empty(store)() and nova.taken[-1:] == later)
        time.sleep(3 * INTERVAL)
    assert sorted(nova.taken) == sorted(keys + later)
    assert len(nova.received) == 2
    assert (sender.count("delivered"), sender.count("retried")) == (3, 0)
    assert said.records == []


def test_an_endpoint_that_is_down_gets_it_all_once_it_is_there(store: Store, said: pytest.LogCaptureFixture) -> None:
    with nova_endpoint.Endpoint() as gone:
        port = gone.port
    keys = wire(store, *range(1, 6))
    with Sender(store, gone.url, token="s3cret") as sender:
        until(lambda: sender.count("retried") >= 15)
        assert sender.queued == 5
        keys += wire(store, 6)
        with nova_endpoint.Endpoint(port=port) as nova:
            nova.script = [answering(401), hanging_up, sending(b"nonsense")]
            until(empty(store))
            until(lambda: "accepts events again" in said.text)
    assert sorted(nova.taken) == keys
    lines = [(one.levelname, one.getMessage()) for one in said.records]
    assert [level for level, _text in lines] == ["WARNING", "INFO"], lines
    assert "Connection refused" in lines[0][1]
    assert gone.url in lines[0][1]
    assert "s3cret" not in said.text


def test_each_outage_is_logged_again(
    store: Store, nova: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture
) -> None:
    with Sender(store, nova.url) as sender:
        for number in range(1, 4):
            nova.script = [answering(503, b"maintenance")] * 2
            wire(store, number)
            sender.notifier.wake()
            until(lambda: empty(store)() and said.text.count("accepts events again") == number)  # noqa: B023
    assert said.text.count("does not accept events: it answered 503 (maintenance)") == 3


# -- codes for each event -------------------------------------------------------------------------------------


def test_one_404_among_many_is_refused_for_good(
    store: Store, nova: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture
) -> None:
    nova.behaviour = per_event(lambda event: 404 if event["tag"] == vif_id(2) else 200)
    wire(store, 1, 2, 3)
    with Sender(store, nova.url) as sender:
        until(empty(store))
        time.sleep(3 * INTERVAL)
        assert nova.taken == [(vif_id(1), PLUGGED_EVENT), (vif_id(3), PLUGGED_EVENT)]
        assert len(nova.received) == 1
        assert (sender.count("delivered"), sender.count("refused"), sender.count("retried")) == (2, 1, 0)
        (line,) = said.records
        assert line.levelname == "WARNING"
        assert vif_id(2) in line.getMessage()
        unplug(store, 2)
        sender.notifier.wake()
        until(lambda: len(said.records) == 2)
        assert said.records[1].levelname == "INFO", "a guest that Nova has deleted is no fault"


def test_what_no_instance_was_found_for_is_refused_for_good(store: Store, nova: nova_endpoint.Endpoint) -> None:
    nova.behaviour = answering(404, UNKNOWN)
    wire(store, 1, 2, 3)
    with Sender(store, nova.url) as sender:
        until(empty(store))
    assert len(nova.received) == 1
    assert (sender.count("delivered"), sender.count("refused")) == (0, 3)


def test_a_422_waits_by_itself_and_keeps_its_vifs_order(store: Store, nova: nova_endpoint.Endpoint) -> None:
    refusals = [422, 503, 422, 422]
    nova.behaviour = per_event(lambda event: refusals.pop() if refusals and event["tag"] == vif_id(1) else 200)
    first = wire(store, 1) + unplug(store, 1)
    others = wire(store, 2, 3, 4, 5)
    with Sender(store, nova.url) as sender:
        until(lambda: set(others) <= set(nova.taken))
        assert refusals, "the others did not wait for it"
        until(empty(store))
        assert sender.count("retried") >= 4  # and once more where a slow machine cuts a message in two
    assert [key for key in nova.taken if key in first] == first
    assert sorted(nova.taken) == sorted(first + others)
    assert all(collections.Counter(tag for tag, _name in one.keys)[vif_id(1)] <= 1 for one in nova.received)


def test_a_bad_event_is_found_by_halves_and_refused_alone(
    store: Store, nova: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture
) -> None:
    def picky(peer: socket.socket, request: Received) -> None:
        bad = any(event["tag"] == vif_id(37) for event in request.events)
        (answering(400, b'{"badRequest": {"code": 400, "message": "no"}}') if bad else ok)(peer, request)

    nova.behaviour = picky
    keys = wire(store, *range(1, 101))
    with Sender(store, nova.url, interval=0.01) as sender:
        until(empty(store))
        assert (sender.count("delivered"), sender.count("refused")) == (99, 1)
    assert nova.taken == [key for key in keys if key[0] != vif_id(37)]
    assert len(nova.received) < 30
    assert [line.levelname for line in said.records] == ["WARNING"]
    assert f"{PLUGGED_EVENT} (completed) of VIF {vif_id(37)}" in said.text


def test_a_message_that_is_too_long_becomes_shorter(store: Store, nova: nova_endpoint.Endpoint) -> None:
    def narrow(peer: socket.socket, request: Received) -> None:
        (answering(413) if len(request.body) > 2000 else ok)(peer, request)

    nova.behaviour = narrow
    keys = wire(store, *range(1, 101))
    with Sender(store, nova.url, interval=0.01) as sender:
        until(empty(store))
        assert sender.count("refused") == 0
    assert nova.taken == keys


def test_an_endpoint_too_slow_for_long_messages_gets_short_ones(store: Store, nova: nova_endpoint.Endpoint) -> None:
    def slow(peer: socket.socket, request: Received) -> None:
        seconds = len(request.events) * ANSWER_SECONDS / 20
        if seconds < ANSWER_SECONDS:
            time.sleep(seconds)
            ok(peer, request)

    nova.behaviour = slow
    keys = wire(store, *range(1, 51))
    with Sender(store, nova.url, interval=0.01) as sender:
        until(empty(store))
        assert sender.count("refused") == 0
    assert sorted(nova.taken) == keys


@pytest.mark.parametrize("how", ["server error", "hangs up"])
def test_an_event_that_breaks_the_endpoint_delays_no_other_and_is_never_given_up(
    store: Store, nova: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture, how: str
) -> None:
    def brittle(peer: socket.socket, request: Received) -> None:
        bad = any(event["tag"] == vif_id(2) for event in request.events)
        (NOT_TAKEN[how] if bad else ok)(peer, request)

    nova.behaviour = brittle
    keys = wire(store, *range(1, 9))
    with Sender(store, nova.url) as sender:
        until(lambda: store.outbox_counts()[0] == 1)
        assert sorted(nova.taken) == [key for key in keys if key[0] != vif_id(2)]
        tries = len(nova.received)
        until(lambda: len(nova.received) >= tries + 2)
        keys += wire(store, 20)
        sender.notifier.wake()
        until(lambda: store.outbox_counts()[0] == 1)
        nova.behaviour = ok
        until(empty(store))
    assert sorted(nova.taken) == keys
    assert said.text.count("does not accept events") <= 3, "until it is found"


def test_an_answer_is_heard_to_its_end(store: Store, nova: nova_endpoint.Endpoint) -> None:
    def pausing(peer: socket.socket, request: Received) -> None:
        request.taken += request.keys
        for part in (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", *[b" " * 20_000] * 3):
            time.sleep(0.02)
            peer.sendall(part)
        heard.append(peer.recv(1) == b"")

    heard: list[bool] = []
    nova.behaviour = pausing
    wire(store, 1)
    with Sender(store, nova.url):
        until(lambda: heard)
    assert heard == [True], "it was cut off, and the server saw a reset"


# -- restarts, a store in trouble, the end --------------------------------------------------------------------


def test_what_is_left_is_sent_after_a_restart(tmp_path: pathlib.Path, nova: nova_endpoint.Endpoint) -> None:
    def opened() -> contextlib.closing[Store]:
        return contextlib.closing(Store(str(tmp_path / "state"), "no-such-user", notifies=True))

    nova.script = [per_event(lambda event: 200 if event["tag"] == vif_id(1) else 503)]
    with opened() as store:
        keys = wire(store, 1, 2, 3)
        with Sender(store, nova.url, interval=60):
            until(lambda: store.outbox_counts()[0] == 2)
    with opened() as store, Sender(store, nova.url):
        until(empty(store))
    assert nova.taken == keys


@pytest.mark.parametrize("how", ["says nothing", "a status a byte at a time", "continue for ever"])
def test_stop_cuts_what_takes_too_long(
    store: Store, nova: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture, how: str
) -> None:
    nova.behaviour = NOT_TAKEN[how]
    keys = wire(store, 1)
    settings = Settings(notify_url=nova.url, notify_interval=INTERVAL)
    one = Notifier(store, settings, Metrics())
    one.start()
    until(lambda: nova.received)
    began = time.monotonic()
    one.stop(0.6)
    assert time.monotonic() - began < 2
    until(lambda: not one._thread.is_alive(), 2)
    assert said.records == [], "the endpoint is not to blame"
    nova.behaviour = ok
    with Sender(store, nova.url):
        until(empty(store))
    assert nova.taken == keys


def test_stop_waits_for_an_answer_that_is_about_to_come(store: Store, nova: nova_endpoint.Endpoint) -> None:
    def late(peer: socket.socket, request: Received) -> None:
        time.sleep(ANSWER_SECONDS / 2)
        ok(peer, request)

    nova.behaviour = late
    keys = wire(store, 1)
    with Sender(store, nova.url):
        until(lambda: nova.received)
    assert empty(store)()
    assert nova.taken == keys


def test_stop_before_and_after_anything_is_nothing(store: Store) -> None:
    one = Notifier(store, Settings(notify_url="http://127.0.0.1:1/"), Metrics())
    one.stop(1.0)
    one.stop(0.0)
    one.wake()


class Troubled:
    """A store that fails as often as it is told to."""

    def __init__(self, store: Store, error: Exception) -> None:
        self._store, self._error = store, error
        self.fails: collections.Counter[str] = collections.Counter()

    def _try(self, what: str) -> None:
        if self.fails[what] > 0:
            self.fails[what] -= 1
            raise self._error

    def outbox(self, limit: int) -> list[Notice]:
        self._try("outbox")
        return self._store.outbox(limit)

    def ack_outbox(self, seqs: Collection[int]) -> None:
        self._try("ack_outbox")
        self._store.ack_outbox(seqs)

    def outbox_counts(self) -> tuple[int, int]:
        self._try("outbox_counts")
        return self._store.outbox_counts()


@pytest.mark.parametrize("error", [StoreError("the disk is full"), TypeError("what is this")], ids=repr)
@pytest.mark.parametrize("what", ["outbox", "ack_outbox", "outbox_counts"])
def test_trouble_with_the_store_sends_nothing_twice_and_ends_nothing(
    store: Store,
    nova: nova_endpoint.Endpoint,
    said: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    what: str,
) -> None:
    monkeypatch.setattr(notifier, "_AGAIN_SECONDS", 0.05)
    troubled = Troubled(store, error)
    troubled.fails[what] = 4
    keys = wire(store, 1, 2)
    with Sender(troubled, nova.url) as sender:
        until(empty(store))
        keys += wire(store, 3)
        sender.notifier.wake()
        until(empty(store))
        assert sender.count("delivered") == 3
    assert nova.taken == keys
    assert len(said.records) == 1
    assert bool(said.records[0].exc_info) == isinstance(error, TypeError), "a bug is told with where it is"
    assert not +troubled.fails


# -- the way there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:1/",
        "http://127.0.0.1:1/a b",
        "http://no-such-host.invalid/",
        "http://a..b/",
        "http://\u2603/",
        "http://127.0.0.1:1/\u2603",
        "http://user:s3cret@127.0.0.1:1/?key=s3cret",
    ],
)
def test_an_address_that_cannot_be_is_an_endpoint_that_is_down(
    store: Store, said: pytest.LogCaptureFixture, url: str
) -> None:
    wire(store, 1)
    with Sender(store, url) as sender:
        until(lambda: sender.count("retried") >= 2)
    assert [line.levelname for line in said.records] == ["WARNING"]
    assert "s3cret" not in said.text
    assert store.outbox_counts()[0] == 1


def test_a_token_that_no_header_can_hold_does_no_harm(
    store: Store, nova: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture
) -> None:
    wire(store, 1)
    with Sender(store, nova.url, token="s3cret\r\nX-Evil: 1") as sender:
        until(lambda: sender.count("retried") >= 2)
    assert nova.received == []
    assert "s3cret" not in said.text
    assert store.outbox_counts()[0] == 1


def test_ipv6_is_spoken_and_named_in_the_host_header() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            peer, _address = listener.accept()
            with peer:
                heard.append(nova_endpoint.read(peer))
                peer.sendall(whole(200, b""))

        heard: list[Received] = []
        thread = threading.Thread(target=serve)
        thread.start()
        with Endpoint(f"http://[::1]:{port}", "").post(b"{}") as answer:
            assert answer.status == 200
        thread.join()
    assert (heard[0].target, heard[0].headers["Host"]) == ("/", f"[::1]:{port}")


def test_nothing_is_sent_once_it_is_closed(nova: nova_endpoint.Endpoint) -> None:
    way = Endpoint(nova.url, "")
    way.close()
    with pytest.raises(NoAnswer), way.post(b"{}"):
        pass
    assert nova.received == []


def test_nothing_is_sent_when_it_is_closed_while_it_connects(
    nova: nova_endpoint.Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(*arguments: Any, **named: Any) -> socket.socket:
        way.close()
        return connected(*arguments, **named)

    connected = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", slowly)
    way = Endpoint(nova.url, "")
    with pytest.raises(NoAnswer), way.post(b"{}"):
        pass
    time.sleep(0.1)
    assert nova.received == []


def test_proxies_and_credentials_of_the_environment_are_not_used(
    store: Store, nova: nova_endpoint.Endpoint, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login nova password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    wire(store, 1)
    with Sender(store, nova.url.replace("://", "://user:s3cret@")):
        until(empty(store))
    assert len(nova.received) == 1
    assert "Authorization" not in nova.received[0].headers


def test_only_a_daemon_that_notifies_imports_httpx() -> None:
    script = "import sys; import vifplug.daemon.process.worker; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_redirects_are_not_followed(store: Store, nova: nova_endpoint.Endpoint) -> None:
    with nova_endpoint.Endpoint() as other:
        nova.script = [answering(status, b"", f"Location: {other.url}") for status in (301, 302, 303, 307, 308)]
        wire(store, 1)
        with Sender(store, nova.url):
            until(empty(store))
        assert other.received == []
    assert len(nova.received) == 6


def test_no_secret_is_logged_even_if_all_is(
    store: Store, nova: nova_endpoint.Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    nova.script = [answering(503, b"", "Set-Cookie: s3cret")]
    wire(store, 1)
    with Sender(store, nova.url.replace("://", "://user:s3cret@") + "?key=s3cret", token="s3cret"):
        until(empty(store))
    assert nova.received[0].headers["X-Auth-Token"] == "s3cret"
    assert "does not accept events" in caplog.text
    assert "s3cret" not in caplog.text


def test_an_answer_before_all_was_read_is_heard() -> None:
    def refuse() -> None:
        peer, _address = listener.accept()
        with peer:
            peer.sendall(whole(413, b"too long"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        way = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/", "")
        with way.post(b" " * 50_000_000) as answer:
            assert answer.status == 413
        thread.join()


def test_time_is_kept_even_with_one_that_does_not_accept() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(3):  # fill the backlog
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(address)
            began = time.monotonic()
            way = Endpoint(f"http://127.0.0.1:{address[1]}/", "", connect=0.3, answer=0.3)
            with pytest.raises(NoAnswer), way.post(b"{}"):
                pass
            assert time.monotonic() - began < 3


# -- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A key and a certificate for 127.0.0.1 that is its own authority."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=nova"
    arguments = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path) + ".crt"]
    subprocess.run([*command.split(), *arguments], check=True, capture_output=True)
    path.write_text(path.read_text() + pathlib.Path(str(path) + ".crt").read_text())
    return path


@pytest.fixture
def secured(certificate: pathlib.Path) -> Iterator[nova_endpoint.Endpoint]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with nova_endpoint.Endpoint(tls=context) as nova:
        yield nova
    http._trusting.cache_clear()


def test_a_trusted_certificate_is_good_and_a_slow_answer_is_cut(
    store: Store, secured: nova_endpoint.Endpoint, certificate: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    http._trusting.cache_clear()
    secured.script = [NOT_TAKEN["a status a byte at a time"], NOT_TAKEN["says nothing"], TAKEN["closes in mid-body"]]
    keys = wire(store, 1, 2)
    with Sender(store, secured.url) as sender:
        until(empty(store))
        assert sender.count("retried") >= 3
    assert sorted(secured.taken) == keys


def test_an_untrusted_certificate_gets_nothing(
    store: Store, secured: nova_endpoint.Endpoint, said: pytest.LogCaptureFixture
) -> None:
    wire(store, 1)
    with Sender(store, secured.url, token="s3cret") as sender:
        until(lambda: sender.count("retried") >= 2)
    assert secured.received == []
    assert "certificate verify failed" in said.text


def test_a_handshake_a_byte_at_a_time_is_cut(store: Store) -> None:
    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _address = listener.accept()
                with peer, contextlib.suppress(OSError):
                    for byte in b"\x16\x03\x03\x40\x00" + b"\x02" * 100:
                        peer.sendall(bytes([byte]))
                        time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        began = time.monotonic()
        way = Endpoint(f"https://127.0.0.1:{listener.getsockname()[1]}/", "", answer=ANSWER_SECONDS)
        with pytest.raises(NoAnswer, match="not within"), way.post(b"{}"):
            pass
        assert time.monotonic() - began < 2 * ANSWER_SECONDS
        listener.shutdown(socket.SHUT_RDWR)
