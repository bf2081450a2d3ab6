"""The daemon's log is not read: it goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.daemon.vifplugd import STOP_SECONDS, Vifplugd
from tests.support.vifs import HYBRID
from tests.support.world.daemons import wait_until
from tests.support.world.world import REPOSITORY, World


class Unread(Vifplugd):
    """A daemon whose output goes to a descriptor of ours."""

    def run(self, output: int) -> None:
        with self.world.namespace.entered():
            self.process = subprocess.Popen(
                [*self.command, "--debug", "--config-file", str(self.world.config_file)],
                stdout=output,
                stderr=output,
                cwd=REPOSITORY,
                env=self.world.environment,
            )
        self.await_answer()


@contextmanager
def ends(kind: str) -> Iterator[tuple[int, int]]:
    """Where to read, and where the daemon writes: a pipe, or a socket as journald's."""
    near: socket.socket | None = None
    if kind == "pipe":
        reader, writer = os.pipe()
    else:
        near, far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        reader, writer = near.detach(), far.detach()
    try:
        yield reader, writer
    finally:
        os.close(reader)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_daemon_whose_log_is_not_read_serves_repairs_and_ends(world: World, kind: str) -> None:
    daemon = Unread(world, repair_interval=1)
    with ends(kind) as (reader, writer):
        daemon.run(writer)
        os.close(writer)
        try:
            assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200
            for _ in range(200):  # each is some debug lines
                for _ in range(20):
                    assert daemon.request("GET", "/v1/host", timeout=20)[0] == 200
                if daemon.metric("vifplug_log_lines_dropped"):
                    break
            assert daemon.metric("vifplug_log_lines_dropped") > 0
            world.ip("link", "set", "qvb71a6b0e4-1a", "mtu", "1300")
            wait_until(lambda: world.ip("link", "show", "qvb71a6b0e4-1a")[0]["mtu"] != 1300, "the repair", 30)
            if kind == "pipe":
                text = b""
                while b"log lines were dropped" not in text:
                    text += os.read(reader, 2**20)
                assert all(json.loads(line) for line in text.splitlines()[:-1][-5:])
            else:
                os.kill(daemon.worker(), signal.SIGKILL)  # the parent logs that, and starts another
                daemon.await_answer(30)
                assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200
        finally:
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGTERM)
            status = daemon.process.wait(STOP_SECONDS)
            daemon.process = None
        assert status == 0
