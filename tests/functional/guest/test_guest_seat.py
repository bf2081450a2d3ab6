"""The VMM's tap goes back on the bridge it was seen on, and on no other occasion."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.endpoints import guest_in_bridge, host_on_bridge
from tests.support.network.traffic import ping
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, library
from tests.support.world.world import World
from vifplug import errors
from vifplug.engine.plan.actions import JoinGuest
from vifplug.linux.host import LinuxHost
from vifplug.resources.bridge import Bridge

TAP, QBR = HYBRID.tap, HYBRID.qbr


def master(world: World) -> str | None:
    (tap,) = world.ip("link", "show", TAP)
    found: str | None = tap.get("master")
    return found


def test_tap_that_was_seen_on_its_bridge_goes_back_with_it(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        with (
            guest_in_bridge(world, QBR, GUEST, MTU, HYBRID.address, outer=TAP) as guest,
            host_on_bridge(world, "br-int", HOST),
        ):
            host.plug([HYBRID.vif])  # sees it
            assert ping(guest, HOST)
            world.ip("link", "del", QBR)
            assert master(world) is None
            (vif,) = host.check([HYBRID.id]).vifs
            assert (TAP, "master") in {(item.subject, item.attribute) for item in vif.drift}
            host.repair([HYBRID.id])
            assert master(world) == QBR
            assert ping(guest, HOST)
            assert host.check().clean


def test_tap_taken_off_its_bridge_goes_back(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        with guest_in_bridge(world, QBR, GUEST, MTU, HYBRID.address, outer=TAP):
            host.plug([HYBRID.vif])
            world.ip("link", "set", TAP, "nomaster")
            host.repair([HYBRID.id])
            assert master(world) == QBR


def test_tap_that_was_never_on_the_bridge_is_left_to_its_vmm(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.ip("tuntap", "add", "dev", TAP, "mode", "tap")
        world.ip("link", "del", QBR)
        host.repair([HYBRID.id])
        assert master(world) is None
        assert host.check().clean


def test_tap_made_again_or_put_elsewhere_is_its_vmms_business(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        for command in (["tuntap", "add", "dev", TAP, "mode", "tap"], ["link", "set", TAP, "master", QBR]):
            world.ip(*command)
        host.plug([HYBRID.vif])
        world.ip("link", "add", "elsewhere", "type", "bridge")
        world.ip("link", "set", TAP, "master", "elsewhere")
        host.repair([HYBRID.id])
        assert master(world) == "elsewhere"
        world.ip("link", "del", TAP)
        world.ip("tuntap", "add", "dev", TAP, "mode", "tap")
        host.repair([HYBRID.id])
        assert master(world) is None


def test_helper_puts_nothing_but_a_guests_tap_on_a_bridge(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.ip("link", "add", "uplink0", "type", "veth", "peer", "name", "uplink1")
        (uplink,) = world.ip("link", "show", "uplink0")
        real = host._context.host
        assert isinstance(real, LinuxHost)
        record = host._context.store.record(HYBRID.id)
        assert record is not None
        bridge = next(item for item in record.resources if isinstance(item, Bridge))
        with pytest.raises(errors.PermissionDenied, match="not a guest's tap"):
            real.apply([[JoinGuest(replace(bridge, guest="uplink0"), uplink["ifindex"], HYBRID.id)]])
        assert "master" not in world.ip("link", "show", "uplink0")[0]


def test_daemon_sees_the_tap_come_and_puts_it_back(world: World) -> None:
    with Vifplugd(world) as daemon:
        assert daemon.request("POST", "/v1/batch", {"plug": [json.loads(HYBRID.text)]})[0] == 200
        with (
            guest_in_bridge(world, QBR, GUEST, MTU, HYBRID.address, outer=TAP) as guest,
            host_on_bridge(world, "br-int", HOST),
        ):
            assert ping(guest, HOST)
            time.sleep(1)
            world.ip("link", "del", QBR)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and master(world) != QBR:
                time.sleep(0.05)
            assert master(world) == QBR, daemon.log()[-2000:]
            assert ping(guest, HOST)
