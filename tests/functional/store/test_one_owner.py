"""One vifplugd for a network namespace, and one network namespace for a store."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.daemon.daemon_variants import daemon_with_constants
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import BRIDGE, HYBRID
from tests.support.world.daemons import wait_until
from tests.support.world.namespaces import Namespace, empty_namespace
from tests.support.world.world import Completed, World

STRANGER = 5000


@contextmanager
def second_config(world: World) -> Iterator[Path]:
    """A configuration for another daemon with its own state_dir, socket and run_dir, in the same namespace."""
    other = world.directory / "second"
    other.mkdir()
    text = world.config_file.read_text()
    for name in ("state", "run", "vifplug.sock"):
        text = text.replace(str(world.directory / name), str(other / name))
    path = other / "vifplug.conf"
    path.write_text(text)
    yield path
    shutil.rmtree(other)


def start_second(world: World, config: Path, *before: str) -> Completed:
    """A second daemon, which does not wait long for the end of the first; it is to end by itself."""
    command = daemon_with_constants(world, {"process.supervisor._PREDECESSOR_SECONDS": 0.3}).command
    return world.run(*before, *command, "--config-file", str(config), check=False)


@pytest.mark.parametrize("mounts", ["shared", "own /run and /tmp"])
def test_second_daemon_with_another_state_dir_is_refused(world: World, mounts: str) -> None:
    with Vifplugd(world, repair_interval=0.5, orphan_grace=0) as first, second_config(world) as config:
        assert first.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200
        before = world.snapshot()
        text = config.read_text()
        enter = []
        if mounts != "shared":
            enter = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs own /run && exec "$@"', "sh"]
        config.write_text(text)
        result = start_second(world, config, *enter)
        assert result.returncode == 1, result
        assert f"another vifplugd (process {first.pid} of uid 0, state_dir '{world.state_dir}')" in result.stderr
        assert "Traceback" not in result.stderr
        assert not (config.parent / "vifplug.sock").exists()
        time.sleep(2)
        assert world.snapshot() == before
        assert first.vifs()[HYBRID.id]["state"] == "wired"


def test_claim_ends_with_the_daemon_however_that_ends(world: World) -> None:
    with Vifplugd(world) as first:
        assert first.process is not None
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        with second_config(world) as config:
            second = Vifplugd(world)
            second.world.config_file = config
            second.socket = config.parent / "vifplug.sock"
            with second:
                assert second.request("GET", "/healthz")[0] == 200


def test_claim_of_another_user_does_not_prevent_a_start(world: World) -> None:
    squatter = os.fork()
    if squatter == 0:
        os.setresuid(STRANGER, STRANGER, STRANGER)
        taken = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        taken.bind(b"\0vifplugd/0000000000000000/1//var/lib/vifplug")
        signal.pause()
        os._exit(0)
    try:
        wait_until(lambda: b"@vifplugd/" in Path("/proc/net/unix").read_bytes(), "the squatter")
        with Vifplugd(world) as daemon:
            assert daemon.request("PUT", f"/v1/vifs/{BRIDGE.id}", BRIDGE.document)[0] == 200
            assert f"uid {STRANGER} claims to be vifplugd" in daemon.log()
    finally:
        os.kill(squatter, signal.SIGKILL)
        os.waitpid(squatter, 0)


def test_local_mode_beside_the_daemon_stays(world: World) -> None:
    with Vifplugd(world) as daemon:
        world.vifplug("--local", "plug", "-", input=BRIDGE.text)
        assert set(daemon.vifs()) == {BRIDGE.id}
        enter = ["unshare", "--mount", "--propagation", "private"]
        assert world.run(*enter, *world.vifplug_argv("--local", "list")).returncode == 0


# -- the namespace of a store ---------------------------------------------------------------------------------


def cli(world: World, *words: str, text: str | None = None) -> Completed:
    """The command line in the namespace that this thread is in."""
    here = Namespace.current()
    try:
        return world.vifplug("--local", *words, input=text, check=False, namespace=here)
    finally:
        here.close()


@pytest.mark.parametrize(
    "words", [("list",), ("check",), ("repair", "--all"), ("gc", "--delete"), ("unplug", HYBRID.id), ("plug", "-")]
)
def test_store_of_another_namespace_is_refused(world: World, words: tuple[str, ...]) -> None:
    world.vifplug("plug", "-", input=HYBRID.text)
    before, stored = world.snapshot(), dump(world)
    with empty_namespace():
        result = cli(world, *words, text=BRIDGE.text)
        assert subprocess.run(["ip", "-br", "link"], capture_output=True, text=True).stdout.count("\n") == 1
    assert result.returncode == 1, result
    assert "another network namespace" in result.stderr
    assert "Traceback" not in result.stderr
    assert (world.snapshot(), dump(world)) == (before, stored)
    assert world.vifplug_json("check")["clean"]


def test_daemon_on_a_store_of_another_namespace_ends_with_the_reason(world: World) -> None:
    world.vifplug("plug", "-", input=BRIDGE.text)
    daemon = Vifplugd(world)
    with empty_namespace():
        argv = [*daemon.command, "--config-file", str(world.config_file)]
        result = subprocess.run(argv, capture_output=True, text=True, env=world.environment, timeout=60)
    assert result.returncode == 1, result
    assert "another network namespace" in result.stderr
    assert world.vifplug_json("check")["clean"]


def test_doctor_names_a_store_of_another_namespace(world: World) -> None:
    world.vifplug("plug", "-", input=BRIDGE.text)
    with empty_namespace():
        result = cli(world, "-o", "json", "doctor")
    assert result.returncode == 1
    assert "another network namespace" in result.stdout


def test_empty_store_goes_where_it_is_used(world: World) -> None:
    world.vifplug("plug", "-", input=BRIDGE.text)
    world.vifplug("unplug", BRIDGE.id)
    with empty_namespace():
        assert cli(world, "list").returncode == 0
    assert world.vifplug("list").returncode == 0


def test_reboot_is_no_other_namespace(world: World) -> None:
    world.vifplug("plug", "-", input=BRIDGE.text)
    with closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database, database:
        database.execute("UPDATE identity SET value = 'an-earlier-boot/cookie-1' WHERE name = 'namespace'")
    assert world.vifplug_json("check")["clean"]
    with empty_namespace():
        assert cli(world, "list").returncode == 1, "it is this boot's now"


def dump(world: World) -> list[str]:
    """All that the store holds."""
    with closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database:
        return list(database.iterdump())
