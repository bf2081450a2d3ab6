"""Nova's external events as they come in: by real sockets, from senders that mean well and others that do not."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug.config.options import Settings
from vifplug.daemon import rate_limit
from vifplug.daemon.http import protocol
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.nova import incoming, listener
from vifplug.daemon.nova.incoming import LocalVifs, judge, latest_statuses, read
from vifplug.daemon.nova.listener import Listener
from vifplug.daemon.nova.receiver import BODY_MAX, PATH, create_receiver
from vifplug.engine.requester import Requester
from vifplug.errors import InputError, StoreError
from vifplug.model.vif import Instance
from vifplug.store.events import NEUTRON_FAILED, NEUTRON_PLUGGED, NEUTRON_UNPLUGGED
from vifplug.store.records import PLUG, Contents, Intent

SAMPLES = pathlib.Path(__file__).parents[2] / "samples" / "ml2ovs_nova_events.jsonl"
TOKEN = "s3cret-\N{LATIN SMALL LETTER E WITH ACUTE}"
TOKEN_BYTES = TOKEN.encode()
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {TOKEN}\r\n"
GUEST, OTHER_GUEST = builders.INSTANCE, "c0ffee00-1111-4222-8333-000000000012"
STRANGE_GUEST = "00000000-0000-4000-8000-000000000000"
VIF, SECOND, OTHERS, NOBODYS = builders.HYBRID, builders.TAP, "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c", builders.BRIDGE
COMING = "ffffffff-4b2e-4a6a-a1da-6286f400507c"
SOON_SECONDS = 5.0


def event(name: Any = "network-vif-plugged", **changes: Any) -> dict[str, Any]:
    """One about VIF; a key given as None is left out."""
    document = {"name": name, "server_uuid": GUEST, "tag": VIF, **changes}
    return {key: value for key, value in document.items() if value is not None}


def message(*events: Any) -> bytes:
    return json.dumps({"events": list(events)}).encode()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Loop:
    """An event loop in a thread, as the worker's."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, Any], seconds: float = SOON_SECONDS) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def close(self) -> None:
        self.do(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def free_port(family: int = socket.AF_INET) -> int:
    with socket.socket(family) as probe:
        probe.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Receiver:
    """A receiver with four VIFs, on a port of its own."""

    def __init__(self, directory: pathlib.Path, loop: Loop, token: str = TOKEN) -> None:
        self.plugger = builders.plugger(directory, FakeHost())
        for vif_type, vif_id, guest in (
            ("ovs-hybrid", VIF, GUEST),
            ("ovs", SECOND, GUEST),
            ("ovs", OTHERS, OTHER_GUEST),
            ("bridge", NOBODYS, None),
        ):
            instance = {"uuid": guest} if guest else None
            self.plugger.plug([builders.vif(vif_type, id=vif_id, instance=instance)], Requester(uid=0))
        self.metrics, self.poked = Metrics(), []  # type: tuple[Metrics, list[set[str]]]
        app = create_receiver(self.plugger, Settings(listen_token=token), self.metrics, self.poked.append)
        self.port = free_port()
        self.listener = Listener(app, ("127.0.0.1", self.port))
        loop.do(self.listener.start())
        eventually(lambda: self.listener.is_listening)

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), SOON_SECONDS)
        return connection

    def ask(
        self,
        body: bytes | str | Iterator[bytes],
        *,
        method: str = "POST",
        path: str = PATH,
        token: Any = TOKEN_BYTES,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The answer's status and document."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_SECONDS)
        with contextlib.closing(client):
            said = {} if token is None else {"X-Auth-Token": token}
            client.request(method, path, body, {**said, **(headers or {})})
            answer = client.getresponse()
            text = answer.read()
            assert answer.getheader("Content-Type") == "application/json"
            return answer.status, json.loads(text) if text else None

    def told(self) -> dict[str, str]:
        return self.plugger.store.neutron_status()

    def forget(self) -> None:
        for vif_id in self.told():
            self.plugger.store.set_neutron_status(vif_id, "none")
        self.poked.clear()

    def counted(self, name: str, code: int) -> float:
        labels = {"name": name, "code": str(code)}
        return self.metrics.registry.get_sample_value("vifplug_external_events_total", labels) or 0.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, loop: Loop) -> Iterator[Receiver]:
    made = Receiver(tmp_path_factory.mktemp("receiver"), loop)
    yield made
    loop.do(made.listener.stop())
    made.plugger.store.close()


