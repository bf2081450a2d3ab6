"""Virtual functions on a real kernel, whose devices have none, under a tree of sysfs that says they do: what is not
there, or not listed, is refused by both sides. Real ones are in the booted host (tests/host/checks/vf.py)."""

from __future__ import annotations

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
from vifplug.netlink import sysfs


@pytest.fixture
def host(world: World, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    """The library on a host whose eth4 is a NIC with virtual functions, of which those of one are listed."""
    world.ip("link", "add", "eth4", "type", "veth", "peer", "wire")
    (link,) = world.ip("link", "show", "eth4")
    trees.lay_out(tmp_path, NICS["igb"], ifindex=link["ifindex"])
    monkeypatch.setattr(sysfs, "ROOT", str(tmp_path))  # before the helper is forked
    world.write_config(pci={"devices": PHYSICAL})
    with vifplug.local(str(world.config_file)) as host:
        yield host


def vif(address: str) -> vifplug.Vif:
    return faults.vif("vf", pci_device={"address": address, "vlan": 100})


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0000:ff:1f.7", "there is no PCI device 0000:ff:1f.7"),
        (PHYSICAL, f"PCI device {PHYSICAL} is not a virtual function"),
        (VIRTUAL[0], "the kernel shows no virtual function 0 of 'eth4'"),
    ],
)
def test_what_is_no_virtual_function_is_bad_input(world: World, host: LocalHost, address: str, words: str) -> None:
    before = world.snapshot()
    with pytest.raises(errors.InputError, match=words) as raised:
        host.plug([vif(address)])
    assert (raised.value.exit_code, raised.value.subject) == (2, address)
    assert world.snapshot() == before
    assert not host.list()


def test_device_of_another_namespace_is_not_the_nic(world: World, host: LocalHost) -> None:
    world.ip("link", "set", "eth4", "name", "eth5")
    with pytest.raises(errors.InputError, match="is not in this network namespace"):
        host.plug([vif(VIRTUAL[0])])


def test_call_of_a_captured_worker_configures_no_part_of_another_link(world: World, host: LocalHost) -> None:
    own = {"op": "configure", "owner": faults.vif("vf").id, "role": "vf", "kind": "vf", "expected": {}}
    calls: list[dict[str, Any]] = [
        {**own, "name": "eth4", "values": {"address": "02:00:00:00:00:01"}},
        {**own, "name": "../../../net", "values": {"vlan": 1}},
        {**own, "name": "0000:5e:00.2", "values": {"vlan": 1}},
        {**own, "name": VIRTUAL[0], "values": {"vlan": 1}},
        {**own, "op": "set", "name": VIRTUAL[0], "values": {"vlan": 1}, "adopt": True},
        {**own, "op": "create-vf", "name": VIRTUAL[0], "mtu": 1500, "address": "02:00:00:00:00:01"},
        {"op": "delete", "links": [{**own, "name": VIRTUAL[0]}]},
    ]
    before = world.snapshot()
    for call in calls:
        with pytest.raises((errors.PermissionDenied, errors.ResourceMissing, errors.LinkError, errors.Conflict)):
            faults.change(host, "links", [call])
    assert world.snapshot() == before
