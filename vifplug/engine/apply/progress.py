"""How far requests of many VIFs have come, for other threads to read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from vifplug.model.reports import Progress

_NOTHING = Progress()


class UnderWay:
    """What is under way in this process, by VIF. Safe to share between threads: every change is one of a dict's own."""

    def __init__(self) -> None:
        self._of: dict[str, Progress] = {}

    def of(self, vif_id: str) -> Progress:
        """How far the request of many has come that this VIF is in; of nothing, when there is none."""
        return self._of.get(vif_id, _NOTHING)

    @contextlib.contextmanager
    def work(self, vif_ids: Sequence[str], total: int) -> Iterator[Callable[[int], None]]:
        """Work on VIFs; call the function with how much of it is done. A request for one VIF has no progress."""
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
