"""How much a verb asks of the kernel, of Open vSwitch and of the helper: it may fall, and must not rise unseen."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import pytest

from tests.bench.contestants import Contestant, vifplug_argv
from tests.bench.tally import CHANGES, PRIVILEGED, READS, WRITES
from tests.support.vifs import BRIDGE, HYBRID, OVS, Request
from tests.support.world.world import World

VIFS: dict[str, Request] = {"ovs-hybrid": HYBRID, "ovs": OVS, "bridge": BRIDGE}
COUNTED = (PRIVILEGED, CHANGES, WRITES, READS)
PINNED = {
    "ovs-hybrid": {"plug": (2, 8, 1, 1), "replug": (1, 0, 0, 1), "unplug": (4, 4, 1, 1)},
    "ovs": {"plug": (2, 4, 1, 1), "replug": (1, 0, 0, 1), "unplug": (4, 2, 1, 1)},
    "bridge": {"plug": (1, 8, 0, 0), "replug": (0, 0, 0, 0), "unplug": (1, 3, 0, 0)},
}
"""Privileged calls, netlink messages that change something, OVSDB transactions that write, and those that read."""


@pytest.fixture
def counting(world: World) -> Iterator[Contestant]:
    """The library in a process of its own in which everything is counted; it has plugged and unplugged before."""
    with Contestant(world, vifplug_argv(world), "--count") as process:
        yield process


@pytest.mark.parametrize("vif_type", VIFS)
def test_no_verb_asks_for_more_than_before(counting: Contestant, vif_type: str) -> None:
    request = VIFS[vif_type]
    found = {}
    for _turn in range(2):  # the first one of a process does what later ones need no more
        for name, verb in (("plug", "plug"), ("replug", "plug"), ("unplug", "unplug")):
            counting.ask("counts")
            counting.each(verb, [request])
            counts = counting.ask("counts")
            found[name] = tuple(counts[what] for what in COUNTED)
    more = {name: counts for name, counts in found.items() if any(map(operator.gt, counts, PINNED[vif_type][name]))}
    assert not more, f"more than before: {more}, was {PINNED[vif_type]}"
    assert found == PINNED[vif_type], "less than before: pin the new numbers"
