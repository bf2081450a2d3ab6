"""Requests at the same time, of processes and of threads: one path, one owner, no deadlock, nothing lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import vifplug
from tests.support.counts import times
from tests.support.faults import faults
from tests.support.faults.faults import NETWORK_BRIDGE, device, document, stored, vif
from tests.support.scenarios import ABSENT, WHOLE, Scene
from tests.support.world.daemons import wait_until
from tests.support.world.world import Completed, World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.model.vif import Vif

PROCESSES = THREADS = times(5, 8)
DEADLINE_SECONDS = 30.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test writes VIFs for commands to read."""
    return tmp_path / "vifs.json"


def all_at_once(world: World, *commands: Sequence[str]) -> list[Completed]:
    """Commands of vifplug's, all begun before any ends."""
    begun = [world.begin_vifplug(*words) for words in commands]
    ended = []
    for words, command in zip(commands, begun, strict=True):
        output, errors = command.communicate(timeout=DEADLINE_SECONDS)
        assert command.returncode is not None
        ended.append(Completed(words, command.returncode, output, errors))
    return ended


def in_threads(host: LocalHost, *calls: Callable[[LocalHost], object]) -> list[BaseException | None]:
    """Calls of one library object, each in a thread of its own and begun together; the errors."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[LocalHost], object]) -> BaseException | None:
        gate.wait()
        try:
            call(host)
        except BaseException as error:
            return error
        return None

    with ThreadPoolExecutor(len(calls)) as pool:
        futures = [pool.submit(run, call) for call in calls]
        return [future.result(DEADLINE_SECONDS) for future in futures]


def in_children(*works: Callable[[], object]) -> list[int]:
    """Works in processes forked together; their statuses."""
    return faults.join_children([faults.start_child(work) for work in works])


def library(world: World, call: Callable[[LocalHost], object]) -> Callable[[], None]:
    """A call of the library in a process that opens and closes it."""

    def work() -> None:
        with vifplug.local(str(world.config_file)) as host:
            call(host)

    return work


def beside_notes(errors: str) -> str:
    """Standard error without the note on a Linux bridge that leads nowhere: only the plug that made it prints one."""
    return "".join(line for line in errors.splitlines(keepends=True) if "has no uplink: until something" not in line)


def is_clean(world: World) -> bool:
    """What ``check`` says."""
    with vifplug.local(str(world.config_file)) as host:
        return host.check().clean


# -- the same VIF ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", faults.TYPES)
def test_processes_plug_the_same_new_vif(world: World, file: Path, kind: str) -> None:
    scene = Scene.of(world, [vif(kind)])
    file.write_text(document(scene.vifs))
    ended = all_at_once(world, *[["-o", "json", "plug", str(file)]] * PROCESSES)
    assert [(each.returncode, beside_notes(each.stderr)) for each in ended] == [(0, "")] * PROCESSES
    assert len({json.loads(each.stdout)["vifs"][0]["devices"][0]["ifindex"] for each in ended}) == 1, "one path"
    scene.must_be(WHOLE)
    assert {each.returncode for each in all_at_once(world, *[["unplug", scene.vifs[0].id]] * PROCESSES)} == {0}
    scene.must_be(ABSENT)


def test_processes_open_a_new_store_together(world: World) -> None:
    for _ in range(times(3, 5)):
        statuses = in_children(*[library(world, lambda host: host.list())] * PROCESSES)
        assert statuses == [0] * PROCESSES
        for path in world.state_dir.iterdir():
            path.unlink()
        world.state_dir.rmdir()


def test_threads_plug_the_same_vif(world: World) -> None:
    scene = Scene.of(world, faults.batch())

    def unplug(host: LocalHost) -> object:
        return host.unplug([each.id for each in scene.vifs])

    with vifplug.local(str(world.config_file)) as host:
        for _ in range(times(3, 5)):
            assert in_threads(host, *[lambda each: each.plug(scene.vifs)] * THREADS) == [None] * THREADS
            scene.must_be(WHOLE)
            assert in_threads(host, *[unplug] * THREADS) == [None] * THREADS
            scene.must_be(ABSENT)


def test_threads_plug_different_vifs(world: World) -> None:
    scene = Scene.of(world, faults.batch(THREADS))

    def plug(each: Vif) -> Callable[[LocalHost], object]:
        return lambda host: host.plug([each])

    def unplug(each: Vif) -> Callable[[LocalHost], object]:
        return lambda host: host.unplug([each.id])

    with vifplug.local(str(world.config_file)) as host:
        for _ in range(3):
            assert in_threads(host, *map(plug, scene.vifs)) == [None] * THREADS
            scene.must_be(WHOLE)
            assert in_threads(host, *map(unplug, scene.vifs)) == [None] * THREADS
            scene.must_be(ABSENT)


def test_batches_in_opposite_order_do_not_wait_in_a_circle(world: World) -> None:
    scene = Scene.of(world, faults.batch(6))
    with vifplug.local(str(world.config_file)) as host:
        for _ in range(3):
            began = time.monotonic()
            calls = [lambda each: each.plug(scene.vifs), lambda each: each.plug(scene.vifs[::-1])] * 3
            assert in_threads(host, *calls) == [None] * len(calls)
            assert time.monotonic() - began < 5
            scene.must_be(WHOLE)
            scene.unplug()


def test_threads_with_ovsdb_away_wait_one_time_out_together(world: World) -> None:
    world.write_config(ovs={"timeout": "1"})
    vifs = [vif("ovs", number) for number in range(THREADS)]

    def plug(each: Vif) -> Callable[[LocalHost], object]:
        return lambda host: host.plug([each])

    for away in (world.ovsdb.pause, world.ovsdb.stop):
        away()
        with vifplug.local(str(world.config_file)) as host:
            began = time.monotonic()
            problems = in_threads(host, *map(plug, vifs))
            assert time.monotonic() - began < 5
            assert [type(problem) for problem in problems] == [errors.OvsUnavailable] * THREADS
        world.ovsdb.resume() if away == world.ovsdb.pause else None


def test_helper_that_dies_under_threads_is_started_once(world: World) -> None:
    scene = Scene.of(world, faults.batch())

    def unplug(host: LocalHost) -> object:
        return host.unplug([each.id for each in scene.vifs])

    with vifplug.local(str(world.config_file)) as host:
        for _ in range(3):
            faults.kill_helper(faults.linux_host(host))
            problems = in_threads(host, *[lambda each: each.plug(scene.vifs)] * THREADS)
            assert all(problem is None or isinstance(problem, errors.HelperDied) for problem in problems)
            assert in_threads(host, *[lambda each: each.plug(scene.vifs)] * THREADS) == [None] * THREADS
            scene.must_be(WHOLE)
            assert len(faults.children()) == 1, "one helper"
            assert in_threads(host, *[unplug] * THREADS) == [None] * THREADS
            scene.must_be(ABSENT)


@pytest.mark.parametrize("kind", faults.TYPES)
def test_plug_races_with_unplug_of_the_same_vif(world: World, kind: str) -> None:
    scene = Scene.of(world, [vif(kind)])
    plug = library(world, lambda host: host.plug(scene.vifs))
    unplug = library(world, lambda host: host.unplug([scene.vifs[0].id]))
    ends = []
    for number in range(7):
        assert in_children(*((plug, unplug, plug, unplug) if number % 2 else (unplug, plug))) == [0] * (
            4 if number % 2 else 2
        )
        ends.append(scene.state())
        scene.must_be(ends[-1], number)
        assert is_clean(world)


# -- two that meet --------------------------------------------------------------------------------------------

FIRST = vif("ovs-hybrid")
TWIN = vif("ovs-hybrid", id=FIRST.id[:-4] + "0000", address="fa:16:3e:00:00:77")


def test_second_of_two_ids_with_one_name_is_refused(world: World, file: Path) -> None:
    scene = Scene.of(world, [FIRST])
    scene.plug()
    file.write_text(document([TWIN]))
    result = world.vifplug("-o", "json", "plug", str(file), check=False)
    assert result.returncode == 4
    error = json.loads(result.stderr)["error"]
    assert FIRST.id in error["message"]
    scene.must_be(WHOLE)
    assert world.vifplug("unplug", TWIN.id).returncode == 0
    scene.must_be(WHOLE)


@pytest.mark.parametrize("kind", faults.TYPES)
def test_two_ids_with_one_name_at_once_one_wins(world: World, kind: str) -> None:
    first, twin = vif(kind), vif(kind, id=TWIN.id)
    scenes = {each.id: Scene.of(world, [each]) for each in (first, twin)}

    def plug(each: Vif) -> Callable[[LocalHost], object]:
        return lambda host: host.plug([each])

    for number in range(8):
        statuses = in_children(library(world, plug(first)), library(world, plug(twin)))
        assert sorted(statuses) == [0, 4], number
        winner = scenes[(first, twin)[statuses.index(0)].id]
        winner.must_be(WHOLE, number)
        assert is_clean(world)
        winner.unplug()
        winner.must_be(ABSENT)


def test_shared_bridge_survives_exactly_while_a_vif_needs_it(world: World) -> None:
    each, other = vif("bridge", 1), vif("bridge", 2)
    scenes = {vifs: Scene.of(world, vifs) for vifs in ((each,), (other,))}
    for number in range(20):
        leaver, comer = ((each, other), (other, each))[number % 2]
        scenes[leaver,].plug() if number == 0 else None
        plug = library(world, lambda host, comer=comer: host.plug([comer]))  # type: ignore[misc]
        unplug = library(world, lambda host, leaver=leaver: host.unplug([leaver.id]))  # type: ignore[misc]
        assert in_children(plug, unplug) == [0, 0]
        scenes[comer,].must_be(WHOLE, number)
        assert is_clean(world)
    scenes[comer,].unplug()
    assert world.link(NETWORK_BRIDGE) is None
    assert stored(world) == {}


def test_request_waits_for_another_on_the_same_vif_and_not_for_others(world: World) -> None:
    world.write_config(ovs={"timeout": "3"})
    slow, quick = vif("ovs-hybrid", 1), vif("bridge", 2)
    world.pause_vswitchd()
    child = faults.start_child(library(world, lambda host: host.plug([slow])))
    wait_until(lambda: world.row("Port", device("qvo", slow)), "the port in OVSDB")
    with vifplug.local(str(world.config_file)) as host:
        began = time.monotonic()
        host.plug([quick])
        assert time.monotonic() - began < 2.5, "the other one waits for vswitchd for 3 s"
        assert host.check([quick.id]).clean
        world.resume_vswitchd()
        host.plug([slow])
    assert faults.join_children([child]) == [0]
    assert set(stored(world)["records"]) == {slow.id, quick.id}
    assert is_clean(world)


def test_check_beside_work_under_way_finds_nothing(world: World) -> None:
    vifs = faults.batch()
    until = time.monotonic() + 3

    def work(host: LocalHost) -> None:
        while time.monotonic() < until:
            for mtu in (1500, 1400, 1500):
                network = {"network": vifs[0].network.model_copy(update={"mtu": mtu})}
                host.plug([each.model_copy(update=network) for each in vifs[:2]] + vifs[2:])
            host.unplug([each.id for each in vifs])

    child = faults.start_child(library(world, work))
    with vifplug.local(str(world.config_file)) as host:
        while time.monotonic() < until:
            report = host.check()
            assert report.clean, report
    assert faults.join_children([child]) == [0]
