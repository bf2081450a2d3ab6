"""Made-up requests, two thousand when thorough: schemathesis finds no 5xx, and touches no stranger."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.support.counts import times
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.tcp_relay import TcpRelay
from tests.support.world import daemons
from tests.support.world.world import REPOSITORY, World

REQUESTS = times(800, 2000)
EXAMPLES = times(40, 150)
"""Of each of the thirteen operations, besides some hundred requests at the edges of what the description allows."""
SEED = os.environ.get("VIFPLUG_SEED", "20261121")
RUN_SECONDS = 900.0
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance", "allow_header_conformance", "unsupported_method"),
)


def seed(world: World) -> None:
    """What strangers have on this host, some of it under names that VIFs of ``steering.IDS`` would like to have."""
    # With an address of its own, or the kernel gives a bridge that of whatever joins it: requests may name one.
    for name in ("foreignbr", "qbr81ab5618-df"):
        world.ip("link", "add", name, "address", "02:00:00:00:00:99", "type", "bridge")
    world.ip("link", "set", "foreignbr", "up")
    world.ip("link", "add", "foreignveth", "type", "veth", "peer", "name", "foreignpeer")
    world.ip("link", "set", "foreignpeer", "master", "foreignbr")
    world.ip("tuntap", "add", "foreigntap", "mode", "tap")
    world.ip("tuntap", "add", "tap3fe5648f-47", "mode", "tap")
    world.ip("link", "set", "tap3fe5648f-47", "alias", "not vifplug:81ab5618-df3e-4999-932a-1263b7886e5a")
    world.add_bridge("br-foreign")
    world.vsctl("add-port", "br-foreign", "foreignint", "--", "set", "Interface", "foreignint", "type=internal")
    world.vsctl("add-port", "br-int", "foreignveth", "tag=7", "--", "set", "Port", "foreignveth", "external_ids:a=b")
    row = ("--", "set", "Interface", "foreignport", "type=internal", "external_ids:iface-id=foreign-iface")
    world.vsctl("add-port", "br-int", "foreignport", *row)
    world.vsctl("set", "Port", "foreignport", "qos=@q", "--", "--id=@q", "create", "QoS", "type=linux-noop")


def schemathesis(world: World, url: str, directory: Path) -> None:
    """Run it; AssertionError with what it found."""
    world.environment |= {
        "SCHEMATHESIS_HOOKS": "tests.support.daemon.schemathesis_hooks",
        "PYTHONPATH": str(REPOSITORY),
    }
    result = world.run(
        *("env", "-C", str(directory)),  # it keeps notes where it runs
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{url}/openapi.json"),
        *("--exclude-path", "/v1/events"),  # it does not end
        *("--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", SEED),
        *("--checks", ",".join(CHECKS), "--continue-on-failure", "--no-shrink", "--no-color"),
        *("--request-timeout", "30"),
        check=False,
        timeout=RUN_SECONDS,
    )
    assert result.returncode == 0, result.stdout[-20000:] + result.stderr[-5000:]


def answered(daemon: Vifplugd, method: str, path: str, status: int) -> float:
    """How many requests were answered so."""
    return daemon.metric(f'vifplug_requests_total{{method="{method}",path="{path}",status="{status}"}}')


def test_made_up_requests_find_no_error_and_touch_no_stranger(world: World, tmp_path: Path) -> None:
    seed(world)
    with Vifplugd(world) as daemon, TcpRelay(daemon.socket) as relay:
        # Before it has found OVSDB, it says 503, and rightly.
        daemons.wait_until(lambda: daemon.request("GET", "/healthz")[1]["status"] == "ok", "the connection to OVSDB")
        before = world.snapshot()
        schemathesis(world, relay.url, tmp_path)
        assert daemon.metric("vifplug_requests_total") >= REQUESTS
        # Not all of them ended at the first check. The seed fixes how many did for one API: 24 GETs, the fewest.
        assert answered(daemon, "PUT", "/v1/vifs/{id}", 200) > 30
        assert answered(daemon, "PUT", "/v1/vifs/{id}", 409) > 10
        assert answered(daemon, "POST", "/v1/batch", 200) > 30
        assert answered(daemon, "GET", "/v1/vifs/{id}", 200) > 15
        status, output = daemon.request("POST", "/v1/batch", {"unplug": list(daemon.vifs())})
        assert status == 200, output
        assert world.snapshot() == before
