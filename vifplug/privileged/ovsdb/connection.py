"""ovsdbapp's connection and API, with corrections of ovsdbapp 3.0; and transactions, which its commands are part of."""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections.abc import Sequence
from typing import Any

from ovs.db import idl
from ovsdbapp.backend.ovs_idl import command, connection
from ovsdbapp.schema.open_vswitch import impl_idl

from vifplug.privileged.ovsdb.idl import BARRIER

_ALERTS_BYTES = 4096


class _Queue(connection.TransactionQueue):  # type: ignore[misc]
    """A queue whose alert pipe is empty after each read of the queue.

    ovsdbapp reads one byte from the pipe for each transaction. ``Connection.force_reconnect()`` writes a byte without a
    transaction: nothing reads that byte, and the IDL's thread polls a readable pipe without end (docs/decisions, 0014).
    """

    def __init__(self, maxsize: int) -> None:
        super().__init__(maxsize)
        os.set_blocking(self.alert_fileno, False)

    def get_nowait(self) -> Any:
        """The next transaction, or None."""
        # The pipe first: whatever is queued after this read writes its byte after it, too.
        with contextlib.suppress(BlockingIOError):
            os.read(self.alert_fileno, _ALERTS_BYTES)
        try:
            return queue.Queue.get_nowait(self)
        except queue.Empty:
            return None


class Connection(connection.Connection):  # type: ignore[misc]
    """A connection whose thread sleeps when there is nothing to do."""

    def __init__(self, replica: Any, timeout: float) -> None:
        super().__init__(replica, timeout)
        self.txns.close()  # nothing polls its pipe yet
        # One transaction at a time, as in ovsdbapp: one read of the queue takes all of them.
        self.txns: Any = _Queue(1)


class Api(impl_idl.OvsdbIdl):  # type: ignore[misc]
    """ovsdbapp's API. ovsdbapp keeps the connection on the class; an own class separates it from other users'."""

    _ovsdb_connection = None


class Transaction:
    """Commands that are carried out in one transaction.

    The thread that wants it builds and sends it; the IDL's thread only receives the answer. ovsdbapp's transactions are
    handed to that thread: two more threads to wake, and the connection is locked until the answer has arrived.

    :param seconds: how long the server may take.
    :param writes: increment next_cfg with it.
    """

    def __init__(self, api: Api, commands: Sequence[Any], seconds: float, *, writes: bool) -> None:
        self._api, self._commands, self._writes = api, commands, writes
        self._until = time.monotonic() + seconds
        self._seqno = 0
        self._sent: Any = None

    def send(self) -> None:
        """Build it from the present rows, and send it.

        :raises TimeoutError: another transaction has been waiting for the server for too long.
        :raises VifplugError: a command's own.
        """
        connection = self._api.ovsdb_connection
        if not connection.lock.acquire(timeout=max(self._until - time.monotonic(), 0)):
            raise TimeoutError
        try:
            self._seqno = self._api.idl.change_seqno
            transaction = idl.Transaction(self._api.idl)
            try:
                if self._writes:
                    self._api._ovs.increment("next_cfg")
                for command in self._commands:
                    command.run_idl(transaction)
                transaction.commit()
            except BaseException:
                # An error inside python-ovs leaves its transaction open, and every later turn of the IDL would fail.
                if self._api.idl.txn is not None:
                    transaction.abort()
                raise
            if self._api.idl.has_backlog:
                connection.txns.alert_notify()  # the IDL's thread, which polls only for input, sends the rest
        finally:
            connection.lock.release()
        self._sent = transaction

    def next_cfg(self) -> int:
        """Wait for the answer; the transaction is tried again if rows changed before it arrived.

        :returns: the next_cfg that the transaction requested; 0 if it changes nothing.
        :raises TimeoutError: the server has not answered in time; the outcome is then unknown.
        :raises Refused: the server refuses it.
        """
        replica = self._api.idl
        while True:
            if not replica.wait_for_turn(lambda: self._status() != idl.Transaction.INCOMPLETE, self._until):
                raise TimeoutError
            match self._status():
                case idl.Transaction.SUCCESS:
                    return int(self._sent.get_increment_new_value()) if self._writes else 0
                case idl.Transaction.TRY_AGAIN:
                    if not replica.wait_for_turn(lambda: replica.change_seqno != self._seqno, self._until):
                        raise TimeoutError
                    self.send()
                case idl.Transaction.UNCHANGED | idl.Transaction.ABORTED:
                    return 0
                case _:
                    raise Refused(self._sent.get_error())

    def _status(self) -> Any:
        return self._sent.commit()  # of one that was sent it only returns the status


class Refused(Exception):
    """The server refuses a transaction, with its own text."""


class Barrier(command.BaseCommand):  # type: ignore[misc]
    """A read that is answered after every update of transactions that ended before it."""

    def run_idl(self, txn: Any) -> None:
        """Add it to the transaction."""
        txn.add_op(BARRIER)


class IncrementNextCfg(command.BaseCommand):  # type: ignore[misc]
    """Increments next_cfg and nothing else: vswitchd then checks everything again.

    The server increments its present value: the IDL does so only together with a change.
    """

    def run_idl(self, txn: Any) -> None:
        """Add it to the transaction."""
        mutations = [["next_cfg", "+=", 1]]
        txn.add_op({"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations})
