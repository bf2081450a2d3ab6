"""From facts to causes and a sentence. Pure.

What follows from another cause is left out: without a device there is no port to trace, and a bridge without flows
drops every traced frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vifplug.trace import of_guest, of_links, of_switch
from vifplug.trace.facts import Facts
from vifplug.trace.values import BOTH, EFFECTS, LIMITS, MAY_STOP, STOPS, Cause

_Check = Callable[[Facts], Iterator[Cause]]
_GUEST: tuple[_Check, ...] = (of_guest.guest_end,)
_HERE: tuple[_Check, ...] = (
    of_guest.drift,
    of_links.foreign_settings,
    of_links.dropped_by_rules,
    of_links.queueing,
    of_links.vanished,
)
_SWITCH: tuple[_Check, ...] = (of_switch.port, of_switch.bridge)
_ELSE: tuple[_Check, ...] = (of_guest.duplicates, of_guest.same_identity, of_links.narrow, of_links.host_limits)


def causes(facts: Facts) -> list[Cause]:
    """Why frames stop, or may, the worst first."""
    processes = list(of_switch.processes(facts))
    listed = [*processes]
    listed += _of(facts, _HERE)
    is_drifted = any(cause.effect == STOPS for cause in listed)
    if not is_drifted:
        # A tap that is missing, or down, is drift: there may be a guest all the same.
        listed += [*_of(facts, _GUEST)]
        listed += [] if any(cause.effect == STOPS for cause in listed) else of_links.broken(facts)
    is_broken = any(cause.effect == STOPS for cause in listed if cause not in processes)
    if not is_drifted:
        switch = _of(facts, _SWITCH)
        listed += switch
        if not (facts.vswitchd_error or any(cause.effect == STOPS for cause in switch)):
            is_odd = any(cause.effect == MAY_STOP for cause in switch)
            listed += [cause for cause in of_switch.flows(facts) if not is_odd or cause.effect == STOPS]
    if not is_broken:
        listed += _of(facts, _ELSE)
    return sorted(dict.fromkeys(listed), key=lambda cause: EFFECTS.index(cause.effect))


def _of(facts: Facts, checks: Sequence[_Check]) -> list[Cause]:
    return [cause for check in checks for cause in check(facts)]


def sentence(facts: Facts, listed: Sequence[Cause]) -> str:
    """The result: where frames stop, since when, in which direction, why, and who can mend it."""
    worst = next((cause for cause in listed if cause.effect != LIMITS), None)
    if worst is None:
        nothing = "Nothing that was looked at stops frames of this VIF"
        limits = "; ".join(f"{cause.subject}: {cause.reason} ({cause.remedy})" for cause in listed)
        return f"{nothing}; limits: {limits}." if limits else f"{nothing}."
    verb = "stop" if worst.effect == STOPS else "may stop"
    since = f" since {worst.since}" if worst.since else ""
    direction = worst.direction if worst.direction != BOTH else "from the guest and to it"
    return (
        f"Frames {direction} {verb} at {worst.subject}{since}: {worst.reason}. {_capital(worst.actor)}: {worst.remedy}"
    )


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}" if not text.startswith("vifplug") else text
