"""ovsdbapp's connection, API and transaction as vifplug uses them, with corrections of ovsdbapp 3.0."""

from __future__ import annotations

import contextlib
import os
import queue
from typing import Any

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

    def __init__(self, idl: Any, timeout: float) -> None:
        super().__init__(idl, timeout)
        self.txns.close()  # nothing polls its pipe yet
        # One transaction at a time, as in ovsdbapp: one read of the queue takes all of them.
        self.txns: Any = _Queue(1)


class Api(impl_idl.OvsdbIdl):  # type: ignore[misc]
    """ovsdbapp's API. ovsdbapp keeps the connection on the class; an own class separates it from other users'."""

    _ovsdb_connection = None


class Transaction(impl_idl.OvsVsctlTransaction):  # type: ignore[misc]
    """Raises every error; reports the requested next_cfg instead of waiting in ovsdbapp's only thread."""

    def __init__(self, api: Api, timeout: float, *, writes: bool) -> None:
        # ovsdbapp.backend.ovs_idl.transaction.Transaction; OvsVsctlTransaction has no initialiser of its own.
        super().__init__(api, api.ovsdb_connection, timeout=timeout, check_error=True, log_errors=False)
        self._writes = writes
        self.next_cfg = 0
        self.given_up = False
        """Cancel it: its caller has gone on, so it must not be carried out while it waits in the queue."""

    def do_commit(self) -> Any:
        """Called by the IDL's thread."""
        try:
            return super().do_commit()
        except BaseException:
            # An error inside python-ovs leaves its transaction open, and every later turn of the IDL would fail.
            under_way = self.api.idl.txn
            if under_way is not None:
                under_way.abort()
            raise

    def pre_commit(self, txn: Any) -> None:
        """Called before the commands."""
        if self.given_up:
            raise TimeoutError("the caller has stopped waiting for this transaction")
        if self._writes:
            super().pre_commit(txn)

    def post_commit(self, txn: Any) -> None:
        """Called after the server's answer."""
        if self._writes:
            self.next_cfg = txn.get_increment_new_value()


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
