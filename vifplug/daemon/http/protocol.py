"""The peer of a connection, as reported by the kernel, and its permissions. No data of a request is trusted."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import http
import json
import logging
import pwd
import select
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from vifplug.config.options import Settings
from vifplug.daemon.http import capacity
from vifplug.daemon.http.framing import Framing, is_last
from vifplug.daemon.rate_limit import RecurringWarning

LOG = logging.getLogger(__name__)

REQUEST_SECONDS = 30.0
"""From the connection's opening, or the previous answer, to a request's last byte; and how long an answer is offered to
a peer that does not read it."""
CONNECTIONS_MAX = 256
"""Of a user other than root, if the worker may have so many descriptors (capacity.py)."""
_LOOK_SECONDS = 1.0
"""How often to check for a peer that has shut its sending side, or has sent more than was read so far."""
_ROOM_SECONDS, _ROOM_TRIES = 0.05, 40
"""How often to retry for room, and how many times. In a burst all connections have sent unread requests."""
_WITHOUT_ROOM_MAX = 64
"""Connections that may retry; their descriptors are among those that capacity.py reserves for the work."""

_ROOT = 0
_SO_PEERGROUPS = 59
_GROUPS_BYTES_MAX = 1024
"""The maximum of Python's getsockopt: 256 groups."""
_CREDENTIALS = struct.Struct("iII")


