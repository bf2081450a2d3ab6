"""What goes to stdout and stderr, and what becomes of it when nobody reads it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from vifplug import errors
from vifplug.cli import tables


def put(text: str | None = None) -> bool:
    """Write a text (and a line's end), and what is left in stdout; whether somebody may still read there.

    :raises errors.VifplugError: when it cannot be written for another reason than that.
    """
    if sys.stdout is None:  # closed by the caller
        return False
    try:
        if text is not None:
            encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
            # An instance's name may hold what a terminal of another encoding cannot show: written out, not a crash.
            print(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except OSError as error:
        _drop_stdout()
        if not isinstance(error, BrokenPipeError):
            raise _unwritable(error) from error
        return False
    return True


def _drop_stdout() -> None:
    # As the Python manual has it: else the interpreter tries again, and complains, at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _unwritable(error: OSError) -> errors.VifplugError:
    return errors.VifplugError(f"the command is done, but its result could not be written: {error.strerror}", "stdout")


def complain(line: str) -> None:
    """A line on stderr."""
    with contextlib.suppress(OSError):  # a stderr that nobody reads changes nothing about the result
        print(line, file=sys.stderr, flush=True)


def warn(texts: Sequence[str]) -> None:
    """Warnings on stderr, a line each."""
    for warning in texts:
        complain(tables.printable(f"vifplug: warning: {warning}"))


def is_watched() -> bool:
    """Whether a person may sit before stderr."""
    return sys.stderr is not None and sys.stderr.isatty()


def tell(line: str) -> None:
    """What a person who sits there may want to know meanwhile."""
    if is_watched():
        complain(tables.printable(f"vifplug: {line}"))


class _Unread(BaseException):
    """Nobody reads stdout any more. No OSError, which whoever waits for something else would take for its own."""


def while_read(work: Callable[[], None]) -> None:
    """Do what prints as it goes; break it off, quietly, when the last reader of a stdout that is a pipe goes.

    Writing notices that by itself; one that has nothing to write for hours does not. In the main thread only.
    """
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or none of the system's
        output = -1
    mine = signal.getsignal(signal.SIGPIPE)
    if output < 0 or mine is None or threading.current_thread() is not threading.main_thread():
        work()
        return
    watcher = _Watcher(output)
    signal.signal(signal.SIGPIPE, watcher.signalled)
    try:
        watcher.watched(work)
    except _Unread:
        _drop_stdout()
    finally:
        signal.signal(signal.SIGPIPE, mine)


class _Watcher:
    """A thread that looks at stdout's other end."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._main = threading.get_ident()
        self._over, self._ending = os.pipe()
        self._is_unread = False
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def watched(self, work: Callable[[], None]) -> None:
        """Do it; _Unread may come at any point of this."""
        try:
            self._thread.start()
            work()
        finally:
            os.close(self._ending)
            self._thread.join()
            os.close(self._over)

    def _watch(self) -> None:
        poll = select.poll()
        for fd in (self._output, self._over):
            poll.register(fd, 0)  # that the other end is closed is told unasked
        if [fd for fd, _event in poll.poll()] == [self._output]:
            self._is_unread = True
            signal.pthread_kill(self._main, signal.SIGPIPE)

    def signalled(self, _number: int, _frame: FrameType | None) -> None:
        """SIGPIPE comes of sockets as well, to a daemon that went away: those are their readers' own."""
        if self._is_unread:
            raise _Unread
