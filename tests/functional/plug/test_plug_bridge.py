"""bridge: the taps of a network's VIFs on one Linux bridge, which comes with the first and goes with the last."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest

from tests.support.network.endpoints import guest_in_bridge, guest_on_tap, host_on_bridge
from tests.support.network.traffic import ping, transfer
from tests.support.network.writes import watched
from tests.support.vifs import BRIDGE, GUEST, HOST, MTU, Request, conf, library, must_link
from tests.support.world.world import Row, World

SECOND = BRIDGE.but(id="2bc1ec8f-4b2e-4a6a-a1da-6286f400507c", address="fa:16:3e:f6:04:91")
OWNER = f"vifplug:net:{BRIDGE.document['network']['id']}"
SECOND_GUEST = "10.9.0.2"
CENTISECONDS = 100


@pytest.fixture
def foreign(world: World) -> str:
    """A bridge of somebody else's that has the network's name, with a port and settings of its own."""
    world.ip("link", "add", BRIDGE.brq, "mtu", "1400", "type", "bridge", "stp_state", "1", "ageing_time", "12300")
    world.ip("link", "add", "uplink", "mtu", "1400", "type", "veth", "peer", "wire")
    world.ip("link", "set", "uplink", "master", BRIDGE.brq, "up")
    world.ip("link", "set", BRIDGE.brq, "up")
    return BRIDGE.brq


def members(world: World, bridge: str) -> set[str]:
    return {link["ifname"] for link in world.ip("link", "show", "master", bridge)}


def fdb(world: World, bridge: str) -> list[Row]:
    output = world.run("bridge", "-d", "-j", "fdb", "show", "br", bridge).stdout
    entries: list[Row] = json.loads(output)
    return entries


def test_first_vif_makes_the_bridge_with_every_setting(world: World) -> None:
    world.vifplug("plug", "-", input=BRIDGE.text)
    link = must_link(world, BRIDGE.brq)
    settings = link["linkinfo"]["info_data"]
    assert link["linkinfo"]["info_kind"] == "bridge"
    assert (settings["stp_state"], settings["forward_delay"], settings["mcast_snooping"]) == (0, 0, 0)
    # The kernel's own ageing: with 0 a shared bridge floods every frame (LP 1837252, CVE-2019-15753).
    assert settings["ageing_time"] == 300 * CENTISECONDS
    assert link["mtu"] == MTU
    assert "UP" in link["flags"]
    assert link["ifalias"] == OWNER
    assert conf(world, BRIDGE.brq, "disable_ipv6") == 1
    assert conf(world, BRIDGE.brq, "accept_ra") == 0
    assert conf(world, BRIDGE.brq, "arp_ignore", "ipv4") == 1
    assert conf(world, BRIDGE.brq, "arp_announce", "ipv4") == 2
    tap = must_link(world, BRIDGE.tap)
    assert (tap["master"], tap["mtu"], tap["ifalias"]) == (BRIDGE.brq, MTU, f"vifplug:{BRIDGE.id}")
    assert conf(world, BRIDGE.tap, "disable_ipv6") == 1
    assert world.rows("Port", "name") == [{"name": "br-int"}]


def test_two_guests_and_a_host_pass_tcp_and_exactly_the_mtu(world: World) -> None:
    with library(world) as host_:
        host_.plug([BRIDGE.vif, SECOND.vif])
    assert members(world, BRIDGE.brq) == {BRIDGE.tap, SECOND.tap}
    with (
        guest_on_tap(world, BRIDGE.tap, BRIDGE.address, GUEST, MTU) as guest,
        guest_on_tap(world, SECOND.tap, SECOND.address, SECOND_GUEST, MTU) as second,
        host_on_bridge(world, BRIDGE.brq, HOST, 1500) as host,
    ):
        assert transfer(second, guest)
        assert transfer(host, guest)
        assert transfer(guest, host)
        assert ping(guest, HOST, MTU)
        assert not ping(guest, HOST, MTU + 1, count=1)
        # To the bridge of Linux 6.1 a VLAN tag's four bytes are no part of the MTU, whether there is a tag or not.
        assert not ping(host, GUEST, MTU + 5, count=1)


def assert_frames_arrive(world: World, request: Request) -> None:
    """The guest is on the bridge by a learned address, not by a local one."""
    with (
        guest_on_tap(world, request.tap, request.address, GUEST, MTU) as guest,
        host_on_bridge(world, request.brq, HOST),
    ):
        assert ping(guest, HOST)
        (entry,) = (entry for entry in fdb(world, request.brq) if entry["mac"] == request.address)
        assert (entry["ifname"], entry.get("state", "")) == (request.tap, ""), "learned, not local or permanent"


@pytest.mark.parametrize(("guests", "taps"), [("fa", "fe"), ("02", "fe"), ("fe", "fa")])
def test_tap_has_a_mac_of_its_own_so_the_bridge_takes_the_guest_for_no_local(
    world: World, guests: str, taps: str
) -> None:
    request = BRIDGE.but(address=guests + BRIDGE.address[2:])
    with library(world) as host_:
        host_.plug([request.vif])
        assert must_link(world, request.tap)["address"] == taps + request.address[2:]
        with watched(world) as writes:
            host_.plug([request.vif])
        assert writes.none, writes
        assert_frames_arrive(world, request)


def test_tap_that_an_earlier_version_gave_its_guests_mac_is_drift_and_put_right(world: World) -> None:
    request = BRIDGE.but(address="fe:16:3e:95:3a:3d")
    with library(world) as host:
        host.plug([request.vif])
    wrong, right = request.address, "fa:16:3e:95:3a:3d"
    world.ip("link", "set", request.tap, "address", wrong)
    with contextlib.closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database, database:
        database.execute("UPDATE records SET body = replace(body, ?, ?)", (right, wrong))
    report = world.vifplug_json("check", check=False)
    assert report["vifs"][0]["drift"] == [
        {"subject": request.tap, "attribute": "address", "observed": wrong, "desired": right}
    ]
    world.vifplug("repair", request.id)
    assert must_link(world, request.tap)["address"] == right
    assert_frames_arrive(world, request)
    assert world.vifplug_json("check")["clean"]


def test_bridge_shared_by_vifs_of_a_network_goes_with_the_last(world: World) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([BRIDGE.vif])
        ifindex = must_link(world, BRIDGE.brq)["ifindex"]
        host.plug([SECOND.vif])
        assert must_link(world, BRIDGE.brq)["ifindex"] == ifindex
        both = world.snapshot()
        with watched(world) as writes:
            host.plug([SECOND.vif, BRIDGE.vif])
        assert writes.none, writes
        host.unplug([BRIDGE.id])
        assert members(world, BRIDGE.brq) == {SECOND.tap}
        gone = both.keys() - world.snapshot().keys()
        assert gone == {f"link {BRIDGE.tap}"}
        assert host.check().clean
        host.unplug([SECOND.id])
    assert world.snapshot() == before


def test_bridge_with_a_foreign_port_stays_with_the_last_vif_gone(world: World) -> None:
    with library(world) as host_:
        host_.plug([BRIDGE.vif])
        with host_on_bridge(world, BRIDGE.brq, HOST), host_on_bridge(world, BRIDGE.brq, GUEST) as other:
            host_.unplug([BRIDGE.id])
            assert world.link(BRIDGE.tap) is None
            assert ping(other, HOST), "what is on the bridge goes on talking"
            assert [(orphan.kind, orphan.name) for orphan in host_.gc().orphans] == [("bridge", BRIDGE.brq)]
            assert host_.gc(delete=True).deleted == ()
            assert ping(other, HOST)
        assert [orphan.name for orphan in host_.gc(delete=True).deleted] == [BRIDGE.brq]
    assert world.link(BRIDGE.brq) is None


def test_foreign_bridge_is_joined_and_never_changed_or_deleted(world: World, foreign: str) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([BRIDGE.vif])
        assert members(world, foreign) == {"uplink", BRIDGE.tap}
        assert host.check().clean
        plugged = world.snapshot()
        assert {key for key in plugged if plugged[key] != before.get(key)} == {f"link {BRIDGE.tap}"}
        host.repair([BRIDGE.id])
        assert world.snapshot() == plugged
        host.unplug([BRIDGE.id])
    assert world.snapshot() == before


def test_foreign_bridge_alone_is_left_behind_by_the_last_vif(world: World, foreign: str) -> None:
    world.ip("link", "delete", "uplink")
    before = world.snapshot()
    with library(world) as host:
        host.plug([BRIDGE.vif])
        host.unplug([BRIDGE.id])
        assert host.gc(delete=True).orphans == ()
    assert world.snapshot() == before


def test_bridge_named_in_the_request_is_made_under_that_name(world: World) -> None:
    before = world.snapshot()
    request = BRIDGE.but(network={"bridge": "br-tenant", "id": BRIDGE.document["network"]["id"]})
    with library(world) as host:
        (report,) = host.plug([request.vif])
        assert report.bridge == "br-tenant"
        assert members(world, "br-tenant") == {BRIDGE.tap}
        assert must_link(world, "br-tenant")["ifalias"] == OWNER
        host.unplug([BRIDGE.id])
    assert world.snapshot() == before


def test_replug_onto_another_bridge_takes_the_empty_one_away(world: World) -> None:
    before = world.snapshot()
    moved = BRIDGE.but(network={"bridge": "br-other"})
    with library(world) as host_:
        host_.plug([BRIDGE.vif])
        with guest_on_tap(world, BRIDGE.tap, BRIDGE.address, GUEST, MTU) as guest:
            host_.plug([moved.vif])
            assert world.link(BRIDGE.brq) is None
            assert members(world, "br-other") == {BRIDGE.tap}
            with host_on_bridge(world, "br-other", HOST):
                assert ping(guest, HOST)
        assert host_.check().clean
        host_.unplug([BRIDGE.id])
    assert world.snapshot() == before


def test_vmm_brings_the_tap_plugged_and_waited_for(world: World) -> None:
    with library(world) as host_:
        (report,) = host_.plug([BRIDGE.but(create_tap=False).vif])
        assert (report.state, report.waiting_for) == ("plugged", BRIDGE.tap)
        assert members(world, BRIDGE.brq) == set()
        with (
            guest_in_bridge(world, BRIDGE.brq, GUEST, MTU, BRIDGE.address, outer=BRIDGE.tap) as guest,
            host_on_bridge(world, BRIDGE.brq, HOST),
        ):
            assert ping(guest, HOST)
            assert host_.get(BRIDGE.id).waiting_for is None
            assert host_.check().clean
            host_.unplug([BRIDGE.id])
            assert "master" in must_link(world, BRIDGE.tap), "not ours to take away, so its bridge stays"


def test_larger_mtu_of_two_vifs_of_a_network_holds(world: World) -> None:
    with library(world) as host:
        host.plug([BRIDGE.vif])
        host.plug([SECOND.but(network={"mtu": 9000}).vif])
        assert must_link(world, BRIDGE.brq)["mtu"] == 9000
        assert host.check().clean
        host.plug([BRIDGE.vif])
        assert must_link(world, BRIDGE.brq)["mtu"] == 9000
        assert (must_link(world, BRIDGE.tap)["mtu"], must_link(world, SECOND.tap)["mtu"]) == (MTU, 9000)


def test_vlan_is_set_or_refused_by_what_the_kernel_can(world: World) -> None:
    """tests/host/checks/vlan_bridges.py has the rest, on a kernel whose bridges filter by VLAN."""
    before, request = world.snapshot(), BRIDGE.but(vlan=5)
    can = world.run("ip", "link", "add", "br-try", "type", "bridge", "vlan_filtering", "1", check=False).returncode == 0
    if can:
        world.ip("link", "delete", "br-try")
    result = world.vifplug("plug", "-", input=request.text, check=False)
    if not can:
        assert result.returncode == 1
        assert "this kernel's bridges do not filter by VLAN (CONFIG_BRIDGE_VLAN_FILTERING)" in result.stderr
        assert result.stderr.count("\n") == 1
        assert world.snapshot() == before
        assert world.vifplug_json("list")["vifs"] == []
        return
    shown = json.loads(world.run("bridge", "-j", "vlan", "show", "dev", request.tap).stdout)
    assert shown == [{"ifname": request.tap, "vlans": [{"vlan": 5, "flags": ["PVID", "Egress Untagged"]}]}]
    world.vifplug("unplug", request.id)
    assert world.snapshot() == before
