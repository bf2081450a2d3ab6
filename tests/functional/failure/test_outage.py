"""A plug while Open vSwitch or the user gives up: it ends, says why, and leaves the host as it was."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Sequence

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import CASES, device, document, stored, vif
from tests.support.network.endpoints import guest_in_bridge, guest_on_tap, host_on_bridge
from tests.support.network.traffic import ping
from tests.support.world.daemons import wait_until
from tests.support.world.world import OWN_LINKS, REPOSITORY, Row, World
from vifplug import errors
from vifplug.model.vif import Vif

IMPATIENT = {"timeout": "1"}
HYBRID = vif("ovs-hybrid")
QVO = device("qvo", HYBRID)


def refused(world: World, vifs: Sequence[Vif] = (HYBRID,)) -> errors.VifplugError:
    """The error of a plug that must fail."""
    with vifplug.local(str(world.config_file)) as host, pytest.raises(errors.VifplugError) as caught:
        host.plug(vifs)
    return caught.value


def assert_as_before(world: World, before: dict[str, Row]) -> None:
    """Nothing on the host and nothing in the store."""
    assert world.snapshot() == before
    assert stored(world) == {}


def check_is_clean(world: World) -> bool:
    """Whether any other command finds, and leaves, nothing to be done."""
    with vifplug.local(str(world.config_file)) as host:
        return host.check().clean


# -- Open vSwitch ---------------------------------------------------------------------------------------------


def test_plug_with_vswitchd_frozen_times_out_and_is_undone(world: World) -> None:
    world.write_config(ovs=IMPATIENT)
    before = world.snapshot()
    world.pause_vswitchd()
    error = refused(world, CASES["batch"])
    assert isinstance(error, errors.TimedOut)
    assert error.retryable
    assert "ovs-vswitchd did not carry out the change within 1 s" in error.message
    assert_as_before(world, before)
    world.resume_vswitchd()
    world.vsctl("list-br")
    assert_as_before(world, before)
    assert faults.vexed_ports(world) == []


@pytest.mark.parametrize("kind", ["ovs-hybrid", "ovs"])
def test_port_made_again_before_vswitchd_looked_passes_frames(world: World, kind: str) -> None:
    """To vswitchd it would be the same port still, on the device that is gone."""
    each = vif(kind)
    port = device("qvo" if kind == "ovs-hybrid" else "tap", each)
    world.write_config(ovs=IMPATIENT)
    with vifplug.local(str(world.config_file)) as host:
        host.plug([each])
        world.pause_vswitchd()
        (report,) = host.unplug([each.id])
        assert "did not carry out the change" in report.warnings[0]
    world.write_config(ovs={"timeout": "10"})

    def plug() -> None:
        with vifplug.local(str(world.config_file)) as host:
            host.plug([each])

    child = faults.start_child(plug)
    with contextlib.suppress(AssertionError):
        # As it would be, were vswitchd not waited for before.
        wait_until(lambda: world.link(port) and world.row("Port", port), "the device and its port", 1.0)
    world.resume_vswitchd()
    assert faults.join_children([child]) == [0]
    with host_on_bridge(world, "br-int", "10.9.0.254"):
        guest = (
            guest_in_bridge(world, device("qbr", each), "10.9.0.1")
            if kind == "ovs-hybrid"
            else guest_on_tap(world, port, each.address, "10.9.0.1")
        )
        with guest:
            assert ping(guest, "10.9.0.254")


def test_vswitchd_dead_is_the_same(world: World) -> None:
    world.write_config(ovs=IMPATIENT)
    before = world.snapshot()
    world.stop_vswitchd(signal.SIGKILL)
    result = world.vifplug("-o", "json", "plug", "-", input=document([HYBRID]), check=False)
    assert result.returncode == 1
    output = json.loads(result.stderr)["error"]
    assert (output["type"], output["retryable"], output["subject"]) == ("TimedOut", True, "ovs-vswitchd")
    assert_as_before(world, before)


@pytest.mark.parametrize("stage", ["links", "ports"])
def test_ovsdb_frozen_in_the_middle_is_settled_once_it_answers(world: World, stage: str) -> None:
    world.write_config(ovs=IMPATIENT)
    before = world.snapshot()
    with faults.before(stage, world.ovsdb.pause):
        error = refused(world, CASES["batch"])
    assert isinstance(error, errors.OvsUnavailable)
    assert error.retryable
    assert {link["ifname"] for link in world.ip("link", "show")} == OWN_LINKS
    # What was asked of it in vain it may well do now.
    world.ovsdb.resume()
    assert check_is_clean(world)
    assert_as_before(world, before)


def test_many_ports_with_ovsdb_frozen_are_given_up_together(world: World) -> None:
    world.write_config(ovs=IMPATIENT)
    before, vifs = world.snapshot(), [vif("ovs-hybrid", number + 1) for number in range(9)]
    began = time.monotonic()
    with faults.before("ports", world.ovsdb.pause):
        assert isinstance(refused(world, vifs), errors.OvsUnavailable)
    assert time.monotonic() - began < 5
    world.ovsdb.resume()
    assert check_is_clean(world)
    assert_as_before(world, before)


def test_ovsdb_killed_in_the_middle_is_settled_once_it_is_back(world: World) -> None:
    world.write_config(ovs=IMPATIENT)
    before = world.snapshot()
    with faults.before("ports", lambda: world.ovsdb.stop(signal.SIGKILL)):
        error = refused(world)
    assert isinstance(error, errors.OvsUnavailable)
    world.ovsdb.start()
    assert check_is_clean(world)
    assert_as_before(world, before)


def test_plug_without_ovsdb_touches_nothing_and_bridges_need_none(world: World) -> None:
    world.write_config(ovs=IMPATIENT)
    before = world.snapshot()
    world.ovsdb.stop()
    error = refused(world, CASES["batch"])
    assert isinstance(error, errors.OvsUnavailable)
    assert error.retryable
    assert "Check that openvswitch-switch runs" in error.message
    assert stored(world) == {}
    world.ovsdb.start()
    assert_as_before(world, before)


def test_library_outlives_open_vswitch(world: World) -> None:
    world.write_config(ovs={"timeout": "3"})  # python-ovs lets a second pass before it connects again
    before, vifs = world.snapshot(), CASES["batch"]
    with vifplug.local(str(world.config_file)) as host:
        host.plug(vifs)
        for number in (signal.SIGTERM, signal.SIGKILL):
            world.ovsdb.stop(number)
            world.ovsdb.start()
            assert host.check().clean
            world.stop_vswitchd(number)
            world.start_vswitchd()
            host.unplug([each.id for each in vifs])
            assert_as_before(world, before)
            host.plug(vifs)
            assert faults.vexed_ports(world) == []
        world.ovsdb.pause()
        with pytest.raises(errors.OvsUnavailable):
            host.check()
        world.ovsdb.resume()
        assert host.check().clean
        host.unplug([each.id for each in vifs])
    assert_as_before(world, before)


def test_look_that_is_under_way_when_ovsdb_dies_ends_with_what_the_next_one_says(world: World) -> None:
    world.write_config(ovs={"timeout": "10"})
    with vifplug.local(str(world.config_file)) as host, concurrent.futures.ThreadPoolExecutor(1) as others:
        host.plug([HYBRID])
        world.ovsdb.pause()
        look = others.submit(host.check)
        time.sleep(0.3)
        assert not look.done(), "it waits for an answer"
        world.ovsdb.stop(signal.SIGKILL)
        world.ovsdb.start()
        assert look.result(8).clean


def test_look_at_a_server_that_hangs_takes_the_time_that_is_configured(world: World) -> None:
    # Longer than it takes until the connection is given up (two probes of 3 s), and the look begins anew.
    world.write_config(ovs={"timeout": "8"})
    with vifplug.local(str(world.config_file)) as host:
        host.plug([HYBRID])
        world.ovsdb.pause()
        began = time.monotonic()
        with pytest.raises(errors.OvsUnavailable):
            host.check()
        assert time.monotonic() - began < 12
        world.ovsdb.resume()
        wait_until(lambda: host.check().clean, "the server's answer", 10)


def test_missing_bridge_is_an_error_before_anything_is_touched(world: World) -> None:
    before = world.snapshot()
    lost = vif("ovs", 7, network={"bridge": "br-lost"})
    error = refused(world, [*CASES["batch"], lost])
    assert isinstance(error, errors.BridgeMissing)
    assert error.subject == "br-lost"
    assert not error.retryable
    assert_as_before(world, before)
    result = world.vifplug("plug", "-", input=document([lost]), check=False)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert_as_before(world, before)


@pytest.mark.userspace_datapath
def test_port_of_a_kernel_datapath_that_is_not_there_leaves_no_qos_either(world: World) -> None:
    # This machine's kernel has no openvswitch module: vswitchd cannot make the bridge, but its rows stand.
    world.vsctl("--no-wait", "add-br", "br-kernel")
    before = world.snapshot()
    error = refused(world, [vif("ovs-hybrid", network={"bridge": "br-kernel"})])
    assert isinstance(error, errors.HostError)
    assert_as_before(world, before)


def test_one_conflict_leaves_the_whole_batch_unplugged(world: World) -> None:
    vifs = CASES["batch"]
    world.ip("link", "add", device("tap", vifs[-1]), "type", "veth", "peer", "foreign")
    before = world.snapshot()
    result = world.vifplug("-o", "json", "plug", "-", input=document(vifs), check=False)
    assert result.returncode == 4
    assert json.loads(result.stderr)["error"]["subject"] == device("tap", vifs[-1])
    assert_as_before(world, before)


# -- the user -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_in_the_middle_of_a_plug_rolls_it_back(world: World, number: signal.Signals, status: int) -> None:
    before = world.snapshot()
    world.pause_vswitchd()
    process = subprocess.Popen(
        world.vifplug_argv("plug", "-"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=world.environment,
        cwd=REPOSITORY,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(document(CASES["batch"]))
    process.stdin.close()
    process.stdin = None
    wait_until(lambda: world.row("Port", QVO), "the port in OVSDB")
    # To the whole group, as a terminal sends it: the helper must outlive it to take things back.
    faults.signal_group(process.pid, number)
    _output, complaint = process.communicate(timeout=10)
    assert process.returncode == status, complaint
    assert "rolled back" in complaint
    assert_as_before(world, before)
    world.resume_vswitchd()
    assert check_is_clean(world)
