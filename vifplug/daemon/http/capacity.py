"""The maximum number of connections, from the descriptors that this process may have; and the connection to close.

The rest of the descriptors is for the work: a thread that serves a request or a repair opens the store, locks and
netlink sockets, and accept(2) fails for all clients when none is left (asyncio then logs each of 2,048 tries a second).
"""

from __future__ import annotations

import resource
from collections.abc import Iterable
from typing import Any

_WORK_DESCRIPTORS = 192
"""An idle worker has some 30, and each of its 64 threads two or three."""
_CONNECTIONS_MAX = 4096
_LISTEN_SHARE = 5
"""The part of all connections that is kept for ``[events] listen``."""

IDLE_SECONDS = 1.0
"""A connection without a request for this time is idle, even if its own user opens another one."""


def descriptors() -> int:
    """RLIMIT_NOFILE, which is in force for this process."""
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _CONNECTIONS_MAX * 2 if soft == resource.RLIM_INFINITY else soft


def _all() -> int:
    limit = descriptors()
    return min(_CONNECTIONS_MAX, limit - min(_WORK_DESCRIPTORS, limit // 2))


def listen_connections(most: int) -> int:
    """The maximum of connections to ``[events] listen``."""
    return max(1, min(most, _all() // _LISTEN_SHARE))


def connections() -> int:
    """Connections to the daemon's socket, of all users."""
    return max(1, _all() - _all() // _LISTEN_SHARE)


def connections_of_user(most: int) -> int:
    """The maximum of connections of a user other than root: other users and root always have some left."""
    return max(1, min(most, connections() * 3 // 4))


def followers() -> int:
    """Connections that follow the events. With the waits they leave a quarter for requests."""
    return max(1, connections() * 3 // 8)


def waits() -> int:
    """The maximum of requests that wait for a state, of all users."""
    return max(1, connections() * 3 // 8)


def waits_of_user(most: int) -> int:
    """The maximum of requests that wait for a state, of a user other than root."""
    return max(1, min(most, waits() // 2))


def of_the_largest_user(connections: Iterable[Any]) -> list[Any]:
    """The connections of the user with the most idle ones: they are closed before those of others."""
    by_user: dict[int, list[Any]] = {}
    for each in connections:
        if each.is_idle:
            by_user.setdefault(each.peer.uid, []).append(each)
    return max(by_user.values(), key=len, default=[])


def close_oldest_idle(connections: Iterable[Any], idle_seconds: float = 0, *, spares_unread: bool = True) -> bool:
    """Close the connection that has been idle for longest; False if there is none.

    :param idle_seconds: the minimum idle time.
    :param spares_unread: keep those that have sent unread data, and could not be served yet.
    """
    for each in sorted((each for each in connections if each.is_idle), key=lambda connection: connection.idle_since):
        seconds = each.loop.time() - each.idle_since
        may_go = seconds > IDLE_SECONDS or not (spares_unread and each.has_input())
        if seconds >= idle_seconds and may_go:
            each.transport.abort()
            return True
    return False
