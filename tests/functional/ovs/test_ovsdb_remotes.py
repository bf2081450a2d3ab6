"""[ovs] connection with several addresses: the first that answers, in the order given, and never a standby."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.functional.daemon.test_daemon_contention import put
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID, OVS
from tests.support.world import fake_servers
from tests.support.world.daemons import SCHEMA, Daemon, wait_until
from tests.support.world.world import World
from vifplug import errors


class _Second:
    """Another ovsdb-server in the world, with a database of its own."""

    def __init__(self, world: World, *options: str) -> None:
        self.world = world
        self.socket = world.directory / "second.sock"
        self.database = world.directory / "second.db"
        if not self.database.exists():
            subprocess.run(["ovsdb-tool", "create", str(self.database), str(SCHEMA)], check=True)
        argv = ["ovsdb-server", str(self.database), f"--remote=punix:{self.socket}", *options]
        self.daemon = Daemon("second", argv, world.directory)

    def appctl(self, *words: str) -> str:
        return self.world.run("ovs-appctl", "-t", str(self.daemon.control), *words).stdout

    def __enter__(self) -> str:
        self.daemon.start()
        return f"unix:{self.socket}"

    def __exit__(self, *_about: object) -> None:
        self.daemon.stop()


def _standby(world: World) -> _Second:
    return _Second(world, f"--sync-from=unix:{world.socket}")


def _configure(world: World, *addresses: str, timeout: str = "5") -> None:
    world.write_config(ovs={"connection": ",".join(addresses), "timeout": timeout})


def _used(world: World) -> Any:
    return world.vifplug_json("host-info")["ovs"]["address"]


def _findings(world: World) -> dict[str, tuple[str, str]]:
    """The doctor's word on each address."""
    checks = world.vifplug_json("doctor", check=False)["checks"]
    return {each["subject"]: (each["status"], each["reason"]) for each in checks if each["check"] == "ovsdb"}


def test_standby_is_passed_over_and_named(world: World) -> None:
    active = f"unix:{world.socket}"
    with _standby(world) as standby:
        for order in ([standby, active], [active, standby]):
            _configure(world, *order)
            with vifplug.local(str(world.config_file)) as host:
                host.plug([HYBRID.vif])
                assert host.check().clean
                host.unplug([HYBRID.id])
            assert _used(world) == active
            findings = _findings(world)
            assert findings[active] == ("ok", "this OVSDB address is used")
            assert findings[standby][0] == "ok" and "accepts no writes" in findings[standby][1]
        text = world.vifplug("doctor", check=False).stdout
        assert standby in text and "accepts no writes" in text


def test_standby_alone_is_an_error_that_says_so(world: World) -> None:
    with _standby(world) as standby:
        _configure(world, standby, timeout="2")
        with vifplug.local(str(world.config_file)) as host, pytest.raises(errors.OvsUnavailable) as caught:
            host.plug([HYBRID.vif])
        assert f"{standby} answers, but it is a standby" in caught.value.message
        assert caught.value.retryable
        status, reason = _findings(world)[standby]
        assert status == "error" and "accepts no writes" in reason


def test_first_that_answers_is_used_in_the_order_given(world: World) -> None:
    # Both take writes. python-ovs would take either.
    first, gone = f"unix:{world.socket}", f"unix:{world.directory}/no-such.sock"
    with _Second(world) as second:
        for _try in range(5):
            _configure(world, first, second)
            assert _used(world) == first
            _configure(world, gone, second, first)
            assert _used(world) == second
    status, reason = _findings(world)[gone]
    assert status == "warning" and "No such file" in reason


@pytest.mark.parametrize("server", [fake_servers.silent_tcp, fake_servers.closing_tcp])
@pytest.mark.parametrize("timeout", ["2", "10"])
def test_server_that_is_not_ovsdb_does_not_delay_the_next(world: World, server: Any, timeout: str) -> None:
    with server() as address:
        _configure(world, address, f"unix:{world.socket}", timeout=timeout)
        with vifplug.local(str(world.config_file)) as host:
            host.plug([HYBRID.vif])
            assert host.check().clean
        status, reason = _findings(world)[address]
    assert status == "ok" and reason.startswith("not used: it accepts connections")


