"""host-device: a virtual function's representor is the port of the OVS bridge; it is put back as it was found."""

from __future__ import annotations

import pathlib
from dataclasses import replace
from typing import Any

import pytest

from tests.support import builders
from tests.support.builders import HOST_DEVICE
from tests.support.fake_host import FakeHost
from vifplug.daemon.reconcile.index import Index
from vifplug.drivers import guest_end, registry
from vifplug.engine.commands import guest, inspect, recover
from vifplug.errors import Conflict, InputError, LinkError, VifplugError
from vifplug.linux import encode
from vifplug.model.vif import Vif
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.resources.vf import Representor, Vf

ADDRESS, PHYSICAL, DEVICE = "0000:3b:00.2", "0000:3b:00.0", "eth5"
PORT = "vfr7c1d9e30-5b"
OTHER = "e4b8d9f5-3a3a-4f94-9b5c-8b4d5a3fa264"
BEFORE, AFTER = (9000, False, True), (1450, True, True)
DEVARGS = f"{PHYSICAL},representor=[4]"


class World:
    """A host in memory with a virtual function, whose representor an operator has set up."""

    def __init__(self, directory: pathlib.Path, datapath: str) -> None:
        self.host = FakeHost(datapath=datapath)
        self.host.links = {
            ADDRESS: Representor(
                name=ADDRESS,
                netdev=DEVICE,
                number=4,
                physical=PHYSICAL,
                ifindex=12,
                mtu=BEFORE[0],
                disable_ipv6=BEFORE[1],
                up=BEFORE[2],
            ),
            DEVICE: Link(name=DEVICE, ifindex=12),
        }
        self.plugger = builders.plugger(directory, self.host, configurable=(PHYSICAL,))

    @property
    def settings(self) -> tuple[int | None, bool | None, bool | None]:
        link = self.host.links[ADDRESS]
        return link.mtu, link.disable_ipv6, link.up

    def set(self, **values: Any) -> None:
        self.host.links[ADDRESS] = replace(self.host.links[ADDRESS], **values)

    def move(self, name: str, ifindex: int) -> None:
        """The representor gets another name and ifindex: it was renamed, or made again."""
        self.host.links.pop(DEVICE)
        self.host.links[name] = Link(name=name, ifindex=ifindex)
        self.set(netdev=name, ifindex=ifindex)
        if name != DEVICE:
            self.host.ports[DEVICE] = replace(self.host.ports[DEVICE], ofport=-1, error="No such device")

    def drift(self) -> list[tuple[str, str, object, object]]:
        (checked,) = inspect.check(self.plugger).vifs
        return [(item.subject, item.attribute, item.observed, item.desired) for item in checked.drift]


@pytest.fixture
def world(tmp_path: pathlib.Path) -> World:
    return World(tmp_path, "system")


@pytest.fixture
def userspace(tmp_path: pathlib.Path) -> World:
    return World(tmp_path, "netdev")


def vif(vif_id: str = HOST_DEVICE, **device: Any) -> Vif:
    return builders.vif("host-device", id=vif_id, pci_device={"address": ADDRESS, **device})


def test_representor_is_the_port_and_is_put_back(world: World) -> None:
    (report,) = world.plugger.plug([vif()])
    assert world.settings == AFTER
    assert [(device["name"], device["kind"], device["mtu"]) for device in report.devices] == [
        (ADDRESS, "representor", 1450)
    ]
    assert [(port["bridge"], port["name"]) for port in report.ports] == [("br-int", DEVICE)]
    port = world.host.ports[DEVICE]
    assert port.iface_ids == {
        **{"iface-id": HOST_DEVICE, "iface-status": "active", "attached-mac": "fa:16:3e:4c:2a:0d"},
    }
    assert port.qos
    assert port.settings == {}
    assert inspect.check(world.plugger).clean
    applied = list(world.host.applied)
    world.plugger.plug([vif()])
    assert world.host.applied == applied
    (report,) = world.plugger.unplug([HOST_DEVICE])
    assert (world.settings, list(report.warnings)) == (BEFORE, [])
    assert not world.host.ports
    assert not world.host.qos


