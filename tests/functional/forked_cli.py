"""The command line run in a process forked from one that has imported it: the imports take a second of CPU time.

What is run is ``vifplug.cli.main.main`` with arguments, streams, environment, directory and network namespace of its
own, to the end of the interpreter. A test of the start itself uses ``World.vifplug_argv``.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from tests.functional.namespaces import Namespace

_REPOSITORY = Path(__file__).resolve().parents[2]
_REQUEST_BYTES = 1 << 20


class Forker:
    """A process that has the command line imported, and forks one for each command."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-m", "tests.functional.forked_cli", str(theirs.fileno())]
        self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()], cwd=_REPOSITORY, stdin=subprocess.DEVNULL)
        theirs.close()
        self._socket, self._lock = ours, threading.Lock()
        atexit.register(self.close)

    def close(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait()

    def run(
        self, argv: Sequence[str], *, namespace: Namespace, environment: Mapping[str, str], input: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """One command; its output and exit status, as subprocess gives them.

        :raises subprocess.TimeoutExpired: when it takes longer; it is killed.
        """
        streams = [os.pipe() for _ in range(3)]
        (stdin, _), (_, stdout), (_, stderr) = streams
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        request = json.dumps({"argv": list(argv), "environment": dict(environment), "directory": str(_REPOSITORY)})
        with ours:
            with self._lock:
                passed = [stdin, stdout, stderr, namespace.fd, theirs.fileno()]
                socket.send_fds(self._socket, [request.encode()], passed)
            theirs.close()
            for descriptor in (stdin, stdout, stderr):
                os.close(descriptor)
            return _Command(argv, ours, (streams[0][1], streams[1][0], streams[2][0])).finish(input, timeout)


class _Command:
    """The reading end of one forked command."""

    def __init__(self, argv: Sequence[str], control: socket.socket, streams: tuple[int, int, int]) -> None:
        self._argv, self._control = list(argv), control
        self._stdin, self._out, self._err = os.fdopen(streams[0], "w"), os.fdopen(streams[1]), os.fdopen(streams[2])

    def finish(self, input: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Feed it, read it, and wait for its status."""
        texts: dict[str, str] = {}
        readers = [
            threading.Thread(target=_read, args=(stream, name, texts))
            for name, stream in (("out", self._out), ("err", self._err))
        ]
        for reader in readers:
            reader.start()
        self._control.settimeout(timeout)
        pid = int(self._answer())
        with contextlib.suppress(BrokenPipeError), self._stdin:
            self._stdin.write(input)
        try:
            status = int(self._answer())
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(self._argv, timeout) from None
        finally:
            for reader in readers:
                reader.join()
        return subprocess.CompletedProcess(self._argv, status, texts["out"], texts["err"])

    def _answer(self) -> str:
        line = b""
        while not line.endswith(b"\n"):
            more = self._control.recv(64)
            assert more, "the forking process ended"
            line += more
        return line.decode()


def _read(stream: IO[str], name: str, texts: dict[str, str]) -> None:
    with stream:
        texts[name] = stream.read()


def _serve(control: socket.socket) -> list[str] | None:
    """Fork for each request; returns in the child, with its arguments, and in the parent at the end."""
    while True:
        data, descriptors, _flags, _address = socket.recv_fds(control, _REQUEST_BYTES, 5)
        if not data:
            return None
        if os.fork() == 0:
            # A process of its own that waits for the command, so that many can run at once.
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


def _become(request: dict[str, object], descriptors: Sequence[int]) -> list[str]:
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    namespace = Namespace(descriptors[3])
    namespace.enter()
    namespace.close()
    os.chdir(str(request["directory"]))
    environment, argv = request["environment"], request["argv"]
    assert isinstance(environment, dict)
    assert isinstance(argv, list)
    os.environ.clear()
    os.environ.update(environment)
    return argv


def _main() -> int:
    # What the command line imports on its way, in local mode and as a client.
    import vifplug.api
    import vifplug.cli.main
    import vifplug.client
    import vifplug.engine.plugger
    import vifplug.linux

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those who wait for the commands are reaped by the kernel
    argv = _serve(socket.socket(fileno=int(sys.argv[1])))
    if argv is None:
        return 0
    sys.argv = ["vifplug", *argv]
    return vifplug.cli.main.main()


if __name__ == "__main__":
    sys.exit(_main())
