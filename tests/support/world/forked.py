"""Programs run in processes forked from one that has imported them: the imports take a second of CPU time and more.

It runs the ``main`` of vifplug's own program with its own arguments, streams, environment, directory and network
namespace, to the end of its threads and exit handlers. The interpreter is not finalised: that takes more CPU time than
a small command. A test of the start itself, or of the end, uses the real command line.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from tests.support.world.namespaces import Namespace

_REPOSITORY = Path(__file__).resolve().parents[3]
_REQUEST_BYTES = 1 << 20

CLI = "vifplug.cli.main"
DAEMON = "vifplug.daemon.process.supervisor"
_IMPORTED = {
    # The modules that each imports on its way: the command line in local mode and as a client, the daemon in its
    # worker.
    CLI: ("vifplug.api.local", CLI, "vifplug.api.remote", "vifplug.engine.commands.plug", "vifplug.linux.host"),
    DAEMON: (DAEMON, "vifplug.daemon.process.worker", "tests.support.daemon.daemon_variants"),
}


class Forker:
    """A process that has imported a program, and forks a process for each command.

    :param program: ``CLI`` or ``DAEMON``.
    """

    def __init__(self, program: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-m", "tests.support.world.forked", program, str(theirs.fileno())]
        self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], cwd=_REPOSITORY, stdin=subprocess.DEVNULL)
        theirs.close()
        self._socket, self._lock = ours, threading.Lock()
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()

    def start(
        self,
        module: str,
        argv: Sequence[str],
        streams: Sequence[int],
        *,
        namespace: Namespace,
        environment: Mapping[str, str],
    ) -> Process:
        """Run ``main`` of a module.

        :param argv: its arguments, without the program's name.
        :param streams: descriptors that become its stdin, stdout and stderr.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = {"module": module, "argv": list(argv), "environment": dict(environment), "cwd": str(_REPOSITORY)}
        with theirs, self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], [*streams, namespace.fd, theirs.fileno()])
        return Process([module, *argv], ours)

    def begin(self, argv: Sequence[str], *, namespace: Namespace, environment: Mapping[str, str]) -> Command:
        """The command line, with pipes for its streams."""
        (stdin, feed), (output, stdout), (errors, stderr) = (os.pipe() for _ in range(3))
        try:
            process = self.start(CLI, argv, (stdin, stdout, stderr), namespace=namespace, environment=environment)
        finally:
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
        return Command(process, feed, output, errors)

    def run(
        self, argv: Sequence[str], *, namespace: Namespace, environment: Mapping[str, str], input: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """The command line to its end; its output and exit status, as subprocess gives them.

        :raises subprocess.TimeoutExpired: it takes longer; it is killed.
        """
        with self.begin(argv, namespace=namespace, environment=environment) as command:
            output, errors = command.communicate(input, timeout)
        assert command.returncode is not None
        return subprocess.CompletedProcess(list(argv), command.returncode, output, errors)


class Process:
    """A forked command, with as much of ``subprocess.Popen`` as the tests use.

    :param control: sends the pid, and after its end the exit status.
    """

    def __init__(self, argv: Sequence[str], control: socket.socket) -> None:
        self.args, self._control = list(argv), control
        self.returncode: int | None = None
        """As subprocess has it: negative for a signal, None until ``wait`` or ``poll`` has seen the end."""
        self.pid = int(self._answer())

    def send_signal(self, number: signal.Signals) -> None:
        """Do nothing if it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, once it has ended.

        :raises subprocess.TimeoutExpired: when that takes more than ``timeout`` seconds.
        """
        if self.returncode is None:
            if timeout is not None and not select.select([self._control], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = int(self._answer())
            self._control.close()
        return self.returncode

    def _answer(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            more = self._control.recv(1)
            assert more, "the forking process ended"
            line += more
        return line.decode()


class Command:
    """A forked command with pipes for its streams, with as much of ``subprocess.Popen[str]`` as the tests use.

    What it prints is read at once, by threads: it never waits for its reader. As a context it is killed by an error of
    the block.
    """

    def __init__(self, process: Process, feed: int, output: int, errors: int) -> None:
        self._process = process
        self.stdin: IO[str] | None = os.fdopen(feed, "w")
        self._printed: dict[int, bytes] = {}
        # daemon: a command that does not end must not keep the tests' process.
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True) for stream in (output, errors)
        ]
        self._streams = output, errors
        for reader in self._readers:
            reader.start()

    @property
    def returncode(self) -> int | None:
        """As subprocess has it."""
        return self._process.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing when it has ended."""
        self._process.send_signal(number)

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.poll()

    def communicate(self, input: str = "", timeout: float | None = None) -> tuple[str, str]:
        """Write its stdin, unless that is closed; what it has printed, once it has ended. It can be repeated.

        :raises subprocess.TimeoutExpired: when that takes more than ``timeout`` seconds.
        :raises UnicodeDecodeError: when it prints what is not UTF-8.
        """
        with contextlib.suppress(BrokenPipeError):
            self._close_stdin(input)
        self._process.wait(timeout)
        for reader in self._readers:
            reader.join()
        output, errors = (self._printed[stream].decode() for stream in self._streams)
        return output, errors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:  # a command that does not end must not hide it
            self.send_signal(signal.SIGKILL)
        self.communicate()

    def _close_stdin(self, text: str) -> None:
        pipe, self.stdin = self.stdin, None
        if pipe is not None and not pipe.closed:
            with pipe:
                pipe.write(text)

    def _read(self, stream: int) -> None:
        with os.fdopen(stream, "rb") as pipe:
            self._printed[stream] = pipe.read()


def _serve(control: socket.socket) -> dict[str, object] | None:
    """Fork for each request; returns in the child, with its request, and in the parent at the end."""
    while True:
        data, descriptors, _flags, _address = socket.recv_fds(control, _REQUEST_BYTES, 5)
        if not data:
            return None
        if os.fork() == 0:
            # A separate process that waits for the command, so that many can run at once.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            answer = socket.socket(fileno=descriptors[4])
            if (child := os.fork()) == 0:
                answer.close()
                return _become(json.loads(data), descriptors)
            for descriptor in descriptors[:4]:
                os.close(descriptor)
            answer.sendall(b"%d\n" % child)
            _pid, status = os.waitpid(child, 0)
            with contextlib.suppress(BrokenPipeError):
                answer.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


def _become(request: dict[str, object], descriptors: Sequence[int]) -> dict[str, object]:
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    namespace = Namespace(descriptors[3])
    namespace.enter()
    namespace.close()
    os.chdir(str(request["cwd"]))
    environment = request["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    return request


def _main(program: str, descriptor: int) -> int:
    for name in _IMPORTED[program]:
        importlib.import_module(name)
    # Otherwise each command's garbage collections, above all the last one, read and so copy every object from before
    # the fork: 0.17 s of CPU time for `vifplug --version` instead of 0.05 s.
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the processes that wait for the commands
    request = _serve(socket.socket(fileno=descriptor))
    if request is None:
        return 0
    module, argv = str(request["module"]), request["argv"]
    assert isinstance(argv, list)
    sys.argv = [module, *argv]
    status = importlib.import_module(module).main()
    assert isinstance(status, int)
    _end(status)
    return status


def _end(status: int) -> None:
    """End as the interpreter does, as far as others see it; returns when that has to report what it could not write."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2])))
