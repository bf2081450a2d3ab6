"""Representors found on the switches of NICs, as kernels and drivers show them: a tree of sysfs has PCI's links and
lists the physical function's devices, and the kernel's messages of all links have switch and port."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from tests.support import sysfs as trees
from tests.support.sysfs import NICS, PHYSICAL, VIRTUAL
from vifplug.errors import LinkError, ResourceMissing
from vifplug.linux import decode
from vifplug.netlink import parts, representors, sysfs
from vifplug.netlink import socket as netlink
from vifplug.resources.vf import Representor

SWITCH, OTHER_SWITCH = "e8ebd30003a1", "e8ebd30003b2"
UPLINK = 7
SECOND = "0000:3b:00.1"
VIRTUAL_OF_SECOND = ("0000:3b:08.2", "0000:3b:08.3")
MANY = tuple(f"0000:3b:{number // 8 + 1:02x}.{number % 8}" for number in range(12))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A host: its NIC's devices by sysfs, and every link by netlink (name: switch, port)."""

    listed: Mapping[str, str | None]
    """What sysfs lists below the physical function; eth4 is its uplink."""
    links: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Links that differ from what sysfs lists on SWITCH, or that it does not list."""
    virtual: Sequence[str] = VIRTUAL
    number: int = 1
    physical: str = PHYSICAL
    expected: str = "rep1"
    """The representor's name; else words of the error."""


SIX = {f"rep{number}": f"pf0vf{number}" for number in range(6)}
CASES: Mapping[str, Case] = {
    "mlx5": Case(listed={"eth4": "p0", "rep0": "pf0vf0", "rep1": "pf0vf1", "rep2": "pf0vf2"}),
    # Kernels since 5.8 list all of a switch's devices below the physical function (LP 1892132).
    "mlx5, an uplink that sorts last": Case(listed={"eth0": "pf0vf0", "eth1": "pf0vf1", "eth4": "p0"}, expected="eth1"),
    "mlx5, sub-functions of the same numbers": Case(
        listed={"eth4": "p0", "a": "pf0sf1", "b": "pf0sf10", "rep1": "pf0vf1", "z": "pf0sf1"}
    ),
    "mlx5, functions of another host (DPU)": Case(
        listed={"eth4": "p0", "a": "c1pf0vf1", "b": "c1pf0", "rep1": "pf0vf1", "z": "c2pf0vf1"}
    ),
    "mlx5, only another host's function": Case(
        listed={"eth4": "p0", "a": "c1pf0vf1"}, expected="no device in this network namespace is the representor"
    ),
    "mlx5, the physical function's own representor": Case(listed={"eth4": "p0", "a": "pf0", "rep1": "pf0vf1"}),
    "mlx5, the second physical function": Case(
        listed={"eth4": "p1", "rep1": "pf1vf1"},
        links={"x0": (OTHER_SWITCH, "p0"), "x1": (OTHER_SWITCH, "pf0vf1")},
        physical=SECOND,
    ),
    "mlx5, two physical functions on one switch": Case(
        listed={"eth4": "p1", "rep1": "pf1vf1"},
        links={"x0": (SWITCH, "p0"), "x1": (SWITCH, "pf0vf1")},
        physical=SECOND,
    ),
    "mlx5, the first of two on one switch": Case(
        listed={"eth4": "p0", "rep1": "pf0vf1"}, links={"x0": (SWITCH, "p1"), "x1": (SWITCH, "pf1vf1")}
    ),
    "mlx5, one switch, and the other function's is there alone": Case(
        listed={"eth4": "p1"},
        links={"x0": (SWITCH, "p0"), "x1": (SWITCH, "pf0vf1")},
        physical=SECOND,
        expected="no device in this network namespace is the representor",
    ),
    # Before 5.8 only the uplink is below the physical function.
    "mlx5, not listed": Case(listed={"eth4": "p0"}, links={"rep0": (SWITCH, "pf0vf0"), "rep1": (SWITCH, "pf0vf1")}),
    "mlx5, not listed, two on one switch": Case(
        listed={"eth4": "p1"},
        links={"x1": (SWITCH, "pf0vf1"), "rep1": (SWITCH, "pf1vf1"), "x0": (SWITCH, "p0")},
        physical=SECOND,
    ),
    "mlx5 before 5.1": Case(listed={"eth4": None}, links={"rep0": (SWITCH, "0"), "rep1": (SWITCH, "1")}),
    "a driver of vfN": Case(listed={"eth4": "p0"}, links={"rep0": (SWITCH, "vf0"), "rep1": (SWITCH, "vf1")}),
    "a number alone, of another switch": Case(
        listed={"eth4": None}, links={"a1": (OTHER_SWITCH, "1"), "rep1": (SWITCH, "1")}
    ),
    "a number alone beside pfNvfN": Case(listed={"eth4": "p0", "a1": "1", "rep1": "pf0vf1"}),
    "bnxt": Case(listed={"eth4": "p0", "eth0": "pf0vf0", "rep1": "pf0vf1"}),
    # bnxt counts physical functions by its firmware's ids, netdevsim each device from 0.
    "another count of physical functions": Case(listed={"eth4": "p0", "rep1": "pf0vf1"}, physical=SECOND),
    "ice": Case(listed={"eth4": "p0", "eth0": "pf0vf0", "rep1": "pf0vf1"}),
    "ice, the second port": Case(listed={"eth4": "p1", "eth0": "pf1vf0", "rep1": "pf1vf1"}, physical=SECOND),
    "netdevsim": Case(listed={"eth4": "p0", "eni0npf0vf0": "pf0vf0", "eni0npf0vf1": "pf0vf1"}, expected="eni0npf0vf1"),
    "netdevsim, an uplink of several ports": Case(listed={"eth4": "p0", "eth5": "p1", "rep1": "pf0vf1"}),
    "split uplink": Case(listed={"eth4": "p0s0", "rep1": "pf0vf1"}),
    "renamed": Case(listed={"eth4": "p0", "tapcafe": "pf0vf1", "pf0vf1": "pf0vf2"}, expected="tapcafe"),
    "function 1 and not 10": Case(
        listed={"eth4": "p0", "a": "pf0vf10", "b": "pf0vf11", "rep1": "pf0vf1"}, virtual=MANY
    ),
    "function 10 and not 1": Case(
        listed={"eth4": "p0", "a": "pf0vf1", "rep10": "pf0vf10"}, virtual=MANY, number=10, expected="rep10"
    ),
    "function 11 of pf1, not pf11vf1": Case(
        listed={"eth4": "p1", "a": "pf11vf1", "rep11": "pf1vf11"},
        virtual=MANY,
        number=11,
        physical=SECOND,
        expected="rep11",
    ),
    "switchdev is off": Case(
        listed={"eth4": None},
        links={"eth4": ("", "")},
        expected=f"is not in switchdev mode; switch that on: devlink dev eswitch set pci/{PHYSICAL} mode switchdev",
    ),
    "no representors yet": Case(
        listed={"eth4": "p0"}, expected=f"devlink dev eswitch set pci/{PHYSICAL} mode switchdev"
    ),
    "two that may be it": Case(
        listed={"eth4": None}, links={"a1": (SWITCH, "1"), "b1": (SWITCH, "vf1")}, expected="more than one device"
    ),
    "no device of the physical function": Case(listed={}, expected="has no network device in this network namespace"),
    "devices of another namespace": Case(
        listed={"eth4": "p0", "rep1": "pf0vf1"},
        links={"eth4": (SWITCH, "-")},
        expected="'eth4' of physical function .* is not in this network namespace",
    ),
    "six": Case(listed={"eth4": "p0", **SIX}, virtual=MANY, number=5, expected="rep5"),
}


