"""The tutorial of one host: its documents, its guests under QEMU and libvirt, its damage and its clean-up."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.e2e.conftest import Evidence
from tests.e2e.guests import QemuGuest, must_talk
from tests.e2e.image import Image
from tests.e2e.libvirt import Domain, Libvirtd
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import Request, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorials" / "one-host.md").read_text()
MTU = 1500


def _command(start: str) -> list[str]:
    """A command of the tutorial, by its first words."""
    found = re.findall(rf"^    ({re.escape(start)}[^$\n]*)$", TUTORIAL, flags=re.M)
    assert len(found) == 1, f"the tutorial has {len(found)} commands that begin with {start!r}"
    return str(found[0]).split()


def test_tutorial_of_one_host_works_as_written(world: World, image: Image, evidence: Evidence) -> None:
    first, second = (Request(json.loads(each)) for each in re.findall(r"^    \{\n.*?^    \}$", TUTORIAL, re.M | re.S))
    before = world.snapshot()
    plan = re.findall(r"\$ vifplug plug one.json --dry-run\n(.*?)\n\n", TUTORIAL, re.S)[0]
    assert world.vifplug("plug", "-", "--dry-run", input=first.text).stdout.split() == plan.split()
    with (
        Vifplugd(world) as daemon,
        Libvirtd(world) as libvirt,
        QemuGuest(world, image, first, "one", "10.9.0.1/24", evidence.log("one")) as one,
        Domain(libvirt, image, second, "two", "10.9.0.2/24", evidence.log("two")) as two,
    ):
        for request in (first, second):
            assert "no guest since" in world.vifplug("plug", "-", input=request.text).stdout
        one.start()
        two.define().start()
        for guest, request in ((one, first), (two, second)):
            assert f"mac {request.address} mtu {MTU}" in guest.console.await_ready()
        must_talk(one, two, MTU)
        world.vifplug("wait", first.id, second.id, "--for", "active", "--timeout", "10")
        evidence.note(world.vifplug("list").stdout)

        world.run(*_command("ovs-vsctl del-port"))
        wait_until(lambda: world.vifplug_json("check", check=False)["clean"], "the repair of the port")
        must_row(world, "Interface", first.tap)
        must_talk(one, two, MTU)
        wait_until(lambda: {vif["state"] for vif in daemon.vifs().values()} == {"active"}, "the guests after it")
        assert "drifted" in world.vifplug("events").stdout
        assert "The path is complete." in world.vifplug("diagram", first.id).stdout

        one.stop()
        two.stop()
        assert world.link(second.tap) is not None, "libvirt leaves a tap that it has not made"
        world.vifplug(*_command("vifplug unplug")[1:])
    assert world.snapshot() == before
