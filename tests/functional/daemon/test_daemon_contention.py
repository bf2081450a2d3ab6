"""Somebody undoes what the daemon does, or will not let it; and what the daemon does when there is nothing to do."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.counts import times
from tests.support.daemon.daemon_variants import daemon_with_constants
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import faults
from tests.support.faults.faults import device, vif
from tests.support.network.endpoints import guest_on_tap
from tests.support.network.writes import watched
from tests.support.vifs import GUEST, HYBRID, MTU, OVS, must_link
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

FIGHT_SECONDS = 12.0
FIGHT_INTERVAL_SECONDS = 0.1
IDLE_SECONDS = float(times(12, 60))
IDLE_VIFS = 100
SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


def processor_seconds(*pids: int) -> float:
    """How much of a processor these have used so far."""
    used = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used += int(words[11]) + int(words[12])
    return used / _TICKS


def put(daemon: Vifplugd, document: Any) -> dict[str, Any]:
    status, body = daemon.request("PUT", f"/v1/vifs/{document['id']}", document)
    assert status == 200, body
    return dict(body)


def state(daemon: Vifplugd, vif_id: str) -> str:
    return str(daemon.vifs()[vif_id]["state"])


@contextlib.contextmanager
def fight(world: World, port: str) -> Iterator[None]:
    """Somebody who deletes a port ten times a second."""
    ending = threading.Event()
    words = ["--no-syslog", "--no-wait", f"--db=unix:{world.socket}", "--if-exists", "del-port", port]

    def work() -> None:
        while not ending.wait(FIGHT_INTERVAL_SECONDS):
            world.run("ovs-vsctl", *words)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


# -- contended, failed ----------------------------------------------------------------------------------------


def test_endless_fight_is_not_fought_and_ends_by_itself(world: World) -> None:
    # A person waits for 5 minutes at most; a test does not.
    with daemon_with_constants(world, {"reconcile.retry._CONTENDED_MAX_SECONDS": 4}) as daemon:
        put(daemon, HYBRID.document)
        put(daemon, OVS.document)
        pids = daemon.worker(), daemon.helper()
        used, repairs = processor_seconds(*pids), daemon.metric("vifplug_repairs_total")
        with fight(world, HYBRID.qvo):
            until = time.monotonic() + FIGHT_SECONDS
            looks: list[dict[str, str]] = []

            def is_contended() -> bool:
                looks.append(daemon.vifs()[HYBRID.id])
                return looks[-1]["state"] == "contended"

            # State and reason of one answer: during a repair the VIF is plugging, and has no reason.
            wait_until(is_contended, "the state contended", FIGHT_SECONDS)
            seen = []
            reason = looks[-1]["error"]
            assert "undone each time by another program" in reason
            assert HYBRID.qvo in reason
            while time.monotonic() < until:
                found = daemon.vifs()
                assert found[OVS.id]["state"] == "wired"
                seen.append(found[HYBRID.id]["state"])
                assert found[HYBRID.id]["error"] or seen[-1] == "plugging"
                time.sleep(0.2)
            assert set(seen) <= {"contended", "plugging"}  # the latter in the moment of a repair
            assert seen.count("contended") > 0.8 * len(seen)
            # Five quick ones until it is told, then after 2, 4 and 4 s.
            assert 5 <= daemon.metric("vifplug_repairs_total") - repairs <= 12
            assert processor_seconds(*pids) - used < 0.35 * FIGHT_SECONDS
        wait_until(lambda: state(daemon, HYBRID.id) == "wired", "the end of the contention", 3 * SECONDS)
        assert daemon.vifs()[HYBRID.id]["error"] is None
        assert world.vifplug_json("--local", "check")["clean"]


def test_repair_that_cannot_be_done_is_reported_and_blocks_no_other(world: World) -> None:
    neighbours = [vif("ovs-hybrid", number) for number in range(1, 6)]
    with vifplug.local(str(world.config_file)) as host:
        host.plug([HYBRID.vif, *neighbours])
    world.ip("link", "delete", HYBRID.qvo)
    world.ip("link", "add", HYBRID.qvo, "type", "bridge")  # a stranger's
    for each in neighbours:
        world.ip("link", "set", device("qvb", each), "nomaster")
    with Vifplugd(world, repair_interval=2) as daemon:

        def repaired() -> bool:
            return all(must_link(world, device("qvb", each)).get("master") for each in neighbours)

        wait_until(repaired, "the repair of the neighbours", SECONDS)
        wait_until(lambda: state(daemon, HYBRID.id) == "failed", "what is wrong", SECONDS)
        found = daemon.vifs()
        assert HYBRID.qvo in found[HYBRID.id]["error"], found[HYBRID.id]
        assert {found[each.id]["state"] for each in neighbours} == {"wired"}
        assert must_link(world, HYBRID.qvo)["linkinfo"]["info_kind"] == "bridge"
        tries = daemon.metric('vifplug_repairs_total{result="failed"}')
        time.sleep(2)
        assert daemon.metric('vifplug_repairs_total{result="failed"}') - tries <= 4
        world.ip("link", "delete", HYBRID.qvo)
        wait_until(lambda: state(daemon, HYBRID.id) == "wired", "the repair once the name is free", SECONDS)
        assert daemon.vifs()[HYBRID.id]["error"] is None
        assert world.vifplug_json("--local", "check")["clean"]


# -- orphans --------------------------------------------------------------------------------------------------

GRACE_SECONDS = 3.0


def leave(world: World, *vifs: Any) -> None:
    """Plug with another store: what is then on the host is owned, and this store knows nothing of it."""
    elsewhere = world.directory / "another.conf"
    text = world.config_file.read_text()
    elsewhere.write_text(text.replace(str(world.state_dir), str(world.directory / "another")))
    with vifplug.local(str(elsewhere)) as host:
        host.plug(vifs)


def there(world: World, *vifs: Any) -> set[str]:
    """What is on the host of some VIFs."""
    return {key for key in world.snapshot() if any(faults.is_of(key, each) for each in vifs)}


def test_orphans_go_after_their_grace_and_only_they(world: World) -> None:
    lost, busy, late = vif("ovs-hybrid", 1), vif("ovs", 2), vif("ovs", 3, create_tap=False)
    looks_alike = vif("ovs-hybrid", 4)
    with Vifplugd(world, orphan_grace=GRACE_SECONDS, repair_interval=0.5) as daemon:
        put(daemon, HYBRID.document)
        waiting = put(daemon, late.model_dump(mode="json", exclude_none=True))
        assert waiting["waiting_for"], waiting
        _imitate(world, looks_alike)
        others = world.snapshot()
        leave(world, lost, busy)
        with guest_on_tap(world, device("tap", busy), "fa:16:3e:00:00:02", GUEST, MTU):
            left_at = time.monotonic()
            whole = there(world, lost)
            assert len(whole) >= 5
            while time.monotonic() < left_at + GRACE_SECONDS - 0.5:
                assert there(world, lost) == whole, "gone before its grace was over"
                time.sleep(0.2)
            wait_until(lambda: not there(world, lost), "the end of what nobody records", SECONDS)
            time.sleep(2)
            assert there(world, busy), "a guest's tap was taken from it"
            assert "a guest uses them" in daemon.log()
            mine = {key: value for key, value in world.snapshot().items() if not faults.is_of(key, busy)}
            assert _but_ports(mine) == _but_ports(others)
        wait_until(lambda: not there(world, busy), "the end of what the guest has left", SECONDS)
        assert world.snapshot() == others
        assert daemon.vifs()[late.id]["state"] == "wired"
        assert daemon.vifs()[late.id]["waiting_for"] == waiting["waiting_for"]


def _but_ports(snapshot: dict[str, Any]) -> dict[str, Any]:
    """Without the list of a bridge's ports."""
    return {key: {**row, "ports": None} if key.startswith("Bridge ") else row for key, row in snapshot.items()}


