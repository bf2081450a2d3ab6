"""Nova's external events as Neutron sends them: told to a real daemon, they wire VIFs and change nothing else."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID, INSTANCE, OVS, Request
from tests.support.world.daemons import wait_until
from tests.support.world.neutron_reader import PYTHON
from tests.support.world.world import World

PORT = 8775
PATH = "/v2.1/os-server-external-events"
TOKEN = "a-token-of-some-length"
EVENTS = {"wired_by": "neutron-events", "listen": str(PORT), "listen_token": TOKEN}
OTHERS = OVS.but(
    id="2bc1ec8f-4b2e-4a6a-a1da-6286f400507c",
    address="fa:16:3e:12:12:12",
    instance={"uuid": "c0ffee00-1111-4222-8333-000000000012"},
)
"""Of the guest of the second captured message."""
ALL = (HYBRID, OVS, OTHERS)
STRANGER = "00000000-0000-4000-8000-000000000000"
AT_ONCE_SECONDS = 5.0

_NEUTRON = """
import logging, sys, types
logging.basicConfig()
from keystoneauth1 import loading
from neutron.conf import common
from oslo_config import cfg
common.register_core_common_config_opts()
common.register_nova_opts()
loading.register_auth_conf_options(cfg.CONF, "nova")
loading.register_session_conf_options(cfg.CONF, "nova")
cfg.CONF([], project="neutron", default_config_files=[sys.argv[1]])
from neutron.notifiers import nova
class Port(types.SimpleNamespace):
    def __getitem__(self, key):
        return getattr(self, key)
port = Port(id=sys.argv[2], device_id=sys.argv[3], device_owner="compute:nova", _notify_event=None)
notifier = nova.Notifier()
notifier.record_port_status_changed(port, sys.argv[5], sys.argv[4], None)
notifier.send_events([port._notify_event])
"""


def event(request: Request, name: str = "network-vif-plugged", **changes: str) -> dict[str, str]:
    """One about a VIF, by its own guest."""
    return {"name": name, "server_uuid": request.document["instance"]["uuid"], "tag": request.id, **changes}


def post(*events: Any, token: str | None = TOKEN, path: str = PATH, method: str = "POST") -> tuple[int, Any]:
    """Send events as a stranger to the daemon's code would."""
    client = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    with contextlib.closing(client):
        headers = {"Content-Type": "application/json"} | ({} if token is None else {"X-Auth-Token": token})
        client.request(method, path, json.dumps({"events": events}), headers)
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())


