"""A trace for people, in one screen: the hops with their counters, the frames, the verdict. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from vifplug.model import printable
from vifplug.trace.values import LIMITS, PASSES, STOPS, Cause, TracedFrame, TraceHop, TraceReport

_HEAD = ("", "HOP", "KIND", "STATE", "MTU", "FROM GUEST", "TO GUEST", "LOST", "NOTES")
_ALIGNED = len(_HEAD) - 1
_SIGNS = {"up": ("●", "*"), "unknown": ("○", "o"), "waiting": ("◌", "~")}
_BAD = ("✗", "!")
_CAUSES_MAX = 5
_WIDTH_MIN = 60
_SINCE_UNKNOWN = "since when is not recorded on this host"


def as_text(report: TraceReport, *, unicode: bool = True, width: int = 0) -> str:
    """The report as lines.

    :param width: of the terminal; 0 for lines of any length.
    """
    vif = report.vif
    title = "  ".join(_plain(part) for part in (f"VIF {vif.id}", vif.vif_type, vif.state, vif.address) if part)
    lines = [title, ""]
    if report.hops:
        lines += [*_table(report.hops, unicode=unicode), f"(frames counted in {report.seconds:g} s)", ""]
    lines += [line for frame in report.frames for line in [_frame(frame)]]
    lines += [""] if report.frames else []
    if report.probe is not None:
        lines += [_probe(report), ""]
    lines += [_plain(report.verdict)]
    lines += list(_causes(report.causes))
    lines += ["", f"Not looked at: {', '.join(map(_plain, report.claims.not_looked_at))}."]
    return "\n".join(_folded(line, width) for line in lines)


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in printable.text(text))


def _table(hops: Sequence[TraceHop], *, unicode: bool) -> Iterator[str]:
    rows = [_HEAD, *(_row(hop, unicode=unicode) for hop in hops)]
    widths = [max(len(row[place]) for row in rows) for place in range(_ALIGNED)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def _row(hop: TraceHop, *, unicode: bool) -> tuple[str, ...]:
    sign = _SIGNS.get(hop.state, _BAD)[0 if unicode else 1]
    lost = "" if hop.counted is None else str(hop.counted.lost)
    counts = ("" if count is None else str(count) for count in (hop.from_guest, hop.to_guest))
    mtu = "" if hop.mtu is None else str(hop.mtu)
    return (sign, _plain(hop.name), hop.kind, hop.state, mtu, *counts, lost, "; ".join(map(_plain, _notes(hop))))


def _notes(hop: TraceHop) -> Iterator[str]:
    yield from hop.notes
    yield from (f"drift: {item}" for item in hop.drift[:1])
    if hop.port is not None and hop.port.policing_rate:
        yield f"policing {hop.port.policing_rate} kbit/s"
    for entry in hop.stations[:1]:
        age = "" if entry.age is None else f", {entry.age:.0f} s ago"
        yield f"{entry.address} on {entry.port}{age}"
    yield from hop.queueing[:1]
    yield from hop.rules[:1]


def _frame(frame: TracedFrame) -> str:
    to = frame.actions if frame.outcome == PASSES else frame.reason
    word = "passes to" if frame.outcome == PASSES else f"{frame.outcome}:"
    return _plain(f"{frame.bridge}: {frame.frame} {frame.direction}: {word} {to}")


def _probe(report: TraceReport) -> str:
    probe = report.probe
    if probe is None or not probe.sent:
        return f"Probe: no frame was sent: {probe.reason if probe else ''}"
    reached = ", ".join(map(_plain, probe.reached)) or "no hop"
    if probe.stopped_at:
        return f"Probe: {probe.sent} frames were sent; they reached {reached}, and stopped before {probe.stopped_at}"
    return f"Probe: {probe.sent} frames were sent; they reached {reached}: {probe.reason}"


def _causes(causes: Sequence[Cause]) -> Iterator[str]:
    """Besides the verdict's own: since when, if that is not known, and the other causes."""
    worst = next((cause for cause in causes if cause.effect == STOPS), None)
    if worst is not None and worst.since is None:
        yield f"({_SINCE_UNKNOWN})"
    # A verdict without a worse cause names every limit.
    named = worst or next((cause for cause in causes if cause.effect != LIMITS), None)
    shown = [cause for cause in causes if cause is not named] if named else []
    for cause in shown[:_CAUSES_MAX]:
        yield _plain(f"Also: {cause.subject} {cause.effect}: {cause.reason}. {cause.actor}: {cause.remedy}")
    if len(shown) > _CAUSES_MAX:
        yield f"and {len(shown) - _CAUSES_MAX} more: -o json"


def _folded(line: str, width: int) -> str:
    if not width or len(line) <= width:
        return line
    return "\n".join(textwrap.wrap(line, max(width, _WIDTH_MIN), subsequent_indent="    ", break_on_hyphens=False))
