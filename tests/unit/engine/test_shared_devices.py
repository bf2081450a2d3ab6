"""What the store keeps of devices that VIFs share: what a failed plug leaves of it, and rows that cannot be read."""

from __future__ import annotations

import pytest

from tests.support.configured_kinds import Wired, driver
from tests.unit.engine.test_configured import NETWORK, VIF, World, vif, world
from vifplug.errors import LinkError

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
