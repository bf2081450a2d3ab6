"""HTTP over the daemon's Unix socket: a request goes out, a JSON object or a typed error comes back.

Nothing heavy is imported here: a command that asks the daemon starts without netlink, OVSDB, or a model.
"""

from __future__ import annotations

import contextlib
import grp
import http.client
import json
import logging
import os
import pwd
import select
import socket
import stat
import struct
import time
from dataclasses import dataclass
from typing import Any

from vifplug import errors

LOG = logging.getLogger(__name__)

_CONNECT_SECONDS = 2
_HEALTH_SECONDS = 10.0
"""How long its answer to /healthz may take, which waits for nothing: a daemon's start, with much to spare."""
_REST_SECONDS = 2.0
"""How long a connection is kept for the next request; the daemon's side closes one that has rested for 5."""
_ANSWER_MAX = 64 * 2**20
"""Bytes; 10,000 VIFs need 10 million. It stops a stranger on the socket, not a daemon."""
_SAID_MAX = 200
"""Characters of somebody else's words in an error."""
_REQUEST_ID = "X-Request-Id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of the daemon."""

    method: str
    target: str
    document: Any = None
    """What its JSON body says."""
    changes: bool = False
    """Whether it may change the host: one that was cut off is never sent again by itself."""


class _Connection(http.client.HTTPConnection):
    """A connection to a path instead of a host. It has no time-out: the daemon keeps its own, and its end is seen."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path
        self._pid = os.getpid()
        self._rested_at = 0.0

    def connect(self) -> None:
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Not settimeout: with it, a full backlog is EAGAIN at once.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _CONNECT_SECONDS, 0))
            peer.connect(self._path)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 0))
        except BaseException:
            peer.close()
            raise
        self.sock = peer

    def rest(self) -> None:
        """Wait for the next request."""
        self._rested_at = time.monotonic()
        if self.sock is not None:
            self.sock.settimeout(None)

    @property
    def is_fresh(self) -> bool:
        """Whether it may carry another request: ours still, not closed by the other side, nor about to be."""
        # A child that shared its parent's connection would read its parent's answers.
        if self.sock is None or self._pid != os.getpid() or time.monotonic() - self._rested_at > _REST_SECONDS:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)


class Wire:
    """The way to the daemon on one socket. Safe to share between threads: each request has its connection."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._resting: list[_Connection] = []
        self._is_closed = False

    def open(self) -> None:
        """See that vifplugd answers; the connection is kept for the first request.

        :raises DaemonUnreachable: from the OSError that says why.
        """
        connection = self._connected()
        connection.sock.settimeout(_HEALTH_SECONDS)
        try:
            health = self._exchange(connection, Request(method="GET", target="/healthz"))
        except errors.DaemonUnreachable:
            raise
        except errors.VifplugError as error:
            raise self.not_understood(str(error)) from error
        if "status" not in health:
            raise self.not_understood("it says nothing of its health")

    def close(self) -> None:
        """Close what rests, and after its answer whatever is still in use."""
        self._is_closed = True
        while self._resting:
            self._resting.pop().close()

    def ask(self, request: Request) -> dict[str, Any]:
        """The daemon's answer.

        :raises DaemonUnreachable: when none came, or from something that is not vifplugd.
        :raises VifplugError: what the daemon's host raised, of the same class.
        """
        connection = self._rested()
        if connection is not None:
            try:
                return self._exchange(connection, request)
            except errors.DaemonUnreachable:
                if request.changes:
                    raise
        return self._exchange(self._connected(), request)

    def _connected(self) -> _Connection:
        connection = _Connection(self.path)
        try:
            connection.connect()
        except OSError as error:
            raise errors.DaemonUnreachable(_no_way(self.path, error), self.path) from error
        return connection

    def _rested(self) -> _Connection | None:
        while True:
            try:
                connection = self._resting.pop()
            except IndexError:
                return None
            if connection.is_fresh:
                return connection
            connection.close()

    def _rest(self, connection: _Connection) -> None:
        connection.rest()
        self._resting.append(connection)
        if self._is_closed:
            self.close()

    def _exchange(self, connection: _Connection, request: Request) -> dict[str, Any]:
        try:
            response, body = _spoken(connection, request)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | http.client.HTTPException):
                raise self._no_answer(error, request) from error
            if request.changes and isinstance(error, KeyboardInterrupt | SystemExit):
                error.add_note("the daemon goes on with what was asked; look with `vifplug list` what became of it")
            raise
        self._rest(connection)
        if not 200 <= response.status < 300:
            raise _refusal(f"{request.method} {request.target}", response, body)
        answer = _parsed(body)
        if not isinstance(answer, dict):
            raise self.not_understood("its answer is no JSON object")
        return answer

    def _no_answer(self, error: OSError | http.client.HTTPException, request: Request) -> errors.DaemonUnreachable:
        if isinstance(error, TimeoutError):
            text = f"the daemon on socket {self.path!r} does not answer, within {_HEALTH_SECONDS:g} s; restart it, "
            return errors.DaemonUnreachable(f"{text}or try again with --local", self.path)
        if isinstance(error, OSError | http.client.IncompleteRead):
            reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "connection closed"
            return errors.DaemonUnreachable(_cut_off(self.path, reason, request), self.path)
        return self.not_understood("it does not speak HTTP as vifplugd does")

    def not_understood(self, what: str) -> errors.DaemonUnreachable:
        """The error for an answer that is none of vifplugd's."""
        return errors.DaemonUnreachable(
            f"what answers on socket {self.path!r} is not vifplugd of this version: {what}; "
            "name vifplugd's socket, or try again with --local",
            self.path,
        )


