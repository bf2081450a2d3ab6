"""Draws a table of layout.py's layout on a terminal, with rich.

Imported only for a terminal, because rich takes a tenth of a second to import.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from vifplug.cli import layout
from vifplug.cli.layout import NOTHING, Screen, Shape

_INDENT = 4
_ASCII = box.Box(str(box.SIMPLE_HEAD).replace("─", "-"), ascii=True)


class Grid:
    """A table with fixed column widths: rich's own layout narrows all columns until none can be read."""

    def __init__(self, shape: Shape, widths: Sequence[int], styles: Mapping[str, str], screen: Screen) -> None:
        """An empty table.

        :param widths: as for ``fit``.
        :param styles: by value.
        """
        self._shape, self._widths, self._styles, self._screen = shape, widths, styles, screen
        self._layout = layout.fit(shape, widths, screen.width)

    def whole(self, rows: Sequence[Sequence[str]]) -> str:
        """The whole table, and the names of the hidden columns."""
        return self._drawn([*self._parts(rows, self._table(is_headed=True)), *self._hidden()])

    def head(self) -> str:
        """The header for rows that are printed one by one, with the hidden columns, because there is no last line."""
        return self._drawn([*self._hidden(), self._table(is_headed=True)])

    def row(self, cells: Sequence[str]) -> str:
        """A row; with a new header if it is wider than expected and other columns fit now."""
        known = zip(self._shape.headers, cells, self._widths, strict=True)
        widths = [old if header in self._shape.texts else max(old, cell_len(cell)) for header, cell, old in known]
        before, self._widths = self._layout, widths
        self._layout = layout.fit(self._shape, widths, self._screen.width)
        above = [] if self._layout == before else [self.head()]
        return "\n".join([*above, self._drawn(self._parts([cells], self._table()))])

    def _table(self, *, is_headed: bool = False) -> Table:
        rules = box.SIMPLE_HEAD if self._screen.unicode else _ASCII
        # One character of each gap belongs to the box.
        padding = (0, layout.GAP - 1, 0, 0)
        table = Table(box=rules, show_header=is_headed, show_edge=False, pad_edge=False, padding=padding)
        for place, width in self._layout.beside.items():
            table.add_column(self._shape.headers[place], width=width, overflow="fold")
        return table

    def _parts(self, rows: Sequence[Sequence[str]], table: Table) -> Iterator[RenderableType]:
        """Tables, one below the other, with the values without a column between them."""
        for cells in rows:
            beside = [cells[place] for place in self._layout.beside]
            table.add_row(*(Text(cell, style=self._styles.get(cell, "")) for cell in beside))
            if any(cells[place] != NOTHING for place in self._layout.below):
                yield table
                yield self._below(cells)
                table = self._table()
        if table.row_count or table.show_header:
            yield table

    def _below(self, cells: Sequence[str]) -> Padding:
        """Values with their names; on one line if they fit."""
        named = [f"{self._shape.headers[place].lower()}: {cells[place]}" for place in self._layout.below]
        together = (" " * layout.GAP).join(named)
        is_short = cell_len(together) + _INDENT <= self._screen.width
        return Padding(Text(together if is_short else "\n".join(named)), (0, 0, 0, _INDENT))

    def _hidden(self) -> list[Text]:
        if not self._layout.left_out:
            return []
        names = ", ".join(self._shape.headers[place] for place in self._layout.left_out)
        return [Text(f"Hidden: {names} ({self._shape.alternatives})", style="dim")]

    def _drawn(self, parts: Iterator[RenderableType] | Sequence[RenderableType]) -> str:
        # An id is never cut, even if the terminal wraps it.
        width = max(self._screen.width, *self._layout.beside.values())
        return _text(Group(*parts), width, self._screen)


def table(shape: Shape, rows: Sequence[Sequence[str]], styles: Mapping[str, str], screen: Screen) -> str:
    """A table that fits, and the names of the hidden columns."""
    places = range(len(shape.headers))
    widths = [max((cell_len(row[at]) for row in rows if row[at] != NOTHING), default=0) for at in places]
    return Grid(shape, widths, styles, screen).whole(rows)


def hanging(named: Sequence[tuple[str, str]], screen: Screen) -> str:
    """A line for each name and value; a long value is wrapped below itself."""
    grid = Table.grid(padding=(0, layout.GAP, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in named:
        grid.add_row(Text(name), Text(value))
    return _text(grid, screen.width, screen)


def _text(drawing: RenderableType, width: int, screen: Screen) -> str:
    file = io.StringIO()
    # Without a colour system there are no escape codes at all; rich's no_color leaves bold and dim. rich ignores a
    # width without a height.
    Console(
        file=file,
        width=width,
        height=25,
        color_system="standard" if screen.color else None,
        highlight=False,
        markup=False,
        emoji=False,
    ).print(drawing)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())
