"""Unplug always ends, and nothing is left: whatever is gone, moved, dead or configured otherwise by then."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import CASES, NETWORK_BRIDGE, device, stored, vif
from tests.support.scenarios import ABSENT, WHOLE, Scene
from tests.support.world.world import OWN_LINKS, World
from vifplug import errors
from vifplug.privileged import ownership
from vifplug.privileged.links import delete as delete

IMPATIENT = {"timeout": "1"}
HYBRID = vif("ovs-hybrid")
QBR, QVB, QVO = (device(prefix, HYBRID) for prefix in ("qbr", "qvb", "qvo"))
PARTS: dict[str, Callable[[World], object]] = {
    "qbr": lambda world: world.ip("link", "delete", QBR),
    "veth": lambda world: world.ip("link", "delete", QVB),
    "port": lambda world: world.vsctl("del-port", QVO),
}


def unplug(world: World, *words: str, status: int = 0) -> str:
    """Unplug the hybrid VIF on the command line; what it complains of."""
    result = world.vifplug("unplug", *words, HYBRID.id, check=False)
    assert result.returncode == status, result.stderr
    return result.stderr


def test_unplug_with_any_parts_gone(world: World) -> None:
    scene = Scene.of(world, [HYBRID])
    for size in range(len(PARTS) + 1):
        for parts in itertools.combinations(PARTS, size):
            scene.plug()
            for part in parts:
                PARTS[part](world)
            with vifplug.local(str(world.config_file)) as host:
                (report,) = host.unplug([HYBRID.id])
                assert (report.state, report.warnings) == ("unplugged", ())
                scene.must_be(ABSENT, parts)
                (report,) = host.unplug([HYBRID.id])
                assert report.state == "unplugged"
            scene.must_be(ABSENT, parts)


@pytest.mark.parametrize("vif_type", ["ovs", "bridge"])
def test_unplug_with_the_tap_gone(world: World, vif_type: str) -> None:
    scene = Scene.of(world, [vif(vif_type)])
    for parts in (("tap",), ("tap", "brq"))[: 1 if vif_type == "ovs" else 2]:
        scene.plug()
        for part in parts:
            world.ip("link", "delete", NETWORK_BRIDGE if part == "brq" else device(part, scene.vifs[0]))
        scene.unplug()
        scene.must_be(ABSENT, parts)


def test_unplug_twice_and_of_an_unknown_one_is_done(world: World) -> None:
    before = world.snapshot()
    for _ in range(2):
        assert unplug(world) == ""
    answer = world.vifplug_json("unplug", HYBRID.id)
    assert [(each["id"], each["state"]) for each in answer["vifs"]] == [(HYBRID.id, "unplugged")]
    assert world.snapshot() == before


def test_unplug_with_the_bridge_gone_or_the_port_moved(world: World) -> None:
    world.add_bridge("br-two")
    scene = Scene.of(world, CASES["batch"])
    scene.plug()
    for name in (QVO, device("tap", scene.vifs[1])):
        world.vsctl("del-port", name, "--", "add-port", "br-two", name)
    scene.unplug()
    scene.must_be(ABSENT)
    scene.plug()
    world.vsctl("del-br", "br-int")
    scene.unplug()
    world.add_bridge("br-int")
    scene.must_be(ABSENT, aside="address")  # br-int's own, which is made anew


def test_unplug_goes_by_the_record_and_not_by_todays_configuration(world: World) -> None:
    scene = Scene.of(world, CASES["batch"])
    scene.plug()
    other = {"integration_bridge": "br-elsewhere", "qos_type": "linux-htb", "isolate": "true"}
    world.write_config(ovs=other, DEFAULT={"mtu": "9000"})
    with vifplug.local(str(world.config_file)) as host:
        assert host.check().clean
    scene.must_be(WHOLE)
    scene.unplug()
    scene.must_be(ABSENT)


@pytest.mark.parametrize("alive", ["frozen", "dead"])
def test_unplug_with_vswitchd_away_is_done_with_a_warning(world: World, alive: str) -> None:
    scene = Scene.of(world, [HYBRID])
    scene.plug()
    world.write_config(ovs=IMPATIENT)
    if alive == "frozen":
        world.pause_vswitchd()
    else:
        world.stop_vswitchd(signal.SIGKILL)
    complaint = unplug(world)
    assert complaint.startswith("vifplug: warning: the rows and links are gone, but ovs-vswitchd did not")
    assert len(complaint.splitlines()) == 1
    scene.must_be(ABSENT)
    if alive == "frozen":
        world.resume_vswitchd()
        world.vsctl("list-br")
        scene.must_be(ABSENT)


def test_unplug_with_ovsdb_away_ends_with_the_next_command_once_it_is_back(world: World) -> None:
    scene = Scene.of(world, CASES["batch"])
    scene.plug()
    world.write_config(ovs=IMPATIENT)
    world.ovsdb.stop(signal.SIGKILL)
    ids = [each.id for each in scene.vifs]
    result = world.vifplug("-o", "json", "unplug", *ids, check=False)
    assert result.returncode == 1
    output = json.loads(result.stderr)["error"]
    assert "could not reach OVSDB" in output["message"]
    # What needs no OVSDB is gone, and the VIF that needs none at all is done with.
    assert {link["ifname"] for link in world.ip("link", "show")} == OWN_LINKS
    assert set(stored(world)["intents"]) == {scene.vifs[0].id, scene.vifs[1].id}
    world.ovsdb.start()
    with vifplug.local(str(world.config_file)) as host:
        assert host.list() == []
    scene.must_be(ABSENT)


def test_many_with_open_vswitch_away_take_one_time_out(world: World) -> None:
    scene = Scene.of(world, faults.batch(9))
    ids = [each.id for each in scene.vifs]
    world.write_config(ovs=IMPATIENT)
    scene.plug()
    world.pause_vswitchd()
    with vifplug.local(str(world.config_file)) as host, at_most(2.5):
        reports = host.unplug(ids)
        assert [bool(report.warnings) for report in reports] == [each.vif_type != "bridge" for each in scene.vifs]
    world.resume_vswitchd()
    scene.must_be(ABSENT)
    scene.plug()
    world.ovsdb.stop(signal.SIGKILL)
    with vifplug.local(str(world.config_file)) as host:
        with at_most(2.5), pytest.raises(errors.OvsUnavailable):
            host.unplug(ids)
        with at_most(3.5):
            host.list()
        assert len(host.warnings) == 6
    assert world.link(NETWORK_BRIDGE) is None
    world.ovsdb.start()
    with vifplug.local(str(world.config_file)) as host:
        assert host.check().clean
    scene.must_be(ABSENT)


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """The block's deadline."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_plug_after_an_unplug_that_could_not_end_is_whole(world: World) -> None:
    scene = Scene.of(world, [HYBRID])
    scene.plug()
    world.write_config(ovs=IMPATIENT)
    world.ovsdb.stop(signal.SIGKILL)
    with vifplug.local(str(world.config_file)) as host, pytest.raises(errors.OvsUnavailable):
        host.unplug([HYBRID.id])
    world.ovsdb.start()
    world.write_config()
    scene.plug()
    scene.must_be(WHOLE)
    scene.unplug()
    scene.must_be(ABSENT)


