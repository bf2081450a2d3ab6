"""OVN on two hosts with Geneve between them: guests of one network talk, and a VIF moves from one host to the other."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from tests.e2e import hosts
from tests.e2e.conftest import Evidence
from tests.e2e.guests import QemuGuest, must_talk
from tests.e2e.hosts import Host
from tests.e2e.image import Image
from tests.e2e.judge import plug
from tests.support.network.endpoints import Station, guest_in_bridge, guest_on_tap
from tests.support.network.traffic import Pinger, ping
from tests.support.vifs import HYBRID, OVS
from tests.support.world.daemons import wait_until
from tests.support.world.ovn import Ovn

MOVING, STAYING = HYBRID.but(network={"mtu": hosts.MTU}), OVS.but(network={"mtu": hosts.MTU})
MOVING_IP, STAYING_IP = "10.9.0.1", "10.9.0.2"
STEADY_SECONDS = 3.0
"""OVN's controllers take a port from each other twice a second, where two want it."""

Network = tuple[Ovn, Host, Host]


@pytest.fixture
def network(evidence: Evidence) -> Iterator[Network]:
    """Two hosts, and a logical port for each VIF."""
    with hosts.two_hosts() as (ovn, here, there):
        for request, ip in ((MOVING, MOVING_IP), (STAYING, STAYING_IP)):
            ovn.add_port(request.id, request.address, ip)
        yield ovn, here, there
        for host in (here, there):
            evidence.keep_logs(host.world, host.chassis.name)


def test_guests_on_different_hosts_talk(network: Network, image: Image, evidence: Evidence) -> None:
    ovn, here, there = network
    with (
        QemuGuest(here.world, image, MOVING, "one", f"{MOVING_IP}/24", evidence.log("one")) as one,
        QemuGuest(there.world, image, STAYING, "other", f"{STAYING_IP}/24", evidence.log("other")) as other,
    ):
        for host, request, guest in ((here, MOVING, one), (there, STAYING, other)):
            plug(host.world, request, wait="wired")
            assert ovn.claimant(request.id) == host.chassis.name
            evidence.note(f"{request.id}: up on {host.chassis.name}")
            guest.start()
        for guest in (one, other):
            guest.console.await_ready()
        must_talk(one, other, hosts.MTU)
        for guest in (one, other):
            guest.stop()
    for host, request in ((here, MOVING), (there, STAYING)):
        host.world.vifplug("unplug", request.id)


def station(host: Host) -> Station:
    """The moving guest, as it is on one of the hosts."""
    return guest_in_bridge(host.world, MOVING.qbr, MOVING_IP, hosts.MTU, MOVING.address, outer=MOVING.tap)


def claims(host: Host) -> int:
    """How often a host's ovn-controller has claimed the moving VIF."""
    log = (host.world.directory / "ovn-controller.log").read_text()
    return len(re.findall(rf"(Claiming|Changing chassis for) lport {MOVING.id} ", log))


@pytest.mark.parametrize("bound", [True, False], ids=["bound to a host as Neutron does", "bound to none"])
def test_vif_moves_to_another_host_and_is_claimed_once_in_the_end(
    network: Network, evidence: Evidence, bound: bool
) -> None:
    ovn, here, there = network
    bind(ovn, here, bound)
    for request in (MOVING, STAYING):
        plug(here.world, request, wait="wired")
    source = station(here)
    with guest_on_tap(here.world, STAYING.tap, STAYING.address, STAYING_IP, hosts.MTU) as peer:
        assert ping(peer, MOVING_IP, hosts.MTU)
        with Pinger(peer, MOVING_IP) as pinger:
            time.sleep(0.5)
            # Plug there, the guest goes over, OVN is told, unplug here.
            plug(there.world, MOVING)
            paused = time.monotonic()
            source.close()
            with station(there) as target:
                bind(ovn, there, bound)
                here.world.vifplug("unplug", MOVING.id)
                unplugged = time.monotonic()
                there.world.vifplug("wait", MOVING.id, "--for", "wired", "--timeout", "20")
                sent = pinger.sent
                wait_until(lambda: max(pinger.answered) > sent, "answers from there")
                settle(ovn, there)
                assert ping(target, STAYING_IP, hosts.MTU)
        evidence.note(
            f"moved, {'bound as Neutron does' if bound else 'bound to none'}: {pinger.lost} of {pinger.sent} pings "
            f"lost at 100 Hz, longest gap {pinger.longest_gap * 1000:.0f} ms; from the guest's end here to the end of "
            f"unplug {unplugged - paused:.2f} s; claims here {claims(here)}, there {claims(there)}"
        )
        assert pinger.longest_gap < 10
    if bound:
        assert (claims(here), claims(there)) == (1, 1)
    assert MOVING.id not in here.daemon.vifs()
    assert there.daemon.vifs()[MOVING.id]["state"] in ("wired", "active")
    here.world.vifplug("unplug", STAYING.id)
    there.world.vifplug("unplug", MOVING.id)


def bind(ovn: Ovn, host: Host, bound: bool) -> None:
    """Say to OVN where the moving VIF belongs, as Neutron does of a port's binding:host_id."""
    if bound:
        ovn.nbctl("lsp-set-options", MOVING.id, f"requested-chassis={host.chassis.name}")


def settle(ovn: Ovn, host: Host) -> None:
    """For a while nobody but that host has the moving VIF."""
    wait_until(lambda: ovn.claimant(MOVING.id) == host.chassis.name, f"the claim of {host.chassis.name}")
    claimed = claims(host)
    until = time.monotonic() + STEADY_SECONDS
    while time.monotonic() < until:
        assert ovn.claimant(MOVING.id) == host.chassis.name
        time.sleep(0.1)
    assert claims(host) == claimed
