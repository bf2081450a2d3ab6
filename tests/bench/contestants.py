"""The other end of ``serving``: contestants as processes in a world, which work one at a time."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.vifs import Request
from tests.support.world.world import REPOSITORY, World

_DEBIANS_PYTHON = Path("/usr/bin/python3")
_VERSION = "import sys; print(sys.implementation.cache_tag)"
_SECONDS_TO_END = 30.0
_CATCH_UP_SECONDS = 5.0


class Failed(Exception):
    """A contestant could not carry out a command."""


@functools.cache
def interpreter(environment: Path) -> Path:
    """A Python with the packages of a virtual environment: /usr/bin/python3 if it is of the same version; a Python that
    pyenv built is up to 40 % slower."""
    own = environment / "bin/python"
    tags = {
        subprocess.run([str(python), "-c", _VERSION], capture_output=True, check=False).stdout
        for python in (own, _DEBIANS_PYTHON)
    }
    if len(tags) > 1:
        return own
    twin = environment.with_name(f"{environment.name}-bench")
    (twin / "bin").mkdir(parents=True, exist_ok=True)
    (twin / ".gitignore").write_text("*\n")
    (twin / "pyvenv.cfg").write_text(f"home = {_DEBIANS_PYTHON.parent}\ninclude-system-site-packages = false\n")
    for link, target in ((twin / "bin/python", _DEBIANS_PYTHON), (twin / "lib", environment.resolve() / "lib")):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    for name in ("vifplug", "vifplugd"):
        if (program := environment / "bin" / name).exists():
            text = program.read_text().partition("\n")[2]
            (twin / "bin" / name).write_text(f"#!{twin}/bin/python\n{text}")
            (twin / "bin" / name).chmod(0o755)
    return twin / "bin/python"


def os_vif_python() -> Path:
    """os-vif's Python."""
    return interpreter(REPOSITORY / ".venv-osvif")


def os_vif_argv(world: World) -> list[str]:
    """os-vif's contestant, with a nova.conf for this world."""
    config = world.directory / "nova.conf"
    config.write_text(f"[os_vif_ovs]\novsdb_connection = unix:{world.socket}\n")
    return [str(os_vif_python()), "-W", "ignore", "-m", "tests.bench.os_vif_contestant", str(config)]


def python_of(checkout: Path) -> Path:
    """The Python of a checkout, with the packages of its ``.venv``."""
    return interpreter(checkout / ".venv")


def vifplug_argv(world: World, via: str = "local", checkout: Path = REPOSITORY) -> list[str]:
    """vifplug's contestant, with its own configuration file in each world.

    :param checkout: this one, or another commit's.
    """
    return [
        str(python_of(checkout)),
        "-W",
        "ignore",
        "-m",
        "tests.bench.vifplug_contestant",
        via,
        str(world.config_file),
    ]


