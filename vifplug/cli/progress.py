"""How far a request of many VIFs has come, said to a person at a terminal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from vifplug.cli import streams
from vifplug.errors import VifplugError

if TYPE_CHECKING:
    from vifplug.cli.contract import Library
    from vifplug.events import Event

_PAUSE_SECONDS = 1.0


@contextlib.contextmanager
def shown(host: Library, doing: str, ids: Sequence[str], state: str) -> Iterator[None]:
    """Say what is done to many, and every second how many have reached a state, when it is more than before.

    :param state: what each of them becomes, as its event says.
    """
    if len(ids) < 2 or not streams.is_watched():
        yield
        return
    streams.tell_of_many(doing, len(ids))
    left, done = set(ids), threading.Event()
    if _is_daemon(host):
        # Not beside a host of our own: the privileged helper may be forked beneath the threads.
        threading.Thread(target=_follow, args=(host, left, state), daemon=True).start()
        threading.Thread(target=tell, args=(len(ids), left, state, done.wait), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _is_daemon(host: Library) -> bool:
    from vifplug.client import DaemonHost

    return isinstance(host, DaemonHost)


def _follow(host: Library, left: set[str], state: str) -> None:
    # What goes wrong here the request itself will say, if it goes wrong there, too.
    with contextlib.suppress(VifplugError, OSError):
        strike_out(host.events(follow=True), left, state)


def strike_out(events: Iterable[Event], left: set[str], state: str) -> None:
    """Take those out of ``left`` that reach a state, until none is left."""
    for event in events:
        if event.state == state:
            left.discard(event.vif_id)
        if not left:
            return


def tell(count: int, left: Collection[str], state: str, done: Callable[[float], bool]) -> None:
    """A line whenever fewer are left than at the last look.

    :param done: waits so many seconds, and is true when there is nothing more to tell.
    """
    said = count
    while not done(_PAUSE_SECONDS):
        if len(left) < said:
            said = len(left)
            streams.tell(f"{count - said} of {count} VIFs are {state}")
