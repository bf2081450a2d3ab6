"""What os-vif's caller sees while vifplugd dies, is away, or waits for Open vSwitch: success, a little later."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.counts import times
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID, OVS, must_link, must_row
from tests.support.world.compute import Compute, VifObject, direct, hybrid, network
from tests.support.world.world import World

KILLS = times(4, 10)
OURS = "vifplug-vif"
OVN_OR_OVSDB = ("ovsdbapp", "tcp:127.0.0.1", "ovs_idl")


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        world.add_bridge("br-int")
        yield world


@contextlib.contextmanager
def once_link(world: World, name: str, event: str, act: Callable[[], None]) -> Iterator[threading.Event]:
    """Act as soon as the kernel tells of a link that is new or gone; the event is set once that is done."""
    done = threading.Event()
    with world.namespace.entered():
        monitor = subprocess.Popen(["ip", "-o", "monitor", "link"], stdout=subprocess.PIPE, text=True)

    def watch() -> None:
        assert monitor.stdout is not None
        for line in monitor.stdout:
            if name in line and line.startswith("Deleted") == (event == "gone"):
                act()
                done.set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        time.sleep(0.1)  # the monitor says nothing once it listens
        yield done
    finally:
        monitor.terminate()
        thread.join()
        monitor.communicate()


@pytest.mark.parametrize("victim", ["worker", "helper"])
def test_process_killed_in_mid_plug_and_mid_unplug_is_made_up_for_every_time(world: World, victim: str) -> None:
    vif = hybrid(HYBRID)
    before = world.snapshot()
    with Compute(world, os_vif_vifplug={"via": "daemon", "retry_timeout": 60}) as compute, Vifplugd(world) as daemon:

        def kill() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(getattr(daemon, victim)(), signal.SIGKILL)

        for number in range(KILLS):
            daemon.await_answer()
            with once_link(world, HYBRID.qbr, "new", kill) as killed:
                compute.plug(vif)
            assert killed.is_set(), number
            assert must_link(world, HYBRID.qvb)["master"] == HYBRID.qbr
            assert must_row(world, "Interface", HYBRID.qvo)["ofport"] > 0
            assert OURS in must_row(world, "Port", HYBRID.qvo)["external_ids"]
            daemon.await_answer()
            with once_link(world, HYBRID.qvo, "gone", kill) as killed:
                compute.unplug(vif)
            assert killed.is_set(), number
            assert world.snapshot() == before


def later(seconds: float, act: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_daemon_that_comes_late_is_waited_for(world: World) -> None:
    before = world.snapshot()
    daemon = Vifplugd(world)
    with Compute(world, os_vif_vifplug={"via": "daemon", "retry_timeout": 60}) as compute:
        calls: list[Callable[[VifObject], None]] = [compute.plug, compute.plug, compute.unplug]
        for call in calls:
            timer = later(1.5, lambda: daemon.start(wait=False))
            call(hybrid(HYBRID))
            timer.join()
            daemon.await_answer()
            daemon.stop()
    assert world.snapshot() == before


def test_retry_ends_when_its_time_is_over_and_a_lasting_error_is_not_repeated(world: World) -> None:
    with Compute(world, os_vif_vifplug={"via": "daemon", "retry_timeout": 2}) as compute:
        began = time.monotonic()
        for call in ("plug", "unplug"):
            assert "start vifplugd" in compute.refused(hybrid(HYBRID), call)[1]
        assert time.monotonic() - began >= 3.5
        assert "repeated for up to 2 s" in compute.log()
        with Vifplugd(world) as daemon:
            world.ip("link", "add", HYBRID.qbr, "type", "bridge")
            before = daemon.metric("vifplug_requests_total")
            assert compute.refused(hybrid(HYBRID))[0] == "PlugException"
            assert daemon.metric("vifplug_plug_seconds_count") == 1, "a Conflict is final"
            assert daemon.metric("vifplug_requests_total") > before


def test_bridge_that_comes_late_is_waited_for_when_a_vif_is_new(world: World) -> None:
    late = network(HYBRID, bridge="br-late")
    with Compute(world, os_vif_vifplug={"via": "daemon", "retry_timeout": 60}) as compute, Vifplugd(world):
        timer = later(
            1.5, lambda: world.vsctl("add-br", "br-late", "--", "set", "Bridge", "br-late", "datapath_type=netdev")
        )
        compute.plug(hybrid(HYBRID, network=late))
        timer.join()
        assert world.vsctl("port-to-br", HYBRID.qvo) == "br-late"
        compute.unplug(hybrid(HYBRID, network=late))


def test_recorded_vif_that_waits_for_its_bridge_warns_where_the_option_says_so(world: World) -> None:
    """What a nova-compute meets that starts before Neutron's agent has made br-int."""
    with Compute(world, os_vif_vifplug={"via": "daemon", "retry_timeout": 0}) as compute, Vifplugd(world) as daemon:
        compute.plug(hybrid(HYBRID))
        world.vsctl("del-br", "br-int")
        assert "'br-int'" in compute.refused(hybrid(HYBRID))[1]
        with compute.configured(missing_bridge="warn"):
            # One that is not recorded would be plugged to nothing.
            assert "'br-int'" in compute.refused(direct(OVS))[1]
            compute.plug(hybrid(HYBRID))
            (line,) = [line for line in compute.log().splitlines() if "waits for its bridge" in line]
            assert HYBRID.id in line and "'br-int'" in line
        world.add_bridge("br-int")
        deadline = time.monotonic() + 30
        while not world.vsctl("--if-exists", "get", "Interface", HYBRID.qvo, "ofport").isdigit():
            assert time.monotonic() < deadline, daemon.log()[-3000:]
            time.sleep(0.1)
        compute.unplug(hybrid(HYBRID))


def test_conflict_says_one_line_of_os_vifs_own_ovsdb_and_leaves_no_thread(world: World) -> None:
    """os-vif's own address is often one that nova-compute cannot reach: its default is TCP, Debian's OVSDB has none."""
    own = {"ovsdb_connection": "tcp:127.0.0.1:6640"}
    with Compute(world, os_vif_ovs=own) as compute, Vifplugd(world):
        world.ip("link", "add", HYBRID.qbr, "type", "bridge")
        assert "held by" in compute.refused(hybrid(HYBRID))[1]
        time.sleep(3)  # an IDL's next attempt would be logged by now
        output = [line for line in compute.log().splitlines() if any(word in line for word in OVN_OR_OVSDB)]
        assert len(output) == 1, output
        assert "tcp:127.0.0.1:6640: Connection refused" in output[0]
        assert len(os.listdir(f"/proc/{compute.pid}/task")) == 1
