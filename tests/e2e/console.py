"""A guest's serial console: all that it says is kept in a file, and commands can be given to it."""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

READY_SECONDS = 90.0
"""An emulated guest boots in 3 seconds where it has a processor to itself."""


@dataclass(frozen=True)
class Said:
    """What a command in the guest printed, and how it ended."""

    status: int
    text: str


class Console:
    """The end of a serial line; the hypervisor connects to it, so that no word is lost.

    A guest may go and another one come: ``await_ready`` is called for each.
    """

    def __init__(self, path: Path, log: Path) -> None:
        self.path, self.log = path, log
        self._numbers = itertools.count(1)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._line: socket.socket | None = None
        self._heard = threading.Condition()
        self._text = ""
        self._read = 0
        self._closing = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def await_ready(self) -> str:
        """Wait until the guest says that it has booted; its words."""
        return self._expect(r"^GUEST-READY (.*)\n", READY_SECONDS).group(1)

    def run(self, command: str, seconds: float = 30.0) -> Said:
        """Run a shell command in the guest."""
        number = next(self._numbers)
        self.say(f"{number} {command}")
        found = self._expect(rf"^END {number} (\d+)\n", seconds)
        before = found.string[: found.start()]
        return Said(int(found.group(1)), before.partition(f"$ {command}\n")[2])

    def say(self, line: str) -> None:
        """Give it a line and wait for nothing."""
        assert self._line is not None, "the guest has no console"
        self._line.sendall(line.encode() + b"\n")

    def close(self) -> None:
        """Hang up."""
        self._closing = True
        for end in (self._listener, self._line):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
        self._thread.join()

    def _expect(self, pattern: str, seconds: float) -> re.Match[str]:
        """What matches first in what has not been read yet; that is then read."""
        compiled = re.compile(pattern, re.MULTILINE)
        with self._heard:

            def found() -> re.Match[str] | None:
                return compiled.search(self._text[self._read :])

            match = self._heard.wait_for(found, seconds)
            assert match, f"no {pattern!r} within {seconds} s; it said: {self._text[self._read :][-3000:]!r}"
            self._read += match.end()
            return match

    def _listen(self) -> None:
        while not self._closing:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with line:
                self._line = line
                self._hear(line)

    def _hear(self, line: socket.socket) -> None:
        with self.log.open("a") as log:
            while True:
                try:
                    output = line.recv(65536)
                except OSError:
                    return
                if not output:
                    return
                text = output.decode(errors="replace").replace("\r", "")
                log.write(text)
                log.flush()
                with self._heard:
                    self._text += text
                    self._heard.notify_all()