@pytest.fixture
def receiver(shared: Receiver) -> Iterator[Receiver]:
    """One server for them all; what is told is told anew."""
    shared.forget()
    before = shared.told()
    yield shared
    assert set(before) <= set(shared.told())


def said_now(receiver: Receiver) -> dict[str, str]:
    return {vif_id: word for vif_id, word in receiver.told().items() if word != "none"}


# -- what comes in is understood --------------------------------------------------------------------------


@pytest.mark.parametrize("line", SAMPLES.read_text().splitlines())
def test_captured_message_is_understood_byte_for_byte(receiver: Receiver, line: str) -> None:
    captured = json.loads(line)
    body = json.dumps(captured["body"]).encode()
    headers = {**captured["headers"], "X-Auth-Token": TOKEN}
    assert len(body) == int(headers["Content-Length"])
    head = f"{captured['method']} {captured['path']} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with receiver.connect() as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        said = json.loads(answer.read())
    (given,) = captured["body"]["events"]
    assert (answer.status, said) == (200, {"events": [{**given, "code": 200}]})
    assert said_now(receiver) == {given["tag"]: NEUTRON_PLUGGED}
    assert receiver.poked == [{given["tag"]}]
    assert answer.getheader("X-OpenStack-Nova-API-Version") == "2.1"
    assert answer.getheader("X-OpenStack-Request-ID") == headers["X-OpenStack-Request-ID"]


@pytest.mark.parametrize("line", SAMPLES.read_text().splitlines())
def test_captured_message_with_its_own_token_is_refused(receiver: Receiver, line: str) -> None:
    captured = json.loads(line)
    status, said = receiver.ask(
        json.dumps(captured["body"]), token=None, headers={**captured["headers"], "Connection": "close"}
    )
    assert (status, said["unauthorized"]["code"]) == (401, 401)
    assert not said_now(receiver)


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("network-vif-plugged", "completed", NEUTRON_PLUGGED),
        ("network-vif-plugged", None, NEUTRON_PLUGGED),
        ("network-vif-plugged", "failed", NEUTRON_FAILED),
        ("network-vif-plugged", "in-progress", None),
        ("network-vif-unplugged", "completed", NEUTRON_UNPLUGGED),
        ("network-vif-unplugged", None, NEUTRON_UNPLUGGED),
        ("network-vif-unplugged", "failed", None),
        ("network-vif-unplugged", "in-progress", None),
        ("network-vif-deleted", None, NEUTRON_UNPLUGGED),
        ("network-changed", None, None),
        ("volume-extended", None, None),
        ("power-update", "completed", None),
        ("accelerator-request-bound", "failed", None),
        ("volume-reimaged", "in-progress", None),
    ],
)
def test_every_event_of_novas_is_taken_and_some_say_something(
    receiver: Receiver, name: str, status: str | None, word: str | None
) -> None:
    given, before = event(name, status=status), receiver.counted(name, 200)
    answered = {**given, "status": "completed", "code": 200}
    assert receiver.ask(message(given)) == (200, {"events": [answered]})
    assert said_now(receiver) == ({VIF: word} if word else {})
    assert receiver.poked == ([{VIF}] if word else [])
    assert receiver.counted(name, 200) == before + 1


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (event(tag=VIF.upper()), 200, {VIF}),
        (event(server_uuid=GUEST.upper()), 200, {VIF}),
        (event(server_uuid=GUEST.replace("-", "")), 200, {VIF}),
        (event(server_uuid=f"urn:uuid:{GUEST}"), 200, {VIF}),
        (event(tag=COMING), 200, {COMING}),
        (event(tag=COMING.upper()), 200, {COMING}),
        (event(tag="no id of a VIF"), 200, set()),
        (event(tag=f"net:{COMING}"), 200, set()),
        (event(tag=""), 200, set()),
        (event(tag=None), 200, set()),
        (event(server_uuid=OTHER_GUEST, tag=None), 200, {OTHERS}),
        (event(server_uuid=OTHER_GUEST, tag=VIF), 404, set()),
        (event("network-changed", server_uuid=OTHER_GUEST, tag=VIF), 404, set()),
        (event("network-vif-deleted", tag=OTHERS), 404, set()),
        (event(server_uuid=STRANGE_GUEST), 404, set()),
        (event(server_uuid=STRANGE_GUEST, tag=COMING), 200, set()),
        (event("network-vif-unplugged", server_uuid=STRANGE_GUEST, tag=STRANGE_GUEST), 200, set()),
        (event("network-vif-deleted", server_uuid=STRANGE_GUEST, tag=STRANGE_GUEST), 200, set()),
        (event("network-changed", server_uuid=STRANGE_GUEST, tag=COMING), 200, set()),
        (event(server_uuid=STRANGE_GUEST, tag=STRANGE_GUEST, status="failed"), 200, set()),
        (event("volume-extended", server_uuid=STRANGE_GUEST, tag=COMING), 200, set()),
        (event(server_uuid=STRANGE_GUEST, tag=None), 200, set()),
        (event("volume-extended", server_uuid=STRANGE_GUEST, tag=None), 400, set()),
        (event(server_uuid=STRANGE_GUEST, tag=NOBODYS), 200, {NOBODYS}),
        (event("volume-extended", tag=None), 400, set()),
        (event("power-update", tag=None), 400, set()),
        (event("accelerator-request-bound", tag=None), 400, set()),
        (event("volume-extended", tag=""), 200, set()),
        (event("volume-reimaged", tag=None), 200, set()),
        (event("network-changed", tag=None), 200, set()),
    ],
    ids=str,
)
def test_one_event_is_judged(receiver: Receiver, given: dict[str, Any], code: int, told: set[str]) -> None:
    status = "completed" if code == 200 else "failed"
    answer = receiver.ask(message(given))
    assert answer == (200 if code == 200 else 207, {"events": [{**given, "status": status, "code": code}]})
    assert said_now(receiver).keys() == told


