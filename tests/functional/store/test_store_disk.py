"""The store's disk is full, and really so: a small tmpfs that takes no byte more."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import BRIDGE, HYBRID, OVS, Request, must_link
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

SECONDS = 60.0
GREEDY = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
while True:
    try:
        os.write(file, bytes(4096))
    except OSError:
        pass
"""


@pytest.fixture(params=["1m", "8m"])
def small(world: World, request: pytest.FixtureRequest) -> Iterator[World]:
    """A world whose state_dir has a small disk of its own."""
    world.state_dir.mkdir(mode=0o700)
    world.run("mount", "-t", "tmpfs", "-o", f"size={request.param},mode=0700", "small", str(world.state_dir))
    try:
        yield world
    finally:
        world.run("umount", "--lazy", str(world.state_dir))


def fill(world: World) -> Path:
    """Leave no byte on it."""
    filler = world.state_dir / "filler"
    world.run("dd", "if=/dev/zero", f"of={filler}", "bs=4k", check=False)
    world.run("sh", "-c", f"cat /dev/zero >>{filler}", check=False)
    found = world.run("stat", "-f", "-c", "%a", str(world.state_dir)).stdout.strip()
    listing = world.run("ls", "-la", str(world.state_dir)).stdout
    assert found == "0", f"{found} blocks are left: {listing}"
    return filler


def test_local_unplug_and_repair_go_on_and_a_plug_is_refused(small: World) -> None:
    before = small.snapshot()
    small.vifplug("plug", "-", input=BRIDGE.text)
    small.vifplug("plug", "-", input=HYBRID.text)
    whole = small.snapshot()
    filler = fill(small)

    refused = small.vifplug_json("plug", "-", input=OVS.text, check=False)["error"]
    assert refused["type"] == "StoreFull"
    assert "No space left on device" in refused["message"] and str(small.state_dir) in refused["message"]
    assert small.snapshot() == whole

    small.ip("link", "set", HYBRID.qbr, "down")
    small.vifplug("repair", "--all")
    assert small.snapshot() == whole
    small.vifplug("plug", "-", input=HYBRID.text)
    small.vifplug("unplug", HYBRID.id, BRIDGE.id)
    assert small.snapshot() == before
    assert small.vifplug_json("list") == {"vifs": []}

    filler.unlink()
    small.vifplug("plug", "-", input=OVS.text)
    small.vifplug("unplug", OVS.id)
    assert small.snapshot() == before


def plug_until_refused(daemon: Vifplugd) -> list[Request]:
    """Plug others until the disk is the reason for a refusal: SQLite's own files may have room inside for a few."""
    plugged: list[Request] = []
    for number in range(64):
        request = OVS.but(id=f"{number:08x}{OVS.id[8:]}", address=f"fa:16:3e:00:00:{number:02x}")
        status, answer = daemon.request("PUT", f"/v1/vifs/{request.id}", request.document)
        if status != 200:
            assert (status, answer["error"]["type"]) == (500, "StoreFull"), answer
            return plugged
        plugged.append(request)
    raise AssertionError("64 VIFs were recorded on a full disk")


def is_repaired(world: World, whole: dict[str, Any]) -> bool:
    """Whether all is there again; a port that was made again asks for its number, which it did not before."""
    return world.snapshot().keys() == whole.keys() and must_link(world, BRIDGE.tap).get("master") == BRIDGE.brq


@contextlib.contextmanager
def greedy(filler: Path) -> Iterator[None]:
    """Another program that goes on writing: what is given back to this disk is gone at once."""
    process = subprocess.Popen([sys.executable, "-c", GREEDY, str(filler)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("is_restarted", [False, True], ids=["all in the log", "an empty log"])
def test_daemon_repairs_and_unplugs_on_a_full_disk(small: World, is_restarted: bool) -> None:
    """A log that holds all there is needs room in the file to be written back; an empty one needs room itself."""
    before = small.snapshot()
    with Vifplugd(small, repair_interval=1) as daemon:
        for each in (HYBRID, BRIDGE):
            assert daemon.request("PUT", f"/v1/vifs/{each.id}", each.document)[0] == 200
        if is_restarted:
            daemon.stop()
            daemon.start()
        filler = fill(small)
        more = plug_until_refused(daemon)
        whole = small.snapshot()
        with greedy(filler):
            for _turn in range(4):
                small.ip("link", "delete", HYBRID.qvo)
                small.ip("link", "set", BRIDGE.tap, "nomaster")
                wait_until(lambda: is_repaired(small, whole), f"the repair: {small.directory}", SECONDS)
                wait_until(lambda: daemon.vifs()[HYBRID.id]["state"] == "wired", "its record", SECONDS)
            for each in (HYBRID, BRIDGE, *more):
                status, answer = daemon.request("DELETE", f"/v1/vifs/{each.id}")
                assert status == 200, answer
        assert small.snapshot() == before
        assert daemon.vifs() == {}
        for text in ("the remaining room is kept", "states of VIFs were not written"):
            assert daemon.log().count(text) <= 1, f"logged again and again: {text}"
        filler.unlink()
        assert daemon.request("PUT", f"/v1/vifs/{OVS.id}", OVS.document)[0] == 200


def test_doctor_says_that_the_disk_is_full(small: World) -> None:
    small.vifplug("plug", "-", input=BRIDGE.text)
    fill(small)
    reported = json.loads(small.vifplug("-o", "json", "doctor", check=False).stdout)
    (store,) = [check for check in reported["checks"] if check["check"] == "store"]
    assert store["status"] == "error", store