@pytest.fixture(autouse=True)
def root(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setattr(sysfs, "ROOT", str(tmp_path))
    return tmp_path


def message(name: str, ifindex: int, switch: str, port: str) -> bytes:
    """The kernel's message of a link."""
    packed = ifinfmsg()
    packed["index"], packed["flags"] = ifindex, 1
    packed["attrs"] = [
        ["IFLA_IFNAME", name],
        ["IFLA_MTU", 1500],
        *([["IFLA_PHYS_PORT_NAME", port]] if port else []),
        *([["IFLA_PHYS_SWITCH_ID", switch]] if switch else []),
    ]
    packed.encode()
    return bytes(packed.data[16:])


class Kernel(netlink.LinkSocket):
    """A socket that answers with the links of a case."""

    def __init__(self, case: Case) -> None:
        self.dumps = 0
        shown = {name: (SWITCH, port or "") for name, port in case.listed.items()} | dict(case.links)
        self.messages = {
            name: message(name if port != "-" else "eth9", UPLINK if name == "eth4" else 100 + number, switch, port)
            for number, (name, (switch, port)) in enumerate(sorted(shown.items()))
        }

    def dump(self, master: int = 0, *, family: int = 0, mask: int = 0) -> list[bytes]:
        self.dumps += 1
        return list(self.messages.values())

    def get(self, names: Sequence[str]) -> dict[str, bytes]:
        return {name: self.messages[name] for name in names if name in self.messages}


def laid_out(root: pathlib.Path, case: Case) -> str:
    nic = replace(NICS["mlx5"], devices=case.listed, virtual=case.virtual)
    trees.lay_out(root, nic, physical=case.physical, ifindex=UPLINK)
    return case.virtual[case.number]


@pytest.mark.parametrize("name", CASES)
def test_representor_is_the_functions_own(root: pathlib.Path, name: str) -> None:
    case = CASES[name]
    function = sysfs.function(laid_out(root, case))
    ports = representors.ports(Kernel(case))
    if " " in case.expected:
        with pytest.raises(ResourceMissing, match=case.expected) as raised:
            representors.representor(function, ports)
        assert raised.value.subject == function.address
        return
    assert representors.representor(function, ports).name == case.expected


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if " " not in case.expected])
def test_named_device_is_checked_and_no_other_is_taken(root: pathlib.Path, name: str) -> None:
    case = CASES[name]
    kernel, function = Kernel(case), sysfs.function(laid_out(root, case))
    assert representors.require(kernel, function, case.expected) == kernel.messages[case.expected]
    # "a1" has a number alone: two messages do not show that the other ports of the switch have more than that.
    for other in sorted({*kernel.messages, "nowhere"} - {case.expected, "a1"}):
        with pytest.raises(ResourceMissing):
            representors.require(kernel, function, other)
    assert kernel.dumps == 0