def _spoken(connection: _Connection, request: Request) -> tuple[http.client.HTTPResponse, bytes]:
    began = time.monotonic()
    body, headers = None, {"Accept": "application/json"}
    if request.document is not None:
        body, headers["Content-Type"] = json.dumps(request.document).encode(), "application/json"
    # A request that is refused before all of it was read has its answer on the way; without one, reading says so.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request(request.method, request.target, body, headers)
    response = connection.getresponse()
    answer = _read(response)
    LOG.debug(
        "%s %s: %d in %.1f ms, request %s",
        *(request.method, request.target, response.status),
        *((time.monotonic() - began) * 1000, response.getheader(_REQUEST_ID, "unknown")),
    )
    return response, answer


def _read(response: http.client.HTTPResponse) -> bytes:
    if response.length is None:
        body = response.read(_ANSWER_MAX + 1)
        if len(body) <= _ANSWER_MAX:
            return body
    elif response.length <= _ANSWER_MAX:
        return response.read()  # not read(n), which does not notice that an answer is cut short
    raise http.client.HTTPException(f"an answer of more than {_ANSWER_MAX} bytes")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _refusal(asked: str, response: http.client.HTTPResponse, body: bytes) -> errors.VifplugError:
    """The error that a problem document carries, of the class it had in the daemon."""
    problem = _parsed(body)
    error = problem.get("error") if isinstance(problem, dict) else None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        return _class(error.get("type"))(
            error["message"], str(error.get("subject") or ""), str(error.get("step") or "")
        )
    said = problem.get("detail") or problem.get("title") if isinstance(problem, dict) else body.decode(errors="replace")
    words = " ".join(str(said or response.reason).split())[:_SAID_MAX]
    return errors.VifplugError(f"the daemon answered {asked} with status {response.status}: {words}")


def _class(name: object) -> type[errors.VifplugError]:
    found = getattr(errors, name, None) if isinstance(name, str) else None
    return found if isinstance(found, type) and issubclass(found, errors.VifplugError) else errors.VifplugError


def _no_way(path: str, error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if isinstance(error, PermissionError):
        return f"no permission to use the daemon's socket {path!r} ({reason}): {_admission(path)}"
    if isinstance(error, BlockingIOError):
        reason = f"too many wait for it already, for {_CONNECT_SECONDS} s"
    return f"no daemon answers on socket {path!r} ({reason}); start vifplugd, or try again with --local"


def _admission(path: str) -> str:
    """Who may use the socket, as far as this user can see it."""
    try:
        found = os.stat(path)
    except OSError:  # its directory is closed as well
        return "join the group that [daemon] socket_group names, log in anew and try again"
    if found.st_mode & stat.S_IWGRP:
        return f"join group {_group(found.st_gid)!r}, log in anew and try again"
    return f"only user {_user(found.st_uid)!r} may; try again as that user"


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _cut_off(path: str, reason: str, request: Request) -> str:
    cut = f"the daemon on socket {path!r} went away before it answered ({reason})"
    if not request.changes:
        return f"{cut}; try again when it runs, or with --local"
    return (
        f"{cut}: whether it did what was asked is not known; when it runs, look with `vifplug list`, or try again, "
        "which is safe: what is done already is left as it is"
    )
