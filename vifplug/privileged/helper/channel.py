"""The caller's end of a helper: start it, call its verbs, end it.

oslo.privsep would restart a dead helper by itself, through sudo, in the middle of a plan. These calls use the channel
directly, so a dead helper is an error, and vifplug decides when to start another one.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import pkgutil
import select
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import tenacity
from oslo_privsep import comm, daemon

from vifplug.errors import HelperDied, HostError, TimedOut, VifplugError
from vifplug.privileged.helper import serve as serving
from vifplug.privileged.helper import startup
from vifplug.privileged.helper.context import net, refuse_unknown
from vifplug.process import signals, stdio

LOG = logging.getLogger(__name__)

_START_SECONDS = 30.0
_END_SECONDS = 5.0
_REAP_PAUSE_SECONDS = 0.001
_READ_BYTES = 64 << 10
_starting = threading.Lock()


class _Ended(Exception):
    """The channel's own failure, as opposed to an OSError of a verb."""


@contextlib.contextmanager
def _raising_the_end() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Ended(str(error)) from error


def _can_poll() -> bool:
    """Whether a thread may wait in epoll_wait(2). eventlet takes it away, because it would stop all green threads."""
    return hasattr(select, "epoll")


class _Answer(comm.Future):
    @property
    def is_there(self) -> bool:
        return self.error is not None or self.data is not None

    def result(self) -> Any:
        # oslo.privsep's future waits for a notification, and would miss one that came before.
        if self.error is not None:
            raise self.error
        return super().result() if self.data is None else self.data


