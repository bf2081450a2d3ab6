"""Several VIFs in one plan, each with a fault of another kind: a port that is gone, a device that was made again."""

from __future__ import annotations

import pytest

import vifplug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import faults
from tests.support.faults.faults import cut, device, document, plan_length, raising, stored, vif
from tests.support.network.endpoints import guest_in_bridge, host_on_bridge
from tests.support.network.traffic import ping
from tests.support.world.daemons import wait_until
from tests.support.world.world import Row, World
from vifplug import errors
from vifplug.model.vif import Vif

GONE, REMADE = vif("ovs-hybrid", 1), vif("ovs-hybrid", 2)
_MARKED = "vifplug-vif"


def _delete_port_and_remake_veth(world: World, *, remake: bool = False) -> None:
    """del-port of one VIF; of the other its veth goes, or is made again by somebody."""
    qvb, qvo = device("qvb", REMADE), device("qvo", REMADE)
    world.vsctl("del-port", device("qvo", GONE))
    world.ip("link", "del", qvb)
    if remake:
        world.ip("link", "add", qvb, "type", "veth", "peer", "name", qvo)
        for end in (qvb, qvo):  # the kernel gives a link its qdisc with the first "up", and never takes it away
            world.ip("link", "set", end, "up")
            world.ip("link", "set", end, "down")


def _assert_both_pass_frames(world: World) -> None:
    assert faults.vexed_ports(world) == []
    with host_on_bridge(world, "br-int", "10.9.0.254"):
        for each in (GONE, REMADE):
            with guest_in_bridge(world, device("qbr", each), "10.9.0.1") as guest:
                assert ping(guest, "10.9.0.254")


@pytest.mark.parametrize("remake", [False, True])
@pytest.mark.parametrize("order", [(GONE, REMADE), (REMADE, GONE)])
def test_port_that_is_gone_and_device_that_is_new_are_put_right_by_one_plug(
    world: World, order: tuple[Vif, Vif], remake: bool
) -> None:
    with vifplug.local(str(world.config_file)) as host:
        host.plug(order)
        _delete_port_and_remake_veth(world, remake=remake)
        host.plug(order)
        assert host.check().clean
    _assert_both_pass_frames(world)


def test_command_line_repairs_both_at_once(world: World) -> None:
    world.vifplug("plug", "-", input=document([GONE, REMADE]))
    _delete_port_and_remake_veth(world)
    world.vifplug("repair", "--all")
    assert world.vifplug_json("check")["clean"] is True
    _assert_both_pass_frames(world)


def test_daemon_repairs_both_without_a_failed_try(world: World) -> None:
    with Vifplugd(world) as daemon:
        assert daemon.request("POST", "/v1/batch", {"plug": [_document(each) for each in (GONE, REMADE)]})[0] == 200
        _delete_port_and_remake_veth(world)

        def is_right() -> bool:
            ports = [world.row("Port", device("qvo", each)) for each in (GONE, REMADE)]
            return all(port is not None and _MARKED in port["external_ids"] for port in ports) and not (
                faults.vexed_ports(world)
            )

        wait_until(lambda: world.link(device("qvb", REMADE)) is not None and is_right(), "the repair", 30)
        assert "internal error" not in daemon.log()
        assert "Row instance" not in daemon.log()
    _assert_both_pass_frames(world)


def _document(of: Vif) -> dict[str, object]:
    return dict(of.model_dump(mode="json", exclude_none=True))


def test_failure_leaves_the_adopted_veth_as_it_was(world: World) -> None:
    with vifplug.local(str(world.config_file)) as host:
        host.plug([GONE, REMADE])
        _delete_port_and_remake_veth(world, remake=True)
        before, store = _without_the_word_of_vswitchd(world.snapshot()), stored(world)
        length = plan_length(world, [GONE, REMADE])
    for after in range(length + 1):
        with (
            cut(after, raising(errors.OvsdbError("injected by a test"))),
            vifplug.local(str(world.config_file)) as host,
            pytest.raises(errors.OvsdbError),
        ):
            host.plug([GONE, REMADE])
        assert _without_the_word_of_vswitchd(world.snapshot()) == before, f"after {after} actions"
        assert stored(world) == store


def _without_the_word_of_vswitchd(taken: dict[str, Row]) -> dict[str, Row]:
    """A snapshot without what a re-attachment leaves: the number that the port keeps over restarts (docs/decisions,
    0003), and what vswitchd sets on a device that it opens."""
    taken[f"Interface {device('qvo', REMADE)}"].pop("ofport_request")
    qvo = taken[f"link {device('qvo', REMADE)}"]
    qvo["flags"] = sorted(set(qvo["flags"]) - {"PROMISC"})
    return taken
