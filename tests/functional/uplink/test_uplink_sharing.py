"""An uplink is made with the first VIF of a network and goes with the last; another program's is used and left."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.support.network.two_hosts import NIC, PHYSNET, SECOND_ID, SECOND_MAC, nic, with_uplink
from tests.support.vifs import BRIDGE, library, must_link
from tests.support.world.world import World

OTHER_NETWORK = "99ec4c8b-001b-49c3-89fb-bf84c4f41e24"
VXLAN = "vxlan-100"
MULTICAST: dict[str, Any] = {"type": "vxlan", "physical_network": PHYSNET, "segmentation_id": 100, "group": "239.1.1.1"}
FLAT: dict[str, Any] = {"type": "flat", "physical_network": PHYSNET}
VLAN: dict[str, Any] = {"type": "vlan", "physical_network": PHYSNET, "segmentation_id": 5}
DEVICES = {"flat": NIC, "vxlan": VXLAN, "vlan": f"{NIC}.5"}
UPLINKS = [
    *(pytest.param(FLAT, id="flat"), pytest.param(MULTICAST, id="vxlan")),
    pytest.param(VLAN, id="vlan", marks=pytest.mark.kernel_datapath),
]
SECOND = BRIDGE.but(id=SECOND_ID, address=SECOND_MAC)


def peers(world: World) -> list[str]:
    entries = json.loads(world.run("bridge", "-j", "fdb", "show", "dev", VXLAN).stdout)
    return sorted(entry["dst"] for entry in entries if entry["mac"] == "00:00:00:00:00:00")


def unicast(*addresses: str) -> dict[str, Any]:
    return {"type": "vxlan", "physical_network": PHYSNET, "segmentation_id": 100, "peers": list(addresses)}


@pytest.mark.parametrize("uplink", UPLINKS)
def test_uplink_stays_while_one_vif_is_plugged(host: World, uplink: dict[str, Any]) -> None:
    before, device = host.snapshot(), nic(host)
    name = DEVICES[uplink["type"]]
    with library(host) as here:
        for request in (BRIDGE, SECOND):
            here.plug([with_uplink(request, **uplink).vif])
        ifindex = must_link(host, name)["ifindex"]
        here.unplug([BRIDGE.id])
        assert must_link(host, name)["master"] == BRIDGE.brq
        assert must_link(host, name)["ifindex"] == ifindex
        assert here.check().clean
        here.unplug([SECOND.id])
    assert (host.snapshot(), nic(host)) == (before, device)


def test_both_unplugged_at_once_leave_nothing(host: World) -> None:
    before = host.snapshot()
    with library(host) as here:
        here.plug([with_uplink(request, **MULTICAST).vif for request in (BRIDGE, SECOND)])
        here.unplug([BRIDGE.id, SECOND.id])
    assert host.snapshot() == before


def test_two_at_once_from_two_threads_share_one_uplink(host: World) -> None:
    with library(host) as here:
        failures: list[BaseException] = []

        def plug(number: int) -> None:
            identity = f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa"
            request = BRIDGE.but(id=identity, address=f"fa:16:3e:00:00:{number:02x}")
            try:
                here.plug([with_uplink(request, **unicast(f"192.0.2.{number}", "192.0.2.2")).vif])
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=plug, args=(number,)) for number in range(3, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert peers(host) == sorted(f"192.0.2.{number}" for number in range(2, 9))
        assert here.check().clean
        here.unplug([vif.id for vif in here.list()])
    assert host.link(VXLAN) is None


def test_two_networks_that_want_one_device_at_once_are_one_conflict(host: World) -> None:
    before, device = host.snapshot(), nic(host)
    requests = [with_uplink(BRIDGE, **FLAT), with_uplink(SECOND.but(network={"id": OTHER_NETWORK}), **FLAT)]
    commands = [host.begin_vifplug("plug", "-") for _request in requests]
    for command, request in zip(commands, requests, strict=True):
        assert command.stdin is not None
        command.stdin.write(request.text)
    for command in commands:
        assert command.stdin is not None
        command.stdin.close()
    results = [command.communicate() for command in commands]
    assert {command.returncode for command in commands} == {0, 4}, results
    (winner,) = (request for command, request in zip(commands, requests, strict=True) if command.returncode == 0)
    assert must_link(host, NIC)["master"] == winner.brq
    assert host.vifplug_json("check")["clean"]
    host.vifplug("unplug", winner.id)
    assert (host.snapshot(), nic(host)) == (before, device)


def test_peers_of_all_vifs_count_and_those_given_up_go(host: World) -> None:
    with library(host) as here:
        here.plug([with_uplink(BRIDGE, **unicast("192.0.2.2", "192.0.2.3")).vif])
        here.plug([with_uplink(SECOND, **unicast("192.0.2.4", "192.0.2.3")).vif])
        assert peers(host) == ["192.0.2.2", "192.0.2.3", "192.0.2.4"]
        host.run("bridge", "fdb", "append", "00:00:00:00:00:00", "dev", VXLAN, "dst", "192.0.2.77")
        assert here.check().clean, "another program may add peers"
        here.plug([with_uplink(BRIDGE, **unicast("192.0.2.5")).vif])
        assert peers(host) == ["192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.77"]
        assert here.check().clean
        here.unplug([BRIDGE.id, SECOND.id])


def test_mtu_follows_the_largest_that_is_asked_for(host: World) -> None:
    with library(host) as here:
        here.plug([with_uplink(BRIDGE, 1400, **MULTICAST).vif])
        here.plug([with_uplink(SECOND, 1550, **MULTICAST).vif])
        assert {must_link(host, name)["mtu"] for name in (VXLAN, BRIDGE.brq, SECOND.tap)} == {1550}
        assert must_link(host, BRIDGE.tap)["mtu"] == 1400
        assert here.check().clean
        here.unplug([BRIDGE.id, SECOND.id])


def test_jumbo_frames_on_a_flat_uplink(host: World) -> None:
    for name in ("wire", NIC):
        host.ip("link", "set", name, "mtu", "9000")
    device = nic(host)
    with library(host) as here:
        here.plug([with_uplink(BRIDGE, 9000, **FLAT).vif])
        assert must_link(host, BRIDGE.brq)["mtu"] == 9000
        assert here.check().clean
        here.unplug([BRIDGE.id])
    assert nic(host) == device


def test_default_mtu_of_a_vxlan_leaves_room_for_its_headers(host: World) -> None:
    host.write_config(
        DEFAULT={"mtu": "1600"}, bridge={"physical_networks": f"{PHYSNET}:{NIC}", "vxlan_group": "239.1.1.0/24"}
    )
    request = BRIDGE.but(network={"uplink": {key: value for key, value in MULTICAST.items() if key != "group"}})
    request.document["network"].pop("mtu")
    with library(host) as here:
        (report,) = here.plug([request.vif])
        assert report.mtu == must_link(host, VXLAN)["mtu"] == 1550
        assert must_link(host, VXLAN)["linkinfo"]["info_data"]["group"] == "239.1.1.100"
        here.unplug([BRIDGE.id])


def test_vxlan_of_another_program_is_used_and_left(host: World) -> None:
    """It was made with an MTU and a TTL of its own; only the bridge and the flags are vifplug's, until the unplug."""
    kind = ["type", "vxlan", "id", "100", "dev", NIC, "group", "239.1.1.1", "dstport", "8472", "ttl", "7"]
    host.ip("link", "add", VXLAN, "mtu", "1500", *kind)
    for state in ("up", "down"):  # its queueing discipline is the kernel's "noop" before it was up
        host.ip("link", "set", VXLAN, state)
    before = host.snapshot()
    with library(host) as here:
        here.plug([with_uplink(BRIDGE, 1450, **MULTICAST).vif])
        link = must_link(host, VXLAN)
        assert (link["master"], link["mtu"], link["linkinfo"]["info_data"]["ttl"]) == (BRIDGE.brq, 1500, 7)
        assert "ifalias" not in link
        assert here.check().clean
        host.ip("link", "set", VXLAN, "nomaster")
        assert not here.check().clean
        here.repair()
        assert must_link(host, VXLAN)["master"] == BRIDGE.brq
        here.unplug([BRIDGE.id])
    assert host.snapshot() == before


