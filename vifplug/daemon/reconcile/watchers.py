"""The watchers: threads that receive changes of OVSDB, links and the store, and put them into the inbox."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vifplug.daemon.rate_limit import RecurringWarning
from vifplug.daemon.reconcile.inbox import Inbox
from vifplug.errors import HelperDied, TimedOut, VifplugError
from vifplug.store.store import Store

LOG = logging.getLogger(__name__)

_LINKS_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_STORE_SECONDS = 0.25
"""SQLite does not notify of other processes' writes; polling it takes microseconds."""


class LinkWatch(Protocol):
    """A socket that receives link changes."""

    def changes(self, seconds: float) -> tuple[set[str], set[int]] | None:
        """Names and indexes of changed links; None when some were lost."""


class WatchedHost(Protocol):
    """The part of the host that watchers need."""

    def follow_ovsdb(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """The changes since the last answer."""

    def follow_filters(self) -> dict[str, Any]:
        """The changes of filters since the last answer."""

    def watch_links(self) -> LinkWatch:
        """A socket that receives link changes from now on."""


class Watchers:
    """Watch a host, and other processes' writes to its store, until the inbox is closed.

    :param died: called once, when the privileged helper has ended.
    :param connected: called with whether OVSDB answers, when that changes.
    :param filters: whether VIFs may have filters.
    """

    def __init__(
        self,
        host: WatchedHost,
        store: Store,
        inbox: Inbox,
        died: Callable[[], None],
        connected: Callable[[bool], None],
        *,
        filters: bool = False,
    ) -> None:
        self._filters = filters
        self._host, self._store, self._inbox, self._died, self._connected = host, store, inbox, died, connected
        # Opened before the first comparison, so that no change in between is missed.
        self._links = host.watch_links()

    def start(self) -> None:
        """Start the threads; they end with the process, or soon after the inbox is closed."""
        of_filters = (self._follow_filters,) if self._filters else ()
        for work in (self._follow_ovsdb, self._follow_links, self._follow_store, *of_filters):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    def _follow_ovsdb(self) -> None:
        last: Mapping[str, Any] = {}
        failing = RecurringWarning(LOG)
        while not self._inbox.closed:
            try:
                answer = self._host.follow_ovsdb(last)
                self._process(last, answer)
                last = answer
                failing.over("OVSDB is followed again")
            except (HelperDied, TimedOut) as error:
                # The verb's own deadline is long past: the helper is stopped or stuck, and is treated as dead.
                if not self._inbox.closed:  # else we have ended it ourselves
                    LOG.error("%s", error)
                    self._died()
                return
            except Exception as error:
                # All errors are caught, because the thread must not end. The same changes are requested again.
                failing.warn(f"could not follow OVSDB: {error}", error=error)
                self._inbox.pause(_AGAIN_SECONDS)

    def _process(self, last: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        if answer["connected"] != last.get("connected"):
            self._connected(answer["connected"])
        if answer["everything"] and answer["connected"]:
            self._inbox.mark_all_stale("ovsdb")
        self._inbox.changed([*answer["port"], *answer["owner"]], answer["bridge"])

    def _follow_links(self) -> None:
        while not self._inbox.closed:
            try:
                changes = self._links.changes(_LINKS_SECONDS)
            except VifplugError as error:
                LOG.error("%s; link changes are only detected by the periodic comparison", error)
                return
            if changes is None:
                self._inbox.mark_all_stale("netlink")
                continue
            names, indexes = changes
            self._inbox.changed({*names, *(f"#{index}" for index in indexes)})

    def _follow_filters(self) -> None:
        failing, may_have_missed = RecurringWarning(LOG), False
        while not self._inbox.closed:
            try:
                answer = self._host.follow_filters()
                failing.over("nftables is followed again")
            except HelperDied:
                return  # the thread that follows OVSDB reports it
            except Exception as error:
                # A helper that did not answer in time may go on, as after a pause of the whole host.
                failing.warn(f"could not follow nftables: {error}", error=error)
                may_have_missed = True
                self._inbox.pause(_AGAIN_SECONDS)
                continue
            if answer["everything"] or may_have_missed:
                may_have_missed = False
                self._inbox.mark_all_stale("nftables")
            self._inbox.changed(answer["owners"])

    def _follow_store(self) -> None:
        known: int | None = None
        while not self._inbox.closed:
            with contextlib.suppress(sqlite3.Error):
                others, _own = self._store.version()
                if others != known:
                    known = others
                    self._store.notify_listeners(None)
            self._inbox.pause(_STORE_SECONDS)
