"""What hypervisors are told, on a real host: by the bridge's own datapath, and with taps that can be opened as told."""

from __future__ import annotations

import errno
import os
from xml.etree import ElementTree

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.endpoints import guest_on_tap, host_on_bridge
from tests.support.network.relay import open_tap
from tests.support.network.traffic import ping
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, OVS, library, must_link
from tests.support.world.world import World
from vifplug import errors


def test_daemon_and_local_tell_the_same(world: World) -> None:
    with Vifplugd(world) as daemon:
        assert daemon.request("POST", "/v1/batch", {"plug": [HYBRID.document, OVS.document]})[0] == 200
        status, reported = daemon.request("GET", f"/v1/vifs/{OVS.id}/guest/qemu")
        assert status == 200
        assert ",csum=off," in reported["text"]
        assert world.vifplug_json("guest", "qemu", OVS.id) == reported
        assert world.vifplug_json("guest", "qemu", OVS.id, "--local") == reported
        hybrid = world.vifplug("guest", "qemu", HYBRID.id)
        assert f"master {HYBRID.qbr}" in hybrid.stderr
        assert "csum" not in hybrid.stdout  # its veth pair fills checksums in


def test_the_bridges_own_datapath_decides(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.vif, HYBRID.vif])
        element = ElementTree.fromstring(host.guest(OVS.id, "libvirt").text)
        assert element.find("driver/host[@csum='off']") is not None
        assert element.find(f"target[@dev='{OVS.tap}'][@managed='no']") is not None
        world.imitate_kernel_datapath()
        world.vsctl("set", "Bridge", "br-int", "datapath_type=system")
        assert "csum" not in host.guest(OVS.id, "libvirt").text


def test_commands_before_qemu_put_the_vmms_tap_where_the_guest_is_heard(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        for command in host.guest(HYBRID.id, "qemu").before:
            world.run(*command)
        tap = must_link(world, HYBRID.tap)
        assert (tap["master"], tap["mtu"]) == (HYBRID.qbr, MTU)
        assert world.ip("address", "show", "dev", HYBRID.tap)[0]["addr_info"] == []
        with (
            guest_on_tap(world, HYBRID.tap, HYBRID.address, GUEST, MTU) as guest,
            host_on_bridge(world, "br-int", HOST),
        ):
            assert ping(guest, HOST)
            assert host.get(HYBRID.id).state == "active"
            assert host.check().clean


def test_create_tap_makes_the_tap_of_a_plugged_vif_and_unplug_takes_it(world: World) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([HYBRID.vif])
        bridge = must_link(world, HYBRID.qbr)["ifindex"]
        world.vifplug("plug", "--create-tap", "-", input=HYBRID.text)
        assert must_link(world, HYBRID.tap)["master"] == HYBRID.qbr
        assert must_link(world, HYBRID.qbr)["ifindex"] == bridge
        assert not host.guest(HYBRID.id, "qemu").before
        with (
            guest_on_tap(world, HYBRID.tap, HYBRID.address, GUEST, MTU) as guest,
            host_on_bridge(world, "br-int", HOST),
        ):
            assert ping(guest, HOST)
            host.plug([HYBRID.vif])  # what is not said stays
            assert ping(guest, HOST)
        host.unplug([HYBRID.id])
    assert world.snapshot() == before


def test_tap_opens_with_the_printed_queues_and_with_no_others(world: World) -> None:
    for many in (False, True):
        with library(world) as host:
            host.plug([OVS.but(multiqueue=many).vif])
            assert ("queues=2" in host.guest(OVS.id, "qemu").text) == many
            with pytest.raises(errors.InputError):
                host.guest(OVS.id, "qemu", queues=1 if many else 2)
            with pytest.raises(OSError) as refused:  # what the guest would meet, were that not refused
                open_tap(OVS.tap, multi_queue=not many)
            assert refused.value.errno == errno.EINVAL
            queues = [open_tap(OVS.tap, multi_queue=many) for _ in range(2 if many else 1)]
            for queue in queues:
                os.close(queue)
            host.unplug([OVS.id])
