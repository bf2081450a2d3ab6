"""Ours only: what another VIF or a stranger holds is named in the refusal, and stays as it is whatever we do."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import NETWORK, NETWORK_BRIDGE, device, document, stored, vif
from tests.support.scenarios import ABSENT, WHOLE, Scene
from tests.support.vifs import OVS, library
from tests.support.world.world import World
from vifplug import errors
from vifplug.model.vif import Vif

MAC = ("address", "02:00:00:00:00:99")
NOBODY = "0000dead-d1c4-4b1e-8a51-6f0e5c9d77aa"


def vni(name: str) -> str:
    """A number for each vxlan device: the kernel wants them to differ."""
    return str(zlib.crc32(name.encode()) % (1 << 24))


KINDS: Mapping[str, Callable[[World, str], object]] = {
    "bridge": lambda world, name: world.ip("link", "add", name, *MAC, "type", "bridge"),
    "veth": lambda world, name: world.ip(
        "link", "add", name, *MAC, "type", "veth", "peer", f"p{name}"[:15], "address", "02:00:00:00:00:98"
    ),
    "vxlan": lambda world, name: world.ip(
        "link", "add", name, *MAC, "type", "vxlan", "id", vni(name), "dstport", "4789"
    ),
    "tap": lambda world, name: (world.ip("tuntap", "add", name, "mode", "tap"), world.ip("link", "set", name, *MAC)),
}
"""What strangers make."""


def refused(world: World, each: Vif) -> dict[str, Any]:
    """The error of a plug that must be a conflict."""
    result = world.vifplug("-o", "json", "plug", "-", input=document([each]), check=False)
    assert result.returncode == 4, result.stderr
    error: dict[str, Any] = json.loads(result.stderr)["error"]
    assert error["type"] == "Conflict"
    assert not error["retryable"]
    return error


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "vif_type, prefix",
    [("ovs-hybrid", "qbr"), ("ovs-hybrid", "qvb"), ("ovs-hybrid", "qvo"), ("ovs", "tap"), ("bridge", "tap")],
)
def test_device_of_a_stranger_is_refused_and_stays(world: World, vif_type: str, prefix: str, kind: str) -> None:
    each = vif(vif_type)
    name = device(prefix, each)
    KINDS[kind](world, name)
    before = world.snapshot()
    with vifplug.local(str(world.config_file)) as host, pytest.raises(errors.Conflict) as caught:
        host.plug([each])
    assert caught.value.subject == name
    assert f"a {kind} that vifplug did not make" in caught.value.message
    assert world.snapshot() == before
    assert stored(world) == {}


def test_device_of_another_kind_is_foreign_though_it_has_our_alias(world: World) -> None:
    each = vif("ovs-hybrid")
    KINDS["tap"](world, device("qvo", each))
    world.ip("link", "set", device("qvo", each), "alias", f"vifplug:{each.id}")
    before = world.snapshot()
    assert refused(world, each)["subject"] == device("qvo", each)
    assert world.snapshot() == before


def test_refusal_on_the_command_line_names_the_holder(world: World) -> None:
    KINDS["bridge"](world, device("qbr", vif("ovs-hybrid")))
    world.ip("link", "set", device("qbr", vif("ovs-hybrid")), "alias", "made by Nova")
    before = world.snapshot()
    error = refused(world, vif("ovs-hybrid"))
    assert error["subject"] == device("qbr", vif("ovs-hybrid"))
    assert "alias 'made by Nova'" in error["message"]
    assert world.snapshot() == before


@pytest.mark.parametrize("kind", ["veth", "vxlan", "tap"])
def test_networks_bridge_that_is_no_bridge_is_refused(world: World, kind: str) -> None:
    KINDS[kind](world, NETWORK_BRIDGE)
    before = world.snapshot()
    assert refused(world, vif("bridge"))["subject"] == NETWORK_BRIDGE
    assert world.snapshot() == before


@pytest.mark.parametrize("vif_type, prefix", [("ovs-hybrid", "qvo"), ("ovs", "tap")])
@pytest.mark.parametrize("ids", [(), ("external_ids:iface-id=" + NOBODY,)])
def test_port_of_a_stranger_is_refused_and_stays(
    world: World, vif_type: str, prefix: str, ids: tuple[str, ...]
) -> None:
    name = device(prefix, vif(vif_type))
    extra = ("--", "set", "Interface", name, *ids) if ids else ()
    world.vsctl("--no-wait", "add-port", "br-int", name, *extra)
    before = world.snapshot()
    error = refused(world, vif(vif_type))
    assert error["subject"] == name
    assert "is held by a stranger on bridge 'br-int'" in error["message"]
    assert not ids or NOBODY in error["message"]
    assert world.snapshot() == before


@pytest.mark.parametrize("vif_type", ["ovs-hybrid", "ovs"])
def test_second_interface_of_one_identity_is_refused(world: World, vif_type: str) -> None:
    each = vif(vif_type)
    world.ip("link", "add", "theirs", *MAC, "type", "veth", "peer", "wire", "address", "02:00:00:00:00:98")
    world.vsctl("add-port", "br-int", "theirs", "--", "set", "Interface", "theirs", f"external_ids:iface-id={each.id}")
    before = world.snapshot()
    error = refused(world, each)
    assert error["subject"] == "theirs"
    assert each.id in error["message"]
    assert world.snapshot() == before


def test_device_made_by_a_stranger_under_a_recorded_name_is_not_touched(world: World) -> None:
    scene = Scene.of(world, [vif("ovs")])
    scene.plug()
    tap = device("tap", scene.vifs[0])
    world.ip("link", "delete", tap)
    KINDS["veth"](world, tap)
    before = world.snapshot()
    with vifplug.local(str(world.config_file)) as host:
        with pytest.raises(errors.Conflict, match="a veth that vifplug did not make"):
            host.repair()
        assert world.snapshot() == before
        host.unplug([scene.vifs[0].id])
    assert {key for key in before if key.startswith("link ")} == {key for key in world.snapshot() if "link " in key}
    assert world.link(tap) is not None
    assert stored(world) == {}
    assert world.row("Port", tap) is None


# -- orphans, and those that look like some ------------------------------------------------------------------


def lose_the_store(world: World) -> None:
    """As after a disk that was replaced: what was plugged is in no record."""
    world.write_config(DEFAULT={"state_dir": str(world.directory / "another")}, ovs={"timeout": "1"})


def found_by(world: World, *words: str) -> dict[str, Any]:
    """What gc or check says."""
    answer: dict[str, Any] = world.vifplug_json(*words, check=False)
    return answer


def test_gc_finds_orphans_and_deletes_them_when_requested(world: World) -> None:
    scene = Scene.of(world, faults.batch())
    scene.plug()
    lose_the_store(world)
    result = world.vifplug("-o", "json", "check", check=False)
    assert result.returncode == 3
    orphans = json.loads(result.stdout)["orphans"]
    hybrid, ovs, bridge = scene.vifs
    expected = {(device(prefix, hybrid), hybrid.id) for prefix in ("qbr", "qvb", "qvo")}
    expected |= {(device("tap", each), each.id) for each in (ovs, bridge)} | {(NETWORK_BRIDGE, f"net:{NETWORK}")}
    assert {(orphan["name"], orphan["vif_id"]) for orphan in orphans} == expected
    assert {"bridge", "veth", "tap", "ovs-port"} == {orphan["kind"] for orphan in orphans}
    assert found_by(world, "gc") == {"orphans": orphans, "deleted": []}
    assert world.snapshot() == scene.looks[WHOLE]
    answer = found_by(world, "gc", "--delete")
    key = str
    assert sorted(answer["deleted"], key=key) == sorted(answer["orphans"], key=key) == sorted(orphans, key=key)
    assert world.snapshot() == scene.looks[ABSENT]
    assert found_by(world, "check")["clean"] is True


def test_gc_with_vswitchd_frozen_deletes_and_says_what(world: World) -> None:
    scene = Scene.of(world, faults.batch())
    scene.plug()
    lose_the_store(world)
    world.pause_vswitchd()
    answer = found_by(world, "gc", "--delete")
    assert len(answer["deleted"]) == len(answer["orphans"]) > 0
    assert world.snapshot() == scene.looks[ABSENT]
    world.resume_vswitchd()


def test_recorded_vifs_are_no_orphans(world: World) -> None:
    scene = Scene.of(world, faults.batch(6))
    scene.plug()
    assert found_by(world, "gc", "--delete") == {"orphans": [], "deleted": []}
    scene.must_be(WHOLE)


def add_lookalikes(world: World, lost: Vif) -> None:
    """What is not ours however much it looks it."""
    aliases = ("vifplug:", "vifplug:notauuid", f"vifplug:{NOBODY.upper()}", f"vifplug:{NOBODY} ", f" vifplug:{NOBODY}")
    for number, alias in enumerate((*aliases, "vifplug:net:", f"xvifplug:{NOBODY}", f"vifplug:{NOBODY}{NOBODY}")):
        world.ip("link", "add", f"qbrdeadbee-{number}", "type", "bridge")
        world.ip("link", "set", f"qbrdeadbee-{number}", "alias", alias)
    # An alias of ours, copied onto other devices: by a script, or by whoever renamed and reused one.
    for number, kind in enumerate(KINDS):
        KINDS[kind](world, f"copy{number}")
        world.ip("link", "set", f"copy{number}", "alias", f"vifplug:{lost.id}")
    # Our names on a kind of device that we do not give them.
    for prefix, kind in (("qvo", "tap"), ("qbr", "vxlan"), ("tap", "bridge"), ("qvb", "bridge")):
        name = f"{prefix}0000dead-d1"
        KINDS[kind](world, name)
        world.ip("link", "set", name, "alias", f"vifplug:{NOBODY}")
    for name, ids in (("dead0", ""), ("dead1", "vifplug-vif=garbage"), ("dead2", f"vifplug-vif={NOBODY.upper()}")):
        world.ip("link", "add", name, "type", "veth", "peer", f"{name}-peer")
        world.vsctl("add-port", "br-int", name, "--", "set", "Interface", name, f"external_ids:iface-id={NOBODY}")
        world.vsctl(*(("set", "Port", name, f"external_ids:{ids}") if ids else ("get", "Port", name, "_uuid")))
    for ids in ("neutron=1", "vifplug-vif=garbage", 'vifplug-vif=""'):
        world.vsctl("create", "QoS", "type=linux-htb", f"external_ids:{ids}")


def test_gc_leaves_lookalikes_alone(world: World) -> None:
    scene = Scene.of(world, faults.batch())
    hybrid, _ovs, bridge = scene.vifs
    add_lookalikes(world, hybrid)
    before = world.snapshot()
    assert found_by(world, "gc", "--delete") == {"orphans": [], "deleted": []}
    assert world.snapshot() == before
    scene.plug()
    # Guests and uplinks of others on what will be orphans: bridges lose them, or stay for them.
    for outer, master in (("tapforeign", device("qbr", hybrid)), ("uplink", NETWORK_BRIDGE)):
        world.ip("link", "add", outer, "type", "veth", "peer", f"{outer}-wire")
        world.ip("link", "set", outer, "master", master)
    lose_the_store(world)
    answer = found_by(world, "gc", "--delete")
    assert NETWORK_BRIDGE not in {orphan["name"] for orphan in answer["deleted"]}
    assert world.link(device("tap", bridge)) is None
    world.ip("link", "delete", "tapforeign")
    world.ip("link", "delete", "uplink")
    assert [orphan["name"] for orphan in found_by(world, "gc", "--delete")["deleted"]] == [NETWORK_BRIDGE]
    assert world.snapshot() == before


def test_tap_that_another_program_renamed_is_found_by_gc_once_no_vif_needs_it(world: World) -> None:
    each = vif("ovs")
    tap = device("tap", each)
    before = world.snapshot()
    with vifplug.local(str(world.config_file)) as host:
        host.plug([each])
        world.ip("link", "set", tap, "down")
        world.ip("link", "set", tap, "name", "foo")
        # Like it by its alias alone: a tap of somebody else's.
        world.ip("tuntap", "add", "copy", "mode", "tap")
        world.ip("link", "set", "copy", "alias", f"vifplug:{each.id}")
        host.unplug([each.id])
        if world.link("foo") is not None:
            assert [orphan.name for orphan in host.gc().orphans if orphan.name != "copy"] == ["foo"]
            host.gc(delete=True)
        assert world.link("foo") is None
        assert world.link("copy") is not None
    world.ip("link", "del", "copy")
    assert world.snapshot() == before


def test_port_that_lost_mark_and_device_is_repaired_by_a_helper_that_has_seen_it_marked(world: World) -> None:
    """Any other helper cannot tell it from one of os-vif's whose guest is off, and makes no device for it."""

    def damage() -> None:
        world.vsctl("remove", "Port", OVS.port, "external_ids", "vifplug-vif")
        world.ip("link", "delete", OVS.tap)

    with library(world) as host:
        host.plug([OVS.vif])
        damage()
        host.repair([OVS.id])
        assert host.check().clean
    damage()
    before = world.snapshot()
    with library(world) as host:
        with pytest.raises(errors.Conflict, match=f"OVS port '{OVS.port}' .* waits for a device"):
            host.repair([OVS.id])
        assert world.snapshot() == before
        world.vsctl("del-port", OVS.port)
        host.repair([OVS.id])
        assert host.check().clean