class Level(IntEnum):
    """What a peer may do; each level includes those below it."""

    NONE = 0
    READ = 1
    OPERATE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """Its name in the configuration and the API."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A process that connected, as of that moment."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    @classmethod
    def of(cls, connection: Any) -> Peer:
        """The peer of a connected Unix socket.

        :raises OSError: it is not a Unix socket.
        """
        if connection.family != socket.AF_UNIX:
            raise OSError("only Unix sockets identify peers")
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(packed)
        return cls(pid=pid, uid=uid, gid=gid, groups=_groups_of(connection, uid))


def _groups_of(connection: Any, uid: int) -> tuple[int, ...]:
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES_MAX)
    except OSError as error:
        # More groups than fit, or a kernel before 4.13. Fewer groups mean fewer permissions, never more.
        LOG.warning("cannot read the supplementary groups of uid %d (%s); only its primary group counts", uid, error)
        return ()
    return struct.unpack(f"{len(packed) // 4}I", packed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Users and groups, by number."""

    uids: frozenset[int] = frozenset()
    gids: frozenset[int] = frozenset()

    def __contains__(self, peer: Peer) -> bool:
        return peer.uid in self.uids or peer.gid in self.gids or not self.gids.isdisjoint(peer.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The users and groups of each level."""

    admins: Members
    operators: Members
    readers: Members
    operator_bridges: tuple[str, ...] = ()
    """Bridges that operators may join besides those made for guests."""

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """As configured; names that do not exist are left out, with one warning."""
        unknown: list[str] = []
        socket_group = _numbers([settings.socket_group], _gid, [])
        admins = Members(
            uids=_numbers(settings.admin_users, _uid, unknown) | _numbers([settings.user], _uid, []) | {_ROOT},
            gids=_numbers(settings.admin_groups, _gid, unknown),
        )
        operators = Members(
            uids=_numbers(settings.operator_users, _uid, unknown),
            gids=_numbers(settings.operator_groups, _gid, unknown),
        )
        readers = Members(
            uids=_numbers(settings.reader_users, _uid, unknown),
            gids=_numbers(settings.reader_groups, _gid, unknown) | socket_group,
        )
        # Configured but unknown operators still count: a mistyped name must not give access to a whole group.
        if not (settings.operator_users or settings.operator_groups):
            operators = Members(gids=socket_group)
        if unknown:
            LOG.warning(
                "[daemon] names users or groups that do not exist, and they are ignored: %s", ", ".join(unknown)
            )
        bridges = settings.operator_bridges
        return cls(admins=admins, operators=operators, readers=readers, operator_bridges=bridges)

    def level(self, peer: Peer) -> Level:
        """The peer's highest level."""
        if peer in self.admins:
            return Level.ADMIN
        if peer in self.operators:
            return Level.OPERATE
        return Level.READ if peer in self.readers else Level.NONE


def _numbers(names: Iterable[str], number_of: Callable[[str], int], unknown: list[str]) -> frozenset[int]:
    numbers: set[int] = set()
    for name in names:
        try:
            numbers.add(int(name) if name.isascii() and name.isdigit() else number_of(name))
        except (KeyError, ValueError):
            unknown.append(repr(name))
    return frozenset(numbers)


def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid


_REFUSED, _FULL = RecurringWarning(LOG, is_limited=True), RecurringWarning(LOG, is_limited=True)


class CredentialedProtocol(H11Protocol):
    """HTTP/1.1 for known peers: the scope's state contains the peer, as reported by the kernel.

    Data that framing.py refuses is answered with 400, and the connection is closed. A connection is also closed if its
    request does not arrive, or its answer is not read, within REQUEST_SECONDS. If there are too many connections, the
    one that has been idle for longest is closed. If a peer disconnects during a request, the request is carried out;
    one that is to be dropped instead calls the state's ``linger``, and the application is then notified.
    """

    peer: Peer | None = None
    refusal_type = b"application/problem+json"
    """The media type of ``refusal``."""
    _deadline: asyncio.TimerHandle | None = None
    _is_ended = False
    _is_lingering = False
    _look: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._framing = Framing()
        self.idle_since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the peer's credentials, and make room for it."""
        try:
            peer = Peer.of(transport.get_extra_info("socket"))
        except OSError as error:
            LOG.warning("closed a connection of an unknown peer: %s", error)
            transport.abort()
            return
        self.begin(transport, peer)

    def begin(self, transport: asyncio.Transport, peer: Peer) -> None:
        """Serve a peer; if there is no room for it, only to answer 503."""
        self.peer = peer
        super().connection_made(transport)
        self.app_state = {
            **self.app_state,
            "peer": peer,
            "linger": self.linger,
        }  # a copy: the server's own belongs to all connections
        self._expect()
        self._stay(_ROOM_TRIES)

    def _stay(self, tries: int) -> None:
        """Take a place; if there is none, retry after other connections' requests are read, or refuse."""
        if self.transport.is_closing() or self._is_refused_for_its_user():
            return
        opened: list[Any] = [each for each in self.connections if not each.transport.is_closing()]
        most = self.connections_max()
        if len(opened) <= most:
            return
        _FULL.warn(
            f"more than {most} connections ({capacity.descriptors()} descriptors, RLIMIT_NOFILE); the oldest idle one "
            "makes room for the next"
        )
        others = [each for each in opened if each is not self]
        may_wait = tries > 0 and len(opened) <= most + _WITHOUT_ROOM_MAX
        if capacity.close_oldest_idle(capacity.of_the_largest_user(others)) or capacity.close_oldest_idle(
            others, spares_unread=may_wait
        ):
            return
        if may_wait:
            self.loop.call_later(_ROOM_SECONDS, self._stay, tries - 1)
        elif not self._is_answering():
            self._answer(503, "too many connections, and all of them are in use; try again")

    def _is_refused_for_its_user(self) -> bool:
        """Whether its user has too many connections, and none that can be closed."""
        assert self.peer is not None
        uid, most = self.peer.uid, capacity.connections_of_user(CONNECTIONS_MAX)
        if uid == _ROOT or len(self.connections) <= most:
            return False
        opened: set[Any] = self.connections
        own = [each for each in opened if each.peer.uid == uid]
        if most < len(own) <= 2 * most:
            # Connections whose peers have disconnected unnoticed do not count, within limits.
            own = [each for each in own if not each._is_alone()]
        if len(own) <= most:
            return False
        _FULL.warn(f"uid {uid} has more than {most} connections; its oldest idle one makes room for the next")
        if capacity.close_oldest_idle([each for each in own if each is not self], capacity.IDLE_SECONDS):
            return False
        self._answer(503, f"uid {uid} has {most} connections, which is the maximum of one user; try again")
        return True

    @staticmethod
    def connections_max() -> int:
        """The maximum of connections, of all users."""
        return capacity.connections()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being served on it."""
        return not (self.transport.is_closing() or self._is_answering())

    def has_input(self) -> bool:
        """Whether it has sent data that was not read yet."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), select.POLLIN)
        return bool(poll.poll(0))

    def _is_alone(self) -> bool:
        """Whether the peer has closed; one that has only shut its sending side may still read."""
        if self.transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), 0)
        return any(events & (select.POLLHUP | select.POLLERR) for _descriptor, events in poll.poll(0))

    def linger(self) -> None:
        """Drop the request under way once its peer has gone."""
        self._is_lingering = True
        self._look_after()

    def _look_after(self) -> None:
        self._look_no_more()
        if not self._is_lingering or self.transport.is_closing():
            return
        if self._is_alone():
            self.transport.abort()
        elif self._is_ended or not self.transport.is_reading():  # the transport does not notice it
            self._look = self.loop.call_later(_LOOK_SECONDS, self._look_after)

    def _look_no_more(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def data_received(self, data: bytes) -> None:
        """Receive part of a request, as far as it is valid."""
        if self.peer is None or self.transport.is_closing():
            return
        right = self._framing.take(data)
        if right:
            super().data_received(right)
        if self._framing.fault:
            self._refuse()
        self._look_after()
        self._expect()

    def _refuse(self) -> None:
        """Answer data that framing.py refuses, after the requests before it are answered."""
        if self.transport.is_closing() or self._is_answering():
            return
        if self.cycle is not None and not self.cycle.response_complete:  # its body is invalid: it is not carried out
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.log_refusal(self._framing.fault)
        self.send_400_response(self._framing.fault)

    def log_refusal(self, reason: str) -> None:
        """Log, at most once a minute, that a request was refused before the application saw it."""
        _REFUSED.warn(
            f"refused a request of {'an unknown peer' if self.peer is None else f'uid {self.peer.uid}'}: {reason}"
        )

    def _should_upgrade(self) -> bool:
        """False; uvicorn checks this for each request before it is served."""
        if is_last(self.scope["method"], self.scope["raw_path"].decode("ascii"), self.headers):
            self.headers.append(CLOSE_HEADER)  # as if the peer had sent it: uvicorn answers with it, and closes
        return False

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a connection whose peer has shut its sending side, while it waits for an answer."""
        self._is_ended = True
        self._look_after()
        return self._is_answering() and not self.transport.is_closing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def on_response_complete(self) -> None:
        """Continue with the next request."""
        self._is_lingering = False
        self._look_no_more()
        self.idle_since = self.loop.time()
        super().on_response_complete()
        if self._framing.fault:
            self._refuse()
        if self._is_ended and not self._is_answering():
            self.transport.close()
        self._expect()

    def _expect(self) -> None:
        """Arm the timeout while a request, or a part of it, is awaited."""
        if self.transport.is_closing() or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._forget()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def pause_writing(self) -> None:
        """Arm a timeout for a peer that does not read."""
        super().pause_writing()
        self._forget()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The peer reads again."""
        super().resume_writing()
        self._forget()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove it."""
        self._forget()
        self._look_no_more()
        if self.peer is None:  # it never was accepted
            return
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._forget()

    def send_400_response(self, msg: str) -> None:
        """Answer data that is not HTTP/1.1."""
        self._answer(400, msg)

    def _answer(self, status: int, reason: str) -> None:
        """Answer and close, without the application; if an answer has begun, only close."""
        body = self.refusal(status, reason)
        headers = [
            (b"content-type", self.refusal_type),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        headers += [(b"retry-after", b"1")] if status == 503 else []
        phrase = http.HTTPStatus(status).phrase.encode()
        with contextlib.suppress(h11.LocalProtocolError):
            answer = self.conn.send(h11.Response(status_code=status, headers=headers, reason=phrase))
            answer += self.conn.send(h11.Data(data=body)) or b""
            self.transport.write(answer + (self.conn.send(h11.EndOfMessage()) or b""))
        self.transport.close()

    def refusal(self, status: int, reason: str) -> bytes:
        """The body of such an answer: a problem document."""
        kind = "InputError" if status == 400 else "Busy"
        error = {"type": kind, "message": reason, "step": None, "subject": None, "retryable": status == 503}
        return json.dumps(
            {
                "type": f"urn:vifplug:error:{kind}",
                "title": http.HTTPStatus(status).phrase,
                "status": status,
                "detail": reason,
                "instance": "",
                "request_id": "",
                "error": error,
            }
        ).encode("ascii")
