"""A worker as its parent sees it: two processes, known by descriptors that no other process can come to stand for."""

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
_HOPELESS_STATUS = 3


def adopt_orphans() -> None:
    """Become the parent of helpers whose worker dies, so that they can be waited for.

    :raises OSError: when the kernel refuses.
    """
    prctl(SET_CHILD_SUBREAPER, 1)


class Child:
    """A worker and the helper it has forked."""

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid, self.pipe = pid, pipe
        self.process = os.pidfd_open(pid)
        """Readable once the worker has ended."""
        self.helper: int | None = None
        """Readable once the helper has."""
        self.ready_at: float | None = None
        """When it began to serve, by the monotonic clock."""
        self.has_compared = False
        """Whether it has ended its first comparison."""
        self.ending = "has ended"
        self.is_hopeless = False
        """It ended because of what another start would not change."""
        self._heard = b""
        self._helper_pid = 0

    @classmethod
    def fork(cls, work: Callable[[int], None]) -> Child:
        """Start a process that does ``work`` with a pipe to tell us how it goes."""
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stdio.flush()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            _be_child(work, writer)
        os.close(writer)
        return cls(pid, reader)

    def listen(self) -> bool:
        """Take in what the worker says; whether it said anything."""
        try:
            content = os.read(self.pipe, _READ_BYTES)
        except BlockingIOError:
            return False
        self._heard += content
        while self._heard:
            kind = self._heard[:1]
            length = 1 + worker.PID_BYTES if kind == worker.HELPER else 1
            if len(self._heard) < length:
                break
            if kind == worker.HELPER:
                self._know_helper(int.from_bytes(self._heard[1:length]))
            elif kind == worker.READY:
                self.ready_at = time.monotonic()
            elif kind == worker.COMPARED:
                self.has_compared = True
            self._heard = self._heard[length:]
        return bool(content)

    def _know_helper(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.helper = os.pidfd_open(pid)
            self._helper_pid = pid

    def kill(self) -> None:
        """End the worker at once."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.process, signal.SIGKILL)

    def end(self, seconds: float) -> None:
        """See both to their end: the worker is asked to, the helper follows; whichever does not is killed.

        :param seconds: how long the worker may take; 0 when its helper has died, which it knows by itself.
        """
        # One that fails ends its helper first, and has yet to say why.
        if not _ended(self.process, 0 if seconds else _NOTICE_SECONDS):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.process, signal.SIGTERM)
        if not _ended(self.process, max(seconds, _HELPER_SECONDS)):
            LOG.warning("worker %d does not end; it is killed", self.pid)
            self.kill()
        _pid, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self.is_hopeless = code == _HOPELESS_STATUS
        self.ending = f"was ended by signal {-code}" if code < 0 else f"has ended with status {code}"
        self.listen()
        self._end_helper()
        for descriptor in (self.process, self.pipe, *([] if self.helper is None else [self.helper])):
            os.close(descriptor)

    def _end_helper(self) -> None:
        # It ends by itself when its channel does; one that is stopped or stuck would keep the session's lock.
        if self.helper is None:
            self._await_unknown_helper()
        elif not _ended(self.helper, _HELPER_SECONDS):
            LOG.warning("helper %d does not end; it is killed", self._helper_pid)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.helper, signal.SIGKILL)
            _ended(self.helper, _HELPER_SECONDS)
        _has_reaped_all()

    @staticmethod
    def _await_unknown_helper() -> None:
        """The worker died before it told of a helper that it may have forked."""
        deadline = time.monotonic() + _HELPER_SECONDS
        while not _has_reaped_all() and time.monotonic() < deadline:
            time.sleep(_REAP_PAUSE_SECONDS)


def _has_reaped_all() -> bool:
    """Reap the children that have ended, orphans that we adopted among them; whether there is none any more."""
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
        status = _HOPELESS_STATUS if isinstance(error, StoreElsewhere) else status
    except BaseException:
        LOG.critical("the worker failed", exc_info=True)
    finally:
        stdio.flush()
        logs.finish()
        os._exit(status)
