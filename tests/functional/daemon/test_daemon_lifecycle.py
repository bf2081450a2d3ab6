"""The daemon started, stopped and killed: guests notice nothing, and one worker and one helper run afterwards."""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import http.client
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.counts import times
from tests.support.daemon.daemon_variants import QUICK_RESTARTS, daemon_with_constants
from tests.support.daemon.vifplugd import Vifplugd, children
from tests.support.faults import faults
from tests.support.network.endpoints import Station, guest_in_bridge, guest_on_tap
from tests.support.network.event_recorder import EventRecorder
from tests.support.network.stalls import watched_for_stalls
from tests.support.network.traffic import continuous_ping
from tests.support.scenarios import Scene
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, OVS, Request
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

KILLS = times(20, 50)
DAEMONS = ("--config-file", "vifplug.daemon.process.supervisor")
"""In the command line of one that was started, and of one that was forked."""
_SECONDS = 10.0


def put(daemon: Vifplugd, request: Request) -> dict[str, Any]:
    """Plug one VIF."""
    status, body = daemon.request("PUT", f"/v1/vifs/{request.id}", request.document)
    assert status == 200, body
    return dict(body)


def remove(daemon: Vifplugd, request: Request) -> None:
    """Unplug one VIF."""
    status, body = daemon.request("DELETE", f"/v1/vifs/{request.id}")
    assert status == 200, body


@contextlib.contextmanager
def guests(world: World) -> Iterator[tuple[Station, Station]]:
    """A guest on each of two plugged VIFs."""
    with (
        guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, HYBRID.address, outer=HYBRID.tap) as each,
        guest_on_tap(world, OVS.tap, OVS.address, HOST, MTU) as other,
    ):
        yield each, other


def processes(world: World) -> list[int]:
    """The daemon's processes in the world, those of earlier ones too."""
    there = world.namespace.processes()
    return [pid for pid, line in there.items() if any(mark in line for mark in DAEMONS) and "cli.main" not in line]


def ended(world: World) -> None:
    """Wait until the daemon has no process any more."""
    wait_until(lambda: not processes(world), "the end of worker and helper", _SECONDS)


def pair(daemon: Vifplugd) -> tuple[int, int]:
    """The one worker and its one helper, once they are there."""
    found: list[tuple[int, int]] = []

    def look() -> bool:
        with contextlib.suppress(ValueError, OSError):
            found.append((daemon.worker(), daemon.helper()))
        return bool(found)

    try:
        wait_until(look, "a worker with a helper", _SECONDS)
    except AssertionError as error:
        raise AssertionError(f"{error}: {_all_of(daemon)}; the log: {daemon.log()[-4000:]}") from None
    return found[-1]


def _all_of(daemon: Vifplugd) -> dict[int, tuple[str, str, list[str]]]:
    """The state, kernel function and children of each of the daemon's processes."""
    found = {}
    for pid in processes(daemon.world):
        with contextlib.suppress(OSError):
            found[pid] = (_state_of(pid)[0], Path(f"/proc/{pid}/wchan").read_text(), [str(c) for c in children(pid)])
    return found


def must_follow(daemon: Vifplugd, before: tuple[int, int]) -> None:
    """Another worker with another helper answers."""
    wait_until(lambda: not {*before} & {*pair(daemon)}, "others in their place", _SECONDS)
    daemon.await_answer()


def must_run_alone(daemon: Vifplugd) -> None:
    """One parent, one worker, one helper; nobody else, and nobody who waits to be reaped."""

    def alone() -> bool:
        with contextlib.suppress(ValueError, OSError):
            own = {daemon.pid, daemon.worker(), daemon.helper()}
            family = {pid: state for pid, (state, parent) in _all_processes().items() if own & {pid, parent}}
            return set(processes(daemon.world)) == own == set(family) and "Z" not in family.values()
        return False

    wait_until(alone, "one worker and one helper and nobody else", _SECONDS)
    daemon.await_answer()


def _state_of(pid: int) -> tuple[str, int]:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return words[0], int(words[1])


def _all_processes() -> dict[int, tuple[str, int]]:
    found = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            found[int(entry)] = _state_of(int(entry))
    return found


