"""Damage to the store, part by part: nothing that it still names is taken away, and the daemon names what is wrong."""

from __future__ import annotations

import sqlite3
from contextlib import closing, nullcontext
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd, children
from tests.support.vifs import BRIDGE, HYBRID
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

ABSENT = "0000ffff-d1c4-4b1e-8a51-6f0e5c9d77aa"
DAMAGES: dict[str, str] = {
    "key": "UPDATE records SET vif_id = 'x' || substr(vif_id, 2)",
    "key of another VIF's form": "UPDATE records SET vif_id = 'ffffffff' || substr(vif_id, 9)",
    "key of bytes": "UPDATE records SET vif_id = CAST(x'00ff' || vif_id AS BLOB)",
    "row gone": "DELETE FROM records",
    "text": "UPDATE records SET body = substr(body, 1, 100)",
    "text of bytes": "UPDATE records SET body = CAST(body AS BLOB) || x'ff00'",
    "text and key": "UPDATE records SET body = substr(body, 1, 200), vif_id = 'x' || substr(vif_id, 2)",
    "key and claims": "UPDATE records SET vif_id = 'x' || vif_id; DELETE FROM claims",
    "all keys": "UPDATE records SET vif_id = 'x' || vif_id; UPDATE claims SET vif_id = 'x' || vif_id",
    "claims": "DELETE FROM claims",
    "claims' holders": "UPDATE claims SET holder = 'x', vif_id = 'y'",
    "resources": "UPDATE records SET body = json_set(body, '$.resources', json('[]'))",
    "resource of another type": "UPDATE records SET body = json_set(body, '$.resources[0].mtu', 'x')",
    "resource null": "UPDATE records SET body = json_set(body, '$.resources[0].name', null)",
    "state": "UPDATE records SET body = json_set(body, '$.state', 5)",
    "a number": "UPDATE records SET body = 5",
    "deep": "UPDATE records SET body = replace(hex(zeroblob(100000)), '00', '[')",
    "an intent of nothing": "INSERT INTO intents SELECT vif_id, '{' FROM records; DELETE FROM records",
    "an intent on a torn record": "INSERT INTO intents SELECT vif_id, '{' FROM records; UPDATE records SET body = '{'",
}


@pytest.mark.parametrize("what", [name for name in DAMAGES if name != "an intent of nothing"])
def test_gc_deletes_nothing_of_a_vif_whose_record_is_damaged(world: World, what: str) -> None:
    before = world.snapshot()
    for each in (HYBRID, BRIDGE):
        world.vifplug("plug", "-", input=each.text)
    whole = world.snapshot()
    with closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database, database:
        database.executescript(DAMAGES[what])

    world.vifplug("gc", "--delete", check=False)
    listed = world.vifplug("-o", "json", "list", check=False)
    checked = world.vifplug("-o", "json", "check", check=False)
    for result in (listed, checked):
        assert "InternalError" not in result.stderr and "Traceback" not in result.stderr, result.stderr
    assert world.snapshot() == whole

    if what not in ("key and claims", "all keys"):
        # And it can be taken away, by its id.
        world.vifplug("unplug", HYBRID.id, BRIDGE.id, check=False)
        if what not in ("resources", "claims' holders"):
            assert world.snapshot() == before
            assert world.vifplug_json("check")["clean"], world.vifplug_json("list")


@pytest.mark.parametrize("is_daemons", (False, True))
def test_unplug_of_a_damaged_vif_says_what_it_took_away(world: World, is_daemons: bool) -> None:
    for each in (HYBRID, BRIDGE):
        world.vifplug("plug", "-", input=each.text)
    with closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database, database:
        database.executescript(DAMAGES["text"])
    with Vifplugd(world) if is_daemons else nullcontext():
        result = world.vifplug("unplug", HYBRID.id, BRIDGE.id, ABSENT)
    words = {line.split()[0]: line.split()[-1] for line in result.stdout.splitlines()}
    assert words | {HYBRID.id: "unplugged", BRIDGE.id: "unplugged", ABSENT: "absent"} == words
    assert f"the record of VIF {HYBRID.id} was damaged" in result.stderr
    names = [f"{prefix}{HYBRID.id}"[:14] for prefix in ("qbr", "qvb", "qvo")]
    assert all(name in result.stderr and world.link(name) is None for name in names), result.stderr
    assert f"OVS port {names[2]}" in result.stderr


def test_damaged_vif_is_plugged_anew(world: World) -> None:
    world.vifplug("plug", "-", input=HYBRID.text)
    whole = world.snapshot()
    with closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database, database:
        database.execute(DAMAGES["key"])
    (listed,) = world.vifplug_json("list")["vifs"]
    assert (listed["id"], listed["state"]) == (HYBRID.id, "failed")
    assert "has lost its key" in listed["error"]
    world.vifplug("plug", "-", input=HYBRID.text)
    assert world.snapshot() == whole
    assert [vif["state"] for vif in world.vifplug_json("list")["vifs"]] == ["wired"]
    assert world.vifplug_json("check")["clean"]


@pytest.mark.parametrize("part", ["vifplug.db", "vifplug.db-wal", "vifplug.db-shm"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_daemon_is_unhealthy_once_its_store_is_gone(world: World, part: str, how: str) -> None:
    def health() -> Any:
        return daemon.request("GET", "/healthz")[1]

    with Vifplugd(world, repair_interval=600) as daemon:
        assert daemon.request("PUT", f"/v1/vifs/{BRIDGE.id}", BRIDGE.document)[0] == 200
        assert (health()["status"], health()["store"]) == ("ok", "ok")
        whole = world.snapshot()
        path = world.state_dir / part
        content = path.read_bytes()
        path.unlink()
        if how == "replaced":
            path.write_bytes(content)
        answer = health()
        assert answer["status"] == "unhealthy", answer
        assert part in answer["store"] and how in answer["store"]
        assert world.snapshot() == whole


def test_deleted_log_is_saved_into_the_store(world: World) -> None:
    with Vifplugd(world, repair_interval=1) as daemon:
        assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200
        worker = daemon.worker()
        (world.state_dir / "vifplug.db-wal").unlink()
        wait_until(lambda: worker not in children(daemon.pid), "another worker", 30)
        daemon.await_answer()
        assert daemon.vifs()[HYBRID.id]["state"] == "wired"
