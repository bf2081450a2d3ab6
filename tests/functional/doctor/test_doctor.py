"""The doctor on a real host: silent on a healthy one, and each of ten faults found, named, and nothing beside it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import doctor_faults
from tests.support.faults.doctor_faults import SICKNESSES
from tests.support.network.endpoints import guest_in_bridge, host_on_bridge
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, OVS, library
from tests.support.world.booted import Booted
from tests.support.world.daemons import wait_until
from tests.support.world.users import Peer
from tests.support.world.world import World
from vifplug.api import local_doctor
from vifplug.cli import main

Diagnosis = dict[str, Any]


@pytest.fixture
def doctor(world: World, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command in this process, which saves a second a time: its exit code and what it says."""

    def ask(*options: str) -> tuple[int, Diagnosis]:
        capsys.readouterr()
        code = main.main(["--config-file", str(world.config_file), "-o", "json", "doctor", *options])
        out, err = capsys.readouterr()
        assert err == ""
        return code, json.loads(out)

    return ask


def of(diagnosis: Diagnosis, *statuses: str) -> list[dict[str, str]]:
    return [each for each in diagnosis["checks"] if each["status"] in statuses]


def named(diagnosis: Diagnosis, *statuses: str) -> set[str]:
    return {each["check"] for each in of(diagnosis, *statuses)}


def must_be_well(answer: tuple[int, Diagnosis], what: object = "") -> None:
    code, diagnosis = answer
    assert of(diagnosis, "error", "warning", "unseen") == [], what
    assert (code, diagnosis["healthy"]) == (0, True), what


def test_each_fault_is_found_and_named_and_a_healthy_host_is_left_in_peace(world: World, doctor: Any) -> None:
    must_be_well(doctor(), "an empty host")
    assert not world.state_dir.exists()  # it looks, and makes nothing
    with library(world) as host:
        host.plug([doctor_faults.PLUGGED.vif])
    must_be_well(doctor(), "a host with a VIF")
    before = world.snapshot()
    for name, sick in SICKNESSES.items():
        with sick.planted(world):
            code, diagnosis = doctor()
        assert (code, diagnosis["healthy"]) == (1, False), name
        # One fault, one check: whatever stands on it is unseen, and no second fault.
        assert named(diagnosis, "error") == {sick.check}, name
        found = of(diagnosis, "error")
        assert any(sick.word in f"{each['subject']} {each['reason']}" for each in found), (name, found)
        assert all(each["remedy"] for each in found), name
    must_be_well(doctor(), "after all of them")
    assert world.snapshot() == before


def test_read_only_store_is_found(world: World) -> None:
    world.vifplug("--local", "plug", "-", input=HYBRID.text)
    words = ["unshare", "--mount", "sh", "-c", doctor_faults.READ_ONLY, "sh", str(world.state_dir)]
    reported = world.run(*words, *world.vifplug_argv("-o", "json", "doctor"), check=False)
    diagnosis = json.loads(reported.stdout)
    assert (reported.returncode, named(diagnosis, "error")) == (1, {"store"}), reported
    assert named(diagnosis, "unseen") == set()  # what can be read is compared with the host
    assert str(world.state_dir) in of(diagnosis, "error")[0]["subject"]


def test_doctor_works_within_the_unit_and_tells_a_store_that_only_root_may_write() -> None:
    with Booted() as machine:
        machine.run("systemctl", "start", "openvswitch-switch.service", "vifplugd.service")
        for options in ((), ("--local",)):
            reported = machine.run("vifplug", "doctor", *options)
            assert reported.stdout.endswith("looked at; if a guest has no network: vifplug trace ID\n"), reported
        machine.run("systemctl", "stop", "vifplugd.service", "vifplugd.socket")
        machine.run("sh", "-c", "chmod 0400 /var/lib/vifplug/*")
        reported = machine.run("vifplug", "-o", "json", "doctor", "--local", check=False)
        (found,) = of(json.loads(reported.stdout), "error")
        assert (reported.returncode, found["check"]) == (1, "store")
        assert "user vifplug" in found["reason"]


