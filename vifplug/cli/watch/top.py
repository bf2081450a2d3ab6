"""The verb top: the VIFs of a host on a terminal, refreshed as things happen, until q or Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from vifplug import errors
from vifplug.cli import tables
from vifplug.cli.arguments import Options
from vifplug.cli.layout import Screen
from vifplug.cli.verb import Opener, Outcome
from vifplug.cli.verbs_events import changing_nothing
from vifplug.cli.watch.board import Board, Counters, Row, counters_of, in_bits
from vifplug.model import durations

if TYPE_CHECKING:
    from vifplug.api.contract import Host
    from vifplug.model.events import Event

_COUNTERS = "/proc/net/dev"
_INTERVAL_SECONDS = 2.0
_LIST_SECONDS = 10.0
"""Events change the states at once; the list adds what has no event."""
_LEAST_SECONDS = 0.25
"""Between two refreshes that events cause."""
_QUIT = b"qQ\x03\x04"
_EVENT_LINES = 8
_HEAD_LINES = 6
_COLUMNS = ("VIF", "STATE", "FROM GUEST", "TO GUEST", "DROPS", "REPAIRS", "DEVICE", "NOTE")
"""The most important first."""
_NUMBERS = ("FROM GUEST", "TO GUEST", "DROPS", "REPAIRS")
_WIDE, _NARROW = 110, 80
_STYLES = {"failed": "red", "contended": "red", "drifted": "yellow", "active": "green", "wired": "green"}


class _Watch:
    """Reads the host for a board, in threads of its own, so that the terminal is answered at once."""

    def __init__(self, host: Host) -> None:
        self.board = Board()
        self.problem = ""
        self._host = host
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stale = threading.Event()
        self._ended = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[int]:
        """As a context, a descriptor that is readable when there is something new."""
        follower = threading.Thread(target=self._follow, daemon=True)
        lister = threading.Thread(target=self._list, daemon=True)
        follower.start()
        lister.start()
        try:
            yield self._wake_read
        finally:
            self._ended.set()
            self._stale.set()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake_write, b"x")

    def _follow(self) -> None:
        while not self._ended.is_set():
            try:
                for event in self._host.events(follow=True):
                    if self._ended.is_set():
                        return
                    with self._lock:
                        if self.board.see(event):
                            self._stale.set()
                    self._wake()
            except errors.VifplugError as error:
                self._failed(error)
                self._ended.wait(_INTERVAL_SECONDS)

    def _list(self) -> None:
        while not self._ended.is_set():
            self._stale.clear()
            try:
                vifs = self._host.list()
                with self._lock:
                    self.board.list(vifs)
                self.problem = ""
            except errors.VifplugError as error:
                self._failed(error)
            self._wake()
            if self._stale.wait(_LIST_SECONDS):
                self._ended.wait(_LEAST_SECONDS)

    def _failed(self, error: errors.VifplugError) -> None:
        if not self._ended.is_set():
            self.problem = error.message
            self._wake()

    def measure(self) -> None:
        """Read the counters of this network namespace's devices."""
        with open(_COUNTERS, encoding="utf-8", errors="surrogateescape") as file:
            counters: dict[str, Counters] = counters_of(file)
        with self._lock:
            self.board.measure(counters, time.monotonic())

    def drawn(self, width: int, height: int) -> Group:
        """The board for a terminal of that size."""
        with self._lock:
            return drawn(self.board, self.problem, width, height)

    def snapshot(self) -> dict[str, object]:
        """The board as data, once there is a list."""
        with self._lock:
            return self.board.as_json()


def top(options: Options, opener: Opener) -> Outcome:
    """Show the host until q or Ctrl-C; for JSON and YAML, once.

    :raises errors.InputError: there is no terminal.
    """
    if not options.is_plain:
        return _once(options, opener)
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout is not None and sys.stdout.isatty()):
        raise errors.InputError(
            "top needs a terminal; without one use `vifplug top -o json`, `vifplug list` or `vifplug events --follow`"
        )
    with opener(options) as host, contextlib.suppress(KeyboardInterrupt), changing_nothing():
        _show(_Watch(host))
    return Outcome(document=None, text=lambda _: "", is_printed=True)


