"""vifplugd tells an endpoint which VIFs are wired, whatever the endpoint does: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import nova_endpoint
from tests.support.daemon.nova_endpoint import (
    Behaviour,
    Key,
    answering,
    hanging_up,
    per_event,
    sending,
    trickling,
    whole,
)
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults.faults import vif
from tests.support.vifs import INSTANCE
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

TOKEN = "not-for-the-log"
PLUGGED, UNPLUGGED = "network-vif-plugged", "network-vif-unplugged"
QUICK_SECONDS = 10.0
"""How long the daemon may take for a bridge's VIF on a busy machine, whatever becomes of what it tells others: an
endpoint that hangs does so for ever."""
UNKNOWN = vif("bridge", 4).id
SLOW_SECONDS = 1.5

WAYS: dict[int, Behaviour] = {
    1: hanging_up,
    2: sending(b"\x15\x03\x01\x00\x02\x02\x16 garbage\r\n\r\n"),
    3: sending(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b'{"events": [', takes=True),
    4: per_event(lambda event: 404 if event["tag"] == UNKNOWN else 200),
    5: answering(503, b"<html>maintenance</html>", "Retry-After: 1"),
    6: trickling(whole(200, b"{}"), SLOW_SECONDS / 80, takes=True),
    7: sending(b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 500\r\n\r\n" + b'{"events": [{"code": 200'),
}


@pytest.fixture
def nova(world: World) -> Iterator[nova_endpoint.Endpoint]:
    """In the world's namespace, as the test is."""
    with nova_endpoint.Endpoint() as nova:
        yield nova


def daemon_of(world: World, url: str) -> Vifplugd:
    events = {"notify_url": url, "notify_token": TOKEN, "notify_interval": "0.1", "wired_by": "plugged"}
    return Vifplugd(world, {"events": events})


def plug(daemon: Vifplugd, number: int) -> Key:
    """Plug a VIF, in no time; what Nova is to be told."""
    document = vif("bridge", number).model_dump(mode="json", exclude_none=True)
    began = time.monotonic()
    status, body = daemon.request("PUT", f"/v1/vifs/{document['id']}", document | {"instance": {"uuid": INSTANCE}})
    assert status == 200, body
    assert time.monotonic() - began < QUICK_SECONDS
    return (document["id"], PLUGGED)


def unplug(daemon: Vifplugd, number: int) -> Key:
    vif_id = vif("bridge", number).id
    assert daemon.request("DELETE", f"/v1/vifs/{vif_id}")[0] == 200
    return (vif_id, UNPLUGGED)


def notified(daemon: Vifplugd, result: str) -> float:
    return daemon.metric(f'vifplug_notifications_total{{result="{result}"}}')


def settled(daemon: Vifplugd) -> float:
    return notified(daemon, "delivered") + notified(daemon, "refused")


def test_an_endpoint_of_every_kind_loses_nothing_and_gets_nothing_twice(
    world: World, nova: nova_endpoint.Endpoint
) -> None:
    told: list[Key] = []
    with daemon_of(world, nova.url) as daemon:
        for number, behaviour in WAYS.items():
            nova.script = [behaviour]
            told.append(plug(daemon, number))
            told.append(unplug(daemon, number))
            wait_until(lambda: settled(daemon) == len(told), f"the end of {number}")
        wait_until(lambda: daemon.metric("vifplug_notifications_queued") == 0, "an empty outbox")
        assert notified(daemon, "refused") == 1
        told.remove((UNKNOWN, PLUGGED))
        assert nova.taken == told, "each once, and in order"
        (first, *_rest) = nova.received
        assert first.headers["X-Auth-Token"] == TOKEN
        assert first.events[0] | {"tag": ""} == {
            **{"name": PLUGGED, "server_uuid": INSTANCE, "status": "completed", "tag": ""}
        }
        assert TOKEN not in daemon.log()
        assert daemon.log().count("does not accept events") == 4
        assert daemon.log().count("accepts events again") == 4


def test_what_an_endpoint_missed_is_sent_after_stops_kills_and_hangs(world: World) -> None:
    with nova_endpoint.Endpoint(sending(b"", then=60.0)) as nova:
        daemon = daemon_of(world, nova.url).start()
        told = [plug(daemon, 1)]
        wait_until(lambda: nova.received, "the first message")
        told += [plug(daemon, number) for number in (2, 3)]
        began = time.monotonic()
        assert daemon.stop() == 0, "while the endpoint hangs"
        assert time.monotonic() - began < 5
    # Nobody listens any more.
    with daemon_of(world, nova.url) as daemon:
        told += [plug(daemon, 4), unplug(daemon, 4), unplug(daemon, 1)]
        worker = daemon.worker()
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: daemon.metric("vifplug_notifications_queued") == len(told), "a worker that has them still")
        with nova_endpoint.Endpoint(port=nova.port) as back:
            wait_until(lambda: len(back.taken) == len(told), "all of them")
            told.append(plug(daemon, 5))
            wait_until(lambda: settled(daemon) == len(told), "the next one")
            assert sorted(back.taken) == sorted(told)
            assert back.taken.index(told[3]) < back.taken.index(told[4])
            assert daemon.stop() == 0
            daemon.start()
            plug(daemon, 5)
            time.sleep(0.3)
            assert len(back.taken) == len(told), "a restart, or a replug, is no news"