def send(captured: dict[str, Any], **changes: str) -> tuple[int, Any]:
    """A captured message as it was, but for its token and what is to be changed in its one event."""
    (output,) = captured["body"]["events"]
    body = json.dumps({"events": [output | changes]}).encode()
    headers = captured["headers"] | {"X-Auth-Token": TOKEN, "Content-Length": str(len(body))}
    head = f"{captured['method']} {captured['path']} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", PORT), 10) as connection:
        connection.sendall(head.encode() + b"\r\n" + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, json.loads(answer.read())


@dataclass(frozen=True)
class Host:
    """A world with vifplugd, for all tests here: each takes away what it has plugged."""

    world: World
    daemon: Vifplugd

    @contextlib.contextmanager
    def plugged(self, *requests: Request) -> Iterator[None]:
        """At the end no VIF is."""
        try:
            self.plug(*requests)
            yield
        finally:
            status, body = self.daemon.request("POST", "/v1/batch", {"unplug": [each.id for each in ALL]})
            assert status == 200, body

    def plug(self, *requests: Request) -> None:
        status, body = self.daemon.request("POST", "/v1/batch", {"plug": [each.document for each in requests]})
        assert status == 200, body

    def states(self) -> dict[str, str]:
        return {vif_id: str(vif["state"]) for vif_id, vif in self.daemon.vifs().items()}

    def becomes(self, request: Request, state: str) -> None:
        """The list shows it soon, and so does its last event."""
        wait_until(lambda: self.states()[request.id] == state, f"{request.id} {state}", AT_ONCE_SECONDS)
        wait_until(lambda: self._last_of(request) == state, f"the event of {request.id} {state}", AT_ONCE_SECONDS)

    def _last_of(self, request: Request) -> str:
        return [str(each["state"]) for each in self._events() if each["vif_id"] == request.id][-1]

    def sequence(self) -> int:
        return max([each["seq"] for each in self._events()], default=0)

    def events_since(self, seq: int) -> list[tuple[str, str]]:
        return [(each["vif_id"], each["state"]) for each in self._events() if each["seq"] > seq]

    def _events(self) -> list[dict[str, Any]]:
        status, text = self.daemon.request("GET", "/v1/events?follow=false")
        assert status == 200, text
        return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """One for all: starting it takes longer than any of them."""
    with World() as world:
        world.add_bridge("br-int")
        with Vifplugd(world, {"events": EVENTS}) as daemon:
            yield Host(world, daemon)
            assert daemon.stop() == 0


@pytest.fixture(scope="module")
def captured(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """What a real Neutron sent."""
    lines = (Path(__file__).parents[2] / "samples/ml2ovs_nova_events.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_captured_events_wire_their_vifs_and_no_other(host: Host, captured: list[dict[str, Any]]) -> None:
    with host.plugged(*ALL):
        before, seq = host.world.snapshot(), host.sequence()
        assert set(host.states().values()) == {"plugged"}
        assert send(captured[0])[0] == 200
        host.becomes(HYBRID, "wired")
        assert host.states() == {HYBRID.id: "wired", OVS.id: "plugged", OTHERS.id: "plugged"}
        assert send(captured[1])[0] == 200
        host.becomes(OTHERS, "wired")
        assert send(captured[0], tag=OVS.id)[0] == 200
        host.becomes(OVS, "wired")
        for message in (*captured, *captured):
            assert send(message)[0] == 200
        assert host.events_since(seq) == [(HYBRID.id, "wired"), (OTHERS.id, "wired"), (OVS.id, "wired")]
        assert host.world.snapshot() == before


def test_word_taken_back_takes_the_state_back_and_a_failure_is_shown(host: Host) -> None:
    with host.plugged(HYBRID, OVS):
        before, seq = host.world.snapshot(), host.sequence()
        states = []
        for output, state in (
            (event(HYBRID), "wired"),
            (event(HYBRID, "network-vif-unplugged"), "plugged"),
            (event(HYBRID, status="failed"), "failed"),
            (event(HYBRID), "wired"),
            (event(HYBRID, "network-vif-deleted"), "plugged"),
        ):
            assert post(output) == (200, {"events": [{**output, "status": "completed", "code": 200}]})
            host.becomes(HYBRID, state)
            states.append((HYBRID.id, state))
        assert [each for each in host.events_since(seq) if each[1] != "plugged"] == [
            each for each in states if each[1] != "plugged"
        ]
        assert host.states()[OVS.id] == "plugged"
        assert host.world.snapshot() == before


def test_early_word_is_kept_for_the_vif(host: Host) -> None:
    with host.plugged(HYBRID):
        assert post(event(OVS))[0] == 200
        assert host.states() == {HYBRID.id: "plugged"}
        host.plug(OVS)
        host.becomes(OVS, "wired")
        assert host.states()[HYBRID.id] == "plugged"
        # What was said of a VIF ends with it.
        assert host.daemon.request("DELETE", f"/v1/vifs/{OVS.id}")[0] == 200
        host.plug(OVS)
        time.sleep(0.3)
        assert host.states()[OVS.id] == "plugged"


def test_word_that_comes_while_its_vif_is_being_plugged_is_not_lost(host: Host) -> None:
    for delay in (0.0, 0.005, 0.01, 0.02, 0.04):
        with host.plugged(HYBRID), concurrent.futures.ThreadPoolExecutor() as pool:
            plugging = pool.submit(host.plug, OVS)
            time.sleep(delay)
            # In the world's namespace this thread alone is.
            assert post(event(OVS))[0] == 200
            plugging.result()
            host.becomes(OVS, "wired")


def test_wait_ends_with_the_status(host: Host) -> None:
    with host.plugged(HYBRID), concurrent.futures.ThreadPoolExecutor() as pool:
        body = {"ids": [HYBRID.id], "for": "wired", "timeout": 20}
        waiting = pool.submit(host.daemon.request, "POST", "/v1/wait", body)
        time.sleep(0.2)
        assert not waiting.done()
        assert post(event(HYBRID))[0] == 200
        status, output = waiting.result(AT_ONCE_SECONDS)
        assert (status, output["reached"], output["vifs"][0]["state"]) == (200, True, "wired")


def test_bad_ones_get_novas_codes_and_change_nothing(host: Host) -> None:
    with host.plugged(*ALL):
        seq = host.sequence()
        for name in ("network-vif-plugged", "network-vif-unplugged", "network-vif-deleted", "network-changed"):
            ordinary = event(HYBRID, name, server_uuid=STRANGER, tag=STRANGER)
            assert post(ordinary) == (200, {"events": [{**ordinary, "status": "completed", "code": 200}]})
        for output, code in (
            (event(HYBRID, server_uuid=OTHERS.document["instance"]["uuid"]), 404),
            ({"name": "volume-extended", "server_uuid": INSTANCE}, 400),
        ):
            assert post(output) == (207, {"events": [{**output, "status": "failed", "code": code}]})
        for bad, names in (
            ([], "events"),
            ([{"name": "network-vif-plugged"}], "events[0].server_uuid"),
            ([event(HYBRID), event(OVS, status="done")], "events[1].status: 'done'"),
            ([event(HYBRID, more="x")], "events[0].more: 'x'"),
        ):
            status, output = post(*bad)
            assert (status, output["badRequest"]["code"]) == (400, 400)
            assert names in output["badRequest"]["message"]
        for token in (None, "", "notused", TOKEN[:-1]):
            for path, method in ((PATH, "POST"), ("/v1/vifs", "GET"), ("/metrics", "GET")):
                assert post(event(HYBRID), token=token, path=path, method=method)[0] == 401
        assert post(event(HYBRID), path="/v1/batch")[0] == 404
        assert post(event(HYBRID), method="DELETE")[0] == 405
        time.sleep(0.3)
        assert host.events_since(seq) == []
        assert set(host.states().values()) == {"plugged"}
        labels = '{code="404",name="network-vif-plugged"}'
        assert host.daemon.metric(f"vifplug_external_events_total{labels}") == 1
        assert TOKEN not in host.daemon.log()


def test_word_outlives_the_worker_and_its_successor_listens(host: Host) -> None:
    with host.plugged(HYBRID, OVS):
        assert post(event(HYBRID))[0] == 200
        # As early as it can be: nobody has had the time to act on it.
        seq, worker = host.sequence(), host.daemon.worker()
        with socket.create_connection(("127.0.0.1", PORT)):
            os.kill(worker, signal.SIGKILL)
            wait_until(lambda: _has_another_worker(host.daemon, worker), "another worker")
            host.daemon.await_answer()
            host.becomes(HYBRID, "wired")
            wait_until(_listens, "the listener", AT_ONCE_SECONDS)
        assert post(event(OVS))[0] == 200
        host.becomes(OVS, "wired")
        assert host.events_since(seq)[-1] == (OVS.id, "wired")


def test_events_of_a_vif_that_is_gone_are_taken(host: Host) -> None:
    """Neutron tells of the end of a port when its VIF is unplugged here already."""
    with host.plugged(HYBRID):
        pass
    for name in ("network-vif-unplugged", "network-vif-deleted", "network-vif-plugged"):
        status, output = post(event(HYBRID, name))
        assert (status, output["events"][0]["code"], output["events"][0]["status"]) == (200, 200, "completed")
    assert "71a6b0e4" not in host.states()


def test_neutrons_own_notifier_is_understood_and_content(host: Host) -> None:
    if not PYTHON.exists():
        pytest.skip(f"no Neutron at {PYTHON}: tools/setup --oracle installs it")
    config = host.world.directory / "neutron.conf"
    endpoint = f"http://127.0.0.1:{PORT}/v2.1"
    config.write_text(f"[nova]\nauth_type = admin_token\nendpoint = {endpoint}\ntoken = {TOKEN}\n")
    with host.plugged(HYBRID):
        argv = (str(PYTHON), "-W", "ignore", "-c", _NEUTRON, str(config), HYBRID.id, INSTANCE, "DOWN", "ACTIVE")
        output = host.world.run(*argv)
        host.becomes(HYBRID, "wired")
        # It warns of an answer without a microversion, of a code other than 200, and of what is no list.
        assert "WARNING" not in output.stderr and "ERROR" not in output.stderr, output.stderr


def test_port_that_is_taken_costs_the_listener_alone(world: World) -> None:
    with socket.create_server(("127.0.0.1", PORT)), Vifplugd(world, {"events": EVENTS}) as daemon:
        status, body = daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)
        assert (status, body["state"]) == (200, "plugged")
        lines = [json.loads(line) for line in daemon.log().splitlines()]
        (error,) = [line["message"] for line in lines if line["level"] == "ERROR"]
        assert f"127.0.0.1 port {PORT}" in error and "in use" in error
        assert daemon.stop() == 0


def _has_another_worker(daemon: Vifplugd, former: int) -> bool:
    with contextlib.suppress(ValueError, FileNotFoundError):
        return daemon.worker() != former
    return False


def _listens() -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", PORT)):
        return True
    return False
