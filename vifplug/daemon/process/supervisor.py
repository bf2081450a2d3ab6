"""vifplugd's parent process: holds the listening socket and one worker, and starts another when that one ends.

It is root's and small: it opens no OVSDB, no netlink and no store, answers no request, and has one thread beside that
which writes its log.
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
from vifplug.daemon.process import listen as listening
from vifplug.daemon.process import singleton, worker
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
"""How long what a killed daemon left may take to end."""
_STOP_SECONDS = 15.0
_START_SECONDS = 90.0
_ALIVE_SECONDS = 10.0
_SILENT_SECONDS = 60.0
_DESCRIPTORS = 65536
_READY_SECONDS_MAX = 300.0
"""From the daemon's start to READY at the latest, also where no worker lives through its first comparison."""
_EXTENDING_SECONDS = 5.0
"""Until systemd's own time-out for a start is first extended."""
_ENDINGS = 20
"""So many of the last ends of workers and helpers are told to the next worker."""


class Service:
    """One daemon, from its start to its end."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings, self._listener = settings, listener
        self._pid = os.getpid()  # a child that asks for its parent's may be told who adopted it
        self._systemd = sdnotify.SystemdNotifier()
        self._backoff = Backoff()
        self._stopping = False
        self._told = False
        self._began = time.monotonic()
        self._endings: collections.deque[tuple[float, str]] = collections.deque(maxlen=_ENDINGS)
        watchdog = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6 or float("inf")
        self._alive_seconds = min(_ALIVE_SECONDS, watchdog / 3)
        # A worker that hangs is ended before systemd would end us all.
        self._silent_seconds = min(_SILENT_SECONDS, watchdog * 2 / 3)

    def run(self) -> None:
        """Keep one worker running until told to stop."""
        with _signals() as signals:
            while not self._stopping:
                child = Child.fork(self._work)
                ended = self._attend(child, signals)
                child.end(_STOP_SECONDS if self._stopping else 0)
                if child.is_hopeless:
                    raise StoreElsewhere(
                        f"state_dir {self._settings.state_dir!r} is another network namespace's: see the line before",
                        self._settings.state_dir,
                    )
                if not self._stopping:
                    self._endings.append((time.time(), ended))
                    self._rest(child, signals)

    def _say(self, text: str) -> None:
        self._systemd.notify(text)

    def _work(self, pipe: int) -> None:
        worker.run(
            worker.Workplace(
                settings=self._settings,
                listener=self._listener,
                parent=self._pid,
                pipe=pipe,
                alive_seconds=self._alive_seconds,
                endings=tuple(self._endings),
            )
        )

    def _attend(self, child: Child, signals: int) -> str:
        """Listen until a worker ends, its helper ends, it falls silent, or we are told to stop; say who ended."""
        deadline = time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            for descriptor in (child.process, child.pipe):
                selector.register(descriptor, selectors.EVENT_READ)
            while not self._stopping:
                ready = {key.fd for key, _mask in selector.select(max(0.0, deadline - time.monotonic()))}
                if signals in ready:
                    self._heed(signals)
                if child.pipe in ready:
                    heard = child.listen()
                    if child.helper is not None and child.helper not in selector.get_map():
                        selector.register(child.helper, selectors.EVENT_READ)
                    if heard:
                        deadline = time.monotonic() + self._silent_seconds
                        self._pass_on(child)
                if ready & {child.process, child.helper}:
                    return "the worker" if child.process in ready else "the privileged helper"
                if time.monotonic() >= deadline:
                    LOG.error("worker %d has fallen silent; it is ended and started anew", child.pid)
                    child.kill()
                    return "a worker that had fallen silent"
        return ""

    def _heed(self, signals: int) -> None:
        self._stopping = _is_told_to_stop(signals)
        if self._stopping:
            self._say("STOPPING=1")

    def _pass_on(self, child: Child) -> None:
        if child.ready_at is None:
            return
        waited = time.monotonic() - self._began
        if not self._told and (child.has_compared or waited >= _READY_SECONDS_MAX):
            self._say(f"READY=1\nSTATUS=serving on {self._settings.socket}")
            self._told = True
        if self._told:
            self._say("WATCHDOG=1")
        elif waited >= _EXTENDING_SECONDS:
            self._say(
                f"EXTEND_TIMEOUT_USEC={1e6 * _START_SECONDS:.0f}\n"
                f"STATUS=serving on {self._settings.socket}; the first comparison is under way"
            )

    def _rest(self, child: Child, signals: int) -> None:
        wait = self._backoff.after(None if child.ready_at is None else time.monotonic() - child.ready_at)
        LOG.warning("worker %d %s; starting another in %g s", child.pid, child.ending, wait)
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            if selector.select(wait):
                self._heed(signals)


@contextlib.contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that is readable once a signal to stop has come."""
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


def _is_told_to_stop(signals: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        return bool(set(os.read(signals, 64)) & set(worker.stopping()))
    return False


def main(argv: list[str] | None = None) -> int:
    """Console script.

    :returns: the exit status: 0 when told to stop, 1 when it cannot run, 2 for a wrong configuration.
    """
    stdio.settle()
    parser = argparse.ArgumentParser(prog="vifplugd", description="Keep this host's VIFs plugged.", allow_abbrev=False)
    parser.add_argument("--config-file", metavar="F", help="default: VIFPLUG_CONFIG_FILE, /etc/vifplug/vifplug.conf")
    parser.add_argument("-v", "--verbose", action="store_true", help="log everything")
    parser.add_argument(
        "--check-config",
        action="store_true",
        help="only read the configuration: exit 0 when all of it is known and right",
    )
    parser.add_argument("--version", action=version.Printed, nargs=0, help="print the version and exit")
    options = parser.parse_args(argv)
    if options.check_config:
        return _check_config(options.config_file)
    logs.start(logging.DEBUG if options.verbose else logging.INFO)
    try:
        _serve(config.load(options.config_file))
    except VifplugError as error:
        LOG.critical("%s", error)
        return error.exit_code
    return 0


def _check_config(config_file: str | None) -> int:
    """Tell what is wrong with the configuration, or unknown, and do nothing else."""
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
    LinuxHost.refuse(settings)  # a worker that finds it out would be started again and again
    _raise_limit()
    directory.prepare(settings.state_dir, settings.user)
    with contextlib.ExitStack() as held:
        with directory.acting_as(settings.user):
            _be_the_one(settings, held)
        _hold(settings)


def _be_the_one(settings: Settings, held: contextlib.ExitStack) -> None:
    """Hold what one daemon of a state_dir holds."""
    locks = LockFile(os.path.join(settings.state_dir, LOCK_FILE))
    try:
        # Its worker and helper inherit it: whoever starts next waits until the last of them has ended.
        held.enter_context(locks.held({_IDENTITY}, _PREDECESSOR_SECONDS))
    except Busy as error:
        raise Busy(
            f"another vifplugd works on state_dir {settings.state_dir!r}; end it first, or give this one another",
            settings.state_dir,
        ) from error


def _hold(settings: Settings) -> None:
    listener, ours = listening.take(settings.socket, settings.socket_group)
    try:
        adopt_orphans()
        gc.freeze()  # what is there now is shared with workers for as long as nobody touches it
        # Its worker and helper inherit this, too.
        with singleton.hold(settings.state_dir, _PREDECESSOR_SECONDS):
            LOG.info("listening on %s", settings.socket)
            Service(settings, listener).run()
    finally:
        if ours:
            listening.remove(settings.socket, listener)


def _raise_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