class _ReadByCallers:
    """Answers are read by a thread that waits for one; by oslo.privsep's thread while none does.

    A thread that reads for the waiting one would have to be woken first, and then wake it: a tenth of a millisecond
    in a process that was asleep.

    oslo.privsep's reader ends with an error when the connection is reset, as by a helper that is killed before it has
    read a request: neither waiting calls nor the check whether the helper lives would notice. Here that is the end of
    the channel, as any other.
    """

    _numbers = itertools.count(1)
    lock: threading.Lock
    sending: threading.Lock
    reading: Any
    running: bool
    """Whether the library's thread has begun, and the helper has not ended."""
    outstanding_msgs: dict[str, comm.Future]
    writer: comm.Serializer
    reader_thread: threading.Thread
    out_of_band: Callable[[Any], None]

    def ask(self, msg: Any, timeout: float) -> str:
        """Send a request without waiting.

        :returns: the request's number, for ``answer`` and, in any case, ``forget``.
        :raises _Ended: the helper is gone.
        """
        number = str(next(self._numbers))
        with self.lock:
            self.outstanding_msgs[number] = _Answer(self.lock, timeout)
        try:
            # Not under the lock, which the reading thread needs: a busy helper only reads on after its answers are
            # received.
            with _raising_the_end(), self.sending:
                self.writer.send((number, msg))
        except BaseException:
            self.forget(number)
            raise
        return number

    def answer(self, number: str, *, reads: bool = True) -> Any:
        """Wait for the answer.

        :param reads: whether to read other threads' answers meanwhile. A thread that waits for long does not: theirs
            would come by way of it.
        :raises PrivsepTimeout: it has not arrived in time.
        :raises _Ended: the helper is gone.
        """
        answer = self.outstanding_msgs[number]
        with _raising_the_end():
            try:
                if reads and self.running and _can_poll() and self.reading.acquire(blocking=False):
                    self._read_until(answer)
            finally:
                # Not ``try`` behind ``acquire``, or ``suppress``, which is Python: a Ctrl-C in between would leave the
                # lock taken.
                try:  # noqa: SIM105
                    self.reading.release()
                except RuntimeError:
                    pass  # this thread does not have it
            with self.lock:
                return answer.result()

    def forget(self, number: str) -> None:
        """Drop the answer: the caller will not fetch it."""
        with self.lock:
            del self.outstanding_msgs[number]

    def _read_until(self, answer: Any) -> None:
        deadline, is_read = time.monotonic() + answer.timeout, False
        try:
            while self.running and not answer.is_there:
                if not self._for_callers.poll(max(0, deadline - time.monotonic())):
                    raise comm.PrivsepTimeout
                # An interrupt after the read would lose what it has read.
                with signals.held():
                    self._read()
            # More than one read takes is for other threads.
            while self.running and self._for_callers.poll(0):
                self._read()
            is_read = True
        finally:
            if not is_read:
                self._wake_reader()

    def _reader_main(self, reader: comm.Deserializer) -> None:
        self._socket, self._unpacker = reader.readsock, reader.unpacker
        if _can_poll():
            # In this order: a message wakes the first of them that a thread waits at.
            self._for_callers, self._for_reader = self._readable(), self._readable()
        self.running = True
        if not _can_poll():
            while self.running:
                self._read(0)
            return
        while self.running:
            self._for_reader.poll()
            with self.reading:
                self._read()
        with self.reading:  # no caller polls any more, because it has looked at ``running`` under this lock
            self._for_callers.close()
            self._for_reader.close()

    def _readable(self) -> select.epoll:
        """A place to wait for messages. A message wakes a thread at one place only (EPOLLEXCLUSIVE): a thread that
        woke beside the one that reads would take Python's lock from it. The end of the connection wakes all."""
        readable = select.epoll()
        readable.register(self._socket, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        return readable

    def _wake_reader(self) -> None:
        """Let the reader look for messages that have woken a caller, and which that caller has not read."""
        with contextlib.suppress(OSError, ValueError):  # the channel is closed
            self._for_reader.unregister(self._socket)
            self._for_reader.register(self._socket, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _read(self, flags: int = socket.MSG_DONTWAIT) -> None:
        """Take what has arrived, by default without waiting; for the thread that holds ``reading``."""
        try:
            data = self._socket.recv(_READ_BYTES, flags)
        except BlockingIOError:
            return  # another thread has read it
        except ConnectionError:
            data = b""
        if not data:
            self._fail_all()
            return
        self._unpacker.feed(data)
        for number, values in self._unpacker:
            if number is None:
                self.out_of_band(values)
                continue
            with self.lock:
                answer = self.outstanding_msgs.get(number)
                if answer is not None:
                    answer.set_result(values)
            if answer is None:  # after a Ctrl-C
                LOG.debug("received an answer without a waiting caller")

    def _fail_all(self) -> None:
        with self.lock:
            self.running = False
            for answer in self.outstanding_msgs.values():
                answer.set_exception(OSError("its socket was closed"))


class _Forked(_ReadByCallers, daemon.ForkingClientChannel):
    def __init__(self, context: Any) -> None:
        """Fork the helper, which serves with limits."""
        self.sending, self.reading = threading.Lock(), threading.RLock()
        parent_end, helper_end = socket.socketpair()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()  # else both processes write the buffered output
        if os.fork() == 0:
            parent_end.close()
            serving.serve(helper_end, context)
        helper_end.close()
        daemon._ClientChannel.__init__(self, parent_end, context)


class _Commanded(_ReadByCallers, daemon.RootwrapClientChannel):
    def __init__(self, context: Any) -> None:
        self.sending, self.reading = threading.Lock(), threading.RLock()
        super().__init__(context)


class Channel:
    """A running helper.

    :param options: the [vifplug_privileged] options.
    :param connection: OVSDB remotes, fixed for the helper's life.
    :param timeout: seconds, for every OVSDB wait.
    :param arguments: more arguments for a helper that is started by a command.
    :param configurable: names or globs of other programs' devices that may be configured, fixed like the remotes.
    :param socket_directory: the directory of sockets that a port's columns may name, fixed like the remotes.
    :raises ConfigError: its configured user or group does not exist.
    :raises HelperDied: it cannot be started.
    """

    def __init__(
        self,
        options: dict[str, Any],
        connection: tuple[str, ...],
        timeout: float,
        arguments: list[str],
        configurable: tuple[str, ...] = (),
        socket_directory: str = "",
    ) -> None:
        self._forked = os.geteuid() == 0
        self._dead = False
        start = _Forked if self._forked else _Commanded
        with _starting, signals.held():
            refuse_unknown(options)
            net.bind(options, arguments)
            parent_end = os.getpid()
            try:
                with stdio.opened():
                    self._channel: Any = start(context=net)
            except (OSError, daemon.FailedToDropPrivileges) as error:
                if "path too long" in str(error):  # Python's own check, without an errno
                    raise HelperDied(
                        "could not start the privileged helper: the path of its socket, in a directory below "
                        f"{tempfile.gettempdir()!r}, has more than 107 bytes (unix(7)); set TMPDIR to a shorter path"
                    ) from error
                raise HelperDied(
                    f"could not start the privileged helper: {error}; run as root, or check helper_command "
                    "in [vifplug_privileged]"
                ) from error
            finally:
                if os.getpid() != parent_end:
                    os._exit(1)  # a helper that failed to start must not continue as its caller
        fixed = (connection, timeout, configurable, socket_directory)
        self.pid: int = self.call(startup.begin, *fixed, timeout=_START_SECONDS)

    @property
    def running(self) -> bool:
        """Whether the helper still answers."""
        return bool(self._channel.running) and not self._dead

    def call(self, verb: Any, *arguments: Any, timeout: float, reads: bool = True) -> Any:
        """Call a verb of the privileged side.

        :param timeout: seconds after which the caller stops waiting; verbs have shorter deadlines of their own.
        :param reads: False for a verb that waits for something to happen: calls beside it are then answered sooner.
        :raises HelperDied: the helper ended before it answered.
        :raises TimedOut: it did not answer in time.
        """
        with self.asked(verb, *arguments, timeout=timeout, reads=reads) as result:
            return result()

    @contextlib.contextmanager
    def asked(
        self, verb: Any, *arguments: Any, timeout: float, reads: bool = True, changes: bool = False
    ) -> Iterator[Callable[[], Any]]:
        """Call a verb, and do other work meanwhile.

        :param reads: as of ``call``.
        :param changes: that it changes the host: Ctrl-C waits for the end of the block, because the rollback would race
            with the verb.
        :returns: as a context, a function that waits for the verb's answer and returns it.
        :raises HelperDied, TimedOut: as ``call``, at either end.
        """
        assert isinstance(verb, functools.partial)
        entry = verb.args[0]
        message: tuple[Any, ...] = (comm.Message.CALL.value, f"{entry.__module__}.{entry.__name__}", arguments, {})
        with signals.held() if changes else contextlib.nullcontext():
            with self._naming(entry.__name__, timeout):
                number = self._channel.ask(message, timeout)
            try:
                yield functools.partial(self._answer, entry.__name__, number, timeout, reads)
            finally:
                self._channel.forget(number)

    def _answer(self, verb: str, number: str, timeout: float, reads: bool) -> Any:
        """What a verb returned.

        :raises VifplugError, OSError: the verb's own; HostError for any other error.
        """
        with self._naming(verb, timeout):
            kind, *values = self._channel.answer(number, reads=reads)
            if kind == comm.Message.RET:
                return values[0]
            name, arguments, *trace = values
            if self._channel.log_traceback and trace:
                LOG.warning("the privileged helper's traceback: %s", trace[0])
            raised = pkgutil.resolve_name(name)
            if not issubclass(raised, VifplugError | OSError | comm.PrivsepTimeout):
                # A library's error, in a verb that does not name its object.
                text = ": ".join([name.rpartition(".")[2], *map(str, arguments)])
                raise HostError(f"the privileged helper failed in {verb!r}: {text}")
            raise raised(*arguments)

    @contextlib.contextmanager
    def _naming(self, verb: str, timeout: float) -> Iterator[None]:
        try:
            yield
        except comm.PrivsepTimeout as error:
            raise TimedOut(f"the privileged helper did not answer {verb!r} within {timeout:g} s") from error
        except _Ended as error:
            # A write may fail before the reading thread has seen the end.
            self._dead = True
            raise HelperDied(f"the privileged helper ended during {verb!r}: {error}") from error
        except OSError as error:
            raise HostError(f"the privileged helper failed in {verb!r}: {error}") from error

    def close(self) -> None:
        """End the helper and reap it. Nothing that was plugged depends on it."""
        connection = self._channel.writer.writesock
        # Both ends: oslo.privsep's own close waits for a helper that hangs, and leaves the descriptor to the garbage
        # collector.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        self._channel.reader_thread.join()
        connection.close()
        if self._forked and hasattr(self, "pid"):
            self._reap()

    def _reap(self) -> None:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda reaped: not reaped),
            stop=tenacity.stop_after_delay(_END_SECONDS),
            wait=tenacity.wait_fixed(_REAP_PAUSE_SECONDS),
            retry_error_callback=lambda _state: False,
        )
        # A worker that is no longer root cannot kill it: its parent does.
        with contextlib.suppress(ChildProcessError, PermissionError):
            if not retrying(lambda: os.waitpid(self.pid, os.WNOHANG)[0]):
                # It is stopped or stuck: it would keep the session's lock, and thereby block the VIFs that it worked
                # on.
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
