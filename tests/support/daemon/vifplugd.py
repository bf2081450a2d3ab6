"""The real daemon in a World: its processes, its socket, its log."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from tests.support.world import forked
from tests.support.world.world import REPOSITORY, World

START_SECONDS = 90.0
STOP_SECONDS = 20.0


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("vifplugd", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Vifplugd:
    """``python -m vifplug.daemon.process.supervisor`` in a world's namespace.

    :param sections: options of other sections than [daemon].
    :param daemon: options of [daemon] over the world's own.
    """

    def __init__(
        self, world: World, sections: Mapping[str, Mapping[str, str]] | None = None, /, **daemon: object
    ) -> None:
        self.world = world
        self.socket = world.directory / "vifplug.sock"
        self.log_file = world.directory / "vifplugd.log"
        settings = {"socket": str(self.socket), "user": "no-such-user", "socket_group": "no-such-group"}
        own = settings | {key: str(value) for key, value in daemon.items()}
        world.write_config(**{name: dict(reported) for name, reported in (sections or {}).items()}, daemon=own)
        self.command = [sys.executable, "-m", "vifplug.daemon.process.supervisor"]
        """The command, without its arguments."""
        self.process: subprocess.Popen[bytes] | forked.Process | None = None

    def start(self, *, wait: bool = True) -> Self:
        """Start it; with ``wait``, return once it answers."""
        argv = [*self.command, "--config-file", str(self.world.config_file)]
        with open(self.log_file, "ab") as log:
            self.process = self._forked(argv[2:], log) if _is_python(argv) else self._started(argv, log)
        if wait:
            self.await_answer()
        return self

    def _started(self, argv: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        with self.world.namespace.entered():
            return subprocess.Popen(argv, stdout=log, stderr=log, cwd=REPOSITORY, env=self.world.environment)

    def _forked(self, argv: list[str], log: IO[bytes]) -> forked.Process:
        with open(os.devnull, "rb") as nothing:
            return self.world.forker(forked.DAEMON).start(
                argv[0],
                argv[1:],
                (nothing.fileno(), log.fileno(), log.fileno()),
                namespace=self.world.namespace,
                environment=self.world.environment,
            )

    def await_answer(self, seconds: float = START_SECONDS) -> None:
        """Return once /healthz answers; AssertionError with the log's end if it does not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                status, _body = self.request("GET", "/healthz", timeout=2.0)
            except (OSError, http.client.HTTPException):
                status = 0
            if status == 200:
                return
            assert time.monotonic() < deadline, f"vifplugd does not answer: {self.log()[-3000:]}"
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the parent with a signal and wait for its end; its status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(STOP_SECONDS)
        self.process = None
        return status

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()

    def log(self) -> str:
        """Its whole log."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def request(
        self, method: str, path: str, body: Any = None, *, timeout: float = 60.0, socket_path: Path | None = None
    ) -> tuple[int, Any]:
        """One request; its status, and its body as JSON (or as text if it is not JSON)."""
        connection = _Connection(str(socket_path or self.socket), timeout)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if "json" in (answer.getheader("Content-Type") or "") else text
        finally:
            connection.close()

    def vifs(self) -> dict[str, Any]:
        """GET /v1/vifs by id."""
        status, body = self.request("GET", "/v1/vifs")
        assert status == 200, body
        return {vif["id"]: vif for vif in body["vifs"]}

    def metric(self, name: str) -> float:
        """The sum of a metric's samples, e.g. ``metric('vifplug_resyncs_total')`` or with its labels."""
        _status, text = self.request("GET", "/metrics")
        lines = [line for line in text.splitlines() if line.startswith(name) and line[len(name)] in "{ "]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    @property
    def pid(self) -> int:
        """The parent's pid."""
        assert self.process is not None
        return self.process.pid

    def worker(self) -> int:
        """The one worker's pid; AssertionError if there is none, or another."""
        (found,) = children(self.pid)
        return found

    def helper(self) -> int:
        """The worker's one helper's pid."""
        (found,) = children(self.worker())
        return found


def _is_python(argv: list[str]) -> bool:
    """Whether it runs only a module of ours, which a forked process can run as well."""
    return argv[:2] == [sys.executable, "-m"]


def children(pid: int) -> list[int]:
    """The processes that a process has forked, from all its threads."""
    found: list[int] = []
    for task in os.listdir(f"/proc/{pid}/task"):
        found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found
