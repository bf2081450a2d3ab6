"""The progress of a request of many VIFs, printed on a terminal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vifplug.cli import output
from vifplug.errors import VifplugError

if TYPE_CHECKING:
    from vifplug.api.contract import Host
    from vifplug.model.reports import Progress

_PAUSE_SECONDS = 1.0


@contextlib.contextmanager
def shown(host: Host, doing: str, ids: Sequence[str], counted: str) -> Iterator[None]:
    """Print what is done to many VIFs, and every second the progress, if there is any.

    :param counted: what is counted, such as "steps are done".
    """
    if len(ids) < 2:
        yield
        return
    output.show_progress(f"{doing} {len(ids)} VIFs ...")
    done = threading.Event()

    def follow() -> None:
        # The request itself reports an error that matters.
        with contextlib.suppress(VifplugError, OSError):
            print_progress(lambda: host.progress(ids[0]), counted, done.wait)

    threading.Thread(target=follow, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def print_progress(read: Callable[[], Progress], counted: str, done: Callable[[float], bool]) -> None:
    """Print a line whenever the progress has grown.

    :param done: waits that many seconds, and returns whether the request has ended.
    """
    printed = 0
    while not done(_PAUSE_SECONDS):
        progress = read()
        if progress.done > printed:
            printed = progress.done
            output.show_progress(f"{progress.done} of {progress.total} {counted}")
