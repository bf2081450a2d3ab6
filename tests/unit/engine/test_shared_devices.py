"""Devices that are configured: what the store keeps of shared ones, and what a plug that runs twice keeps."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support import builders
from tests.support.configured_kinds import Wired, driver
from tests.support.world.daemons import wait_until
from tests.unit.engine.test_configured import NETWORK, VIF, World, vif, world
from vifplug.engine.commands import plug
from vifplug.engine.context import Context
from vifplug.engine.host import Asked
from vifplug.engine.plan.request import Job
from vifplug.errors import LinkError
from vifplug.model.reports import VifReport

__all__ = ["driver", "world"]


@pytest.fixture(autouse=True)
def shared(driver: Wired) -> None:
    driver.nic_owner = NETWORK
    driver.nic = {"mtu": 9000}


def test_failed_replug_keeps_what_is_to_be_put_back_of_a_shared_device(world: World) -> None:
    world.plugger.plug([vif()])
    before = world.plugger.store.shared_links()
    world.driver.nic = {"mtu": 9100}
    world.host.fail_at = len(world.host.applied)
    with pytest.raises(LinkError):
        world.plugger.plug([vif()])
    assert world.eth1[0] == 9000
    assert world.plugger.store.shared_links() == before
    world.plugger.unplug([VIF])
    assert world.eth1[0] == 1500
    assert not world.plugger.store.shared_links()


@pytest.mark.parametrize(
    "values",
    [None, {"mtu": "9000"}, {"former": [1500]}, {"up": 1}, {"name": "eth2"}, {"owner": VIF}, {"kind": "unknown"}],
)
def test_row_that_cannot_be_read_is_left_out_and_the_vif_goes(
    world: World, caplog: pytest.LogCaptureFixture, values: dict[str, Any] | None
) -> None:
    world.plugger.plug([vif()])
    with world.plugger.store._transaction() as database:
        ((body,),) = database.execute("SELECT body FROM shared").fetchall()
        torn = "[" * 100_000 if values is None else json.dumps(json.loads(body) | values)
        database.execute("UPDATE shared SET body = ?", (torn,))
    with caplog.at_level(logging.ERROR):
        assert not world.plugger.store.shared_links()
    assert "what was set on 'eth1' for" in caplog.text
    world.plugger.unplug([VIF])
    assert world.eth1[0] == 9000
    assert not world.plugger.store.contents().records


@pytest.mark.parametrize("drifted", [False, True])
def test_plug_that_is_carried_out_twice_keeps_what_was_there_before(
    world: World, monkeypatch: pytest.MonkeyPatch, drifted: bool
) -> None:
    """A try of several requests that ends behind the record: each of them is carried out once more, by itself."""
    world.driver.nic_owner = None
    plug_held, group, sizes = plug.plug_held, world.plugger.plugs, list[int]()

    def ends_behind_the_record(context: Context, work: Sequence[Job], asked: Asked | None) -> list[VifReport]:
        sizes.append(len(work))
        if len(sizes) == 1:
            wait_until(lambda: len(group._waiting) == 2, "two more requests")
        reports = plug_held(context, work, asked)
        if len(work) == 1:
            return reports
        if drifted:
            world.set_eth1(mtu=1400)
        raise TypeError("a bug in what follows")

    monkeypatch.setattr(plug, "plug_held", ends_behind_the_record)
    with ThreadPoolExecutor(3) as pool:
        plugged = [pool.submit(world.plugger.plug, [builders.vif("ovs-hybrid")])]
        wait_until(lambda: sizes, "the first request is at work")
        plugged += [pool.submit(world.plugger.plug, [each]) for each in (vif(), builders.vif("bridge"))]
        assert all(each.result(10) for each in plugged)
    assert sizes == [1, 2, 1, 1]
    assert world.eth1[0] == 9000
    world.plugger.unplug([VIF])
    assert world.eth1[0] == 1500
