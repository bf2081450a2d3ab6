"""Output to stdout and stderr, and what happens when the reader has closed it."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from vifplug import errors
from vifplug.cli import tables

_UNSAFE = re.compile(
    "(?!\x1b\\[[0-9;]*m)[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
"""Control characters and those that change the direction of text, but for line ends, tabs and colours (SGR)."""


def safe(text: str) -> str:
    """``text`` without what steers a terminal. Tables escape their cells already, colours of other programs included;
    this is for whatever a verb prints by itself."""
    return _UNSAFE.sub(lambda unsafe: repr(unsafe.group())[1:-1], text)


def put(text: str | None = None) -> bool:
    """Write a text and a newline, and flush stdout; return whether stdout still has a reader.

    :raises errors.VifplugError: when writing fails for a reason other than a closed stdout.
    """
    if sys.stdout is None:  # closed by the caller
        return False
    try:
        if text is not None:
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
            # An instance's name may have characters that the terminal's encoding does not have: they are escaped.
            print(safe(text).encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        give_up(error)
        return False
    return True


def give_up(error: OSError) -> None:
    """Write nothing more to stdout after an error.

    :raises errors.VifplugError: for a reason other than a closed stdout.
    """
    _drop_stdout()
    if not isinstance(error, BrokenPipeError):
        raise _unwritable(error) from error


def _drop_stdout() -> None:
    # As in the Python manual: otherwise the interpreter flushes again at exit, and prints an error.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritable(error: OSError) -> errors.VifplugError:
    return errors.VifplugError(f"the command is done, but its result could not be written: {error.strerror}", "stdout")


def write_error(line: str) -> None:
    """A line on stderr."""
    with contextlib.suppress(OSError):  # a closed stderr does not change the result
        print(safe(line), file=sys.stderr, flush=True)


def warn(texts: Sequence[str]) -> None:
    """Warnings on stderr, a line each."""
    for warning in texts:
        write_error(tables.printable(f"vifplug: warning: {warning}"))


def is_interactive() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def show_progress(line: str) -> None:
    """A line about running work, on a terminal only."""
    if is_interactive():
        write_error(tables.printable(f"vifplug: {line}"))


class _StdoutClosed(BaseException):
    """The last reader of stdout is gone. Not an OSError, which the interrupted code might handle as its own."""


def run_until_closed(work: Callable[[], None]) -> None:
    """Run work that prints as it goes; end it quietly when stdout is a pipe and its last reader goes.

    A write would notice that, but there may be nothing to write for hours. In the main thread only.
    """
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or not a file of the system
        output = -1
    previous = signal.getsignal(signal.SIGPIPE)
    if output < 0 or previous is None or threading.current_thread() is not threading.main_thread():
        work()
        return
    watcher = _Watcher(output)
    signal.signal(signal.SIGPIPE, watcher.on_sigpipe)
    try:
        watcher.run(work)
    except _StdoutClosed:
        _drop_stdout()
    finally:
        signal.signal(signal.SIGPIPE, previous)


class _Watcher:
    """A thread that watches stdout's other end."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._main = threading.get_ident()
        self._stop_read, self._stop_write = os.pipe()
        self._is_closed = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def run(self, work: Callable[[], None]) -> None:
        """Run it; _StdoutClosed may be raised at any point."""
        try:
            self._thread.start()
            work()
        finally:
            os.close(self._stop_write)
            self._thread.join()
            os.close(self._stop_read)

    def _watch(self) -> None:
        poll = select.poll()
        for fd in (self._output, self._stop_read):
            poll.register(fd, 0)  # poll always reports a closed other end
        if [fd for fd, _event in poll.poll()] == [self._output]:
            self._is_closed = True
            signal.pthread_kill(self._main, signal.SIGPIPE)

    def on_sigpipe(self, _number: int, _frame: FrameType | None) -> None:
        """Sockets of a daemon that went away cause SIGPIPE too; their own code handles that."""
        if self._is_closed:
            raise _StdoutClosed
