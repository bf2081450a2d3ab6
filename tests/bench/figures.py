"""Samples and their statistics: medians, quartiles, and ratios with their spread. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Key:
    """A measured work and its contestant."""

    work: str
    """A key of ``catalogue.WORKS``."""
    kind: str
    """The VIFs' type, or "" if it does not matter."""
    there: int
    """The number of VIFs already on the host."""
    who: str


@dataclass(frozen=True)
class Spread:
    """A median and the quartiles around it."""

    median: float
    low: float
    high: float


def spread(samples: Sequence[float]) -> Spread:
    """For at least one sample; the quartiles of fewer than three are the minimum and the maximum."""
    if len(samples) < 3:
        return Spread(statistics.median(samples), min(samples), max(samples))
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """The medians' ratio, and the quartiles of the ratios of all pairs of samples: they were taken in turn."""
    every = spread([each / other for each in ours for other in theirs])
    return Spread(statistics.median(ours) / statistics.median(theirs), every.low, every.high)


@dataclass
class Figures:
    """All samples of a run."""

    samples: dict[Key, list[float]] = field(default_factory=dict)

    def add(self, key: Key, samples: Iterable[float]) -> None:
        """Add samples."""
        self.samples.setdefault(key, []).extend(samples)

    def of(self, work: str, kind: str, there: int, who: str) -> list[float] | None:
        """The samples, or None."""
        return self.samples.get(Key(work, kind, there, who))

    def rows(self) -> Iterator[tuple[str, str, int]]:
        """Every work, kind and number of VIFs, in the order of the first measurement."""
        yield from dict.fromkeys((key.work, key.kind, key.there) for key in self.samples)
