"""The daemon's listening socket, and what is left of a killed daemon's."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from vifplug.daemon.process import listen
from vifplug.errors import ConfigError

_GROUP = "no-such-group"


def _listen_in_children(path: Path, seconds: float, backlog: int = 100) -> tuple[int, int]:
    """Bind and listen in a child, which forks one that keeps the socket open for a while; the pids of both."""
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(backlog)
        worker = os.fork()
        if worker == 0:
            os.close(writer)
            signal.alarm(30)
            signal.setitimer(signal.ITIMER_REAL, seconds)  # SIGALRM ends it
            signal.pause()
        os.write(writer, worker.to_bytes(8))
        signal.pause()
    os.close(writer)
    worker = int.from_bytes(os.read(reader, 8))
    os.close(reader)
    return parent, worker


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "vifplug.sock"


def test_socket_that_an_ending_worker_of_a_killed_daemon_keeps_open_is_taken_once_it_has_ended(path: Path) -> None:
    parent, worker = _listen_in_children(path, 0.3)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    listener, ours = listen.take(str(path), _GROUP, 20)
    with listener:
        assert ours
        assert not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text()


@pytest.mark.parametrize("backlog", [100, 0], ids=["", "crowded"])
def test_worker_that_does_not_end_keeps_its_socket(path: Path, backlog: int) -> None:
    parent, worker = _listen_in_children(path, 20, backlog)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    try:
        with pytest.raises(ConfigError, match="another daemon answers"):
            listen.take(str(path), _GROUP, 0.1)
        assert path.is_socket()
    finally:
        os.kill(worker, signal.SIGKILL)


def test_living_daemon_is_refused_without_a_wait(path: Path) -> None:
    parent, worker = _listen_in_children(path, 20)
    try:
        # It would be waited for until the test is ended.
        with pytest.raises(ConfigError, match="another daemon answers"):
            listen.take(str(path), _GROUP, 1e9)
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        os.kill(worker, signal.SIGKILL)
