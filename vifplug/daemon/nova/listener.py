"""The daemon's TCP listener: serves an application beside the Unix socket, in the same event loop."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import socket
from collections.abc import Generator
from typing import Any

import uvicorn

from vifplug.daemon.http import capacity
from vifplug.daemon.http.protocol import CredentialedProtocol, Peer
from vifplug.daemon.rate_limit import RecurringWarning

LOG = logging.getLogger(__name__)
_HTTP_LOG = logging.getLogger(f"{__name__}.http")
_HTTP_LOG.setLevel(logging.ERROR)

CONNECTIONS_MAX = 64
"""Neutron's servers keep a few; the limit is lower if the worker has few descriptors (capacity.py)."""

_BACKLOG = 512
_KEEP_ALIVE_SECONDS = 5
_GRACEFUL_SECONDS = 1
_STOP_SECONDS = 2.0
_RETRY_SECONDS = 5.0
_UNKNOWN_ID = 2**32 - 2
_ADVICE = {
    errno.EADDRINUSE: "free the port, or choose another",
    errno.EADDRNOTAVAIL: "give an address of this host",
    errno.EACCES: "only root may use a port below 1024; choose a higher one",
    errno.EAFNOSUPPORT: "under systemd, the unit needs its drop-in vifplugd-inet.conf",
}


class Listener:
    """Listens on a TCP address from ``start`` to ``stop``, and retries if the address is not available.

    :param app: an ASGI application.
    :param address: an IP address and a port.
    :param retry_seconds: delay before the next attempt to bind the address.
    """

    def __init__(self, app: Any, address: tuple[str, int], retry_seconds: float = _RETRY_SECONDS) -> None:
        self._app, self._address, self._retry_seconds = app, address, retry_seconds
        self._failing = RecurringWarning(LOG)
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start in the running event loop, without waiting. It does not fail."""
        self._task = asyncio.create_task(self._listen())

    async def stop(self) -> None:
        """Stop, after running requests are answered if that takes at most two seconds."""
        if self._task is None:
            return
        if self._server is None:
            self._task.cancel()
        else:
            self._server.should_exit = True
        _done, late = await asyncio.wait([self._task], timeout=_STOP_SECONDS)
        for task in late:
            task.cancel()
            await asyncio.wait([task])
        self._task = None

    @property
    def is_listening(self) -> bool:
        """Whether a connection would be answered."""
        return self._server is not None and self._server.started

    async def _listen(self) -> None:
        while True:
            try:
                listener = _bind(self._address)
            except OSError as error:
                self._complain(error)
                await asyncio.sleep(self._retry_seconds)
                continue
            with listener:
                self._failing.over()
                LOG.info("listening for Nova's external events on %s port %d", *self._address)
                self._server = _Server(_config(self._app))
                await self._server.serve(sockets=[listener])
            return

    def _complain(self, error: OSError) -> None:
        advice = _ADVICE.get(error.errno or 0, "correct that, or choose another address")
        host, port = self._address
        text = f"cannot listen on [events] listen {host} port {port}: {error.strerror or error}; {advice}; "
        text += f"retrying every {self._retry_seconds:g} s"
        self._failing.warn(text, level=logging.ERROR)


def _bind(address: tuple[str, int]) -> socket.socket:
    """A listening socket.

    :raises OSError: when the address is not available.
    """
    host, port = address
    family, kind, protocol, _name, socket_address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    listener = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        # A connection of the previous worker may still be open.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(socket_address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """A second server in the process; the first one handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Capture no signals."""
        yield


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        server_header=False,
        proxy_headers=False,
    )


class _Connection(CredentialedProtocol):
    """HTTP/1.1 for unknown peers: as for the Unix socket, with one limit for all of them."""

    refusal_type = b"application/json"

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # Any peer may send data that is not HTTP, and would fill the log.
        self.logger = _HTTP_LOG

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept it, and close the longest idle connection if there are too many."""
        self.begin(transport, Peer(pid=0, uid=_UNKNOWN_ID, gid=_UNKNOWN_ID))

    def log_refusal(self, reason: str) -> None:
        """Log nothing: any peer may send data that is not HTTP."""

    @staticmethod
    def connections_max() -> int:
        """Connections to ``[events] listen``."""
        return capacity.listen_connections(CONNECTIONS_MAX)

    def refusal(self, status: int, reason: str) -> bytes:
        """The error in Nova's form."""
        kind = "badRequest" if status == 400 else "serviceUnavailable"
        return json.dumps({kind: {"code": status, "message": reason}}).encode("ascii")
