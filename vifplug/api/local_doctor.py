"""The doctor without a daemon: each part is opened separately, so that a failure does not hide the others.

``vifplug.local`` creates the store's directory, and fails as a whole. The doctor creates nothing, not even a temporary
file, changes nothing, and continues after failures.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vifplug.api.local import LOCK_FILE, context_of
from vifplug.config import locate, options
from vifplug.config.options import Settings
from vifplug.doctor import checks, gather, state_dir
from vifplug.doctor.facts import Helper
from vifplug.doctor.findings import Diagnosis
from vifplug.doctor.host_info import DaemonInfo, HostInfo
from vifplug.doctor.probe import Examined
from vifplug.engine.context import Context
from vifplug.errors import StoreError
from vifplug.linux.host import LinuxHost
from vifplug.store.locks import LockFile, Session
from vifplug.store.snapshot import Snapshot


def doctor(config_file: str | None = None) -> Diagnosis:
    """Problems of this host, their reasons and remedies. Nothing is changed.

    :raises ConfigError: the configuration cannot be read.
    """
    settings = options.load(config_file)
    store = state_dir.look_as(settings.state_dir, settings.user)
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(_host(settings))
        context: Context | None = None
        if isinstance(host, LinuxHost) and not store.closed:
            try:
                context = stack.enter_context(_context(settings, host))
            except StoreError as error:
                # An earlier finding describes it better.
                store = store if store.error else replace(store, error=str(error), unreadable=True)
        return checks.diagnose(gather.gather(settings, _examined(host), context, store))


def configuration(config_file: str | None = None) -> str:
    """The text of the configuration file; "" if there is none.

    :raises OSError: it cannot be read.
    """
    path = locate.config_file(config_file)
    return Path(path).read_text(errors="replace") if path else ""


def host_info(config_file: str | None = None) -> HostInfo:
    """What this host can plug, as far as this user can see it.

    :raises ConfigError: the configuration cannot be read.
    """
    settings = options.load(config_file)
    with _host(settings) as host:
        about = gather.host_info(settings, host.probe if isinstance(host, LinuxHost) else None)
        return replace(about, daemon=DaemonInfo(answers=False, socket=settings.socket))


def _examined(host: LinuxHost | Helper) -> Examined | Helper:
    return Examined(host=host, probe=host.probe) if isinstance(host, LinuxHost) else host


@contextlib.contextmanager
def _host(settings: Settings) -> Iterator[LinuxHost | Helper]:
    with contextlib.ExitStack() as stack:
        try:
            session = stack.enter_context(contextlib.closing(_session()))
            with _without_logging():
                host = LinuxHost(settings, session, restarts=False)
        except Exception as error:  # the error of a helper's failed start arrives here as it was raised there
            # If a command is configured for it, it is supposed to work.
            may_start = os.geteuid() == 0 or bool(settings.privileged.get("helper_command"))
            yield Helper(error=str(error) or type(error).__name__, unprivileged=not may_start)
            return
        with contextlib.closing(host):
            yield host


def _session() -> Session:
    """A session to start the helper with, which no process checks for life, because there is no request. state_dir may
    be what is wrong, and there may be no place for a new file; this file exists, and a read lock on it needs no
    write permission."""
    path = os.path.realpath(__file__)
    return Session(os.open(path, os.O_RDONLY | os.O_CLOEXEC), path)


@contextlib.contextmanager
def _context(settings: Settings, host: LinuxHost) -> Iterator[Context]:
    """The read-only commands on the records; empty if there is no store yet."""
    locks = LockFile(os.path.join(settings.state_dir, LOCK_FILE), asks_only=True)
    with contextlib.closing(Snapshot(settings.state_dir)) as store:
        yield context_of(settings, host, store, locks)


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    """A helper that cannot start is a finding; oslo.privsep's own log messages about it would appear beside the
    result."""
    loggers = [logging.getLogger(name) for name in ("oslo.privsep.daemon", "oslo_privsep")]
    before = [logger.level for logger in loggers]
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
