"""The one OVSDB session of a helper: a long-lived replica, and transactions that never fail silently."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tenacity
from ovsdbapp import exceptions

from vifplug.errors import OvsdbError, OvsUnavailable, TimedOut, VifplugError
from vifplug.privileged.ovsdb import remotes as ovsdb_remotes
from vifplug.privileged.ovsdb.changes import Changes
from vifplug.privileged.ovsdb.connection import Api, Barrier, Connection, IncrementNextCfg, Refused, Transaction
from vifplug.privileged.ovsdb.idl import Replica
from vifplug.privileged.ovsdb.index import RowIndex
from vifplug.privileged.ovsdb.values import is_open

LOG = logging.getLogger(__name__)

_CONNECT_PAUSE_SECONDS = 0.2
_FIRST_LOOK_SECONDS = 0.1
"""After this time vswitchd is asked to look for a device. It usually notices it by itself in a few ms, but an event
that arrives while vswitchd processes its ports may be lost."""
_SECOND_LOOK_SECONDS = 0.5
_NO_DEVICE = os.strerror(errno.ENODEV)


class _NotWritten(Exception):
    """This server accepts no writes."""


@dataclass(slots=True)
class Commit:
    """The answer to a transaction."""

    next_cfg: int = 0
    """The next_cfg to wait for."""


class Session:
    """A connection to the first of some remotes that answers.

    :param remotes: OVSDB addresses, such as ``unix:/run/openvswitch/db.sock``.
    :param timeout: seconds, for every wait.
    """

    def __init__(self, remotes: Sequence[str], timeout: float) -> None:
        self.remotes = list(remotes)
        """Its addresses, in the order of the tries."""
        self._refused: dict[str, str] = {}
        self._timeout = timeout
        self._api: Api | None = None
        self._lock = threading.Lock()
        self._committing = threading.Lock()
        self._connecting: threading.Thread | None = None
        self._connecting_until = 0.0
        self._last_failure = 0.0
        self.changes = Changes()
        """The changes in OVSDB, for its followers."""

    @property
    def _places(self) -> str:
        return ",".join(self.remotes)

    @property
    def address(self) -> str:
        """The address of the followed server; "" if there is none."""
        return self._api.idl.address if self._api is not None else ""

    @property
    def is_there(self) -> bool:
        """Whether there is an OVSDB, even if it does not answer: a host with plain bridges only has none."""
        return self._api is not None or any(map(ovsdb_remotes.exists, self.remotes))

    def has_replica(self) -> bool:
        """Whether there is a replica to read, after connecting if none was needed so far; False without OVSDB.

        An existing replica is not brought up to date: that would take a round trip.

        :raises OvsUnavailable: there is an OVSDB, but it does not answer in time.
        """
        if self._api is None and self.is_there:
            self._connected()
        return self._api is not None

    def has_replica_soon(self, seconds: float) -> bool:
        """As ``has_replica``, but waits only until ``seconds`` after the start of a connection attempt, which
        continues.

        However many links a plan makes, a server that does not answer delays it once per attempt.
        """
        if self._api is None and self.is_there:
            if self._connecting is None or not self._connecting.is_alive():
                self._connecting = threading.Thread(target=self._connect_for_later, name="OVSDB", daemon=True)
                self._connecting_until = time.monotonic() + seconds
                self._connecting.start()
            self._connecting.join(max(self._connecting_until - time.monotonic(), 0))
        return self._api is not None

    def _connect_for_later(self) -> None:
        with contextlib.suppress(OvsUnavailable):
            self._connected()

    def _connected(self) -> Api:
        if self._api is not None:
            return self._api
        asked = time.monotonic()
        with self._lock:
            if self._api is None and self._last_failure > asked:
                # While this thread waited for the lock, another one tried for the whole timeout.
                raise self._unreachable()
            if self._api is None:
                self._api = self._connect()
            return self._api

    def attempt(self, seconds: float) -> None:
        """Connect, if there is no connection yet and a server answers within ``seconds``."""
        deadline = time.monotonic() + seconds
        while self._api is None and time.monotonic() < deadline:
            if any(map(ovsdb_remotes.answers, self.remotes)):
                with contextlib.suppress(OvsUnavailable):
                    self._connected()
            else:
                time.sleep(min(_CONNECT_PAUSE_SECONDS, seconds))

    def _connect(self) -> Api:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ConnectionError),
            stop=tenacity.stop_after_delay(self._timeout),
            wait=tenacity.wait_fixed(_CONNECT_PAUSE_SECONDS),
            reraise=True,
        )
        try:
            return retrying(self._connect_once)
        except ConnectionError as error:
            self._last_failure = time.monotonic()
            raise self._unreachable() from error

    def _unreachable(self) -> OvsUnavailable:
        return OvsUnavailable(
            f"could not reach OVSDB at {self._places} within {self._timeout:g} s{self._turned_away()}. "
            "Check that openvswitch-switch runs and [ovs] connection is correct, then retry",
            self._places,
        )

    def _turned_away(self) -> str:
        refused = self._api.idl.refused if self._api is not None else self._refused
        return "".join(f"; {remote} answers, but {reason}" for remote, reason in refused.items())

    def _connect_once(self) -> Api:
        if not any(map(ovsdb_remotes.answers, self.remotes)):
            raise ConnectionError("no socket answers")
        link = Connection(Replica(self.remotes, self.changes, self._timeout), timeout=self._timeout)
        try:
            link.start()
        except exceptions.TimeoutException as error:
            link.idl.close()
            self._refused = link.idl.refused
            # Its own str() fails: ovsdbapp raises it here without the arguments that its message needs.
            raise ConnectionError("no answer") from error
        # One session per process: the class attribute is cleared so that a second try does not get the first one's
        # session.
        Api._ovsdb_connection = None
        return Api(link, start=False)

    @property
    def api(self) -> Api:
        """ovsdbapp's API on this session, for commands."""
        return self._connected()

    @property
    def lock(self) -> Any:
        """Hold it while reading rows: the IDL's thread changes them in place."""
        return self._connected().ovsdb_connection.lock

    @property
    def tables(self) -> Any:
        """The IDL's tables."""
        return self._connected().idl.tables

    @property
    def index(self) -> RowIndex:
        """Rows by several keys; the caller must hold ``lock``."""
        index: RowIndex = self._connected().idl.index
        return index

    def refresh(self) -> None:
        """Return once every transaction that ended before this call is visible.

        :raises OvsUnavailable: OVSDB does not answer in time.
        """
        api, until = self.api, time.monotonic() + self._timeout
        if not self.lock.acquire(timeout=self._timeout):
            raise self._silent()  # a transaction that waits for the server holds it
        try:
            answer = api.idl.request_barrier()
        finally:
            self.lock.release()
        try:
            if answer is not None and answer.wait(until - time.monotonic()):
                return
        except TimeoutError as error:
            api.ovsdb_connection.force_reconnect()
            raise self._silent() from error
        # A transaction waits for a connection, and is tried again on the next one.
        self._run([Barrier(api)], writes=False, seconds=max(until - time.monotonic(), 0))

    def commit(self, commands: Sequence[Any]) -> int:
        """Run commands in one transaction.

        :returns: the next_cfg to wait for.
        :raises OvsdbError: OVSDB refuses; with its own text.
        :raises OvsUnavailable: it does not answer in time; the outcome is then unknown.
        """
        return self._run(commands, writes=True)

    @contextlib.contextmanager
    def committing(self, commands: Sequence[Any]) -> Iterator[Commit]:
        """As ``commit``; the body runs while the server works. The answer is awaited, whatever the body raises.

        :returns: as a context, the answer, which is there after the body.
        """
        with self._turn(self._timeout) as until:
            commit = Commit()
            with self._typed():
                transaction = Transaction(self.api, commands, max(until - time.monotonic(), 0), writes=True)
                transaction.send()
            try:
                yield commit
            except BaseException:
                with contextlib.suppress(VifplugError), self._typed():
                    transaction.next_cfg()  # its ports are there, or not, when they are undone
                raise
            try:
                with self._typed():
                    commit.next_cfg = transaction.next_cfg()
            except _NotWritten as error:
                self._leave_standby()
                raise OvsdbError("OVSDB accepts no writes any more") from error

    def _run(self, commands: Sequence[Any], *, writes: bool, seconds: float | None = None) -> int:
        """:param seconds: how long to wait for the answer; by default the session's time."""
        try:
            return self._run_once(commands, writes=writes, seconds=seconds)
        except _NotWritten:
            self._leave_standby()
        try:
            return self._run_once(commands, writes=writes, seconds=seconds)
        except _NotWritten as error:
            raise OvsUnavailable(
                f"OVSDB at {self._places} accepts no writes: it is a standby, or a read-only remote", self._places
            ) from error

    def _leave_standby(self) -> None:
        """The server has become a standby: nothing was written, and the next connection may be to another one."""
        LOG.warning("OVSDB at %s no longer accepts writes", self.address)
        self.api.ovsdb_connection.force_reconnect()

    def _run_once(self, commands: Sequence[Any], *, writes: bool, seconds: float | None) -> int:
        with self._turn(self._timeout if seconds is None else seconds) as until, self._typed():
            transaction = Transaction(self.api, commands, max(until - time.monotonic(), 0), writes=writes)
            transaction.send()
            return transaction.next_cfg()

    @contextlib.contextmanager
    def _turn(self, seconds: float) -> Iterator[float]:
        """One transaction at a time: each is built from the rows that the one before has left.

        :returns: as a context, the time of the monotonic clock by which the server must have answered.
        """
        until = time.monotonic() + seconds
        if not self._committing.acquire(timeout=seconds):
            raise self._silent()
        try:
            yield until
        finally:
            self._committing.release()

    @contextlib.contextmanager
    def _typed(self) -> Iterator[None]:
        """Raise errors of a transaction as vifplug's own, and ``_NotWritten``."""
        try:
            yield
        except VifplugError:
            raise
        except TimeoutError as error:
            self.api.ovsdb_connection.force_reconnect()
            raise self._silent() from error
        except Refused as error:
            if ovsdb_remotes.NOT_ALLOWED in str(error):
                raise _NotWritten from error
            raise OvsdbError(f"OVSDB refused the transaction: {error}") from error
        except Exception as error:
            # python-ovs and ovsdbapp let various errors through: AttributeError, AssertionError, their own errors.
            raise OvsdbError(f"could not run the OVSDB transaction: {type(error).__name__}: {error}") from error

    def _silent(self) -> OvsUnavailable:
        return OvsUnavailable(
            f"OVSDB at {self._places} did not answer within {self._timeout:g} s{self._turned_away()}; is ovsdb-server "
            "running?",
            self._places,
        )

    def wait_for_all(self, seconds: float | None = None) -> None:
        """Return once vswitchd has carried out every visible transaction.

        :param seconds: how long to wait; by default the session's time.
        :raises TimedOut: it has not in time.
        """
        with self.lock:
            asked = [row.next_cfg for row in self.tables["Open_vSwitch"].rows.values()]
        self.wait(max(asked, default=0), self._timeout if seconds is None else seconds)

    def wait(self, next_cfg: int, seconds: float) -> None:
        """Return once vswitchd has carried out the configuration numbered ``next_cfg``.

        :raises TimedOut: it has not within ``seconds``.
        """
        replica = self.api.idl
        deadline = time.monotonic() + seconds
        with replica.caught_up:
            while replica.cur_cfg < next_cfg:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimedOut(
                        f"ovs-vswitchd did not carry out the change within {round(seconds, 1):g} s "
                        f"(cur_cfg {replica.cur_cfg}, next_cfg {next_cfg}); check that it runs",
                        "ovs-vswitchd",
                    )
                replica.caught_up.wait(left)

    def wait_until_open(self, names: Sequence[str], seconds: float) -> None:
        """Return once vswitchd has opened the devices of these ports, or has tried again and failed.

        Their devices exist by now. vswitchd notices a new device by itself; an earlier "no such device" is not final,
        and if it missed the device's creation, it must be asked to look again.

        :raises TimedOut: it has done neither in time.
        """
        if self._closed(names, min(seconds, _FIRST_LOOK_SECONDS)):
            self._run([IncrementNextCfg(self.api)], writes=False)
            self.wait_for_all(seconds)
            # It may report the result a little after its cur_cfg.
            self._closed(names, min(seconds, _SECOND_LOOK_SECONDS))

    def _closed(self, names: Sequence[str], seconds: float) -> bool:
        """Whether one of these ports is not open at the end, or as soon as one has failed for another reason."""
        replica, until = self.api.idl, time.monotonic() + seconds
        while True:
            seen = replica.update_count
            with self.lock:
                closed = [row for name in names if (row := self.index.row("Interface", name)) and not is_open(row)]
                failed = any(row.error and _NO_DEVICE not in row.error[0] for row in closed)
            if not closed or failed:
                return bool(closed)
            if not replica.wait_for_update(seen, until):
                return True
