"""An answer that arrives in parts, for as long as it is read."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
from collections.abc import Callable

from vifplug.errors import DaemonUnreachable, InputError

_PART_BYTES = 64 * 2**10


class Stream:
    """An answer under way. One thread reads it; any thread may end it.

    :param failed: the error for a failure of its connection.
    :param forget: called when it is closed.
    """

    def __init__(
        self,
        peer: socket.socket,
        response: http.client.HTTPResponse,
        forget: Callable[[Stream], None],
        failed: Callable[[OSError | http.client.HTTPException], DaemonUnreachable],
    ) -> None:
        self._peer = peer
        self._response = response
        self._forget = forget
        self._failed = failed
        self._pid = os.getpid()

    def header(self, name: str) -> str | None:
        """A header of the answer; None if it does not have it."""
        return self._response.getheader(name)

    def read(self) -> bytes:
        """The received data, at least a byte; empty at its end.

        :raises DaemonUnreachable: it was cut off, or nothing came within its request's time limit.
        :raises InputError: in a forked child, which would take its parent's events.
        """
        if self._pid != os.getpid():
            raise InputError("these events are those of this process's parent; call host.events() in this one")
        try:
            part = self._response.read1(_PART_BYTES)
            if not part and self._response.length:
                raise http.client.IncompleteRead(part)
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from error
        return part

    def end(self) -> None:
        """End it for its reader. In a forked child only the child's descriptor is closed, by ``close``."""
        if self._pid != os.getpid():
            return
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Read no more of it. Not while another thread reads: call ``end`` then."""
        self._forget(self)
        self._response.close()
        self._peer.close()

    def __del__(self) -> None:
        # This is for an iterator that was never read.
        self._response.close()
        self._peer.close()
