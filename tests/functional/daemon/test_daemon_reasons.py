"""What vifplugd logs while something stands in the way of many VIFs."""

from __future__ import annotations

import json
import time

from tests.functional.daemon.test_daemon_contention import put
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults.faults import vif
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

_VIFS = 6
_TRIES_SECONDS = 6.0
"""Several tries of each VIF."""


def _states(daemon: Vifplugd) -> set[str]:
    return {str(each["state"]) for each in daemon.vifs().values()}


def test_missing_bridge_is_logged_once_however_many_vifs_and_tries(world: World) -> None:
    vifs = [vif("ovs-hybrid" if number % 2 else "ovs", number + 1) for number in range(_VIFS)]
    with Vifplugd(world, repair_interval=2) as daemon:
        for each in vifs:
            put(daemon, each.model_dump(mode="json", exclude_none=True))
        known = len(daemon.log())
        world.vsctl("del-br", "br-int")
        wait_until(lambda: _states(daemon) == {"failed"}, "all VIFs failed", 60)
        time.sleep(_TRIES_SECONDS)
        reported = [json.loads(line) for line in daemon.log()[known:].splitlines()]
        loud = [each["message"] for each in reported if each["level"] in ("WARNING", "ERROR")]
        assert len(loud) == 1, loud
        assert loud[0].startswith(f"could not repair {_VIFS} VIFs (") and "no OVS bridge 'br-int'" in loud[0]
        world.add_bridge("br-int")
        wait_until(lambda: "failed" not in _states(daemon), "the repair", 60)
        wait_until(lambda: "OVS bridge 'br-int' is back" in daemon.log()[known:], "a word of it", 30)
        assert daemon.log().count("OVS bridge 'br-int' is back") == 1
