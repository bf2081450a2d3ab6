"""The watchers: threads that hear of changes of OVSDB and of links, and put them into the keeper's box."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from vifplug.daemon.log_text import Failing
from vifplug.daemon.reconcile.inbox import News
from vifplug.errors import HelperDied, TimedOut, VifplugError
from vifplug.store.store import Store

LOG = logging.getLogger(__name__)

_LINKS_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_STORE_SECONDS = 0.25
"""SQLite tells nobody that another process has written; to ask it takes microseconds."""


class LinkWatch(Protocol):
    """A socket that hears of links."""

    def changes(self, seconds: float) -> tuple[set[str], set[int]] | None:
        """Names and indexes; None when some were lost."""


class WatchedHost(Protocol):
    """What watchers need of the host."""

    ovs_away: bool

    def follow_ovsdb(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """What changed since the last answer."""

    def watch_links(self) -> LinkWatch:
        """A socket that hears of links from now on."""

    def has_ovs(self) -> bool:
        """Whether there is an OVSDB to ask at all."""


class Watchers:
    """Follow a host, and what others write into its store, until the box is closed.

    :param died: called, once, when the privileged helper has ended.
    :param connected: called with whether OVSDB answers, when that changes.
    """

    def __init__(
        self, host: WatchedHost, store: Store, news: News, died: Callable[[], None], connected: Callable[[bool], None]
    ) -> None:
        self._host, self._store, self._news, self._died, self._connected = host, store, news, died, connected
        # Opened before anything is looked at: what changes in between must be heard of.
        self._links = host.watch_links()

    def start(self) -> None:
        """Start the threads; they end with the process, or soon after the box is closed."""
        for work in (self._follow_ovsdb, self._follow_links, self._follow_store):
            threading.Thread(target=work, name=work.__name__.strip("_"), daemon=True).start()

    def _follow_ovsdb(self) -> None:
        told: Mapping[str, Any] = {}
        failing = Failing(LOG)
        while not self._news.closed:
            try:
                answer = self._host.follow_ovsdb(told)
                self._hear(told, answer)
                told = answer
                failing.over("OVSDB is followed again")
            except (HelperDied, TimedOut) as error:
                # The verb has a deadline of its own, long past: a helper that is stopped or stuck is as good as dead.
                if not self._news.closed:  # else we have ended it ourselves
                    LOG.error("%s", error)
                    self._died()
                return
            except Exception as error:
                # Whatever it is: a thread that ends is deaf for good. What was told is asked for again.
                failing.say(f"could not follow OVSDB: {error}", None if isinstance(error, VifplugError) else error)
                self._news.rest(_AGAIN_SECONDS)

    def _hear(self, told: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        if answer["connected"] != told.get("connected"):
            self._connected(answer["connected"])
        if answer["everything"] and answer["connected"]:
            self._news.doubt("ovsdb")
        self._news.changed([*answer["port"], *answer["owner"]], answer["bridge"])

    def _follow_links(self) -> None:
        while not self._news.closed:
            try:
                changes = self._links.changes(_LINKS_SECONDS)
            except VifplugError as error:
                LOG.error("%s; everything is compared every now and then all the same", error)
                return
            if changes is None:
                self._news.doubt("netlink")
                continue
            names, indexes = changes
            self._news.changed({*names, *(f"#{index}" for index in indexes)})

    def _follow_store(self) -> None:
        known: int | None = None
        while not self._news.closed:
            with contextlib.suppress(sqlite3.Error):
                others, _own = self._store.version()
                if others != known:
                    known = others
                    self._store.tell_listeners(None)
            self._news.rest(_STORE_SECONDS)
