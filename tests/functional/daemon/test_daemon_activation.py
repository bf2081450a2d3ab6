"""The daemon under systemd, as far as it is a protocol: the socket it is handed, and what it says of itself."""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.functional.daemon.test_daemon_lifecycle import pair
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID
from tests.support.world.daemons import wait_until
from tests.support.world.world import REPOSITORY, World

WATCHDOG_SECONDS = 1.5
_LAUNCHER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
environment = {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "vifplugd.socket"}
os.execve(sys.executable, [sys.executable, *sys.argv[2:]], environment)
"""


class Activated(Vifplugd):
    """A daemon that is handed its socket and says how it goes."""

    def __init__(self, world: World, handed: socket.socket) -> None:
        super().__init__(world)
        self._handed = handed
        self._ears = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = world.directory / "notify.sock"
        self._ears.bind(str(path))
        self._ears.settimeout(30)
        self._environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6))}

    def launch(self) -> None:
        """As systemd does: descriptor 3, and variables that say so."""
        os.set_inheritable(self._handed.fileno(), True)
        argv = [sys.executable, "-c", _LAUNCHER, str(self._handed.fileno()), *self.command[1:]]
        with self.world.namespace.entered(), open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [*argv, "--config-file", str(self.world.config_file)],
                stdout=log,
                stderr=log,
                pass_fds=[self._handed.fileno()],
                cwd=REPOSITORY,
                env=self.world.environment | self._environment,
            )

    def heard(self) -> list[str]:
        """What it has said next."""
        return self._ears.recv(4096).decode().splitlines()

    def has_said(self) -> list[str]:
        """All that it has said and nobody has listened to yet."""
        output = []
        while select.select([self._ears], [], [], 0)[0]:
            output += self.heard()
        return output

    def close(self) -> None:
        self._ears.close()


@pytest.fixture
def handed(world: World) -> Iterator[socket.socket]:
    """systemd's listening socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(world.directory / "vifplug.sock"))
        listener.listen(16)
        yield listener


@pytest.fixture
def daemon(world: World, handed: socket.socket) -> Iterator[Activated]:
    """Not started yet; stopped at the end."""
    made = Activated(world, handed)
    try:
        yield made
    finally:
        made.__exit__(None, None, None)
        made.close()


def test_daemon_serves_the_socket_it_is_handed_and_leaves_the_path(daemon: Activated, world: World) -> None:
    inode = daemon.socket.stat().st_ino
    daemon.launch()
    assert daemon.heard()[0] == "READY=1"
    status, body = daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)
    assert (status, body["state"]) == (200, "plugged")
    assert daemon.stop() == 0
    assert daemon.socket.stat().st_ino == inode
    # Whoever connects meanwhile waits for the next one, as over an upgrade.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as early:
        early.connect(str(daemon.socket))
        early.sendall(b"GET /v1/vifs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        daemon.launch()
        early.settimeout(20)
        answer = b""
        while part := early.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert HYBRID.id.encode() in answer
    assert daemon.socket.stat().st_ino == inode


def test_daemon_says_when_it_is_ready_that_it_lives_and_that_it_ends(daemon: Activated) -> None:
    daemon.launch()
    first = daemon.heard()
    assert first[0] == "READY=1"
    assert first[1].startswith("STATUS=")
    assert daemon.request("GET", "/healthz")[0] == 200, "said that it is ready before it was"
    beats = []
    until = time.monotonic() + 2 * WATCHDOG_SECONDS
    while time.monotonic() < until:
        if "WATCHDOG=1" in daemon.heard():
            beats.append(time.monotonic())
    assert max(later - earlier for earlier, later in itertools.pairwise(beats)) < WATCHDOG_SECONDS
    worker, _helper = pair(daemon)
    os.kill(worker, signal.SIGSTOP)  # so that the end takes its time
    daemon.has_said()
    assert daemon.process is not None
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.heard() == ["STOPPING=1"]
    assert daemon.worker() == worker, "said so when it was over"
    os.kill(worker, signal.SIGCONT)
    assert daemon.process.wait(10) == 0
    assert daemon.has_said() == []


def test_daemon_does_not_say_that_it_lives_for_a_worker_that_hangs(daemon: Activated) -> None:
    daemon.launch()
    assert daemon.heard()[0] == "READY=1"
    worker, _helper = pair(daemon)
    os.kill(worker, signal.SIGSTOP)
    time.sleep(0.2)
    daemon.has_said()
    # Its parent ends it before systemd would end them all, and says that it lives once another serves.
    wait_until(lambda: f"worker {worker} sends no heartbeat" in daemon.log(), "its end", WATCHDOG_SECONDS)
    assert "WATCHDOG=1" not in daemon.has_said()
    assert "WATCHDOG=1" in daemon.heard()
    daemon.await_answer()


@pytest.mark.parametrize("meant", ["another process", "two sockets", "a datagram socket"])
def test_what_is_no_handed_socket_is_not_taken_for_one(world: World, meant: str) -> None:
    daemon = Vifplugd(world)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wrong:
        os.set_inheritable(wrong.fileno(), True)
        launcher = _LAUNCHER
        if meant == "another process":
            launcher = launcher.replace("str(os.getpid())", '"1"')
        if meant == "two sockets":
            launcher = launcher.replace('"LISTEN_FDS": "1"', '"LISTEN_FDS": "2"')
        argv = [sys.executable, "-c", launcher, str(wrong.fileno()), *daemon.command[1:]]
        with world.namespace.entered(), open(daemon.log_file, "ab") as log:
            daemon.process = subprocess.Popen(
                [*argv, "--config-file", str(world.config_file)],
                stderr=log,
                pass_fds=[wrong.fileno()],
                env=world.environment,
            )
        if meant == "another process":
            daemon.await_answer()
            assert daemon.stop() == 0
            assert not daemon.socket.exists()
        else:
            assert daemon.process.wait(60) == 2
            assert "vifplugd takes one, a stream socket" in daemon.log()
