"""The progress of requests of many VIFs, for other threads to read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from vifplug.model.reports import Progress

_NOTHING = Progress()


class UnderWay:
    """The work under way in this process, by VIF. Thread-safe: every change is one operation of a dict."""

    def __init__(self) -> None:
        self._of: dict[str, Progress] = {}

    def of(self, vif_id: str) -> Progress:
        """The progress of the request that contains this VIF; empty if there is none."""
        return self._of.get(vif_id, _NOTHING)

    @contextlib.contextmanager
    def work(self, vif_ids: Sequence[str], total: int) -> Iterator[Callable[[int], None]]:
        """Work on VIFs; call the function with the number of those done. A request for one VIF has no progress."""
        if len(vif_ids) < 2:
            yield _ignore
            return

        def report(done: int) -> None:
            self._of.update(dict.fromkeys(vif_ids, Progress(done=done, total=total)))

        report(0)
        try:
            yield report
        finally:
            for vif_id in vif_ids:
                self._of.pop(vif_id, None)


def _ignore(_done: int) -> None:
    pass