def test_policy_that_is_found_does_eat_frames(world: World, doctor: Any) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
    with (
        guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, HYBRID.address, outer=HYBRID.tap) as guest,
        host_on_bridge(world, "br-int", HOST, MTU),
    ):
        ping = ("ping", "-c1", "-W1", HOST)
        assert guest.run(*ping).returncode == 0
        with doctor_faults.forward_drops(world):
            assert guest.run(*ping, check=False).returncode != 0
            assert named(doctor()[1], "error") == {"firewall"}
        with doctor_faults.forward_drops(world, doctor_faults.BRIDGED):
            assert guest.run(*ping, check=False).returncode != 0
            (found,) = of(doctor()[1], "error")
            assert "every bridged frame" in found["reason"]
        # Where br_netfilter is off, an IP policy is none of a bridge's business.
        world.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", "net.bridge.bridge-nf-call-ip6tables=0")
        with doctor_faults.forward_drops(world):
            assert guest.run(*ping).returncode == 0
            must_be_well(doctor())


def test_neutrons_own_firewall_and_guests_of_ovs_are_no_fault(world: World, doctor: Any) -> None:
    with doctor_faults.forward_drops(world, 2, "neutron-openvswi-FORWARD"):
        must_be_well(doctor())
    with library(world) as host:
        host.plug([OVS.vif])
    with doctor_faults.forward_drops(world):
        code, diagnosis = doctor()
        assert (code, named(diagnosis, "warning"), named(diagnosis, "error")) == (0, {"firewall"}, set())


def test_what_waits_for_its_guest_and_whole_foreign_vifs_are_no_fault(world: World, doctor: Any) -> None:
    with library(world) as host:
        host.plug([OVS.but(create_tap=False).vif])
    # What Nova leaves of an instance that is shut off: everything but the tap.
    foreign = doctor_faults.FOREIGN
    world.run("ip", "link", "add", f"qbr{foreign}", "type", "bridge")
    world.run("ip", "link", "add", f"qvb{foreign}", "type", "veth", "peer", "name", f"qvo{foreign}")
    world.run("ip", "link", "set", f"qvb{foreign}", "master", f"qbr{foreign}")
    world.vsctl("add-port", "br-int", f"qvo{foreign}")
    must_be_well(doctor())
    # Out of its bridge it leads nowhere any more.
    world.run("ip", "link", "set", f"qvb{foreign}", "nomaster")
    assert named(doctor()[1], "error") == {"strangers"}


def test_port_of_a_guest_that_is_off_is_its_owners(world: World, doctor: Any) -> None:
    """As os-vif leaves it: a port with an iface-id, whose tap goes and comes with the guest."""
    tap, port_id = "tapdeadbeef-00", "deadbeef-0000-4222-8333-444444444444"
    ids = f"external_ids:iface-id={port_id}"
    world.vsctl("add-port", "br-int", tap, "--", "set", "Interface", tap, ids)
    code, diagnosis = doctor()
    assert (code, named(diagnosis, "error")) == (0, set())
    (found,) = of(diagnosis, "warning")
    assert (found["check"], found["subject"]) == ("stale-ports", tap)
    assert found["remedy"].index(f"openstack port show {port_id}") < found["remedy"].index("del-port")
    world.ip("tuntap", "add", "dev", tap, "mode", "tap")
    wait_until(lambda: named(doctor()[1], "warning") == set(), "vswitchd's finding it")


def test_what_is_to_be_done_about_a_bonds_missing_member_works(world: World, doctor: Any) -> None:
    world.add_bridge("br-ex")
    for end in ("e1", "e3"):
        world.ip("tuntap", "add", "dev", end, "mode", "tap")
    world.vsctl("add-bond", "br-ex", "bond0", "e1", "e2", "e3")
    (found,) = of(doctor()[1], "error")
    assert (found["check"], found["subject"]) == ("stale-ports", "e2")
    assert "bond0" in found["reason"] and "del-port" not in found["remedy"]
    _before, _said, command = found["remedy"].partition("ovs-vsctl ")
    world.vsctl(*command.split())
    must_be_well(doctor())
    assert world.vsctl("list-ifaces", "br-ex").split() == ["e1", "e3"]


@pytest.mark.parametrize("ending", ["stopped", "frozen"])
def test_vswitchd_that_does_not_answer_is_distinguished_from_such_a_database(
    world: World, doctor: Any, ending: str
) -> None:
    if ending == "stopped":
        world.stop_vswitchd()
        assert named(doctor()[1], "error") == {"vswitchd"}
        return
    with _frozen(world.vswitchd.pid):
        assert named(doctor()[1], "error") == {"vswitchd"}


