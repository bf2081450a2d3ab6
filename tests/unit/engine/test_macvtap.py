"""macvtap: on a device of the host, or on a VLAN device that the VIFs of a network share."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import pytest

from tests.support import builders
from tests.support.builders import MACVTAP
from tests.support.fake_host import FakeHost
from vifplug import naming
from vifplug.drivers import guest_end, registry
from vifplug.drivers.contract import Options
from vifplug.engine.commands import inspect
from vifplug.errors import Conflict, InputError, LinkError, ResourceMissing
from vifplug.model.vif import Vif
from vifplug.resources.link import Link
from vifplug.resources.vlan import Vlan

OTHER = "c2f6b7d3-1f1e-4d72-9f3a-6f2b3e1d8042"


class World:
    """A host in memory with a NIC that VIFs may use."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.host = FakeHost()
        self.host.links = {"eth1": Link(name="eth1", ifindex=2, mtu=1500, up=True, carrier=True)}
        self.plugger = builders.plugger(directory, self.host, configurable=("eth*",))

    def set_eth1(self, **values: Any) -> None:
        self.host.links["eth1"] = replace(self.host.links["eth1"], **values)

    def plan(self, *vifs: Vif) -> str:
        return str(self.plugger.plan(vifs))


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path)


def vif(vif_id: str = MACVTAP, **changes: Any) -> Vif:
    return builders.vif("macvtap", id=vif_id, **changes)


def test_device_is_needed_and_never_changed(world: World) -> None:
    (report,) = world.plugger.plug([vif()])
    assert [(device["name"], device["kind"]) for device in report.devices] == [("eth1", "device")]
    assert (report.state, report.waiting_for, report.absent_since) == ("plugged", None, None)
    assert not world.host.applied
    assert inspect.check(world.plugger).clean
    world.set_eth1(up=False, mtu=9000)
    assert inspect.check(world.plugger).clean
    nic = world.host.links.pop("eth1")
    (checked,) = inspect.check(world.plugger).vifs
    assert [(item.subject, item.attribute) for item in checked.drift] == [("eth1", "present")]
    world.host.links["eth1"] = nic
    world.plugger.unplug([MACVTAP])
    assert set(world.host.links) == {"eth1"}


def test_missing_or_unlisted_device_is_refused(world: World) -> None:
    with pytest.raises(InputError, match=r"\[bridge\] physical_networks does not list device 'ens7'"):
        world.host.links["ens7"] = Link(name="ens7", ifindex=3, up=True)
        world.plugger.plug([vif(macvtap={"source": "ens7"})])
    del world.host.links["eth1"]
    with pytest.raises(ResourceMissing, match="no device 'eth1'"):
        world.plugger.plug([vif()])


def test_guest_takes_hold_of_the_device() -> None:
    driver = registry.driver_for("macvtap", MACVTAP)
    assert registry.end_by(driver, vif()) == guest_end.Macvtap("eth1", "bridge")
    assert registry.end_by(driver, vif(macvtap={"source": "eth1", "mode": "vepa"})) == guest_end.Macvtap("eth1", "vepa")


def test_vlan_device_is_shared_by_the_vifs_of_a_network(world: World) -> None:
    first, second = (vif(one, macvtap={"source": "eth1", "vlan": 100}) for one in (MACVTAP, OTHER))
    (report,) = world.plugger.plug([first])
    assert [(device["name"], device["kind"]) for device in report.devices] == [("eth1.100", "vlan")]
    made = world.host.links["eth1.100"]
    assert isinstance(made, Vlan)
    assert (made.lower, made.vlan_id, made.owner, made.mtu) == ("eth1", 100, f"net:{builders.NETWORK}", 1450)
    world.plugger.plug([second])
    world.plugger.unplug([MACVTAP])
    assert world.host.links["eth1.100"].ifindex == made.ifindex
    world.plugger.unplug([OTHER])
    assert set(world.host.links) == {"eth1"}


@pytest.mark.parametrize("damaged", [False, True])
def test_each_vlan_device_of_a_network_goes_with_its_last_vif(world: World, damaged: bool) -> None:
    world.plugger.plug([vif(macvtap={"source": "eth1", "vlan": 100})])
    world.plugger.plug([vif(OTHER, macvtap={"source": "eth1", "vlan": 200})])
    if damaged:
        with world.plugger.store._transaction() as database:
            database.execute("UPDATE records SET body = '{' WHERE vif_id = ?", (OTHER,))
    world.plugger.unplug([MACVTAP])
    # Which of them a damaged record's VIF uses is not known: both stay.
    assert set(world.host.links) == {"eth1", "eth1.200"} | ({"eth1.100"} if damaged else set())
    world.plugger.unplug([OTHER])
    assert set(world.host.links) == {"eth1"}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("damaged", [False, True])
def test_vlan_device_of_another_vif_is_not_made_again_as_another(
    world: World, together: bool, there: bool, damaged: bool
) -> None:
    first, second = (
        vif(one, macvtap={"source": "eth1", "vlan": vlan}, names={"vlan": "v0"})
        for one, vlan in ((MACVTAP, 100), (OTHER, 200))
    )
    if not together:
        world.plugger.plug([first])
        if damaged:
            with world.plugger.store._transaction() as database:
                database.execute("UPDATE records SET body = '{'")
        elif not there:
            del world.host.links["v0"]
    before, applied = dict(world.host.links), list(world.host.applied)
    with pytest.raises(Conflict, match=r"vlan 'v0' has vlan_id 100 for VIFs of .* and vlan_id 200 is asked for"):
        world.plugger.plug([first, second] if together else [second])
    assert (world.host.links, world.host.applied) == (before, applied)


