"""The daemon starts and serves whatever it finds: OVS away, records and intents that are damaged, no br-int."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence

import pytest

import vifplug
from tests.support.daemon.vifplugd import Vifplugd, children
from tests.support.faults import faults
from tests.support.faults.faults import vif
from tests.support.network.endpoints import guest_in_bridge, host_on_bridge
from tests.support.network.traffic import ping
from tests.support.vifs import BRIDGE, GUEST, HOST, HYBRID, MTU, OVS, Request, must_link
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

ANSWER_SECONDS = 2.0
REPAIR_SECONDS = 10.0
LAUNCH_SECONDS = 10.0
ALL = (HYBRID, OVS, BRIDGE)


def plug_locally(world: World, requests: Sequence[Request] = ALL) -> None:
    """Plug before there is a daemon."""
    with vifplug.local(str(world.config_file)) as host:
        host.plug([request.vif for request in requests])


@contextlib.contextmanager
def started(daemon: Vifplugd) -> Iterator[Vifplugd]:
    """The daemon, which answers and lists within 2 s of being there; how long Python takes is the machine's."""
    daemon.start(wait=False)
    try:
        wait_until(lambda: _listens(daemon), "the socket", LAUNCH_SECONDS)
        began = time.monotonic()
        for path in ("/healthz", "/v1/vifs"):
            status, body = daemon.request("GET", path, timeout=ANSWER_SECONDS)
            assert status == 200, body
        assert time.monotonic() - began < ANSWER_SECONDS
        yield daemon
    finally:
        daemon.__exit__(None, None, None)


def _listens(daemon: Vifplugd) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
        probe.connect(str(daemon.socket))
        return True
    return False


def states(daemon: Vifplugd) -> Mapping[str, str]:
    """Each VIF's state, told in time."""
    began = time.monotonic()
    found = daemon.vifs()
    assert time.monotonic() - began < ANSWER_SECONDS
    return {vif_id: found[vif_id]["state"] for vif_id in found}


def is_master(world: World, link: str, master: str) -> bool:
    return must_link(world, link).get("master") == master


def damage(world: World) -> None:
    """Take the VIFs apart, whether or not they have to do with Open vSwitch."""
    world.ip("link", "set", BRIDGE.tap, "nomaster")
    world.ip("link", "set", HYBRID.qvb, "nomaster")


# -- OVS away -------------------------------------------------------------------------------------------------


def take_away(world: World, how: str) -> None:
    match how:
        case "no socket":
            world.stop_vswitchd()
            world.ovsdb.stop()
            world.socket.unlink(missing_ok=True)
        case "nobody listens":
            world.stop_vswitchd(signal.SIGKILL)
            world.ovsdb.stop(signal.SIGKILL)
            assert world.socket.exists()
        case _:
            world.ovsdb.pause()


def bring_back(world: World, how: str) -> None:
    if how == "hangs":
        world.ovsdb.resume()
        return
    world.socket.unlink(missing_ok=True)
    world.ovsdb.start()
    world.start_vswitchd()


WAYS = ["no socket", "nobody listens", "hangs"]


@pytest.mark.parametrize("how", WAYS)
def test_daemon_starts_while_ovs_is_away_and_repairs_when_it_comes(world: World, how: str) -> None:
    plug_locally(world)
    daemon = Vifplugd(world)
    take_away(world, how)
    damage(world)
    with started(daemon):
        assert set(states(daemon)) == {request.id for request in ALL}
        # What needs no OVS is kept, and plugged, all the while.
        wait_until(lambda: is_master(world, BRIDGE.tap, BRIDGE.brq), "the repair of a VIF without OVS", REPAIR_SECONDS)
        another = vif("bridge", 7)
        body = another.model_dump(mode="json", exclude_none=True)
        assert daemon.request("PUT", f"/v1/vifs/{another.id}", body, timeout=ANSWER_SECONDS)[0] == 200
        assert daemon.request("DELETE", f"/v1/vifs/{another.id}", timeout=ANSWER_SECONDS)[0] == 200
        status, problem = daemon.request("PUT", f"/v1/vifs/{vif('ovs', 8).id}", _document("ovs", 8))
        assert (status, problem["error"]["retryable"]) == (503, True), problem
        if how != "no socket":  # a host of plain bridges has none, and is in order
            assert daemon.request("GET", "/healthz")[1]["status"] == "degraded"
        bring_back(world, how)
        wait_until(lambda: is_master(world, HYBRID.qvb, HYBRID.qbr), "the repair once OVS is there", REPAIR_SECONDS)
        wait_until(lambda: set(states(daemon).values()) == {"wired"}, "all plugged", REPAIR_SECONDS)
        assert daemon.request("GET", "/healthz")[1]["status"] == "ok"
        assert world.vifplug_json("--local", "check")["clean"]


