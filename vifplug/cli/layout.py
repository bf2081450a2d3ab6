"""How a table is laid out on a terminal: which columns fit, what goes beneath a row, and what is left out. Pure.

Drawn by hand: rich takes a second for a thousand rows, a tenth of one to be imported, and squeezes every column of a
table that is too wide until none can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vifplug.cli.tables import Screen

NOTHING = "-"
"""What stands where there is no value."""
READABLE = 40
"""The least width a longer text is folded to; with less room it goes beneath its row."""
_GAP = 2
_INDENT = 4

BOLD, DIM, RED, GREEN, YELLOW = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
_PLAIN = "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a table has, and what may be done to it for want of room.

    A column that is neither spare nor a text is beside the others where there is room and beneath its row where there
    is none; the first is always beside, and whole: it is copied from.
    """

    headers: Sequence[str]
    spare: Sequence[str] = ()
    """Those that may be left out, the most important first."""
    texts: Sequence[str] = ()
    """The last columns, of any length: folded, or beneath their row, all alike. Not shown when all are empty."""
    elsewhere: str = "wider terminal, -o json"
    """Where to see what was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each column of a table goes, by its place among the headers."""

    beside: dict[int, int]
    """In a column of this width, in the headers' order."""
    beneath: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()


def fit(shape: Shape, widths: Sequence[int], room: int) -> Layout:
    """What fits where.

    :param widths: of the widest value of each column; 0 where it has none.
    """
    texts = [shape.headers.index(header) for header in shape.texts]
    spare = [shape.headers.index(header) for header in shape.spare]
    full = [max(width, len(header)) for width, header in zip(widths, shape.headers, strict=True)]
    needed = [place for place in range(len(full)) if place not in texts and place not in spare]
    beside: dict[int, int] = {}
    free = room + _GAP  # the first has no gap before it
    for place in (*needed, *spare):
        # Goes on past one that is too wide: a narrow one of less importance is better than an empty margin.
        if not beside or full[place] + _GAP <= free:
            beside[place] = full[place]
            free -= full[place] + _GAP
    beneath = [place for place in needed if place not in beside]
    if any(widths[place] for place in texts):
        shares = [] if beneath else _shares([full[place] for place in texts], free)
        beside |= zip(texts, shares, strict=False)
        beneath += [] if shares else texts
    left_out = tuple(sorted(place for place in spare if place not in beside))
    return Layout(beside=dict(sorted(beside.items())), beneath=tuple(beneath), left_out=left_out)


def _shares(full: Sequence[int], free: int) -> list[int]:
    """The width of each text beside the other columns; none when there is no room to read them there."""
    shares = [min(width, READABLE) for width in full]
    rest = free - sum(shares) - _GAP * len(shares)
    if rest < 0:
        return []
    for place, width in enumerate(full):
        more = min(width - shares[place], rest)
        shares[place] += more
        rest -= more
    return shares


def extent(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    import unicodedata  # here, because hardly a text needs it

    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def folded(text: str, width: int) -> list[str]:
    """A text in lines, broken between words; a word only when it is longer than a line."""
    lines, line = [], ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if extent(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while extent(line) > width > 1:
            head = _head(line, width)
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line]


def _head(word: str, width: int) -> str:
    """As much of a word as a line takes."""
    end = min(len(word), width)
    while extent(word[:end]) > width:
        end -= 1
    return word[:end]


def hanging(first: str, text: str, width: int) -> list[str]:
    """A text after a heading; its further lines stand under its first."""
    margin = " " * extent(first)
    lines = folded(text, max(width - len(margin), 1))
    return [first + lines[0], *(margin + line for line in lines[1:])]


def painted(text: str, code: str, screen: Screen) -> str:
    """A text in a colour, where there are any."""
    return f"{code}{text}{_PLAIN}" if code and screen.color else text


class Grid:
    """A table's lines on a terminal, row by row."""

    def __init__(self, shape: Shape, widths: Sequence[int], screen: Screen) -> None:
        """:param widths: as ``fit`` takes them."""
        self._headers, self._elsewhere, self._screen = shape.headers, shape.elsewhere, screen
        self._layout = fit(shape, widths, screen.width)
        self._texts = {shape.headers.index(header) for header in shape.texts}

    def head(self) -> list[str]:
        """The columns' names, and a rule under each."""
        rules = [("─" if self._screen.unicode else "-") * width for width in self._layout.beside.values()]
        names = [self._headers[place] for place in self._layout.beside]
        return [
            self._joined(names, [BOLD] * len(names)),
            self._joined(rules, [DIM] * len(rules)),
        ]

    def row(self, cells: Sequence[str], styles: dict[str, str]) -> list[str]:
        """A row's lines.

        :param styles: the colours of the values that have one.
        """
        columns = [
            folded(cells[place], width) if place in self._texts else [cells[place]]
            for place, width in self._layout.beside.items()
        ]
        lines = []
        for number in range(max(map(len, columns))):
            line = [column[number] if number < len(column) else "" for column in columns]
            lines.append(self._joined(line, [styles.get(cell, "") for cell in line]))
        return [*lines, *self._beneath(cells)]

    def foot(self) -> list[str]:
        """What was left out, if anything was."""
        if not self._layout.left_out:
            return []
        names = ", ".join(self._headers[place] for place in self._layout.left_out)
        lines = folded(f"Hidden: {names} ({self._elsewhere})", self._screen.width)
        return [painted(line, DIM, self._screen) for line in lines]

    def _joined(self, cells: Sequence[str], styles: Sequence[str]) -> str:
        parts = []
        for cell, style, width in zip(cells, styles, self._layout.beside.values(), strict=True):
            # Spaces stand outside the colour, so that a line's end can be cut.
            parts.append(painted(cell, style, self._screen) + " " * (width - extent(cell)))
        return (" " * _GAP).join(parts).rstrip()

    def _beneath(self, cells: Sequence[str]) -> Iterator[str]:
        """What has no column, with its name: on one line when that holds it."""
        if all(cells[place] == NOTHING for place in self._layout.beneath):
            return
        named = [(f"{self._headers[place].lower()}: ", cells[place]) for place in self._layout.beneath]
        whole = (" " * _GAP).join(name + cell for name, cell in named)
        if extent(whole) + _INDENT <= self._screen.width:
            yield " " * _INDENT + whole
            return
        for name, cell in named:
            yield from hanging(" " * _INDENT + name, cell, self._screen.width)
