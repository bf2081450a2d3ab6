"""host-device VIFs on a kernel without switchdev and an Open vSwitch without DPDK: what is refused, what is left, and
the rows of a port of DPDK. A tree of sysfs says that a link is a NIC with virtual functions.

With representors, which netdevsim has: tests/host/checks/representors.py.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

import vifplug
from tests.support import sysfs as trees
from tests.support.faults import faults
from tests.support.sysfs import NICS, PHYSICAL, VIRTUAL
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.linux import encode
from vifplug.netlink import sysfs

OTHER_NIC, OF_OTHER_NIC = "0000:5e:00.0", "0000:5e:00.2"
DEVARGS = f"{PHYSICAL},representor=[1]"


@pytest.fixture
def host(world: World, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    """The library on a host whose eth4 is a NIC with virtual functions, of which those of one NIC are listed."""
    world.ip("link", "add", "eth4", "type", "veth", "peer", "wire")
    (link,) = world.ip("link", "show", "eth4")
    trees.lay_out(tmp_path, NICS["mlx5"], ifindex=link["ifindex"])
    other = trees.Nic(driver="mlx5_core", vf_driver="mlx5_core", devices={"eth9": "p0"}, virtual=(OF_OTHER_NIC,))
    trees.lay_out(tmp_path, other, physical=OTHER_NIC)
    monkeypatch.setattr(sysfs, "ROOT", str(tmp_path))  # before the helper is forked
    world.write_config(pci={"devices": PHYSICAL})
    world.vsctl("--no-wait", "add-br", "br-kernel", "--", "set", "Bridge", "br-kernel", "datapath_type=system")
    with vifplug.local(str(world.config_file)) as host:
        yield host


def vif(address: str = VIRTUAL[1], bridge: str = "br-int", number: int = 1, **device: Any) -> vifplug.Vif:
    more = {"network": {"bridge": bridge, "mtu": 1450}, "pci_device": {"address": address, **device}}
    return faults.vif("host-device", number, **more)


PORT = f"vfr{vif().id}"[:14]


@contextlib.contextmanager
def unchanged(world: World, host: LocalHost) -> Iterator[None]:
    """In the end the world is as it was, and no VIF is recorded."""
    before = world.snapshot()
    yield
    assert world.snapshot() == before
    assert not host.list()


@pytest.mark.parametrize("bridge", ["br-int", "br-kernel"])
@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0000:ff:1f.7", "there is no PCI device 0000:ff:1f.7"),
        (PHYSICAL, f"PCI device {PHYSICAL} is not a virtual function"),
    ],
)
def test_what_is_no_virtual_function_is_bad_input(
    world: World, host: LocalHost, bridge: str, address: str, words: str
) -> None:
    with unchanged(world, host), pytest.raises(errors.InputError, match=words) as raised:
        host.plug([vif(address, bridge)])
    assert (raised.value.exit_code, raised.value.subject) == (2, address)


def test_function_that_is_not_listed_is_bad_input(world: World, host: LocalHost) -> None:
    with unchanged(world, host), pytest.raises(errors.InputError, match=r"\[pci\] devices does not list") as raised:
        host.plug([vif(OF_OTHER_NIC)])
    assert (raised.value.exit_code, raised.value.subject) == (2, OF_OTHER_NIC)


def test_nic_without_switchdev_says_how_to_switch_it_on(world: World, host: LocalHost) -> None:
    advice = f"has no phys_switch_id, .*: devlink dev eswitch set pci/{PHYSICAL} mode switchdev"
    with unchanged(world, host), pytest.raises(errors.InputError, match=advice) as raised:
        host.plug([vif(bridge="br-kernel")])
    assert (raised.value.exit_code, raised.value.subject) == (2, VIRTUAL[1])


def test_device_of_another_namespace_is_not_the_nic(world: World, host: LocalHost) -> None:
    world.ip("link", "set", "eth4", "name", "eth5")
    with unchanged(world, host), pytest.raises(errors.InputError, match="is not in this network namespace"):
        host.plug([vif(bridge="br-kernel")])


def test_function_without_its_vdpa_device_is_bad_input(world: World, host: LocalHost) -> None:
    words = f"PCI device {VIRTUAL[1]} has no vDPA device .*: vdpa dev add name NAME mgmtdev pci/{VIRTUAL[1]}"
    with unchanged(world, host), pytest.raises(errors.InputError, match=words):
        host.plug([vif(vdpa=True)])


def test_switch_without_dpdk_is_an_error_and_leaves_nothing(world: World, host: LocalHost) -> None:
    with unchanged(world, host), pytest.raises(errors.OvsdbError, match="needs an Open vSwitch with DPDK") as raised:
        host.plug([vif()])
    assert (raised.value.exit_code, raised.value.subject) == (1, PORT)
    (action,) = host.plan([vif()]).actions
    assert action.text.endswith(f"with mtu_request 1450, type dpdk, options dpdk-devargs={DEVARGS}")


def row(number: int = 1, **changes: Any) -> dict[str, Any]:
    """The operation that adds a VIF's port, as a caller may send it."""
    settings = {"type": "dpdk", "options": {"dpdk-devargs": DEVARGS}, "mtu_request": 1450}
    own = vif(number=number)
    return {
        **{"op": "add", "name": f"vfr{own.id}"[:14], "owner": own.id, "uuid": "", "bridge": "br-int", "qos": None},
        **{"qos_type": None, "tag": None, "vlan_mode": None, "trunks": [], "other_config": {}, "external_ids": {}},
        **{"iface_ids": {"iface-id": own.id}, "settings": settings, "guest_address": "", "function": "", **changes},
    }