def test_port_of_the_userspace_datapath_is_dpdks_and_the_device_is_left_alone(userspace: World) -> None:
    (report,) = userspace.plugger.plug([vif()])
    assert userspace.settings == BEFORE
    port = userspace.host.ports[PORT]
    assert port.settings == {"type": "dpdk", "options": f"dpdk-devargs={DEVARGS}", "mtu_request": 1450}
    assert (port.qos, [one["name"] for one in report.ports]) == (None, [PORT])
    assert inspect.check(userspace.plugger).clean
    applied = list(userspace.host.applied)
    userspace.plugger.plug([vif()])
    assert userspace.host.applied == applied
    userspace.host.ports[PORT] = replace(port, settings={**port.settings, "options": "dpdk-devargs=0000:5e:00.0"})
    assert userspace.drift() == [(PORT, "options", "dpdk-devargs=0000:5e:00.0", f"dpdk-devargs={DEVARGS}")]
    userspace.plugger.repair([HOST_DEVICE])
    assert userspace.host.ports[PORT].settings == port.settings
    userspace.plugger.unplug([HOST_DEVICE])
    assert not userspace.host.ports


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        ({"up": False}, [(ADDRESS, "up", False, True)]),
        ({"mtu": 1500}, [(ADDRESS, "mtu", 1500, 1450)]),
        ({"disable_ipv6": False}, [(ADDRESS, "disable_ipv6", False, True)]),
    ],
)
def test_changed_representor_is_named_and_repaired(
    world: World, change: dict[str, Any], drift: list[tuple[str, str, object, object]]
) -> None:
    world.plugger.plug([vif()])
    world.set(**change)
    assert world.drift() == drift
    world.plugger.repair([HOST_DEVICE])
    assert world.settings == AFTER
    assert inspect.check(world.plugger).clean


def test_port_that_was_deleted_is_named_and_made_again(world: World) -> None:
    world.plugger.plug([vif()])
    del world.host.ports[DEVICE]
    assert world.drift() == [(DEVICE, "port", None, "br-int")]
    world.plugger.repair([HOST_DEVICE])
    assert inspect.check(world.plugger).clean


def test_representor_under_another_name_is_named_and_its_port_follows(world: World) -> None:
    world.plugger.plug([vif()])
    world.move("eth7", 12)
    assert world.drift() == [(ADDRESS, "netdev", "eth7", DEVICE), ("eth7", "port", None, "br-int")]
    world.plugger.repair([HOST_DEVICE])
    assert (list(world.host.ports), world.settings) == (["eth7"], AFTER)
    assert inspect.check(world.plugger).clean
    world.plugger.unplug([HOST_DEVICE])
    assert (list(world.host.ports), world.settings) == ([], BEFORE)


def test_representor_that_was_made_again_is_named_and_attached_again(world: World) -> None:
    world.plugger.plug([vif()])
    before = world.host.ports[DEVICE]
    world.move(DEVICE, 40)
    world.set(mtu=1500, up=False, disable_ipv6=False)
    assert (DEVICE, "ifindex", 40, 12) in world.drift()
    world.plugger.repair([HOST_DEVICE])
    assert world.host.ports[DEVICE].uuid == before.uuid
    assert world.host.ports[DEVICE].ofport != before.ofport
    assert world.settings == AFTER
    assert inspect.check(world.plugger).clean


def test_renamed_representor_is_unplugged_under_its_new_name(world: World) -> None:
    world.plugger.plug([vif()])
    world.move("eth7", 12)
    (report,) = world.plugger.unplug([HOST_DEVICE])
    assert (list(world.host.ports), world.settings, list(report.warnings)) == ([], BEFORE, [])
    (back,) = [one for one in map(encode.of_link, filter(_is_of_links, world.host.applied)) if one["expected"]]
    assert (back["name"], back["netdev"]) == (ADDRESS, "eth7")


def test_renamed_representor_that_the_datapath_holds_is_freed_by_the_unplug(world: World) -> None:
    world.plugger.plug([vif()])
    world.move("eth7", 12)
    world.host.links["eth7"] = replace(world.host.links["eth7"], master="ovs-system")
    world.plugger.unplug([HOST_DEVICE])
    assert (list(world.host.ports), world.settings, world.host.links["eth7"].master) == ([], BEFORE, None)
    assert [action.name for action in world.host.applied[-4:]] == [
        *("delete-port", "delete-qos", "free-device", "configure-link")
    ]


