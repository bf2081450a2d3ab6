"""A process of greenlets that plugs through the daemon: ``driver.py eventlet|gevent SOCKET``.

Each check fails with an AssertionError. Nothing else of the tests is imported: this environment has no pytest.
"""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

LIBRARY, SOCKET = sys.argv[1:]
if LIBRARY == "eventlet":
    import eventlet

    eventlet.monkey_patch()
    spawn: Callable[..., Any] = eventlet.spawn

    def result(of: Any) -> Any:
        """Of a greenlet."""
        return of.wait()

    def kill(one: Any) -> None:
        """End a greenlet."""
        one.kill()
else:
    import gevent
    import gevent.monkey

    gevent.monkey.patch_all()
    spawn = gevent.spawn

    def result(of: Any) -> Any:
        """Of a greenlet."""
        return of.get()

    def kill(one: Any) -> None:
        """End a greenlet."""
        one.kill()


import vifplug  # noqa: E402  # after the patches, as its users have to

VIFS = [
    vifplug.load(
        {"id": str(uuid.UUID(int=number << 96)), "vif_type": "ovs-hybrid", "address": f"fa:16:3e:00:00:{number:02x}"}
    )
    for number in range(1, 9)
]
WAIT_SECONDS = 1.5


def _ticks(seconds: float) -> int:
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.02)
        count += 1
    return count


def _not_reached(host: vifplug.Host, vif_id: str) -> bool:
    try:
        host.wait([vif_id], "active", WAIT_SECONDS)
    except vifplug.errors.NotReached:
        return True
    return False


def main() -> None:
    """Every check."""
    with vifplug.connect(SOCKET) as host:
        plugging = [spawn(lambda vif: host.plug([vif])[0].state, vif) for vif in VIFS]
        assert [result(each) for each in plugging] == ["plugged"] * len(VIFS)

        # Greenlets run while others wait for an answer, and waits run side by side.
        began = time.monotonic()
        ticking = spawn(_ticks, WAIT_SECONDS)
        waiting = [spawn(_not_reached, host, vif.id) for vif in VIFS]
        assert all(result(each) for each in waiting)
        assert time.monotonic() - began < WAIT_SECONDS * len(VIFS) / 2
        assert result(ticking) > 10

        # Events are followed in one greenlet while another one makes them.
        states: list[str] = []

        def follow() -> None:
            for event in host.events(follow=True):
                if event.vif_id == VIFS[0].id:
                    states.append(event.state)
                if event.state == "unplugged":
                    return

        following = spawn(follow)
        time.sleep(0.3)
        host.unplug([VIFS[0].id])
        result(following)
        assert states[-1] == "unplugged", states

        # A killed greenlet leaves a host that works.
        killed = spawn(_not_reached, host, VIFS[1].id)
        time.sleep(0.2)
        kill(killed)
        assert len(host.list()) == len(VIFS) - 1
        with host.expect([VIFS[2].id], "wired", timeout=30):
            host.plug([VIFS[2]])
        host.unplug([vif.id for vif in VIFS])
        assert host.list() == []
    with vifplug.testing.FakeHost() as fake:
        assert fake.plug([VIFS[0]])[0].state == "plugged"


main()
