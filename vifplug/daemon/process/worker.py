"""The worker: forks the privileged helper, gives up being root, then keeps VIFs and serves requests."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn

from vifplug.api.local import LOCK_FILE, LocalHost, plugger_of
from vifplug.config.options import Settings
from vifplug.daemon.http import capacity
from vifplug.daemon.http.event_stream import Hub
from vifplug.daemon.http.protocol import Access, CredentialedProtocol
from vifplug.daemon.http.vifs import create_app
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.nova.listener import Ear
from vifplug.daemon.nova.receiver import create_receiver
from vifplug.daemon.nova.sender import Notifier
from vifplug.daemon.rate_limit import RateLimitedWarning
from vifplug.daemon.reconcile.reconciler import Keeper
from vifplug.engine.commands.plug import Plugger
from vifplug.linux.host import LinuxHost
from vifplug.process import user as identity
from vifplug.store import directory
from vifplug.store.locks import LockFile
from vifplug.store.store import Store

LOG = logging.getLogger(__name__)

HELPER, READY, COMPARED, ALIVE = b"H", b"R", b"C", b"A"
"""What a worker tells its parent: its helper's pid (8 more bytes), that it serves requests, that its first comparison
has ended (``readiness``), that its loop turns."""
PID_BYTES = 8

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CROWD = RateLimitedWarning(LOG)
_GRACEFUL_SECONDS = 2
_KEEPER_SECONDS = 5.0
_NOTIFIER_SECONDS = 2.0
_FIRST_ANSWER_SECONDS = 0.5
"""Whoever asks for a check right after the start is not told that OVSDB is away when it only has not yet answered."""


def stopping() -> tuple[signal.Signals, ...]:
    """The signals that end the daemon in good order; a SIGHUP that is ignored, as under nohup, stays so."""
    hangup = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGTERM, signal.SIGINT, *hangup)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What a parent gives to its worker."""

    settings: Settings
    listener: socket.socket
    parent: int
    """The parent's pid."""
    pipe: int
    """Where to tell the parent."""
    alive_seconds: float
    """How often to tell it that the loop turns."""
    endings: tuple[tuple[float, str], ...] = ()
    """Which of the processes before this one ended, and when (Unix time)."""

    def leave(self) -> None:
        """Close what a helper that is forked here has no use for."""
        self.listener.close()
        os.close(self.pipe)


class _Server(uvicorn.Server):
    """Tells the parent when it serves and when all is compared, and that it goes on doing so."""

    def __init__(
        self,
        config: uvicorn.Config,
        place: Workplace,
        keeper: Keeper,
        helper_ended: threading.Event,
        hub: Hub,
        ear: Ear | None,
    ) -> None:
        super().__init__(config)
        self._place, self._keeper, self._helper_ended, self._hub, self._ear = place, keeper, helper_ended, hub, ear
        self._has_compared = False
        self._beat: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        asyncio.get_running_loop().set_exception_handler(self._tell_trouble)
        if self._ear is not None:
            await self._ear.start()
        os.write(self._place.pipe, READY)
        self._beat = asyncio.create_task(self._tell_alive(self._place.alive_seconds))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which would wait for those who follow the events."""
        self._hub.close()
        if self._ear is not None:
            await self._ear.stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End in good order when told to; uvicorn's own way raises the signal anew, before anything is closed."""
        loop = asyncio.get_running_loop()
        for number in stopping():
            loop.add_signal_handler(number, self.end)
        yield

    def _tell_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of the loop; of a lack of descriptors, which asyncio tells 2,000 times a second, one line."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_DESCRIPTOR:
            loop.default_exception_handler(context)
            return
        _CROWD.say(f"cannot take a connection: {error.strerror}; an idle one makes room")
        capacity.close_oldest_idle(self.server_state.connections)

    def end(self) -> None:
        """Stop serving."""
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether to end."""
        if not self._has_compared and self._keeper.is_ready():
            self._has_compared = True
            os.write(self._place.pipe, COMPARED)
        return self._helper_ended.is_set() or await super().on_tick(counter)

    async def _tell_alive(self, seconds: float) -> None:
        while True:
            with contextlib.suppress(BlockingIOError):
                os.write(self._place.pipe, ALIVE)
            await asyncio.sleep(seconds)


def run(place: Workplace) -> None:
    """Work until told to end, or until the helper has ended.

    :raises VifplugError: when it cannot start.
    """
    settings = place.settings
    directory.prepare(settings.state_dir, settings.user)
    with directory.acting_as(settings.user):
        locks = LockFile(os.path.join(settings.state_dir, LOCK_FILE))
        # The one descriptor the helper is to inherit: a lock that says that somebody may still be at work.
        session = locks.open_session()
    os.register_at_fork(after_in_child=place.leave)
    host = LinuxHost(settings, session, restarts=False)
    os.write(place.pipe, HELPER + host.helper_pid.to_bytes(PID_BYTES))
    identity.become(settings.user)
    identity.end_with_parent(place.parent)
    try:
        _serve(place, host, locks)
    finally:
        host.close()
        session.close()


def _serve(place: Workplace, host: LinuxHost, locks: LockFile) -> None:
    settings = place.settings
    with contextlib.closing(Store(settings.state_dir, settings.user, notifies=bool(settings.notify_url))) as store:
        plugger = plugger_of(settings, host, store, locks)
        metrics = Metrics()
        ended = threading.Event()
        keeper = Keeper(plugger, host, settings, metrics, ended.set)
        hub = Hub(store, metrics)
        store.listeners.append(lambda _ids: hub.wake())
        local = LocalHost(plugger, settles=False, settings=settings)
        app = create_app(local, Access.of(settings), keeper, hub, metrics)
        app.state.endings = place.endings
        ear = _ear(plugger, settings, keeper, metrics)
        server = _Server(server_config(app), place, keeper, ended, hub, ear)
        with contextlib.ExitStack() as stack:
            if settings.notify_url:
                notifier = Notifier(store, settings, metrics)
                store.listeners.append(lambda _ids: notifier.wake())
                notifier.start()
                stack.callback(notifier.stop, _NOTIFIER_SECONDS)
            keeper.start()
            stack.callback(keeper.stop, _KEEPER_SECONDS)
            keeper.await_ovsdb(_FIRST_ANSWER_SECONDS)
            server.run(sockets=[place.listener])


def _ear(plugger: Plugger, settings: Settings, keeper: Keeper, metrics: Metrics) -> Ear | None:
    if settings.listen is None:
        return None
    return Ear(create_receiver(plugger, settings, metrics, keeper.told), settings.listen)


def server_config(app: Any) -> uvicorn.Config:
    """How uvicorn is to serve the application."""
    return uvicorn.Config(
        app,
        http=CredentialedProtocol,
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
    )