def test_row_of_a_port_of_dpdk_is_os_vifs(world: World, host: LocalHost) -> None:
    (action,) = (action for action in _actions(host) if action["op"] == "add")
    assert action["settings"] == row()["settings"]
    faults.change(host, "ports", [action])
    interface = world.row("Interface", PORT)
    assert interface is not None
    assert (interface["type"], interface["options"]) == ("dpdk", {"dpdk-devargs": DEVARGS})
    assert interface["mtu_request"] == 1450
    assert interface["external_ids"]["iface-id"] == vif().id
    with pytest.raises(errors.Conflict, match=f"the representor '{DEVARGS.replace('[', '.')}' is that of"):
        faults.change(host, "ports", [row(2)])
    own = {"name": PORT, "owner": vif().id, "uuid": ""}
    faults.change(host, "ports", [{**own, "op": "set", "settings": {"type": "dpdk"}, "iface_ids": {}}])
    faults.change(host, "ports", [{**own, "op": "delete", "as_added": False}])
    assert world.row("Interface", PORT) is None


def _actions(host: LocalHost) -> list[dict[str, Any]]:
    from vifplug.engine.commands import plug

    return [encode.of_port(action) for action in plug.plan(host._context, [vif()]).actions]


@pytest.mark.parametrize(
    "devargs",
    [
        f"{OTHER_NIC},representor=[0]",
        f"{OTHER_NIC},representor=[0],{PHYSICAL}",
        f"{PHYSICAL},representor=[7]",
        f"{PHYSICAL},representor=[0-2]",
        f"{PHYSICAL},representor=[0,1]",
        f"{PHYSICAL},representor=[1] ",
        f"{PHYSICAL},representor=1",
        f"{PHYSICAL},representor=pf0vf1",
        f"{PHYSICAL},representor=[1],dv_flow_en=0",
        f" {PHYSICAL},representor=[1]",
        f"{PHYSICAL}\n,representor=[1]",
        f"{VIRTUAL[1]},representor=[0]",
        PHYSICAL,
        VIRTUAL[1],
        "class=eth,mac=00:11:22:33:44:55",
        "vdev:net_af_packet0,iface=eth4",
        "eth_pcap0,tx_pcap=/etc/x",
        "../../bus/pci/devices,representor=[1]",
        "",
        7,
        None,
    ],
)
def test_call_of_a_captured_worker_gives_no_other_arguments_to_dpdk(
    world: World, host: LocalHost, devargs: object
) -> None:
    with unchanged(world, host), pytest.raises(errors.PermissionDenied):
        settings = {"type": "dpdk", "options": {"dpdk-devargs": devargs}}
        faults.change(host, "ports", [row(settings=settings)])


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "dpdk"},
        {"type": "dpdk", "options": {"dpdk-devargs": DEVARGS, "n_rxq": "2"}},
        {"type": "dpdk", "options": {"vhost-server-path": "/var/lib/vhost_sockets/x"}},
        {"type": "dpdk", "options": {"peer": "x"}},
        {"type": "dpdkr", "options": {"dpdk-devargs": DEVARGS}},
    ],
)
def test_call_of_a_captured_worker_makes_no_other_port_of_dpdk(
    world: World, host: LocalHost, settings: dict[str, Any]
) -> None:
    with unchanged(world, host), pytest.raises((errors.PermissionDenied, errors.ResourceMissing)):
        faults.change(host, "ports", [row(settings=settings)])


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (VIRTUAL[1], "eth4"),
        (VIRTUAL[1], "wire"),
        (VIRTUAL[1], "br-int"),
        (VIRTUAL[1], "lo"),
        (OF_OTHER_NIC, "eth4"),
        (PHYSICAL, "eth4"),
        ("0000:ff:1f.7", "eth4"),
        ("../../../net/eth4", "eth4"),
        (7, "eth4"),
    ],
)
def test_call_of_a_captured_worker_makes_no_device_a_port_for_a_representor(
    world: World, host: LocalHost, function: object, name: str
) -> None:
    kinds = (errors.PermissionDenied, errors.ResourceMissing, errors.Conflict)
    with unchanged(world, host), pytest.raises(kinds):
        faults.change(host, "ports", [row(name=name, function=function, settings={}, bridge="br-kernel")])


