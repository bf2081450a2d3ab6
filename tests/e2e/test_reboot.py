"""A guest that reboots, on each kind of port and on either kind of tap: QEMU keeps it open, and the path is there."""

from __future__ import annotations

from tests.e2e.conftest import Evidence
from tests.e2e.guests import QemuGuest, must_talk
from tests.e2e.image import Image
from tests.e2e.judge import plug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID, MTU, OVS
from tests.support.world.world import World

ONE, OTHER = "10.9.0.1/24", "10.9.0.2/24"


def test_guests_that_reboot_find_their_way_back(world: World, image: Image, evidence: Evidence) -> None:
    made = HYBRID.but(create_tap=True)
    with (
        Vifplugd(world) as daemon,
        QemuGuest(world, image, made, "one", ONE, evidence.log("one")) as one,
        QemuGuest(world, image, OVS, "other", OTHER, evidence.log("other")) as other,
    ):
        plug(world, made, OVS)
        for guest in (one, other):
            guest.start()
        for guest in (one, other):
            guest.console.await_ready()
        must_talk(one, other, MTU)
        for guest in (one, other):
            guest.reboot()
        must_talk(one, other, MTU)
        assert world.vifplug_json("check")["clean"]

        # Who plugs them, and whether it runs, is nothing to them.
        daemon.stop()
        must_talk(one, other, MTU)
        one.stop()
        one.start().console.await_ready()
        must_talk(one, other, MTU)
        for guest in (one, other):
            guest.stop()
        world.vifplug("unplug", made.id, OVS.id)
