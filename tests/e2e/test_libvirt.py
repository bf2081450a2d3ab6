"""Guests of libvirt's with the interfaces that vifplug gives: one joins its qbr, the other opens a tap of vifplug's."""

from __future__ import annotations

from tests.e2e.conftest import Evidence
from tests.e2e.guests import must_talk
from tests.e2e.image import Image
from tests.e2e.judge import must_be_found, plug
from tests.e2e.libvirt import Domain, Libvirtd
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID, MTU, OVS, Request, must_link, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

ONE, OTHER, THIRD = "10.9.0.1/24", "10.9.0.2/24", "10.9.0.3/24"
LATE = OVS.but(id="3fe5648f-4734-49a7-9fef-daa6f86f6799", address="fa:16:3e:95:3a:3d", create_tap=False)
"""Its port waits for the tap that libvirt makes."""
DELEGATED = OVS.but(create_port=False)
"""libvirt makes its tap and its port."""


def test_libvirts_guests_talk_and_come_back(world: World, image: Image, evidence: Evidence) -> None:
    before = world.snapshot()
    with (
        Vifplugd(world) as daemon,
        Libvirtd(world) as libvirt,
        Domain(libvirt, image, HYBRID, "one", ONE, evidence.log("one")) as one,
        Domain(libvirt, image, OVS, "other", OTHER, evidence.log("other")) as other,
    ):
        plug(world, HYBRID, OVS)
        ofports = {request.port: must_row(world, "Interface", request.port)["ofport"] for request in (HYBRID, OVS)}
        for guest in (one, other):
            guest.define().start()
        for guest, request in ((one, HYBRID), (other, OVS)):
            assert f"mac {request.address} mtu {MTU}" in guest.console.await_ready()
            evidence.note(f"virsh domiflist {guest.name}:\n{guest.interfaces()}")
        assert one.interfaces().split() == [HYBRID.tap, "bridge", HYBRID.qbr, "virtio", HYBRID.address]
        assert other.interfaces().split() == [OVS.tap, "ethernet", "-", "virtio", OVS.address]
        assert must_link(world, HYBRID.tap)["master"] == HYBRID.qbr
        must_talk(one, other, MTU)
        world.vifplug("wait", HYBRID.id, OVS.id, "--for", "active", "--timeout", "10")
        evidence.note(world.vifplug("list").stdout)

        # libvirt's own tap goes with its guest, ours does not; both VIFs are kept, and no port is made anew.
        for guest in (one, other):
            guest.stop()
        assert world.link(HYBRID.tap) is None
        must_link(world, OVS.tap)
        wait_until(lambda: {vif["state"] for vif in daemon.vifs().values()} == {"wired"}, "the end of the guests")
        assert world.vifplug_json("check")["clean"]
        for guest in (one, other):
            guest.start()
        for guest in (one, other):
            guest.console.await_ready()
        must_talk(one, other, MTU)
        one.reboot()
        must_talk(one, other, MTU)
        assert world.vifplug_json("check")["clean"]
        assert {port: must_row(world, "Interface", port)["ofport"] for port in ofports} == ofports

        other.stop()
        port_waits_for_libvirts_tap(libvirt, image, evidence, one)
        one.stop()
        world.vifplug("unplug", HYBRID.id, OVS.id)
    assert world.snapshot() == before


def port_waits_for_libvirts_tap(libvirt: Libvirtd, image: Image, evidence: Evidence, neighbour: Domain) -> None:
    """A port of ours, whose tap libvirt makes and takes away: the port stays ours, and waits for the next one."""
    world = libvirt.world
    world.vifplug("plug", "-", input=LATE.text)
    with Domain(libvirt, image, LATE, "late", THIRD, evidence.log("late")) as late:
        late.define()
        start_with_tap_of_libvirts(late, world)
        must_be_found(world, LATE)
        assert late.interfaces().split() == [LATE.tap, "ethernet", "-", "virtio", LATE.address]
        evidence.note(f"virsh domiflist late:\n{late.interfaces()}")
        must_talk(late, neighbour, MTU)
        late.stop()
        assert world.link(LATE.tap) is None
        assert must_row(world, "Port", LATE.port)["external_ids"] == {"vifplug-vif": LATE.id}
        assert world.vifplug_json("check")["clean"]
        start_with_tap_of_libvirts(late, world)
        must_talk(late, neighbour, MTU)
    world.vifplug("unplug", LATE.id)


def start_with_tap_of_libvirts(late: Domain, world: World, request: Request = LATE) -> None:
    """Boot the guest whose port waits, and see to it that its tap is up.

    vswitchd, as it takes the tap into its userspace datapath, reads the link's flags, sets one, and writes them all
    back; now and then libvirt sets the tap up between the two (seen with strace), and it is down again.
    """
    late.start()
    # Without a number the column is an empty list.
    wait_until(lambda: _has_number(world, request.port), "the port's number")
    world.ip("link", "set", request.tap, "up")
    late.console.await_ready()


def _has_number(world: World, port: str) -> bool:
    row = world.row("Interface", port)
    return row is not None and row["ofport"] not in ([], -1)


def test_port_that_libvirt_makes_is_looked_at_and_left_to_it(world: World, image: Image, evidence: Evidence) -> None:
    before = world.snapshot()
    with (
        Vifplugd(world) as daemon,
        Libvirtd(world) as libvirt,
        Domain(libvirt, image, HYBRID, "one", ONE, evidence.log("one")) as one,
        Domain(libvirt, image, DELEGATED, "other", OTHER, evidence.log("other")) as other,
    ):
        plug(world, HYBRID)
        world.vifplug("plug", "-", input=DELEGATED.text)
        one.define().start()
        one.console.await_ready()
        other.define()
        for _ in range(2):
            assert daemon.vifs()[OVS.id]["waiting_for"] == OVS.tap
            start_with_tap_of_libvirts(other, world, DELEGATED)
            evidence.note(f"virsh domiflist other:\n{other.interfaces()}")
            assert other.interfaces().split() == [OVS.tap, "bridge", "br-int", "virtio", OVS.address]
            must_talk(one, other, MTU)
            ids = must_row(world, "Interface", OVS.tap)["external_ids"]
            assert (ids["iface-id"], ids["attached-mac"]) == (OVS.id, OVS.address)
            world.vifplug("wait", OVS.id, "--for", "active", "--timeout", "10")
            world.vifplug("repair", OVS.id)
            assert must_row(world, "Port", OVS.tap)["external_ids"] == {}
            assert world.vifplug_json("check")["clean"]
            must_talk(one, other, MTU)
            other.stop()
            assert world.row("Port", OVS.tap) is None
            wait_until(lambda: daemon.vifs()[OVS.id]["state"] == "plugged", "the end of the guest")
            assert world.vifplug_json("check")["clean"]
        assert daemon.metric("vifplug_repairs_total") == 0
        one.stop()
        world.vifplug("unplug", HYBRID.id, OVS.id)
    assert world.snapshot() == before