def test_message_is_answered_event_by_event_in_its_order(receiver: Receiver) -> None:
    events = [
        event(server_uuid=STRANGE_GUEST),
        event(server_uuid=STRANGE_GUEST, tag=COMING),
        event("network-vif-unplugged", tag=SECOND),
        event("power-update", tag=None),
        event("network-vif-plugged", status="failed"),
        event(server_uuid=OTHER_GUEST, tag=VIF, status="failed"),
    ]
    status, said = receiver.ask(message(*events))
    assert status == 207
    assert [one["code"] for one in said["events"]] == [404, 200, 200, 400, 200, 404]
    failed = [one["code"] for one in said["events"] if one["status"] == "failed"]
    assert failed == [404, 400, 404]
    assert [(one["name"], one["server_uuid"], one.get("tag")) for one in said["events"]] == [
        (one["name"], one["server_uuid"], one.get("tag")) for one in events
    ]
    assert said_now(receiver) == {SECOND: NEUTRON_UNPLUGGED, VIF: NEUTRON_FAILED}
    assert receiver.poked == [{SECOND, VIF}]


@pytest.mark.parametrize(
    ("name", "status", "forgotten"),
    [
        ("network-vif-plugged", "completed", False),
        ("network-vif-plugged", "failed", True),
        ("network-vif-unplugged", "completed", True),
        ("network-vif-deleted", "completed", True),
        ("network-changed", "completed", False),
    ],
)
def test_status_that_came_early_is_revoked_without_a_vif_here(name: str, status: str, forgotten: bool) -> None:
    (given,), _raw = incoming.read(message(event(name, status=status, tag=SECOND)))
    verdict = incoming.judge(given, incoming.LocalVifs(guest_of={}, vifs_of={}))
    assert verdict.code == 200
    assert incoming.latest_statuses([verdict]) == ({SECOND: incoming.FORGET} if forgotten else {})


def test_repeated_status_counts_once_and_the_last_of_several_counts(receiver: Receiver) -> None:
    for _ in range(2):
        assert receiver.ask(message(event(), event()))[0] == 200
    assert said_now(receiver) == {VIF: NEUTRON_PLUGGED}
    receiver.ask(message(event(), event("network-vif-unplugged"), event(status="in-progress")))
    assert said_now(receiver) == {VIF: NEUTRON_UNPLUGGED}
    receiver.ask(message(event("network-vif-unplugged"), event(status="failed"), event()))
    assert said_now(receiver) == {VIF: NEUTRON_PLUGGED}


