"""vifplugd's parent process: holds the listening socket and one worker, and restarts the worker when it ends.

It runs as root and is small: it opens no OVSDB, no netlink and no store, answers no requests, and has only one other
thread, which writes the log.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import gc
import logging
import os
import resource
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterator

import sdnotify

from vifplug import version
from vifplug.api.local import LOCK_FILE
from vifplug.config import options as config
from vifplug.config.options import Settings
from vifplug.daemon import logs
from vifplug.daemon.process import listen, singleton, worker
from vifplug.daemon.process.backoff import Backoff
from vifplug.daemon.process.child import Child, adopt_orphans
from vifplug.errors import Busy, InputError, StoreElsewhere, VifplugError
from vifplug.linux.host import LinuxHost
from vifplug.process import stdio
from vifplug.store import directory
from vifplug.store.locks import LockFile

LOG = logging.getLogger(__name__)

_IDENTITY = "vifplugd"
_PREDECESSOR_SECONDS = 15.0
"""How long the remaining processes of a killed daemon may take to end."""
_STOP_SECONDS = 15.0
_START_SECONDS = 90.0
_ALIVE_SECONDS = 10.0
_SILENT_SECONDS = 60.0
_DESCRIPTORS = 65536
_READY_SECONDS_MAX = 300.0
"""The latest time for READY after the daemon's start, even if no worker finishes its first comparison."""
_EXTENDING_SECONDS = 5.0
"""The delay before systemd's start timeout is first extended."""
_ENDINGS = 20
"""The number of recent ends of workers and helpers that are passed to the next worker."""


class Service:
    """One daemon, from its start to its end."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings, self._listener = settings, listener
        self._pid = os.getpid()  # getppid() in a child may return the process that adopted it
        self._systemd = sdnotify.SystemdNotifier()
        self._backoff = Backoff()
        self._stopping = False
        self._is_ready_sent = False
        self._began = time.monotonic()
        self._endings: collections.deque[tuple[float, str]] = collections.deque(maxlen=_ENDINGS)
        watchdog = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 or float("inf")
        self._alive_seconds = min(_ALIVE_SECONDS, watchdog / 3)
        # A hanging worker is ended before systemd's watchdog would end the whole service.
        self._silent_seconds = min(_SILENT_SECONDS, watchdog * 2 / 3)

    def run(self) -> None:
        """Keep one worker running until a signal to stop."""
        with _signals() as signals:
            while not self._stopping:
                child = Child.fork(self._work)
                ended = self._watch(child, signals)
                child.end(_STOP_SECONDS if self._stopping else 0)
                if child.is_fatal:
                    raise StoreElsewhere(
                        f"state_dir {self._settings.state_dir!r} belongs to another network namespace: see the log",
                        self._settings.state_dir,
                    )
                if not self._stopping:
                    self._endings.append((time.time(), ended))
                    self._wait_before_restart(child, signals)

    def _notify_systemd(self, text: str) -> None:
        self._systemd.notify(text)

    def _work(self, pipe: int) -> None:
        worker.run(
            worker.WorkerArgs(
                settings=self._settings,
                listener=self._listener,
                parent=self._pid,
                pipe=pipe,
                alive_seconds=self._alive_seconds,
                endings=tuple(self._endings),
            )
        )

    def _watch(self, child: Child, signals: int) -> str:
        """Wait until the worker or its helper ends, heartbeats stop, or a signal to stop; return what ended."""
        deadline = time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            for descriptor in (child.process, child.pipe):
                selector.register(descriptor, selectors.EVENT_READ)
            while not self._stopping:
                ready = {key.fd for key, _mask in selector.select(max(0.0, deadline - time.monotonic()))}
                if signals in ready:
                    self._read_signals(signals)
                if child.pipe in ready:
                    has_messages = child.read_messages()
                    if child.helper is not None and child.helper not in selector.get_map():
                        selector.register(child.helper, selectors.EVENT_READ)
                    if has_messages:
                        deadline = time.monotonic() + self._silent_seconds
                        self._report_progress(child)
                if ready & {child.process, child.helper}:
                    return "the worker" if child.process in ready else "the privileged helper"
                if time.monotonic() >= deadline:
                    LOG.error("worker %d sends no heartbeat; it is killed and restarted", child.pid)
                    child.kill()
                    return "a worker without heartbeat"
        return ""

    def _read_signals(self, signals: int) -> None:
        self._stopping = _has_stop_signal(signals)
        if self._stopping:
            self._notify_systemd("STOPPING=1")

    def _report_progress(self, child: Child) -> None:
        if child.ready_at is None:
            return
        waited = time.monotonic() - self._began
        if not self._is_ready_sent and (child.has_compared or waited >= _READY_SECONDS_MAX):
            self._notify_systemd(f"READY=1\nSTATUS=serving on {self._settings.socket}")
            self._is_ready_sent = True
        if self._is_ready_sent:
            self._notify_systemd("WATCHDOG=1")
        elif waited >= _EXTENDING_SECONDS:
            self._notify_systemd(
                f"EXTEND_TIMEOUT_USEC={1e6 * _START_SECONDS:.0f}\n"
                f"STATUS=serving on {self._settings.socket}; the first comparison is running"
            )

    def _wait_before_restart(self, child: Child, signals: int) -> None:
        wait = self._backoff.after(None if child.ready_at is None else time.monotonic() - child.ready_at)
        LOG.warning("worker %d %s; restarting in %g s", child.pid, child.ending, wait)
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            if selector.select(wait):
                self._read_signals(signals)


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that is readable after a signal to stop."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = {number: signal.signal(number, lambda *_: None) for number in worker.stopping()}
    previous = signal.set_wakeup_fd(writer)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _has_stop_signal(signals: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        return bool(set(os.read(signals, 64)) & set(worker.stopping()))
    return False


def main(argv: list[str] | None = None) -> int:
    """Console script.

    :returns: the exit status: 0 after a signal to stop, 1 if it cannot run, 2 for a wrong configuration.
    """
    stdio.settle()
    parser = argparse.ArgumentParser(prog="vifplugd", description="Keep this host's VIFs plugged.", allow_abbrev=False)
    parser.add_argument("--config-file", metavar="F", help="default: VIFPLUG_CONFIG_FILE, /etc/vifplug/vifplug.conf")
    parser.add_argument("-v", "--verbose", action="store_true", help="also log what was observed")
    parser.add_argument("--debug", action="store_true", help="log everything, libraries included")
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="only check the configuration: exit 0 if all of it is known and valid, else 2",
    )
    parser.add_argument("--version", action=version.Printed, nargs=0, help="print the version and exit")
    options = parser.parse_args(argv)
    if options.check_config:
        return _check_config(options.config_file)
    own = logging.DEBUG if options.verbose or options.debug else logging.INFO
    logs.start(own, libraries=logging.DEBUG if options.debug else logging.INFO)
    try:
        _serve(config.load(options.config_file))
    except VifplugError as error:
        LOG.critical("%s", error)
        return error.exit_code
    return 0


def _check_config(config_file: str | None) -> int:
    """Print the configuration's errors and unknown options, and do nothing else."""
    try:
        settings = config.load(config_file)
        LinuxHost.refuse(settings)
    except VifplugError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for text in settings.unknown:
        print(f"{settings.config_file}: {text}", file=sys.stderr)
    if settings.unknown:
        return InputError.exit_code
    print(f"{settings.config_file or 'no configuration file: the defaults'}: ok")
    return 0


