"""Links of ours that another program renames: named, given their names back, and taken away with their VIF.

What is renamed, and what is there then, is made and read with ``ip`` and ``ovs-vsctl``. Whether the guest is cut off is
shown by frames through the very descriptor that it has open all the time.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.frames import GuestTap, HostEnd, lost
from tests.support.vifs import BRIDGE, HYBRID, OVS, Request, library, must_link, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.world import Row, World
from vifplug import errors

NEW = "vm-web"
SECONDS = 60.0
LINKS = [(OVS, "tap"), (BRIDGE, "tap"), (BRIDGE, "brq"), (HYBRID, "qbr"), (HYBRID, "qvb"), (HYBRID, "qvo")]
CASES = [pytest.param(request, role, id=f"{request.type}-{role}") for request, role in LINKS]


@contextlib.contextmanager
def ends(world: World, request: Request) -> Iterator[tuple[GuestTap, HostEnd]]:
    """A guest on the VIF's path, and a host on its bridge."""
    host = HostEnd(world, "host0", "far0")
    if request.type == "bridge":
        world.ip("link", "set", "host0", "master", request.brq)
    else:
        world.vsctl("add-port", "br-int", "host0")
    guest = GuestTap(world, request.tap, request.address)
    if request.type == "ovs-hybrid":
        world.ip("link", "set", request.tap, "mtu", "1450", "master", request.qbr, "up")
    try:
        yield guest, host
    finally:
        guest.close()
        host.close()


def settled(world: World) -> dict[str, Row]:
    """A snapshot without the bridge's own device, whose MTU vswitchd moves with the ports it has."""
    return {key: row for key, row in world.snapshot().items() if key != "link br-int"}


def names(world: World) -> set[str]:
    return {link["ifname"] for link in world.ip("link", "show")}


def named_by_check(world: World, request: Request) -> list[dict[str, object]]:
    """The drift items that the command line names."""
    result = world.vifplug("-o", "json", "check", request.id, check=False)
    assert result.returncode == 3, result
    (found,) = json.loads(result.stdout)["vifs"]
    assert found["state"] == "drifted"
    return list(found["drift"])


@pytest.mark.parametrize("how", ["repair", "plug"])
@pytest.mark.parametrize(("request_", "role"), CASES)
def test_renamed_link_is_named_and_gets_its_name_back_under_the_open_guest(
    world: World, request_: Request, role: str, how: str
) -> None:
    with library(world) as host:
        host.plug([request_.vif])
        name = request_.names[role]
        with ends(world, request_) as (guest, far):
            assert lost(guest, far) == []
            before, ifindex = world.snapshot(), must_link(world, name)["ifindex"]
            world.ip("link", "set", name, "name", NEW)
            item = {"subject": name, "attribute": "name", "observed": NEW, "desired": name}
            assert item in named_by_check(world, request_)
            if how == "repair":
                host.repair([request_.id])
            else:
                host.plug([request_.vif])
            assert lost(guest, far) == []
            assert must_link(world, name)["ifindex"] == ifindex
            assert NEW not in names(world)
            assert host.check().clean
            after = world.snapshot()
            for taken in (before, after):
                for row in taken.values():
                    row.pop("ofport_request", None)
            assert after == before


MADE_AGAIN = [pytest.param(request, role, id=f"{request.type}-{role}") for request, role in LINKS if role[0] != "q"]
MADE_AGAIN.append(pytest.param(HYBRID, "qbr", id="ovs-hybrid-qbr"))


@pytest.mark.parametrize(("request_", "role"), MADE_AGAIN)
def test_link_that_is_made_again_under_another_name_is_found_by_its_mark(
    world: World, request_: Request, role: str
) -> None:
    """Its ifindex is another one; its alias and its MAC, or how it was made, show whose it is."""
    name = request_.names[role]
    before = world.snapshot()
    with library(world) as host:
        host.plug([request_.vif])
        there = must_link(world, name)
        world.ip("link", "del", name)
        if role == "tap":
            world.ip("tuntap", "add", NEW, "mode", "tap", "vnet_hdr")
            # Like it by its alias alone: another program's.
            world.ip("tuntap", "add", "copy", "mode", "tap")
            world.ip("link", "set", "copy", "alias", there["ifalias"])
        else:
            world.ip("link", "add", NEW, "type", "bridge")
        world.ip("link", "set", NEW, "address", there["address"], "alias", there["ifalias"])
        ifindex = must_link(world, NEW)["ifindex"]
        assert ifindex != there["ifindex"]
        item = {"subject": name, "attribute": "name", "observed": NEW, "desired": name}
        assert item in named_by_check(world, request_)
        (listed,) = world.vifplug_json("list")["vifs"]
        (checked,) = world.vifplug_json("check", check=False)["vifs"]
        assert item in checked["drift"]
        assert (listed["state"], listed["error"]) == ("drifted", checked["error"])
        host.repair([request_.id])
        assert must_link(world, name)["ifindex"] == ifindex
        assert NEW not in names(world)
        assert host.check([request_.id]).clean
        host.unplug([request_.id])
    if role == "tap":
        world.ip("link", "del", "copy")
    assert world.snapshot() == before


@pytest.mark.parametrize(("request_", "role"), CASES)
def test_unplug_takes_a_renamed_link_along(world: World, request_: Request, role: str) -> None:
    before = world.snapshot()
    with library(world) as host:
        host.plug([request_.vif])
        world.ip("link", "set", request_.names[role], "name", NEW)
        (gone,) = host.unplug([request_.id])
        assert list(gone.warnings) == []
    assert NEW not in names(world)
    assert world.snapshot() == before


