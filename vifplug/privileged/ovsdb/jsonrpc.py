"""Reads OVSDB's messages with the standard library's JSON decoder.

The ovs wheel has no C parser. Its Python parser reads a message letter by letter: 1 ms of the 2.4 ms that a transaction
took for one port, and half of a session's start on a host with a thousand.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from typing import Any

import ovs.json
import ovs.jsonrpc

from vifplug.privileged.ovsdb import remotes as ovsdb_remotes

_STRUCTURE = re.compile(r'["\\{}\[\]]')


class Parser:
    """A replacement of python-ovs' ``ovs.json.Parser`` for its ``Connection``: fed piece by piece, done at a message's
    end."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._depth = 0
        self._in_string = False
        self._escaped = False
        """The last letter of the last piece was a backslash."""
        self._done = False

    def feed(self, piece: str) -> int:
        """Take the part that belongs to the message; returns its number of letters."""
        if not self._depth and piece.lstrip()[:1] not in "{[":
            self._done = True  # no message begins like this: do not wait for its end
        end = len(piece) if self._done else self._end(piece)
        self._pieces.append(piece[:end])
        return end

    def _end(self, piece: str) -> int:
        """The position of the message's end in a piece; its length if it continues."""
        position = 0
        if self._escaped and piece:
            position, self._escaped = 1, False
        while (matched := _STRUCTURE.search(piece, position)) is not None:
            position = matched.end()
            letter = matched[0]
            if self._in_string:
                if letter == "\\":
                    self._escaped = position == len(piece)
                    position += 1
                self._in_string = letter != '"'
            elif letter == '"':
                self._in_string = True
            elif letter in "{[":
                self._depth += 1
            elif letter in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    self._done = True
                    return position
        return len(piece)

    def is_done(self) -> bool:
        """Whether the message is complete."""
        return self._done

    def finish(self) -> Any:
        """The message; an error text if it is invalid, which ends the connection."""
        try:
            return json.loads("".join(self._pieces))
        except (ValueError, RecursionError) as error:
            return f"not JSON: {error}"


class Session(ovs.jsonrpc.Session):  # type: ignore[misc]
    """A JSON-RPC session that reads with ``Parser``; it replaces one that has just been opened.

    :param remotes: addresses, tried in this order; python-ovs shuffles them.
    """

    def __init__(self, opened: ovs.jsonrpc.Session, remotes: Sequence[str]) -> None:
        super().__init__(opened.reconnect, opened.rpc, list(remotes))
        self.remotes = list(remotes)
        self.is_good = False
        """This connection's server is followed: after its end the first address is tried first again."""
        self.refused: dict[str, str] = {}
        """Addresses whose servers were rejected since the last accepted one, and why."""
        self._pending: dict[Any, Reply] = {}
        self._probe_id: Any = None
        self.pick_remote()

    def pick_remote(self) -> None:
        """Called for the next address to try."""
        if self.is_good:
            self.is_good, self.next_remote = False, 0
        if self.next_remote == 0:
            # The first round of all addresses has no pauses; python-ovs would pause before each of the second round.
            self.reconnect.set_backoff_free_tries(len(self.remotes))
        super().pick_remote()

    def good(self) -> None:
        """The server of this connection is followed."""
        self.is_good = True
        self.refused.clear()

    def ask_for_writes(self, database: str) -> None:
        """Leave this server for the next address if it accepts no writes; for the IDL's own thread."""
        request = ovs.jsonrpc.Message.create_request("transact", [database, ovsdb_remotes.WRITES_NOTHING])
        self._probe_id = request.id
        self.send(request)

    def recv(self) -> Any:
        """The next complete message that is not an answer to ``ask``."""
        while True:
            # A connection drops its parser after each message; if there is a C parser, that one is as good.
            if self.rpc is not None and self.rpc.parser is None and ovs.json.PARSER == ovs.json.PARSER_PY:
                self.rpc.parser = Parser()
            message = super().recv()
            if message is not None and _is_answer(message) and message.id == self._probe_id:
                self._probe_id = None
                if ovsdb_remotes.refuses_writes(message.result):
                    # The first request on this connection: it is answered before the IDL has the database's contents.
                    self.refused[self.get_name()] = ovsdb_remotes.TAKES_NO_WRITES
                    self.force_reconnect()
                    return None
                continue
            reply = self._pending.pop(message.id, None) if message is not None and _is_answer(message) else None
            if reply is None:
                return message
            reply.set(message.type == ovs.jsonrpc.Message.T_REPLY)

    def ask(self, method: str, params: list[Any]) -> Reply | None:
        """Send a request besides the IDL's own; the caller must hold the lock under which the IDL runs.

        :returns: the reply to wait for; None without a connection, or if it cannot take more at once.
        """
        request = ovs.jsonrpc.Message.create_request(method, params)
        if self.get_backlog():
            return None  # only the IDL's thread sends the rest, when it wakes
        reply = self._pending[request.id] = Reply()
        if self.send(request):
            del self._pending[request.id]
            return None
        # A partly sent request stays registered: the IDL's thread sends the rest, and the answer is not for the IDL.
        return None if self.get_backlog() else reply

    def fail_pending(self) -> None:
        """The connection is closed, and pending requests fail."""
        while self._pending:
            self._pending.popitem()[1].set(False)


class Reply:
    """Notifies the requesting thread that an answer has arrived, or that none will."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._is_good = False

    def set(self, is_good: bool) -> None:
        """It has arrived, or never will."""
        self._is_good = is_good
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Wait for it; whether it is not an error.

        :raises TimeoutError: it has not arrived in time.
        """
        if not self._event.wait(seconds):
            raise TimeoutError
        return self._is_good


def _is_answer(message: Any) -> bool:
    return message.type in (ovs.jsonrpc.Message.T_REPLY, ovs.jsonrpc.Message.T_ERROR)