class Contestant:
    """A contestant that is stopped while others work: what it does meanwhile (follow OVSDB) must not cost them time.

    ``with Contestant(world, argv) as contestant``.
    """

    def __init__(self, world: World, argv: Sequence[str], *more: str, checkout: Path = REPOSITORY) -> None:
        self.world = world
        self._argv = [*argv, *more]
        self._checkout = checkout
        self._known: set[str] = set()
        self.log = world.directory / "contestants.log"

    def __enter__(self) -> Self:
        with open(self.log, "ab") as log, self.world.namespace.entered():
            self._process = subprocess.Popen(
                self._argv,
                env=environment(self.world),
                cwd=self._checkout,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._read()
        self._pids = descendants(self.pid)
        self._signal(signal.SIGSTOP)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._signal(signal.SIGCONT)
        self._process.communicate(timeout=_SECONDS_TO_END)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    @property
    def pid(self) -> int:
        """Its pid."""
        return self._process.pid

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{' '.join(self._argv)} ended: {self.log.read_text()[-3000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["answer"]

    def ask(self, call: str, **output: Any) -> Any:
        """One call's answer, after the contestant has processed the events of its stop.

        :raises Failed: it failed.
        """
        assert self._process.stdin is not None
        self._signal(signal.SIGCONT)
        _calm(self._pids, quiet=2, seconds=_CATCH_UP_SECONDS)
        self._process.stdin.write(json.dumps({"call": call, **output}) + "\n")
        self._process.stdin.flush()
        try:
            return self._read()
        finally:
            self._signal(signal.SIGSTOP)

    def _ids(self, requests: Sequence[Request]) -> list[str]:
        fresh = [request.document for request in requests if request.id not in self._known]
        if fresh:
            self.ask("prepare", vifs=fresh)
            self._known |= {document["id"] for document in fresh}
        return [request.id for request in requests]

    def each(self, verb: str, requests: Sequence[Request]) -> list[float]:
        """A request for each VIF, one after the other; the seconds of each."""
        return list(self.ask("each", of=verb, ids=self._ids(requests))["seconds"])

    def prepare(self, requests: Sequence[Request]) -> None:
        """Give it VIFs before anything is measured."""
        self._ids(requests)

    def began_and_took(self, verb: str, request: Request) -> tuple[float, float]:
        """One request: when it began, by the monotonic clock, and its duration in seconds."""
        answer = self.ask("one", of=verb, ids=self._ids([request]))
        return float(answer["began"]), float(answer["seconds"])

    def together(self, verb: str, requests: Sequence[Request]) -> float:
        """One request for all of them; its duration in seconds."""
        (seconds,) = self.ask("together", of=verb, ids=self._ids(requests))["seconds"]
        return float(seconds)

    def crowd(self, verb: str, requests: Sequence[Request], callers: int) -> float:
        """That many concurrent callers, with a request for each VIF; seconds until the last is done."""
        (seconds,) = self.ask("crowd", of=verb, ids=self._ids(requests), callers=callers)["seconds"]
        return float(seconds)


def environment(world: World) -> dict[str, str]:
    """The environment of a contestant: without the user's own configuration; stevedore's cache is deleted with the
    world.

    With PYTHONDONTWRITEBYTECODE each start would compile, which no installed package does.
    """
    kept = {name: value for name, value in world.environment.items() if not name.startswith(("VIFPLUG_", "PYTHON"))}
    return {**kept, "XDG_CACHE_HOME": str(world.directory)}


def fresh(world: World, argv: Sequence[str], request: Request, *, checkout: Path = REPOSITORY) -> tuple[float, float]:
    """A new process that plugs one VIF: seconds from its start until that is done, and of the call in it alone.

    :raises Failed: it could not.
    """
    argv = [*argv, "--once", json.dumps(request.document)]
    log = world.directory / "contestants.log"
    with open(log, "ab") as errors, world.namespace.entered():
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, env=environment(world), cwd=checkout, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        output = process.stdout.readline()
        seconds = time.perf_counter() - began
        process.communicate(timeout=_SECONDS_TO_END)
    if not output:
        raise Failed(f"{' '.join(argv)}: {log.read_text()[-2000:]}")
    return seconds, float(output)


def timed(world: World, argv: Sequence[str]) -> tuple[float, str]:
    """A command from its start to its end: seconds, and its output.

    :raises Failed: its status is not 0.
    """
    with world.namespace.entered():
        began = time.perf_counter()
        done = subprocess.run(argv, env=environment(world), cwd=REPOSITORY, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - began
    if done.returncode:
        raise Failed(f"{' '.join(argv)}: {done.stderr[-2000:]}")
    return seconds, done.stdout


# -- the machine --------------------------------------------------------------------------------------------------

_IDLE_PAUSE_SECONDS = 0.01
_IDLE_NANOSECONDS = 1_000_000


def rest(world: World, *, quiet: int = 3, seconds: float = 2.0) -> None:
    """Wait until vswitchd and ovsdb-server are idle, or ``seconds`` have passed.

    The work that one contestant causes afterwards (frames that its new links send, flooded to every port) must not cost
    the next one time.
    """
    _calm((world.vswitchd.pid, world.ovsdb.pid), quiet=quiet, seconds=seconds)


def _calm(pids: Sequence[int], *, quiet: int, seconds: float) -> None:
    """Wait until processes have been nearly idle for that many looks, or ``seconds`` have passed."""
    deadline, calm, before = time.monotonic() + seconds, 0, worked(pids)
    while calm < quiet and time.monotonic() < deadline:
        time.sleep(_IDLE_PAUSE_SECONDS)
        now = worked(pids)
        calm = calm + 1 if now - before < _IDLE_NANOSECONDS else 0
        before = now


def worked(pids: Sequence[int]) -> int:
    """Processor time of these processes in nanoseconds, all threads."""
    worked = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                worked += int((task / "schedstat").read_text().split()[0])
    return worked


def busy() -> float:
    """The share of all processors that was in use during the last half second, by other work, before a run."""

    def read() -> tuple[int, int]:
        values = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
        return sum(values), values[3] + values[4]

    total, idle = read()
    time.sleep(0.5)
    later_total, later_idle = read()
    return 1 - (later_idle - idle) / max(1, later_total - total)


def memory(pid: int) -> float:
    """A process's proportional set size, in MB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (kilobytes,) = (int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1024


def descendants(pid: int) -> list[int]:
    """A process and all its descendants."""
    pids = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
            pids += descendants(int(child))
    return pids
