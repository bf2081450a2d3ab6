"""What plugs of filtered VIFs cost in calls; ``tools/bench --filters`` measures their time."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import pytest

from tests.bench.contestants import Contestant, vifplug_argv
from tests.bench.tally import CHANGES, PRIVILEGED, READS, WRITES
from tests.functional.filter.test_lifecycle import SECOND, filtered
from tests.support.vifs import BRIDGE, HYBRID, library
from tests.support.world.world import World
from vifplug.api.local import LocalHost
from vifplug.model.vif import Vif

OTHER = "1bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
NETLINK_NETFILTER = 12
NETWORKS = 3
"""A Linux bridge has 1,023 ports at most, and each of its members costs a plug some time."""


def request(number: int, *, has_filter: bool) -> Vif:
    high, low = divmod(number, 256)
    each = BRIDGE.but(
        id=f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa",
        address=f"fa:16:3e:10:{high:02x}:{low:02x}",
        network={"id": f"{number % NETWORKS:08x}-7f2b-4c36-9d2e-aa53a1f0c001"},
    )
    addresses = ({"ip": f"10.5.{high}.{low}"}, {"ip": f"2001:db8::{number:x}"})
    return (filtered(each, *addresses) if has_filter else each).vif


@pytest.fixture
def host(world: World) -> Iterator[LocalHost]:
    world.write_config(filter={"enabled": "true"})
    with library(world) as host:
        yield host


def test_batch_of_filtered_vifs_is_one_transaction(host: LocalHost, world: World) -> None:
    before, vifs = generation(world), [request(number, has_filter=True) for number in range(1, 101)]
    host.plug(vifs)
    assert generation(world) == before + 1
    host.plug(vifs)
    assert generation(world) == before + 1
    host.unplug([vif.id for vif in vifs])
    assert generation(world) == before + 2


def generation(world: World) -> int:
    """The kernel's number of the ruleset, which each transaction raises (NFT_MSG_GETGEN)."""
    with world.namespace.entered(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as channel:
        channel.send(struct.pack("=IHHIIBBH", 20, 10 << 8 | 16, 1, 1, 0, 0, 0, 0))
        return int(struct.unpack_from(">I", channel.recv(4096), 24)[0])


PINNED = {
    "bridge": {"plug": (1, 17, 0, 0), "replug": (1, 2, 0, 0), "unplug": (2, 14, 0, 0)},
    "bridge, the VMM's tap": {"plug": (1, 9, 0, 0), "replug": (1, 1, 0, 0), "unplug": (1, 9, 0, 0)},
    "ovs-hybrid": {"plug": (2, 17, 1, 1), "replug": (1, 1, 0, 1), "unplug": (5, 13, 1, 1)},
}
"""As in ``plug/test_work_counts.py``, with messages to nf_tables; beside other filtered VIFs, so that the tables are
there."""
REQUESTS = {"bridge": BRIDGE, "bridge, the VMM's tap": BRIDGE.but(create_tap=False), "ovs-hybrid": HYBRID}


@pytest.mark.parametrize("case", PINNED)
def test_no_verb_asks_for_more_than_before(world: World, case: str) -> None:
    world.write_config(filter={"enabled": "true"})
    counted: dict[str, tuple[int, ...]] = {}
    with Contestant(world, vifplug_argv(world), "--count") as counting:
        others = [filtered(SECOND), filtered(SECOND.but(id=OTHER, create_tap=False))]
        counting.each("plug", others)
        for _turn in range(2):
            for name, verb in (("plug", "plug"), ("replug", "plug"), ("unplug", "unplug")):
                counting.ask("counts")
                counting.each(verb, [filtered(REQUESTS[case], {"ip": "10.9.0.1"})])
                counts = counting.ask("counts")
                counted[name] = tuple(counts[what] for what in (PRIVILEGED, CHANGES, WRITES, READS))
    assert counted == PINNED[case]
