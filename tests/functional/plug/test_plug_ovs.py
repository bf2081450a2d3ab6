"""ovs: the tap as the port of the integration bridge, made by vifplug or, later, by the VMM."""

from __future__ import annotations

import re

import pytest

from tests.support.network.endpoints import guest_on_tap, host_on_bridge
from tests.support.network.traffic import ping, transfer
from tests.support.network.writes import watched
from tests.support.vifs import GUEST, HOST, INSTANCE, MTU, OVS, conf, library, must_link, must_row
from tests.support.world.world import DATAPATH_TYPE, World
from vifplug import errors

UID, GID = 4711, 4712
NO_DEVICE = "could not open network device"
DEAD: dict[str, object] = {"tag": 4095, "vlan_mode": "trunk", "trunks": [4095]}
FREE: dict[str, object] = {"tag": [], "vlan_mode": [], "trunks": []}


def vlan(world: World, name: str) -> dict[str, object]:
    row = must_row(world, "Port", name)
    # OVSDB's JSON has a set of one as the bare value.
    trunks = row["trunks"] if isinstance(row["trunks"], list) else [row["trunks"]]
    return {"tag": row["tag"], "vlan_mode": row["vlan_mode"], "trunks": trunks}


def vswitchd_log(world: World) -> str:
    return (world.directory / "vswitchd.log").read_text()


def test_tap_may_belong_to_the_largest_ids_and_have_the_largest_mtu(world: World) -> None:
    largest = 2**32 - 2
    request = OVS.but(tap_owner={"uid": largest, "gid": largest}, network={"mtu": 65521})
    world.vifplug("plug", "-", input=request.text)
    link = must_link(world, OVS.tap)
    settings = link["linkinfo"]["info_data"]
    assert (int(settings["user"]), int(settings["group"]), link["mtu"]) == (largest, largest, 65521)
    assert world.vifplug_json("check")["clean"]


@pytest.mark.parametrize("multiqueue", [False, True])
def test_tap_made_by_vifplug_is_marked_owned_and_silent(world: World, multiqueue: bool) -> None:
    request = OVS.but(multiqueue=multiqueue, tap_owner={"uid": UID, "gid": GID})
    world.vifplug("plug", "-", input=request.text)
    link = must_link(world, OVS.tap)
    settings = link["linkinfo"]["info_data"]
    assert link["linkinfo"]["info_kind"] == "tun"
    assert (settings["type"], settings["persist"], settings["pi"]) == ("tap", True, False)
    assert settings["multi_queue"] is multiqueue
    assert (int(settings["user"]), int(settings["group"])) == (UID, GID)
    assert link["ifalias"] == f"vifplug:{OVS.id}"
    assert link["address"] == "fe" + OVS.address[2:]
    assert link["mtu"] == MTU
    assert "UP" in link["flags"]
    assert link.get("master") == ("ovs-system" if DATAPATH_TYPE == "system" else None)
    assert conf(world, OVS.tap, "disable_ipv6") == 1
    assert conf(world, OVS.tap, "accept_ra") == 0
    assert conf(world, OVS.tap, "arp_ignore", "ipv4") == 1


def test_tap_made_by_vifplug_is_a_port_with_a_number_before_the_guest_starts(world: World) -> None:
    with library(world) as host:
        (report,) = host.plug([OVS.vif])
    interface, port = must_row(world, "Interface", OVS.tap), must_row(world, "Port", OVS.tap)
    assert interface["ofport"] > 0
    assert interface["external_ids"] == {
        "iface-id": OVS.id,
        "iface-status": "active",
        "attached-mac": OVS.address,
        "vm-uuid": INSTANCE,
    }
    assert port["external_ids"] == {"vifplug-vif": OVS.id}
    assert vlan(world, OVS.tap) == FREE
    assert report.waiting_for is None
    assert world.vsctl("port-to-br", OVS.tap) == "br-int"
    # The device was there before its port (PARITY D14): vswitchd never looked for it in vain.
    assert NO_DEVICE not in vswitchd_log(world)


@pytest.mark.parametrize("multiqueue", [False, True])
def test_guest_on_tap_passes_tcp_and_exactly_the_mtu(world: World, multiqueue: bool) -> None:
    with library(world) as host_:
        host_.plug([OVS.but(multiqueue=multiqueue).vif])
    with (
        guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU, multiqueue) as guest,
        host_on_bridge(world, "br-int", HOST) as host,
    ):
        assert transfer(host, guest)
        assert transfer(guest, host)
        assert ping(guest, HOST, MTU)
        assert not ping(guest, HOST, MTU + 1, count=1)
        assert ping(host, GUEST, MTU)
        guest.run("ip", "link", "set", guest.device, "mtu", "1500")
        # A tap counts a VLAN tag's four bytes as no part of its MTU, and so does OVS.
        assert not ping(host, GUEST, MTU + 5, count=1)


