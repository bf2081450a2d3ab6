"""Events of VIFs, with a sequence; the levels from plugged to active, and whether VIFs have reached them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vifplug.model.codec import Value
from vifplug.model.reports import ACTIVE, PLUGGED, UNPLUGGED, WIRED

LEVELS = (PLUGGED, WIRED, ACTIVE)
"""Each level includes those before it: an active VIF is also wired and plugged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Value):
    """A VIF's state changed."""

    seq: int
    """Its number in the sequence, from 1, in the order of commits; never reused."""
    vif_id: str
    state: str
    """The present state; ``unplugged`` is the last of a VIF."""
    previous: str | None = None
    """The state before; None for the first of a VIF."""
    error: str | None = None
    """The reason, for failed, contended and drifted."""
    instance: str | None = None
    """The guest's UUID, if known."""
    note: str | None = None
    """What was restored of another program's settings, if a port had to be recreated."""
    time: str
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited(Value):
    """A VIF during a wait."""

    id: str
    state: str
    """As of a VIF; absent if it is not plugged here."""
    error: str | None = None
    waits_for: str | None = None
    """What has to be done by which program before it reaches the state; null if it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReport(Value):
    """Whether VIFs have reached a state."""

    reached: bool
    """Whether all of them have."""
    vifs: Sequence[Waited]


def has_reached(state: str, wanted: str) -> bool:
    """Whether a VIF in ``state`` has the level ``wanted``, or a higher one."""
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
    """Whether the control plane has wired a VIF of that state; None if the state does not show it."""
    if state in (PLUGGED, UNPLUGGED):
        return False
    return True if state in (WIRED, ACTIVE) else None
