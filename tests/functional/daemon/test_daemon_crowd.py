"""Many who wait for what hangs: the others go on."""

from __future__ import annotations

import concurrent.futures
import time

import pytest

from tests.functional.daemon.test_daemon_lifecycle import pair
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import BRIDGE, OVS
from tests.support.world.world import World

READERS = 40
ANSWER_SECONDS = 3.0
"""Less than anybody waits for OVSDB, or for vswitchd, here."""


@pytest.mark.parametrize("path", ["/v1/vifs", "/v1/doctor"])
def test_wait_for_ovsdb_does_not_block_requests_without_ovs(world: World, path: str) -> None:
    with (
        Vifplugd(world, {"ovs": {"timeout": "10"}}) as daemon,
        concurrent.futures.ThreadPoolExecutor(READERS) as readers,
    ):
        assert daemon.request("PUT", f"/v1/vifs/{OVS.id}", OVS.document)[0] == 200
        before = pair(daemon)
        world.ovsdb.pause()
        try:
            asked = [readers.submit(daemon.request, "GET", path) for _ in range(READERS)]
            time.sleep(1)  # until all of them wait
            for _ in range(3):
                plugged = daemon.request("PUT", f"/v1/vifs/{BRIDGE.id}", BRIDGE.document, timeout=ANSWER_SECONDS)
                gone = daemon.request("DELETE", f"/v1/vifs/{BRIDGE.id}", timeout=ANSWER_SECONDS)
                assert (plugged[0], gone[0]) == (200, 200)
            if path != "/v1/doctor":  # which waits for at most 2 s, and answers without what it did not see
                assert not any(each.done() for each in asked), "they wait for OVSDB"
        finally:
            world.ovsdb.resume()
        assert {each.result()[0] for each in asked} == {200}
        assert pair(daemon) == before, "and the helper that kept nobody waiting is not taken for dead"