def test_nothing_that_comes_in_changes_the_host_or_a_record(receiver: Receiver) -> None:
    host: Any = receiver.plugger.host
    before = (dict(host.links), dict(host.ports), len(host.applied), receiver.plugger.store.contents())
    for name in ("network-vif-plugged", "network-vif-unplugged", "network-vif-deleted", "network-changed"):
        receiver.ask(message(event(name), event(name, status="failed"), event(name, tag=COMING)))
    assert (host.links, host.ports, len(host.applied), receiver.plugger.store.contents()) == before


def test_vif_that_is_about_to_be_plugged_or_whose_record_is_damaged_is_accepted() -> None:
    intent = Intent(vif_id=COMING, verb=PLUG, session=1, resources=())
    here = LocalVifs.of(Contents(intents={COMING: intent}, damaged={OTHERS: "torn"}))
    for vif_id in (COMING, OTHERS):
        (one,), _given = read(message(event(server_uuid=STRANGE_GUEST, tag=vif_id)))
        assert latest_statuses([judge(one, here)]) == {vif_id: NEUTRON_PLUGGED}


def test_intent_of_a_vif_that_is_recorded_hides_no_guest() -> None:
    intent = Intent(vif_id=VIF, verb=PLUG, session=1, resources=())
    record: Any = type("Record", (), {"vif": builders.vif(instance=Instance(uuid=GUEST))})
    here = LocalVifs.of(Contents(records={VIF: record}, intents={VIF: intent}))
    (one,), _given = read(message(event(server_uuid=OTHER_GUEST)))
    assert judge(one, here).code == 404


# -- what is wrong with it --------------------------------------------------------------------------------

LONG = "x" * 256
LONE = "\\ud800"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", ["empty"]),
        (b" \n", ["empty"]),
        (b"{", ["not JSON"]),
        (b"\xff\xfe", ["UTF-8"]),
        (b"[]", ["body", "a list"]),
        (b"null", ["body", "null"]),
        (b'"events"', ["body", "'events'"]),
        (b"{}", ["events", "missing"]),
        (b'{"events": []}', ["events", "at least one"]),
        (b'{"events": null}', ["events", "null"]),
        (b'{"events": {}}', ["events", "an object"]),
        (b'{"events": "network-changed"}', ["events", "'network-changed'"]),
        (b'{"events": [null]}', ["events[0]", "null", "an object"]),
        (b'{"events": [[]]}', ["events[0]", "a list"]),
        (b'{"events": [1e999]}', ["1e999"]),
        (b'{"events": [NaN]}', ["NaN"]),
        (b'{"events": [], "events": []}', ["events", "twice"]),
        (b"[" * 100000 + b"]" * 100000, ["deep"]),
        (b'{"events": [{"name": "network-changed"}]}', ["events[0].server_uuid", "missing"]),
        (message(event(), event(name=None)), ["events[1].name", "missing"]),
        (json.dumps({"events": [event()], "more": 1}).encode(), ["more", "1"]),
        (message(event(code=200)), ["events[0].code", "200"]),
        (message({**event(), "": ""}), ["events[0]", "''"]),
        (message({**event(), "a b\n": None}), ["a b", "null"]),
        (message(event("network-vif-plugged ")), ["events[0].name", "'network-vif-plugged '", "volume-reimaged"]),
        (message(event("NETWORK-CHANGED")), ["events[0].name", "'NETWORK-CHANGED'"]),
        (message(event(name=["network-changed"])), ["events[0].name", "a list"]),
        (message(event(), event(status="done")), ["events[1].status", "'done'", "in-progress"]),
        (message(event(status="")), ["events[0].status", "''"]),
        (message({**event(), "status": None}), ["events[0].status", "null"]),
        (message(event(status=True)), ["events[0].status", "true"]),
        (message(event(server_uuid="web-1")), ["events[0].server_uuid", "'web-1'", "UUID"]),
        (message(event(server_uuid=GUEST + "0")), ["events[0].server_uuid"]),
        (message(event(server_uuid="0x" + GUEST.replace("-", "")[2:])), ["events[0].server_uuid"]),
        (message(event(server_uuid=" " + GUEST)), ["events[0].server_uuid"]),
        (message(event(server_uuid=7)), ["events[0].server_uuid", "7"]),
        (message({**event(), "server_uuid": None}), ["events[0].server_uuid", "null"]),
        (message({**event(), "tag": None}), ["events[0].tag", "null", "255"]),
        (message(event(tag=7)), ["events[0].tag", "7"]),
        (message(event(tag={})), ["events[0].tag", "an object"]),
        (message(event(tag=LONG)), ["events[0].tag", "xxx...", "255"]),
        (message(event()).replace(VIF.encode(), LONE.encode()), ["events[0].tag"]),
        (b'{"events": [{"name": "n", "name": "n"}]}', ["name", "twice"]),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_message_with_anything_wrong_is_refused_as_a_whole(receiver: Receiver, body: bytes, names: list[str]) -> None:
    before = receiver.counted("message", 400)
    status, said = receiver.ask(body)
    assert (status, list(said), list(said["badRequest"])) == (400, ["badRequest"], ["code", "message"])
    assert said["badRequest"]["code"] == 400
    text = said["badRequest"]["message"]
    assert all(name in text for name in names), text
    assert "\n" not in text and len(text) < 500
    assert receiver.counted("message", 400) == before + 1
    assert not said_now(receiver) and not receiver.poked


