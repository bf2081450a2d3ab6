"""Another process keeps the store locked: it is named, and those who only look go on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import BRIDGE, HYBRID, library
from tests.support.world.world import World
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
        reported = json.loads(world.vifplug("-o", "json", "doctor", check=False).stdout)
        (store,) = [check for check in reported["checks"] if check["check"] == "store"]
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
            status, reported = daemon.request("GET", "/v1/doctor")
            assert any(f"process {holder}" in (check.get("reason") or "") for check in reported["checks"]), reported
        assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200


def test_look_does_not_wait_to_write_down_vlans(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.vsctl("set", "Port", HYBRID.port, "tag=100")
        with held(world, "BEGIN IMMEDIATE"):
            began = time.monotonic()
            assert [vif.id for vif in host.list()] == [HYBRID.id]
            assert time.monotonic() - began < BUSY_SECONDS * 0.8


LOCKED_BESIDE = """
import fcntl, os, sys
from vifplug.store import holders
os.chdir(sys.argv[1])
for name in ("one", "two", "lower", "layers"):
    os.mkdir(name)
for name in ("one", "two", "layers"):
    assert os.system(f"mount -t tmpfs none {name}") == 0
os.mkdir("layers/upper"), os.mkdir("layers/work"), os.mkdir("merged")
assert os.system("mount -t overlay none merged -o lowerdir=lower,upperdir=layers/upper,workdir=layers/work") == 0
paths = [f"{name}/vifplug.db" for name in ("one", "two", "merged")]
files = [open(path, "w") for path in paths]
same = os.stat(paths[0]).st_ino == os.stat(paths[1]).st_ino
found = []
for file in files[1:]:
    fcntl.lockf(file, fcntl.LOCK_EX)
    found.append([bool(holders.lock_holder(path)) for path in paths])
print([same, *found])
"""


def test_lock_on_another_file_system_is_not_taken_for_one_on_the_store(world: World) -> None:
    """A new tmpfs gives its first file the same inode as any other; a file of an overlay has a device of its own."""
    command = ["unshare", "--mount", sys.executable, "-c", LOCKED_BESIDE, str(world.directory)]
    reported = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(reported.lower()) == [True, [False, True, False], [False, True, True]]