def _imitate(world: World, each: Any) -> None:
    """Strangers' things that look like ours, each in another way."""
    world.ip("link", "add", device("qbr", each), "type", "bridge")
    world.ip("link", "add", "stranger", "type", "bridge")
    # Somebody's alias, without the MAC that ours have from birth.
    world.ip("link", "set", "stranger", "alias", f"vifplug:{each.id}")
    world.ip("link", "add", device("qvb", each), "type", "veth", "peer", device("qvo", each))
    world.vsctl("add-port", "br-int", device("qvo", each))
    world.vsctl("set", "Interface", device("qvo", each), f"external_ids:iface-id={each.id}")
    world.vsctl("add-port", "br-int", "int0", "--", "set", "Interface", "int0", "type=internal")
    world.vsctl("set", "Port", "int0", "external_ids:vifplug-vif=nobody")


def test_wanted_vif_is_no_orphan_though_seen_in_every_look(world: World) -> None:
    """Plugged and unplugged all the while that everything is looked at, with no grace at all."""
    with Vifplugd(world, orphan_grace=0, repair_interval=0.1) as daemon:
        document = HYBRID.document
        until = time.monotonic() + 2
        while time.monotonic() < until:
            put(daemon, document)
            assert daemon.request("DELETE", f"/v1/vifs/{HYBRID.id}")[0] == 200
        put(daemon, document)
        assert daemon.metric("vifplug_orphans_collected_total") == 0
        assert world.vifplug_json("--local", "check")["clean"]


# -- nothing to do --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [4])
def test_idle_daemon_writes_nothing_and_costs_little(world: World, interval: int) -> None:
    vifs = [vif(faults.TYPES[number % 2], number + 1) for number in range(IDLE_VIFS)]
    with Vifplugd(world, repair_interval=interval) as daemon:
        document = {"plug": [each.model_dump(mode="json", exclude_none=True) for each in vifs]}
        assert daemon.request("POST", "/v1/batch", document)[0] == 200
        pids = daemon.pid, daemon.worker(), daemon.helper()
        wait_until(lambda: daemon.request("GET", "/healthz")[1]["vifs"] == {"wired": IDLE_VIFS}, "a first look")
        with watched(world) as writes:
            looks = daemon.metric("vifplug_resyncs_total")
            used = processor_seconds(*pids)
            time.sleep(IDLE_SECONDS)
            used = processor_seconds(*pids) - used
            looks = daemon.metric("vifplug_resyncs_total") - looks
        assert writes.none, writes
        assert looks >= IDLE_SECONDS / interval - 2
        assert used < 0.10 * IDLE_SECONDS, f"{used} s of {IDLE_SECONDS}"
