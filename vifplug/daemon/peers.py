"""Who is at the other end of the socket, as the kernel says, and what they may do. Nothing here trusts a request."""

from __future__ import annotations

import asyncio
import contextlib
import grp
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
from uvicorn.protocols.http.h11_impl import H11Protocol

from vifplug.config import Settings

LOG = logging.getLogger(__name__)

REQUEST_SECONDS = 30.0
"""From its connection's opening, or the answer before it, to a request's last byte; and how long an answer is offered
to a peer that does not read it."""
CONNECTIONS_MAX = 256
"""Of one user who is not root: one peer cannot use up the worker's descriptors."""
_LOOK_SECONDS = 1.0
"""How often to look whether a peer is there that has said all it will, or more than is read by now."""

_ROOT = 0
_SO_PEERGROUPS = 59
_GROUPS_BYTES_MAX = 1024
"""The most that Python's getsockopt takes: 256 groups."""
_CREDENTIALS = struct.Struct("iII")


class Level(IntEnum):
    """What a peer may do; each level holds those below it."""

    NONE = 0
    READ = 1
    OPERATE = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As the configuration and the API spell it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A process that connected, as it was then."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    @classmethod
    def of(cls, connection: Any) -> Peer:
        """The peer of a connected Unix socket.

        :raises OSError: when it is no Unix socket.
        """
        if connection.family != socket.AF_UNIX:
            raise OSError("peers are known by their Unix sockets only")
        packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, gid = _CREDENTIALS.unpack(packed)
        return cls(pid=pid, uid=uid, gid=gid, groups=_groups_of(connection, uid))


def _groups_of(connection: Any, uid: int) -> tuple[int, ...]:
    try:
        packed = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES_MAX)
    except OSError as error:
        # More groups than fit, or a kernel before 4.13. Fewer groups mean fewer rights, never more.
        LOG.warning("cannot read the supplementary groups of uid %d (%s); its primary group alone counts", uid, error)
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
    """Who is of which level."""

    admins: Members
    operators: Members
    readers: Members

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
        # Named but unknown operators are operators still: a name mistyped must not open the door to a whole group.
        if not (settings.operator_users or settings.operator_groups):
            operators = Members(gids=socket_group)
        if unknown:
            LOG.warning(
                "[daemon] names users or groups that do not exist, and they are ignored: %s", ", ".join(unknown)
            )
        return cls(admins=admins, operators=operators, readers=readers)

    def level(self, peer: Peer) -> Level:
        """The highest that is the peer's."""
        if peer in self.admins:
            return Level.ADMIN
        if peer in self.operators:
            return Level.OPERATE
        return Level.READ if peer in self.readers else Level.NONE


def _numbers(names: Iterable[str], number_of: Callable[[str], int], unknown: list[str]) -> frozenset[int]:
    found: set[int] = set()
    for name in names:
        try:
            found.add(int(name) if name.isascii() and name.isdigit() else number_of(name))
        except (KeyError, ValueError):
            unknown.append(repr(name))
    return frozenset(found)


def _uid(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def _gid(name: str) -> int:
    return grp.getgrnam(name).gr_gid


class CredentialedProtocol(H11Protocol):
    """HTTP/1.1 for peers that are known: the scope's state holds who it is, from the kernel.

    A connection is closed when its request does not come, or its answer is not taken, within REQUEST_SECONDS; and at
    once when its user has CONNECTIONS_MAX of them already. A peer that goes in mid-request has it carried out; the
    state's ``linger`` is for a request to call that is to be dropped then, and that the receiver is told of.
    """

    peer: Peer | None = None
    _deadline: asyncio.TimerHandle | None = None
    _is_ended = False
    _is_lingering = False
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read who it is; refuse one too many."""
        try:
            peer = Peer.of(transport.get_extra_info("socket"))
        except OSError as error:
            LOG.warning("closed a connection of an unknown peer: %s", error)
            transport.abort()
            return
        self.peer = peer
        super().connection_made(transport)
        self.app_state = {
            **self.app_state,
            "peer": peer,
            "linger": self.linger,
        }  # a copy: the server's own is every connection's
        if peer.uid != _ROOT and self._are_too_many(peer.uid):
            LOG.warning("closed a connection of uid %d, which has %d open", peer.uid, CONNECTIONS_MAX)
            transport.abort()
            return
        self._expect()

    def _are_too_many(self, uid: int) -> bool:
        own = [each for each in self.connections if isinstance(each, CredentialedProtocol) and each._is_of(uid)]
        if not CONNECTIONS_MAX < len(own) <= 2 * CONNECTIONS_MAX:
            return len(own) > CONNECTIONS_MAX
        # Those whose peers have gone, of which nobody here has heard yet, are in nobody's way; not without bounds.
        return sum(1 for each in own if not each._is_alone()) > CONNECTIONS_MAX

    def _is_of(self, uid: int) -> bool:
        return self.peer is not None and self.peer.uid == uid

    def _is_alone(self) -> bool:
        """Whether the peer has gone for good; one that has but ended its own part may still read."""
        if self.transport.is_closing():
            return True
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket"), 0)
        return any(said & (select.POLLHUP | select.POLLERR) for _descriptor, said in poll.poll(0))

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
        elif self._is_ended or not self.transport.is_reading():  # the transport itself does not see the peer go
            self._look = self.loop.call_later(_LOOK_SECONDS, self._look_after)

    def _look_no_more(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def data_received(self, data: bytes) -> None:
        """Take part of a request."""
        if self.peer is None:
            return
        super().data_received(data)
        self._look_after()
        self._expect()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a connection whose peer has said all it will, for as long as it waits for an answer."""
        self._is_ended = True
        self._look_after()
        return self._is_answering() and not self.transport.is_closing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        self._is_lingering = False
        self._look_no_more()
        super().on_response_complete()
        if self._is_ended and not self._is_answering():
            self.transport.close()
        self._expect()

    def _expect(self) -> None:
        """Keep a deadline while a request is to come, in whole or in part."""
        if self.transport.is_closing() or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._forget()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def pause_writing(self) -> None:
        """Give a peer that does not read some time, not for ever."""
        super().pause_writing()
        self._forget()
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads."""
        super().resume_writing()
        self._forget()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._forget()
        self._look_no_more()
        if self.peer is None:  # it never was let in
            return
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._forget()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer is under way already, which uvicorn would trip over."""
        with contextlib.suppress(h11.LocalProtocolError):
            super().send_400_response(msg)
            return
        self.transport.close()
