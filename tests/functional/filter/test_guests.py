"""Filtered guests that are whole network stacks: all that they send by themselves passes, and nothing is lost."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.filter.test_lifecycle import filtered, ruleset
from tests.support.network.endpoints import Station, guest_on_tap, host_on_bridge
from tests.support.network.spoofing import link_local
from tests.support.network.traffic import continuous_ping, ping, transfer
from tests.support.vifs import BRIDGE, GUEST, HYBRID, Request, library
from tests.support.world.daemons import PATIENCE, wait_until
from tests.support.world.world import World

MTU = 1450
SECOND = BRIDGE.but(id="2bc1ec8f-4b2e-4a6a-a1da-6286f400507c", address="fa:16:3e:f6:04:91")
SECOND_IP, FIRST_6, SECOND_6 = "10.9.0.2", "2001:db8::1", "2001:db8::2"
OWN = {BRIDGE.id: (GUEST, FIRST_6), SECOND.id: (SECOND_IP, SECOND_6)}


@pytest.fixture(autouse=True)
def _enabled(world: World) -> None:
    world.write_config(filter={"enabled": "true"})


def own(request: Request) -> Request:
    return filtered(request, *({"ip": address} for address in OWN[request.id]))


@contextlib.contextmanager
def guests(world: World) -> Iterator[tuple[Station, Station]]:
    with (
        guest_on_tap(world, BRIDGE.tap, BRIDGE.address, GUEST, MTU) as first,
        guest_on_tap(world, SECOND.tap, SECOND.address, SECOND_IP, MTU) as second,
    ):
        yield first, second


def with_ipv6(station: Station, address: str) -> None:
    """IPv6 as a guest has it: duplicates are looked for, multicast groups are joined, routers are asked for."""
    with station.entered():
        for key, value in (("addr_gen_mode", "0"), ("accept_dad", "1"), ("disable_ipv6", "0")):
            Path(f"/proc/sys/net/ipv6/conf/{station.device}/{key}").write_text(value)
    station.run("ip", "-6", "address", "add", f"{address}/64", "dev", station.device)


def is_ready(station: Station, *addresses: str) -> bool:
    shown = station.run("ip", "-6", "address", "show", "dev", station.device, "-tentative").stdout
    return all(f" {address}/" in shown for address in addresses)


def dropped(world: World) -> int:
    """All frames that the rules of the VIFs' table have dropped."""
    rules = [part["rule"] for part in ruleset(world)["netdev vifplug"] if "rule" in part]
    counters = [expression["counter"] for rule in rules for expression in rule["expr"] if "counter" in expression]
    assert counters
    return sum(int(counter["packets"]) for counter in counters)


def test_nothing_of_a_guests_own_traffic_is_lost(world: World) -> None:
    with library(world) as host:
        host.plug([own(BRIDGE).vif, own(SECOND).vif])
        with guests(world) as (first, second):
            with continuous_ping(first, SECOND_IP) as pinger:
                time.sleep(2 * PATIENCE)
            assert pinger.sent > 100
            assert pinger.lost == 0
            assert transfer(second, first)
            assert transfer(first, second)
            # Fragments of 4,000 bytes.
            assert ping(first, SECOND_IP, 4000, dont_fragment=False)
            assert dropped(world) == 0


def test_guests_configure_ipv6_and_find_each_other(world: World) -> None:
    with library(world) as host:
        host.plug([own(BRIDGE).vif, own(SECOND).vif])
        with guests(world) as (first, second):
            for station, request in ((first, BRIDGE), (second, SECOND)):
                address, local = OWN[request.id][1], link_local(request.address)
                with_ipv6(station, address)
                wait_until(lambda: is_ready(station, address, local), "the addresses", 10 * PATIENCE)  # noqa: B023
            for target in (SECOND_6, f"{link_local(SECOND.address)}%{first.device}"):
                for size in ("56", "4000"):
                    result = first.run("ping", "-6", "-n", "-c", "3", "-i", "0.2", "-s", size, target, check=False)
                    assert " 0% packet loss" in result.stdout, (target, size, result.stdout)
            assert dropped(world) == 0


def test_spoofed_address_never_leaves_the_guest(world: World) -> None:
    with library(world) as host:
        host.plug([own(BRIDGE).vif, own(SECOND).vif])
        with guests(world) as (first, second):
            assert ping(first, SECOND_IP)
            first.run("ip", "address", "flush", "dev", first.device)
            first.run("ip", "address", "add", "10.9.0.66/24", "dev", first.device)
            assert not ping(first, SECOND_IP, count=1)
            assert dropped(world) > 0
            second.run("ip", "link", "set", second.device, "address", "fa:16:3e:66:66:66")
            before = dropped(world)
            assert not ping(second, GUEST, count=1)
            assert dropped(world) > before


def test_replug_with_an_added_address_lets_it_pass_at_once_and_loses_nothing(world: World) -> None:
    with library(world) as host:
        host.plug([own(BRIDGE).vif, own(SECOND).vif])
        with guests(world) as (first, _second), continuous_ping(first, SECOND_IP) as pinger:
            for number in range(10):
                more = [{"ip": GUEST}, {"ip": FIRST_6}, {"ip": f"10.9.{number}.0/24"}]
                host.plug([filtered(BRIDGE, *more).vif])
                host.repair()
                time.sleep(0.1)
        assert pinger.sent > 20
        assert pinger.lost == 0


def test_hybrid_guest_talks_through_its_filter(world: World) -> None:
    request = filtered(HYBRID.but(create_tap=True), {"ip": GUEST})
    with library(world) as host:
        host.plug([request.vif])
        with (
            guest_on_tap(world, request.tap, request.address, GUEST, MTU) as guest,
            host_on_bridge(world, "br-int", "10.9.0.254") as other,
        ):
            assert ping(guest, "10.9.0.254")
            assert transfer(other, guest)
            assert transfer(guest, other)
