"""Writes lines to a descriptor that may block: a pipe that is not read, a stopped terminal, a journal that hangs.

A write to it would block the thread that logs, and with it the API, the repairs and the end of the daemon. So another
thread writes, from a bounded queue; lines are dropped and counted while the queue is full. The descriptor is not
changed: O_NONBLOCK belongs to the open file description, which the terminal or the parent shell shares.
"""

from __future__ import annotations

import collections
import contextlib
import io
import os
import select
import threading
import time
from collections.abc import Callable

QUEUE_MAX_BYTES = 2 * 2**20
"""Some ten thousand lines, besides what the pipe itself holds (64 KiB)."""
_LINE_BYTES = 200
"""The cost of a queued line besides its text."""


class LogWriter:
    """Lines on their way to a descriptor. Any thread may use it; a fork's child starts with an empty queue.

    :param notice: the line with the number of dropped lines.
    :param send: in place of a write to the descriptor: sends a line whole.
    """

    def __init__(
        self, descriptor: int, notice: Callable[[int], bytes], send: Callable[[bytes], int] | None = None
    ) -> None:
        self._descriptor, self._notice, self._send = descriptor, notice, send
        self._changed = threading.Condition()
        self._lines: collections.deque[bytes] = collections.deque()
        self._size = 0
        self._is_writing = False
        self._thread: threading.Thread | None = None
        self._is_writable = True
        self._unreported = 0
        """Lines dropped since the last notice."""
        self.dropped = 0
        """All lines ever dropped."""
        os.register_at_fork(
            before=lambda: self._changed.acquire(),
            after_in_parent=lambda: self._changed.release(),
            after_in_child=self._restart,
        )

    def _restart(self) -> None:
        # The parent writes the queued lines, and its thread does not exist here.
        self._changed = threading.Condition()
        self._lines.clear()
        self._size, self._is_writing, self._thread = 0, False, None
        self._unreported = self.dropped = 0

    def write(self, line: bytes) -> None:
        """Queue a line, or count it as dropped. This never waits for the descriptor."""
        with self._changed:
            if self._size + len(line) + _LINE_BYTES > QUEUE_MAX_BYTES:
                self._drop()
                return
            self._report_dropped()
            self._enqueue(line)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log writer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, seconds: float) -> None:
        """Wait until everything is written, but no longer than so many seconds."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while (self._lines or self._is_writing) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)

    def _drop(self) -> None:
        self._unreported += 1
        self.dropped += 1

    def _enqueue(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line) + _LINE_BYTES

    def _report_dropped(self) -> None:
        if self._unreported and self._is_writable:
            self._enqueue(self._notice(self._unreported))
            self._unreported = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                if not self._lines:
                    self._report_dropped()
                self._changed.notify_all()
                while not self._lines:
                    self._changed.wait()
                line = self._lines.popleft()
                self._size -= len(line) + _LINE_BYTES
                self._is_writing = True
            self._is_writable = self._write(line)
            if not self._is_writable:
                with self._changed:
                    self._drop()

    def _write(self, line: bytes) -> bool:
        """Write a line whole; False if writing is impossible, as to a pipe without a reader."""
        if self._send is not None:
            with contextlib.suppress(OSError):
                self._send(line)
                return True
            return False
        unwritten = memoryview(line)
        while unwritten:
            try:
                unwritten = unwritten[os.write(self._descriptor, unwritten) :]
            except BlockingIOError:  # another process has set O_NONBLOCK on the shared description
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
            except OSError:
                return False
        return True


class LogStream(io.TextIOBase):
    """A writer as sys.stdout or sys.stderr: for code that prints, or a thread's traceback, instead of logging."""

    def __init__(self, writer: LogWriter, descriptor: int) -> None:
        self._writer, self._descriptor = writer, descriptor
        self._partial = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As for a text stream."""
        return "utf-8"

    def writable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The descriptor that the writer writes to."""
        return self._descriptor

    def write(self, text: str) -> int:
        """Queue whole lines; the rest waits for its end."""
        *lines, self._partial = (self._partial + text).split("\n")
        for line in lines:
            self._writer.write((line + "\n").encode("utf-8", "backslashreplace"))
        return len(text)
