"""The parent's view of a worker and its helper, held by pidfds, which cannot refer to another process later."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable
from typing import NoReturn

from vifplug.daemon import logs
from vifplug.daemon.process import worker
from vifplug.errors import StoreElsewhere, VifplugError
from vifplug.process import stdio
from vifplug.process.prctl import SET_CHILD_SUBREAPER, prctl

LOG = logging.getLogger(__name__)

_HELPER_SECONDS = 5.0
_NOTICE_SECONDS = 1.0
_REAP_PAUSE_SECONDS = 0.005
_READ_BYTES = 4096
_FATAL_STATUS = 3


def adopt_orphans() -> None:
    """Become the parent of helpers whose worker dies, to be able to wait for them.

    :raises OSError: when the kernel refuses.
    """
    prctl(SET_CHILD_SUBREAPER, 1)


class Child:
    """A worker and its forked helper."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid, self.pipe = pid, pipe
        self.process = os.pidfd_open(pid)
        """Readable once the worker has ended."""
        self.helper: int | None = None
        """Readable once the helper has ended."""
        self.ready_at: float | None = None
        """When it began to serve, by the monotonic clock."""
        self.has_compared = False
        """Whether its first comparison has ended."""
        self.ending = "has ended"
        self.is_fatal = False
        """It ended for a reason that a restart would not change."""
        self._buffer = b""
        self._helper_pid = 0

    @classmethod
    def fork(cls, work: Callable[[int], None]) -> Child:
        """Start a process that runs ``work`` with a pipe for its messages."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stdio.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _be_child(work, writer)
        os.close(writer)
        return cls(pid, reader)

    def read_messages(self) -> bool:
        """Process the worker's messages; return whether there were any."""
        try:
            content = os.read(self.pipe, _READ_BYTES)
        except BlockingIOError:
            return False
        self._buffer += content
        while self._buffer:
            kind = self._buffer[:1]
            length = 1 + worker.PID_BYTES if kind == worker.HELPER else 1
            if len(self._buffer) < length:
                break
            if kind == worker.HELPER:
                self._set_helper(int.from_bytes(self._buffer[1:length]))
            elif kind == worker.READY:
                self.ready_at = time.monotonic()
            elif kind == worker.COMPARED:
                self.has_compared = True
            self._buffer = self._buffer[length:]
        return bool(content)

    def _set_helper(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.helper = os.pidfd_open(pid)
            self._helper_pid = pid

    def kill(self) -> None:
        """End the worker at once."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.process, signal.SIGKILL)

    def end(self, seconds: float) -> None:
        """End both: SIGTERM for the worker, whose end ends the helper; then SIGKILL for either that remains.

        :param seconds: how long the worker may take; 0 if its helper has died, which makes the worker end by itself.
        """
        # A failing worker ends its helper first, and needs time to log the reason.
        if not _ended(self.process, 0 if seconds else _NOTICE_SECONDS):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.process, signal.SIGTERM)
        if not _ended(self.process, max(seconds, _HELPER_SECONDS)):
            LOG.warning("worker %d did not end in time and is killed", self.pid)
            self.kill()
        _pid, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.is_fatal = code == _FATAL_STATUS
        self.ending = f"was ended by signal {-code}" if code < 0 else f"has ended with status {code}"
        self.read_messages()
        self._end_helper()
        for descriptor in (self.process, self.pipe, *([] if self.helper is None else [self.helper])):
            os.close(descriptor)

    def _end_helper(self) -> None:
        # It ends when its channel is closed; a stopped or stuck helper would keep the session's lock.
        if self.helper is None:
            self._await_unknown_helper()
        elif not _ended(self.helper, _HELPER_SECONDS):
            LOG.warning("helper %d did not end in time and is killed", self._helper_pid)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.helper, signal.SIGKILL)
            _ended(self.helper, _HELPER_SECONDS)
        _has_reaped_all()

    @staticmethod
    def _await_unknown_helper() -> None:
        """Wait for a helper that the worker may have forked without reporting it."""
        deadline = time.monotonic() + _HELPER_SECONDS
        while not _has_reaped_all() and time.monotonic() < deadline:
            time.sleep(_REAP_PAUSE_SECONDS)


def _has_reaped_all() -> bool:
    """Reap ended children, including adopted ones; return whether none is left."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return False
    return True


def _ended(process: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(1000 * seconds))


def _be_child(work: Callable[[int], None], pipe: int) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in worker.stopping():
            signal.signal(number, signal.SIG_DFL)
        work(pipe)
        status = 0
    except VifplugError as error:
        LOG.critical("%s", error)
        status = _FATAL_STATUS if isinstance(error, StoreElsewhere) else status
    except BaseException:
        LOG.critical("the worker failed", exc_info=True)
    finally:
        stdio.flush()
        logs.finish()
        os._exit(status)