@pytest.mark.parametrize("uplink", UPLINKS)
def test_bridge_and_uplink_of_another_program_are_used_and_left(host: World, uplink: dict[str, Any]) -> None:
    host.ip("link", "add", BRIDGE.brq, "type", "bridge")
    if uplink is MULTICAST:
        host.ip("link", "add", VXLAN, "type", "vxlan", "id", "100", "dev", NIC, "group", "239.1.1.1", "dstport", "8472")
    if uplink is VLAN:
        host.ip("link", "add", "link", NIC, "name", DEVICES["vlan"], "type", "vlan", "id", "5")
    name = DEVICES[uplink["type"]]
    host.ip("link", "set", name, "master", BRIDGE.brq)
    host.ip("link", "set", name, "up")
    before = host.snapshot()
    with library(host) as here:
        here.plug([with_uplink(BRIDGE, 1450, **uplink).vif])
        assert here.check().clean
        assert must_link(host, BRIDGE.tap)["master"] == BRIDGE.brq
        here.unplug([BRIDGE.id])
    assert host.snapshot() == before


@pytest.mark.kernel_datapath
def test_vlan_device_of_another_program_is_used_and_left(host: World) -> None:
    name = DEVICES["vlan"]
    host.ip("link", "add", "link", NIC, "name", name, "type", "vlan", "id", "5")
    for state in ("up", "down"):
        host.ip("link", "set", name, state)
    before, index = host.snapshot(), must_link(host, name)["ifindex"]
    with library(host) as here:
        here.plug([with_uplink(BRIDGE, 1450, **VLAN).vif])
        link = must_link(host, name)
        assert (link["master"], link["ifindex"], "ifalias" in link) == (BRIDGE.brq, index, False)
        assert here.check().clean
        here.unplug([BRIDGE.id])
    assert host.snapshot() == before


