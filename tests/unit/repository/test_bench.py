"""The benchmark's arithmetic, its tables and its picture; that it measures is shown by running it."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree

import pytest

from tests.bench import catalogue as c
from tests.bench import plot, report, tally
from tests.bench.figures import Figures, Key, Spread, ratio, spread
from tests.bench.targets import FULL, MANY, TARGETS


def measured(*given: tuple[str, str, int, str, list[float]]) -> Figures:
    figures = Figures()
    for work, kind, there, who, samples in given:
        figures.add(Key(work, kind, there, who), samples)
    return figures


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([7.0], Spread(7, 7, 7)),
        ([1.0, 3.0], Spread(2, 1, 3)),
        ([5.0, 1.0, 2.0, 4.0, 3.0], Spread(3, 2, 4)),
        ([1.0, 1.0, 1.0, 100.0], Spread(1, 1, 25.75)),
    ],
)
def test_spread_is_the_median_and_its_quartiles(samples: list[float], told: Spread) -> None:
    assert spread(samples) == told


def test_ratio_is_the_medians_and_its_spread_covers_it() -> None:
    told = ratio([2.0, 3.0, 40.0], [10.0, 12.0, 11.0])
    assert told.median == pytest.approx(3 / 11)
    assert told.low < told.median < told.high


def test_samples_of_one_key_are_put_together_in_the_order_of_the_rows() -> None:
    figures = measured(
        (c.PLUG, c.HYBRID, 10, c.LIBRARY, [0.1]),
        (c.UNPLUG, c.HYBRID, 10, c.LIBRARY, [0.1]),
        (c.PLUG, c.HYBRID, 10, c.LIBRARY, [0.2]),
    )
    assert figures.of(c.PLUG, c.HYBRID, 10, c.LIBRARY) == [0.1, 0.2]
    assert list(figures.rows()) == [(c.PLUG, c.HYBRID, 10), (c.UNPLUG, c.HYBRID, 10)]
    assert figures.of(c.PLUG, c.HYBRID, 400, c.LIBRARY) is None


def verdict(figures: Figures, beginning: str) -> dict[str, object]:
    return next(one for one in report.verdicts(figures) if str(one["target"]).startswith(beginning))


@pytest.mark.parametrize(
    ("work", "ours", "other", "is_slower"),
    [
        (c.PLUG, [0.011, 0.012, 0.013], [0.010, 0.0101, 0.0102], True),
        (c.PLUG, [0.009, 0.012, 0.013], [0.008, 0.0101, 0.015], False),
        (c.SERIAL, [50.0, 51.0, 52.0], [60.0, 61.0, 62.0], True),
        (c.SERIAL, [60.0, 61.0, 62.0], [50.0, 51.0, 52.0], False),
    ],
)
def test_other_commit_is_beaten_unless_it_is_faster_by_more_than_the_spread(
    work: str, ours: list[float], other: list[float], is_slower: bool
) -> None:
    figures = measured((work, c.HYBRID, c.FEW, c.LIBRARY, ours), (work, c.HYBRID, c.FEW, c.OTHER, other))
    header, row = report.beside_table(figures).splitlines()
    assert row.endswith("SLOWER") is is_slower, row
    assert header.split()[-1] == "THIS/OTHER"


def test_what_one_commit_alone_has_measured_is_not_compared() -> None:
    figures = measured((c.PLUG, c.HYBRID, c.FEW, c.LIBRARY, [0.1]), (c.REPLUG, c.HYBRID, c.FEW, c.OTHER, [0.1]))
    assert len(report.beside_table(figures).splitlines()) == 1


@pytest.mark.parametrize(("ours", "met"), [(0.004, True), (0.006, False)])
def test_target_is_met_by_the_ratio_of_this_run(ours: float, met: bool) -> None:
    figures = measured(
        (c.PLUG, c.HYBRID, c.FEW, c.OS_VIF, [0.02] * 3),
        (c.PLUG, c.HYBRID, c.FEW, c.LIBRARY, [ours] * 3),
        (c.PLUG, c.HYBRID, MANY, c.LIBRARY, [ours] * 3),
    )
    found = verdict(figures, "hybrid plug, one, few there")
    assert (found["measured"], found["met"]) == (pytest.approx(ours / 0.02), met)
    assert verdict(figures, "hybrid plug, one, 400")["met"] is None, "half of it was not measured"


@pytest.mark.parametrize(("crowd", "met"), [([125.0], True), ([115.0], False)])
def test_target_of_a_gain_is_met_from_its_bound_on(crowd: list[float], met: bool) -> None:
    of_both = ((c.OTHER_DAEMON, [100.0]), (c.DAEMON, crowd))
    figures = measured(*((c.crowd(32), c.HYBRID, c.FEW, who, samples) for who, samples in of_both))
    assert verdict(figures, "32 concurrent")["met"] is met


def test_targets_that_compare_different_things() -> None:
    figures = measured(
        (c.CHECK, "", FULL, c.LIBRARY, [0.1]),
        (c.REPLUG, c.HYBRID, FULL, c.OS_VIF, [0.01]),
        (c.CHECK, "", 100, c.LIBRARY, [0.01]),
        (c.CLI, c.HYBRID, c.FEW, c.DAEMON, [0.03]),
        (c.BARE, "", c.FEW, c.DAEMON, [0.01]),
        (c.MEMORY, "", FULL, c.DAEMON, [121.0]),
        (c.MEMORY, "", c.FEW, c.DAEMON, [90.0]),
        (c.RESTORE, "", FULL, c.DAEMON, [15.0]),
        (c.RESTORE, "", FULL, c.FLOOR, [13.5]),
        (c.batch(c.PLUG, 100), c.HYBRID, FULL, c.LIBRARY, [0.0023]),
        (c.batch(c.PLUG, 100), c.HYBRID, FULL, c.FLOOR, [0.002]),
    )
    assert verdict(figures, "check of 1,000")["measured"] == pytest.approx(0.01)
    assert verdict(figures, "check: exponent")["measured"] == pytest.approx(1.0)
    assert verdict(figures, "`vifplug plug` of a new VIF")["measured"] == pytest.approx(3)
    assert verdict(figures, "memory, daemon")["met"] is False
    assert verdict(figures, "memory of one")["measured"] == pytest.approx(31 * 1024 / (FULL - c.FEW))
    assert verdict(figures, "OVSDB lost")["measured"] == pytest.approx(1.5)
    assert verdict(figures, "the same with 1,000")["met"] is True


def test_one_write_of_a_replug_is_one_too_many() -> None:
    counted = [
        (c.count(name, c.REPLUG), kind, c.FEW, c.LIBRARY, [0.0])
        for name in (tally.CHANGES, tally.WRITES)
        for kind in (c.HYBRID, c.OVS)
    ]
    assert verdict(measured(*counted), "replug of a right VIF: writes")["met"] is True
    assert verdict(measured(*counted[1:]), "replug of a right VIF: writes")["met"] is None
    spoilt = [*counted[1:], (c.count(tally.CHANGES, c.REPLUG), c.HYBRID, c.FEW, c.LIBRARY, [1.0])]
    assert verdict(measured(*spoilt), "replug of a right VIF: writes")["met"] is False


def test_tables_say_what_was_measured_how_and_what_was_not() -> None:
    figures = measured(
        (c.PLUG, c.HYBRID, 10, c.OS_VIF, [0.02, 0.03, 0.025]),
        (c.PLUG, c.HYBRID, 10, c.LIBRARY, [0.005, 0.0051, 0.0052]),
        (c.MEMORY, "", 10, c.DAEMON, [101.5]),
        (c.count(tally.PRIVILEGED, c.PLUG), c.HYBRID, c.FEW, c.LIBRARY, [5.0]),
    )
    text = report.table(figures)
    assert "25.0 (22.5-27.5)" in text
    assert "0.204 (0.173-0.250)" in text
    assert c.WORKS[c.PLUG].how.split(":", maxsplit=1)[0] in text.replace("\n  ", " ")
    assert "of one plug" in text
    targets = report.target_table(figures)
    assert targets.count("not in this run") == len(TARGETS)  # all but the one, and the writes
    assert "met" in targets


def test_document_has_every_sample_and_how_it_was_taken() -> None:
    figures = measured((c.PLUG, c.HYBRID, 10, c.OS_VIF, [0.02, 0.03]))
    document = report.document(figures, {"kernel": "6"})
    (row,) = document["rows"]
    assert (row["unit"], row["n"], row["samples"], row["median"]) == ("s", 2, [0.02, 0.03], 0.025)
    assert row["how"]
    assert len(document["targets"]) == len(TARGETS) + 1


def test_picture_is_well_formed_and_grows_downwards_as_time_shrinks() -> None:
    figures = measured(
        *((c.PLUG, c.HYBRID, there, c.OS_VIF, [seconds]) for there, seconds in ((10, 0.02), (400, 0.2), (1000, 5.0))),
        *((c.PLUG, c.HYBRID, there, c.LIBRARY, [seconds]) for there, seconds in ((10, 0.005), (400, 0.02))),
    )
    root = ElementTree.fromstring(plot.svg(figures, "a < b & c"))
    lines = [one.get("points", "").split() for one in root.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in lines] == [3, 2]
    heights = [float(point.partition(",")[2]) for points in lines for point in points]
    assert heights[0] < heights[3], "20 ms stand above 5 ms"
    assert heights[2] < heights[1] < heights[0]


def test_tally_counts_over_a_fork_and_begins_anew() -> None:
    counts = tally.Tally(("one", "other"))
    child = os.fork()
    if not child:
        counts.add("one", 2, 1_500_000_000)
        os._exit(0)
    os.waitpid(child, 0)
    assert counts.taken() == {"one": (2, 1.5), "other": (0, 0.0)}
    assert counts.taken()["one"] == (0, 0.0)
    assert counts.timed("other", lambda value: value + 1)(1) == 2
    assert counts.taken()["other"][0] == 1