def test_good_events_beside_a_bad_one_are_not_kept(receiver: Receiver) -> None:
    assert receiver.ask(message(event(), event(status="done")))[0] == 400
    assert not said_now(receiver)


_json = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_odd = some.fixed_dictionaries(
    {"name": some.sampled_from(["network-vif-plugged", "network-changed", 1]) | _json},
    optional={
        "server_uuid": some.sampled_from([GUEST, STRANGE_GUEST]) | _json,
        "status": some.sampled_from(["completed", "failed"]) | _json,
        "tag": some.sampled_from([VIF, OTHERS]) | _json,
        "x": _json,
    },
)


@settings(max_examples=300, deadline=None)
@given(some.binary() | some.lists(_odd | _json, max_size=3).map(lambda events: message(*events)) | _json.map(str))
def test_whatever_comes_is_read_or_refused_in_one_line(body: bytes | str) -> None:
    here = LocalVifs(guest_of={VIF: GUEST, OTHERS: OTHER_GUEST}, vifs_of={GUEST: (VIF,), OTHER_GUEST: (OTHERS,)})
    try:
        events, given_ones = read(body if isinstance(body, bytes) else body.encode(errors="surrogatepass"))
    except InputError as error:
        assert str(error).isprintable()
        return
    assert len(events) == len(given_ones) > 0
    assert {judge(one, here).code for one in events} <= {200, 400, 404}


# -- who may say it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", [PATH, "/", "/v1/vifs", "/healthz", "/v2.1/os-server-external-events/"])
def test_without_the_token_there_is_nothing_to_see(receiver: Receiver, method: str, path: str) -> None:
    for body in (message(event()), b"{"):
        status, said = receiver.ask(body, method=method, path=path, token=None)
        assert (status, list(said)) == (401, ["unauthorized"])
    assert not said_now(receiver)


@pytest.mark.parametrize(
    "token",
    [b"", b"notused", TOKEN.encode()[:-1], TOKEN.encode() + b"x", TOKEN.upper().encode(), TOKEN.encode("latin-1")],
)
def test_wrong_token_is_refused(receiver: Receiver, token: bytes) -> None:
    before = receiver.counted("message", 401)
    status, said = receiver.ask(message(event()), token=token)
    assert (status, said["unauthorized"]["code"]) == (401, 401)
    assert receiver.counted("message", 401) == before + 1
    assert not said_now(receiver)


def test_two_tokens_are_none(receiver: Receiver) -> None:
    head = f"{HEAD}x-auth-token: x\r\nContent-Length: 0\r\n\r\n"
    with receiver.connect() as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_empty_token_matches_no_sender(tmp_path: pathlib.Path, loop: Loop) -> None:
    receiver = Receiver(tmp_path, loop, token="")
    try:
        assert receiver.ask(message(event()), token="")[0] == 401
        assert receiver.ask(message(event()), token=None)[0] == 401
    finally:
        loop.do(receiver.listener.stop())
        receiver.plugger.store.close()


def test_stranger_is_refused_before_a_byte_of_its_body_is_there(receiver: Receiver) -> None:
    with receiver.connect() as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_unknown_senders_are_logged_at_a_limited_rate_and_tokens_never(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "vifplug")
    monkeypatch.setattr(rate_limit, "QUIET_SECONDS", 0.0)
    receiver.ask(b"", token=b"guess-1")  # whose warning may have been one of the quiet minute's
    monkeypatch.undo()
    caplog.clear()
    for _ in range(5):
        receiver.ask(message(event()), token=b"guess-2")
    receiver.ask(message(event()))
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) <= 1
    assert not any(word in caplog.text for word in (TOKEN, "guess"))
    assert f"VIF {VIF} is plugged" in caplog.text


