"""Each fault that stops frames is named by trace, with a remedy; trace is silent before it and after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.faults.path_faults import ON_HYBRID, STATION, PathFault
from tests.support.network.endpoints import Station, guest_on_tap, host_on_bridge
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, Request, library
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug.api.local import LocalHost
from vifplug.trace import text
from vifplug.trace.values import TraceReport

INTERVAL = 0.1
SCREEN_LINES = 40


def traced(host: LocalHost, request: Request) -> TraceReport:
    return host.trace(request.id, interval=INTERVAL)


def must_be_silent(host: LocalHost, request: Request, when: str) -> None:
    report = traced(host, request)
    assert report.causes == (), (when, report.causes)
    assert report.verdict.startswith("Nothing that was looked at"), when


def must_name(report: TraceReport, fault: PathFault, request: Request) -> None:
    names = {**request.names, "mac": request.address}
    words = [word.format(**names) for word in fault.words]
    matching = [
        cause
        for cause in report.causes
        if all(word in f"{cause.subject} {cause.reason} {cause.direction}" for word in words)
    ]
    assert matching, (fault.name, words, report.causes)
    assert fault.remedy.format(**names) in matching[0].remedy, (fault.name, matching[0])
    assert len(text.as_text(report, width=200).splitlines()) <= SCREEN_LINES, fault.name
    if fault.stops:
        assert matching[0] == report.causes[0], (fault.name, report.causes)


def pings(guest: Station, count: int = 1) -> bool:
    return guest.run("ping", f"-c{count}", "-W1", HOST, check=False).returncode == 0


@pytest.fixture
def guest(world: World) -> Iterator[Station]:
    """A guest of the hybrid VIF that reaches a host."""
    with library(world) as host:
        host.plug([HYBRID.vif])
    on_tap = guest_on_tap(world, HYBRID.tap, HYBRID.address, GUEST, MTU)
    with on_tap as station, host_on_bridge(world, "br-int", HOST, outer=STATION):
        world.ip("link", "set", HYBRID.tap, "mtu", str(MTU), "master", HYBRID.qbr, "up")
        yield station


def test_each_fault_of_a_hybrid_path_is_named_with_its_remedy(world: World, guest: Station) -> None:
    wait_until(lambda: pings(guest), "the first ping")
    with library(world) as host:
        must_be_silent(host, HYBRID, "before")
        for fault in ON_HYBRID:
            fault.inflict(world, HYBRID)
            if fault.stops:
                # Open vSwitch removes a flow from its datapath within half a second.
                wait_until(lambda: not pings(guest), f"the end of pings by {fault.name}")
            must_name(traced(host, HYBRID), fault, HYBRID)
            fault.lift(world, HYBRID)
            host.repair([HYBRID.id])
            wait_until(lambda: pings(guest), f"a ping after {fault.name}")
            must_be_silent(host, HYBRID, f"after {fault.name}")
