"""tap: a tap by itself, which another program wires."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.faults.drifts import LONE_TAP_DRIFTS, Drift
from tests.support.network.endpoints import guest_on_tap
from tests.support.network.traffic import ping
from tests.support.network.writes import watched
from tests.support.vifs import GUEST, INSTANCE, LONE_TAP, MTU, conf, library, must_link
from tests.support.world.world import World
from vifplug import errors

BACKENDS_MAC = "ee:ee:ee:ee:ee:ee"
ROUTER = "10.9.0.254"
PORT: dict[str, Any] = {
    "id": LONE_TAP.id,
    "mac_address": LONE_TAP.address,
    "network_id": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24",
    "device_owner": "compute:nova",
    "device_id": INSTANCE,
    "binding:vif_type": "tap",
    "binding:vnic_type": "normal",
    "binding:vif_details": {"port_filter": True, "mac_address": BACKENDS_MAC},
    "binding:profile": {},
}
NOVA: dict[str, Any] = {
    "id": LONE_TAP.id,
    "address": LONE_TAP.address,
    "type": "tap",
    "vnic_type": "normal",
    "devname": LONE_TAP.tap,
    "details": PORT["binding:vif_details"],
    "network": {"id": PORT["network_id"], "bridge": None, "meta": {"mtu": MTU}},
}
OSVIF: dict[str, Any] = {
    "versioned_object.namespace": "os_vif",
    "versioned_object.name": "VIFGeneric",
    "versioned_object.version": "1.0",
    "versioned_object.data": {
        "id": LONE_TAP.id,
        "address": LONE_TAP.address,
        "vif_name": LONE_TAP.tap,
        "network": {"versioned_object.data": {"id": PORT["network_id"], "mtu": MTU}},
        "port_profile": {
            "versioned_object.name": "VIFPortProfileFPTap",
            "versioned_object.data": {"mac_address": BACKENDS_MAC},
        },
    },
}


@pytest.mark.parametrize("multiqueue", [False, True])
def test_tap_is_whole_marked_silent_and_on_nothing(world: World, multiqueue: bool) -> None:
    before = world.snapshot()
    request = LONE_TAP.but(multiqueue=multiqueue, tap_owner={"uid": 4711, "gid": 4712})
    (report,) = world.vifplug_json("plug", "-", input=request.text)["vifs"]
    assert (report["state"], report["waiting_for"], report["bridge"]) == ("plugged", None, None)
    assert [(one["name"], one["kind"]) for one in report["devices"]] == [(LONE_TAP.tap, "tap")]
    assert report["ports"] == []
    link = must_link(world, LONE_TAP.tap)
    settings = link["linkinfo"]["info_data"]
    assert (settings["type"], settings["persist"], settings["multi_queue"]) == ("tap", True, multiqueue)
    assert (int(settings["user"]), int(settings["group"])) == (4711, 4712)
    assert (link["ifalias"], link["mtu"], link.get("master")) == (f"vifplug:{LONE_TAP.id}", MTU, None)
    assert link["address"] == "fe" + LONE_TAP.address[2:]
    assert "UP" in link["flags"]
    assert [conf(world, LONE_TAP.tap, key) for key in ("disable_ipv6", "accept_ra")] == [1, 0]
    assert len(world.rows("Port")) == 1, "that of br-int alone"
    assert world.vifplug_json("check")["clean"]
    with watched(world) as writes, library(world) as host:
        host.plug([request.vif])
    assert writes.none, writes
    world.vifplug("unplug", LONE_TAP.id)
    assert world.snapshot() == before


@pytest.mark.parametrize("document", [PORT, [NOVA], OSVIF], ids=["neutron", "nova", "os-vif"])
def test_peers_name_the_hosts_mac(world: World, document: Any) -> None:
    before = world.snapshot()
    (report,) = world.vifplug_json("plug", "-", "--mtu", str(MTU), input=json.dumps(document))["vifs"]
    assert (report["vif_type"], report["mtu"]) == ("tap", MTU)
    link = must_link(world, LONE_TAP.tap)
    assert (link["address"], link["mtu"]) == (BACKENDS_MAC, MTU)
    assert world.vifplug_json("check")["clean"]
    with watched(world) as writes, library(world) as host:
        host.plug([LONE_TAP.vif])  # without the MAC: it stays
    assert writes.none, writes
    world.vifplug("unplug", "-f", "-", input=json.dumps(document))
    assert world.snapshot() == before


def test_guest_talks_to_a_host_that_routes_and_is_active_while_it_runs(world: World) -> None:
    with library(world) as host:
        host.plug([LONE_TAP.but(tap={"address": BACKENDS_MAC}).vif])
        assert host.get(LONE_TAP.id).state == "wired"
        with guest_on_tap(world, LONE_TAP.tap, LONE_TAP.address, GUEST, MTU) as guest:
            # As a backend does that routes: the tap is the guest's gateway.
            world.ip("address", "add", f"{ROUTER}/24", "dev", LONE_TAP.tap)
            assert ping(guest, ROUTER, MTU)
            assert host.wait([LONE_TAP.id], "active", timeout=5)[0].state == "active"
            assert host.check().clean
            assert BACKENDS_MAC in guest.run("ip", "neigh").stdout
        assert host.get(LONE_TAP.id).state == "wired"


def test_bridge_of_the_backend_is_no_drift_and_is_left_by_a_repair(world: World) -> None:
    with library(world) as host:
        host.plug([LONE_TAP.vif])
        world.ip("link", "add", "br-backend", "up", "type", "bridge")
        world.ip("link", "set", LONE_TAP.tap, "master", "br-backend", "mtu", "1300")
        assert {(one.subject, one.attribute) for one in host.check().vifs[0].drift} == {(LONE_TAP.tap, "mtu")}
        host.repair([LONE_TAP.id])
        link = must_link(world, LONE_TAP.tap)
        assert (link["master"], link["mtu"]) == ("br-backend", MTU)
        with watched(world) as writes:
            host.plug([LONE_TAP.vif])
        assert writes.none, writes
        host.unplug([LONE_TAP.id])
    assert world.link(LONE_TAP.tap) is None
    assert world.link("br-backend") is not None


@pytest.mark.parametrize("drift", LONE_TAP_DRIFTS, ids=lambda drift: drift.name)
def test_drift_is_named_and_put_right(world: World, drift: Drift) -> None:
    with library(world) as host:
        host.plug([LONE_TAP.vif])
        with guest_on_tap(world, LONE_TAP.tap, LONE_TAP.address, GUEST, MTU) as guest:
            world.ip("address", "add", f"{ROUTER}/24", "dev", LONE_TAP.tap)
            before = world.snapshot()
            for how in ("repair", "plug"):
                drift.inflict(world, LONE_TAP)
                found = {(one.subject, one.attribute) for one in host.check().vifs[0].drift}
                expected = drift.named(LONE_TAP)
                assert (found & expected if drift.more else found) == expected
                if how == "repair":
                    host.repair([LONE_TAP.id])
                else:
                    host.plug([LONE_TAP.vif])
                assert host.check().clean
                assert world.snapshot() == before
                assert ping(guest, ROUTER)


def test_tap_deleted_is_made_again(world: World) -> None:
    with library(world) as host:
        host.plug([LONE_TAP.vif])
        before = world.snapshot()
        world.ip("link", "delete", LONE_TAP.tap)
        assert [(one.attribute, one.observed) for one in host.check().vifs[0].drift] == [("present", False)]
        host.repair([LONE_TAP.id])
        assert world.snapshot() == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"create_tap": False}, "create_tap"),
        ({"network": {"bridge": "br-int"}}, "network.bridge"),
        ({"tap": {"address": "01:00:00:00:00:01"}}, "tap.address: '01:00:00:00:00:01': it is a multicast address"),
        ({"tap": {"mac": "ee:ee:ee:ee:ee:ee"}}, "unknown key 'tap.mac' (did you mean 'address'?)"),
        ({"vif_type": "ovs", "tap": {"address": BACKENDS_MAC}}, "tap: it is for VIFs of type tap only"),
    ],
)
def test_wrong_request_is_exit_2_and_touches_nothing(world: World, changes: dict[str, Any], words: str) -> None:
    before = world.snapshot()
    result = world.vifplug("plug", "-", input=LONE_TAP.but(**changes).text, check=False)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert words in result.stderr
    assert world.snapshot() == before


def test_name_that_another_holds_is_a_conflict(world: World) -> None:
    world.ip("link", "add", LONE_TAP.tap, "type", "bridge")
    before = world.snapshot()
    with library(world) as host, pytest.raises(errors.Conflict, match="held by a bridge"):
        host.plug([LONE_TAP.vif])
    assert world.snapshot() == before