def test_seldom_says_how_often(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    warning = rate_limit.RecurringWarning(logging.getLogger("vifplug.test"), is_limited=True)
    for _ in range(3):
        warning.warn("knock")
    monkeypatch.setattr("vifplug.daemon.rate_limit.time.monotonic", lambda: time.perf_counter() + 1e9)
    warning.warn("knock")
    assert [record.message for record in caplog.records] == [
        "knock (1 since this was last logged)",
        "knock (3 since this was last logged)",
    ]


# -- how it is said ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", PATH, 405, "badMethod"),
        ("DELETE", PATH, 405, "badMethod"),
        ("POST", "/", 404, "notFound"),
        ("POST", PATH + "/", 404, "notFound"),
        ("POST", "/v1/batch", 404, "notFound"),
        ("GET", "/openapi.json", 404, "notFound"),
        ("GET", "/metrics", 404, "notFound"),
    ],
)
def test_there_is_one_path_and_one_method(receiver: Receiver, method: str, path: str, status: int, kind: str) -> None:
    found, said = receiver.ask(message(event()), method=method, path=path)
    assert (found, list(said)) == (status, [kind])
    assert not said_now(receiver)


def test_body_up_to_the_limit_is_read_and_a_larger_one_is_not(receiver: Receiver) -> None:
    body = message(event())
    assert receiver.ask(body + b" " * (BODY_MAX - len(body)))[0] == 200
    receiver.forget()
    for large in (body + b" " * (BODY_MAX - len(body) + 1), iter([body, b" " * BODY_MAX])):
        status, said = receiver.ask(large)
        assert (status, said["overLimit"]["code"]) == (413, 413)
    assert not said_now(receiver)


def test_body_that_is_announced_as_too_large_is_not_waited_for(receiver: Receiver) -> None:
    head = f"{HEAD}Content-Length: {BODY_MAX + 1}\r\n\r\n"
    with receiver.connect() as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_several_messages_come_on_one_connection_also_at_once(receiver: Receiver) -> None:
    one, other = message(event()), message(event("network-vif-unplugged"), event(tag=SECOND))
    asked = b"".join(
        f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in (one, other, b"{", one[:-1])
    )
    with receiver.connect() as connection:
        connection.sendall(asked)
        said = b""
        while said.count(b"HTTP/1.1 ") < 4 or not said.endswith(b"}"):
            said += connection.recv(65536)
    assert [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]] == [200, 200, 400, 400]
    assert said_now(receiver) == {VIF: NEUTRON_UNPLUGGED, SECOND: NEUTRON_PLUGGED}


