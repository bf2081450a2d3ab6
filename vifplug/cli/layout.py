"""The layout of a table on a terminal: which columns fit, which go below a row, which are left out.

Pure, but for ``Screen.of``, which looks at the terminal.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TextIO

NOTHING = "-"
"""For an empty value."""
READABLE = 40
"""The least width to which a longer text is folded; with less room it goes below its row."""
GAP = 2
"""Between columns."""
_WIDTH = 80
"""Of a terminal that does not report its width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What the destination of a result can show."""

    terminal: bool = False
    color: bool = False
    unicode: bool = False
    width: int = _WIDTH
    wide: bool = False
    """Every column, whatever the width."""
    columns: Sequence[str] = ()
    """The columns to show, by their headers in capitals; all when empty."""
    headed: bool = True
    """Whether a table has its header."""

    @classmethod
    def of(cls, stream: TextIO | None, **requested: Any) -> Screen:
        """What ``stream`` can show; None is a closed one. NO_COLOR is honoured (no-color.org).

        :param requested: wide, columns and headed.
        """
        terminal = stream is not None and stream.isatty()
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        width = shutil.get_terminal_size((_WIDTH, 24)).columns if terminal else _WIDTH
        unicode = encoding.startswith("utf8")
        return cls(terminal=terminal, color=color, unicode=unicode, width=width, **requested)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The columns of a table, and which may be dropped or moved when there is no room.

    A column that is neither spare nor a text goes beside the others if there is room, else below its row. The first is
    always beside and never cut, so that it can be copied.
    """

    headers: Sequence[str]
    spare: Sequence[str] = ()
    """Columns that may be left out, the most important first."""
    texts: Sequence[str] = ()
    """The last columns, of any length: all folded, or all below their row. Not shown when all are empty."""
    extra: Sequence[str] = ()
    """Columns that only -o wide and --columns show."""
    alternatives: str = "wider terminal, -o wide"
    """Where the hidden columns can be seen."""

    def chosen(self, screen: Screen) -> list[int]:
        """The places of the columns to show, in their order."""
        if screen.columns:
            return [self.headers.index(header) for header in screen.columns]
        return [place for place, header in enumerate(self.headers) if screen.wide or header not in self.extra]

    def only(self, places: Sequence[int]) -> Shape:
        """The shape with some of its columns."""
        headers = [self.headers[place] for place in places]
        spare, texts = ([header for header in kind if header in headers] for kind in (self.spare, self.texts))
        return replace(self, headers=headers, spare=spare, texts=texts, extra=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where each column of a table goes, by its index in the headers."""

    beside: dict[int, int]
    """Index: width, in the headers' order."""
    below: tuple[int, ...] = ()
    left_out: tuple[int, ...] = ()


def fit(shape: Shape, widths: Sequence[int], room: int) -> Layout:
    """The layout for a width.

    :param widths: of the widest value of each column; 0 for an empty column.
    """
    texts = [shape.headers.index(header) for header in shape.texts]
    spare = [shape.headers.index(header) for header in shape.spare]
    full = [max(width, len(header)) for width, header in zip(widths, shape.headers, strict=True)]
    needed = [place for place in range(len(full)) if place not in texts and place not in spare]
    beside: dict[int, int] = {}
    free = room + GAP  # the first has no gap before it
    for place in (*needed, *spare):
        # A column that is too wide is skipped: a narrow, less important one is better than an empty margin.
        if not beside or full[place] + GAP <= free:
            beside[place] = full[place]
            free -= full[place] + GAP
    below = [place for place in needed if place not in beside]
    if any(widths[place] for place in texts):
        shares = [] if below else _shares([full[place] for place in texts], free)
        beside |= zip(texts, shares, strict=False)
        below += [] if shares else texts
    left_out = tuple(sorted(place for place in spare if place not in beside))
    return Layout(beside=dict(sorted(beside.items())), below=tuple(below), left_out=left_out)


def _shares(full: Sequence[int], free: int) -> list[int]:
    """The width of each text beside the other columns; empty when there is too little room."""
    shares = [min(width, READABLE) for width in full]
    free_width = free - sum(shares) - GAP * len(shares)
    if free_width < 0:
        return []
    for place, width in enumerate(full):
        more = min(width - shares[place], free_width)
        shares[place] += more
        free_width -= more
    return shares
