"""Guests on two hosts, which uplinks of their network's bridges join; and what is left afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.network.two_hosts import ADDRESSES, ADDRESSES6, NIC, PHYSNET, Hosts, two_hosts
from tests.support.vifs import BRIDGE, must_link

VNI = 100
OWNER = f"vifplug:net:{BRIDGE.document['network']['id']}"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts whose devices have addresses."""
    with two_hosts() as hosts:
        yield hosts


def test_flat_carries_frames_and_gives_the_device_back() -> None:
    with two_hosts(addresses=False) as hosts:
        before, nics = [world.snapshot() for world in hosts.worlds], hosts.nics()
        hosts.plug(type="flat", physical_network=PHYSNET)
        for world in hosts.worlds:
            assert must_link(world, NIC)["master"] == BRIDGE.brq
            assert "ifalias" not in must_link(world, NIC)
            assert world.vifplug_json("check")["clean"]
        hosts.assert_guests_talk()
        hosts.unplug()
        assert [world.snapshot() for world in hosts.worlds] == before
        assert hosts.nics() == nics


VXLANS: dict[str, tuple[dict[str, Any], int]] = {
    "multicast": ({"physical_network": PHYSNET, "group": "239.1.1.1"}, 1550),
    "multicast with everything given": (
        {
            **{"physical_network": PHYSNET, "group": "239.1.1.1", "port": 4789, "ttl": 3, "tos": 8},
            "udp_checksum": False,
        },
        1550,
    ),
    "unicast": ({"peers": ADDRESSES}, 1550),
    "unicast over a physical network": ({"peers": ADDRESSES, "physical_network": PHYSNET}, 1550),
    "multicast over IPv6": ({"physical_network": PHYSNET, "group": "ff05::1"}, 1530),
    "unicast over IPv6": ({"peers": ADDRESSES6, "physical_network": PHYSNET, "udp_checksum": False}, 1530),
}


@pytest.mark.parametrize("case", VXLANS)
def test_vxlan_carries_frames_and_goes_with_the_last_vif(hosts: Hosts, case: str) -> None:
    uplink, mtu = VXLANS[case]
    hosts.configure(vxlan_local_ip="{6}" if "IPv6" in case else "{}")
    before, nics = [world.snapshot() for world in hosts.worlds], hosts.nics()
    hosts.plug(mtu, type="vxlan", segmentation_id=VNI, **uplink)
    for world in hosts.worlds:
        link = must_link(world, f"vxlan-{VNI}")
        assert (link["master"], link["mtu"], link["ifalias"]) == (BRIDGE.brq, mtu, OWNER)
        assert must_link(world, BRIDGE.brq)["mtu"] == mtu
        assert link["linkinfo"]["info_data"]["link"] == NIC
        assert world.vifplug_json("check")["clean"]
    hosts.assert_guests_talk(mtu)
    hosts.unplug()
    assert [world.snapshot() for world in hosts.worlds] == before
    assert hosts.nics() == nics


def test_vxlan_has_the_settings_that_are_asked_for(hosts: Hosts) -> None:
    uplink, mtu = VXLANS["multicast with everything given"]
    hosts.configure(vxlan_local_ip="{}")
    hosts.plug(mtu, type="vxlan", segmentation_id=VNI, **uplink)
    data = must_link(hosts.worlds[0], f"vxlan-{VNI}")["linkinfo"]["info_data"]
    assert (data["id"], data["group"], data["local"], data["port"]) == (VNI, "239.1.1.1", ADDRESSES[0], 4789)
    assert (data["ttl"], int(data["tos"], 0), data["udp_csum"], data["learning"]) == (3, 8, False, True)
    hosts.unplug()