def test_one_that_cannot_go_does_not_hold_up_the_others(world: World) -> None:
    scene = Scene.of(world, CASES["batch"])
    scene.plug()
    locked, *others = [each.id for each in scene.vifs]
    with faults.locked(world, [locked]), vifplug.local(str(world.config_file)) as host:
        host._context.lock_seconds = 0.1
        with pytest.raises(errors.Busy) as caught:
            host.unplug([locked, *others])
        assert caught.value.subject == locked
        assert caught.value.retryable
        assert set(stored(world)["records"]) == {locked}
    scene.unplug()
    scene.must_be(ABSENT)


def test_foreign_tap_survives_the_bridge_it_was_in(world: World) -> None:
    scene = Scene.of(world, [HYBRID])
    scene.plug()
    world.ip("link", "add", device("tap", HYBRID), "type", "veth", "peer", "guest")
    world.ip("link", "set", device("tap", HYBRID), "master", QBR, "up")
    assert unplug(world) == ""
    tap = world.link(device("tap", HYBRID))
    assert tap is not None
    assert "master" not in tap
    world.ip("link", "delete", device("tap", HYBRID))
    scene.must_be(ABSENT)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_vifs_of_one_network_in_any_order(world: World, order: Sequence[int]) -> None:
    vifs = [vif("bridge", number + 1) for number in range(3)]
    scene = Scene.of(world, vifs)
    scene.plug()
    for left, number in reversed(list(enumerate(order))):
        with vifplug.local(str(world.config_file)) as host:
            host.unplug([vifs[number].id])
        assert (world.link(NETWORK_BRIDGE) is None) == (left == 0)
    scene.must_be(ABSENT)