def test_vmm_makes_the_tap_plugged_with_its_wait_named_and_no_drift(world: World) -> None:
    request = OVS.but(create_tap=False)
    with library(world) as host_:
        (report,) = host_.plug([request.vif])
        assert (report.state, report.waiting_for) == ("plugged", OVS.tap)
        assert world.link(OVS.tap) is None
        assert must_row(world, "Interface", OVS.tap)["external_ids"]["iface-id"] == OVS.id
        assert host_.check().clean
        assert world.vifplug_json("show", OVS.id)["waiting_for"] == OVS.tap
        with watched(world) as writes:
            host_.plug([request.vif])
        assert writes.none, writes
        # For contrast with the tap that is there first.
        assert NO_DEVICE in vswitchd_log(world)
        with (
            guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest,
            host_on_bridge(world, "br-int", HOST) as host,
        ):
            world.ip("link", "set", OVS.tap, "up")
            assert ping(guest, HOST)
            assert transfer(guest, host)
            assert host_.get(OVS.id).waiting_for is None
            assert host_.check().clean


def test_vmm_makes_the_tap_again_each_of_them_is_heard_after_a_plug(world: World) -> None:
    request = OVS.but(create_tap=False)
    with library(world) as host_, host_on_bridge(world, "br-int", HOST):
        host_.plug([request.vif])
        for number in range(3):
            with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
                world.ip("link", "set", OVS.tap, "up")
                assert ping(guest, HOST), number
            # vswitchd holds on to a device that is gone and would be deaf to the next of that name: Nova plugs
            # again before it starts the next guest.
            assert {(item.attribute, item.desired) for item in host_.check().vifs[0].drift} == {("ofport", None)}
            host_.plug([request.vif])
            assert host_.check().clean
            assert host_.get(OVS.id).waiting_for == OVS.tap


@pytest.mark.parametrize("again", ["repair", "plug"])
def test_vmm_makes_the_tap_again_unseen_and_the_deaf_port_is_named_and_put_right(world: World, again: str) -> None:
    request = OVS.but(create_tap=False)
    with library(world) as host_, host_on_bridge(world, "br-int", HOST):
        host_.plug([request.vif])
        with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
            world.ip("link", "set", OVS.tap, "up")
            assert ping(guest, HOST)
        # Nobody looks in between: no record says which device vswitchd holds.
        with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
            world.ip("link", "set", OVS.tap, "up")
            assert not ping(guest, HOST, count=1), "vswitchd is deaf to it"
            (item,) = host_.check().vifs[0].drift
            assert (item.subject, item.attribute) == (OVS.tap, "ifindex")
            host_.repair([OVS.id]) if again == "repair" else host_.plug([request.vif])
            assert ping(guest, HOST)
            assert host_.check().clean
            with watched(world) as writes:
                host_.plug([request.vif])
            assert writes.none, writes


def test_vmm_changes_the_tap_beneath_a_port_seen_and_repaired(world: World) -> None:
    request = OVS.but(create_tap=False)
    tap = f"ip tuntap add {OVS.tap} mode tap && ip link set {OVS.tap} up"
    with library(world) as host_, host_on_bridge(world, "br-int", HOST):
        world.run("sh", "-c", tap)
        host_.plug([request.vif])
        world.run("sh", "-c", f"ip link delete {OVS.tap} && {tap}")
        (item,) = host_.check().vifs[0].drift
        assert (item.subject, item.attribute) == (OVS.tap, "ifindex")
        host_.repair([OVS.id])
        assert host_.check().clean
        with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
            assert ping(guest, HOST)


def test_tap_open_in_a_guest_is_not_taken_away_by_a_replug_that_asks_for_none(world: World) -> None:
    request = OVS.but(create_tap=False)
    with library(world) as host_, host_on_bridge(world, "br-int", HOST):
        host_.plug([OVS.vif])
        with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
            before = world.snapshot()
            with pytest.raises(errors.Conflict, match="open in a guest"):
                host_.plug([request.vif])
            assert world.snapshot() == before
            assert ping(guest, HOST)
        (report,) = host_.plug([request.vif])
        assert (report.state, report.waiting_for) == ("plugged", OVS.tap)
        assert world.link(OVS.tap) is None
        with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
            world.ip("link", "set", OVS.tap, "up")
            assert ping(guest, HOST)


def test_tap_becomes_multiqueue_once_no_guest_has_it_open(world: World) -> None:
    request = OVS.but(multiqueue=True)
    with library(world) as host_, host_on_bridge(world, "br-int", HOST):
        host_.plug([OVS.vif])
        with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
            before = world.snapshot()
            with pytest.raises(errors.Conflict, match="multiqueue"):
                host_.plug([request.vif])
            assert world.snapshot() == before
            assert ping(guest, HOST)
        host_.plug([request.vif])
        assert must_link(world, OVS.tap)["linkinfo"]["info_data"]["multi_queue"] is True
        with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU, multi_queue=True) as guest:
            assert ping(guest, HOST)


