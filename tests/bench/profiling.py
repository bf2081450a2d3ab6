"""``--profile``: the time of a plug and of an unplug, by phases, and by functions of the calling process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.bench import catalogue as c
from tests.bench import contestants
from tests.bench.contestants import Contestant
from tests.bench.course import Course

_COUNT = 30
_BATCH = 100
_TOLD_MS = 0.005


def profile(course: Course, there: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """One hybrid VIF at a time, the same again, and a hundred in a batch; each by phases."""
    course.fill(there)
    rows = []
    with Contestant(course.world, contestants.vifplug_argv(course.world), "--trace") as process:
        warm = course.requests(c.HYBRID, 3)
        process.each("plug", warm)
        process.each("unplug", warm)
        entry, many = course.requests(c.HYBRID, _COUNT), course.requests(c.HYBRID, _BATCH)
        for title, act, count in (
            ("plug one", lambda: _each(course, process, "plug", entry), _COUNT),
            ("replug one that is right", lambda: _each(course, process, "plug", entry), _COUNT),
            ("unplug one", lambda: _each(course, process, "unplug", entry), _COUNT),
            (f"plug {_BATCH} in a batch, each", lambda: process.together("plug", many), _BATCH),
            (f"unplug {_BATCH} in a batch, each", lambda: process.together("unplug", many), _BATCH),
        ):
            course.rest(course.world)
            process.ask("trace")
            act()
            reported = process.ask("trace")
            say(_table(f"{title}, {there} there", reported, count))
            rows.append({"work": title, "there": there, "count": count, **reported})
        course.rest(course.world)
        more = course.requests(c.HYBRID, _COUNT)
        process.ask("profile")
        process.each("plug", more)
        functions = process.ask("profile")
        process.each("unplug", more)
    say(f"\nplug one, {there} there: functions of the calling process, {_COUNT} plugs (cProfile slows Python down)")
    say("\n".join(line for line in functions.splitlines() if line.strip()))
    return [*rows, {"work": "plug one", "there": there, "count": _COUNT, "functions": functions}]


def _each(course: Course, process: Contestant, verb: str, requests: Any) -> None:
    for request in requests:
        course.rest(course.world)
        process.each(verb, [request])


def _table(title: str, reported: dict[str, Any], count: int) -> str:
    total = sum(seconds for _calls, seconds in reported["phases"].values())
    lines = [
        f"\n{title}: {1000 * total / count:.2f} ms",
        f"{'PHASE (without those inside it)':<44}{'CALLS':>8}{'ms':>9}",
    ]
    for name, (calls, seconds) in sorted(reported["phases"].items(), key=lambda item: -item[1][1]):
        if 1000 * seconds / count >= _TOLD_MS:
            share = 100 * seconds / total
            lines.append(f"{name:<44}{calls / count:>8.2f}{1000 * seconds / count:>9.3f}{share:>5.0f} %")
    lines.append("of which inside, in whichever process:")
    for name, (calls, seconds) in sorted(reported["parts"].items(), key=lambda item: -item[1][1]):
        if calls:
            lines.append(f"  {name:<42}{calls / count:>8.2f}{1000 * seconds / count:>9.3f}")
    if reported["untraced"]:
        lines.append(f"seams that are not there any more: {', '.join(reported['untraced'])}")
    return "\n".join(lines)