def _serve(settings: Settings) -> None:
    for text in settings.unknown:
        LOG.warning("configuration file %s: %s", settings.config_file, text)
    LinuxHost.refuse(settings)  # here, because a worker would fail and be restarted again and again
    _raise_limit()
    directory.prepare(settings.state_dir, settings.user)
    with contextlib.ExitStack() as held:
        with directory.acting_as(settings.user):
            _acquire_singleton_lock(settings, held)
        _hold(settings)


def _acquire_singleton_lock(settings: Settings, held: contextlib.ExitStack) -> None:
    """Hold the lock of the only daemon of a state_dir."""
    locks = LockFile(os.path.join(settings.state_dir, LOCK_FILE))
    try:
        # Worker and helper inherit it: the next daemon waits until the last of them has ended.
        held.enter_context(locks.held({_IDENTITY}, _PREDECESSOR_SECONDS))
    except Busy as error:
        raise Busy(
            f"another vifplugd works on state_dir {settings.state_dir!r}; stop it first, or configure another one",
            settings.state_dir,
        ) from error


def _hold(settings: Settings) -> None:
    listener, ours = listen.take(settings.socket, settings.socket_group, _PREDECESSOR_SECONDS)
    try:
        adopt_orphans()
        gc.freeze()  # workers share the memory of these objects until they are changed
        # Worker and helper inherit this claim, too.
        with singleton.hold(settings.state_dir, _PREDECESSOR_SECONDS):
            LOG.info("listening on %s", settings.socket)
            Service(settings, listener).run()
    finally:
        if ours:
            listen.remove(settings.socket, listener)


def _raise_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
