"""Bad input is refused with one clear line and the right exit status, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.faults.faults import change, stored
from tests.support.network.two_hosts import NIC, PHYSNET, nic, with_uplink
from tests.support.vifs import BRIDGE, library, must_link
from tests.support.world.world import World
from vifplug import errors, naming

OTHER_NETWORK = "99ec4c8b-001b-49c3-89fb-bf84c4f41e24"
OTHER = BRIDGE.but(
    id="2bc1ec8f-4b2e-4a6a-a1da-6286f400507c", address="fa:16:3e:f6:04:91", network={"id": OTHER_NETWORK}
)
FLAT: dict[str, Any] = {"type": "flat", "physical_network": PHYSNET}
VLAN = {"type": "vlan", "physical_network": PHYSNET, "segmentation_id": 5}
VXLAN = {"type": "vxlan", "physical_network": PHYSNET, "segmentation_id": 100, "group": "239.1.1.1"}
UNICAST = {"type": "vxlan", "segmentation_id": 100, "peers": ["192.0.2.2"], "local_ip": "192.0.2.1"}
BAD, FAILED, CONFLICT = 2, 1, 4


@dataclass(frozen=True)
class Refusal:
    """A request, what is on the host before it, and the answer."""

    uplink: dict[str, Any]
    status: int
    words: str
    mtu: int = 1450
    before: Callable[[World], object] = lambda _world: None
    options: dict[str, str] = field(default_factory=dict)


def ip(*commands: str) -> Callable[[World], object]:
    return lambda world: [world.ip(*command.split()) for command in commands]


def plugged(**uplink: Any) -> Callable[[World], object]:
    """A VIF of another network has this uplink."""
    return lambda world: world.vifplug("plug", "-", input=with_uplink(OTHER, 1450, **uplink).text)


REFUSALS = {
    "an address of the device": Refusal(
        FLAT, CONFLICT, "device 'eth1' for network", before=ip(f"address add 192.0.2.1/24 dev {NIC}")
    ),
    "an IPv6 address of the device": Refusal(
        FLAT,
        CONFLICT,
        "has address fd00::1",
        before=lambda world: [
            world.run("sysctl", "-qw", f"net.ipv6.conf.{NIC}.disable_ipv6=0"),
            world.ip("address", "add", "fd00::1/64", "dev", NIC),
        ],
    ),
    "a default route": Refusal(FLAT, CONFLICT, "has a default route", before=ip(f"route add default dev {NIC}")),
    "a route of another table": Refusal(
        FLAT, CONFLICT, "has a route to 198.51.100.0/24", before=ip(f"route add 198.51.100.0/24 dev {NIC} table 77")
    ),
    "another program's bridge": Refusal(
        FLAT,
        CONFLICT,
        "is on 'br-lan'; it was left alone",
        before=ip("link add br-lan type bridge", f"link set {NIC} master br-lan"),
    ),
    "a flat device of another network": Refusal(
        FLAT, CONFLICT, f"is the uplink of network {OTHER_NETWORK}", before=plugged(**FLAT)
    ),
    "VLAN 0": Refusal({**VLAN, "segmentation_id": 0}, BAD, "network.uplink.segmentation_id: 0: it must be a VLAN id"),
    "VLAN 4095": Refusal({**VLAN, "segmentation_id": 4095}, BAD, "segmentation_id: 4095: it must be a VLAN id"),
    "VNI 0": Refusal({**VXLAN, "segmentation_id": 0}, BAD, "it must be a VXLAN's number, a whole number from 1 to"),
    "VNI 2**24": Refusal({**VXLAN, "segmentation_id": 2**24}, BAD, "from 1 to 16777215"),
    "an unknown physical network": Refusal(
        {**VLAN, "physical_network": "physnet9"}, BAD, "does not list; it lists: physnet1 (eth1)"
    ),
    "an unknown physical network of a VXLAN": Refusal(
        {**VXLAN, "physical_network": "physnet9"}, BAD, "does not list; it lists: physnet1 (eth1)"
    ),
    "a missing device": Refusal(FLAT, FAILED, "no device 'eth7'", options={"physical_networks": f"{PHYSNET}:eth7"}),
    "vlan: of another network": Refusal(
        VLAN, CONFLICT, f"is the uplink of network {OTHER_NETWORK}", before=plugged(**VLAN)
    ),
    "vlan: under another name": Refusal(
        VLAN,
        CONFLICT,
        "lower eth1, vlan_id 5 is used by device 'vlan5'",
        before=ip(f"link add link {NIC} name vlan5 type vlan id 5"),
    ),
    "vlan: its name with another VLAN": Refusal(
        VLAN,
        CONFLICT,
        "is held by a vlan that vifplug did not make",
        before=ip(f"link add link {NIC} name {NIC}.5 type vlan id 6"),
    ),
    "vlan: of another program with an address": Refusal(
        VLAN,
        CONFLICT,
        "has address 192.0.2.1, which would no longer work on a bridge",
        before=ip(f"link add link {NIC} name {NIC}.5 type vlan id 5", f"address add 192.0.2.1/24 dev {NIC}.5"),
    ),
    "vlan: a device that is down": Refusal(
        VLAN, CONFLICT, "is down; ip link set eth1 up", before=ip(f"link set {NIC} down")
    ),
    "vlan: an MTU that does not fit": Refusal(VLAN, CONFLICT, "device 'eth1' has MTU 1600", mtu=1601),
    "a VNI of another network": Refusal(
        VXLAN, CONFLICT, f"is the uplink of network {OTHER_NETWORK}", before=plugged(**VXLAN)
    ),
    "a VNI under another name": Refusal(
        VXLAN,
        CONFLICT,
        "vni 100 is used by device 'vx0'",
        before=ip(f"link add vx0 type vxlan id 100 dev {NIC} group 239.2.2.2 dstport 8472"),
    ),
    "a VXLAN's name held by another device": Refusal(
        VXLAN, CONFLICT, "device 'vxlan-100' for network", before=ip("link add vxlan-100 type bridge")
    ),
    "a VXLAN of another program with another group": Refusal(
        VXLAN,
        CONFLICT,
        "is held by a vxlan that vifplug did not make",
        before=ip(f"link add vxlan-100 type vxlan id 100 dev {NIC} group 239.2.2.2 dstport 8472"),
    ),
    "an MTU that does not fit a flat device": Refusal(FLAT, CONFLICT, "device 'eth1' has MTU 1600", mtu=1601),
    "an MTU that does not fit a VXLAN": Refusal(
        VXLAN, CONFLICT, "which needs 1601 there; ip link set eth1 mtu 1601, or plug with at most 1550", mtu=1551
    ),
    "a device that is down below a VXLAN": Refusal(
        VXLAN, CONFLICT, "is down; ip link set eth1 up", before=ip(f"link set {NIC} down")
    ),
    "a local address that no device has": Refusal(
        UNICAST, FAILED, "no device of this host has address 192.0.2.1", options={"vxlan_local_ip": "192.0.2.1"}
    ),
    "a local address that is not configured": Refusal(
        {**UNICAST, "local_ip": "192.0.2.9"},
        BAD,
        "[bridge] physical_networks or vxlan_local_ip does not list device 'eth3'",
        before=ip("link add eth3 type dummy-veth".replace("dummy-veth", "veth"), "address add 192.0.2.9/24 dev eth3"),
        options={"vxlan_local_ip": "192.0.2.1"},
    ),
    "neither group nor peers": Refusal(
        {key: value for key, value in VXLAN.items() if key != "group"}, BAD, "has neither group nor peers"
    ),
    "a group that is none": Refusal({**VXLAN, "group": "192.0.2.1"}, BAD, "it must be a multicast address"),
    "a bridge of another program without the uplink": Refusal(
        VXLAN,
        CONFLICT,
        "was made by another program, and uplink 'vxlan-100' is not",
        before=ip(f"link add {BRIDGE.brq} type bridge"),
    ),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.kernel_datapath if case.startswith("vlan") else ())  # they need 8021q
        for case in REFUSALS
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(host: World, case: str) -> None:
    refusal = REFUSALS[case]
    host.write_config(bridge={"physical_networks": f"{PHYSNET}:{NIC}", **refusal.options})
    refusal.before(host)
    before, device, rows = host.snapshot(), nic(host), stored(host)
    result = host.vifplug("plug", "-", input=with_uplink(BRIDGE, refusal.mtu, **refusal.uplink).text, check=False)
    assert result.returncode == refusal.status, result.stderr
    assert refusal.words in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert (host.snapshot(), nic(host), stored(host)) == (before, device, rows)


def test_device_that_may_keep_its_address_keeps_it(host: World) -> None:
    host.write_config(bridge={"physical_networks": f"{PHYSNET}:{NIC}", "addressed_devices": NIC})
    host.ip("address", "add", "192.0.2.1/24", "dev", NIC)
    device = nic(host)
    with library(host) as here:
        here.plug([with_uplink(BRIDGE, **FLAT).vif])
        assert nic(host)["addresses"] == device["addresses"]
        assert must_link(host, NIC)["master"] == BRIDGE.brq
        here.unplug([BRIDGE.id])
    assert nic(host) == device


def test_network_of_neutron_gives_uplink_and_mtu(host: World, tmp_path: Any) -> None:
    network = {
        **{"id": OTHER_NETWORK, "mtu": 1550, "name": "demo", "provider:network_type": "vxlan"},
        **{"provider:physical_network": None, "provider:segmentation_id": 513},
    }
    port = {
        **{"id": BRIDGE.id, "mac_address": BRIDGE.address, "network_id": OTHER_NETWORK, "device_owner": "compute:nova"},
        **{"binding:vif_type": "bridge", "binding:vnic_type": "normal", "binding:vif_details": {}},
    }
    file = tmp_path / "network.json"
    host.ip("address", "add", "192.0.2.1/24", "dev", NIC)
    host.write_config(
        bridge={"vxlan_local_ip": "192.0.2.1", "vxlan_group": "239.1.1.0/24", "physical_networks": f"{PHYSNET}:{NIC}"}
    )
    for document in (network, {"network": network}):
        file.write_text(json.dumps(document))
        host.vifplug("plug", "-", "--network", str(file), "--create-tap", input=json.dumps({"port": port}))
        link = must_link(host, "vxlan-513")
        assert (link["mtu"], link["linkinfo"]["info_data"]["group"]) == (1550, "239.1.1.1")
        assert must_link(host, f"brq{OTHER_NETWORK}"[:14])["mtu"] == 1550
        host.vifplug("unplug", BRIDGE.id)
    file.write_text(json.dumps({**network, "id": BRIDGE.document["network"]["id"]}))
    result = host.vifplug("plug", "-", "--network", str(file), input=json.dumps(port), check=False)
    assert result.returncode == BAD
    assert f"VIF {BRIDGE.id} is on network {OTHER_NETWORK}, and the network that is given is" in result.stderr


OWNER, OTHER_OWNER = f"net:{BRIDGE.document['network']['id']}", f"net:{OTHER_NETWORK}"
JOIN: dict[str, Any] = {
    **{"op": "configure", "owner": OWNER, "role": "uplink", "kind": "nic", "expected": {}, "birth_address": None}
}


def _birth(owner: str, role: str) -> dict[str, str]:
    address = naming.birth_address(owner, role)
    return {"address": address, "birth_address": address}


MADE: dict[str, Any] = {
    **{"op": "create-vxlan", "owner": OWNER, "role": "vxlan", "name": "vxlan-7", "mtu": 1400, "vni": 7, "lower": NIC},
    **_birth(OWNER, "vxlan"),
}
VLAN_BELOW_AN_ADDRESS = {
    **{"op": "create-vlan", "owner": OWNER, "role": "vlan", "name": "eth2.5", "mtu": 1400, "vlan_id": 5},
    **{"lower": "eth2", **_birth(OWNER, "vlan")},
}
REFUSED: list[dict[str, Any]] = [
    {**JOIN, "name": NIC, "values": {"master": OTHER.brq}},
    {**JOIN, "name": NIC, "values": {"master": "br-lan"}},
    {**JOIN, "name": NIC, "values": {"master": "br-int"}},
    {**JOIN, "name": "eth2", "values": {"master": BRIDGE.brq}},
    {**JOIN, "name": "wire", "values": {"master": BRIDGE.brq}},
    {**JOIN, "name": BRIDGE.tap, "values": {"master": None}},
    *({**JOIN, "name": NIC, "values": values} for values in ({"mtu": 900}, {"address": "02:00:00:00:00:09"})),
    {**JOIN, "name": NIC, "role": "vxlan", "values": {"master": BRIDGE.brq}},
    *({**MADE, "lower": lower} for lower in ("wire", "lo", "br-lan")),
    *({**MADE, "vni": vni} for vni in (0, 2**24, True, "7")),
    {**MADE, "group": "nothing"},
    {**MADE, "port": 0},
    {**MADE, "address": "02:00:00:00:00:01"},
    {**MADE, "owner": BRIDGE.id},
    {**MADE, "role": "vlan"},
    {**MADE, "owner": OTHER_OWNER},
    VLAN_BELOW_AN_ADDRESS,
    {"op": "create-nic", "owner": OWNER, "role": "uplink", "name": "eth9", "mtu": 1500, "address": None},
    {"op": "delete", "links": [{"owner": OWNER, "role": "uplink", "name": NIC, "birth_address": None}]},
]
"""Calls of a captured worker. It may put a listed device only on the bridge that vifplug made for the network it
names."""


def test_captured_worker_joins_no_device_to_a_bridge_of_others(host: World) -> None:
    host.ip("link", "add", "br-lan", "type", "bridge")
    host.ip("link", "add", "eth2", "type", "veth", "peer", "wire2")
    host.ip("address", "add", "192.0.2.1/24", "dev", "eth2")
    host.write_config(bridge={"physical_networks": f"{PHYSNET}:{NIC}", "vxlan_local_ip": "192.0.2.1"})
    with library(host) as here:
        here.plug([BRIDGE.vif, OTHER.vif])
        before = host.snapshot()
        for call in REFUSED:
            with pytest.raises((errors.PermissionDenied, errors.Conflict)):
                change(here, "links", [call])
            assert host.snapshot() == before, call
        own = {**MADE, "op": "set", "adopt": False}
        change(here, "links", [MADE, {**own, "values": {"master": BRIDGE.brq}}])
        assert must_link(host, "vxlan-7")["master"] == BRIDGE.brq
        for values in ({"master": OTHER.brq}, {"master": "br-lan"}, {"peers": ["x"]}, {"peers": "x"}, {"vni": 8}):
            with pytest.raises((errors.PermissionDenied, errors.Conflict)):
                change(here, "links", [{**own, "values": values}])
        change(here, "links", [{**MADE, "name": "vxlan-8", "vni": 8, "lower": "eth2"}])
        assert must_link(host, "vxlan-8")["linkinfo"]["info_data"]["link"] == "eth2"


def test_captured_worker_takes_no_device_off_another_programs_bridge(host: World) -> None:
    host.ip("link", "add", "br-lan", "type", "bridge")
    host.ip("link", "set", NIC, "master", "br-lan")
    with library(host) as here:
        here.plug([BRIDGE.vif])
        with pytest.raises(errors.PermissionDenied, match="it is on 'br-lan', which is another's"):
            change(here, "links", [{**JOIN, "name": NIC, "values": {"master": BRIDGE.brq}}])
    assert must_link(host, NIC)["master"] == "br-lan"
