"""vifplug killed at any moment: after any next command each VIF is exactly plugged or exactly absent."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import vifplug
from tests.support.counts import THOROUGH, times
from tests.support.faults import faults
from tests.support.faults.faults import CASES, INTERRUPTED, SINGLE_TYPES, Deed, plan_length, vif
from tests.support.scenarios import ABSENT, COMMANDS, WHOLE, Command, Scene
from tests.support.world.world import World
from vifplug.cli.main import main

KILLED = -signal.SIGKILL
OTHER_NETWORKS: dict[str, dict[str, str]] = {"bridge": {"id": faults.OTHER_NETWORK, "bridge": "brq-other"}, "tap": {}}
"""Where a replug moves VIFs that are not on an OVS bridge."""
KILLS = [(case, killer) for case in CASES for killer in (faults.kill_group, faults.kill_caller)]
if not THOROUGH:
    # The batch has every action of the single types; which process dies matters to each action alike.
    KILLS = [(case, killer) for case, killer in KILLS if case == "batch" or killer is faults.kill_group]


def in_turn() -> Iterator[tuple[str, Command, str]]:
    """The next commands, one after the other."""
    while True:
        for name, (command, outcome) in COMMANDS.items():
            yield name, command, outcome


def settle(scene: Scene, turn: tuple[str, Command, str], after: str) -> None:
    """The next command, what it must leave, and an unplug."""
    name, command, outcome = turn
    scene.run(command)
    if name in ("plug", "unplug"):
        scene.must_be(outcome, f"{name} after {after}")
    with vifplug.local(str(scene.world.config_file)) as host:
        assert host.check().clean, f"{name} after {after}"
    scene.unplug()
    scene.must_be(ABSENT)


@pytest.mark.parametrize("case, killer", KILLS)
def test_plug_killed_at_every_action(world: World, case: str, killer: Deed) -> None:
    scene, turns = Scene.of(world, CASES[case]), in_turn()
    for after in range(plan_length(world, scene.vifs) + 1):
        name, command, outcome = next(turns)
        assert scene.cut_short(COMMANDS["plug"][0], after, killer) == KILLED
        scene.run(command)
        scene.must_be(outcome, f"{name} after a plug killed after {after} actions")
        scene.unplug()


@pytest.mark.parametrize("case, killer", KILLS)
def test_unplug_killed_at_every_action(world: World, case: str, killer: Deed) -> None:
    scene, turns = Scene.of(world, CASES[case]), in_turn()
    for after in range(2 * len(scene.vifs) + 1):
        scene.plug()
        name, command, outcome = next(turns)
        status = scene.cut_short(COMMANDS["unplug"][0], after, killer)
        assert status in (KILLED, 0)
        scene.run(command)
        # Of several, those whose turn had not come yet are plugged still.
        if len(scene.vifs) == 1 or name in ("plug", "unplug"):
            scene.must_be(outcome, f"{name} after an unplug killed after {after} actions")
        with vifplug.local(str(world.config_file)) as host:
            assert host.check().clean
        scene.unplug()
        scene.must_be(ABSENT)


@pytest.mark.parametrize("case", CASES)
def test_helper_alone_killed_at_every_action_is_rolled_back_at_once(world: World, case: str) -> None:
    scene = Scene.of(world, CASES[case])
    for after in range(plan_length(world, scene.vifs)):
        assert scene.cut_short(COMMANDS["plug"][0], after, faults.kill_helper) == 1
        scene.must_be(ABSENT, f"after {after} actions")


@pytest.mark.parametrize("killer", [faults.kill_group, faults.kill_caller, faults.kill_helper])
def test_killed_in_the_middle_of_a_verb(world: World, killer: Deed) -> None:
    scene, turns, chance = Scene.of(world, CASES["batch"]), in_turn(), random.Random(1)
    for verb in ("plug", "unplug") * 8:
        if verb == "unplug":
            scene.plug()
        delay = chance.uniform(0, 0.02)
        status = scene.cut_short(COMMANDS[verb][0], 0, faults.during_next_verb(killer, delay))
        assert status in (0, 1, KILLED)
        settle(scene, next(turns), f"a {verb} killed {delay} s into its first stage")


@pytest.mark.parametrize("case", ["batch", faults.AMONG_MANY])
@pytest.mark.parametrize("killer", [faults.kill_group, faults.kill_caller, faults.kill_helper])
def test_killed_in_the_middle_of_the_one_call(world: World, case: str, killer: Deed) -> None:
    scene, turns, chance = Scene.of(world, CASES[case]), in_turn(), random.Random(3)
    for _ in range(times(5, 60)):
        delay = chance.uniform(0, 0.03)
        assert scene.plug_disturbed(faults.during_next_verb(killer, delay)) in (0, 1, KILLED)
        settle(scene, next(turns), f"a plug killed {delay} s into its one call")


@pytest.mark.parametrize("case", ["batch", faults.AMONG_MANY])
def test_interrupted_in_the_middle_of_the_one_call(world: World, case: str) -> None:
    scene, chance = Scene.of(world, CASES[case]), random.Random(4)
    for _ in range(times(5, 60)):
        delay = chance.uniform(0, 0.04)
        later = faults.during_next_verb(lambda _host: os.kill(os.getpid(), signal.SIGINT), delay)
        assert scene.plug_disturbed(later) in (0, INTERRUPTED), delay
        scene.must_be(scene.state(), delay)
        scene.unplug()


def test_interrupted_in_the_middle_of_a_verb(world: World) -> None:
    scene, chance = Scene.of(world, CASES["batch"]), random.Random(2)
    interrupt = faults.during_next_verb(lambda _host: os.kill(os.getpid(), signal.SIGINT), 0)
    assert scene.cut_short(COMMANDS["plug"][0], 0, interrupt) == INTERRUPTED
    scene.must_be(ABSENT)
    for _ in range(times(8, 30)):
        delay = chance.uniform(0, 0.04)
        later = faults.during_next_verb(lambda _host: os.kill(os.getpid(), signal.SIGINT), delay)
        assert scene.cut_short(COMMANDS["plug"][0], 0, later) in (0, INTERRUPTED), delay
        # Nothing is left to a next command: the roll-back is done, or the plug was.
        scene.must_be(scene.state(), delay)
        scene.unplug()


@pytest.mark.parametrize("case", ["ovs-hybrid", "batch"])
def test_recovery_killed_at_every_action(world: World, case: str) -> None:
    scene = Scene.of(world, CASES[case])
    length = plan_length(world, scene.vifs)
    for first in range(1, length + 1, 2):
        for second in range(0, 4, 1 if case != "batch" else 2):
            assert scene.cut_short(COMMANDS["plug"][0], first, faults.kill_group) == KILLED
            assert scene.cut_short(COMMANDS["list"][0], second, faults.kill_group) in (KILLED, 0)
            scene.run(COMMANDS["list"][0])
            scene.must_be(ABSENT, f"a plug killed after {first}, its recovery after {second} actions")


# -- a VIF that has a record ----------------------------------------------------------------------------------


def drift(world: World, kind: str) -> None:
    """Break a path by hand."""
    one = vif(kind)
    match kind:
        case "ovs-hybrid":
            world.vsctl("del-port", faults.device("qvo", one))
            world.ip("link", "delete", faults.device("qvb", one))
            world.ip("link", "set", faults.device("qbr", one), "mtu", "1400", "down")
        case "ovs" | "tap":
            world.ip("link", "delete", faults.device("tap", one))
        case _:
            world.ip("link", "set", faults.device("tap", one), "nomaster", "mtu", "1300", "down")


@pytest.mark.parametrize("kind", SINGLE_TYPES)
def test_repair_killed_at_every_action_ends_as_recorded(world: World, kind: str) -> None:
    scene = Scene.of(world, [vif(kind)])
    scene.plug()
    drift(world, kind)
    length = plan_length(world, scene.vifs)
    assert length > 0
    for after in range(length + 1):
        if after:
            drift(world, kind)
        assert scene.cut_short(lambda host, _vifs: host.repair(), after, faults.kill_group) == KILLED
        scene.run(COMMANDS["list"][0])
        # By it vswitchd is made to open a device again.
        scene.must_be(WHOLE, f"after {after} actions", aside="ofport_request")


@pytest.mark.parametrize("kind", SINGLE_TYPES)
def test_replug_killed_at_every_action_ends_as_recorded(world: World, kind: str) -> None:
    world.add_bridge("br-two")
    network = OTHER_NETWORKS.get(kind, {"bridge": "br-two"})
    scene = Scene.of(world, [vif(kind)])
    changed = vif(kind, address="fa:16:3e:99:99:99", network=network | {"mtu": 1400}, instance={"uuid": faults.NETWORK})
    scene.plug()
    for after in range(plan_length(world, [changed]) + 1):
        assert scene.cut_short(lambda host, _vifs: host.plug([changed]), after, faults.kill_group) == KILLED
        scene.run(COMMANDS["list"][0])
        scene.must_be(WHOLE, f"after {after} actions")
    scene.run(lambda host, _vifs: host.plug([changed]))
    scene.unplug()
    scene.must_be(ABSENT)


# -- at random ------------------------------------------------------------------------------------------------


def command_line(world: World, *words: str) -> Callable[[], object]:
    """vifplug's command line in a process forked from here: what takes time is the work, not the start of Python."""
    return lambda: sys.exit(main(["--config-file", str(world.config_file), *words]))


