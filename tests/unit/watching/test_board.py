"""What ``top`` shows: states by events, rates and drops by counters, rows that fit; who may ask ``web`` for what."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from tests.unit.cli.test_drawing import vif
from vifplug.api.http import Wire
from vifplug.cli.watch import top, web
from vifplug.cli.watch.board import Board, Counters, counters_of, in_bits
from vifplug.model.events import Event
from vifplug.model.reports import VifReport

HEAD = [
    "Inter-|   Receive  |  Transmit\n",
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes ...\n",
]


def event(vif_id: str, state: str, previous: str | None, kind: str = "state", error: str | None = None) -> Event:
    time = "2026-11-21T07:36:29.104Z"
    return Event(seq=1, vif_id=vif_id, state=state, previous=previous, time=time, kind=kind, error=error)


def board(*vifs: VifReport) -> Board:
    made = Board()
    made.list(vifs)
    return made


def test_counters_are_read_as_the_kernel_writes_them() -> None:
    lines = [
        *HEAD,
        "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
        "tap:1: 100 1 0 7 0 0 0 0 200 2 0 1 0 0 0 0\n",
        "x: 1\n",
    ]
    assert counters_of(lines) == {"lo": Counters(1, 9, 16), "tap:1": Counters(100, 200, 8)}


def test_rates_and_drops_are_differences() -> None:
    one = vif(1, "active")
    shown = board(one)
    device = "tap00000001-1a"
    for now, counters in ((1.0, (0, 0, 5)), (3.0, (2000, 4000, 8)), (4.0, (10, 10, 0))):
        shown.measure({device: Counters(*counters)}, now)
        row = shown.rows[one.id]
        if now == 3.0:
            assert (row.device, row.received, row.sent, row.drops) == (device, 1000, 2000, 3)
    assert (row.received, row.drops) == (None, 3), "the device was made again: it counts from 0"
    assert [in_bits(rate) for rate in (None, 0, 100, 1e6, 1e9)] == ["-", "0 b/s", "800 b/s", "8.0 Mb/s", "8.0 Gb/s"]


def test_events_change_states_at_once() -> None:
    one, two = vif(1, "plugged"), vif(2, "active")
    shown = board(one, two)
    assert shown.see(event(vif(3, "x").id, "plugged", None)), "a new VIF: the list is read again"
    for each in (event(one.id, "wired", "plugged"), event(two.id, "drifted", "active", error="why")):
        assert not shown.see(each)
    assert not shown.see(event(two.id, "drifted", "drifted", "repair"))
    assert [(row.vif.id, row.state, row.error, row.repairs) for row in shown.ranked()] == [
        (two.id, "drifted", "why", 1),
        (one.id, "wired", "", 0),
    ]
    shown.see(event(one.id, "unplugged", "wired"))
    shown.see(event("net:x", "absent", None, "orphan"))
    assert (shown.counts(), shown.repairs) == ({"drifted": 1}, 1)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (160, 40), (60, 5), (20, 1)])
def test_a_thousand_vifs_fit_any_terminal(width: int, height: int) -> None:
    shown = board(*(VifReport(id=f"{number:08x}-1a1b-4fd9-8f4a-7cab3f9a425b", state="wired") for number in range(1000)))
    shown.see(event("0000000a-1a1b-4fd9-8f4a-7cab3f9a425b", "failed", "wired", error="no\x1b[31m\nroom"))
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    console.print(top.drawn(shown, "", width, height))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = text.rstrip("\n").split("\n")
    assert len(lines) <= max(height, 7) and all(len(line) <= width for line in lines)
    assert "\x1b" not in text
    if height >= 24:
        assert "failed" in lines[3] and "q quits" in lines[-1] and "1000 VIFs" in lines[0]


@contextlib.contextmanager
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[web.Server]:
    monkeypatch.setattr(Wire, "ask", lambda _self, request: {"target": request.target})
    server = web.Server(Wire("/nowhere"), 0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(server: web.Server, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers


def test_page_has_a_policy_and_needs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(monkeypatch) as server:
        status, body, headers = ask(server, f"/{server.token}/")
        again = ask(server, f"/{server.token}/")[2]["Content-Security-Policy"]
    policy = headers["Content-Security-Policy"]
    assert status == 200 and policy.startswith("default-src 'none'; script-src 'nonce-") and policy != again
    assert b"NONCE" not in body and b"http" not in body.replace(b"fetch(", b"") and b"innerHTML" not in body
    assert headers["Referrer-Policy"] == "no-referrer" and headers["Cache-Control"] == "no-store"
    assert len(server.token) >= 32


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/TOKEN/api/v1/vifs", "GET", {}, 200),
        ("/TOKEN/api/v1/vifs/71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b/path", "GET", {}, 200),
        ("/TOKEN/api/healthz", "GET", {"Host": "localhost:PORT"}, 200),
        ("/TOKEN/api/metrics", "GET", {}, 404),
        ("/TOKEN/api/v1/vifs?x=1", "GET", {}, 404),
        ("/TOKEN/api/v1/vifs/../../metrics", "GET", {}, 404),
        ("/TOKEN/api/v1/vifs%2f..", "GET", {}, 404),
        ("/TOKEN/api/v1/events?since=1", "GET", {}, 503),
        ("/TOKEN/api/v1/repair", "POST", {}, 501),
        ("/TOKEN/api/v1/vifs", "DELETE", {}, 501),
        ("/", "GET", {}, 404),
        ("/wrong/api/v1/vifs", "GET", {}, 404),
        ("/TOKENx/", "GET", {}, 404),
        ("/TOKEN/", "GET", {"Host": "evil.example:PORT"}, 421),
        ("/TOKEN/", "GET", {"Host": "127.0.0.1"}, 421),
        ("/TOKEN/", "GET", {"Sec_Fetch_Site": "cross-site"}, 403),
    ],
)
def test_only_reading_and_only_with_the_token(
    monkeypatch: pytest.MonkeyPatch, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    with served(monkeypatch) as server:
        filled = {name: value.replace("PORT", str(server.server_port)) for name, value in headers.items()}
        answered, body, _ = ask(server, path.replace("TOKEN", server.token), method, **filled)
        assert answered == status
        assert server.token.encode() not in body
        if status == 200:
            assert json.loads(body)["target"] == path.removeprefix("/TOKEN/api")
