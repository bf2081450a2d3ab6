"""The targets: for each the comparison, the bound, and whether it is met (docs/performance.md). Pure."""

from __future__ import annotations

import math
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
    """The gain of many concurrent callers over another commit's (``--beside``)."""
    return _against(c.crowd(32), c.HYBRID, there, c.DAEMON, c.OTHER_DAEMON)


def _of_bare(work: str) -> Callable[[Figures], Spread | None]:
    """A whole command, in times of a Python that does nothing."""

    def measure(figures: Figures) -> Spread | None:
        command, bare = figures.of(work, c.HYBRID, c.FEW, c.DAEMON), figures.of(c.BARE, "", c.FEW, c.DAEMON)
        return ratio(command, bare) if command and bare else None

    return measure


def _plain(work: str, there: int, who: str) -> Callable[[Figures], Spread | None]:
    def measure(figures: Figures) -> Spread | None:
        samples = figures.of(work, "", there, who)
        return spread(samples) if samples else None

    return measure


def _memory_of_one(figures: Figures) -> Spread | None:
    """kB a VIF."""
    full, few = figures.of(c.MEMORY, "", FULL, c.DAEMON), figures.of(c.MEMORY, "", c.FEW, c.DAEMON)
    return spread([1024 * (most - least) / (FULL - c.FEW) for most in full for least in few]) if full and few else None


def _own_restore(figures: Figures) -> Spread | None:
    """Seconds beyond vswitchd's own."""
    whole, floor = figures.of(c.RESTORE, "", FULL, c.DAEMON), figures.of(c.RESTORE, "", FULL, c.FLOOR)
    return spread([one - least for one in whole for least in floor]) if whole and floor else None


def _growth(figures: Figures) -> Spread | None:
    """The exponent of a check's time, from 100 VIFs to 1,000."""
    few, many = figures.of(c.CHECK, "", 100, c.LIBRARY), figures.of(c.CHECK, "", FULL, c.LIBRARY)
    return spread([math.log10(large / small) for small in few for large in many]) if few and many else None


def _check(figures: Figures) -> Spread | None:
    check = figures.of(c.CHECK, "", FULL, c.LIBRARY)
    replug = figures.of(c.REPLUG, c.HYBRID, FULL, c.OS_VIF)
    return ratio(check, [FULL * seconds for seconds in replug]) if check and replug else None


def _one(work: str, kind: str, there: int) -> Callable[[Figures], Spread | None]:
    return _against(work, kind, there, c.LIBRARY, c.OS_VIF)


def _floors(work: str, kind: str, there: int) -> Callable[[Figures], Spread | None]:
    return _against(work, kind, there, c.LIBRARY, c.FLOOR)


_BATCH = c.batch(c.PLUG, 100)
TARGETS: tuple[Target, ...] = (
    Target("first frame, ovs with tap, few VIFs there", 0.50, _one(c.FIRST_FRAME, c.OVS, c.FEW)),
    Target("first frame, ovs with tap, 400 there", 0.25, _one(c.FIRST_FRAME, c.OVS, MANY)),
    Target("first frame, hybrid, few there", 0.20, _one(c.FIRST_FRAME, c.HYBRID, c.FEW)),
    Target("first frame, hybrid, 400 there", 0.15, _one(c.FIRST_FRAME, c.HYBRID, MANY)),
    Target("hybrid plug, one, few there", 0.25, _one(c.PLUG, c.HYBRID, c.FEW)),
    Target("hybrid plug, one, few there, against the floor", 1.2, _floors(c.PLUG, c.HYBRID, c.FEW)),
    Target("hybrid plug, one, 400 there", 1 / 7, _one(c.PLUG, c.HYBRID, MANY)),
    Target("ovs plug with tap, one, few there, against the floor", 1.2, _floors(c.PLUG, c.OVS, c.FEW)),
    Target("ovs plug with tap, one, 400 there, against os-vif's return", 1.0, _one(c.PLUG, c.OVS, MANY)),
    Target("replug of a right VIF (1/8 is the aim)", 0.15, _one(c.REPLUG, c.HYBRID, c.FEW)),
    Target("hybrid unplug, one", 0.55, _one(c.UNPLUG, c.HYBRID, c.FEW)),
    Target("100 hybrid plugs in a batch, each, few there", 0.06, _one(_BATCH, c.HYBRID, c.FEW)),
    Target("the same, against the floor", 1.2, _floors(_BATCH, c.HYBRID, c.FEW)),
    Target("100 hybrid plugs in a batch, each, 1,000 there", 0.06, _one(_BATCH, c.HYBRID, FULL)),
    Target("the same with 1,000 there, against the floor", 1.2, _floors(_BATCH, c.HYBRID, FULL)),
    Target("100 hybrid unplugs in a batch, each", 1 / 3, _one(c.batch(c.UNPLUG, 100), c.HYBRID, c.FEW)),
    Target("32 concurrent callers of the daemon, over those of the commit beside", 1.2, _gain(c.FEW), at_least=True),
    Target("`vifplug list`, whole process, in bare Pythons", 2, _of_bare(c.CLI_LIST)),
    Target("`vifplug show`", 2, _of_bare(c.CLI_SHOW)),
    Target("`vifplug plug` of a right VIF", 2, _of_bare(c.CLI_REPLUG)),
    Target("`vifplug plug` of a new VIF", 3.5, _of_bare(c.CLI)),
    Target("memory, daemon and helper together, 1,000 VIFs", 120, _plain(c.MEMORY, FULL, c.DAEMON), unit="MB"),
    Target("memory of one VIF", 35, _memory_of_one, unit="kB"),
    Target("OVSDB lost 1,000 VIFs: beyond vswitchd's own time", 2, _own_restore, unit="s"),
    Target("check: exponent of its growth from 100 to 1,000 VIFs", 1.1, _growth),
    Target("check of 1,000 right VIFs, against 1,000 os-vif replugs", 1 / 10, _check),
    Target("daemon without requests, 1,000 VIFs", 0.4, _plain(c.IDLE, FULL, c.DAEMON), unit="% of a core"),
)
