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
import signal
import socket
import sys
import tempfile
import threading
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
_starting = threading.Lock()


class _Ended(Exception):
    """The channel's own failure, as opposed to an OSError of a verb."""


@contextlib.contextmanager
def _raising_the_end() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Ended(str(error)) from error


class _Answer(comm.Future):
    def result(self) -> Any:
        # oslo.privsep's future waits for a notification, and would miss one that came before.
        if self.error is not None:
            raise self.error
        return super().result() if self.data is None else self.data


class _NoticesTheEnd:
    """A connection reset kills oslo.privsep's reader; a helper that is killed before it has read a request causes one.

    Then neither waiting calls nor the check whether the helper lives would notice. A reset counts as the channel's end.
    """

    _numbers = itertools.count(1)
    lock: threading.Lock
    sending: threading.Lock
    outstanding_msgs: dict[str, comm.Future]
    writer: comm.Serializer

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

    def answer(self, number: str) -> Any:
        """Wait for the answer.

        :raises _Ended: the helper is gone.
        """
        with _raising_the_end(), self.lock:
            return self.outstanding_msgs[number].result()

    def forget(self, number: str) -> None:
        """Drop the answer: the caller will not fetch it."""
        with self.lock:
            del self.outstanding_msgs[number]

    def _reader_main(self, reader: Iterator[Any]) -> None:
        super()._reader_main(self._awaited(reader))  # type: ignore[misc]

    def _awaited(self, messages: Iterator[Any]) -> Iterator[Any]:
        """Messages until the end. A message without a waiting caller (after a Ctrl-C) needs no warning."""
        with contextlib.suppress(ConnectionError):
            for number, data in messages:
                with self.lock:  # a caller holds it until its request is registered
                    awaited = number is None or number in self.outstanding_msgs
                if awaited:
                    yield number, data
                else:
                    LOG.debug("received an answer without a waiting caller")


class _Forked(_NoticesTheEnd, daemon.ForkingClientChannel):
    def __init__(self, context: Any) -> None:
        """Fork the helper, which serves with limits."""
        self.sending = threading.Lock()
        parent_end, helper_end = socket.socketpair()
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()  # else both processes write the buffered output
        if os.fork() == 0:
            parent_end.close()
            serving.serve(helper_end, context)
        helper_end.close()
        daemon._ClientChannel.__init__(self, parent_end, context)


class _Commanded(_NoticesTheEnd, daemon.RootwrapClientChannel):
    def __init__(self, context: Any) -> None:
        self.sending = threading.Lock()
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

    def call(self, verb: Any, *arguments: Any, timeout: float) -> Any:
        """Call a verb of the privileged side.

        :param timeout: seconds after which the caller stops waiting; verbs have shorter deadlines of their own.
        :raises HelperDied: the helper ended before it answered.
        :raises TimedOut: it did not answer in time.
        """
        with self.asked(verb, *arguments, timeout=timeout) as result:
            return result()

    @contextlib.contextmanager
    def asked(self, verb: Any, *arguments: Any, timeout: float) -> Iterator[Callable[[], Any]]:
        """Call a verb, and do other work meanwhile.

        :returns: as a context, a function that waits for the verb's answer and returns it.
        :raises HelperDied, TimedOut: as ``call``, at either end.
        """
        assert isinstance(verb, functools.partial)
        entry = verb.args[0]
        message: tuple[Any, ...] = (comm.Message.CALL.value, f"{entry.__module__}.{entry.__name__}", arguments, {})
        with self._naming(entry.__name__, timeout):
            number = self._channel.ask(message, timeout)
        try:
            yield functools.partial(self._answer, entry.__name__, number, timeout)
        finally:
            self._channel.forget(number)

    def _answer(self, verb: str, number: str, timeout: float) -> Any:
        """What a verb returned.

        :raises VifplugError, OSError: the verb's own; HostError for any other error.
        """
        with self._naming(verb, timeout):
            kind, *values = self._channel.answer(number)
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

    def change(self, verb: Any, *arguments: Any, timeout: float) -> Any:
        """Call a verb that changes the host: Ctrl-C waits for its answer, because the rollback would race with the
        verb.

        :raises HelperDied, TimedOut: as ``call``.
        """
        with signals.held(), self.asked(verb, *arguments, timeout=timeout) as result:
            return result()

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
