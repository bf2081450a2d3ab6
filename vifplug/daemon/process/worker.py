"""The worker: forks the privileged helper, drops root, then keeps VIFs plugged and serves requests."""

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

from vifplug.api.local import LOCK_FILE, LocalHost, context_of
from vifplug.config.options import Settings
from vifplug.daemon.http import capacity
from vifplug.daemon.http.event_stream import Hub
from vifplug.daemon.http.protocol import Access, CredentialedProtocol
from vifplug.daemon.http.vifs import create_app
from vifplug.daemon.metrics import Metrics
from vifplug.daemon.nova.listener import Listener
from vifplug.daemon.nova.receiver import create_receiver
from vifplug.daemon.rate_limit import RecurringWarning
from vifplug.daemon.reconcile.reconciler import Reconciler
from vifplug.engine.context import Context
from vifplug.linux.host import LinuxHost
from vifplug.process import user as user
from vifplug.store import directory
from vifplug.store.locks import LockFile
from vifplug.store.store import Store

LOG = logging.getLogger(__name__)

HELPER, READY, COMPARED, ALIVE = b"H", b"R", b"C", b"A"
"""Messages to the parent: the helper's pid (8 more bytes), serving requests, first comparison ended (``readiness``),
heartbeat."""
PID_BYTES = 8

_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FULL = RecurringWarning(LOG, is_limited=True)
_GRACEFUL_SECONDS = 2
_RECONCILER_SECONDS = 5.0
_NOTIFIER_SECONDS = 2.0
_FIRST_ANSWER_SECONDS = 0.5
"""A check right after the start must not report that OVSDB is away when it only has not answered yet."""


def stopping() -> tuple[signal.Signals, ...]:
    """The signals that stop the daemon cleanly; a SIGHUP that is ignored, as under nohup, stays ignored."""
    hangup = () if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGTERM, signal.SIGINT, *hangup)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerArgs:
    """The parent's arguments for its worker."""

    settings: Settings
    listener: socket.socket
    parent: int
    """The parent's pid."""
    pipe: int
    """For messages to the parent."""
    alive_seconds: float
    """The interval of heartbeats."""
    endings: tuple[tuple[float, str], ...] = ()
    """Times (Unix) and names of earlier processes that ended."""

    def close(self) -> None:
        """Close the descriptors that a forked helper does not need."""
        self.listener.close()
        os.close(self.pipe)


class _Server(uvicorn.Server):
    """Reports to the parent when it serves and when everything was compared, and sends heartbeats."""

    def __init__(
        self,
        config: uvicorn.Config,
        args: WorkerArgs,
        reconciler: Reconciler,
        helper_ended: threading.Event,
        hub: Hub,
        event_listener: Listener | None,
    ) -> None:
        super().__init__(config)
        self._args, self._reconciler, self._helper_ended, self._hub = args, reconciler, helper_ended, hub
        self._event_listener = event_listener
        self._has_compared = False
        self._heartbeats: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        asyncio.get_running_loop().set_exception_handler(self._log_loop_error)
        if self._event_listener is not None:
            await self._event_listener.start()
        os.write(self._args.pipe, READY)
        self._heartbeats = asyncio.create_task(self._send_heartbeats(self._args.alive_seconds))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, which would wait for followers of the events."""
        self._hub.close()
        if self._event_listener is not None:
            await self._event_listener.stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop cleanly on a signal; uvicorn itself would raise the signal again before anything is closed."""
        loop = asyncio.get_running_loop()
        for number in stopping():
            loop.add_signal_handler(number, self.end)
        yield

    def _log_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log an error of the loop; a lack of descriptors, which asyncio reports 2,000 times a second, at a limited
        rate."""
        error = context.get("exception")
        if not isinstance(error, OSError) or error.errno not in _NO_DESCRIPTOR:
            loop.default_exception_handler(context)
            return
        _FULL.warn(f"cannot accept a connection: {error.strerror}; an idle connection is closed")
        capacity.close_oldest_idle(self.server_state.connections)

    def end(self) -> None:
        """Stop serving."""
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether to end."""
        if not self._has_compared and self._reconciler.is_ready():
            self._has_compared = True
            os.write(self._args.pipe, COMPARED)
        return self._helper_ended.is_set() or await super().on_tick(counter)

    async def _send_heartbeats(self, seconds: float) -> None:
        while True:
            with contextlib.suppress(BlockingIOError):
                os.write(self._args.pipe, ALIVE)
            await asyncio.sleep(seconds)


def run(args: WorkerArgs) -> None:
    """Work until a signal to stop, or until the helper has ended.

    :raises VifplugError: when it cannot start.
    """
    settings = args.settings
    directory.prepare(settings.state_dir, settings.user)
    with directory.acting_as(settings.user):
        locks = LockFile(os.path.join(settings.state_dir, LOCK_FILE))
        # The only descriptor that the helper inherits: a lock that shows that its session may still be working.
        session = locks.open_session()
    os.register_at_fork(after_in_child=args.close)
    host = LinuxHost(settings, session, restarts=False)
    with contextlib.suppress(BrokenPipeError):  # without a parent this process ends two lines below
        os.write(args.pipe, HELPER + host.helper_pid.to_bytes(PID_BYTES))
    user.become(settings.user)
    user.end_with_parent(args.parent)
    try:
        _serve(args, host, locks)
    finally:
        host.close()
        session.close()


def _serve(args: WorkerArgs, host: LinuxHost, locks: LockFile) -> None:
    settings = args.settings
    with contextlib.closing(Store(settings.state_dir, settings.user, notifies=bool(settings.notify_url))) as store:
        context = context_of(settings, host, store, locks)
        metrics = Metrics()
        ended = threading.Event()
        reconciler = Reconciler(context, host, host.probe.has_ovs, settings, metrics, ended.set)
        hub = Hub(store, metrics)
        store.listeners.append(lambda _ids: hub.wake())
        local = LocalHost(context, host.probe, settles=False, settings=settings)
        app = create_app(local, Access.of(settings), reconciler, hub, metrics)
        app.state.endings = args.endings
        event_listener = _event_listener(context, settings, reconciler, metrics)
        server = _Server(server_config(app), args, reconciler, ended, hub, event_listener)
        with contextlib.ExitStack() as stack:
            if settings.notify_url:
                from vifplug.daemon.nova.sender import Notifier  # here: httpx takes 4 MB and 0.1 s

                notifier = Notifier(store, settings, metrics)
                store.listeners.append(lambda _ids: notifier.wake())
                notifier.start()
                stack.callback(notifier.stop, _NOTIFIER_SECONDS)
            reconciler.start()
            stack.callback(reconciler.stop, _RECONCILER_SECONDS)
            reconciler.await_ovsdb(_FIRST_ANSWER_SECONDS)
            server.run(sockets=[args.listener])


def _event_listener(context: Context, settings: Settings, reconciler: Reconciler, metrics: Metrics) -> Listener | None:
    if settings.listen is None:
        return None
    return Listener(create_receiver(context, settings, metrics, reconciler.statuses_changed), settings.listen)


def server_config(app: Any) -> uvicorn.Config:
    """uvicorn's configuration for the application."""
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
