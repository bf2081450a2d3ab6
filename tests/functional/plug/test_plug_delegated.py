"""ovs with create_port false: libvirt makes the tap and the port, and vifplug looks at them and never changes them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import faults
from tests.support.network.endpoints import Station, guest_on_tap, host_on_bridge
from tests.support.network.traffic import ping, transfer
from tests.support.network.writes import watched
from tests.support.vifs import GUEST, HOST, HYBRID, INSTANCE, MTU, OVS, library, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug import errors

DELEGATED = OVS.but(create_port=False)
NOVA: dict[str, Any] = {
    "id": OVS.id,
    "address": OVS.address,
    "type": "ovs",
    "vnic_type": "normal",
    "devname": OVS.tap,
    "ovs_interfaceid": OVS.id,
    "delegate_create": False,
    "details": {"bridge_name": "br-int", "port_filter": True},
    "network": {"id": OVS.document["network"]["id"], "bridge": "br-int", "meta": {"mtu": MTU}},
}
OSVIF: dict[str, Any] = {
    "versioned_object.namespace": "os_vif",
    "versioned_object.name": "VIFOpenVSwitch",
    "versioned_object.data": {
        "id": OVS.id,
        "address": OVS.address,
        "plugin": "ovs",
        "vif_name": OVS.tap,
        "bridge_name": "br-int",
        "network": {"versioned_object.data": {"bridge": "br-int", "mtu": MTU}},
        "port_profile": {
            "versioned_object.name": "VIFPortProfileOpenVSwitch",
            "versioned_object.data": {"interface_id": OVS.id, "create_port": False},
        },
    },
}


@contextlib.contextmanager
def libvirts_guest(world: World, bridge: str = "br-int") -> Iterator[Station]:
    """A guest whose tap and port are made, and taken away, as libvirt does (virNetDevOpenvswitchAddPort)."""
    with guest_on_tap(world, OVS.tap, OVS.address, GUEST, MTU) as guest:
        world.ip("link", "set", OVS.tap, "up")
        ids = {"attached-mac": OVS.address, "iface-id": OVS.id, "vm-id": INSTANCE, "iface-status": "active"}
        words = (f'external-ids:{key}="{value}"' for key, value in ids.items())
        port = ("--", "--if-exists", "del-port", OVS.tap, "--", "add-port", bridge, OVS.tap)
        world.vsctl(*port, "--", "set", "Interface", OVS.tap, *words)
        yield guest
        world.vsctl("--if-exists", "del-port", OVS.tap)


@pytest.mark.parametrize("document", [DELEGATED.document, [NOVA], OSVIF], ids=["own", "nova", "os-vif"])
def test_nothing_is_made_and_the_port_is_waited_for_and_recorded(world: World, document: Any) -> None:
    before = world.snapshot()
    text = json.dumps(document)
    assert world.vifplug_json("plug", "--dry-run", "-", input=text) == {"actions": []}
    with watched(world) as writes:
        (report,) = world.vifplug_json("plug", "-", input=text)["vifs"]
    assert writes.none, writes
    assert world.snapshot() == before
    assert (report["state"], report["waiting_for"], report["devices"]) == ("plugged", OVS.tap, [])
    assert report["ports"] == [{"bridge": "br-int", "name": OVS.tap, "ofport": None, "tag": None}]
    shown = world.vifplug_json("show", OVS.id)
    assert (shown["state"], shown["waiting_for"]) == ("plugged", OVS.tap)
    assert world.vifplug_json("check")["clean"]
    assert "waiting" in world.vifplug("diagram", OVS.id).stdout
    world.vifplug("unplug", OVS.id)
    assert world.snapshot() == before
    assert faults.stored(world) == {}


def test_port_of_libvirts_is_looked_at_and_left_as_it_is(world: World) -> None:
    with library(world) as host, host_on_bridge(world, "br-int", HOST) as peer:
        host.plug([DELEGATED.vif])
        before = world.snapshot()
        with libvirts_guest(world) as guest:
            assert ping(guest, HOST, MTU)
            assert transfer(peer, guest)
            ofport = must_row(world, "Interface", OVS.tap)["ofport"]
            world.vsctl("set", "Port", OVS.tap, "tag=0", "other_config:theirs=1")
            there = world.snapshot()
            with watched(world) as writes:
                found = host.get(OVS.id)
                assert (found.state, found.waiting_for) == ("active", None)
                assert [(one.bridge, one.name, one.ofport, one.tag) for one in found.ports] == [
                    ("br-int", OVS.tap, ofport, 0)
                ]
                host.plug([DELEGATED.vif])
                host.repair([OVS.id])
                assert host.check().clean
            assert writes.none, writes
            # What would be drift of a port of vifplug's is libvirt's business.
            world.vsctl("set", "Interface", OVS.tap, "external_ids:attached-mac=other", "mtu_request=1300")
            assert host.check().clean
            host.repair([OVS.id])
            assert must_row(world, "Interface", OVS.tap)["mtu_request"] == 1300
            world.vsctl("set", "Interface", OVS.tap, f'external_ids:attached-mac="{OVS.address}"')
            world.vsctl("clear", "Interface", OVS.tap, "mtu_request")
            assert must_row(world, "Port", OVS.tap)["external_ids"] == {}
            assert world.snapshot().keys() == there.keys()
        assert world.snapshot() == before
        assert host.check().clean
        assert (host.get(OVS.id).state, host.get(OVS.id).waiting_for) == ("plugged", OVS.tap)


@pytest.mark.parametrize("by", ["unplug", "unplug after a look"])
def test_unplug_leaves_a_port_of_libvirts(world: World, by: str) -> None:
    with library(world) as host, libvirts_guest(world) as guest, host_on_bridge(world, "br-int", HOST):
        before = world.snapshot()
        host.plug([DELEGATED.vif])
        if "look" in by:
            host.plug([DELEGATED.vif])
        (report,) = host.unplug([OVS.id])
        assert report.warnings == ()
        assert world.snapshot() == before
        assert ping(guest, HOST)
        assert host.check().clean
    assert faults.stored(world) == {}


def test_daemon_sees_the_port_come_and_go(world: World) -> None:
    with Vifplugd(world) as daemon:
        world.vifplug("plug", "-", input=DELEGATED.text)
        for _ in range(2):
            with libvirts_guest(world):
                wait_until(lambda: daemon.vifs()[OVS.id]["state"] == "active", "the guest")
                assert daemon.vifs()[OVS.id]["waiting_for"] is None
            wait_until(lambda: daemon.vifs()[OVS.id]["state"] == "plugged", "the guest's end")
            assert daemon.vifs()[OVS.id]["waiting_for"] == OVS.tap
        assert daemon.metric("vifplug_repairs_total") == 0


def test_port_that_was_plugged_without_create_port_is_kept(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.vif])
        before = world.snapshot()
        with watched(world) as writes:
            (report,) = host.plug([DELEGATED.vif])
        assert writes.none, writes
        (warning,) = report.warnings
        assert "create_port false" in warning
        assert world.snapshot() == before
        host.unplug([OVS.id])
    assert faults.stored(world) == {}


def test_conflicts_name_who_holds_what(world: World) -> None:
    with library(world) as host:
        host.plug([DELEGATED.vif])
        with pytest.raises(errors.Conflict, match="plugged as one that the guest's VMM makes"):
            host.plug([OVS.but(create_port=True).vif])
        host.unplug([OVS.id])
        host.plug([OVS.but(create_port=True).vif])
        before = world.snapshot()
        with pytest.raises(errors.Conflict, match="plugged as one that vifplug makes"):
            host.plug([DELEGATED.vif])
        assert world.snapshot() == before
        host.unplug([OVS.id])
        world.vsctl("add-port", "br-int", "strange0", "--", "set", "Interface", "strange0", "type=internal")
        world.vsctl("set", "Interface", "strange0", f"external_ids:iface-id={OVS.id}")
        with pytest.raises(errors.Conflict, match="'strange0' already carries iface-id"):
            host.plug([DELEGATED.vif])
        world.vsctl("del-port", "strange0")
        with pytest.raises(errors.BridgeMissing, match="'br-nope'"):
            host.plug([DELEGATED.but(network={"bridge": "br-nope"}).vif])
    assert faults.stored(world) == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"create_tap": True}, "create_tap: it must be false, or be left out, with create_port false"),
        ({"create_port": "no"}, "create_port: 'no': it must be true or false"),
        ({"vif_type": "bridge"}, "create_port: it is for VIFs of type ovs only"),
    ],
)
def test_wrong_request_is_exit_2_and_touches_nothing(world: World, changes: dict[str, Any], words: str) -> None:
    before = world.snapshot()
    result = world.vifplug("plug", "-", input=DELEGATED.but(**changes).text, check=False)
    assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert words in result.stderr
    assert world.snapshot() == before


def test_bridge_of_a_trunk_is_made_for_libvirts_port_and_goes_with_the_vif(world: World) -> None:
    before, bridge = world.snapshot(), "tbr-7a1f0b22-9c"
    with library(world) as host:
        host.plug([DELEGATED.but(network={"bridge": bridge}).vif])
        assert world.row("Bridge", bridge) is not None
        with libvirts_guest(world, bridge):
            assert host.get(OVS.id).waiting_for is None
            assert [one.bridge for one in host.get(OVS.id).ports] == [bridge]
            assert host.check().clean
        host.unplug([OVS.id])
    assert world.snapshot() == before


def test_guest_ends(world: World) -> None:
    with library(world) as host:
        host.plug([DELEGATED.vif])
    element = world.vifplug("guest", "libvirt", OVS.id).stdout
    assert '<source bridge="br-int"/>' in element
    assert f'<parameters interfaceid="{OVS.id}"/>' in element
    refused = world.vifplug("guest", "qemu", OVS.id, check=False)
    assert refused.returncode == 2
    assert "is made by libvirt (create_port false)" in refused.stderr


def test_plug_with_others_that_fails_records_none(world: World) -> None:
    before = world.snapshot()
    vifs = [DELEGATED.vif, HYBRID.vif]
    length = faults.plan_length(world, vifs)
    for after in range(length + 1):
        error = errors.LinkError("injected by a test")
        with faults.cut(after, faults.raising(error)), library(world) as host, pytest.raises(errors.LinkError):
            host.plug(vifs)
        assert world.snapshot() == before
        assert faults.stored(world) == {}
    with library(world) as host:
        host.plug(vifs)
        assert host.check().clean
        host.unplug([one.id for one in vifs])
    assert world.snapshot() == before