def test_call_of_a_captured_worker_configures_no_device_for_a_representor(world: World, host: LocalHost) -> None:
    own = {"op": "configure", "owner": vif().id, "role": "representor", "kind": "representor", "expected": {}}
    values = {"values": {"up": False, "mtu": 1400}}
    calls: list[dict[str, Any]] = [
        {**own, **values, "name": VIRTUAL[1], "netdev": "eth4"},
        {**own, **values, "name": VIRTUAL[1], "netdev": "lo"},
        {**own, **values, "name": VIRTUAL[1], "netdev": "../eth4"},
        {**own, **values, "name": VIRTUAL[1], "netdev": None},
        {**own, **values, "name": VIRTUAL[1]},
        {**own, **values, "name": OF_OTHER_NIC, "netdev": "eth4"},
        {**own, **values, "name": "eth4", "netdev": "eth4"},
        {**own, **values, "name": VIRTUAL[1], "netdev": "eth4", "role": "vf"},
        {**own, "name": VIRTUAL[1], "netdev": "eth4", "values": {"netdev": "x"}},
        *({**own, "op": "free", "name": VIRTUAL[1], "netdev": name} for name in ("eth4", "br-int", "nowhere", None)),
        {**own, "op": "free", "name": OF_OTHER_NIC, "netdev": "eth4"},
        {**own, **values, "op": "set", "name": VIRTUAL[1], "netdev": "eth4", "adopt": True},
        {**own, "op": "create-representor", "name": "eth8", "mtu": 1500, "address": "02:00:00:00:00:01"},
        {"op": "delete", "links": [{**own, "name": "eth4", "netdev": "eth4"}]},
    ]
    with unchanged(world, host):
        for call in calls:
            with pytest.raises((errors.PermissionDenied, errors.ResourceMissing, errors.LinkError, errors.Conflict)):
                faults.change(host, "links", [call])
