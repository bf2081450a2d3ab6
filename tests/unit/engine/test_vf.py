"""vf: a virtual function is configured through its physical function, and put back as it was found."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import pytest

from tests.support import builders
from tests.support.builders import VF
from tests.support.fake_host import FakeHost
from vifplug.drivers import guest_end, registry
from vifplug.engine.commands import guest, inspect, recover
from vifplug.engine.requester import Requester
from vifplug.errors import Conflict, InputError, LinkError, NotPermitted
from vifplug.linux import encode
from vifplug.model.vif import Vif
from vifplug.resources.vf import Vf

ADDRESS, PHYSICAL = "0000:3b:00.2", "0000:3b:00.0"
OTHER = "e4b8d9f5-3a3a-4f94-9b5c-8b4d5a3fa264"
ZERO, MAC = "00:00:00:00:00:00", "fa:16:3e:4c:2a:0f"
Setting = tuple[str | None, int | None, int | None, bool | None, bool | None]
BEFORE: Setting = (ZERO, 7, 3, True, False)


class World:
    """A host in memory with a virtual function that an earlier guest left in a VLAN."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.host = FakeHost()
        self.host.links = {
            ADDRESS: Vf(
                name=ADDRESS,
                address=ZERO,
                vlan=7,
                priority=3,
                spoof_check=True,
                trust=False,
                physical=PHYSICAL,
                up=True,
            )
        }
        self.plugger = builders.plugger(directory, self.host, configurable=(PHYSICAL,))

    @property
    def found(self) -> Setting:
        link = self.host.links[ADDRESS]
        assert isinstance(link, Vf)
        return link.address, link.vlan, link.priority, link.spoof_check, link.trust

    def set(self, **values: Any) -> None:
        self.host.links[ADDRESS] = replace(self.host.links[ADDRESS], **values)


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


def vif(vif_id: str = VF, **device: Any) -> Vif:
    return builders.vif("vf", id=vif_id, pci_device={"address": ADDRESS, **device})


@pytest.mark.parametrize(
    ("device", "after"),
    [
        ({}, (MAC, 0, 0, True, False)),
        ({"vlan": 100}, (MAC, 100, 0, True, False)),
        ({"vlan": 4094, "trusted": True, "spoof_check": False}, (MAC, 4094, 0, False, True)),
    ],
)
def test_function_is_set_and_put_back(world: World, device: dict[str, Any], after: Setting) -> None:
    (report,) = world.plugger.plug([vif(**device)])
    assert world.found == after
    assert [(one["name"], one["kind"], one["up"]) for one in report.devices] == [(ADDRESS, "vf", True)]
    assert inspect.check(world.plugger).clean
    applied = list(world.host.applied)
    world.plugger.plug([vif(**device)])
    assert world.host.applied == applied
    (report,) = world.plugger.unplug([VF])
    assert (world.found, list(report.warnings)) == (BEFORE, [])


def test_what_another_program_has_changed_since_is_left(world: World) -> None:
    world.plugger.plug([vif(vlan=100)])
    world.set(vlan=200)
    (report,) = world.plugger.unplug([VF])
    assert world.found == (ZERO, 200, 3, True, False)
    assert [f"vlan of vf {ADDRESS!r} was left: it is 200" in words for words in report.warnings] == [True]


def test_removed_mac_is_drift_and_repaired(world: World) -> None:
    world.plugger.plug([vif(vlan=100)])
    world.set(address=ZERO)
    (checked,) = inspect.check(world.plugger).vifs
    assert [(item.subject, item.attribute, item.observed, item.desired) for item in checked.drift] == [
        (ADDRESS, "address", ZERO, MAC)
    ]
    world.plugger.repair([VF])
    assert world.found == (MAC, 100, 0, True, False)


def test_operator_may_use_every_listed_function_as_operations_says(world: World) -> None:
    operator = Requester(uid=1001, every_vif=False)
    wanted = vif(vlan=4094, trusted=True, spoof_check=False)
    world.plugger.plug([wanted], operator)
    assert world.found == (MAC, 4094, 0, False, True)
    with pytest.raises(NotPermitted):
        world.plugger.unplug([VF], Requester(uid=1002, every_vif=False))
    world.plugger.unplug([VF], operator)
    assert world.found == BEFORE
    world.plugger.options = replace(world.plugger.options, configurable=("0000:3c:*",))
    with pytest.raises(InputError, match=r"\[pci\] devices does not list"):
        world.plugger.plug([wanted], operator)


def test_function_is_one_vifs(world: World) -> None:
    world.plugger.plug([vif()])
    applied = list(world.host.applied)
    with pytest.raises(Conflict, match=f"{ADDRESS}' is held by VIF {VF}") as raised:
        world.plugger.plug([vif(OTHER)])
    assert (raised.value.exit_code, world.host.applied) == (4, applied)
    with pytest.raises(Conflict):
        world.plugger.plug([vif(OTHER), vif("f5c9eaa6-4b4b-4aa5-8c6d-9c5e6b4ab375")])