def test_unplugged_leaves_the_world_as_it_was(world: World) -> None:
    before = world.snapshot()
    with library(world) as host:
        for request in (OVS, OVS.but(create_tap=False)):
            host.plug([request.vif])
            assert world.snapshot() != before
            host.unplug([OVS.id])
            assert world.snapshot() == before


def test_isolated_new_port_dead_in_the_transaction_that_creates_it(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.but(isolate=True).vif])
    assert vlan(world, OVS.tap) == DEAD
    record = record_of(world, f'Port insert row "{OVS.tap}"')
    assert {"tag=4095", "vlan_mode=trunk", "trunks=[4095]"} <= set(record.split())


def test_isolation_lifted_by_the_agent_stays_lifted_on_replug(world: World) -> None:
    world.write_config(ovs={"isolate": "true"})
    with library(world) as host:
        host.plug([OVS.vif])
        assert vlan(world, OVS.tap) == DEAD
        world.vsctl("set", "Port", OVS.tap, "tag=7", "vlan_mode=[]", "trunks=[]")
        wired = world.snapshot()
        with watched(world) as writes:
            host.plug([OVS.vif])
        assert writes.none, writes
        # What drifts is put right; the VLAN is not ours to set a second time.
        world.vsctl("remove", "Interface", OVS.tap, "external_ids", "attached-mac")
        host.repair([OVS.id])
        assert world.snapshot() == wired


def test_isolated_ports_hear_nothing_of_each_other(world: World) -> None:
    other = OVS.but(id="3fe5648f-4734-49a7-9fef-daa6f86f6799", address="fa:16:3e:95:3a:3d")
    with library(world) as host:
        host.plug([OVS.but(isolate=True).vif, other.but(isolate=True).vif])
    with (
        guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as each,
        guest_on_tap(world, other.tap, other.address, "10.9.0.2", MTU),
        host_on_bridge(world, "br-int", HOST),
    ):
        assert not ping(each, "10.9.0.2", count=1)
        assert not ping(each, HOST, count=1)
        for name in (OVS.tap, other.tap):
            world.vsctl("set", "Port", name, "tag=7", "vlan_mode=[]", "trunks=[]")
        assert ping(each, "10.9.0.2")
        assert not ping(each, HOST, count=1)


def test_kernel_datapath_port_and_its_qos_come_in_one_transaction_and_go_together(world: World) -> None:
    world.imitate_kernel_datapath()
    world.vsctl("add-br", "br-sys", "--", "set", "Bridge", "br-sys", "datapath_type=system")
    before = world.snapshot()
    request = OVS.but(network={"bridge": "br-sys"})
    with library(world) as host:
        host.plug([request.vif])
    (qos,) = world.rows("QoS", "_uuid", "type", "external_ids")
    assert (qos["type"], qos["external_ids"]) == ("linux-noop", {"vifplug-vif": OVS.id})
    assert must_row(world, "Port", OVS.tap)["qos"] == qos["_uuid"]
    assert f"QoS insert row {qos['_uuid'][:8]}" in record_of(world, f'Port insert row "{OVS.tap}"')
    # The option says what new ports get: an old one keeps its own, and takes it along (PARITY D7).
    world.write_config(ovs={"qos_type": "linux-htb"})
    with library(world) as host:
        host.plug([request.vif])
        assert world.rows("QoS", "_uuid", "type", "external_ids") == [qos]
        host.unplug([OVS.id])
    assert world.rows("QoS") == []
    assert world.snapshot() == before


def test_qos_of_the_control_plane_outlives_replug_and_unplug(world: World) -> None:
    world.imitate_kernel_datapath()
    world.vsctl("add-br", "br-sys", "--", "set", "Bridge", "br-sys", "datapath_type=system")
    request = OVS.but(network={"bridge": "br-sys"})
    with library(world) as host:
        host.plug([request.vif])
        theirs = world.vsctl("set", "Port", OVS.tap, "qos=@q", "--", "--id=@q", "create", "QoS", "type=linux-htb")
        wired = world.snapshot()
        host.plug([request.vif])
        assert world.snapshot() == wired
        assert host.check().clean
        host.unplug([OVS.id])
    assert [row["_uuid"] for row in world.rows("QoS", "_uuid")] == [theirs]


def record_of(world: World, words: str) -> str:
    """The one transaction of the database's log that says ``words``."""
    log = world.run("ovsdb-tool", "-mm", "show-log", str(world.directory / "conf.db")).stdout
    (record,) = (record for record in re.split(r"^record ", log, flags=re.MULTILINE) if words in record)
    return record