def _document(vif_type: str, number: int) -> dict[str, object]:
    return vif(vif_type, number).model_dump(mode="json", exclude_none=True)


@pytest.mark.parametrize("how", ["nobody listens", "hangs"])
def test_list_answers_in_time_when_ovs_goes_away(world: World, how: str) -> None:
    with Vifplugd(world) as daemon:
        for request in ALL:
            assert daemon.request("PUT", f"/v1/vifs/{request.id}", request.document)[0] == 200
        take_away(world, how)
        # That a server hangs is told by questions that go unanswered: until then callers wait for theirs.
        wait_until(lambda: daemon.request("GET", "/healthz", timeout=1)[1]["status"] == "degraded", "word of it", 10)
        until = time.monotonic() + 2
        while time.monotonic() < until:
            assert set(states(daemon)) == {request.id for request in ALL}
            assert daemon.request("GET", f"/v1/vifs/{HYBRID.id}", timeout=ANSWER_SECONDS)[0] == 200
            assert daemon.request("GET", "/healthz", timeout=0.5)[0] == 200
        bring_back(world, how)
        wait_until(lambda: set(states(daemon).values()) == {"wired"}, "all plugged", REPAIR_SECONDS)


# -- damage ---------------------------------------------------------------------------------------------------

BODIES: Mapping[str, object] = {
    "truncated": None,
    "empty": "",
    "null": "null",
    "a list": "[]",
    "a number": 5,
    "no text": b"\xff\xfe\x00",
    "wrong types": '{"vif": 5, "resources": {}, "state": [], "updated_at": 1, "error": 7}',
    "a list in place of a device": "devices",
}


