"""docs/benchmark.svg: times by the number of VIFs on the host, side by side, on logarithmic scales. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.bench import catalogue as c
from tests.bench.figures import Figures, spread

_PANELS = (
    ("plug one", c.PLUG),
    ("replug one", c.REPLUG),
    ("unplug one", c.UNPLUG),
    ("plug 100 in a batch, each", c.batch(c.PLUG, 100)),
    ("unplug 100 in a batch, each", c.batch(c.UNPLUG, 100)),
)
_COLOURS = {c.OS_VIF: "#c0392b", c.VISITOR: "#e59866", c.LIBRARY: "#2471a3", c.DAEMON: "#7d3c98", c.FLOOR: "#7f8c8d"}
_WIDTH, _HEIGHT, _MARGIN, _TOP = 260, 240, 48, 60
_LOWEST_MS, _HIGHEST_MS = 0.3, 1000.0


def _x(there: int, sizes: Sequence[int]) -> float:
    low, high = math.log10(min(sizes)), math.log10(max(sizes))
    return (math.log10(there) - low) / ((high - low) or 1) * (_WIDTH - 2 * _MARGIN + 20) + _MARGIN


def _y(milliseconds: float) -> float:
    low, high = math.log10(_LOWEST_MS), math.log10(_HIGHEST_MS)
    share = (math.log10(min(max(milliseconds, _LOWEST_MS), _HIGHEST_MS)) - low) / (high - low)
    return _TOP + (1 - share) * (_HEIGHT - _TOP - 30)


def _text(x: float, y: float, text: str, *, size: int = 10, anchor: str = "middle", colour: str = "#333") -> str:
    style = f'font-size="{size}" text-anchor="{anchor}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _panel(figures: Figures, title: str, work: str, sizes: Sequence[int]) -> list[str]:
    parts = [_text(_WIDTH / 2, _TOP - 12, title, size=12)]
    for tick in (1, 10, 100, 1000):
        y = _y(tick)
        parts.append(f'<line x1="{_MARGIN}" x2="{_WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(_text(_MARGIN - 4, y + 3, f"{tick} ms", anchor="end"))
    parts += [_text(_x(there, sizes), _HEIGHT - 14, str(there)) for there in sizes]
    for who, colour in _COLOURS.items():
        points = []
        for there in sizes:
            samples = figures.of(work, c.HYBRID, there, who)
            if samples:
                reported = spread([1000 * sample for sample in samples])
                x, y = _x(there, sizes), _y(reported.median)
                points.append(f"{x:.1f},{y:.1f}")
                low, high = _y(reported.low), _y(reported.high)
                parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke="{colour}"/>')
                parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>')
        if points:
            parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return parts


def svg(figures: Figures, caption: str) -> str:
    """The picture; hybrid VIFs, medians with their quartiles."""
    sizes = sorted({there for _work, _kind, there in figures.rows()})
    width = _WIDTH * len(_PANELS)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT + 20}" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(12, 18, "Hybrid VIFs: time by how many VIFs are there already", size=14, anchor="start"),
    ]
    for number, (who, colour) in enumerate(_COLOURS.items()):
        parts.append(_text(width - 330 + 80 * number, 18, who, size=12, anchor="start", colour=colour))
    for number, (title, work) in enumerate(_PANELS):
        parts += [f'<g transform="translate({number * _WIDTH},0)">', *_panel(figures, title, work, sizes), "</g>"]
    parts += [_text(12, _HEIGHT + 12, caption, anchor="start"), "</svg>"]
    return "\n".join(parts) + "\n"
