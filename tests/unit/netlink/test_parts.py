"""Parts of links, by a kind of this test's own: read from the message of their link, and set by a message to it."""

from __future__ import annotations

import pathlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from tests.support import sysfs as trees
from tests.support.sysfs import NICS, PHYSICAL, VIRTUAL
from vifplug.errors import LinkError, PermissionDenied
from vifplug.linux import decode
from vifplug.netlink import message, parts, sysfs
from vifplug.netlink import socket as netlink
from vifplug.privileged.links import attributes
from vifplug.resources import kinds
from vifplug.resources.contract import Relation, Role
from vifplug.resources.link import Link
from vifplug.resources.schema import Attribute, Entries, Form, How, Place, Table, Wire

ENTRY, KIND = Place.ENTRY, "test-slice"


def attribute(name: str, form: Form, number: int, width: str, offset: int = 4) -> Attribute:
    return Attribute(name=name, form=form, how=How.ENTRY, wire=Wire(name, number, width, ENTRY, offset))


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Link):
    """A virtual function with some of its settings."""

    kind: ClassVar[str] = "test-slice"
    relation: ClassVar[Relation] = Relation.CONFIGURED
    attributes: ClassVar[Table] = Table(
        attribute("address", Form.MAC, 1, "l2addr"),
        attribute("vlan", Form.WHOLE, 2, "uint32"),
        attribute("priority", Form.WHOLE, 2, "uint32", 8),
        attribute("spoof_check", Form.FLAG, 4, "uint32"),
        attribute("trust", Form.FLAG, 9, "uint32"),
    )
    roles: ClassVar[tuple[Role, ...]] = (Role(name="test-slice"),)
    entries: ClassVar[Entries | None] = Entries(name="IFLA_VFINFO_LIST", number=22, entry=1, mask=1)
    is_function: ClassVar[bool] = True

    vlan: int | None = None
    priority: int | None = None
    spoof_check: bool | None = None
    trust: bool | None = None


class Answering(netlink.LinkSocket):
    """A socket that answers each request with one message."""

    def __init__(self, name: str, vfs: Sequence[dict[str, Any]]) -> None:
        self.asked: list[tuple[Sequence[int], int]] = []
        structures = [
            {
                "attrs": [
                    ["IFLA_VF_MAC", {"vf": vf["vf"], "mac": vf["mac"]}],
                    ["IFLA_VF_VLAN", {"vf": vf["vf"], "vlan": vf["vlan"], "qos": vf["qos"]}],
                    ["IFLA_VF_SPOOFCHK", {"vf": vf["vf"], "spoofchk": vf["spoofchk"]}],
                    ["IFLA_VF_TRUST", {"vf": vf["vf"], "trust": vf["trust"]}],
                ]
            }
            for vf in vfs
        ]
        packed = ifinfmsg()
        packed["index"], packed["flags"] = 7, 1
        infos = [["IFLA_VF_INFO", one] for one in structures]
        packed["attrs"] = [["IFLA_IFNAME", name], ["IFLA_MTU", 1500], ["IFLA_VFINFO_LIST", {"attrs": infos}]]
        packed.encode()
        self.payload = bytes(packed.data[16:])

    def get_by_index(self, indexes: Sequence[int], mask: int = 0) -> list[bytes]:
        self.asked.append((indexes, mask))
        return [self.payload]


VFS = [
    {"vf": 0, "mac": "00:00:00:00:00:00", "vlan": 0, "qos": 0, "spoofchk": 1, "trust": 0},
    {"vf": 1, "mac": "fa:16:3e:00:00:01", "vlan": 100, "qos": 3, "spoofchk": 0, "trust": 1},
    {"vf": 2, "mac": "fa:16:3e:00:00:02", "vlan": 0, "qos": 0, "spoofchk": 0xFFFFFFFF, "trust": 0xFFFFFFFF},
]


