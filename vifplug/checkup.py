"""The doctor without a daemon: each part is opened by itself, so that one that cannot be does not hide the others.

``vifplug.local`` makes the store's directory, and fails as a whole. This makes nothing, and goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace

from vifplug import config
from vifplug.api import LOCK_FILE, plugger_of
from vifplug.config import Settings
from vifplug.doctor import checks, examination, storage
from vifplug.doctor.about import HostInfo
from vifplug.doctor.facts import Helper, Store
from vifplug.doctor.findings import Diagnosis
from vifplug.engine.plugger import Plugger
from vifplug.errors import StoreError
from vifplug.linux import LinuxHost
from vifplug.locks import LockFile
from vifplug.store import Store as Records


def doctor(config_file: str | None = None) -> Diagnosis:
    """What is wrong with this host, why, and what to do. Nothing is changed.

    :raises ConfigError: when the configuration cannot be read.
    """
    settings = config.load(config_file)
    store = storage.look_as(settings.state_dir, settings.user)
    with contextlib.ExitStack() as stack:
        # The helper is started as if for a request, but with a lock of its own: state_dir may be what is wrong.
        aside = stack.enter_context(tempfile.TemporaryDirectory(prefix="vifplug-doctor-"))
        host = stack.enter_context(_host(settings, aside))
        plugger: Plugger | None = None
        if isinstance(host, LinuxHost) and not store.error:
            try:
                plugger = stack.enter_context(_plugger(settings, host, aside))
            except StoreError as error:
                store = Store(path=store.path, error=str(error))
        return checks.judge(examination.gather(settings, host, plugger, store))


def host_info(config_file: str | None = None) -> HostInfo:
    """What this host can plug, as far as this user can see it.

    :raises ConfigError: when the configuration cannot be read.
    """
    settings = config.load(config_file)
    with tempfile.TemporaryDirectory(prefix="vifplug-host-info-") as aside, _host(settings, aside) as host:
        about = examination.host_info(settings, host if isinstance(host, LinuxHost) else None)
        return replace(about, daemon={"answers": False, "socket": settings.socket})


@contextlib.contextmanager
def _host(settings: Settings, aside: str) -> Iterator[LinuxHost | Helper]:
    with contextlib.closing(LockFile(os.path.join(aside, LOCK_FILE)).open_session()) as session:
        try:
            with _quiet():
                host = LinuxHost(settings, session, restarts=False)
        except Exception as error:  # what a helper failed of comes here as it was raised there
            # Whoever named a command for it means it to work.
            is_meant = os.geteuid() == 0 or bool(settings.privileged.get("helper_command"))
            yield Helper(error=str(error) or type(error).__name__, unprivileged=not is_meant)
            return
        with contextlib.closing(host):
            yield host


@contextlib.contextmanager
def _plugger(settings: Settings, host: LinuxHost, aside: str) -> Iterator[Plugger]:
    """The use cases over the store; where there is none yet, over an empty one."""
    directory = settings.state_dir if storage.exists(settings.state_dir) else aside
    with contextlib.closing(Records(directory, settings.user)) as store:
        yield plugger_of(settings, host, store, LockFile(os.path.join(directory, LOCK_FILE)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """A helper that cannot start is a finding; oslo.privsep's own outcry about it would stand beside the answer."""
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