def kill(*pids: int) -> None:
    """At once; one that has just ended by itself is as dead."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


# -- guests notice nothing ------------------------------------------------------------------------------------


def test_two_guests_lose_no_ping_while_the_daemon_is_stopped_started_and_killed(world: World) -> None:
    chance = random.Random(50)
    with daemon_with_constants(world, QUICK_RESTARTS) as daemon:
        put(daemon, HYBRID)
        put(daemon, OVS)
        with (
            guests(world) as (each, other),
            watched_for_stalls(world) as stalls,
            EventRecorder(world) as recorder,
            continuous_ping(each, other.ip) as pinger,
        ):
            before = world.snapshot()
            assert daemon.stop() == 0
            assert not daemon.socket.exists()
            assert processes(world) == []
            assert world.snapshot() == before
            daemon.start()
            for victim in chance.sample(["worker", "helper", "both", "parent"], counts=[16, 16, 13, 5], k=KILLS):
                time.sleep(chance.uniform(0, 0.5))
                worker, helper = pair(daemon)
                kill(*{"worker": [worker], "helper": [helper], "both": [worker, helper], "parent": []}[victim])
                if victim == "parent":
                    daemon.stop(signal.SIGKILL)
                    daemon.start(wait=False)
            must_run_alone(daemon)
            assert world.snapshot() == before
            assert set(daemon.vifs()) == {HYBRID.id, OVS.id}
            assert world.vifplug_json("--local", "check")["clean"]
        assert len(pinger.answered) > 20 * KILLS
        assert _by_clock(stalls.lost_otherwise(pinger)) == []
        assert recorder.writes_to([*HYBRID.names.values(), *OVS.names.values()]) == []
        remove(daemon, HYBRID)
        assert put(daemon, HYBRID)["state"] == "plugged"
        must_run_alone(daemon)


def _by_clock(moments: Sequence[float]) -> list[str]:
    """Moments by the clock of the daemon's log."""
    offset = time.time() - time.monotonic()
    return [datetime.datetime.fromtimestamp(moment + offset, datetime.UTC).isoformat() for moment in moments]


# -- one daemon at a time -------------------------------------------------------------------------------------


def test_parent_killed_takes_worker_and_helper_along_and_another_takes_its_place(world: World) -> None:
    with Vifplugd(world) as daemon:
        put(daemon, HYBRID)
        before = world.snapshot()
        daemon.stop(signal.SIGKILL)
        ended(world)
        assert daemon.socket.exists(), "nothing stale to come upon"
        assert world.snapshot() == before
        daemon.start()
        assert daemon.vifs()[HYBRID.id]["state"] == "wired"
        must_run_alone(daemon)


@pytest.mark.parametrize("shared", ["state_dir", "socket"])
def test_second_daemon_is_refused_while_the_first_lives(world: World, shared: str) -> None:
    with Vifplugd(world) as first:
        put(first, HYBRID)
        second = daemon_with_constants(world, {"process.supervisor._PREDECESSOR_SECONDS": 0.3})
        text = world.config_file.read_text()
        own = str(second.socket) if shared == "state_dir" else str(world.state_dir)
        assert own in text
        world.config_file.write_text(text.replace(own, str(world.directory / "other")))
        result = world.run(*second.command, "--config-file", str(world.config_file), check=False)
        code, words = {
            "state_dir": (1, f"another vifplugd works on state_dir '{world.state_dir}'; stop it first"),
            "socket": (2, f"another daemon answers on [daemon] socket '{first.socket}'; end it"),
        }[shared]
        assert result.returncode == code, result
        assert words in result.stderr
        assert "Traceback" not in result.stderr
        assert not (world.directory / "other").is_socket()
        assert first.vifs()[HYBRID.id]["state"] == "wired"
        must_run_alone(first)


def test_socket_path_that_is_a_foreign_file_is_left_alone(world: World) -> None:
    daemon = Vifplugd(world)
    daemon.socket.write_text("mine")
    result = world.run(*daemon.command, "--config-file", str(world.config_file), check=False)
    assert result.returncode == 2, result
    assert "is a file that is not a socket; it was not changed" in result.stderr
    assert daemon.socket.read_text() == "mine"


# -- what hangs ----------------------------------------------------------------------------------------------


def test_worker_that_hangs_is_ended_once_it_was_silent_for_too_long(world: World) -> None:
    limit = 2.0
    with daemon_with_constants(
        world, {"process.supervisor._SILENT_SECONDS": limit, "process.supervisor._ALIVE_SECONDS": 0.2}
    ) as daemon:
        put(daemon, HYBRID)
        time.sleep(1.2 * limit)  # one that only has nothing to do is let be
        worker, helper = pair(daemon)
        os.kill(worker, signal.SIGSTOP)
        stopped_at = time.monotonic()
        while time.monotonic() < stopped_at + 0.6 * limit:
            assert daemon.worker() == worker
            time.sleep(0.1)
        wait_until(lambda: worker not in children(daemon.pid), "the end of the worker", limit + 1)
        daemon.await_answer()
        assert f"worker {worker} sends no heartbeat" in daemon.log()
        must_run_alone(daemon)
        assert helper != daemon.helper()
        assert daemon.vifs()[HYBRID.id]["state"] == "wired"


