"""macvtap: a VLAN device on a device of the host, which comes with a network's first VIF and goes with the last.

The kernel of the functional tests need not have VLAN devices: where it has none the error must say so, and a macvlan,
by a kind of this test's own, goes the same way. The booted host has both (tests/host/checks/macvtap.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.network.writes import watched
from tests.support.vifs import conf, must_link
from tests.support.world.world import World
from vifplug import errors, naming
from vifplug.api.local import LocalHost
from vifplug.model.vif import Vif
from vifplug.netlink import links
from vifplug.netlink.socket import LinkSocket
from vifplug.resources import kinds, vlan
from vifplug.resources.contract import Role
from vifplug.resources.link import OF_EVERY_LINK, UP
from vifplug.resources.schema import Attribute, Compared, Form, Place, Table, Wire

NETWORK = faults.NETWORK
NAME = "nic0.100"


def macvtap(number: int, **changes: Any) -> Vif:
    part = {"macvtap": {"source": "nic0", "vlan": 100}, "network": {"id": NETWORK, "mtu": 1450}}
    return faults.vif("macvtap", number, **{**part, **changes})


FIRST, SECOND = macvtap(1), macvtap(2)


@pytest.fixture
def nic(world: World) -> World:
    """A world with a NIC that VIFs may use, and another one."""
    for name in ("nic0", "nic1"):
        world.ip("link", "add", name, "type", "veth", "peer", f"wire{name[-1]}")
        world.ip("link", "set", name, "up")
    world.write_config(bridge={"physical_networks": "physnet1:nic0"})
    return world


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane(vlan.Vlan):
    """A macvlan in the place of a VLAN device: made, marked, read and deleted in the same way."""

    kind: ClassVar[str] = "test-lane"
    attributes: ClassVar[Table] = Table(
        *OF_EVERY_LINK,
        vlan.LOWER,
        Attribute(
            name="vlan_id",
            form=Form.WHOLE,
            wire=Wire("IFLA_MACVLAN_MODE", 1, "uint32", Place.DATA),
            compared=Compared.REMADE,
        ),
        UP,
        made_with=("alias", "address", "mtu", "lower", "vlan_id"),
    )
    roles: ClassVar[tuple[Role, ...]] = (Role(name="lane", of_network=True),)
    wire_kind: ClassVar[str] = "macvlan"


@pytest.fixture
def host(nic: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHost]:
    """The library with macvlans for VLAN devices."""
    for table in ("_KINDS", "_PARTS", "_OF_THE_KERNEL"):
        monkeypatch.setattr(kinds, table, dict(getattr(kinds, table)))
    kinds.register(Lane)
    monkeypatch.setattr(vlan, "Vlan", Lane)
    monkeypatch.setattr(vlan, "ROLE", "lane")
    with vifplug.local(str(nic.config_file)) as host:
        yield host


MODE = 4
"""MACVLAN_MODE_BRIDGE, in the place of a VLAN's id."""
ONE, OTHER = (macvtap(number, macvtap={"source": "nic0", "vlan": MODE}) for number in (1, 2))
LANE = f"nic0.{MODE}"


def test_device_comes_with_the_first_vif_and_goes_with_the_last(nic: World, host: LocalHost) -> None:
    before = nic.snapshot()
    host.plug([ONE])
    link = must_link(nic, LANE)
    assert (link["link"], link["mtu"], link["ifalias"]) == ("nic0", 1450, f"vifplug:net:{NETWORK}")
    assert "UP" in link["flags"]
    assert (conf(nic, LANE, "disable_ipv6"), conf(nic, LANE, "arp_ignore", "ipv4")) == (1, 1)
    host.plug([OTHER])
    assert must_link(nic, LANE)["ifindex"] == link["ifindex"]
    with watched(nic) as writes:
        host.plug([ONE, OTHER])
    assert (writes.links, writes.transactions) == ([], 0)
    assert host.check().clean
    host.unplug([ONE.id])
    assert must_link(nic, LANE)["ifindex"] == link["ifindex"]
    host.unplug([OTHER.id])
    assert nic.snapshot() == before


