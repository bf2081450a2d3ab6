"""A hundred VIFs under the daemon: whatever befalls them, all is back, frames cross, and nobody else's VIF is touched.

One world for all faults; each test begins with seeing that every VIF is whole. How long a repair takes is no matter of
CI's: ``tools/faults`` measures it. What is seen here was seen by ``ip``, OVS's own client, and guests' frames.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.faults.fault_bench import Bench
from tests.support.faults.host_faults import FAULTS, Fault
from tests.support.world.fleet import TAG
from tests.support.world.world import World

COUNT = 100


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with World() as world:
        world.add_bridge("br-int")
        with Bench(world, COUNT) as bench:
            yield bench


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_repaired_and_no_other_vif_is_changed(bench: Bench, fault: Fault) -> None:
    bench.must_be_whole()
    outcome = bench.endure(fault)
    assert not outcome.left, f"{str(outcome.left)[:2000]}\n{bench.complaints()}"
    assert outcome.silent == []
    assert len(outcome.frames) >= 10
    assert outcome.writes == []
    assert not any(outcome.lost.values()), outcome.lost


def test_what_a_control_plane_wrote_is_kept_by_repairs_that_keep_the_port(bench: Bench) -> None:
    """Links of tagged ports are damaged, ports re-attached: their rows keep tag, keys and options."""
    bench.must_be_whole()
    world, wired = bench.world, bench.fleet.of_group("vlan")
    lines = [f"link delete {member.request.names['qvb']}" for member in wired if member.request.type == "ovs-hybrid"]
    world.run("ip", "-batch", "-", input="\n".join(lines) + "\n")
    words = [word for member in wired for word in ("--", "clear", "Interface", member.request.port, "external_ids")]
    world.vsctl(*words[1:])
    for member in wired:  # ours comes back; theirs is for them to write again
        world.vsctl("set", "Interface", member.request.port, "external_ids:ovn-installed=true")
    bench.must_be_whole()
    assert {world.vsctl("get", "Port", member.request.port, "tag") for member in wired} == {str(TAG)}


def test_all_vifs_are_back_after_a_boot(bench: Bench) -> None:
    bench.must_be_whole()
    outcome = bench.boot()
    assert not outcome.left, f"{str(outcome.left)[:2000]}\n{bench.complaints()}"
    assert outcome.silent == []
    assert len(outcome.frames) == COUNT - len(bench.fleet.pingers)
