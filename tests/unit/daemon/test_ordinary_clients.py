"""Clients of other people's: one generated from the description, and one that reads server-sent events."""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import httpx_sse
import pytest

from tests.support import builders
from tests.support.daemon.daemon_calls import Daemon, served
from vifplug.config.options import Settings
from vifplug.daemon.http import event_stream
from vifplug.daemon.http.protocol import Access

DOCUMENT = {"id": builders.HYBRID, "vif_type": "ovs-hybrid", "address": "fa:16:3e:eb:5e:26"}
GENERATE_SECONDS = 300


@pytest.fixture
def transport(tmp_path: pathlib.Path) -> Iterator[httpx.HTTPTransport]:
    """The way to a daemon whose administrator we are."""
    daemon = Daemon(tmp_path)
    access = Access.of(Settings(admin_users=("root", str(os.geteuid()))))
    daemon.grant(access)
    with served(daemon.app, tmp_path / "socket"), httpx.HTTPTransport(uds=str(tmp_path / "socket")) as found:
        yield found
        daemon.hub.close()


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a package that openapi-python-client made, without the network."""
    directory = tmp_path_factory.mktemp("generated")
    description = directory / "openapi.json"
    (directory / "config.yml").write_text("post_hooks: []\n")
    description.write_text(json.dumps(Daemon(directory).app.openapi()))
    name = "vifplug_generated_client"
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", str(description), "--meta", "none"]
    command += ["--output-path", str(directory / name), "--config", str(directory / "config.yml"), "--fail-on-warning"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GENERATE_SECONDS, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(directory))
    yield name
    sys.path.remove(str(directory))
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def test_generated_client_plugs_lists_and_unplugs(generated: str, transport: httpx.HTTPTransport) -> None:
    def part(name: str) -> Any:
        return importlib.import_module(f"{generated}.{name}")

    client = part("client").Client(base_url="http://vifplug", httpx_args={"transport": transport})
    models = part("models")
    plugged = part("api.vifs.put_vif").sync(builders.HYBRID, client=client, body=models.VIF.from_dict(DOCUMENT))
    assert (plugged.id, plugged.state) == (builders.HYBRID, "plugged")
    batch = models.BatchRequest.from_dict({"plug": [DOCUMENT]})
    answer = part("api.vifs.batch").sync(client=client, body=batch)
    assert [vif.id for vif in answer.vifs] == [builders.HYBRID]
    listed = part("api.vifs.list_vifs").sync(client=client)
    assert [vif.devices[0].name for vif in listed.vifs] == ["qbr71a6b0e4-1a"]
    page = part("api.vifs.list_vifs").sync_detailed(client=client, limit=1)
    assert (len(page.parsed.vifs), "Link" in page.headers) == (1, False)
    again = part("api.vifs.list_vifs").sync_detailed(client=client, limit=1, if_none_match=page.headers["ETag"])
    assert (again.status_code, again.content) == (304, b"")
    assert part("api.vifs.check").sync(client=client, body=models.ChosenRequest()).clean
    assert part("api.monitoring.get_health").sync(client=client).status == "ok"
    assert part("api.vifs.delete_vif").sync(builders.HYBRID, client=client).state == "unplugged"
    problem = part("api.vifs.get_vif").sync(builders.HYBRID, client=client)
    assert (problem.status, problem.error.type_) == (404, "UnknownVif")


def test_ordinary_reader_of_server_sent_events_gets_events_alone(
    transport: httpx.HTTPTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.05)
    client = httpx.Client(transport=transport, base_url="http://vifplug", timeout=30)
    path = f"/v1/vifs/{builders.HYBRID}"

    def change() -> None:
        for method in ("PUT", "DELETE"):
            client.request(method, path, json=DOCUMENT if method == "PUT" else None)

    found = []
    with httpx_sse.connect_sse(client, "GET", "/v1/events") as source:
        start = int(source.response.headers["x-vifplug-sequence"])
        threading.Timer(0.3, change).start()  # some heartbeats before, and between
        for each in source.iter_sse():
            found.append((int(each.id), each.event, each.json()))
            if each.event == "plugged":
                threading.Event().wait(0.3)
            if each.event == "unplugged":
                break
    assert [data["vif_id"] for _id, _event, data in found] == [builders.HYBRID] * len(found)
    assert [data["state"] for _id, _event, data in found] == [event for _id, event, _data in found]
    assert [number for number, _event, _data in found] == list(range(start + 1, start + 1 + len(found)))
    with httpx_sse.connect_sse(client, "GET", "/v1/events", headers={"Last-Event-ID": str(start)}) as source:
        again = next(iter(source.iter_sse()))
        assert int(again.id) == start + 1
