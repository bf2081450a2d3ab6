"""After each single drift ``check`` names it, ``repair`` and plug put it right, and touch nothing else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.faults.drifts import (
    BRIDGE_DRIFTS,
    FOREIGN,
    HYBRID_DRIFTS,
    OVS_DRIFTS,
    OWN_BRIDGE_DRIFTS,
    OWN_VLAN_DRIFTS,
    TRUNK_DRIFTS,
    Drift,
    host_end,
)
from tests.support.network.endpoints import Station, guest_in_bridge, guest_on_tap, host_on_bridge
from tests.support.network.traffic import ping
from tests.support.vifs import (
    BRIDGE,
    GUEST,
    HOST,
    HYBRID,
    MTU,
    OVS,
    OWN_BRIDGE,
    OWN_VLAN,
    TRUNK,
    Request,
    library,
    must_row,
)
from tests.support.world.world import Row, World
from vifplug.api.local import LocalHost

CASES = [
    pytest.param(request, drift, id=f"{name}: {drift.name}")
    for name, request, drifts in (
        (HYBRID.type, HYBRID, HYBRID_DRIFTS),
        (OVS.type, OVS, OVS_DRIFTS),
        (BRIDGE.type, BRIDGE, BRIDGE_DRIFTS),
        ("trunk", TRUNK, TRUNK_DRIFTS),
        ("own bridge", OWN_BRIDGE, OWN_BRIDGE_DRIFTS),
        ("own vlan", OWN_VLAN, OWN_VLAN_DRIFTS),
    )
    for drift in drifts
]
TAG = 3
_VOLATILE = {"_version", "statistics", "status", "link_resets", "ifindex", "mac_in_use", "bond_active_slave"}


@contextlib.contextmanager
def ends(world: World, request: Request) -> Iterator[Station]:
    """The guest, and a host for it to talk to; on an OVS bridge both are in one VLAN."""
    if request.type == "ovs-hybrid":
        guest = guest_in_bridge(world, request.qbr, GUEST, MTU, request.address, outer=request.tap)
    else:
        guest = guest_on_tap(world, request.tap, request.address, GUEST, MTU)
    switch = request.brq if request.type == "bridge" else request.switch
    with guest, host_on_bridge(world, switch, HOST):
        if request.type != "bridge":
            world.vsctl("set", "Port", host_end(world), f"tag={TAG}")
        yield guest


def wire(world: World, request: Request) -> None:
    """What a control plane writes; of a VIF with a VLAN of its own, what any other program may."""
    if request.type == "bridge":
        return
    if request is OWN_VLAN:
        world.vsctl("set", "Port", request.port, "other_config:net_uuid=foreign", "external_ids:theirs=1")
        world.vsctl("set", "Interface", request.port, "other_config:theirs=2")
        return
    world.vsctl(
        *("set", "Port", request.port, f"tag={TAG}", "other_config:net_uuid=foreign", "external_ids:theirs=1"),
        *("--", "set", "Interface", request.port, "external_ids:ovn-installed=true", "other_config:theirs=2"),
    )


def rows(world: World, request: Request) -> list[Row]:
    """The port's two rows without what changes by itself."""
    if request.type == "bridge":
        return []
    found = [must_row(world, table, request.port) for table in ("Port", "Interface")]
    return [{key: value for key, value in row.items() if key not in _VOLATILE} for row in found]


def reported(world: World) -> set[tuple[str, str]]:
    """The subjects and attributes that the command line names."""
    result = world.vifplug("-o", "json", "check", check=False)
    assert result.returncode == 3, result
    return named(json.loads(result.stdout))


