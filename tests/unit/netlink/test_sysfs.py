"""Virtual functions found in trees of sysfs as several drivers lay them out."""

from __future__ import annotations

import pathlib
from dataclasses import replace

import pytest

from tests.support import sysfs as trees
from tests.support.sysfs import NICS, PHYSICAL, VIRTUAL
from vifplug.errors import ResourceMissing
from vifplug.netlink import sysfs


@pytest.fixture(autouse=True)
def root(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(sysfs, "ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("nic", NICS)
@pytest.mark.parametrize("number", [0, 2])
def test_function_has_its_number_and_the_uplink_of_its_nic(root: pathlib.Path, nic: str, number: int) -> None:
    trees.lay_out(root, NICS[nic])
    found = sysfs.virtual_function(VIRTUAL[number])
    assert (found.number, found.physical, found.device, found.ifindex) == (number, PHYSICAL, "eth4", 7)
    assert (found.driver, found.in_use) == (NICS[nic].vf_driver, "")
    assert found.devices == ((f"eth4v{number}",) if NICS[nic].vf_driver else ())


@pytest.mark.parametrize("nic", NICS)
def test_physical_function_is_known_without_its_network_device(root: pathlib.Path, nic: str) -> None:
    trees.lay_out(root, replace(NICS[nic], devices={}))
    assert [sysfs.physical_function(address) for address in VIRTUAL] == [PHYSICAL] * len(VIRTUAL)
    for address in (PHYSICAL, "0000:fe:1f.7", "", "../0000:3b:00.2", f"{VIRTUAL[0]}/physfn"):
        assert sysfs.physical_function(address) == "", address


def test_two_nics_are_distinguished(root: pathlib.Path) -> None:
    second = ("0000:3b:08.2", "0000:3b:08.3")
    trees.lay_out(root, NICS["igb"])
    trees.lay_out(root, replace(NICS["igb"], virtual=second), physical="0000:3b:00.1", ifindex=8)
    assert [sysfs.virtual_function(one).ifindex for one in (VIRTUAL[1], second[1])] == [7, 8]
    assert sysfs.virtual_function(second[1]).number == 1


@pytest.mark.parametrize(
    ("driver", "is_open", "in_use"), [(True, True, "vfio-pci"), (True, False, ""), (False, True, "")]
)
def test_function_is_in_use_while_a_guests_driver_has_it_enabled(
    root: pathlib.Path, driver: bool, is_open: bool, in_use: str
) -> None:
    trees.lay_out(root, NICS["igb"])
    if driver:
        trees.give_to_guests(root, VIRTUAL[0], is_open=is_open)
    assert sysfs.virtual_function(VIRTUAL[0]).in_use == in_use


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("0000:3b:1f.7", "there is no PCI device 0000:3b:1f.7"),
        (PHYSICAL, "is not a virtual function"),
        ("../../../etc", "there is no PCI device"),
        ("", "there is no PCI device"),
    ],
)
def test_what_is_no_virtual_function_is_a_typed_error(root: pathlib.Path, address: str, words: str) -> None:
    trees.lay_out(root, NICS["igb"])
    with pytest.raises(ResourceMissing, match=words):
        sysfs.virtual_function(address)


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ({}, "has no network device in this network namespace"),
        ({"eth0": "pf0vf0", "eth1": "1"}, "has no network device"),
    ],
)
def test_nic_without_an_uplink_here_is_a_typed_error(
    root: pathlib.Path, devices: dict[str, str | None], words: str
) -> None:
    trees.lay_out(root, replace(NICS["mlx5"], devices=devices))
    with pytest.raises(ResourceMissing, match=words):
        sysfs.virtual_function(VIRTUAL[0])


def test_function_that_its_nic_does_not_list_is_a_typed_error(root: pathlib.Path) -> None:
    trees.lay_out(root, NICS["igb"])
    (root / "bus" / "pci" / "devices" / PHYSICAL / "virtfn0").unlink()
    with pytest.raises(ResourceMissing, match="does not list PCI device"):
        sysfs.virtual_function(VIRTUAL[0])