def test_sender_that_waits_for_a_go_ahead_gets_it_only_with_the_token(receiver: Receiver) -> None:
    body = message(event())
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n"
    with receiver.connect() as connection:
        connection.sendall(head.encode() + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")
    with receiver.connect() as connection:
        connection.sendall(f"{head}X-Auth-Token: {TOKEN}\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert said_now(receiver) == {VIF: NEUTRON_PLUGGED}


def test_sender_that_goes_in_mid_body_has_sent_nothing(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vifplug")
    body = message(event())
    head = f"{HEAD}Content-Length: {len(body) + 1}\r\n\r\n"
    with receiver.connect() as connection:
        connection.sendall(head.encode() + body)
    eventually(lambda: "disconnected before its message was complete" in caplog.text)
    assert not said_now(receiver)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert receiver.ask(body)[0] == 200


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"\0" * 70000],
)
def test_what_is_no_http_is_closed_without_a_line_for_each(
    receiver: Receiver, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with receiver.connect() as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while part := connection.recv(65536):
                assert b"200" not in part
    assert not caplog.records
    assert receiver.ask(message(event()))[0] == 200


@pytest.mark.parametrize(
    ("given", "answered"),
    [("2.1", "2.1"), ("2.93", "2.93"), ("latest", "2.1"), ("2.1\u00b5", "2.1"), ("3.0", "2.1")],
)
def test_answer_names_the_microversion_it_was_asked_by(receiver: Receiver, given: str, answered: str) -> None:
    client = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=SOON_SECONDS)
    with contextlib.closing(client):
        headers: dict[str, Any] = {"X-Auth-Token": TOKEN.encode(), "X-OpenStack-Nova-API-Version": given}
        client.request("POST", PATH, message(event("volume-reimaged")), headers)
        answer = client.getresponse()
        assert (answer.status, answer.getheader("X-OpenStack-Nova-API-Version")) == (200, answered)
        assert (answer.getheader("X-OpenStack-Request-ID") or "").startswith("req-")


# -- when it cannot be kept -------------------------------------------------------------------------------


def test_store_that_fails_half_way_is_reported_with_what_was_stored(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = receiver.plugger.store
    tell = store.set_neutron_status

    def fail(vif_id: str, word: str) -> None:
        if vif_id == SECOND:
            raise StoreError("the store in '/x' failed: database or disk is full", "/x")
        tell(vif_id, word)

    monkeypatch.setattr(store, "set_neutron_status", fail)
    status, said = receiver.ask(message(event(), event(tag=SECOND)))
    assert (status, said["serviceUnavailable"]["code"]) == (503, 503)
    assert "disk is full" in said["serviceUnavailable"]["message"]
    assert receiver.poked == [{VIF}]
    monkeypatch.undo()
    assert receiver.ask(message(event(), event(tag=SECOND)))[0] == 200
    assert said_now(receiver) == {VIF: NEUTRON_PLUGGED, SECOND: NEUTRON_PLUGGED}


def test_unforeseen_failure_is_answered_in_novas_form_and_logged(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(incoming, "judge", lambda _event, _here: 1 / 0)
    status, said = receiver.ask(message(event()))
    assert (status, said["computeFault"]["code"]) == (500, 500)
    assert "ZeroDivisionError" in caplog.text and "ZeroDivision" not in str(said)


def test_messages_are_heard_one_at_a_time_while_the_loop_goes_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most, tell = [0], [0], receiver.plugger.store.set_neutron_status

    def slowly(vif_id: str, word: str) -> None:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        time.sleep(0.4)
        tell(vif_id, word)
        under_way[0] -= 1

    monkeypatch.setattr(receiver.plugger.store, "set_neutron_status", slowly)
    threads = [threading.Thread(target=receiver.ask, args=(message(event()),)) for _ in range(6)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    assert receiver.ask(b"", token=None)[0] == 401
    assert time.monotonic() - began < 1.5
    for thread in threads:
        thread.join()
    assert (most[0], len(receiver.poked)) == (1, 6)


# -- where it listens -------------------------------------------------------------------------------------


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


def greeting(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, SOON_SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = b""
        while part := connection.recv(65536):
            said += part
        return said.rpartition(b"\r\n\r\n")[2]


def test_port_that_is_taken_is_complained_of_once_and_had_when_it_is_free(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "vifplug")
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        address = ("127.0.0.1", squatter.getsockname()[1])
        listening = Listener(hello, address, retry_seconds=0.02)
        loop.do(listening.start())
        time.sleep(0.2)
        assert not listening.is_listening
    eventually(lambda: listening.is_listening)
    try:
        assert greeting(address) == b"hello"
    finally:
        loop.do(listening.stop())
    (error,) = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert f"127.0.0.1 port {address[1]}" in error and "in use" in error and "free the port" in error
    assert f"listening for Nova's external events on 127.0.0.1 port {address[1]}" in caplog.text


def test_ear_that_cannot_listen_ends_at_once(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    listening = Listener(hello, ("192.0.2.1", free_port()))
    loop.do(listening.start())
    eventually(lambda: "an address of this host" in caplog.text)
    began = time.monotonic()
    loop.do(listening.stop())
    loop.do(listening.stop())
    assert time.monotonic() - began < 4
    loop.do(Listener(hello, ("127.0.0.1", 1)).stop())  # never started


def test_ipv6_is_listened_on_alone(loop: Loop) -> None:
    listening = Listener(hello, ("::", port := free_port(socket.AF_INET6)))
    loop.do(listening.start())
    eventually(lambda: listening.is_listening)
    try:
        assert greeting(("::1", port)) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            greeting(("127.0.0.1", port))
    finally:
        loop.do(listening.stop())


def test_successor_has_the_port_at_once_although_connections_were_open(loop: Loop) -> None:
    address = ("127.0.0.1", free_port())
    for _ in range(2):
        listening = Listener(hello, address)
        loop.do(listening.start())
        eventually(lambda listening=listening: listening.is_listening)  # type: ignore[misc]
        idle = socket.create_connection(address, SOON_SECONDS)
        half = socket.create_connection(address, SOON_SECONDS)
        half.sendall(b"POST / HTTP/1.1\r\n")
        assert greeting(address) == b"hello"
        began = time.monotonic()
        loop.do(listening.stop())
        assert time.monotonic() - began < 5
        assert (idle.recv(1), half.recv(1)) == (b"", b"")
        idle.close()
        half.close()


def test_message_under_way_is_answered_before_the_end(loop: Loop) -> None:
    begun = threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.sleep(0.3)
        await hello(scope, receive, send)

    listening = Listener(slow, address := ("127.0.0.1", free_port()))
    loop.do(listening.start())
    eventually(lambda: listening.is_listening)
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(greeting(address)))
    thread.start()
    begun.wait(SOON_SECONDS)
    loop.do(listening.stop())
    thread.join()
    assert found == [b"hello"]


def test_message_that_does_not_end_is_not_waited_for_long(loop: Loop) -> None:
    begun = threading.Event()

    async def stuck(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await asyncio.sleep(60)

    listening = Listener(stuck, address := ("127.0.0.1", free_port()))
    loop.do(listening.start())
    eventually(lambda: listening.is_listening)
    with socket.create_connection(address, SOON_SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        begun.wait(SOON_SECONDS)
        began = time.monotonic()
        loop.do(listening.stop())
        assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        (b"", b""),
        (b"POST / HT", b""),
        (f"{HEAD}Content-Length: 100\r\n\r\n{{".encode(), b""),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 401 "),
        (f"{HEAD}Content-Length: {2 * BODY_MAX}\r\n\r\n{{".encode(), b"HTTP/1.1 413 "),
    ],
)
def test_message_that_does_not_come_whole_is_not_waited_for_long(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, part: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    with receiver.connect() as connection:
        connection.sendall(part)
        said = b""
        while more := connection.recv(65536):
            said += more
    assert said.startswith(answer) and bool(said) == bool(answer)


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 2\n",
    ],
)
def test_message_whose_end_is_in_doubt_is_refused_and_the_connection_closed(receiver: Receiver, fields: str) -> None:
    with receiver.connect() as connection:
        connection.sendall(f"{HEAD}{fields}\r\n0\r\n\r\n{HEAD}Content-Length: 0\r\n\r\n".encode())
        said = b""
        with contextlib.suppress(ConnectionResetError):
            while more := connection.recv(65536):
                said += more
    assert said.startswith(b"HTTP/1.1 400 ") and said.count(b"HTTP/1.1 ") == 1
    assert set(json.loads(said.partition(b"\r\n\r\n")[2])) == {"badRequest"}


def test_idle_crowd_does_not_keep_a_message_out(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with contextlib.ExitStack() as crowd:
        idle = [crowd.enter_context(receiver.connect()) for _ in range(2 * listener.CONNECTIONS_MAX)]
        for connection in idle[::3]:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"POST / HTTP/1.1\r\n")
        for _ in range(3):
            assert receiver.ask(message(event()))[0] == 200
        eventually(lambda: len(_open_ones(receiver)) <= listener.CONNECTIONS_MAX)
        # Of the oldest, this one has sent nothing: one whose input is not read yet may be spared.
        eventually(lambda: _is_closed(idle[1]))
        assert not _is_closed(idle[-1])
    assert sum("oldest idle" in record.message for record in caplog.records) <= 1


def test_message_whose_answer_is_under_way_is_not_pushed_out(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, tell = threading.Event(), receiver.plugger.store.set_neutron_status

    def slowly(vif_id: str, word: str) -> None:
        begun.set()
        time.sleep(0.3)
        tell(vif_id, word)

    monkeypatch.setattr(receiver.plugger.store, "set_neutron_status", slowly)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(receiver.ask(message(event()))[0]))
    thread.start()
    assert begun.wait(SOON_SECONDS)
    with contextlib.ExitStack() as crowd:
        for _ in range(2 * listener.CONNECTIONS_MAX):
            crowd.enter_context(receiver.connect())
        thread.join()
    assert found == [200]


def _open_ones(receiver: Receiver) -> set[Any]:
    server = receiver.listener._server
    assert server is not None
    return set(server.server_state.connections)


def _is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
