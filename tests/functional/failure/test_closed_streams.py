"""Callers that closed some of descriptors 0-2, as a supervisor may, or a shell's ``>&-``: all is done all the same."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID
from tests.support.world.world import World

CLOSED = [">&-", "2>&-", "<&- >&- 2>&-"]
NOBODYS = "00000000-0000-4000-8000-000000000000"
LIBRARY = """
import sys, vifplug
config, port, said = sys.argv[1:]
with vifplug.local(config) as host:
    host.plug(vifplug.load_all(open(port, "rb").read()))
    told = host.check().clean, sys.stdout, sys.stderr
with open(said, "w") as file:
    print(*told, file=file)
"""


def shell(redirection: str, *argv: str) -> list[str]:
    """A command with some of its streams closed."""
    return ["bash", "-c", f'exec "$@" {redirection}', "_", *argv]


@pytest.fixture
def file(world: World) -> str:
    """A port's."""
    path = world.directory / "port.json"
    path.write_text(HYBRID.text)
    return str(path)


@pytest.mark.parametrize("redirection", CLOSED)
def test_command_works_by_itself(world: World, file: str, redirection: str) -> None:
    def command(*words: str) -> subprocess.CompletedProcess[str]:
        return world.run(*shell(redirection, *world.vifplug_argv("--local", "-o", "json", *words)), check=False)

    before = world.snapshot()
    plugged = command("plug", file)
    assert (plugged.returncode, plugged.stderr) == (0, "")
    assert world.row("Port", HYBRID.qvo)
    assert command("check").returncode == 0
    assert command("unplug", HYBRID.id).returncode == 0
    assert world.snapshot() == before
    refused = command("show", NOBODYS)
    assert (refused.returncode, refused.stdout) == (2, ""), "what went wrong is no result"


@pytest.mark.parametrize("redirection", CLOSED)
def test_daemon_serves(world: World, file: str, redirection: str) -> None:
    daemon = Vifplugd(world)
    daemon.command = shell(redirection, *daemon.command)
    with daemon:
        world.vifplug("plug", file)
        assert set(daemon.vifs()) == {HYBRID.id}
        world.vifplug("unplug", HYBRID.id)
        assert daemon.stop() == 0
    assert not daemon.socket.exists()


def test_library_works_and_leaves_its_caller_as_it_was(world: World, file: str) -> None:
    said = world.directory / "said"
    argv = [sys.executable, "-c", LIBRARY, str(world.config_file), file, str(said)]
    done = world.run(*shell("<&- >&- 2>&-", *argv), check=False)
    assert done.returncode == 0
    assert said.read_text() == "True None None\n"
    world.vifplug("unplug", HYBRID.id)
