"""A captured worker filters no device of other programs, and touches no other table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import vifplug
from tests.functional.filter.test_lifecycle import FOREIGN, ours, ruleset
from tests.functional.privileged.test_captured_worker import (
    AGENT_NET,
    COPY,
    LIBVIRT,
    MINE,
    NOVA,
    VICTIM,
    foreign_links,
    name_of,
    others,
)
from tests.support.faults import faults
from tests.support.faults.faults import device, vif
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost

BRIDGED = "0000abcd-d1c4-4b1e-8a51-6f0e5c9d77aa"
PLACES = ("bridge", "netdev")


@pytest.fixture
def host(world: World) -> Iterator[LocalHost]:
    world.write_config(filter={"enabled": "true"})
    with vifplug.local(str(world.config_file)) as host:
        others(world)
        # What libvirt, or os-vif's former plugin, has on a network's bridge of the Linux bridge agent.
        world.ip("tuntap", "add", name_of("tap", BRIDGED), "mode", "tap")
        world.ip("link", "set", name_of("tap", BRIDGED), "master", name_of("brq", AGENT_NET))
        world.run("nft", "-f", "-", input=FOREIGN)
        host.plug([MINE, VICTIM])
        yield host


def put(name: str, owner: str, place: str) -> dict[str, Any]:
    mac = "fa:16:3e:00:00:99"
    return {"op": "put", "name": name, "owner": owner, "place": place, "address": mac, "allowed": [f"{mac} 10.0.0.1"]}


def calls() -> Iterator[dict[str, Any]]:
    for place in PLACES:
        for name, owner, _role in foreign_links():
            yield put(name, owner, place)
        yield put(name_of("tap", NOVA), NOVA, place)  # its VM is not started yet
        yield put(name_of("tap", LIBVIRT), LIBVIRT, place)
        yield put(name_of("tap", BRIDGED), BRIDGED, place)
        for name in ("eth7", "docker0", "br-int", "lo", "vpn0", "wire", device("tap", VICTIM), "fresh"):
            for owner in (MINE.id, COPY, NOVA):
                yield put(name, owner, place)
        right = put(device("tap", MINE), MINE.id, place)
        for key, value in (
            ("table", "theirs"),
            ("owner", f"net:{AGENT_NET}"),
            ("place", "inet"),
            ("name", "tap*"),
            ("address", "01:00:00:00:00:00"),
            ("allowed", ["10.0.0.1"]),
            ("allowed", ["fa:16:3e:00:00:99 10.0.0.1 accept"]),
            ("allowed", "accept"),
            ("op", "rule"),
        ):
            yield {**right, key: value} if key != "table" else {**right, "op": "flush", key: value}
        yield {"op": "delete", "owner": f"net:{AGENT_NET}", "place": place}
        yield {"op": "delete", "owner": "theirs", "place": place}
    yield {"op": "delete", "owner": MINE.id, "place": "ip"}


def test_calls_about_devices_of_others_are_refused(world: World, host: LocalHost) -> None:
    before, carried_out = ruleset(world), []
    for call in calls():
        try:
            faults.change(host, "filters", [call])
            carried_out.append(call)
        except Exception as error:
            assert not isinstance(error, errors.HelperDied | errors.TimedOut | errors.FilterError), (call, error)
    assert carried_out == []
    assert ruleset(world) == before


def test_call_of_which_one_part_is_refused_does_nothing(world: World, host: LocalHost) -> None:
    right, wrong = put(device("tap", VICTIM), VICTIM.id, "netdev"), put("docker0", MINE.id, "netdev")
    before = ruleset(world)
    with pytest.raises(errors.Conflict):
        faults.change(host, "filters", [right, wrong])
    assert ruleset(world) == before
    faults.change(host, "filters", [right])
    assert ours(world) == {"netdev vifplug"}


def test_deletion_for_another_vif_leaves_what_is_there(world: World, host: LocalHost) -> None:
    each = vif("bridge", 3, allowed_addresses=[{"ip": "10.0.0.1"}])
    host.plug([each])
    before = ruleset(world)
    for owner in (MINE.id, COPY, NOVA):
        for place in PLACES:
            faults.change(host, "filters", [{"op": "delete", "owner": owner, "place": place}])
    assert ruleset(world) == before
