"""The store, read without any change: a copy in memory, refreshed when the file has changed."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator

from vifplug.errors import StoreError
from vifplug.store import database, directory
from vifplug.store.store import Store

_FRESH_NS = 1_000_000_000
"""A file written this recently may be written again within the same tick of its clock."""


class Snapshot(Store):
    """The read-only store of a state directory. It is empty if there is no file.

    :raises StoreError: when it cannot be read; every write raises it too.
    """

    def __init__(self, state_dir: str) -> None:
        super().__init__(state_dir, "")

    def _check_namespace(self) -> None:
        """The doctor reports another namespace itself."""

    def _opened(self, user: str) -> sqlite3.Connection:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self._owner = directory.inspected(self.state_dir)
        self._traces = database.traces(self.state_dir)
        self._is_settled = all(when + _FRESH_NS < time.time_ns() for *_rest, when in self._traces)
        return database.copied(self.state_dir)

    @contextlib.contextmanager
    def _transaction(self, mode: str = "IMMEDIATE", seconds: float = 0) -> Iterator[sqlite3.Connection]:
        if mode != "DEFERRED":
            raise StoreError(f"the store in {self.state_dir!r} is open for reading only", self.state_dir)
        with self._reading() as copy:
            yield copy

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if not self._is_settled or database.traces(self.state_dir) != self._traces:
                    before, self._database = self._database, self._opened("")
                    before.close()
                yield self._database
            except (OSError, sqlite3.Error) as error:
                raise directory.unusable(self.state_dir, error) from error
