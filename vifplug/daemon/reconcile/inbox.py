"""What the watchers have heard and the keeper has not yet looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Heard:
    """What came since the last time it was taken."""

    names: set[str] = field(default_factory=set)
    """Devices, ports and owners; ``#`` and a number for an ifindex."""
    bridges: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    """VIFs that Neutron said something of."""
    records: set[str] = field(default_factory=set)
    """VIFs whose records were written."""
    all_records: bool = False
    """Whether any record may have been."""
    reasons: set[str] = field(default_factory=set)
    """Why everything is to be compared."""

    def __bool__(self) -> bool:
        return bool(self.names or self.bridges or self.told or self.records or self.all_records or self.reasons)


class News:
    """A box that watchers put things into and the keeper empties."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._heard = Heard()
        self._ended = threading.Event()

    def changed(self, names: Iterable[str] = (), bridges: Iterable[str] = ()) -> None:
        """These devices, ports or owners, or OVS bridges, changed."""
        with self._condition:
            self._heard.names.update(names)
            self._heard.bridges.update(bridges)
            if self._heard:
                self._condition.notify_all()

    def told(self, vif_ids: Iterable[str]) -> None:
        """Neutron said something of these VIFs."""
        with self._condition:
            self._heard.told.update(vif_ids)
            self._condition.notify_all()

    def written(self, vif_ids: Collection[str] | None) -> None:
        """Records of these VIFs were written; None where nobody knows whose."""
        with self._condition:
            self._heard.all_records |= vif_ids is None
            self._heard.records.update(vif_ids or ())
            self._condition.notify_all()

    def doubt(self, reason: str) -> None:
        """Anything may have changed."""
        with self._condition:
            self._heard.reasons.add(reason)
            self._condition.notify_all()

    def close(self) -> None:
        """Nothing is taken any more."""
        self._ended.set()
        with self._condition:
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        """Whether the keeper is to end."""
        return self._ended.is_set()

    def wait(self, seconds: float) -> None:
        """Return when something was heard, after ``seconds``, or when closed."""
        deadline = time.monotonic() + seconds
        with self._condition:
            while not self.closed and not self._heard:
                left = deadline - time.monotonic()
                if left <= 0:
                    return
                self._condition.wait(left)

    def rest(self, seconds: float) -> None:
        """Let more come in: return after ``seconds``, or when closed."""
        # Not woken by what comes in: in a burst that would be a thousand times.
        self._ended.wait(seconds)

    def take(self) -> Heard:
        """What was heard."""
        with self._condition:
            heard, self._heard = self._heard, Heard()
            return heard
