"""Another program's device that is configured and put back, on a real kernel, by a kind of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import vifplug
from tests.support.configured_kinds import TYPE, Wired, driver
from tests.support.faults import faults
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.config import options

__all__ = ["driver"]
VIF = faults.vif("ovs", 1).model_copy(update={"vif_type": TYPE})
SECONDS = 20.0


def started(world: World, monkeypatch: pytest.MonkeyPatch, *configurable: str) -> Any:
    """The library with a helper that may configure these devices."""
    world.ip("link", "add", "eth1", "type", "veth", "peer", "wire")
    world.ip("link", "add", "gate0", "type", "bridge")
    load = options.load
    monkeypatch.setattr(options, "load", lambda path: replace(load(path), configurable=configurable))
    return vifplug.local(str(world.config_file))


@pytest.fixture
def host(world: World, driver: Wired, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    with started(world, monkeypatch, "eth*", "gate0") as host:
        yield host


def eth1(world: World) -> tuple[int, bool]:
    link = world.link("eth1") or {}
    return link["mtu"], "PROMISC" in link["flags"]


def test_device_is_set_and_put_back(world: World, host: LocalHost) -> None:
    host.plug([VIF])
    assert eth1(world) == (9000, True)
    assert host.check([VIF.id]).clean
    assert not host.plan([VIF]).actions
    host.unplug([VIF.id])
    assert eth1(world) == (1500, False)


def test_what_another_program_has_changed_since_is_left(world: World, host: LocalHost) -> None:
    host.plug([VIF])
    world.ip("link", "set", "eth1", "mtu", "4000")
    (report,) = host.unplug([VIF.id])
    assert eth1(world) == (4000, False)
    assert "mtu of test-nic 'eth1' was left: it is 4000" in report.warnings[0]


def test_device_that_no_option_lists_is_left_alone(
    world: World, driver: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started(world, monkeypatch, "eth2", "gate0") as host:
        with pytest.raises(errors.InputError, match="does not list device 'eth1'"):
            host.plug([VIF])
        own = {"op": "configure", "owner": VIF.id, "role": "nic", "kind": "test-nic", "expected": {}}
        with pytest.raises(errors.PermissionDenied, match="lists no such test-nic"):
            faults.change(host, "links", [{**own, "name": "eth1", "values": {"mtu": 1400}}])
        assert eth1(world) == (1500, False)
        assert not host.list()


def test_call_of_a_captured_worker_configures_nothing_else(world: World, host: LocalHost) -> None:
    host.plug([VIF])
    own = {"op": "configure", "owner": VIF.id, "role": "nic", "kind": "test-nic", "expected": {}}
    calls: list[dict[str, Any]] = [
        {**own, "name": "wire", "values": {"mtu": 1400}},
        {**own, "name": "lo", "values": {"mtu": 1400}},
        {**own, "name": faults.device("tap", VIF), "values": {"mtu": 1400}},
        {**own, "name": "eth1", "role": "tap", "values": {"mtu": 1400}},
        {**own, "name": "eth1", "kind": "tap", "values": {"mtu": 1400}},
        {**own, "name": "eth1", "values": {"alias": f"vifplug:{VIF.id}"}},
        {**own, "name": "eth1", "values": {"nothing": 1}},
        {**own, "name": "eth1", "values": {"mtu": 1}},
        {**own, "name": "eth1", "values": {"master": "br-int"}},
        {**own, "op": "set", "name": "eth1", "values": {"mtu": 1400}, "adopt": True},
        {**own, "op": "create-test-nic", "name": "eth3", "mtu": 1500, "address": "02:00:00:00:00:01"},
        {"op": "delete", "links": [{**own, "name": "eth1"}]},
    ]
    # What is put right on links of ours alone.
    passage: dict[str, Any] = {"qdisc": None, "xdp": None, "txqueuelen": 0, "linkmode": 1, "bridge_port:isolated": 1}
    calls += [{**own, "name": "eth1", "values": {key: value}} for key, value in passage.items()]
    before = world.snapshot()
    for call in calls:
        with pytest.raises((errors.PermissionDenied, errors.Conflict)):
            faults.change(host, "links", [call])
    assert world.snapshot() == before