def _is_of_links(action: Any) -> bool:
    return bool(action.plane == "links")


def test_what_another_program_has_changed_since_is_left(world: World) -> None:
    world.plugger.plug([vif()])
    world.set(mtu=2000)
    (report,) = world.plugger.unplug([HOST_DEVICE])
    assert world.settings == (2000, False, True)
    assert [f"mtu of representor {ADDRESS!r} was left: it is 2000" in words for words in report.warnings] == [True]


@pytest.mark.parametrize("fail_at", [0, 1])
def test_failed_plug_puts_back(world: World, fail_at: int) -> None:
    world.host.fail_at = fail_at
    with pytest.raises(LinkError):
        world.plugger.plug([vif()])
    assert (world.settings, world.host.ports, world.host.qos) == (BEFORE, {}, {})
    assert not world.plugger.store.contents().intents


def test_killed_plug_is_settled_by_putting_back(world: World) -> None:
    with builders.intents_of(world.plugger, world.host) as seen:
        world.plugger.plug([vif()])
    world.plugger.store.forget([HOST_DEVICE])
    world.plugger.store.begin(seen[:1], {}, is_new=True)
    recover.settle(world.plugger)
    assert (world.settings, world.host.ports) == (BEFORE, {})


def test_function_that_went_is_drift_and_its_vif_unplugs(world: World) -> None:
    """The port is known by its record, not by sysfs."""
    world.plugger.plug([vif()])
    del world.host.links[ADDRESS], world.host.links[DEVICE]
    world.host.ports[DEVICE] = replace(world.host.ports[DEVICE], ofport=-1, error="No such device")
    assert [(subject, attribute) for subject, attribute, *_ in world.drift()] == [
        *((ADDRESS, "present"), (DEVICE, "error"), (DEVICE, "ofport"))
    ]
    (report,) = world.plugger.unplug([HOST_DEVICE])
    assert (list(report.warnings), world.host.ports) == ([], {})


def test_switchdev_that_was_switched_off_is_drift_and_says_how_to_switch_it_on(world: World) -> None:
    world.plugger.plug([vif()])
    del world.host.links[DEVICE]
    advice = f"devlink dev eswitch set pci/{PHYSICAL} mode switchdev"
    world.set(netdev=None, mtu=None, disable_ipv6=None, up=None, why_absent=f"there is none: {advice}")
    assert (ADDRESS, "netdev", None, DEVICE) in world.drift()
    with pytest.raises(VifplugError, match=advice):
        world.plugger.repair([HOST_DEVICE])


@pytest.mark.parametrize("datapath", ["system", "netdev"])
def test_function_is_one_vifs(tmp_path: pathlib.Path, datapath: str) -> None:
    world = World(tmp_path, datapath)
    world.plugger.plug([vif()])
    applied = list(world.host.applied)
    with pytest.raises(Conflict, match=f"VIF {HOST_DEVICE}") as raised:
        world.plugger.plug([vif(OTHER)])
    assert (raised.value.exit_code, world.host.applied) == (4, applied)
    with pytest.raises(Conflict, match=ADDRESS):
        world.plugger.plug([vif(OTHER), vif("f5c9eaa6-4b4b-4aa5-8c6d-9c5e6b4ab375")])
    assert world.host.applied == applied


def test_function_of_a_vf_vif_is_that_ones(world: World) -> None:
    """The two types look at one function in two ways; it is claimed by its address."""
    other = builders.vif("vf", pci_device={"address": ADDRESS})
    for both in ([vif(), other], [other, vif()]):
        with pytest.raises(Conflict, match=f"PCI function '{ADDRESS}' is held by VIF"):
            world.plugger.plug(both)
    world.plugger.plug([vif()])
    with pytest.raises(Conflict, match=f"PCI function '{ADDRESS}' is held by VIF {HOST_DEVICE}"):
        world.plugger.plug([other])
    world.host.links[ADDRESS] = Vf(name=ADDRESS, physical=PHYSICAL, vlan=0, priority=0)
    assert [item.attribute for item in inspect.check(world.plugger).vifs[0].drift] == ["kind"]