def test_failed_plug_puts_back(world: World) -> None:
    world.host.fail_at = 0
    with pytest.raises(LinkError):
        world.plugger.plug([vif(vlan=100)])
    assert world.found == BEFORE
    assert not world.plugger.store.contents().intents


def test_killed_plug_is_settled_by_putting_back(world: World) -> None:
    with builders.intents_of(world.plugger, world.host) as seen:
        world.plugger.plug([vif(vlan=100)])
    world.plugger.store.forget([VF])
    world.plugger.store.begin(seen, {}, is_new=True)
    recover.settle(world.plugger)
    assert world.found == BEFORE


def test_function_that_went_is_drift_and_its_vif_unplugs(world: World) -> None:
    world.plugger.plug([vif()])
    del world.host.links[ADDRESS]
    (checked,) = inspect.check(world.plugger).vifs
    assert [(item.subject, item.attribute) for item in checked.drift] == [(ADDRESS, "present")]
    (report,) = world.plugger.unplug([VF])
    assert not report.warnings


def test_function_that_another_guest_has_open_is_refused(world: World) -> None:
    world.set(guests_driver="vfio-pci")
    with pytest.raises(Conflict, match=f"vf '{ADDRESS}' for VIF .* is in use by a guest") as raised:
        world.plugger.plug([vif()])
    assert (raised.value.subject, world.host.applied) == (ADDRESS, [])


def test_macvtap_needs_the_functions_network_device(world: World) -> None:
    world.set(driver="vfio-pci")
    with pytest.raises(Conflict, match=r"has no network device .* \(it is bound to vfio-pci\)") as raised:
        world.plugger.plug([vif(macvtap="passthrough")])
    assert (raised.value.subject, world.host.applied) == (ADDRESS, [])
    world.set(driver="")
    with pytest.raises(Conflict, match=r"\(it is bound to no driver\)"):
        world.plugger.plug([vif(macvtap="passthrough")])
    world.set(driver="igbvf", device="eth4v0")
    world.plugger.plug([vif(macvtap="passthrough", vlan=100)])
    assert world.found == (MAC, 100, 0, True, False)
    world.set(driver="vfio-pci", device="")
    (checked,) = inspect.check(world.plugger).vifs
    assert [(item.subject, item.attribute, item.desired) for item in checked.drift] == [(ADDRESS, "device", True)]
    with pytest.raises(Conflict, match="bind it to its own driver"):
        world.plugger.repair([VF])
    world.set(driver="igbvf", device="renamed")
    assert inspect.check(world.plugger).clean
    assert guest.guest_seat(world.plugger, VF) == guest.Seat(
        vif=world.plugger.store.contents().records[VF].vif, function_device="renamed"
    )
    del world.host.links[ADDRESS]
    assert guest.guest_seat(world.plugger, VF).function_device == ""


def test_guest_has_a_macvtap_on_the_function() -> None:
    driver = registry.driver_for("vf", VF)
    assert registry.end_by(driver, vif(macvtap="vepa")) == guest_end.FunctionMacvtap(ADDRESS, "vepa")


def test_guest_takes_hold_of_the_function() -> None:
    driver = registry.driver_for("vf", VF)
    assert registry.end_by(driver, vif()) == guest_end.HostDevice(ADDRESS)
    assert registry.guest_link(vif()) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pci_device": None}, "pci_device of VIF .* is not given"),
        ({"pci_device": {}}, "pci_device.address"),
        ({"pci_device": {"address": "3b:00.2"}}, "pci_device.address"),
        ({"pci_device": {"address": "eth4"}}, "pci_device.address"),
        ({"pci_device": {"address": "0000:3b:20.2"}}, "pci_device.address"),
        ({"pci_device": {"address": ADDRESS, "vlan": 0}}, "pci_device.vlan"),
        ({"pci_device": {"address": ADDRESS, "vlan": 4095}}, "pci_device.vlan"),
        ({"pci_device": {"address": ADDRESS, "trusted": 1}}, "pci_device.trusted"),
        ({"pci_device": {"address": ADDRESS, "whole": True}}, "pci_device.whole .* for VIFs of type external"),
        ({"pci_device": {"address": ADDRESS, "macvtap": "source"}}, "pci_device.macvtap"),
        ({"macvtap": {"source": "eth1"}}, "macvtap: it is for VIFs of type macvtap only"),
    ],
)
def test_wrong_request_is_bad_input(world: World, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        world.plugger.plug([Vif(**(builders.document("vf") | changes))])
    assert (raised.value.exit_code, world.host.applied) == (2, [])


def test_address_in_capitals_is_the_same_function(world: World) -> None:
    world.plugger.plug([vif(address=ADDRESS.upper())])
    assert world.found == (MAC, 0, 0, True, False)


def test_configuration_as_the_helper_takes_it(world: World) -> None:
    (action,) = world.plugger.plan([vif(vlan=100)]).actions
    made = encode.of_link(action)
    assert made == {
        **{"op": "configure", "name": ADDRESS, "owner": VF, "role": "vf", "kind": "vf", "birth_address": MAC},
        **{"values": {"address": MAC, "vlan": 100, "priority": 0}, "expected": {}},
    }
