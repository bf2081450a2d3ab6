"""A plug with an uplink that fails or is killed at every step leaves the host, and the device on it, as they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import Deed, cut, plan_length, raising, vif
from tests.support.network.two_hosts import NIC, PHYSNET, nic
from tests.support.scenarios import ABSENT, COMMANDS, WHOLE, Scene
from tests.support.world.world import World
from vifplug import errors
from vifplug.model.vif import Vif

INJECTED = "injected by a test"
KILLED = -9
UPLINKS: Mapping[str, dict[str, Any]] = {
    "flat": {"type": "flat", "physical_network": PHYSNET},
    "multicast": {"type": "vxlan", "physical_network": PHYSNET, "segmentation_id": 100, "group": "239.1.1.1"},
    "vlan": {"type": "vlan", "physical_network": PHYSNET, "segmentation_id": 5},
    "unicast": {
        **{"type": "vxlan", "physical_network": PHYSNET, "segmentation_id": 100},
        "peers": ["192.0.2.2", "192.0.2.3"],
    },
}


DEVICES = {"flat": None, "vlan": f"{NIC}.5", "multicast": "vxlan-100", "unicast": "vxlan-100"}
CASES = [
    pytest.param(case, marks=pytest.mark.kernel_datapath if case == "vlan" else ())  # it needs 8021q
    for case in UPLINKS
]


def vifs(case: str, count: int = 2) -> list[Vif]:
    """VIFs of one network with an uplink."""
    network = {"id": faults.NETWORK, "uplink": UPLINKS[case]}
    return [vif("bridge", number + 1, network=network) for number in range(count)]


def prepare(host: World, case: str) -> None:
    """A flat uplink is down before it is configured, so that its flags are put back as well."""
    if case == "flat":
        host.ip("link", "set", NIC, "down")


def fail(host: World, requests: Sequence[Vif], error: BaseException, after: int) -> None:
    with cut(after, raising(error)), vifplug.local(str(host.config_file)) as library, pytest.raises(type(error)):
        library.plug(requests)


@pytest.mark.parametrize("interrupt", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_error_at_every_action_is_undone(host: World, case: str, interrupt: bool) -> None:
    prepare(host, case)
    before, device, requests = host.snapshot(), nic(host), vifs(case)
    length = plan_length(host, requests)
    assert length >= 5
    for after in range(length + 1):
        fail(host, requests, KeyboardInterrupt() if interrupt else errors.LinkError(INJECTED), after)
        assert host.snapshot() == before, f"after {after} actions"
        assert nic(host) == device
        assert faults.stored(host) == {}
    with vifplug.local(str(host.config_file)) as library:
        library.plug(requests)
        assert library.check().clean
        library.unplug([one.id for one in requests])
    assert (host.snapshot(), nic(host)) == (before, device)


@pytest.mark.parametrize("killer", [faults.kill_group, faults.kill_caller])
@pytest.mark.parametrize("case", CASES)
def test_plug_killed_at_every_action(host: World, case: str, killer: Deed) -> None:
    prepare(host, case)
    device, scene = nic(host), Scene.of(host, vifs(case))
    for after in range(plan_length(host, scene.vifs) + 1):
        assert scene.cut_short(COMMANDS["plug"][0], after, killer) == KILLED
        command, outcome = list(COMMANDS.values())[after % len(COMMANDS)]
        scene.run(command)
        scene.must_be(outcome, f"after a plug killed after {after} actions")
        scene.unplug()
        scene.must_be(ABSENT)
        assert nic(host) == device, f"after {after} actions"


@pytest.mark.parametrize("case", CASES)
def test_unplug_killed_at_every_action(host: World, case: str) -> None:
    prepare(host, case)
    device, scene = nic(host), Scene.of(host, vifs(case))
    for after in range(4):
        scene.plug()
        assert scene.cut_short(COMMANDS["unplug"][0], after, faults.kill_group) in (KILLED, 0)
        scene.run(COMMANDS["list"][0])
        with vifplug.local(str(host.config_file)) as library:
            assert library.check().clean
        scene.unplug()
        scene.must_be(ABSENT)
        assert nic(host) == device, f"after {after} actions"


@pytest.mark.parametrize("case", CASES)
def test_helper_killed_at_every_action_is_undone_at_once(host: World, case: str) -> None:
    prepare(host, case)
    device, scene = nic(host), Scene.of(host, vifs(case, 1))
    for after in range(plan_length(host, scene.vifs)):
        assert scene.cut_short(COMMANDS["plug"][0], after, faults.kill_helper) == 1
        scene.must_be(ABSENT, f"after {after} actions")
        assert nic(host) == device


@pytest.mark.parametrize("case", CASES)
def test_repair_killed_at_every_action_ends_as_recorded(host: World, case: str) -> None:
    scene, device = Scene.of(host, vifs(case, 1)), nic(host)
    scene.plug()

    def drift() -> None:
        host.ip("link", "delete", faults.NETWORK_BRIDGE)
        if name := DEVICES[case]:
            host.ip("link", "delete", name)

    drift()
    length = plan_length(host, scene.vifs)
    assert length > 2
    for after in range(length + 1):
        if after:
            drift()
        assert scene.cut_short(lambda library, _vifs: library.repair(), after, faults.kill_group) == KILLED
        scene.run(COMMANDS["list"][0])
        scene.must_be(WHOLE, f"after {after} actions")
    scene.unplug()
    scene.must_be(ABSENT)
    assert nic(host) == device
