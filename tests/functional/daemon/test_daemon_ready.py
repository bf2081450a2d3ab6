"""READY: the first comparison has ended, with its repairs; what holds it up does so within bounds."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.functional.daemon.test_daemon_activation import Activated
from tests.functional.daemon.test_daemon_lifecycle import pair
from tests.support.daemon.daemon_variants import command_with_constants
from tests.support.vifs import BRIDGE, HYBRID, OVS, library, must_link, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

ALL = (HYBRID, OVS.but(create_tap=True), BRIDGE.but(create_tap=True))
SECONDS = 30.0


@pytest.fixture
def daemon(world: World) -> Iterator[Activated]:
    """Not started yet; three VIFs are plugged, and their links deleted as by a boot."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(world.directory / "vifplug.sock"))
        listener.listen(16)
        made = Activated(world, listener)
        with library(world) as host:
            host.plug([request.vif for request in ALL])
        for link in (HYBRID.qbr, HYBRID.qvb, OVS.tap, BRIDGE.brq, BRIDGE.tap):
            world.ip("link", "del", link)
        try:
            yield made
        finally:
            made.__exit__(None, None, None)
            made.close()


def _dotted(name: str) -> str:
    module, _underscores, constant = name.rpartition("__")
    return f"{module.replace('__', '.')}._{constant}"


def with_constants(daemon: Activated, **constants: float) -> None:
    """The same daemon, with other constants of its modules."""
    daemon.command = command_with_constants({_dotted(name): value for name, value in constants.items()})


def until_ready(daemon: Activated) -> list[str]:
    """All that it says up to READY."""
    said: list[str] = []
    deadline = time.monotonic() + SECONDS
    while "READY=1" not in said:
        assert time.monotonic() < deadline, f"{said}: {daemon.log()[-3000:]}"
        said += daemon.heard()
    return said


def says_nothing_of_ready(daemon: Activated, seconds: float) -> list[str]:
    """What it says instead."""
    said: list[str] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        said += daemon.has_said()
        time.sleep(0.1)
    assert "READY=1" not in said
    return said


def must_be_whole(world: World) -> None:
    """Every link with its master, and every port with its number."""
    assert must_link(world, HYBRID.qvb)["master"] == HYBRID.qbr
    assert must_link(world, BRIDGE.tap)["master"] == BRIDGE.brq
    for port in (HYBRID.qvo, OVS.tap):
        assert must_row(world, "Interface", port)["ofport"] > 0


def test_daemon_is_ready_once_all_is_repaired(daemon: Activated, world: World) -> None:
    daemon.launch()
    until_ready(daemon)
    must_be_whole(world)


def test_daemon_serves_before_it_is_ready_and_waits_for_open_vswitch(daemon: Activated, world: World) -> None:
    with_constants(daemon, process__supervisor__EXTENDING_SECONDS=0)
    world.ovsdb.pause()
    try:
        daemon.launch()
        daemon.await_answer()
        said = says_nothing_of_ready(daemon, 2)
        assert daemon.request("GET", "/v1/vifs")[0] == 200
    finally:
        world.ovsdb.resume()
    until_ready(daemon)
    must_be_whole(world)
    assert [line for line in said if line.startswith("EXTEND_TIMEOUT_USEC=")]


@pytest.mark.parametrize("dead", ["ovsdb", "vswitchd"])
def test_dead_open_vswitch_does_not_hold_it_up_for_long(daemon: Activated, world: World, dead: str) -> None:
    with_constants(daemon, reconcile__readiness__OVS_SECONDS=3)
    process = getattr(world, dead)
    process.pause()
    try:
        began = time.monotonic()
        daemon.launch()
        until_ready(daemon)
        assert time.monotonic() - began > 2
        # What needs no Open vSwitch is there all the same.
        assert must_link(world, BRIDGE.tap)["master"] == BRIDGE.brq
    finally:
        process.resume()
    # The list has the states of the last look until Open vSwitch was seen again.
    wait_until(lambda: world.link(HYBRID.qvb) is not None, "the repair", SECONDS)
    wait_until(lambda: {vif["state"] for vif in daemon.vifs().values()} == {"wired"}, "the states", SECONDS)
    must_be_whole(world)


def test_vif_that_cannot_be_repaired_does_not_hold_it_up(daemon: Activated, world: World) -> None:
    world.vsctl("del-br", "br-int")
    daemon.launch()
    until_ready(daemon)
    assert must_link(world, BRIDGE.tap)["master"] == BRIDGE.brq
    assert daemon.vifs()[HYBRID.id]["state"] == "failed"


def test_worker_killed_in_its_first_comparison_leaves_it_to_the_next(daemon: Activated, world: World) -> None:
    world.ovsdb.pause()
    try:
        daemon.launch()
        daemon.await_answer()
        worker, _helper = pair(daemon)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in pair(daemon), "another worker", SECONDS)
        says_nothing_of_ready(daemon, 1)
    finally:
        world.ovsdb.resume()
    until_ready(daemon)
    must_be_whole(world)


def test_workers_that_never_end_it_do_not_keep_the_host_from_booting(daemon: Activated, world: World) -> None:
    with_constants(daemon, process__supervisor__READY_SECONDS_MAX=2, reconcile__readiness__OVS_SECONDS=600)
    world.ovsdb.pause()
    try:
        daemon.launch()
        until_ready(daemon)
    finally:
        world.ovsdb.resume()