@contextlib.contextmanager
def _keeping(world: World, *addresses: str) -> Iterator[Vifplugd]:
    with Vifplugd(world, {"ovs": {"connection": ",".join(addresses), "timeout": "5"}}) as daemon:
        yield daemon


def _address(daemon: Vifplugd) -> Any:
    return daemon.request("GET", "/v1/host")[1]["ovs"]["address"]


def test_server_that_came_back_is_used_again_after_the_end_of_the_other(world: World) -> None:
    first = f"unix:{world.socket}"
    with _Second(world) as second, _keeping(world, first, second) as daemon:
        assert _address(daemon) == first
        world.ovsdb.stop(signal.SIGKILL)
        wait_until(lambda: _address(daemon) == second, "the second server", 30)
        world.ovsdb.start()
        put_back = daemon.request("POST", "/v1/check", {})
        assert put_back[0] == 200
        assert _address(daemon) == second, "a connection that works is not given up"
    assert Path(world.socket).exists()


def test_fail_over_of_an_active_backup_pair_is_followed(world: World) -> None:
    first = f"unix:{world.socket}"
    pair = _standby(world)
    with pair as second, _keeping(world, first, second) as daemon:
        put(daemon, HYBRID.document)
        wait_until(lambda: HYBRID.qvo in pair.database.read_text(errors="replace"), "the copy of the database", 30)
        # The first becomes the standby of the second.
        pair.appctl("ovsdb-server/disconnect-active-ovsdb-server")
        control = str(world.ovsdb.control)
        world.run("ovs-appctl", "-t", control, "ovsdb-server/set-active-ovsdb-server", second)
        world.run("ovs-appctl", "-t", control, "ovsdb-server/connect-active-ovsdb-server")
        wait_until(lambda: _address(daemon) == second, "the new active server", 30)
        _status, diagnosis = daemon.request("GET", "/v1/doctor")
        words = {each["subject"]: each["reason"] for each in diagnosis["checks"] if each["check"] == "ovsdb"}
        assert "accepts no writes" in words[first]
        # And back. vswitchd, which knows the first address alone, carries out what is written then.
        world.run("ovs-appctl", "-t", control, "ovsdb-server/disconnect-active-ovsdb-server")
        pair.appctl("ovsdb-server/set-active-ovsdb-server", first)
        pair.appctl("ovsdb-server/connect-active-ovsdb-server")
        put(daemon, OVS.document)  # not looked at first: the server that refuses it is left for the other one
        wait_until(lambda: _address(daemon) == first, "the first server", 30)
        assert world.row("Port", OVS.tap) is not None


def test_member_of_a_cluster_that_is_not_the_leader_is_passed_over(world: World) -> None:
    directory = world.directory
    addresses = [f"unix:{directory}/raft{number}" for number in (1, 2)]
    run = world.run
    run("ovsdb-tool", "create-cluster", f"{directory}/m1.db", str(SCHEMA), addresses[0])
    run("ovsdb-tool", "join-cluster", f"{directory}/m2.db", "Open_vSwitch", addresses[1], addresses[0])
    members = [
        Daemon(
            f"m{number}",
            ["ovsdb-server", f"{directory}/m{number}.db", f"--remote=punix:{directory}/m{number}.sock"],
            directory,
        )
        for number in (1, 2)
    ]
    leader, follower = (f"unix:{directory}/m{number}.sock" for number in (1, 2))
    with contextlib.ExitStack() as stack:
        for member in members:
            member.start()
            stack.callback(member.stop)
        run("ovsdb-client", "wait", follower, "Open_vSwitch", "connected")
        run("ovs-vsctl", "--no-syslog", "--no-wait", f"--db={leader}", "init")
        _configure(world, follower, leader)
        assert _used(world) == leader
        assert "not the leader" in _findings(world)[follower][1]