@pytest.mark.parametrize(("request_", "role"), CASES)
def test_name_that_a_stranger_took_is_a_conflict_that_names_both(world: World, request_: Request, role: str) -> None:
    before = world.snapshot()
    name = request_.names[role]
    with library(world) as host:
        host.plug([request_.vif])
        world.ip("link", "set", name, "name", NEW)
        if role == "tap":
            world.ip("tuntap", "add", name, "mode", "tap")
        else:
            world.ip("link", "add", name, "type", "bridge")
        taken = settled(world)
        item = {"subject": name, "attribute": "name", "observed": NEW, "desired": name}
        assert item in named_by_check(world, request_)
        for command in (["repair", request_.id], ["plug", "-"]):
            result = world.vifplug(*command, check=False, input=request_.text)
            assert result.returncode == 4, result
            assert repr(name) in result.stderr
            assert repr(NEW) in result.stderr
            assert "did not make" in result.stderr
        assert settled(world) == taken
        # With the name free again it is put back.
        world.ip("link", "set", name, "name", "stranger")
        host.repair([request_.id])
        assert host.check().clean
        world.ip("link", "set", name, "name", NEW)
        world.ip("link", "set", "stranger", "name", name)
        host.unplug([request_.id])
    assert NEW not in names(world)
    world.ip("link", "del", name)
    assert world.snapshot() == before


def test_alternative_name_of_its_own_does_not_keep_a_link_from_its_name(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.vif])
        with ends(world, OVS) as (guest, far):
            world.ip("link", "set", OVS.tap, "name", NEW)
            world.ip("link", "property", "add", "dev", NEW, "altname", OVS.tap)
            item = {"subject": OVS.tap, "attribute": "name", "observed": NEW, "desired": OVS.tap}
            assert item in named_by_check(world, OVS)
            host.repair([OVS.id])
            assert lost(guest, far) == []
        assert NEW not in names(world)
        assert host.check().clean
        host.unplug([OVS.id])
    assert OVS.tap not in names(world)


def test_renamed_link_that_was_changed_as_well_is_put_right_in_one_repair(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.vif])
        with ends(world, OVS) as (guest, far):
            world.ip("link", "set", OVS.tap, "down")
            world.ip("link", "set", OVS.tap, "name", NEW, "mtu", "1300", "address", "02:00:00:00:00:77")
            found = {str(item["attribute"]) for item in named_by_check(world, OVS)}
            assert {"name", "up", "mtu", "address"} <= found
            host.repair([OVS.id])
            assert lost(guest, far) == []
        assert host.check().clean


def test_name_that_a_request_asks_for_afterwards_is_the_one_it_has(world: World) -> None:
    wanted = OVS.but(names={"tap": NEW})
    with library(world) as host:
        host.plug([OVS.vif])
        with ends(world, OVS):
            ifindex = must_link(world, OVS.tap)["ifindex"]
            world.ip("link", "set", OVS.tap, "name", NEW)
            host.plug([wanted.vif])
            assert must_link(world, NEW)["ifindex"] == ifindex
        assert must_row(world, "Interface", NEW)["ofport"] > 0
        assert world.row("Port", OVS.tap) is None
        assert host.check().clean
        host.unplug([OVS.id])
    assert NEW not in names(world)


def test_another_vifs_link_under_a_recorded_name_is_a_conflict_until_it_has_its_own(world: World) -> None:
    other = OVS.but(id="91ab5618-df3e-4999-932a-1263b7886e5a", address="fa:16:3e:b9:2c:39")
    with library(world) as host:
        host.plug([OVS.vif, other.vif])
        indexes = [must_link(world, each.tap)["ifindex"] for each in (OVS, other)]
        world.ip("link", "set", OVS.tap, "name", NEW)
        world.ip("link", "set", other.tap, "name", OVS.tap)
        with pytest.raises(errors.Conflict, match=f"{NEW}.*VIF {other.id}"):
            host.repair([OVS.id])
        host.repair([other.id])
        host.repair([OVS.id])
        assert [must_link(world, each.tap)["ifindex"] for each in (OVS, other)] == indexes
        assert host.check().clean


def test_stranger_that_has_a_recorded_ifindex_is_left_alone(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.vif])
        ifindex = must_link(world, OVS.tap)["ifindex"]
        world.ip("link", "del", OVS.tap)
        # After a boot the numbers of a record are other links'.
        world.ip("link", "add", "stranger", "index", str(ifindex), "type", "bridge")
        before = world.link("stranger")
        host.repair([OVS.id])
        assert world.link("stranger") == before
        assert must_link(world, OVS.tap)["ifindex"] != ifindex
        host.unplug([OVS.id])
    assert world.link("stranger") == before


@pytest.mark.parametrize(("request_", "role"), CASES)
def test_daemon_hears_of_a_rename_and_gives_the_name_back(world: World, request_: Request, role: str) -> None:
    with Vifplugd(world, repair_interval=600) as daemon:
        assert daemon.request("PUT", f"/v1/vifs/{request_.id}", request_.document)[0] == 200
        name = request_.names[role]
        with ends(world, request_) as (guest, far):
            ifindex = must_link(world, name)["ifindex"]
            world.ip("link", "set", name, "name", NEW)
            wait_until(lambda: world.link(name) is not None, "the name is back", SECONDS)
            wait_until(lambda: lost(guest, far) == [], "frames cross", SECONDS)
            assert must_link(world, name)["ifindex"] == ifindex
        assert NEW not in names(world)
        world.ip("link", "del", "host0")  # a network's bridge stays as long as others are on it
        world.ip("link", "set", name, "name", NEW)
        assert daemon.request("DELETE", f"/v1/vifs/{request_.id}")[0] in (200, 204)
    assert not {NEW, name} & names(world)