def test_vlan_device_that_another_program_made_again_is_repaired_for_all_its_vifs(world: World) -> None:
    world.plugger.plug([vif(one, macvtap={"source": "eth1", "vlan": 100}) for one in (MACVTAP, OTHER)])
    made = world.host.links["eth1.100"]
    world.host.links["eth1.100"] = made.replaced(vlan_id=200)
    world.plugger.repair([MACVTAP, OTHER])
    assert getattr(world.host.links["eth1.100"], "vlan_id", None) == 100
    assert inspect.check(world.plugger).clean


def test_bridge_of_a_network_goes_although_a_vlan_device_of_it_stays(world: World) -> None:
    world.plugger.plug([vif(macvtap={"source": "eth1", "vlan": 100})])
    (report,) = world.plugger.plug([builders.vif("bridge")])
    assert "bridge" in {link.kind for link in world.host.links.values()}
    world.plugger.unplug([report.id])
    assert set(world.host.links) == {"eth1", "eth1.100"}


def test_vif_that_moves_to_another_vlan_device_takes_the_former_away(world: World) -> None:
    world.plugger.plug([vif(macvtap={"source": "eth1", "vlan": 100}, names={"vlan": "v100"})])
    world.plugger.plug([vif(OTHER, macvtap={"source": "eth1", "vlan": 200})])
    world.plugger.plug([vif(macvtap={"source": "eth1", "vlan": 200}, names={"vlan": "eth1.200"})])
    assert set(world.host.links) == {"eth1", "eth1.200"}
    world.plugger.unplug([MACVTAP])
    assert set(world.host.links) == {"eth1", "eth1.200"}


@pytest.mark.parametrize(("names", "name"), [({}, "eth1.100"), ({"vlan": "phys1.0100"}, "phys1.0100")])
def test_guest_takes_hold_of_the_vlan_device(names: dict[str, str], name: str) -> None:
    request = vif(macvtap={"source": "eth1", "vlan": 100, "mode": "private"}, names=names)
    driver = registry.driver_for("macvtap", MACVTAP)
    assert registry.end_by(driver, request) == guest_end.Macvtap(name, "private")
    (made,) = driver.resources(request, Options())
    assert made.name == name


def test_network_without_an_id_has_one_by_its_vlan_device(world: World) -> None:
    world.plugger.plug([vif(macvtap={"source": "eth1", "vlan": 7}, network={"mtu": 1500})])
    assert world.host.links["eth1.7"].owner == naming.network_owner(naming.network_of_bridge("eth1.7"))
    assert inspect.check(world.plugger).clean


def test_vlan_device_that_no_record_knows_is_an_orphan(world: World) -> None:
    world.plugger.plug([vif(macvtap={"source": "eth1", "vlan": 100})])
    world.plugger.store.forget([MACVTAP])
    assert [(orphan.kind, orphan.name) for orphan in inspect.check(world.plugger).orphans] == [("vlan", "eth1.100")]


@pytest.mark.parametrize("step", range(2))
def test_failed_plug_leaves_no_vlan_device(world: World, step: int) -> None:
    world.host.fail_at = step
    with pytest.raises(LinkError):
        world.plugger.plug([vif(macvtap={"source": "eth1", "vlan": 100})])
    assert set(world.host.links) == {"eth1"}
    assert not world.plugger.store.contents().intents


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"macvtap": None}, "macvtap of VIF .* is not given"),
        ({"macvtap": {}}, "macvtap.source"),
        ({"macvtap": {"source": "a/b"}}, "macvtap.source"),
        ({"macvtap": {"source": "eth1", "mode": "open"}}, "macvtap.mode"),
        ({"macvtap": {"source": "eth1", "vlan": 0}}, "macvtap.vlan"),
        ({"macvtap": {"source": "eth1", "vlan": 4095}}, "macvtap.vlan"),
        ({"macvtap": {"source": "eth1", "vlan": "5"}}, "macvtap.vlan"),
        (
            {"pci_device": {"address": "0000:3b:10.2"}},
            "pci_device: it is for VIFs of type external, host-device, vf only",
        ),
        ({"vif_type": "ovs"}, "macvtap: it is for VIFs of type macvtap only"),
    ],
)
def test_wrong_request_is_bad_input(world: World, changes: dict[str, Any], words: str) -> None:
    document = builders.document("macvtap") | changes
    with pytest.raises(InputError, match=words) as raised:
        world.plugger.plug([Vif(**document)])
    assert (raised.value.exit_code, world.host.applied) == (2, [])


@pytest.mark.parametrize(
    ("device", "vlan", "name"),
    [
        ("eth1", 100, "eth1.100"),
        ("enp130s0f0", 4094, "enp130s0f0.4094"),
        # Of a long name the first four bytes stay, and six digits of its SHA-1 follow, as Neutron's agent has it.
        ("enp130s0f0np0", 7, "enp130s0f0np0.7"),
        ("enp130s0f0np0", 100, "enp1e5baed.100"),
        ("enp130s0f0np1", 100, "enp18ceac4.100"),
    ],
)
def test_vlan_device_has_a_name_that_fits(device: str, vlan: int, name: str) -> None:
    assert naming.vlan_device(device, vlan) == name
    assert naming.is_link_name(name)
