"""The tutorial: two QEMU guests on two hosts, joined by nothing but vifplug: no Open vSwitch bridge, and no agent."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.conftest import Evidence
from tests.e2e.guests import QemuGuest, must_talk
from tests.e2e.image import Image
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.two_hosts import ADDRESSES, NIC, PHYSNET, two_hosts
from tests.support.world.daemons import wait_until

ONE, OTHER = "10.9.0.1/24", "10.9.0.2/24"
UPLINKS: dict[str, dict[str, Any]] = {
    "vxlan": {"type": "vxlan", "segmentation_id": 100, "peers": ADDRESSES},
    "flat": {"type": "flat", "physical_network": PHYSNET},
}
MTUS = {"vxlan": 1450, "flat": 1500}


@pytest.mark.parametrize("case", UPLINKS)
def test_guests_on_two_hosts_talk_and_an_uplink_that_is_lost_comes_back(
    image: Image, evidence: Evidence, case: str
) -> None:
    with two_hosts(mtu=1500, addresses=case == "vxlan") as hosts:
        before, nics = [world.snapshot() for world in hosts.worlds], hosts.nics()
        bridge = {"physical_networks": f"{PHYSNET}:{NIC}"}
        options = [{**bridge, "vxlan_local_ip": address} for address in ADDRESSES] if case == "vxlan" else [bridge] * 2
        requests = hosts.requests(MTUS[case], **UPLINKS[case])
        if case == "vxlan":  # by default the MTU leaves room for the headers
            for request in requests:
                request.document["network"].pop("mtu")
        here, there = hosts.worlds
        with (
            Vifplugd(here, {"bridge": options[0]}),
            Vifplugd(there, {"bridge": options[1]}),
            QemuGuest(here, image, requests[0], "one", ONE, evidence.log("one")) as one,
            QemuGuest(there, image, requests[1], "other", OTHER, evidence.log("other")) as other,
        ):
            for world, request, guest in zip(hosts.worlds, requests, (one, other), strict=True):
                world.vifplug("plug", "-", input=request.text)
                guest.start()
            for guest, request in zip((one, other), requests, strict=True):
                assert f"mac {request.address} mtu {MTUS[case]}" in guest.console.await_ready()
            must_talk(one, other, MTUS[case])
            evidence.note(here.vifplug("list").stdout + here.vifplug("diagram", requests[0].id).stdout)
            lose = ("link", "delete", "vxlan-100") if case == "vxlan" else ("link", "set", NIC, "nomaster")
            here.ip(*lose)
            wait_until(lambda: here.vifplug_json("check", check=False)["clean"], "the repair of the uplink")
            must_talk(one, other, MTUS[case])
            for world, request, guest in zip(hosts.worlds, requests, (one, other), strict=True):
                guest.stop()
                world.vifplug("unplug", request.id)
        assert [world.snapshot() for world in hosts.worlds] == before
        assert hosts.nics() == nics