def test_address_is_compared_as_a_whole(root: pathlib.Path) -> None:
    """Every dot of an address is one: as a pattern this one would fit its neighbour's."""
    traps = ("0000:3b:00X2", "0000:3b:0002", "0000:3b:00.2")
    trees.lay_out(root, replace(NICS["mlx5"], virtual=traps))
    assert sysfs.function("0000:3b:00.2").number == 2
    assert sysfs.address_of(PHYSICAL, 2) == "0000:3b:00.2"
    assert [sysfs.address_of(PHYSICAL, 3), sysfs.address_of("eth4", 2), sysfs.address_of("../..", 0)] == ["", "", ""]


def test_functions_are_read_with_their_representors_and_one_dump(root: pathlib.Path) -> None:
    case = CASES["mlx5, an uplink that sorts last"]
    laid_out(root, case)
    kernel = Kernel(case)
    read, absent = parts.read(kernel, dict.fromkeys((*VIRTUAL, PHYSICAL), "representor"))
    assert kernel.dumps == 1
    first, second, third = (decode.link(read[address]) for address in VIRTUAL)
    assert isinstance(first, Representor)
    assert isinstance(third, Representor)
    assert (first.name, first.netdev, first.mtu, first.up, first.owner) == (VIRTUAL[0], "eth0", 1500, True, "")
    assert (first.virtual_function, first.listed_as) == ((PHYSICAL, 0), (VIRTUAL[0], PHYSICAL))
    assert (second.netdev, second.why_absent if isinstance(second, Representor) else None) == ("eth1", "")
    # Without a device it is there all the same: DPDK needs none.
    assert (third.netdev, third.up, third.virtual_function) == (None, None, (PHYSICAL, 2))
    assert "devlink dev eswitch set" in third.why_absent
    assert list(absent) == [PHYSICAL]


def test_refusal_of_the_kernel_names_the_device(root: pathlib.Path) -> None:
    class Refusing(Kernel):
        def get(self, names: Sequence[str]) -> dict[str, bytes]:
            raise netlink.Refused(0, 1, "Operation not permitted")

    case = CASES["mlx5"]
    with pytest.raises(LinkError, match="could not read 'rep1': Operation not permitted"):
        representors.require(Refusing(case), sysfs.function(laid_out(root, case)), "rep1")


@pytest.mark.parametrize(
    ("place", "vhost", "expected"),
    [
        ("child", "vhost-vdpa-3", "/dev/vhost-vdpa-3"),
        ("below", "vhost-vdpa-0", "/dev/vhost-vdpa-0"),
        ("child", "virtio0", ""),  # bound to virtio_vdpa: the host itself uses it
        ("child", "vhost-vdpa-3x", ""),
        ("another's", "vhost-vdpa-3", ""),
        ("no vDPA device", "vhost-vdpa-3", ""),
    ],
)
def test_vdpa_device_is_the_functions_own(root: pathlib.Path, place: str, vhost: str, expected: str) -> None:
    """``vdpa dev add`` gives a vDPA device any name; its parent is the function, or a device below it."""
    trees.lay_out(root, NICS["mlx5-switchdev"])
    own = trees.give_vdpa(root, VIRTUAL[1], vhost, place=place)
    assert own.name == "blue"
    assert sysfs.function(VIRTUAL[1]).vdpa == expected
    assert sysfs.function(VIRTUAL[0]).vdpa == ""
