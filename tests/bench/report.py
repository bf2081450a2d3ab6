"""The tables for a person, and the document for a program. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from tests.bench import catalogue as c
from tests.bench import tally
from tests.bench.figures import Figures, Spread, ratio, spread
from tests.bench.targets import TARGETS

_WIDTH = 120
_FACTOR = {c.MS: 1000.0}


def _digits(value: float) -> str:
    if value == 0:
        return "0"
    magnitude = abs(value)
    return f"{value:.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def _cell(samples: Sequence[float] | None, unit: str) -> str:
    if not samples:
        return "-"
    reported = spread([sample * _FACTOR.get(unit, 1) for sample in samples])
    return f"{_digits(reported.median)} ({_digits(reported.low)}-{_digits(reported.high)})"


def _ratio_text(reported: Spread) -> str:
    return f"{reported.median:.3f} ({reported.low:.3f}-{reported.high:.3f})"


def _compared(figures: Figures, work: str, kind: str, there: int) -> str:
    """The better known of ours over os-vif's."""
    theirs = figures.of(work, kind, there, c.OS_VIF)
    ours = figures.of(work, kind, there, c.LIBRARY) or figures.of(work, kind, there, c.DAEMON)
    return _ratio_text(ratio(ours, theirs)) if theirs and ours and any(theirs) else "-"