def test_device_stays_with_what_another_program_has_on_it(nic: World, host: LocalHost) -> None:
    host.plug([ONE])
    lower, lane = (must_link(nic, name)["ifindex"] for name in ("nic0", LANE))
    with nic.namespace.entered():
        socket = LinkSocket()
    assert links.uppers(socket)[lower][lane] == LANE
    socket.close()
    # A macvlan on a macvlan would be on nic0 (macvlan_common_newlink).
    nic.ip("link", "add", "vx9", "type", "vxlan", "id", "9", "dstport", "4789", "dev", LANE)
    (report,) = host.unplug([ONE.id])
    assert f"refused to delete link '{LANE}': vx9 is still on it" in report.warnings[0]
    assert must_link(nic, LANE) and must_link(nic, "vx9")
    assert not host.list()
    host.plug([ONE])
    nic.ip("link", "del", "vx9")
    host.unplug([ONE.id])
    assert nic.link(LANE) is None


def test_device_stays_on_the_bridge_of_another_program(nic: World, host: LocalHost) -> None:
    host.plug([ONE])
    nic.ip("link", "add", "gate0", "type", "bridge")
    nic.ip("link", "set", LANE, "master", "gate0")
    (report,) = host.unplug([ONE.id])
    assert f"refused to delete link '{LANE}': it is on 'gate0', another program's" in report.warnings[0]
    assert must_link(nic, LANE)["master"] == "gate0"


def test_drift_is_named_and_repaired(nic: World, host: LocalHost) -> None:
    host.plug([ONE])
    nic.ip("link", "set", LANE, "mtu", "1400", "down")
    (checked,) = host.check([ONE.id]).vifs
    assert {(item.subject, item.attribute) for item in checked.drift} == {(LANE, "mtu"), (LANE, "up")}
    host.repair([ONE.id])
    assert (must_link(nic, LANE)["mtu"], "UP" in must_link(nic, LANE)["flags"]) == (1450, True)
    nic.ip("link", "del", LANE)
    (checked,) = host.check([ONE.id]).vifs
    assert [(item.subject, item.attribute) for item in checked.drift] == [(LANE, "present")]
    host.repair([ONE.id])
    assert host.check().clean


def test_device_below_is_never_changed_and_must_be_listed(nic: World, host: LocalHost) -> None:
    before = nic.snapshot()
    unlisted = macvtap(1, macvtap={"source": "nic1", "vlan": MODE})
    with pytest.raises(errors.InputError, match="does not list device 'nic1'"):
        host.plug([unlisted])
    with pytest.raises(errors.InputError, match="does not list device 'nic7'"):
        host.plug([macvtap(1, macvtap={"source": "nic7", "vlan": MODE})])
    entry = {"op": "create-test-lane", "name": "x", "owner": f"net:{NETWORK}", "role": "lane", "mtu": 1450}
    entry |= {"address": naming.birth_address(f"net:{NETWORK}", "lane"), "vlan_id": MODE, "lower": "nic1"}
    with pytest.raises(errors.PermissionDenied, match="which the configuration does not list"):
        faults.change(host, "links", [entry])
    nic.ip("link", "set", "nic0", "down")
    with pytest.raises(errors.Conflict, match="is down; ip link set nic0 up"):
        host.plug([ONE])
    nic.ip("link", "set", "nic0", "up")
    assert nic.snapshot() == before


def test_vlan_device_is_made_or_the_kernels_lack_of_it_is_named(nic: World) -> None:
    before = nic.snapshot()
    with vifplug.local(str(nic.config_file)) as host:
        try:
            host.plug([FIRST, SECOND])
        except errors.LinkError as error:
            assert "this kernel has no links of kind vlan; load its module (modprobe 8021q)" in str(error)
            assert not host.list()
        else:
            data = must_link(nic, NAME)["linkinfo"]
            assert (data["info_kind"], data["info_data"]["id"]) == ("vlan", 100)
            host.unplug([FIRST.id, SECOND.id])
    assert nic.snapshot() == before
