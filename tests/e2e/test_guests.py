"""Two guests, one on each kind of port of br-int, under a QEMU that was started with what vifplug says.

CI runs this file of the end-to-end tests, and no other.
"""

from __future__ import annotations

from tests.e2e.conftest import Evidence
from tests.e2e.guests import QemuGuest, must_talk
from tests.e2e.image import Image
from tests.e2e.judge import plug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID, MTU, OVS, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

ONE, OTHER = "10.9.0.1/24", "10.9.0.2/24"


def test_guests_talk_and_one_that_was_killed_comes_back(world: World, image: Image, evidence: Evidence) -> None:
    before = world.snapshot()
    with (
        Vifplugd(world) as daemon,
        QemuGuest(world, image, HYBRID, "one", ONE, evidence.log("one")) as one,
        QemuGuest(world, image, OVS, "other", OTHER, evidence.log("other")) as other,
    ):
        plug(world, HYBRID, OVS)
        ofports = {request.port: must_row(world, "Interface", request.port)["ofport"] for request in (HYBRID, OVS)}
        for guest in (one, other):
            guest.start()
        for guest, request in ((one, HYBRID), (other, OVS)):
            assert f"mac {request.address} mtu {MTU}" in guest.console.await_ready()
        must_talk(one, other, MTU)
        world.vifplug("wait", HYBRID.id, OVS.id, "--for", "active", "--timeout", "10")
        evidence.note(world.vifplug("list").stdout)

        other.stop()
        wait_until(lambda: daemon.vifs()[OVS.id]["state"] == "wired", "the VIF of a guest that was killed")
        assert not one.pings(other.ip, count=1)
        assert world.vifplug_json("check")["clean"]
        other.start()
        other.console.await_ready()
        must_talk(one, other, MTU)

        # The VIFs are what they were, and nothing was made anew.
        assert {port: must_row(world, "Interface", port)["ofport"] for port in ofports} == ofports
        for guest in (one, other):
            guest.stop()
        world.vifplug("unplug", HYBRID.id, OVS.id)
        world.run("ip", "link", "del", HYBRID.tap)  # it was the test's, as its VMM
        assert world.snapshot() == before
