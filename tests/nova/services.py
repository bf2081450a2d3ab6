"""The processes of the ring's world that its checks stop, start and kill; run inside that world."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(os.environ["R"])
"""Where everything of the world lies."""
PIDS = Path("/run/pids")
VIFPLUGD = "/usr/local/bin/vifplugd"
SOCKET = Path("/run/vifplug/vifplug.sock")
NOVA_LOG = Path("/var/log/nova/nova-compute.log")
COMPUTE = [
    *("setpriv", "--reuid=nova", "--regid=nova", "--init-groups", "env", "HOME=/var/lib/nova"),
    *("nova-compute", "--config-file", "/etc/nova/nova.conf"),
]
SECONDS = 240.0
"""For anything that must happen; the machine may be slow."""


class CheckError(AssertionError):
    """A check that failed."""


def run(*argv: str, check: bool = True) -> str:
    """A program's standard output."""
    result = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS)
    if check and result.returncode:
        raise CheckError(f"{' '.join(argv)} exited {result.returncode}: {result.stderr.strip()[-500:]}")
    return result.stdout


def until(condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """What ``condition`` returns once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise CheckError(f"not within {seconds:g} s: {what}")
        time.sleep(0.2)
    return found


def start(name: str, *argv: str) -> None:
    """Start a daemon of the world, as environment.sh does."""
    with open(ROOT / "log" / f"{name}.out", "ab") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (PIDS / name).write_text(f"{process.pid}\n")


def stop(name: str, number: signal.Signals = signal.SIGTERM, seconds: float = 60.0) -> None:
    """End it; one that does not end in time is killed, as systemd would."""
    pid = int((PIDS / name).read_text())
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
    deadline = time.monotonic() + seconds
    while is_alive(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    """Whether it runs: a zombie that nobody has reaped yet does not."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def start_vifplugd() -> None:
    """Start it and wait until it answers."""
    start("vifplugd", VIFPLUGD)
    until(lambda: SOCKET.exists() and vifplugd_answers(), "vifplugd answers")


def vifplugd_answers() -> bool:
    """Whether /healthz does."""
    argv = ["curl", "-sf", "-m", "5", "--unix-socket", str(SOCKET), "http://localhost/healthz"]
    return subprocess.run(argv, capture_output=True).returncode == 0


def worker() -> int:
    """The pid of vifplugd's worker: the parent's one child."""
    parent = int((PIDS / "vifplugd").read_text())
    found = [int(pid) for task in Path(f"/proc/{parent}/task").iterdir() for pid in _children(task)]
    if len(found) != 1:
        raise CheckError(f"vifplugd has {len(found)} children in place of one worker")
    return found[0]


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()
