"""The targets: for each the comparison, the bound, and whether it is met (docs/performance.md). Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.bench import catalogue as c
from tests.bench.figures import Figures, Spread, ratio, spread

FULL = 1000
MANY = 400


@dataclass(frozen=True)
class Target:
    """A row of the table of targets."""

    text: str
    bound: float
    measure: Callable[[Figures], Spread | None]
    """The number that is compared with the bound; None if it was not measured in this run."""
    at_least: bool = False
    unit: str = "x"

    def met(self, measured: Spread) -> bool:
        """Whether the median is within the bound."""
        return measured.median >= self.bound if self.at_least else measured.median <= self.bound


def _against(work: str, kind: str, there: int, ours: str, theirs: str) -> Callable[[Figures], Spread | None]:
    def measure(figures: Figures) -> Spread | None:
        ours_samples, theirs_samples = figures.of(work, kind, there, ours), figures.of(work, kind, there, theirs)
        return ratio(ours_samples, theirs_samples) if ours_samples and theirs_samples else None

    return measure


def _gain(there: int) -> Callable[[Figures], Spread | None]:
    """The gain of many concurrent callers over a single one."""

    def measure(figures: Figures) -> Spread | None:
        many = figures.of(c.crowd(32), c.HYBRID, there, c.DAEMON)
        single = figures.of(c.SERIAL, c.HYBRID, there, c.DAEMON)
        return ratio(many, single) if many and single else None

    return measure


def _command(figures: Figures) -> Spread | None:
    command = figures.of(c.CLI, c.HYBRID, c.FEW, c.DAEMON)
    process = figures.of(c.FRESH, c.HYBRID, c.FEW, c.OS_VIF)
    return ratio(command, process) if command and process else None


def _memory(figures: Figures) -> Spread | None:
    samples = figures.of(c.MEMORY, "", FULL, c.DAEMON)
    return spread(samples) if samples else None


def _check(figures: Figures) -> Spread | None:
    check = figures.of(c.CHECK, "", FULL, c.LIBRARY)
    replug = figures.of(c.REPLUG, c.HYBRID, FULL, c.OS_VIF)
    return ratio(check, [FULL * seconds for seconds in replug]) if check and replug else None


def _one(work: str, kind: str, there: int) -> Callable[[Figures], Spread | None]:
    return _against(work, kind, there, c.LIBRARY, c.OS_VIF)


TARGETS: tuple[Target, ...] = (
    Target("hybrid plug, one, few VIFs there (1/5 is the aim)", 1 / 4, _one(c.PLUG, c.HYBRID, c.FEW)),
    Target("hybrid plug, one, 400 VIFs there", 1 / 7, _one(c.PLUG, c.HYBRID, MANY)),
    Target("ovs plug with tap, one", 1 / 3, _one(c.PLUG, c.OVS, c.FEW)),
    Target("replug of a right VIF", 1 / 8, _one(c.REPLUG, c.HYBRID, c.FEW)),
    Target("hybrid unplug, one", 0.55, _one(c.UNPLUG, c.HYBRID, c.FEW)),
    Target("100 hybrid plugs in a batch, each, few there", 1 / 15, _one(c.batch(c.PLUG, 100), c.HYBRID, c.FEW)),
    Target(
        "100 hybrid plugs in a batch, each, 1,000 there, against the floor",
        1.5,
        _against(c.batch(c.PLUG, 100), c.HYBRID, FULL, c.LIBRARY, c.FLOOR),
    ),
    Target("100 hybrid unplugs in a batch, each", 1 / 3, _one(c.batch(c.UNPLUG, 100), c.HYBRID, c.FEW)),
    Target("32 concurrent plugs through the daemon over its serial ones, few there", 2.5, _gain(c.FEW), at_least=True),
    Target("the same, 400 there", 5, _gain(MANY), at_least=True),
    Target("`vifplug plug` through a running daemon, against os-vif's first plug of a process", 1 / 4, _command),
    Target("memory, daemon and helper together, 1,000 VIFs", 150, _memory, unit="MB"),
    Target("check of 1,000 right VIFs, against 1,000 os-vif replugs", 1 / 10, _check),
)
