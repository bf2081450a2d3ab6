"""What vifplugd costs while nothing is to be done: after, and during, each kind of outage of Open vSwitch.

Processor time is read from /proc/PID/stat, so that a machine under load shows no more of it.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.functional.daemon.test_daemon_contention import processor_seconds, put
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID
from tests.support.world import fake_servers
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

_SETTLE_SECONDS = 1.0
_IDLE_SECONDS = 3.0
_USED_SECONDS_MAX = 0.09
"""Of one process. Idle, each needs 0.002 s in that time; one that spins gets 0.6 s and more on a loaded machine."""
_SETTINGS = {"ovs": {"timeout": "2"}}


def _used(daemon: Vifplugd) -> dict[str, float]:
    pids = {"parent": daemon.pid, "worker": daemon.worker(), "helper": daemon.helper()}
    before = {who: processor_seconds(pid) for who, pid in pids.items()}
    time.sleep(_IDLE_SECONDS)
    return {who: processor_seconds(pid) - before[who] for who, pid in pids.items()}


def _assert_idle(daemon: Vifplugd, when: str) -> None:
    time.sleep(_SETTLE_SECONDS)
    used = _used(daemon)
    print(when, used)
    assert max(used.values()) < _USED_SECONDS_MAX, f"{when}: {used}"


def _answers(daemon: Vifplugd) -> bool:
    _status, host = daemon.request("GET", "/healthz")
    return bool(host["ovsdb_connected"])


def _look(daemon: Vifplugd) -> None:
    """Ask for something that needs OVSDB; it may fail."""
    daemon.request("POST", "/v1/check", {})


@contextlib.contextmanager
def _frozen(world: World) -> Iterator[None]:
    world.ovsdb.pause()
    yield
    world.ovsdb.resume()


@contextlib.contextmanager
def _restarted(world: World, number: signal.Signals) -> Iterator[None]:
    world.ovsdb.stop(number)
    yield
    world.ovsdb.start()


@contextlib.contextmanager
def _killed(world: World) -> Iterator[None]:
    with _restarted(world, signal.SIGKILL):
        yield


@contextlib.contextmanager
def _socket_deleted(world: World) -> Iterator[None]:
    """Its connections live on until it is restarted."""
    world.socket.unlink()
    yield
    world.ovsdb.stop()
    world.ovsdb.start()


@contextlib.contextmanager
def _wiped(world: World) -> Iterator[None]:
    """Its database is deleted, and made anew without anything in it."""
    with _restarted(world, signal.SIGTERM):
        world.stop_vswitchd()
        (world.directory / "conf.db").unlink()
        world.run("ovsdb-tool", "create", str(world.directory / "conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
        yield
    world.vsctl("--no-wait", "init")
    world.start_vswitchd()


@contextlib.contextmanager
def _no_vswitchd(world: World) -> Iterator[None]:
    world.stop_vswitchd()
    yield
    world.start_vswitchd()


_OUTAGES: dict[str, Callable[[World], contextlib.AbstractContextManager[None]]] = {
    "frozen": _frozen,
    "killed": _killed,
    "socket-deleted": _socket_deleted,
    "wiped": _wiped,
    "no-vswitchd": _no_vswitchd,
}


@pytest.mark.parametrize("outage", _OUTAGES)
def test_daemon_is_idle_during_and_after_an_outage(world: World, outage: str) -> None:
    with Vifplugd(world, _SETTINGS) as daemon:
        put(daemon, HYBRID.document)
        with _OUTAGES[outage](world):
            _look(daemon)
            _assert_idle(daemon, f"while {outage}")
        wait_until(lambda: _answers(daemon), "the connection to OVSDB", 30)
        _look(daemon)
        _assert_idle(daemon, f"after {outage}")


@pytest.mark.parametrize("server", [fake_servers.silent_tcp, fake_servers.closing_tcp])
def test_daemon_is_idle_before_a_server_that_is_none(
    world: World, server: Callable[[], contextlib.AbstractContextManager[str]]
) -> None:
    with server() as address, Vifplugd(world, {"ovs": {**_SETTINGS["ovs"], "connection": address}}) as daemon:
        _look(daemon)
        _assert_idle(daemon, "before a server that is none")
