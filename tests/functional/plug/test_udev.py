"""Taps made beside a process that writes MACs of its own on new ones, as udev does by systemd's 99-default.link."""

from __future__ import annotations

import socket
import time

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import faults
from tests.support.vifs import library, must_link
from tests.support.world.daemons import wait_until
from tests.support.world.namespaces import empty_namespace
from tests.support.world.udev_like import udev_like
from tests.support.world.world import World
from vifplug.model.vif import Vif
from vifplug.naming import tap_address
from vifplug.netlink.udev import Udev

COUNT = 20
SECONDS = 30.0
WAIT_SECONDS = 0.3
UEVENTS, FROM_KERNEL, FROM_UDEV = 15, 1, 2


def address_of(world: World, vif: Vif) -> str:
    return str(must_link(world, faults.device("tap", vif))["address"])


@pytest.mark.parametrize("kind", ["ovs", "bridge"])
def test_twenty_plugs_with_a_tap_beside_udev_are_right(world: World, kind: str) -> None:
    vifs = [faults.vif(kind, number, create_tap=True) for number in range(1, COUNT + 1)]
    with udev_like(world), library(world) as host:
        wrong = []
        for vif in vifs:
            (report,) = host.plug([vif])
            assert report.error is None
            if address_of(world, vif) != tap_address(vif.address):
                wrong.append(vif.id)
        assert wrong == []
    assert world.vifplug_json("--local", "check")["clean"]


@pytest.mark.parametrize("kind", ["ovs", "bridge"])
def test_twenty_in_one_plan_beside_udev_are_right(world: World, kind: str) -> None:
    vifs = [faults.vif(kind, number, create_tap=True) for number in range(1, COUNT + 1)]
    with udev_like(world), library(world) as host:
        host.plug(vifs)
        assert {vif.id: address_of(world, vif) for vif in vifs} == {vif.id: tap_address(vif.address) for vif in vifs}


def waits(world: World) -> bool:
    """Whether a plug of a new tap in the world's namespace waits for udev."""
    with world.namespace.entered():
        began = time.monotonic()
        Udev().await_taps(["tap0"], began + WAIT_SECONDS)
        return time.monotonic() - began >= WAIT_SECONDS


def listener(group: int) -> socket.socket:
    """A socket like udev's."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, UEVENTS)
    events.bind((0, group))
    return events


def test_only_a_listener_in_the_taps_namespace_is_waited_for(world: World) -> None:
    with empty_namespace(), listener(FROM_KERNEL):
        assert not waits(world), "a listener in another namespace gets no event of these links"
    with world.namespace.entered():
        copies, kernels = listener(FROM_UDEV), listener(FROM_KERNEL)
    with copies:
        with kernels:
            assert waits(world)
        assert not waits(world), "those who get udev's copies of the events are not udev"


def test_daemon_puts_right_what_udev_writes_later(world: World) -> None:
    vif = faults.vif("bridge", 1, create_tap=True)
    with Vifplugd(world, repair_interval=60) as daemon:
        document = vif.model_dump(mode="json", exclude_none=True)
        assert daemon.request("PUT", f"/v1/vifs/{vif.id}", document)[0] == 200
        world.ip("link", "set", faults.device("tap", vif), "address", "02:00:00:00:00:77")
        wait_until(lambda: address_of(world, vif) == tap_address(vif.address), "the repair", SECONDS)