@contextlib.contextmanager
def _frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_drift_and_a_lost_record_are_found_without_repairs(world: World, doctor: Any) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
    world.run("ip", "link", "set", HYBRID.qvb, "nomaster")
    (found,) = of(doctor()[1], "error")
    assert (found["check"], found["subject"]) == ("vifs", HYBRID.id)
    assert HYBRID.qvb in found["reason"] and HYBRID.id in found["remedy"]
    world.state_dir.rename(world.directory / "lost")
    (found,) = of(doctor()[1], "error")
    assert (found["check"], found["subject"]) == ("orphans", HYBRID.id)
    assert "plug these again" in found["remedy"] and HYBRID.qbr in found["reason"]
    assert not world.state_dir.exists()


def test_daemon_sees_for_those_who_may_not_and_says_who_of_its_own_has_died(world: World, doctor: Any) -> None:
    world.directory.chmod(0o755)
    with Vifplugd(world, reader_users=str(doctor_faults.NOBODY)) as daemon:
        must_be_well(doctor())
        daemon.socket.chmod(0o666)
        nobody = Peer(uid=doctor_faults.NOBODY, gid=doctor_faults.NOBODY)
        status, diagnosis = nobody.ask(daemon, "GET", "/v1/doctor")
        assert (status, of(diagnosis, "error", "warning", "unseen")) == (200, [])
        helper = daemon.helper()
        os.kill(helper, signal.SIGKILL)
        wait_until(lambda: _has_another(daemon, helper), "another helper")
        code, diagnosis = doctor()
        assert (code, named(diagnosis, "warning")) == (0, {"daemon"})
        assert "the privileged helper ended" in of(diagnosis, "warning")[0]["reason"]
        with _frozen(daemon.helper()):
            code, diagnosis = doctor()
            assert (code, named(diagnosis, "error")) == (1, {"helper"})
        # Not the daemon, but this process: its own helper is well.
        assert named(doctor("--local")[1], "error") == set()


def _has_another(daemon: Vifplugd, helper: int) -> bool:
    try:
        return daemon.helper() not in (0, helper)
    except (ValueError, OSError):
        return False


def test_socket_without_a_listener_is_found_and_the_rest_is_examined(world: World, doctor: Any) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(world.directory / "vifplug.sock"))
    code, diagnosis = doctor()
    assert (code, named(diagnosis, "error", "unseen")) == (1, {"daemon"})


def test_unprivileged_user_gets_a_list_of_what_it_cannot_see(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
    world.directory.chmod(0o755)
    config = str(world.config_file)
    nobody = Peer(uid=doctor_faults.NOBODY, gid=doctor_faults.NOBODY)
    diagnosis = nobody.run(lambda: local_doctor.doctor(config).as_json())
    assert of(diagnosis, "error", "warning") == []
    unseen = named(diagnosis, "unseen")
    assert {"store", "helper", "ovsdb", "vifs", "firewall"} <= unseen
    assert all(each["reason"] for each in of(diagnosis, "unseen"))
    # A helper that was configured for it is meant to start.
    world.write_config(vifplug_privileged={"helper_command": "/bin/false"})
    diagnosis = nobody.run(lambda: local_doctor.doctor(config).as_json())
    assert named(diagnosis, "error") == {"helper"}


def test_host_info_is_the_same_with_and_without_a_daemon(world: World) -> None:
    alone = world.vifplug_json("host-info")
    assert set(alone["vif_types"]) >= {"bridge", "external", "ovs", "ovs-hybrid", "tap", "vhost-user"}
    assert (alone["integration_bridge"], alone["integration_bridge_datapath"]) == ("br-int", "netdev")
    (row,) = world.rows("Open_vSwitch", "datapath_types", "iface_types")
    assert {name: alone["ovs"][name] for name in row} == row
    assert alone["ovs"]["ovs_version"] in world.run("ovs-vswitchd", "--version").stdout
    assert alone["kernel"] == world.run("uname", "-r").stdout.strip()
    assert alone["daemon"] == {"answers": False, "socket": str(world.directory / "vifplug.sock")}
    with Vifplugd(world) as daemon:
        wait_until(lambda: daemon.request("GET", "/healthz")[1]["status"] == "ok", "OVSDB's first answer")
        reported = world.vifplug_json("host-info")
        assert reported.pop("daemon")["pid"] == daemon.worker()
        alone.pop("daemon")
        assert reported == alone
        assert set(daemon.request("GET", "/v1/host")[1]) == {*reported, "pid", "level", "keeper"}
    world.vsctl("set", "Open_vSwitch", ".", "ovs_version=9.9.9", "db_version=8.3.1")
    known = world.vifplug_json("host-info", "--local")["ovs"]
    assert (known["ovs_version"], known["db_version"]) == ("9.9.9", "8.3.1")
