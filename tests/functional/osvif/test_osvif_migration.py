"""docs/how-to/migrate-from-os-vif.md: from os-vif to vifplug and back, with the real os-vif."""

from __future__ import annotations

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID
from tests.support.world.compute import Compute, hybrid
from tests.support.world.world import World


def test_way_there_and_back_as_documented(world: World) -> None:
    before = world.snapshot()
    with Compute(world) as compute:
        with Vifplugd(world) as daemon:
            with compute.configured(take_ovs=False):
                compute.plug(hybrid(HYBRID))
            compute.plug(hybrid(HYBRID))
            assert daemon.vifs() == {}, "it stays os-vif's until it is unplugged"
            compute.unplug(hybrid(HYBRID))
            compute.plug(hybrid(HYBRID))
            assert HYBRID.id in daemon.vifs(), "a hard reboot makes it vifplug's"

            # Back: the server is stopped, its VIF unplugged by hand; nova-compute plugs it when it is restarted.
            world.vifplug("unplug", HYBRID.id)
            assert world.snapshot() == before
            with compute.configured(take_ovs=False):
                compute.plug(hybrid(HYBRID))
                assert daemon.vifs() == {}
                assert world.vifplug_json("check")["clean"], "nothing of os-vif's is an orphan"
                compute.unplug(hybrid(HYBRID))
            assert world.snapshot() == before
            compute.plug(hybrid(HYBRID))

        # In a hurry: vifplugd was stopped under a running guest, and os-vif deletes what vifplug made.
        with compute.configured(take_ovs=False):
            plugged = world.snapshot()
            compute.plug(hybrid(HYBRID))
            assert world.snapshot() == plugged, "a restart of nova-compute keeps the path"
            compute.unplug(hybrid(HYBRID))
        assert world.snapshot() == before