@pytest.mark.kernel_datapath
def test_networks_on_vlans_of_a_device_that_another_has_as_a_whole(host: World) -> None:
    """Tagged frames go to the VLAN device, others to the flat network's bridge."""
    before, device = host.snapshot(), nic(host)
    with library(host) as here:
        here.plug([with_uplink(BRIDGE, 1450, **FLAT).vif])
        here.plug([with_uplink(SECOND.but(network={"id": OTHER_NETWORK}), 1450, **VLAN).vif])
        assert must_link(host, NIC)["master"] == BRIDGE.brq
        assert must_link(host, DEVICES["vlan"])["master"] == f"brq{OTHER_NETWORK}"[:14]
        assert here.check().clean
        here.unplug([BRIDGE.id, SECOND.id])
    assert (host.snapshot(), nic(host)) == (before, device)


def test_lost_record_leaves_an_orphan_that_gc_deletes(host: World) -> None:
    before = host.snapshot()
    host.vifplug("plug", "-", input=with_uplink(BRIDGE, **MULTICAST).text)
    for file in host.state_dir.glob("vifplug.db*"):
        file.unlink()
    report = host.vifplug_json("check", check=False)
    assert {(orphan["kind"], orphan["name"]) for orphan in report["orphans"]} >= {("vxlan", VXLAN)}
    host.vifplug("gc", "--delete")
    assert host.snapshot() == before


@pytest.mark.parametrize("uplink", UPLINKS)
def test_commands_that_read_work_without_the_configuration_of_the_plug(host: World, uplink: dict[str, Any]) -> None:
    before = host.snapshot()
    host.vifplug("plug", "-", input=with_uplink(BRIDGE, 1450, **uplink).text)
    host.write_config()
    for command in (["guest", "qemu"], ["guest", "libvirt"], ["show"], ["diagram"], ["check"]):
        host.vifplug(*command, BRIDGE.id)
    (hop,) = (hop for hop in host.vifplug_json("diagram", BRIDGE.id)["hops"] if hop["kind"] in ("nic", "vxlan", "vlan"))
    assert (hop["name"], hop["state"]) == (DEVICES[uplink["type"]], "up")
    host.vifplug("list")
    result = host.vifplug("unplug", BRIDGE.id)
    if uplink is FLAT:  # the helper takes the devices that it may restore from the configuration
        assert f"refused to configure device '{NIC}': the configuration lists no such nic" in result.stderr
        assert host.vifplug_json("check", check=False)["orphans"][0]["name"] == BRIDGE.brq
        host.ip("link", "set", NIC, "nomaster")
        host.vifplug("gc", "--delete")
    assert host.snapshot() == before
