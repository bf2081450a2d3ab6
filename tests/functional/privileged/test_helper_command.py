"""A caller that is not root: its helper is started by a command, as sudo would, and everything else is the same.

sudo wants files in /etc, so a stand-in starts the helper: a client that the caller runs, and a broker of root's that
runs the real ``vifplug-privsep-helper`` with the client's arguments.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.world.world import REPOSITORY, World

NOBODY = 65534
PORT_ID = "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
SAMPLE = "tests/samples/ml2ovs_hybrid_port_create_2.json"
_CLIENT = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as broker:
    broker.connect(sys.argv[1])
    broker.sendall(json.dumps(sys.argv[2:]).encode() + b"\\n")
    sys.exit(int(broker.recv(16) or b"1"))
"""


def _serve(listener: socket.socket, environment: dict[str, str]) -> None:
    while True:
        try:
            connection, _address = listener.accept()
        except OSError:
            return
        with connection, connection.makefile("r") as request:
            argv = json.loads(request.readline())
            helper = [sys.executable, "-m", "vifplug.privileged.helper.main", *argv]
            status = subprocess.run(helper, env=environment, cwd=REPOSITORY).returncode
            connection.sendall(str(status).encode())


@pytest.fixture
def unprivileged(world: World) -> Iterator[list[str]]:
    """The command line as user nobody; it needs an interpreter that nobody may read."""
    interpreter = shutil.which("python3", path="/usr/bin")
    assert interpreter, "Debian's python3 is needed to run as another user"
    world.directory.chmod(0o711)
    world.state_dir.mkdir()
    os.chown(world.state_dir, NOBODY, NOBODY)
    client, path = world.directory / "client.py", world.directory / "broker"
    client.write_text(_CLIENT)
    world.write_config(vifplug_privileged={"helper_command": f"{interpreter} {client} {path}"})
    for readable in (client, world.config_file):
        readable.chmod(0o644)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        broker = threading.Thread(target=_serve, args=(listener, world.environment), daemon=True)
        broker.start()
        packages = f"{REPOSITORY}{os.pathsep}{sysconfig.get_path('purelib')}"
        yield [
            *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
            *("env", f"PYTHONPATH={packages}", "PYTHONDONTWRITEBYTECODE=1", "HOME=/nonexistent"),
            *(interpreter, "-m", "vifplug.cli.main", "--config-file", str(world.config_file)),
        ]
        listener.shutdown(socket.SHUT_RDWR)


def test_caller_without_privilege_plugs_through_the_helper_command(world: World, unprivileged: list[str]) -> None:
    before = world.snapshot()

    world.run(*unprivileged, "plug", SAMPLE, "--mtu", "1450")

    assert world.link("qvo2bc1ec8f-4b") is not None
    assert world.row("Interface", "qvo2bc1ec8f-4b") is not None
    assert {Path(entry).stat().st_uid for entry in world.state_dir.iterdir()} == {NOBODY}
    world.run(*unprivileged, "check")
    world.run(*unprivileged, "unplug", PORT_ID)
    assert world.snapshot() == before


@pytest.mark.parametrize("whose", ["the caller's", "the helper's"])
def test_streams_that_are_closed_are_not_taken_for_the_helpers(
    world: World, unprivileged: list[str], monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    closing = ["bash", "-c", 'exec "$@" <&- >&- 2>&-', "_"]
    if whose == "the helper's":
        interpreter = world.directory / "interpreter"
        interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@" <&- >&- 2>&-\n')
        interpreter.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(interpreter))
        closing = []
    world.run(*closing, *unprivileged, "plug", SAMPLE, "--mtu", "1450")
    assert world.link("qvo2bc1ec8f-4b") is not None
    world.run(*closing, *unprivileged, "unplug", PORT_ID)


def test_helper_command_that_fails_is_reported_and_changes_nothing(world: World, unprivileged: list[str]) -> None:
    before = world.snapshot()
    world.write_config(vifplug_privileged={"helper_command": "/bin/false"})
    world.config_file.chmod(0o644)

    result = world.run(*unprivileged, "plug", SAMPLE, check=False)

    assert result.returncode == 1
    assert "could not start the privileged helper" in result.stderr
    assert world.snapshot() == before


def test_doctor_of_another_user_sees_all_there_is(world: World, unprivileged: list[str]) -> None:
    world.run(*unprivileged, "plug", SAMPLE)
    reported = json.loads(world.run(*unprivileged, "-o", "json", "doctor").stdout)
    assert [check for check in reported["checks"] if check["status"] != "ok"] == []
