"""Open vSwitch's daemons as children of the test process: started, paused and ended by pid, dying with their parent."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
PATIENCE = float(os.environ.get("VIFPLUG_PATIENCE", "1"))
"""The factor for time limits: an emulated machine (tests/host) is many times slower."""
DEADLINE_SECONDS = 15.0 * PATIENCE


def wait_until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Poll ``condition`` until it holds; AssertionError that names ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.005)


class Daemon:
    """One foreground process in a directory of sockets, pid files and logs."""

    def __init__(self, name: str, argv: list[str], directory: Path) -> None:
        self.name = name
        self.control = directory / f"{name}.ctl"
        # Each bridge opens its own sockets in it.
        self._environment = {**os.environ, "OVS_RUNDIR": str(directory)}
        self._argv = [
            # A test run killed with -9 leaves no daemon behind.
            *("setpriv", "--pdeathsig", "KILL", *argv, "--no-chdir", "-vconsole:off"),
            *(f"--unixctl={self.control}", f"--pidfile={directory / name}.pid", f"--log-file={directory / name}.log"),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its pid; AssertionError if it does not run."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait for its control socket."""
        assert self._process is None, f"{self.name} runs already"
        self.control.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, env=self._environment)
        wait_until(self.control.exists, f"the start of {self.name}")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it (SIGKILL for a crash) and wait for its death; do nothing if it does not run."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(number)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)  # a paused one only reacts to SIGKILL
        try:
            process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Freeze it: its sockets accept connections, without answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen one continue."""
        os.kill(self.pid, signal.SIGCONT)


@functools.cache
def _empty_database() -> bytes:
    """As ovsdb-tool makes it, once for all worlds of a process; it holds the schema and nothing of its own."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "conf.db")
        subprocess.run(["ovsdb-tool", "create", str(path), str(SCHEMA)], check=True)
        return path.read_bytes()


def ovsdb_server(directory: Path, socket: Path) -> Daemon:
    """An ovsdb-server with an empty database, listening at ``socket``; not started."""
    database = directory / "conf.db"
    database.write_bytes(_empty_database())
    return Daemon("ovsdb", ["ovsdb-server", str(database), f"--remote=punix:{socket}"], directory)


def vswitchd(directory: Path, socket: Path, *options: str) -> Daemon:
    """An ovs-vswitchd for that database; not started."""
    return Daemon("vswitchd", ["ovs-vswitchd", f"unix:{socket}", *options], directory)
