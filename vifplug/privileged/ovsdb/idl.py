"""A helper's replica of OVSDB: an IDL of five tables, which reports every change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from ovs.db import idl
from ovsdbapp.backend.ovs_idl import connection

from vifplug.privileged.ovsdb import changes as ovsdb_changes
from vifplug.privileged.ovsdb import jsonrpc, schema
from vifplug.privileged.ovsdb.changes import Changes
from vifplug.privileged.ovsdb.index import RowIndex

LOG = logging.getLogger(__name__)

BARRIER = {"op": "select", "table": "Open_vSwitch", "where": [], "columns": ["cur_cfg"]}
"""An operation whose answer comes after every update of transactions that ended before it."""
_BACKOFF_MIN_MS, _BACKOFF_MAX_MS = 100, 500
_PROBE_MS = 3000
"""After this time without a message the server is probed, and after the same time without an answer it counts as
away."""


def _probe_ms(remotes: int, timeout: float) -> int:
    """The probe interval, in ms, on a connection whose server is not yet followed; it is closed after two of them.

    So all addresses are tried within the time that a caller waits.
    """
    return _PROBE_MS if remotes == 1 else max(100, min(1000, int(timeout * 1000 / (4 * remotes))))


_WRITES_SECONDS = 5.0
"""How often a server is asked whether it still accepts writes, if there are others. A server that becomes a standby
keeps its connections. python-ovs wakes every 3 s for its probe."""


class Replica(connection.OvsdbIdl):  # type: ignore[misc]
    """Notifies waiters of each change of cur_cfg and of interfaces, which vswitchd writes; and watchers of all
    changes."""

    def __init__(self, remotes: Sequence[str], changes: Changes, timeout: float) -> None:
        self.caught_up = threading.Condition()
        self._turned = threading.Condition()
        self.cur_cfg = 0
        self.update_count = 0
        """The number of changes that may be vswitchd's."""
        self._changes = changes
        self._anew = True
        self._asked_at = 0.0
        super().__init__(",".join(remotes), schema.needed())
        self._session: Any = jsonrpc.Session(self._session, remotes)
        self._probe_ms = _probe_ms(len(remotes), timeout)
        # ovsdbapp's own indexes sort rows by comparisons in Python.
        self.index = RowIndex(self.tables)
        # Reconnect at once to a server that restarts; python-ovs backs off for up to 8 s.
        self._session.reconnect.set_backoff(_BACKOFF_MIN_MS, _BACKOFF_MAX_MS)
        # python-ovs does not probe a Unix socket: it would wait without end for a server that hangs.
        self._session.reconnect.set_probe_interval(_PROBE_MS)

    def cooperative_yield(self) -> None:
        """Do nothing: ovsdbapp sleeps here for eventlet, 80 us for every changed row."""

    def restart_fsm(self) -> None:
        """Called for each new connection: changes since the last connection are not reported row by row."""
        self._anew = True
        super().restart_fsm()
        self._ask_for_writes()
        # Until its contents are received, a server that hangs delays the next address. Not set_probe_interval, whose
        # minimum is a second.
        self._session.reconnect.probe_interval = self._probe_ms

    def run(self) -> bool:
        """One turn of the replica, and whether it follows its server."""
        try:
            changed = bool(super().run())
        except Exception:
            # ovsdbapp's thread would skip its queue and poll again at once. What python-ovs cannot read from this
            # connection it may read from the next one, which starts after a pause.
            LOG.exception("a message of OVSDB's could not be read; reconnecting")
            self._session.force_reconnect()
            changed = False
        following = self.state == self.IDL_S_MONITORING and self._session.is_connected()
        self._changes.connected(following, anew=following and self._anew)
        if following and self._anew:
            self._session.good()
            self._session.reconnect.set_probe_interval(_PROBE_MS)
        if following and len(self._session.remotes) > 1 and time.monotonic() > self._asked_at + _WRITES_SECONDS:
            self._ask_for_writes()
        self._anew = self._anew and not following
        if not following:
            self._session.fail_pending()
        with self._turned:
            self._turned.notify_all()
        return changed

    def _ask_for_writes(self) -> None:
        self._asked_at = time.monotonic()
        self._session.ask_for_writes(self._db.name)

    @property
    def address(self) -> str:
        """The address of the followed server; "" if there is none."""
        return str(self._session.get_name()) if self._session.is_good else ""

    @property
    def refused(self) -> dict[str, str]:
        """Addresses whose server answers but is not used, and why."""
        return dict(self._session.refused)

    def request_barrier(self) -> jsonrpc.Reply | None:
        """Send a query that is answered after every update of earlier transactions; the caller holds the lock.

        :returns: None while no server is followed.
        """
        if self.state != self.IDL_S_MONITORING:
            return None
        answer: jsonrpc.Reply | None = self._session.ask("transact", [self._db.name, BARRIER])
        return answer

    @property
    def has_backlog(self) -> bool:
        """Whether a part of a request is still to be sent."""
        return bool(self._session.get_backlog())

    def wait_for_turn(self, condition: Callable[[], bool], until: float) -> bool:
        """Wait until a turn of the replica makes a condition true; the caller must not hold the connection's lock.

        :param until: a time of the monotonic clock.
        :returns: whether it is true.
        """
        with self._turned:
            return self._turned.wait_for(condition, max(until - time.monotonic(), 0))

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        """A row has changed."""
        self.index.note(event, row)
        if not self._anew:
            self._changes.add(ovsdb_changes.named(event, row, updates))
        if row._table.name in ("Open_vSwitch", "Interface") and event != idl.ROW_DELETE:
            with self.caught_up:
                self.update_count += 1
                if row._table.name == "Open_vSwitch":
                    self.cur_cfg = row.cur_cfg
                self.caught_up.notify_all()

    def wait_for_update(self, seen: int, until: float) -> bool:
        """Wait for another change by vswitchd; the caller must not hold the connection's lock.

        :param seen: ``update_count`` when its rows were last read.
        :param until: a time of the monotonic clock.
        :returns: whether there was one.
        """
        with self.caught_up:
            return self.caught_up.wait_for(lambda: self.update_count != seen, max(until - time.monotonic(), 0))