@pytest.mark.parametrize("stuck", ["worker", "helper"])
def test_daemon_stops_though_one_of_its_processes_hangs(world: World, stuck: str) -> None:
    patience = {
        "process.supervisor._STOP_SECONDS": 1.0,
        "process.child._HELPER_SECONDS": 1.0,
        "process.worker._RECONCILER_SECONDS": 1.0,
    }
    with daemon_with_constants(world, patience) as daemon:
        put(daemon, HYBRID)
        before = world.snapshot()
        os.kill(daemon.worker() if stuck == "worker" else daemon.helper(), signal.SIGSTOP)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 6
        assert processes(world) == []
        assert world.snapshot() == before
        daemon.start()
        assert daemon.vifs()[HYBRID.id]["state"] == "wired"


# -- its terminal goes away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["the parent", "the group"])
def test_hangup_ends_the_daemon_in_good_order(world: World, to: str) -> None:
    daemon = Vifplugd(world)
    daemon.command = ["setsid", *daemon.command]  # its own group, as a terminal's job has
    with daemon:
        put(daemon, HYBRID)
        if to == "the group":
            os.killpg(daemon.pid, signal.SIGHUP)
        assert daemon.stop(signal.SIGHUP) == 0
    assert not daemon.socket.exists()
    world.vifplug("unplug", HYBRID.id)


def test_hangup_that_is_ignored_ends_nothing(world: World) -> None:
    daemon = Vifplugd(world)
    daemon.command = ["bash", "-c", 'trap "" HUP; exec "$@"', "_", *daemon.command]  # nohup, in a word
    with daemon:
        worker = daemon.worker()
        for pid in (worker, daemon.pid):
            os.kill(pid, signal.SIGHUP)
        time.sleep(0.5)
        assert daemon.worker() == worker
        assert daemon.request("GET", "/healthz")[0] == 200


# -- in the middle of something ------------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["worker", "helper", "both", "parent"])
def test_daemon_killed_in_the_middle_of_a_batch_leaves_each_vif_whole_or_absent(world: World, victim: str) -> None:
    scene, chance = Scene.of(world, faults.batch(6)), random.Random(victim)
    documents = [each.model_dump(mode="json", exclude_none=True) for each in scene.vifs]
    ids = [each.id for each in scene.vifs]
    seen = set()
    with daemon_with_constants(world, QUICK_RESTARTS) as daemon, concurrent.futures.ThreadPoolExecutor(1) as pool:
        for round_ in range(4):
            body = {"plug": documents} if round_ % 2 == 0 else {"unplug": ids}
            asked = pool.submit(_ask, daemon, body)
            delay = chance.uniform(0, 0.12)
            time.sleep(delay)
            worker, helper = pair(daemon)
            if victim == "parent":
                daemon.stop(signal.SIGKILL)
                daemon.start(wait=False)
            else:
                kill(*{"worker": [worker], "helper": [helper], "both": [worker, helper]}[victim])
            asked.result(_SECONDS)
            must_follow(daemon, (worker, helper))
            wait_until(lambda: "intents" not in faults.stored(world), "the settling of what was cut off", _SECONDS)
            assert daemon.request("GET", "/v1/vifs")[0] == 200
            seen.add(scene.whole_or_absent(f"round {round_}: {victim} killed after {delay:.3f} s"))
        must_run_alone(daemon)
        assert daemon.request("POST", "/v1/batch", {"plug": documents})[0] == 200
        assert scene.whole_or_absent("at the end") == len(ids)
    assert seen


def _ask(daemon: Vifplugd, body: dict[str, Any]) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        daemon.request("POST", "/v1/batch", body, timeout=_SECONDS)


# -- nothing is left behind ----------------------------------------------------------------------------------


def _held(pid: int) -> tuple[int, int]:
    """How many descriptors and threads a process has."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def test_nothing_leaks_over_many_requests_and_restarts(world: World) -> None:
    with daemon_with_constants(world, QUICK_RESTARTS) as daemon:
        remove(daemon, OVS)
        parent = _held(daemon.pid)
        _plug_and_unplug(daemon, 10)  # threads come with the first requests
        of_worker, of_helper = map(_held, pair(daemon))
        _plug_and_unplug(daemon, times(50, 200))
        for pid, before in zip(pair(daemon), (of_worker, of_helper), strict=True):
            wait_until(lambda pid=pid, before=before: _held(pid)[0] <= before[0] + 1, f"closing: {before}")  # type: ignore[misc]
        assert _held(daemon.helper())[1] <= 20
        assert _held(daemon.worker())[1] <= 70
        for number in range(times(8, 20)):
            before = pair(daemon)
            kill(before[number % 2])
            must_follow(daemon, before)
        must_run_alone(daemon)
        assert _held(daemon.pid) == parent
        assert parent[1] == 2, "the main thread and the log writer"


def _plug_and_unplug(daemon: Vifplugd, times: int) -> None:
    for _ in range(times):
        put(daemon, OVS)
        remove(daemon, OVS)
