"""How far a request of many VIFs has come, said to a person at a terminal."""

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
    """Say what is done to many, and every second how far it has come, when that is further than before.

    :param counted: what is, in words.
    """
    if len(ids) < 2:
        yield
        return
    output.tell(f"{doing} {len(ids)} VIFs ...")
    done = threading.Event()

    def follow() -> None:
        # What goes wrong here the request itself will say, if it goes wrong there, too.
        with contextlib.suppress(VifplugError, OSError):
            tell(lambda: host.progress(ids[0]), counted, done.wait)

    threading.Thread(target=follow, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def tell(look: Callable[[], Progress], counted: str, done: Callable[[float], bool]) -> None:
    """A line whenever more is done than at the last look.

    :param done: waits so many seconds, and is true when there is nothing more to tell.
    """
    printed = 0
    while not done(_PAUSE_SECONDS):
        found = look()
        if found.done > printed:
            printed = found.done
            output.tell(f"{found.done} of {found.total} {counted}")