def _once(options: Options, opener: Opener) -> Outcome:
    with opener(options) as host:
        watch = _Watch(host)
        watch.board.list(host.list())
        watch.measure()
        time.sleep(1)
        watch.measure()
    document = watch.snapshot()
    return Outcome(document=document, text=lambda _screen: "")


def _show(watch: _Watch) -> None:
    console = Console(highlight=False, no_color=not Screen.of(sys.stdout).color)
    watch.measure()
    with watch.running() as news, _keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        measured = shown = time.monotonic()
        while True:
            live.update(watch.drawn(console.width, console.height), refresh=True)
            shown = time.monotonic()
            ready, _, _ = select.select([keys, news], [], [], max(0.0, measured + _INTERVAL_SECONDS - shown))
            if keys in ready and _quits(os.read(keys, 64)):
                return
            if news in ready:
                # Many events are one refresh.
                time.sleep(max(0.0, shown + _LEAST_SECONDS - time.monotonic()))
                os.read(news, 65536)
            if time.monotonic() >= measured + _INTERVAL_SECONDS:
                watch.measure()
                measured = time.monotonic()


def _quits(typed: bytes) -> bool:
    """Whether these keys end it; no bytes mean that the terminal has gone."""
    return not typed or bool(set(typed) & set(_QUIT))


@contextlib.contextmanager
def _keys() -> Iterator[int]:
    """Standard input, key by key and without echo; the terminal is as before afterwards, whatever happens."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def drawn(board: Board, problem: str, width: int, height: int) -> Group:
    """A board for a terminal of that size. Rows that do not fit are counted."""
    counts = "  ".join(f"{state} {count}" for state, count in board.counts().items()) or "no VIFs"
    head = Text(f"vifplug top  {len(board.rows)} VIFs  {counts}  repairs {board.repairs}", style="bold", no_wrap=True)
    events = list(board.events)[-_EVENT_LINES:] if height > 2 * (_EVENT_LINES + _HEAD_LINES) else []
    room = max(1, height - _HEAD_LINES - (len(events) + 1 if events else 0))
    rows = board.ranked()
    table = Table(box=None, pad_edge=False, show_edge=False, expand=False, header_style="bold")
    names = _columns(width)
    for name in names:
        table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True, overflow="ellipsis")
    for row in rows[:room]:
        cells = _cells(row)
        table.add_row(*(cells[name] for name in names))
    more = f"and {len(rows) - room} more; " if len(rows) > room else ""
    foot = Text(
        tables.printable(problem) if problem else f"{more}q quits",
        style="red" if problem else "dim",
        no_wrap=True,
        overflow="ellipsis",
    )
    parts: list[Text | Table] = [head, Text(), table, Text()]
    if events:
        parts += [Text("Last events", style="bold"), *(_event(event) for event in events)]
    return Group(*parts, foot)


def _columns(width: int) -> Sequence[str]:
    """The columns that a terminal of that width has room for."""
    if width >= _WIDE:
        return _COLUMNS
    return _COLUMNS[:5] if width >= _NARROW else _COLUMNS[:2]


def _cells(row: Row) -> dict[str, Text]:
    """By the names of their columns."""
    vif = row.vif
    name = vif.instance.name if vif.instance is not None and vif.instance.name else ""
    note = row.error or (f"waits for {vif.waiting_for}" if vif.waiting_for and not row.device else name)
    texts = {
        "VIF": vif.id,
        "STATE": row.state,
        "FROM GUEST": in_bits(row.received),
        "TO GUEST": in_bits(row.sent),
        "DROPS": str(row.drops),
        "REPAIRS": str(row.repairs),
        "DEVICE": row.device or "-",
        "NOTE": note,
    }
    styles = {"STATE": _STYLES.get(row.state, "")}
    styles |= {name: "yellow" for name, count in (("DROPS", row.drops), ("REPAIRS", row.repairs)) if count}
    return {name: Text(tables.printable(text), style=styles.get(name, "")) for name, text in texts.items()}


def _event(event: Event) -> Text:
    word = tables.event_word(event)
    time_of_day = durations.local(event.time)[11:23]
    text = f"{time_of_day}  {event.vif_id}  {word:<10}  {tables.note_of(event)}"
    return Text(tables.printable(text), style=_STYLES.get(word, ""), no_wrap=True, overflow="ellipsis")