def named(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {(item["subject"], item["attribute"]) for vif in report["vifs"] for item in vif["drift"]}


def mend(host: LocalHost, request: Request, how: str) -> None:
    if how == "repair":
        host.repair([request.id])
    else:
        host.plug([request.vif])


class Bench:
    """A plugged VIF of one type with a guest that talks to a host, kept from one drift to the next.

    A drift whose test passed has left everything as it was, which the test itself compares; after one that failed the
    next begins in a new world. So does one that takes a guest's tap off its bridge: what is named then depends on
    whether the record has seen the tap there. And so do those of OVS bridges that vifplug makes: vswitchd goes on
    reporting an error of a patch for a moment after its peer is back.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._request: Request | None = None
        self._parts: tuple[World, LocalHost, Station] | None = None

    @contextlib.contextmanager
    def of(self, request: Request) -> Iterator[tuple[World, LocalHost, Station]]:
        if request is not self._request:
            self.close()
        parts = self._parts or self._set_up(request)
        self._request, self._parts = None, None
        try:
            yield parts
        except BaseException:
            self.close()
            raise
        self._request, self._parts = request, parts

    def _set_up(self, request: Request) -> tuple[World, LocalHost, Station]:
        world = self._stack.enter_context(World())
        world.add_bridge("br-int")
        host = self._stack.enter_context(library(world))
        host.plug([request.vif])
        wire(world, request)
        guest = self._stack.enter_context(ends(world, request))
        return world, host, guest

    def close(self) -> None:
        self._request, self._parts = None, None
        self._stack.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    bench = Bench()
    try:
        yield bench
    finally:
        bench.close()


@pytest.mark.parametrize("request_, drift", CASES)
def test_drift_is_named_and_put_right_with_nothing_else_touched(bench: Bench, request_: Request, drift: Drift) -> None:
    if drift.others_help or request_ in (TRUNK, OWN_BRIDGE):
        bench.close()
    with bench.of(request_) as (world, host, guest):
        assert ping(guest, HOST)
        assert host.check().clean
        for how in ("repair",) if drift.repair_only else ("repair", "plug"):
            before, rows_before = world.snapshot(), rows(world, request_)
            drift.inflict(world, request_)
            # A process for each would take half the time of all tests; one type goes through the command line.
            by_command = how == "repair" and request_ is HYBRID
            found = reported(world) if by_command else named(host.check().as_json())
            expected = drift.named(request_)
            assert (found & expected if drift.more else found) == expected
            mend(host, request_, how)
            drift.lift(world, request_)
            drift.help(world, request_)
            if not drift.keeps_row:
                wire(world, request_)  # as a control plane does for a port that is new to it
            assert ping(guest, HOST), how
            assert host.check().clean
            assert_nothing_else(world, request_, drift, before, rows_before)


def assert_nothing_else(
    world: World, request: Request, drift: Drift, before: dict[str, Row], rows_before: list[Row]
) -> None:
    """The world is as it was, but for what a drift takes from a port and nobody can give back."""
    after, rows_after = world.snapshot(), rows(world, request)
    for taken in (before, after):
        for key in [key for key in taken if key.endswith(f" {FOREIGN}")]:
            del taken[key]
        if not drift.keeps_ofport:
            taken[f"Interface {request.port}"].pop("ofport_request")
    assert after == before
    assert all(row["ofport"] > 0 for row in rows_after if "ofport" in row)
    if drift.keeps_row:
        lost = set() if drift.keeps_ofport else {"ofport", "ofport_request"}
        for was, is_ in zip(rows_before, rows_after, strict=True):
            assert {key: is_[key] for key in is_ if key not in lost} == {
                key: was[key] for key in was if key not in lost
            }


@pytest.mark.parametrize("made_again", [False, True])
def test_tap_of_ovs_deleted_is_made_again_and_attached_for_the_next_guest(world: World, made_again: bool) -> None:
    with library(world) as host:
        host.plug([OVS.vif])
        wire(world, OVS)
        with ends(world, OVS):
            pass  # a first guest's carrier gives the tap its queueing discipline
        before, (port, interface) = world.snapshot(), rows(world, OVS)
        world.ip("link", "delete", OVS.tap)
        if made_again:
            world.ip("tuntap", "add", OVS.tap, "mode", "tap")
        assert (OVS.tap, "ifindex" if made_again else "present") in reported(world)
        host.repair([OVS.id])
        with ends(world, OVS) as guest:
            assert ping(guest, HOST)
        assert host.check().clean
        port_after, interface_after = rows(world, OVS)
        assert port_after == port
        assert interface_after["external_ids"] == interface["external_ids"]
        after = world.snapshot()
        for taken in (before, after):
            taken[f"Interface {OVS.tap}"].pop("ofport_request")
        assert after == before
