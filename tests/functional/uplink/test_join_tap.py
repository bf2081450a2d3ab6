"""bridge with join_tap: the tap that another program has made is put on the network's bridge, and taken off again."""

from __future__ import annotations

import json

import pytest

from tests.support.network.endpoints import guest_on_tap, host_on_bridge
from tests.support.network.traffic import ping
from tests.support.vifs import BRIDGE, GUEST, HOST, MTU, library, must_link
from tests.support.world.world import World
from vifplug import errors

JOINED = BRIDGE.but(join_tap=True)
DOWN = JOINED.but(tap_up=False)
FILTERED = JOINED.but(allowed_addresses=[{"ip": GUEST}])


def make_tap(world: World) -> None:
    """As Nova does for vif_type tap."""
    world.ip("tuntap", "add", BRIDGE.tap, "mode", "tap")
    world.ip("link", "set", BRIDGE.tap, "up")


def state(world: World) -> tuple[str | None, int, bool]:
    tap = must_link(world, BRIDGE.tap)
    return tap.get("master"), tap["mtu"], "UP" in tap["flags"]


def test_tap_joins_passes_frames_and_leaves(world: World) -> None:
    make_tap(world)
    before, links = world.snapshot(), state(world)
    assert [line["action"] for line in world.vifplug_json("plug", "-", "--dry-run", input=JOINED.text)["actions"]]
    world.vifplug("plug", "-", input=JOINED.text)
    assert state(world) == (BRIDGE.brq, MTU, True)
    assert "ifalias" not in must_link(world, BRIDGE.tap)
    assert world.vifplug_json("check")["clean"]
    with (
        guest_on_tap(world, BRIDGE.tap, BRIDGE.address, GUEST, MTU) as guest,
        host_on_bridge(world, BRIDGE.brq, HOST, MTU),
    ):
        assert ping(guest, HOST, MTU)
        # It is down for its guest alone, and up again.
        world.vifplug("plug", "-", input=DOWN.text)
        assert state(world) == (BRIDGE.brq, MTU, False)
        assert not ping(guest, HOST, count=1)
        world.vifplug("plug", "-", input=JOINED.but(tap_up=True).text)
        assert ping(guest, HOST)
    world.vifplug("unplug", BRIDGE.id)
    assert state(world) == links
    assert world.snapshot() == before


def test_tap_that_comes_later_joins_with_the_next_plug_only(world: World) -> None:
    """Its maker may not have filtered it before."""
    with library(world) as host:
        (report,) = host.plug([JOINED.vif])
        assert (report.waiting_for, report.join_tap) == (BRIDGE.tap, True)
        make_tap(world)
        host.repair()
        assert state(world)[0] is None
        host.plug([JOINED.vif])
        assert state(world) == (BRIDGE.brq, MTU, True)
        world.ip("link", "delete", BRIDGE.tap)
        (repaired,) = host.repair()
        assert repaired.waiting_for == BRIDGE.tap
        assert host.check().clean


def test_tap_that_was_taken_off_or_set_down_is_put_right(world: World) -> None:
    make_tap(world)
    with library(world) as host:
        host.plug([JOINED.vif])
        world.ip("link", "set", BRIDGE.tap, "nomaster", "down", "mtu", "1400")
        drift = {item.attribute for vif in host.check().vifs for item in vif.drift}
        assert drift == {"master", "up", "mtu"}
        host.repair()
        assert state(world) == (BRIDGE.brq, MTU, True)


def test_end_of_a_pair_joins_as_of_neutrons_dhcp_agent(world: World) -> None:
    world.ip("link", "add", BRIDGE.tap, "type", "veth", "peer", "ns-end")
    world.vifplug("plug", "-", input=JOINED.text)
    assert state(world) == (BRIDGE.brq, MTU, True)
    assert world.vifplug_json("check")["clean"]


def test_bridge_and_tap_of_another_agent_are_used_unchanged(world: World) -> None:
    world.write_config(bridge={"adopted_bridges": "brq*"}, filter={"enabled": "true"})
    make_tap(world)
    world.ip("link", "add", BRIDGE.brq, "mtu", str(MTU), "type", "bridge", "forward_delay", "0")
    world.ip("link", "set", BRIDGE.brq, "up")
    world.ip("link", "set", BRIDGE.tap, "mtu", str(MTU), "master", BRIDGE.brq)
    before = world.snapshot()
    with library(world) as host:
        assert [action.text for action in host.plan([JOINED.vif]).actions] == []
        host.plug([JOINED.vif])
        assert world.snapshot() == before
        # And another VIF's tap joins the same bridge.
        world.ip("link", "set", BRIDGE.tap, "nomaster")
        host.repair()
        assert state(world)[0] == BRIDGE.brq
        host.plug([DOWN.vif])
        assert state(world)[2] is False
        host.plug([FILTERED.vif])
        assert host.check().clean


def test_tap_on_another_agents_bridge_is_left_alone_unless_the_bridge_is_listed(world: World) -> None:
    world.write_config(filter={"enabled": "true"})
    make_tap(world)
    world.ip("link", "add", BRIDGE.brq, "mtu", str(MTU), "type", "bridge")
    world.ip("link", "set", BRIDGE.tap, "mtu", str(MTU), "master", BRIDGE.brq)
    before = world.snapshot()
    with library(world) as host:
        with pytest.raises(errors.PermissionDenied, match="adopted_bridges does not list"):
            host.plug([DOWN.vif])
        with pytest.raises(errors.VifplugError, match="refused to filter"):
            host.plug([FILTERED.vif])
        assert host.list() == []
    assert world.snapshot() == before


def test_tap_on_another_bridge_and_a_device_that_is_no_tap_are_left_alone(world: World) -> None:
    make_tap(world)
    world.ip("link", "add", "other", "type", "bridge")
    world.ip("link", "set", BRIDGE.tap, "master", "other")
    before = world.snapshot()
    with library(world) as host:
        with pytest.raises(errors.Conflict, match="is on 'other', where another program has put it"):
            host.plug([JOINED.vif])
        assert world.snapshot() == before
        world.ip("link", "delete", BRIDGE.tap)
        world.ip("link", "add", BRIDGE.tap, "type", "vxlan", "id", "9", "dstport", "4789", "local", "127.0.0.1")
        with pytest.raises(errors.Conflict, match="neither a tap nor an end of a pair"):
            host.plug([JOINED.vif])
    assert world.link(BRIDGE.brq) is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"create_tap": True}, "create_tap: it must be false"),
        ({"vif_type": "ovs"}, "join_tap: it is for VIFs of type bridge only"),
        ({"vlan": 5}, "vlan: it must be left out with join_tap"),
        ({"join_tap": None, "tap_up": False}, "tap_up: it is for VIFs with join_tap only"),
    ],
)
def test_wrong_request_is_refused(world: World, changes: dict[str, object], words: str) -> None:
    result = world.vifplug("plug", "-", "-o", "json", input=JOINED.but(**changes).text, check=False)
    assert result.returncode == 2
    assert words in json.loads(result.stdout or result.stderr)["error"]["message"]
