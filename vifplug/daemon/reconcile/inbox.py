"""The inbox: changes that the watchers have seen and the keeper has not yet processed."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Changes:
    """The changes since the inbox was last drained."""

    names: set[str] = field(default_factory=set)
    """Devices, ports and owners; ``#`` and a number for an ifindex."""
    bridges: set[str] = field(default_factory=set)
    statuses: set[str] = field(default_factory=set)
    """VIFs whose Neutron status changed."""
    records: set[str] = field(default_factory=set)
    """VIFs whose records were written."""
    all_records: bool = False
    """Whether any record may have been written."""
    reasons: set[str] = field(default_factory=set)
    """Reasons to compare everything."""

    def __bool__(self) -> bool:
        return bool(self.names or self.bridges or self.statuses or self.records or self.all_records or self.reasons)


class Inbox:
    """Filled by the watchers, drained by the keeper."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._changes = Changes()
        self._closed = threading.Event()

    def changed(self, names: Iterable[str] = (), bridges: Iterable[str] = ()) -> None:
        """Add changed devices, ports or owners, and changed OVS bridges."""
        with self._condition:
            self._changes.names.update(names)
            self._changes.bridges.update(bridges)
            if self._changes:
                self._condition.notify_all()

    def statuses_changed(self, vif_ids: Iterable[str]) -> None:
        """Add VIFs whose Neutron status changed."""
        with self._condition:
            self._changes.statuses.update(vif_ids)
            self._condition.notify_all()

    def records_written(self, vif_ids: Collection[str] | None) -> None:
        """Add VIFs whose records were written; None if the VIFs are unknown."""
        with self._condition:
            self._changes.all_records |= vif_ids is None
            self._changes.records.update(vif_ids or ())
            self._condition.notify_all()

    def mark_all_stale(self, reason: str) -> None:
        """Add a reason to compare everything."""
        with self._condition:
            self._changes.reasons.add(reason)
            self._condition.notify_all()

    def close(self) -> None:
        """Notify the watchers and the reconciler to end."""
        self._closed.set()
        with self._condition:
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        """Whether watchers and keeper must end."""
        return self._closed.is_set()

    def wait(self, seconds: float) -> None:
        """Return when there is a change, after ``seconds``, or when closed."""
        deadline = time.monotonic() + seconds
        with self._condition:
            while not self.closed and not self._changes:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._condition.wait(left)

    def pause(self, seconds: float) -> None:
        """Let changes accumulate: return after ``seconds``, or when closed."""
        # Changes do not wake it: in a burst that would be a thousand times.
        self._closed.wait(seconds)

    def drain(self) -> Changes:
        """Remove and return all changes."""
        with self._condition:
            changes, self._changes = self._changes, Changes()
            return changes
