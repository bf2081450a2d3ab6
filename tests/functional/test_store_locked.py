"""Another process keeps the store locked: it is named, and those who only look go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.functional.vifplugd import Vifplugd
from tests.functional.vifs import BRIDGE, HYBRID, library
from tests.functional.world import World
from vifplug.store.database import BUSY_SECONDS

HOLD = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
for statement in sys.argv[2:]:
    database.execute(statement).fetchall()
print("held", flush=True)
sys.stdin.read()
"""
HOW = {
    "write": ["BEGIN IMMEDIATE"],
    "exclusive": ["BEGIN EXCLUSIVE"],
    "written": ["BEGIN", "INSERT INTO counters VALUES ('x', 1)"],
}


@contextmanager
def held(world: World, *statements: str) -> Iterator[int]:
    """Another process that has begun a transaction, and does not end it; its pid."""
    command = [sys.executable, "-c", HOLD, str(world.state_dir / "vifplug.db"), *statements]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        yield holder.pid
        assert holder.stdin is not None
        holder.stdin.close()


@pytest.mark.parametrize("how", HOW)
def test_holder_is_named_and_the_error_says_to_try_again(world: World, how: str) -> None:
    world.vifplug("plug", "-", input=BRIDGE.text)
    before = world.snapshot()
    with held(world, *HOW[how]) as holder:
        error = world.vifplug_json("plug", "-", input=HYBRID.text, check=False)["error"]
        assert (error["type"], error["retryable"]) == ("StoreLocked", True), error
        assert f"locked by process {holder} (python" in error["message"]
        assert world.snapshot() == before
        assert [vif["id"] for vif in world.vifplug_json("list")["vifs"]] == [BRIDGE.id]
        told = json.loads(world.vifplug("-o", "json", "doctor", check=False).stdout)
        (store,) = [check for check in told["checks"] if check["check"] == "store"]
        assert store["status"] == "error" and f"process {holder}" in store["reason"], store
    world.vifplug("plug", "-", input=HYBRID.text)


def test_daemon_answers_503_and_goes_on_looking(world: World) -> None:
    with Vifplugd(world, repair_interval=600) as daemon:
        assert daemon.request("PUT", f"/v1/vifs/{BRIDGE.id}", BRIDGE.document)[0] == 200
        with held(world, "BEGIN IMMEDIATE") as holder:
            status, answer = daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)
            assert (status, answer["error"]["type"]) == (503, "StoreLocked"), answer
            assert f"process {holder}" in answer["error"]["message"]
            assert daemon.request("GET", "/v1/vifs", timeout=5)[0] == 200
            status, told = daemon.request("GET", "/v1/doctor")
            assert any(f"process {holder}" in (check.get("reason") or "") for check in told["checks"]), told
        assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200


def test_look_does_not_wait_to_write_down_vlans(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.vsctl("set", "Port", HYBRID.port, "tag=100")
        with held(world, "BEGIN IMMEDIATE"):
            began = time.monotonic()
            assert [vif.id for vif in host.list()] == [HYBRID.id]
            assert time.monotonic() - began < BUSY_SECONDS * 0.8
