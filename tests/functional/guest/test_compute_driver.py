"""The example of a compute driver: what it promises of a boot, of one that fails, and of a guest's end."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import INSTANCE, NETWORK, device
from tests.support.world.world import REPOSITORY, World

DRIVER = REPOSITORY / "examples" / "compute_driver.py"
STAND_IN = [sys.executable, "-m", "tests.support.world.stand_in_vmm"]
QEMU = ["qemu-system-x86_64", "-accel", "tcg", "-M", "pc", "-nodefaults", "-display", "none", "-m", "32"]
VMMS = {"stand-in": STAND_IN} | ({"qemu": QEMU} if shutil.which(QEMU[0]) else {})
HYBRID, PLAIN = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "81ab5618-df3e-4999-932a-1263b7886e5a"
TAPS = [device("tap", HYBRID), device("tap", PLAIN)]
DEADLINE_SECONDS = 20.0
_numbers = itertools.count()


def port(identity: str, address: str, **details: object) -> dict[str, object]:
    """What Neutron answers of a port, as far as anybody reads it."""
    bound = {"binding:vif_type": "ovs", "binding:vnic_type": "normal", "binding:host_id": "this-one"}
    owner = {"device_id": INSTANCE, "device_owner": "compute:nova"}
    reported = {"id": identity, "mac_address": address, "network_id": NETWORK, "status": "DOWN"}
    return reported | bound | owner | {"binding:vif_details": {"bridge_name": "br-int", **details}}


@pytest.fixture
def ports(world: World) -> Path:
    """A file with two ports of one instance: on a bridge of its own, and on br-int itself."""
    hybrid = port(HYBRID, "fa:16:3e:eb:5e:26", ovs_hybrid_plug=True)
    file = world.directory / "ports.json"
    file.write_text(json.dumps({"ports": [hybrid, port(PLAIN, "fa:16:3e:b9:2c:38")]}))
    return file


class Driver:
    """The example as a process."""

    def __init__(self, world: World, ports: Path, command: list[str], *options: str) -> None:
        argv = [sys.executable, str(DRIVER), str(ports), "--instance-uuid", INSTANCE, "--mtu", "1450", *options]
        self._said = world.directory / f"driver{next(_numbers)}.stderr"  # no pipe: a guest that outlives it has it, too
        with world.namespace.entered(), open(self._said, "w") as output:
            self.process = subprocess.Popen(
                [*argv, "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                cwd=REPOSITORY,
                env=world.environment | {"VIFPLUG_CONFIG_FILE": str(world.config_file)},
            )

    def await_running(self) -> None:
        """Return once it says so; an AssertionError with its words when it ends instead."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "running\n", self.finished()[1]

    def finished(self) -> tuple[int, str]:
        """Its exit status and its stderr, once it has ended."""
        status = self.process.wait(DEADLINE_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status, self._said.read_text()

    def vmm(self) -> int:
        """The pid of the one guest it runs."""
        (pid,) = map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())
        return pid


@contextlib.contextmanager
def driven(world: World, ports: Path, command: list[str], *options: str) -> Iterator[Driver]:
    driver = Driver(world, ports, command, *options)
    try:
        driver.await_running()
        yield driver
    finally:
        if driver.process.returncode is None:
            driver.process.send_signal(signal.SIGTERM)
            driver.finished()


def carriers(world: World) -> list[bool]:
    """Whether a guest holds each tap open."""
    return ["LOWER_UP" in link["flags"] for link in world.ip("link", "show") if link["ifname"] in TAPS]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("command", VMMS.values(), ids=VMMS)
def test_guest_runs_with_its_ports_and_both_go_together(world: World, ports: Path, command: list[str]) -> None:
    before = world.snapshot()
    with Vifplugd(world) as daemon:
        with driven(world, ports, command, "--state", "active") as driver:
            assert carriers(world) == [True, True]
            assert {vif["state"] for vif in daemon.vifs().values()} == {"active"}
            (tap,) = world.ip("link", "show", TAPS[0])
            assert (tap["master"], tap["mtu"]) == (device("qbr", HYBRID), 1450)
            os.kill(driver.vmm(), signal.SIGKILL)
            assert driver.finished()[0] == 256 - signal.SIGKILL
        assert daemon.vifs() == {}
        assert world.snapshot() == before


def test_boot_that_fails_leaves_nothing(world: World, ports: Path) -> None:
    broken: dict[str, tuple[list[str], list[str], str]] = {
        "no such program": (["/no/such/qemu"], [], "No such file"),
        "it does not boot": ([*STAND_IN, "--fails", "start"], [], "did not start: exit status 1"),
        "no state in time": ([*STAND_IN, "--deaf"], ["--state", "active", "--timeout", "0.3"], f"tap '{TAPS[0]}'"),
        "no such state": (STAND_IN, ["--state", "happy"], "'happy' is not a state"),
    }
    with Vifplugd(world) as daemon:
        before = world.snapshot()
        for name, (command, options, words) in broken.items():
            status, err = Driver(world, ports, command, *options).finished()
            assert status == 1, f"{name}: {err}"
            assert words in err, f"{name}: {err}"
            assert daemon.vifs() == {}, name
            assert world.snapshot() == before, name
        # The guest that is let run, and ends then, has no more to say than its status.
        assert Driver(world, ports, [*STAND_IN, "--fails", "resume"]).finished()[0] == 3
        assert (daemon.vifs(), world.snapshot()) == ({}, before)
        world.ip("tuntap", "add", "dev", TAPS[1], "mode", "tap")  # a stranger has the second port's name
        before = world.snapshot()
        status, err = Driver(world, ports, STAND_IN).finished()
        assert (status, TAPS[1] in err) == (1, True)
        assert world.snapshot() == before


def test_second_driver_of_an_instance_leaves_the_first_ones_guest_alone(world: World, ports: Path) -> None:
    command = list(VMMS.values())[-1]
    with Vifplugd(world) as daemon, driven(world, ports, command) as driver:
        status, err = Driver(world, ports, STAND_IN).finished()
        assert (status, "runs here already" in err) == (1, True)
        assert set(daemon.vifs()) == {HYBRID, PLAIN}
        assert carriers(world) == [True, True]
        pid = driver.vmm()
        driver.process.kill()  # what a guest runs on stays when its driver is killed: so does its right to it
        driver.finished()
        assert carriers(world) == [True, True]
        assert Driver(world, ports, STAND_IN).finished()[0] == 1
        assert set(daemon.vifs()) == {HYBRID, PLAIN}
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: carriers(world) == [False, False])


def test_sigterm_ends_the_guest_then_unplugs_even_while_the_daemon_is_away(world: World, ports: Path) -> None:
    before = world.snapshot()
    daemon = Vifplugd(world).start()
    with driven(world, ports, STAND_IN) as driver:
        pid = driver.vmm()
        daemon.stop()
        driver.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: not Path(f"/proc/{pid}").exists())
        with daemon:
            status, err = driver.finished()
            assert (status, "trying again" in err) == (128 + signal.SIGTERM, True)
            assert daemon.vifs() == {}
    assert world.snapshot() == before