@pytest.mark.parametrize(("vdpa", "expected"), [(None, "/dev/vhost-vdpa-7"), (True, "/dev/vhost-vdpa-7"), (False, "")])
def test_vdpa_device_is_recorded_and_its_number_follows(world: World, vdpa: bool | None, expected: str) -> None:
    world.set(vdpa="/dev/vhost-vdpa-0")
    world.plugger.plug([vif(vdpa=vdpa)])
    world.set(vdpa="/dev/vhost-vdpa-7")
    assert [attribute for _subject, attribute, *_ in world.drift()] == ([] if vdpa is False else ["vdpa"])
    assert guest.guest_seat(world.plugger, HOST_DEVICE).vdpa == expected
    applied = list(world.host.applied)
    world.plugger.repair([HOST_DEVICE])
    assert world.host.applied == applied, "the host is right; the record follows it"
    assert inspect.check(world.plugger).clean
    record = world.plugger.store.record(HOST_DEVICE)
    assert record is not None
    (link,) = kinds.links_in(record.resources)
    assert (link.vdpa or "") == expected


def test_guest_takes_hold_of_the_function() -> None:
    driver = registry.driver_for("host-device", HOST_DEVICE)
    assert registry.end_by(driver, vif()) == guest_end.HostDevice(ADDRESS, vdpa=None)
    assert registry.end_by(driver, vif(vdpa=True)) == guest_end.HostDevice(ADDRESS, vdpa=True)
    assert registry.guest_link(vif()) == ""


def test_path_leads_from_the_function_to_the_bridge(world: World) -> None:
    world.plugger.plug([vif()])
    hops = inspect.path(world.plugger, HOST_DEVICE).hops
    assert [(hop.name, hop.kind, hop.state, hop.joined) for hop in hops] == [
        ("fa:16:3e:4c:2a:0d", "guest", "unknown", True),
        (ADDRESS, "representor", "up", True),
        (DEVICE, "ovs-port", "up", True),
        ("br-int", "ovs-bridge", "up", True),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pci_device": None}, "pci_device of VIF .* is not given"),
        ({"pci_device": {"address": "3b:00.2"}}, "pci_device.address"),
        ({"pci_device": {"address": ADDRESS, "trusted": True}}, "pci_device.trusted of VIF .* is for VIFs of type vf"),
        ({"pci_device": {"address": ADDRESS, "spoof_check": False}}, "pci_device.spoof_check"),
        ({"pci_device": {"address": ADDRESS, "vdpa": 1}}, "pci_device.vdpa: 1: it must be true or false"),
        ({"vhost_user": {"socket": "/x/y"}}, "vhost_user: it is for VIFs of type external, vhost-user only"),
        ({"create_port": False}, "create_port: it is for VIFs of type ovs only"),
        ({"per_port_bridge": True}, "per_port_bridge: it is for VIFs of type ovs only"),
    ],
)
def test_wrong_request_is_bad_input(world: World, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words) as raised:
        world.plugger.plug([Vif(**(builders.document("host-device") | changes))])
    assert (raised.value.exit_code, world.host.applied) == (2, [])


def test_actions_as_the_helper_takes_them(world: World) -> None:
    configure, add = world.plugger.plan([vif()]).actions
    assert encode.of_link(configure) == {
        **{"op": "configure", "name": ADDRESS, "owner": HOST_DEVICE, "role": "representor", "kind": "representor"},
        **{"birth_address": None, "netdev": DEVICE, "expected": {}},
        "values": {"mtu": 1450, "disable_ipv6": True},
    }
    made = encode.of_port(add)
    assert (made["name"], made["function"], made["settings"]) == (DEVICE, ADDRESS, {})


def test_port_of_dpdk_names_no_function_for_the_device(userspace: World) -> None:
    (add,) = userspace.plugger.plan([vif()]).actions
    made = encode.of_port(add)
    assert (made["name"], made["function"]) == (PORT, "")
    assert made["settings"] == {"type": "dpdk", "options": {"dpdk-devargs": DEVARGS}, "mtu_request": 1450}


def test_names_and_ifindex_of_the_representor_lead_to_its_vif(world: World) -> None:
    """A renamed device is known by its ifindex alone."""
    world.plugger.plug([vif()])
    index = Index()
    index.update(world.plugger.store.contents().records)
    for name in (DEVICE, "#12", ADDRESS):
        assert index.of_devices([name]) == {HOST_DEVICE}
    assert index.of_devices(["eth7", "#13"]) == set()
