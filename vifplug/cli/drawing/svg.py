"""A picture as SVG: one file without scripts, fonts and links, which any browser shows. All text is escaped. Pure."""

from __future__ import annotations

import xml.sax.saxutils
from collections.abc import Sequence
from dataclasses import dataclass

from vifplug.cli.drawing.graph import BAD, GOOD, PLAIN, WAITING, Box, Graph

_FONT, _LINE, _PAD, _GAP_X, _GAP_Y, _MARGIN, _HEAD = 13, 18, 10, 56, 12, 24, 34
"""Pixels."""
_CHARACTER = 7.9
"""The width of a character of the monospaced font."""
_LONGEST = 100
"""Characters of a line; longer ones are cut."""
_STYLE = """\
svg{background:#fff}text{font:13px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#1d1b20}
.title{font-weight:bold;font-size:15px}.claims{fill:#5f5b66;font-size:11px}.name{font-weight:bold}
rect{rx:6;stroke-width:1.5}.plain rect{fill:#f3f1f7;stroke:#79747e}.good rect{fill:#e3f4e6;stroke:#1f7a36}
.waiting rect{fill:#fff4d6;stroke:#8a6100}.bad rect{fill:#fde2e1;stroke:#b3261e}.bad text{fill:#601410}
path{fill:none;stroke-width:2}path.good,path.plain{stroke:#1f7a36}path.waiting{stroke:#8a6100;stroke-dasharray:2 4}
path.bad{stroke:#b3261e;stroke-dasharray:7 5}"""


@dataclass(slots=True)
class _Placed:
    box: Box
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0


def svg(graph: Graph) -> str:
    """The picture. Columns go from left to right; a box is beside the middle of what it is joined to."""
    placed = [_sized(box) for box in graph.boxes]
    _place(placed, graph)
    texts = (graph.title, graph.claims)
    width = max([box.x + box.width for box in placed] + [len(text) * _CHARACTER for text in texts]) + 2 * _MARGIN
    bottom = max([box.y + box.height for box in placed], default=_HEAD + _MARGIN)
    height = bottom + _MARGIN + (_LINE if graph.claims else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{_escaped(graph.title)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text class="title" x="{_MARGIN}" y="{_MARGIN + _FONT}">{_escaped(graph.title)}</text>',
    ]
    parts += [_joined(placed[line.near], placed[line.far], line.look) for line in graph.lines]
    for box in placed:
        parts += _drawn(box)
    if graph.claims:
        parts.append(f'<text class="claims" x="{_MARGIN}" y="{height - _FONT:.0f}">{_escaped(graph.claims)}</text>')
    return "\n".join([*parts, "</svg>"])


def _sized(box: Box) -> _Placed:
    lines = [_cut(line) for line in box.lines]
    width = max((len(line) for line in lines), default=0) * _CHARACTER + 2 * _PAD
    return _Placed(box=box, width=width, height=len(lines) * _LINE + 2 * _PAD)


def _place(placed: Sequence[_Placed], graph: Graph) -> None:
    """Below each other within a column; the middle column's bridges beside the first of their VIFs."""
    columns = sorted({each.box.column for each in placed})
    x = float(_MARGIN)
    for column in columns:
        own = [each for each in placed if each.box.column == column]
        y = float(_HEAD + _MARGIN)
        for each in own:
            each.x, each.y = x, y
            y += each.height + _GAP_Y
        x += max(each.width for each in own) + _GAP_X
    followers: dict[int, list[int]] = {}
    for line in graph.lines:
        followers.setdefault(line.near, []).append(line.far)
    # From right to left, so that what is joined is placed already; boxes of a column never overlap.
    for column in reversed(columns[:-1]):
        free = float(_HEAD + _MARGIN)
        for place, each in enumerate(placed):
            if each.box.column != column:
                continue
            beside = [placed[far] for far in followers.get(place, ()) if placed[far].box.column > column]
            wanted = min((far.y for far in beside), default=free)
            each.y = max(free, wanted)
            free = each.y + each.height + _GAP_Y


def _joined(near: _Placed, far: _Placed, look: str) -> str:
    if near.box.column > far.box.column:
        near, far = far, near
    start, end = near.x + near.width, far.x
    top, bottom = near.y + near.height / 2, far.y + far.height / 2
    bend = (start + end) / 2
    return (
        f'<path class="{look}" d="M{start:.0f} {top:.0f} C{bend:.0f} {top:.0f} {bend:.0f} {bottom:.0f} '
        f'{end:.0f} {bottom:.0f}"/>'
    )


def _drawn(each: _Placed) -> list[str]:
    look = each.box.look if each.box.look in (GOOD, WAITING, BAD) else PLAIN
    parts = [
        f'<g class="{look}">',
        f'<rect x="{each.x:.0f}" y="{each.y:.0f}" width="{each.width:.0f}" height="{each.height:.0f}"/>',
    ]
    for number, line in enumerate(each.box.lines):
        name = ' class="name"' if number == 0 else ""
        y = each.y + _PAD + number * _LINE + _FONT
        parts.append(
            f'<text{name} x="{each.x + _PAD:.0f}" y="{y:.0f}" xml:space="preserve">{_escaped(_cut(line))}</text>'
        )
    return [*parts, "</g>"]


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def _escaped(text: str) -> str:
    # Of control characters, which printable() has escaped, XML takes none.
    return xml.sax.saxutils.escape("".join(char for char in text if char.isprintable()), {'"': "&quot;", "'": "&#39;"})
