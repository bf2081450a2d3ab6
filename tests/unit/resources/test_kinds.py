"""The tables of the kinds: complete, true to the kernel's numbers, and what records and the helper make of them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any
from unittest import mock

import pytest
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ifinfmsg.plugins.vlan import vlan as vlan_data

from tests.support import builders
from vifplug.drivers.contract import Options
from vifplug.drivers.registry import driver_for
from vifplug.engine.plan.plan import by_dependency
from vifplug.errors import Damaged, InputError, PermissionDenied, UnknownKind
from vifplug.linux import decode
from vifplug.netlink import links, message
from vifplug.netlink import socket as netlink
from vifplug.privileged import arguments
from vifplug.privileged.links import attributes
from vifplug.resources import kinds
from vifplug.resources.bridge import AGEING_TIME, Bridge
from vifplug.resources.contract import LINKS, Teardown
from vifplug.resources.link import ADDRESS, MTU, OF_EVERY_LINK, UP, Link
from vifplug.resources.ovs_port import COLUMNS, SETTINGS, OvsPort, Writer
from vifplug.resources.schema import Attribute, Compared, Form, How, Place, Table, Wire
from vifplug.resources.tap import UID, Tap
from vifplug.resources.uplink.nic import Nic
from vifplug.resources.uplink.vxlan import Vxlan
from vifplug.resources.veth import Veth
from vifplug.resources.vlan import Vlan
from vifplug.store import records

LINK_KINDS = (Link, Bridge, Veth, Tap, Vlan, Nic, Vxlan)
MADE = ("ovs-hybrid", "ovs", "bridge")
RECORDED = [
    {"kind": "bridge", "name": "qbr71a6b0e4-1a", "stp": 0, "forward_delay": 0, "ageing_time": 0.0, "ifindex": 7},
    {"kind": "veth", "name": "qvb71a6b0e4-1a", "peer": "qvo71a6b0e4-1a", "tx_checksum": False},
    {"kind": "tap", "name": "tap71a6b0e4-1a", "uid": 107, "multiqueue": False, "persistent": True},
    {
        **{"kind": "ovs-port", "name": "qvo71a6b0e4-1a", "bridge": "br-int", "tag": 4095, "trunks": [4095]},
        **{"isolate": False, "waits_for_device": False, "polices": False},
    },
    {
        **{"kind": "delegated-port", "name": "tap71a6b0e4-1a", "bridge": "br-int", "uuid": "5f3", "device_ifindex": 9},
        **{"isolate": False, "waits_for_device": True, "polices": False},
    },
]
"""Of each kind, as every version has written it."""


@pytest.mark.parametrize("kind", LINK_KINDS, ids=lambda kind: kind.kind)
def test_table_and_fields_of_a_kind_agree(kind: type[Link]) -> None:
    fields = {field.name for field in dataclasses.fields(kind)}
    assert {name for name, one in kind.attributes.by_name.items() if one.compared is not Compared.NOT} <= fields
    assert kind.attributes.made_with <= set(kind.attributes.by_name)
    assert len(kind.attributes.by_name) == len(kind.attributes.attributes)
    assert kind.attributes.attributes[-1] is UP, "what is set comes before a link is up"


@pytest.mark.parametrize("kind", LINK_KINDS, ids=lambda kind: kind.kind)
def test_what_can_be_set_has_a_place_to_be_set_at(kind: type[Link]) -> None:
    for one in kind.attributes.set_by(How.WITH_MARK, How.BEFORE_UP, How.BEHIND_MEMBERS, How.FLAGS):
        assert one.wire is not None, one.name


def test_numbers_and_widths_are_the_kernels_as_pyroute2_has_them() -> None:
    of_links = {name: (number, width) for number, (name, width) in enumerate(ifinfmsg.nla_map)}
    of_bridges = enumerate(ifinfmsg.ifinfo.bridge_data.nla_map)
    known = of_links | {name: (number, width) for number, (name, width) in of_bridges}
    known |= {name: (number, width) for number, (name, width) in enumerate(vlan_data.nla_map)}
    compared = 0
    for kind in LINK_KINDS:
        for one in (*kind.attributes.at(Place.LINK), *kind.attributes.at(Place.DATA)):
            if one.wire is not None and one.wire.name in known:
                assert (one.wire.number, one.wire.width) == known[one.wire.name], one.name
                compared += 1
    assert compared > 20


def test_observation_has_a_field_for_each_column_that_is_read() -> None:
    fields = {field.name for field in dataclasses.fields(OvsPort)}
    assert {column.field for column in COLUMNS if column.field} <= fields
    assert len({(column.row, column.name) for column in COLUMNS}) == len(COLUMNS)


def test_control_planes_columns_are_never_emptied() -> None:
    theirs = {column.name for column in COLUMNS if column.writer is Writer.CONTROL_PLANE}
    assert {"tag", "vlan_mode", "trunks", "other_config", "ingress_policing_rate"} <= theirs
    assert not theirs & set(SETTINGS)


@pytest.mark.parametrize("data", RECORDED, ids=lambda data: data["kind"])
def test_record_is_read_and_written_as_ever(data: dict[str, Any]) -> None:
    assert json.loads(json.dumps(kinds.to_dict(kinds.from_dict(data)))) == data


def test_record_of_an_unknown_kind_is_damaged() -> None:
    vif = builders.vif()
    made = driver_for(vif.vif_type).resources(vif, Options())
    body = records.to_json(records.Record(vif=vif, resources=tuple(made), state="plugged"))
    assert records.from_json(vif.id, body).resources == tuple(made)
    with pytest.raises(Damaged, match="unknown kind of resource 'bridgf'"):
        records.from_json(vif.id, body.replace('"kind": "bridge"', '"kind": "bridgf"'))


@pytest.mark.parametrize("kind", ["", "geneve", None, ["bridge"]])
def test_unknown_kind_is_a_typed_error(kind: Any) -> None:
    with pytest.raises(UnknownKind):
        kinds.of(kind)


def test_link_of_a_foreign_kind_is_a_plain_link() -> None:
    found = {"name": "gnv0", "kind": "geneve", "ifindex": 4, "alias": "", "address": "", "mtu": 1500}
    link = decode.link(found)
    assert (type(link), link.kind, link.other_kind) == (Link, "link", "geneve")


def test_name_or_role_of_another_kind_is_not_registered() -> None:
    for name, roles in (("bridge", ()), ("another", Tap.roles)):
        kind = type("Another", (Link,), {"kind": name, "roles": roles})
        with pytest.raises(ValueError):
            kinds.register(kind)
    kinds._KINDS.pop("another", None)


@pytest.mark.parametrize("vif_type", MADE)
def test_what_drivers_describe_is_owned_and_goes_with_its_vif(vif_type: str) -> None:
    vif = builders.vif(vif_type, create_tap=True)
    made = driver_for(vif_type).resources(vif, Options())
    assert {item.teardown for item in made} == {Teardown.DELETED}
    assert all(isinstance(item, OvsPort) or item.role in kinds.roles() for item in made)  # type: ignore[attr-defined]


def test_dependencies_are_masters_and_the_devices_of_ports() -> None:
    bridge, end = Bridge(name="qbr0"), Veth(name="qvb0", peer="qvo0", master="qbr0")
    assert bridge.depends_on() == frozenset()
    assert end.depends_on() == end.made_behind() == {(LINKS, "qbr0")}
    tap = Tap(name="tap0", master="qbr0")
    assert tap.depends_on() == {(LINKS, "qbr0")}
    assert not tap.made_behind()
    vlan = Vlan(name="eth1.7", lower="eth1")
    assert vlan.depends_on() == vlan.made_behind() == {(LINKS, "eth1")}
    assert OvsPort(name="qvo0", bridge="br-int").depends_on() == {(LINKS, "qvo0")}
    assert OvsPort(name="tap0", bridge="br-int", waits_for_device=True).depends_on() == frozenset()


def test_order_is_that_of_the_dependencies_and_else_as_it_was() -> None:
    needs = {"d": {"b"}, "c": {"d", "e"}, "a": {"elsewhere"}}

    def ordered(names: str) -> str:
        given = by_dependency(names, lambda one: {(LINKS, one)}, lambda one: {(LINKS, x) for x in needs.get(one, ())})
        return "".join(given)

    assert ordered("abcde") == "abedc"
    assert ordered("cdeba") == "ebadc"
    needs["b"] = {"c"}
    with pytest.raises(InputError, match="b, c, d"):
        ordered("abcde")


@pytest.mark.parametrize(
    "attribute, value, wire",
    [
        (MTU, 1500, 1500),
        (AGEING_TIME, 0.15, 15),
        (AGEING_TIME, 300, 30000),
        (UID, 2**32 - 2, 2**32 - 2),
        (UP, True, True),
    ],
)
def test_values_within_the_bounds_of_their_table_pass(attribute: Any, value: Any, wire: Any) -> None:
    assert arguments.value_of(attribute, value) == wire


@pytest.mark.parametrize(
    "attribute, value",
    [
        *((MTU, value) for value in (67, 65536, "1500", True, None, 1500.0)),
        *((AGEING_TIME, value) for value in (-1, "1", True, None, 1e12)),
        *((ADDRESS, value) for value in ("01:00:00:00:00:01", "", 5, None)),
        *((UP, value) for value in (1, "on", None)),
        *((UID, value) for value in (-1, 2**32 - 1)),
    ],
)
def test_values_out_of_bounds_are_refused(attribute: Any, value: Any) -> None:
    with pytest.raises(PermissionDenied):
        arguments.value_of(attribute, value)


@pytest.mark.parametrize("key", ["", "peer", "persistent", "multiqueue", "ifindex", "stp", "txqueuelen", "nothing"])
def test_attribute_that_a_kind_does_not_have_is_refused(key: str) -> None:
    with pytest.raises(PermissionDenied):
        attributes.refuse_unknown(Tap.attributes, ("mtu", key))
    attributes.refuse_unknown(Tap.attributes, ("mtu", "uid"))


def test_every_form_of_attribute_is_read() -> None:
    forms = {one.form for kind in LINK_KINDS for one in kind.attributes.attributes}
    assert forms == set(Form)


def test_kind_that_is_registered_late_is_in_every_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was read or packed before: a module of a driver's own may be imported at any time."""
    data = b"\x09\x00\x00\x00"
    with pytest.raises(KeyError):
        message.message(1, [("IFLA_LATE_NUMBER", 7)])
    assert links._data_of("late") == ()
    info = message.attribute(1, b"late\0") + message.attribute(2, message.attribute(1, data))
    inet = message.attribute(2, message.attribute(message.INET_CONF, b"\0" * 28 + data))
    payload = b"\0" * 16 + message.attribute(18, info) + message.attribute(26, inet)
    reader = mock.create_autospec(netlink.LinkSocket, instance=True)
    reader.dump.return_value = reader.get_by_index.return_value = [payload]
    for read in (links.all_links(reader), links.links_by_index(reader, [0])):
        assert "number" not in read[""]
    number = Attribute(name="number", form=Form.WHOLE, wire=Wire("IFLA_LATE_NUMBER", 1, "uint16", Place.DATA))
    rp_filter = Attribute(
        name="rp_filter", form=Form.WHOLE, how=How.WITH_MARK, wire=Wire("IPV4_DEVCONF_RP_FILTER", 8, place=Place.INET)
    )
    for name in ("_KINDS", "_PARTS", "_OF_THE_KERNEL"):
        monkeypatch.setattr(kinds, name, dict(getattr(kinds, name)))
    table = Table(*OF_EVERY_LINK, number, rp_filter, UP)
    kinds.register(type("Late", (Link,), {"kind": "late", "wire_kind": "late", "attributes": table}))
    assert message.message(1, [("IFLA_LATE_NUMBER", 7)]).body.endswith(b"\x06\x00\x01\x00\x07\x00\x00\x00")
    for read in (links.links_by_index(reader, [0]), links.all_links(reader)):
        found = read[""]
        assert (found["kind"], found["number"], found["rp_filter"]) == ("late", 9, 9)