@pytest.mark.parametrize("joined", [False, True])
def test_more_links_than_go_at_once(world: World, joined: bool) -> None:
    types = ("ovs-hybrid", "ovs", "bridge")
    scene = Scene.of(world, [vif(types[number % len(types)], number + 1) for number in range(24)])
    scene.plug()
    if joined:
        world.ip("link", "add", "theirs", "type", "veth", "peer", "guest")
        world.ip("link", "set", "theirs", "master", NETWORK_BRIDGE)
    scene.unplug()
    assert (world.link(NETWORK_BRIDGE) is not None) == joined, "a bridge with somebody else's link stays"
    if joined:
        world.ip("link", "delete", "theirs")
        world.ip("link", "delete", NETWORK_BRIDGE)
    scene.must_be(ABSENT)


@pytest.mark.parametrize("lack", [OSError(errno.EMFILE, "Too many open files"), RuntimeError("can't start new thread")])
def test_helper_without_another_descriptor_or_thread_takes_everything_away(
    world: World, monkeypatch: pytest.MonkeyPatch, lack: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise lack

    monkeypatch.setattr(delete._AsyncDelete, "__init__", refuse)  # the helper is forked with it
    scene = Scene.of(world, CASES["batch"])
    scene.plug()
    scene.unplug()
    scene.must_be(ABSENT)


def test_bridge_with_a_foreign_member_stays_whatever_its_group(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_socket_instance", [])  # this process's for a moment, in the world's namespace
    owner = vif("bridge").id
    links: list[dict[str, Any]] = []
    for number in range(45):
        name, alias = f"qbr{number}", f"vifplug:{owner}"
        world.run("sh", "-c", f"ip link add {name} type bridge && ip link set {name} alias {alias}")
        links.append({"name": name, "owner": owner, "role": "qbr", "spare_members": True})
    world.run("sh", "-c", "ip link add theirs type veth peer guest && ip link set theirs master qbr30")

    with world.namespace.entered():
        with pytest.raises(errors.PermissionDenied, match="'theirs' is still on it"):
            delete.delete({"links": links})
        theirs = world.link("theirs")
        assert theirs is not None and theirs["master"] == "qbr30"
        world.run("ip", "link", "delete", "theirs")
        delete.delete({"links": links})
        ownership.socket().close()
    assert not [row for row in world.ip("link", "show") if row["ifname"].startswith("qbr")]


def test_names_are_free_as_soon_as_an_unplug_has_ended(world: World) -> None:
    scene = Scene.of(world, CASES["batch"])
    with vifplug.local(str(world.config_file)) as host:
        for _ in range(10):
            host.plug(scene.vifs)
            host.unplug([each.id for each in scene.vifs])
            for name in (QBR, QVB, QVO):
                world.run("ip", "link", "add", name, "type", "bridge")
                world.run("ip", "link", "delete", name)
    scene.must_be(ABSENT)


def test_reboot_took_the_links_and_left_the_rows(world: World) -> None:
    scene = Scene.of(world, CASES["batch"])
    scene.plug()
    for name in (QBR, QVB, device("tap", scene.vifs[1]), device("tap", scene.vifs[2]), NETWORK_BRIDGE):
        world.ip("link", "delete", name)
    scene.unplug()
    scene.must_be(ABSENT)
