"""Rows and devices of ours that other programs change or make anew: repaired in fact, and never wider than before."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

import vifplug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import BRIDGE, HYBRID, OVS, Request, library, must_link, must_row
from tests.support.world.world import World
from vifplug.api.local import LocalHost

_DEADLINE_SECONDS = 60.0

WAYS: dict[str, Callable[[World, Request], object]] = {
    "deleted": lambda world, request: world.vsctl("del-port", request.port),
    "deleted and made again": lambda world, request: world.vsctl(
        "del-port", request.port, "--", "add-port", "br-int", request.port
    ),
    "deleted with its bridge": lambda world, request: world.vsctl(
        *("del-br", "br-int", "--", "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    ),
}


def vlans(world: World, request: Request) -> tuple[object, object, object]:
    row = must_row(world, "Port", request.port)
    return row["tag"], row["vlan_mode"], row["trunks"]


def eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + _DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < until, "not in time"
        time.sleep(0.1)


LOOKS: dict[str, Callable[[LocalHost], object]] = {
    "list": lambda host: host.list(),
    "show": lambda host: host.get(HYBRID.id),
    "check of all": lambda host: host.check(),
    "check": lambda host: host.check([HYBRID.id]),
    "diagram": lambda host: host.path(HYBRID.id),
}


@pytest.mark.parametrize("look", LOOKS)
def test_vlans_that_a_command_saw_are_restored_without_a_daemon(world: World, look: str) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.vsctl("set", "Port", HYBRID.port, "tag=100")
        LOOKS[look](host)
        WAYS["deleted and made again"](world, HYBRID)
        LOOKS[look](host)  # the new row says nothing of the VLANs of the old one
        host.repair([HYBRID.id])
        assert vlans(world, HYBRID) == (100, [], [])
        assert host.check().clean


@pytest.mark.parametrize("way", WAYS)
def test_port_made_again_gets_the_vlans_it_was_last_seen_with(world: World, way: str) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.vsctl("set", "Port", HYBRID.port, "tag=100", "vlan_mode=native-tagged", "trunks=7,8")
        host.plug([HYBRID.vif])  # sees them
        WAYS[way](world, HYBRID)
        assert not host.check([HYBRID.id]).clean
        host.repair([HYBRID.id])
        assert vlans(world, HYBRID) == (100, "native-tagged", [7, 8])
        assert host.check().clean
    noted = {event["note"] for event in world.vifplug_json("events")["events"] if event["note"]}
    words = "tag 100, vlan_mode native-tagged, trunks 7,8 as last seen"
    assert noted == {f"port {HYBRID.port} restored with {words}"}


def test_daemon_sees_a_tag_when_it_is_set_and_restores_it(world: World) -> None:
    with Vifplugd(world) as daemon, vifplug.connect(str(daemon.socket)) as host:
        host.plug([OVS.vif])
        world.vsctl("set", "Port", OVS.port, "tag=100")

        def restored() -> bool:
            row = world.row("Port", OVS.port)
            return row is not None and row["tag"] == 100

        time.sleep(2)  # it is told of the change, and looks
        world.vsctl("del-port", OVS.port)
        eventually(restored)
        eventually(lambda: "with tag 100 as last seen" in daemon.log())  # it logs a repair when it has seen the result


def test_port_that_neutrons_agent_wires_comes_back_dead(world: World) -> None:
    world.vsctl("set-fail-mode", "br-int", "secure", "--", "set-controller", "br-int", "tcp:127.0.0.1:6633")
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.vsctl("set", "Port", HYBRID.port, "tag=3", "other_config:net_uuid=x")
        host.plug([HYBRID.vif])
        world.vsctl("del-port", HYBRID.port)
        host.repair([HYBRID.id])
    assert vlans(world, HYBRID) == (4095, "trunk", 4095)


def test_interface_in_a_foreign_bond_is_a_conflict_that_names_the_port(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
    world.ip("link", "add", "eth9", "type", "veth", "peer", "eth9p")
    world.vsctl("del-port", HYBRID.port)
    world.vsctl("add-bond", "br-int", "bond0", HYBRID.port, "eth9")
    before = must_row(world, "Port", "bond0")["_uuid"]
    for words in (("repair", HYBRID.id), ("plug", "-")):
        result = world.vifplug(*words, input=HYBRID.text, check=False)
        assert result.returncode == 4, result
        assert "'bond0'" in result.stderr and "Transaction" not in result.stderr
    checked = world.vifplug("-o", "json", "check", check=False)
    assert checked.returncode == 3
    (item,) = json.loads(checked.stdout)["vifs"][0]["drift"]
    assert item["subject"] == HYBRID.port and "bond0" in item["observed"]
    assert "bond0" in world.vifplug("diagram", HYBRID.id, check=False).stdout
    assert must_row(world, "Port", "bond0")["_uuid"] == before
    world.vsctl("del-port", "bond0")
    world.vifplug("repair", HYBRID.id)
    world.vifplug("check")


def test_tap_made_again_with_other_queues_is_adopted_and_made_anew(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.vif])
        world.ip("link", "delete", OVS.tap)
        world.ip("tuntap", "add", OVS.tap, "mode", "tap", "multi_queue")
        host.repair([OVS.id])
        assert host.check().clean
        found = world.link(OVS.tap)
        assert found is not None and not found["linkinfo"]["info_data"]["multi_queue"]
        assert found["ifalias"] == f"vifplug:{OVS.id}"


def test_columns_of_ours_are_emptied_and_those_of_a_control_plane_kept(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.vsctl("set", "Interface", HYBRID.port, "mtu_request=1300", "options:x=y")
        world.vsctl("set", "Port", HYBRID.port, "tag=7", "other_config:theirs=1", "external_ids:theirs=1")
        host.repair([HYBRID.id])
        interface, port = must_row(world, "Interface", HYBRID.port), must_row(world, "Port", HYBRID.port)
        assert (interface["mtu_request"], interface["options"]) == ([], {})
        assert (port["tag"], port["other_config"]) == (7, {"theirs": "1"})
        assert port["external_ids"]["theirs"] == "1"
        found = world.link(HYBRID.qvo)
        assert found is not None and found["mtu"] == 1450


_READ_ONLY = 'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"'


def test_read_only_sysctls_that_are_right_hinder_nothing(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
    world.ip("link", "set", HYBRID.qvo, "down")
    # Below 1280 a link has no IPv6; with its MTU it gets its sysctls anew, which are set whatever they are then.
    for key in ("default", "all"):
        world.run("sh", "-c", f"echo 1 > /proc/sys/net/ipv6/conf/{key}/disable_ipv6")
        world.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{key}/accept_ra")
    world.ip("link", "set", HYBRID.qvb, "mtu", "1200")
    command = ("unshare", "-m", "sh", "-c", _READ_ONLY, "-", *world.vifplug_argv("repair", HYBRID.id))
    world.run(*command)
    world.vifplug("check")


def test_read_only_sysctls_that_are_wrong_are_an_error_that_names_the_mount(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
    world.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{HYBRID.qvo}/disable_ipv6")
    command = ("unshare", "-m", "sh", "-c", _READ_ONLY, "-", *world.vifplug_argv("repair", HYBRID.id))
    result = world.run(*command, check=False)
    assert result.returncode == 1 and "/proc/sys is mounted read-only" in result.stderr


def test_doctor_names_what_is_set_on_things_that_are_not_ours(world: World) -> None:
    with library(world) as host:
        host.plug([HYBRID.vif])
        world.ip("tuntap", "add", HYBRID.tap, "mode", "tap")
        world.ip("link", "set", HYBRID.tap, "master", HYBRID.qbr, "up")
        world.run("bridge", "link", "set", "dev", HYBRID.tap, "isolated", "on")
        world.vsctl("set", "Bridge", "br-int", "rstp_enable=true")
        world.vsctl("set", "Interface", HYBRID.port, "ingress_policing_rate=1")
        assert host.check().clean
        found = {each.subject: each.reason for each in host.doctor().findings if each.check == "obstacles"}
    assert "bridge_port:isolated is 1" in found[HYBRID.tap]
    assert "RSTP" in found["br-int"]
    assert "1 kbit/s" in found[HYBRID.port]
    assert world.run("bridge", "-d", "link", "show", "dev", HYBRID.tap).stdout.count("isolated on") == 1


def test_doctor_names_mirrors_of_our_ports_and_into_them(world: World) -> None:
    def found() -> dict[str, tuple[str, str]]:
        output = host.doctor().findings
        return {each.subject: (each.status, each.reason) for each in output if each.check == "mirrors"}

    with library(world) as host:
        host.plug([HYBRID.vif])
        for name in ("other", "sink"):
            world.vsctl("add-port", "br-int", name, "--", "set", "Interface", name, "type=internal")
        out = ("--", "--id=@out", "get", "Port")
        mirror = ("--", "--id=@m", "create", "Mirror")
        put = ("--", "add", "Bridge", "br-int", "mirrors", "@m")
        other = ("--", "--id=@other", "get", "Port", "other")
        world.vsctl(*out, "sink", *other, *mirror, "name=theirs", "select_src_port=@other", "output_port=@out", *put)
        assert found() == {"": ("ok", "")}
        own = ("--", "--id=@own", "get", "Port", HYBRID.port)
        world.vsctl(*out, "sink", *own, *mirror, "name=span", "select_dst_port=@own", "output_port=@out", *put)
        assert found() == {"span": ("warning", f"it copies frames of VIF {HYBRID.id} to port sink of br-int")}
        world.vsctl(*out, HYBRID.port, *mirror, "name=into", "select_all=true", "output_port=@out", *put)
        assert found()[HYBRID.port][0] == "error" and "mirror 'into' of br-int" in found()[HYBRID.port][1]
        # What is to be done about it works.
        (remedy,) = (each.remedy for each in host.doctor().findings if each.subject == HYBRID.port)
        world.vsctl(*remedy.partition("ovs-vsctl ")[2].split())
        assert list(found()) == ["span"]
        assert host.check().clean


def test_doctor_names_a_networks_bridge_that_another_program_made_again_and_left_down(world: World) -> None:
    with library(world) as host:
        host.plug([BRIDGE.vif])
        world.ip("link", "delete", BRIDGE.brq)
        world.ip("link", "add", BRIDGE.brq, "type", "bridge")
        host.repair([BRIDGE.id])
        found = {each.subject: each.reason for each in host.doctor().findings if each.check == "obstacles"}
        assert "up is False" in found[BRIDGE.brq]
        world.ip("link", "set", BRIDGE.brq, "up")
        assert not [each for each in host.doctor().findings if each.check == "obstacles" and each.subject]


def test_doctor_sees_vlans_and_writes_nothing(world: World) -> None:
    world.vifplug("plug", "-", input=HYBRID.text)
    world.vsctl("set", "Port", HYBRID.port, "tag=100")
    result = world.vifplug("-o", "json", "doctor", check=False)
    (found,) = [check for check in json.loads(result.stdout)["checks"] if check["check"] == "vifs"]
    assert found["status"] == "ok" and not result.stderr, result


@pytest.mark.parametrize("verb", ["plug", "repair"])
def test_tap_that_vswitchd_deletes_with_the_type_internal_is_made_again(world: World, verb: str) -> None:
    """vswitchd takes an idle tap for one of its own making, and deletes it once the type is right again."""
    world.vifplug("plug", "-", input=OVS.text)
    before = must_link(world, OVS.tap)
    world.vsctl("set", "Interface", OVS.port, "type=internal")
    assert not world.vifplug_json("check", check=False)["clean"]
    if verb == "plug":
        world.vifplug("plug", "-", input=OVS.text)
    else:
        world.vifplug("repair", OVS.id)
    after, row = must_link(world, OVS.tap), must_row(world, "Interface", OVS.port)
    assert (row["type"], row["error"]) == ("", []) and row["ofport"] > 0
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed <= {"ifindex"}, {key: (before.get(key), after.get(key)) for key in changed}
    assert world.vifplug_json("check")["clean"]