@pytest.fixture(autouse=True)
def tree(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysfs, "ROOT", str(tmp_path))
    trees.lay_out(tmp_path, NICS["igb"])
    # In place of vifplug's own kinds, so that the message has one reader.
    monkeypatch.setattr(kinds, "kinds_of_parts", lambda: (Slice,))
    monkeypatch.setattr(kinds, "_KINDS", {**kinds._KINDS, Slice.kind: Slice})


def test_part_is_read_from_the_message_of_its_link() -> None:
    socket = Answering("eth4", VFS)
    found, absent = parts.read(socket, dict.fromkeys([VIRTUAL[1], VIRTUAL[2], PHYSICAL], KIND))
    assert socket.asked == [([7], 1), ([7], 1)]
    one, other = (decode.link(found[name]) for name in VIRTUAL[1:])
    assert isinstance(one, Slice)
    assert isinstance(other, Slice)
    assert (one.name, one.address, one.vlan, one.priority) == (VIRTUAL[1], "fa:16:3e:00:00:01", 100, 3)
    assert (one.spoof_check, one.trust) == (False, True)
    assert (other.spoof_check, other.trust) == (None, None), "the driver knows no such setting"
    assert (one.up, one.mtu, one.owner) == (True, 1500, "")
    assert list(absent) == [PHYSICAL]


def test_device_of_another_namespace_is_not_taken_for_the_nic() -> None:
    _found, absent = parts.read(Answering("eth9", VFS), {VIRTUAL[0]: KIND})
    assert "is not in this network namespace" in absent[VIRTUAL[0]]
    _found, absent = parts.read(Answering("eth4", VFS[:1]), {VIRTUAL[1]: KIND})
    assert "the kernel shows no virtual function 1 of 'eth4'" in absent[VIRTUAL[1]]


def sent(values: dict[str, Any], name: str = VIRTUAL[1]) -> list[dict[str, Any]]:
    """What pyroute2 reads in the messages that set values."""
    part = parts.part(Answering("eth4", VFS), name)
    read = []
    for attrs in attributes.in_entry(part, values):
        packed = ifinfmsg(message.message(7, [attrs]).numbered(1))
        packed.decode()
        (entry,) = packed.get_attr("IFLA_VFINFO_LIST")["attrs"]
        read.append({key: dict(value) for key, value in entry[1]["attrs"]})
    return read


def test_each_structure_is_a_message_and_keeps_what_is_not_set() -> None:
    assert sent({"address": "fa:16:3e:00:00:99", "vlan": 7, "trust": False}) == [
        {"IFLA_VF_MAC": {"vf": 1, "mac": "fa:16:3e:00:00:99"}},
        {"IFLA_VF_VLAN": {"vf": 1, "vlan": 7, "qos": 3}},
        {"IFLA_VF_TRUST": {"vf": 1, "trust": 0}},
    ]
    assert sent({"vlan": 0, "priority": 0}) == [{"IFLA_VF_VLAN": {"vf": 1, "vlan": 0, "qos": 0}}]
    assert sent({}) == []


def test_structures_are_as_long_as_the_kernels_policy_wants_them() -> None:
    part = parts.part(Answering("eth4", VFS), VIRTUAL[0])
    ((_name, mac),) = attributes.in_entry(part, {"address": "02:00:00:00:00:01"})
    # A list with one entry with one struct ifla_vf_mac: the number and 32 bytes.
    assert struct.unpack_from("=HHHHI6s", mac) == (44, 1, 40, 1, 0, bytes.fromhex("020000000001"))


def test_wrong_value_and_what_the_kernel_does_not_show_are_refused() -> None:
    part = parts.part(Answering("eth4", VFS), VIRTUAL[0])
    with pytest.raises(PermissionDenied):
        attributes.in_entry(part, {"address": "01:00:00:00:00:01"})
    del part.entry[4]
    with pytest.raises(LinkError, match="could not set spoof_check"):
        attributes.in_entry(part, {"spoof_check": True})
