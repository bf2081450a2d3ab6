"""Servers that are not OVSDB: one that accepts connections and never answers, one that closes each at once."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def _serving(listener: socket.socket, *, closes: bool) -> Iterator[None]:
    held: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if closes:
                connection.close()
            else:
                held.append(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in held:
            connection.close()


def _tcp() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@contextlib.contextmanager
def silent_tcp() -> Iterator[str]:
    """A TCP server that accepts connections and never answers, in the namespace of the calling thread; its address."""
    listener = _tcp()
    with _serving(listener, closes=False):
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def closing_tcp() -> Iterator[str]:
    """A TCP server that closes each connection at once, in the namespace of the calling thread; its address."""
    listener = _tcp()
    with _serving(listener, closes=True):
        yield f"tcp:127.0.0.1:{listener.getsockname()[1]}"