def _spoil(world: World, bodies: Mapping[str, object]) -> None:
    """Damage records from outside, by VIF id; None cuts one short."""
    with contextlib.closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database, database:
        for vif_id, body in bodies.items():
            (text,) = database.execute("SELECT body FROM records WHERE vif_id = ?", (vif_id,)).fetchone()
            if body is None:
                body = text[: len(text) // 2]
            if body == "devices":
                body = json.dumps(json.loads(text) | {"resources": [[]]})
            assert body != text
            database.execute("UPDATE records SET body = ? WHERE vif_id = ?", (body, vif_id))


def test_damaged_records_are_reported_kept_and_replaced_and_the_rest_is_served(world: World) -> None:
    vifs = [vif("ovs-hybrid" if number % 2 else "bridge", number) for number in range(1, len(BODIES) + 1)]
    with vifplug.local(str(world.config_file)) as host:
        host.plug([*vifs, HYBRID.vif])
    whole = world.snapshot()
    bodies = dict(zip((each.id for each in vifs), BODIES.values(), strict=True))
    _spoil(world, bodies)
    world.ip("link", "set", HYBRID.qvb, "nomaster")
    with started(Vifplugd(world, orphan_grace=0, repair_interval=0.3)) as daemon:
        wait_until(lambda: is_master(world, HYBRID.qvb, HYBRID.qbr), "the repair of a sound one", REPAIR_SECONDS)
        wait_until(lambda: daemon.metric("vifplug_resyncs_total") >= 6, "some looks at everything", REPAIR_SECONDS)
        assert world.snapshot() == whole, "what a damaged record holds was taken for an orphan"
        listed = daemon.vifs()
        assert listed.pop(HYBRID.id)["state"] == "wired"
        assert {each["state"] for each in listed.values()} == {"failed"}
        assert set(listed) == set(bodies)
        for vif_id, each in listed.items():
            assert "is damaged" in each["error"], each
            assert vif_id in each["error"]
        assert daemon.request("GET", f"/v1/vifs/{vifs[0].id}")[1]["state"] == "failed"
        half = len(vifs) // 2
        for each in vifs[:half]:
            status, body = daemon.request("DELETE", f"/v1/vifs/{each.id}")
            assert (status, body["state"]) == (200, "unplugged"), body
            assert [key for key in world.snapshot() if faults.is_of(key, each)] == []
        for each in vifs[half:]:
            document = each.model_dump(mode="json", exclude_none=True)
            status, body = daemon.request("PUT", f"/v1/vifs/{each.id}", document)
            assert (status, body["state"], body["error"]) == (200, "plugged", None), body
        assert states(daemon) == dict.fromkeys([HYBRID.id, *(each.id for each in vifs[half:])], "wired")
        assert world.vifplug_json("--local", "check")["clean"]


def test_intents_left_open_and_damaged_are_settled(world: World) -> None:
    plugged, unknown, gone = HYBRID.id, vif("ovs", 3).id, vif("ovs-hybrid", 4).id
    plug_locally(world, [HYBRID, BRIDGE])
    whole = world.snapshot()
    with contextlib.closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database, database:
        database.executemany(
            "INSERT INTO intents VALUES (?, ?)", [(plugged, '{"vif_id": "7'), (unknown, ""), (gone, '{"session": {}}')]
        )
    world.ip("link", "set", BRIDGE.tap, "nomaster")
    world.ip("link", "set", HYBRID.qvb, "nomaster")
    with started(Vifplugd(world)) as daemon:
        wait_until(lambda: "intents" not in faults.stored(world), "their end", REPAIR_SECONDS)
        wait_until(lambda: world.snapshot() == whole, "the repair", REPAIR_SECONDS)
        assert states(daemon) == {HYBRID.id: "wired", BRIDGE.id: "wired"}


class _Unready(Vifplugd):
    def close(self) -> None:
        self.__exit__(None, None, None)


def test_store_that_is_no_database_is_reported_and_never_answered_for(world: World) -> None:
    plug_locally(world, [HYBRID])
    whole = world.snapshot()
    for name in os.listdir(world.state_dir):
        if name.startswith("vifplug.db"):
            (world.state_dir / name).write_bytes(b"no database at all" * 100)
    with contextlib.closing(_Unready(world, orphan_grace=0, repair_interval=0.2)) as daemon:
        daemon.start(wait=False)
        wait_until(lambda: daemon.log().count("file is not a database") >= 2, "what is wrong", REPAIR_SECONDS)
        assert "Traceback" not in daemon.log()
        assert daemon.stop() == 0
    assert world.snapshot() == whole


# -- no br-int ------------------------------------------------------------------------------------------------


def test_daemon_starts_without_br_int_and_repairs_once_it_is_there(world: World) -> None:
    plug_locally(world)
    world.vsctl("del-br", "br-int")
    world.ip("link", "set", BRIDGE.tap, "nomaster")
    with started(Vifplugd(world)) as daemon:
        wait_until(lambda: is_master(world, BRIDGE.tap, BRIDGE.brq), "the repair of the others", REPAIR_SECONDS)
        wait_until(lambda: states(daemon)[HYBRID.id] == "failed", "what is wrong", REPAIR_SECONDS)
        assert states(daemon)[BRIDGE.id] == "wired"
        assert "no OVS bridge 'br-int'" in daemon.vifs()[HYBRID.id]["error"]
        world.add_bridge("br-int")
        wait_until(lambda: set(states(daemon).values()) == {"wired"}, "all plugged", REPAIR_SECONDS)
        with (
            guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, HYBRID.address, outer=HYBRID.tap) as guest,
            host_on_bridge(world, "br-int", HOST),
        ):
            assert ping(guest, HOST)
        assert world.vifplug_json("--local", "check")["clean"]


def test_store_deleted_under_the_daemon_is_opened_anew(world: World) -> None:
    with Vifplugd(world, repair_interval=1) as daemon:
        first = daemon.worker()
        for part in world.state_dir.glob("vifplug.db*"):
            part.unlink()
        wait_until(lambda: first not in children(daemon.pid), "its worker's end", LAUNCH_SECONDS)
        daemon.await_answer()
        status, _body = daemon.request("PUT", f"/v1/vifs/{OVS.vif.id}", OVS.document)
        assert status == 200
        with vifplug.local(str(world.config_file)) as host:
            assert [report.id for report in host.list()] == [OVS.vif.id]