@pytest.mark.parametrize("seed", [3, 4])
def test_command_line_killed_at_random(world: World, tmp_path: Path, seed: int) -> None:
    scene, chance = Scene.of(world, faults.batch(5)), random.Random(seed)
    file = tmp_path / "vifs.json"
    file.write_text(faults.document(scene.vifs))
    began = time.monotonic()
    assert faults.in_child(command_line(world, "plug", str(file))) == 0
    whole_run = time.monotonic() - began
    seen = set()
    for round_ in range(20):
        verb = chance.choice((["plug", str(file)], ["unplug", "-f", str(file)]))
        delay = chance.uniform(0, 1.3 * whole_run)
        child = faults.start_child(command_line(world, *verb))
        time.sleep(delay)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        what = f"round {round_}: {verb[0]} killed after {delay:.3f} s"
        report = world.vifplug_json("check") if round_ % 5 == 0 else scene.run(lambda host, _: host.check().as_json())
        assert isinstance(report, dict)
        assert report["clean"] is True, what
        assert not report["orphans"], what
        seen.add(scene.whole_or_absent(what))
    assert len(seen) > 1
    scene.unplug()
    scene.must_be(ABSENT)


def test_processes_killed_at_random(world: World, tmp_path: Path) -> None:
    scene, chance = Scene.of(world, faults.batch(2)), random.Random(5)
    file = tmp_path / "vifs.json"
    file.write_text(faults.document(scene.vifs))
    for verb in (["plug", str(file)], ["unplug", "-f", str(file)]) * 3:
        process = subprocess.Popen(
            world.vifplug_argv(*verb), env=world.environment, stdout=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(chance.uniform(0.3, 0.7))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert world.vifplug_json("check")["clean"] is True
        scene.whole_or_absent(verb)
