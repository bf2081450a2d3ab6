"""How a table is laid out on a terminal: which columns fit, what goes beneath a row, and what is left out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NOTHING = "-"
"""What stands where there is no value."""
READABLE = 40
"""The least width a longer text is folded to; with less room it goes beneath its row."""
GAP = 2
"""Between columns."""


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
    free = room + GAP  # the first has no gap before it
    for place in (*needed, *spare):
        # Goes on past one that is too wide: a narrow one of less importance is better than an empty margin.
        if not beside or full[place] + GAP <= free:
            beside[place] = full[place]
            free -= full[place] + GAP
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
    rest = free - sum(shares) - GAP * len(shares)
    if rest < 0:
        return []
    for place, width in enumerate(full):
        more = min(width - shares[place], rest)
        shares[place] += more
        rest -= more
    return shares
