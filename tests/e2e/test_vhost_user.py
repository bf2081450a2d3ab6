"""vhost-user VIFs on an Open vSwitch with DPDK: guests that talk, in both modes, and ports that drift."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Evidence
from tests.e2e.dpdk import DpdkWorld
from tests.e2e.guests import Guest, VhostUserGuest, must_talk
from tests.e2e.image import Image
from tests.e2e.judge import plug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.writes import watched
from tests.support.vifs import INSTANCE, MTU, NETWORK, Request, device, must_row
from tests.support.world.daemons import wait_until
from tests.support.world.ovn import SWITCH, Ovn
from tests.support.world.world import REPOSITORY

ONE, OTHER = "10.9.0.1/24", "10.9.0.2/24"
IDS = {
    "3fe5648f-4734-49a7-9fef-daa6f86f6799": "fa:16:3e:95:3a:3d",
    "4fe5648f-4734-49a7-9fef-daa6f86f6799": "fa:16:3e:95:3a:3e",
}
TYPES = {"server": "dpdkvhostuserclient", "client": "dpdkvhostuser"}
RESTARTS = {
    "server": [signal.SIGTERM, signal.SIGKILL],
    # An ovs-vswitchd that is killed leaves its sockets behind, and the next one cannot listen there.
    "client": [signal.SIGTERM],
}
_SECONDS = 60.0


@pytest.fixture
def world(evidence: Evidence) -> Iterator[DpdkWorld]:
    with DpdkWorld() as world:
        world.add_bridge("br-int")
        world.write_config(ovs={"vhostuser_socket_dir": str(world.sockets)})
        yield world
        evidence.keep_logs(world)


def requests(world: DpdkWorld, mode: str) -> list[Request]:
    return [
        Request(
            {
                "id": identity,
                "vif_type": "vhost-user",
                "address": address,
                "network": {"id": NETWORK, "mtu": MTU},
                "instance": {"uuid": INSTANCE},
                "vhost_user": {"socket": str(world.sockets / device("vhu", identity)), "mode": mode},
            }
        )
        for identity, address in IDS.items()
    ]


def interface(world: DpdkWorld, request: Request) -> dict[str, Any]:
    return must_row(world, "Interface", request.port)


def talk_again(one: Guest, other: Guest) -> None:
    """They do once each has its queues back."""
    wait_until(lambda: one.pings(other.ip, count=1), f"{one.name} to reach {other.name}", _SECONDS)
    wait_until(lambda: other.pings(one.ip, count=1), f"{other.name} to reach {one.name}", _SECONDS)
    must_talk(one, other, MTU)


@pytest.mark.parametrize("mode", TYPES)
def test_guests_talk_and_either_end_may_restart(world: DpdkWorld, image: Image, evidence: Evidence, mode: str) -> None:
    before = world.snapshot()
    sections = {"ovs": {"vhostuser_socket_dir": str(world.sockets)}}
    with Vifplugd(world, sections) as daemon:
        vifs = requests(world, mode)
        first, second = vifs
        plug(world, *vifs)
        for vif in vifs:
            row = interface(world, vif)
            assert (row["type"], row["mtu_request"], row["error"]) == (TYPES[mode], MTU, [])
            assert row["external_ids"]["iface-id"] == vif.id
        assert {vif["state"] for vif in daemon.vifs().values()} <= {"plugged", "wired"}
        with (
            VhostUserGuest(world, image, first, "one", ONE, evidence.log("one")) as one,
            VhostUserGuest(world, image, second, "other", OTHER, evidence.log("other")) as other,
        ):
            for guest in (one, other):
                guest.start()
            for guest, request in ((one, first), (other, second)):
                assert f"mac {request.address} mtu {MTU}" in guest.console.await_ready()
            talk_again(one, other)
            world.vifplug("wait", *IDS, "--for", "active", "--timeout", "20")
            evidence.note(world.vifplug("list").stdout)
            evidence.note(world.vsctl("--columns=name,type,options,mtu,mtu_request,link_state", "list", "Interface"))

            other.stop()
            wait_until(lambda: daemon.vifs()[second.id]["state"] == "wired", "the VIF of a guest that was killed")
            assert not one.pings(other.ip, count=1)
            assert world.vifplug_json("check")["clean"]
            other.start()
            other.console.await_ready()
            talk_again(one, other)

            for number in RESTARTS[mode]:
                world.stop_vswitchd(number)
                world.start_vswitchd()
                talk_again(one, other)
                wait_until(lambda: world.vifplug_json("check", check=False)["clean"], "what check says", _SECONDS)
                world.vifplug("wait", *IDS, "--for", "active", "--timeout", "20")
                evidence.note(f"{mode}: ovs-vswitchd ended by {number.name} and started again; the guests talk")
        world.vifplug("unplug", *IDS)
    assert world.snapshot() == before


def test_ovn_wires_the_ports_and_decides_what_their_guests_exchange(
    world: DpdkWorld, image: Image, evidence: Evidence
) -> None:
    vifs = requests(world, "server")
    first, second = vifs
    with (
        Ovn(world) as ovn,
        Vifplugd(world, {"ovs": {"vhostuser_socket_dir": str(world.sockets)}}) as daemon,
        VhostUserGuest(world, image, first, "one", ONE, evidence.log("one")) as one,
        VhostUserGuest(world, image, second, "other", OTHER, evidence.log("other")) as other,
    ):
        for request, address in ((first, ONE), (second, OTHER)):
            ovn.add_port(request.id, request.address, address.partition("/")[0])
        plug(world, *vifs, wait="wired")
        for request in vifs:
            assert ovn.claimant(request.id) == ovn.chassis.name
            assert interface(world, request)["external_ids"]["ovn-installed"] == "true"
        for guest in (one, other):
            guest.start()
        for guest in (one, other):
            guest.console.await_ready()
        talk_again(one, other)
        world.vifplug("wait", *IDS, "--for", "active", "--timeout", "20")
        evidence.note(world.vifplug("list").stdout)

        ovn.nbctl("--wait=hv", "acl-add", SWITCH, "to-lport", "1001", f'outport == "{second.id}" && icmp4', "drop")
        assert not one.pings(other.ip)
        ovn.nbctl("--wait=hv", "acl-del", SWITCH)
        talk_again(one, other)

        for guest in (one, other):
            guest.stop()
        world.vifplug("unplug", *IDS)
        wait_until(lambda: not any(ovn.claimant(vif.id) for vif in vifs), "OVN to release the ports")
        assert not daemon.vifs()


DRIFTS = {
    "type": ["type=dpdkvhostuser"],
    "options": ["options:vhost-server-path=/tmp/vhu0"],
    "mtu_request": ["mtu_request=9000"],
    "external_ids:iface-id": ["external_ids:iface-id=theirs"],
    "external_ids:attached-mac": ['external_ids:attached-mac="02:00:00:00:00:01"'],
}


def test_drift_of_each_column_is_named_and_repaired(world: DpdkWorld) -> None:
    vif = requests(world, "server")[0]
    before = world.snapshot()
    world.vifplug("plug", "-", input=vif.text)
    wanted = interface(world, vif)
    columns = ("type", "options", "mtu_request", "external_ids", "ofport", "error")
    for attribute, values in DRIFTS.items():
        world.vsctl("set", "Interface", vif.port, *values)
        (checked,) = world.vifplug_json("check", check=False)["vifs"]
        assert {item["attribute"] for item in checked["drift"]} == {attribute}, checked
        world.vifplug("repair", vif.id)
        row = interface(world, vif)
        assert {name: row[name] for name in columns} == {name: wanted[name] for name in columns}, attribute
        assert world.vifplug_json("check")["clean"]
    world.vsctl("del-port", vif.port)
    world.vifplug("repair", vif.id)
    assert interface(world, vif)["ofport"] > 0
    with watched(world) as writes:
        world.vifplug("plug", "-", input=vif.text)
        world.vifplug("repair", vif.id)
    assert writes.none, writes
    world.vifplug("unplug", vif.id)
    assert world.snapshot() == before


def begun(world: DpdkWorld) -> subprocess.Popen[str]:
    """A plug that reads its VIF from stdin, from the start of Python on."""
    pipe = subprocess.PIPE
    argv = world.vifplug_argv("plug", "-")
    return subprocess.Popen(argv, env=world.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_command_that_is_killed_leaves_all_or_nothing(world: DpdkWorld) -> None:
    vif = requests(world, "server")[0]
    before = world.snapshot()
    outcomes = set()
    began = time.monotonic()
    with begun(world) as command:
        command.communicate(vif.text)
    whole = time.monotonic() - began
    world.vifplug("unplug", vif.id)
    for part in range(8, 24):
        with begun(world) as command:
            assert command.stdin is not None
            command.stdin.write(vif.text)
            command.stdin.close()
            time.sleep(whole * part / 16)
            command.kill()
        world.vifplug("repair", "--all")
        vifs = world.vifplug_json("list")["vifs"]
        outcomes.add(len(vifs))
        assert (world.row("Port", vif.port) is not None) is bool(vifs)
        assert world.vifplug_json("check")["clean"]
        world.vifplug("unplug", vif.id)
        assert world.snapshot() == before
    assert outcomes == {0, 1}, "it was always too early or too late"


def test_replug_in_the_other_mode_and_with_another_mtu(world: DpdkWorld) -> None:
    before = world.snapshot()
    server, client = (requests(world, mode)[0] for mode in TYPES)
    for vif in (server, client.but(network={"mtu": 1400}), server):
        world.vifplug("plug", "-", input=vif.text)
        row, mode = interface(world, vif), vif.document["vhost_user"]["mode"]
        assert (row["type"], row["mtu_request"]) == (TYPES[mode], vif.document["network"]["mtu"])
        assert ("vhost-server-path" in row["options"]) is (mode == "server")
        assert row["ofport"] > 0
        assert world.vifplug_json("check")["clean"]
        assert (world.sockets / vif.port).exists() is (mode == "client")
    world.vifplug("unplug", server.id)
    assert world.snapshot() == before


def test_socket_that_a_killed_switch_left_stops_the_port_until_it_is_removed(world: DpdkWorld) -> None:
    vif = requests(world, "client")[0]
    before = world.snapshot()
    left = world.sockets / vif.port
    left.touch()
    result = world.vifplug("plug", "-", input=vif.text, check=False)
    assert (result.returncode, world.snapshot()) == (1, before), result.stderr
    assert "a socket that an ovs-vswitchd left" in result.stderr
    left.unlink()

    world.vifplug("plug", "-", input=vif.text)
    world.stop_vswitchd(signal.SIGKILL)
    world.start_vswitchd()
    (checked,) = world.vifplug_json("check", check=False)["vifs"]
    assert {item["attribute"] for item in checked["drift"]} == {"error", "ofport"}, checked
    assert world.vifplug("repair", vif.id, check=False).returncode == 1
    left.unlink()
    world.vifplug("repair", vif.id)
    assert world.vifplug_json("check")["clean"]
    assert interface(world, vif)["ofport"] > 0
    assert left.is_socket()
    world.vifplug("unplug", vif.id)
    assert world.snapshot() == before


def test_one_socket_for_two_vifs_is_a_conflict(world: DpdkWorld) -> None:
    one, other = requests(world, "server")
    same = other.but(vhost_user=one.document["vhost_user"])
    before = world.snapshot()
    result = world.vifplug("plug", "-", input=json.dumps([one.document, same.document]), check=False)
    assert (result.returncode, world.snapshot()) == (4, before), result.stderr
    world.vifplug("plug", "-", input=one.text)
    result = world.vifplug("plug", "-", input=same.text, check=False)
    assert result.returncode == 4
    assert f"is that of OVS interface '{one.port}'" in result.stderr
    world.vifplug("unplug", one.id)
    assert world.snapshot() == before


def test_sample_of_nova_plugs_and_unplugs(world: DpdkWorld) -> None:
    before = world.snapshot()
    (sample,) = json.loads((REPOSITORY / "tests/samples" / "nova_network_info_vhostuser_ovs.json").read_text())
    sample["details"]["vhostuser_socket"] = str(world.sockets / "vhu3fe5648f-47")
    (vif,) = world.vifplug_json("plug", "-", input=json.dumps([sample]))["vifs"]
    assert (vif["state"], vif["ports"][0]["name"], vif["devices"]) == ("plugged", "vhu3fe5648f-47", [])
    world.vifplug("unplug", vif["id"])
    assert world.snapshot() == before
