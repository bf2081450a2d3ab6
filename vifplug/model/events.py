"""What happens to VIFs, as events with a sequence; the levels from plugged to active, and how near VIFs are. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vifplug.model.codec import Value
from vifplug.model.reports import ACTIVE, PLUGGED, UNPLUGGED, WIRED

LEVELS = (PLUGGED, WIRED, ACTIVE)
"""Each holds those before it: what is active is wired and plugged, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Value):
    """A VIF's state changed."""

    seq: int
    """Its place in the sequence, from 1. It is given once, in the order of commits, and never again."""
    vif_id: str
    state: str
    """The state it is in now; ``unplugged`` is the last of a VIF."""
    previous: str | None = None
    """The state before; None for the first of a VIF."""
    error: str | None = None
    """Why, for failed, contended and drifted."""
    instance: str | None = None
    """The guest's UUID, where it is known."""
    note: str | None = None
    """What was restored of what another program had set, where a port had to be made again."""
    time: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited(Value):
    """One VIF that is waited for."""

    id: str
    state: str
    """As of a VIF; absent when it is not plugged here."""
    error: str | None = None
    waits_for: str | None = None
    """Who is to do what before it is where it is waited for; null when it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReport(Value):
    """Whether VIFs are where they are waited for."""

    reached: bool
    """Whether all of them are there."""
    vifs: Sequence[Waited]


def has_reached(state: str, wanted: str) -> bool:
    """Whether a VIF in ``state`` is on the rung ``wanted``, or above it."""
    return state in LEVELS and LEVELS.index(state) >= LEVELS.index(wanted)


def steps(before: str | None, after: str) -> list[str]:
    """The states to report for a VIF, one event each: on the way up, every level; else the new state."""
    if before == after:
        return []
    if after in LEVELS and (before is None or before in LEVELS):
        low = LEVELS.index(before) if before is not None else -1
        return list(LEVELS[low + 1 : LEVELS.index(after) + 1]) or [after]
    return [after]


def is_wired(state: str) -> bool | None:
    """Whether the control plane has a VIF of that state; None if the state does not show it."""
    if state in (PLUGGED, UNPLUGGED):
        return False
    return True if state in (WIRED, ACTIVE) else None