def _laid_out(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def table(figures: Figures) -> str:
    """Every number, and its method of measurement."""
    rows = [["WORK", "VIF TYPE", "THERE", "UNIT", *(who.upper() for who in c.WHO), "LIBRARY/OS-VIF"]]
    order = {name: number for number, name in enumerate(c.WORKS)}
    measured = [row for row in figures.rows() if row[0] in order]
    for work, kind, there in sorted(measured, key=lambda row: (order[row[0]], row[1])):
        reported = c.work(work)
        cells = [_cell(figures.of(work, kind, there, who), reported.unit) for who in c.WHO]
        compared = "-" if reported.unit == c.MB else _compared(figures, work, kind, there)
        rows.append([reported.title, kind or "-", str(there), reported.unit, *cells, compared])
    head = (
        "medians (quartiles); THERE: VIFs on the host already, all ovs-hybrid.\n"
        "OS-VIF: among VIFs as os-vif leaves them; all others, and OS-VIF, OURS: among those that vifplug has plugged."
    )
    return "\n".join([head, "", *_laid_out(rows), "", *_counts(figures), "How each was taken:", *_hows(figures)])


def _counts(figures: Figures) -> Iterator[str]:
    """The work of one request, in a separate table."""
    rows = [["COUNTS", "VIF TYPE", "WHO", *(name.upper() for name in tally.COUNTED)]]
    for kind in c.KINDS:
        for verb in (c.PLUG, c.REPLUG, c.UNPLUG):
            for who in (c.OS_VIF, c.LIBRARY):
                counted = [figures.of(c.count(name, verb), kind, c.FEW, who) for name in tally.COUNTED]
                if any(counted):
                    cells = [f"{samples[0]:.0f}" if samples else "-" for samples in counted]
                    rows.append([f"of one {verb}", kind, who, *cells])
    if len(rows) > 1:
        yield from _laid_out(rows)
        yield ""


def _hows(figures: Figures) -> Iterator[str]:
    hows: dict[str, list[str]] = {}
    for work in dict.fromkeys(work for work, _kind, _there in figures.rows()):
        reported = c.work(work)
        titles = hows.setdefault(reported.how, [])
        title = "counts" if reported.unit == c.TIMES else reported.title
        titles += [title] if title not in titles else []
    for how, titles in hows.items():
        yield textwrap.fill(f"{', '.join(titles)}: {how}", _WIDTH, initial_indent="- ", subsequent_indent="  ")


def writes_of_replug(figures: Figures) -> list[float] | None:
    """The writes of a replug of a VIF that already matches, all kinds together; None if they were not counted."""
    counted = [
        figures.of(c.count(name, c.REPLUG), kind, c.FEW, c.LIBRARY)
        for name in (tally.CHANGES, tally.WRITES)
        for kind in (c.HYBRID, c.OVS)
    ]
    if not all(counted):
        return None
    return [value for samples in counted for value in samples or []]


def verdicts(figures: Figures) -> list[dict[str, Any]]:
    """Every target: its bound, the measurement, and whether it is met (None: not measured)."""
    rows: list[dict[str, Any]] = []
    for target in TARGETS:
        measured = target.measure(figures)
        verdict: dict[str, Any] = {"target": target.text, "bound": target.bound, "at_least": target.at_least}
        verdict |= {"unit": target.unit, "measured": None, "low": None, "high": None, "met": None}
        if measured is not None:
            verdict |= {"measured": measured.median, "low": measured.low, "high": measured.high}
            verdict["met"] = target.met(measured)
        rows.append(verdict)
    writes = writes_of_replug(figures)
    verdict = {"target": "replug of a right VIF: writes", "bound": 0, "at_least": False, "unit": "writes"}
    reported = None if writes is None else sum(writes)
    return [
        *rows,
        {
            **verdict,
            "measured": reported,
            "low": reported,
            "high": reported,
            "met": None if reported is None else reported == 0,
        },
    ]


def target_table(figures: Figures) -> str:
    """The table of the targets."""
    rows = [["TARGET", "BOUND", "MEASURED", ""]]
    for each in verdicts(figures):
        word = "at least" if each["at_least"] else "at most"
        is_ratio = each["unit"] == "x"
        bound = f"{word} {each['bound']:.3f}" if is_ratio else f"{word} {each['bound']:g} {each['unit']}"
        if each["measured"] is None:
            rows.append([each["target"], bound, "not in this run", "-"])
            continue
        digits = 3 if is_ratio else 1
        measured = f"{each['measured']:.{digits}f} ({each['low']:.{digits}f}-{each['high']:.{digits}f})"
        rows.append([each["target"], bound, measured, "met" if each["met"] else "NOT MET"])
    return "\n".join(_laid_out(rows))


def is_slower(compared: Spread, unit: str) -> bool:
    """Whether this commit is slower (or larger) than the other by more than the spread of the ratios."""
    return compared.high < 1 if unit == c.PER_SECOND else compared.low > 1


def beside_table(figures: Figures) -> str:
    """This commit beside another (``--beside``): medians, their ratio, and whether it is slower."""
    rows = [["WORK", "VIF TYPE", "THERE", "UNIT", "BY", "THIS", "OTHER", "THIS/OTHER", ""]]
    for work, kind, there in figures.rows():
        for who, other in c.BESIDE.items():
            ours, theirs = figures.of(work, kind, there, who), figures.of(work, kind, there, other)
            if not ours or not theirs:
                continue
            reported, compared = c.work(work), ratio(ours, theirs)
            cells = [_cell(samples, reported.unit) for samples in (ours, theirs)]
            verdict = "SLOWER" if is_slower(compared, reported.unit) else ""
            rows.append(
                [reported.title, kind or "-", str(there), reported.unit, who, *cells, _ratio_text(compared), verdict]
            )
    return "\n".join(_laid_out(rows))


def document(figures: Figures, machine: dict[str, Any]) -> dict[str, Any]:
    """The whole result; times are in seconds."""
    rows = [
        {
            "work": key.work,
            "title": c.work(key.work).title,
            "unit": "s" if c.work(key.work).unit == c.MS else c.work(key.work).unit,
            "kind": key.kind,
            "there": key.there,
            "who": key.who,
            "n": len(samples),
            "median": spread(samples).median,
            "quartiles": [spread(samples).low, spread(samples).high],
            "samples": samples,
            "how": c.work(key.work).how,
        }
        for key, samples in figures.samples.items()
    ]
    return {"machine": machine, "rows": rows, "targets": verdicts(figures)}
