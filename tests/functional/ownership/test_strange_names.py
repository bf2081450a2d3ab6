"""Links of others whose names and aliases are any bytes: they stop nothing, and are printed safely."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

import vifplug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import BRIDGE, HYBRID, OVS, Request, library
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug.model import reports

NAMES = (b"\xff\xfe", b"x\xc3", b"a\x1b[31mb", b"a\x07b", b'q"\\', b"--help", b"\xe2\x80\xaee", b"<b>&amp;")
GARBAGE = bytes(range(1, 256))
"""An alias as long as the kernel takes it (IFALIASZ)."""


def ip(world: World, *words: str | bytes) -> str:
    """Iproute2 with words of any bytes."""
    with world.namespace.entered():
        done = subprocess.run(["ip", *words], capture_output=True, check=True, env=world.environment)
    return done.stdout.decode("utf-8", "surrogateescape")


def add_strangers(world: World, *, alias: bytes = GARBAGE) -> None:
    for number, name in enumerate(NAMES):
        ip(world, "link", "add", "name", name, "type", "veth", "peer", "name", f"far{number}")
        ip(world, "link", "set", "dev", name, "alias", alias[number:])


def link_named(world: World, name: str) -> Any:
    """One link beside others that ``World.link`` cannot read; None when it is not there."""
    listed = json.loads(ip(world, "-j", "link", "show"), strict=False)
    return next((link for link in listed if link["ifname"] == name), None)


def links_of_strangers(world: World) -> set[str]:
    listed = json.loads(ip(world, "-j", "link", "show"), strict=False)
    return {link["ifname"] for link in listed} & {os.fsdecode(name) for name in NAMES}


def said(world: World, *words: str, code: int = 0) -> str:
    """What a command prints: UTF-8 of one kind of line, with nothing a terminal would obey."""
    done = world.vifplug(*words, check=False)  # which decodes strictly
    assert done.returncode == code, (words, done.stdout, done.stderr)
    assert all(char.isprintable() or char == "\n" for char in done.stdout + done.stderr), (words, done)
    return done.stdout


def strictly(text: str) -> Any:
    """JSON as a strict parser takes it: no lone surrogates."""
    found = json.loads(text)
    json.dumps(found, ensure_ascii=False).encode()
    return found


def test_foreign_links_stop_no_verb(world: World) -> None:
    add_strangers(world)
    strangers = links_of_strangers(world)
    assert len(strangers) == len(NAMES)
    with library(world) as host:
        host.plug([HYBRID.vif, OVS.vif, BRIDGE.vif])
        assert host.check().clean
        assert host.gc().orphans == ()
    assert strictly(said(world, "check", "-o", "json"))["clean"]
    for words in (["list"], ["check"], ["gc"], ["gc", "--delete"], ["diagram", HYBRID.id], ["show", OVS.id]):
        said(world, *words)
    world.vifplug_json("doctor", check=False)
    with library(world) as host:
        host.unplug([HYBRID.id, OVS.id, BRIDGE.id])
    assert links_of_strangers(world) == strangers


@pytest.mark.parametrize("name", NAMES[:3])
def test_link_of_a_stranger_on_a_vifs_bridge_stops_neither_unplug_nor_the_next_plug(world: World, name: bytes) -> None:
    ip(world, "link", "add", "name", name, "type", "veth", "peer", "name", "far")
    with library(world) as host:
        host.plug([HYBRID.vif, BRIDGE.vif])
        for bridge in (HYBRID.qbr, BRIDGE.brq):
            ip(world, "link", "set", "dev", name, "master", bridge)
            assert host.check().clean
            host.plug([HYBRID.vif, BRIDGE.vif])
        host.unplug([HYBRID.id, BRIDGE.id])
        assert host.list() == []
        # A stranger's link keeps the network's bridge, and is left alone.
        assert link_named(world, BRIDGE.brq)
        ip(world, "link", "set", "dev", name, "nomaster")
        host.plug([BRIDGE.vif])
        host.unplug([BRIDGE.id])
    assert link_named(world, BRIDGE.brq) is None
    ip(world, "link", "show", "dev", name)


def put_into_a_strange_bridge(world: World, request: Request) -> str:
    """Take the VIF's end out of its bridge, into one whose name is no UTF-8."""
    ip(world, "link", "add", "name", b"br\xff", "type", "bridge")
    end = request.qvb if request is HYBRID else request.tap
    ip(world, "link", "set", "dev", end, "master", b"br\xff")
    return end


@pytest.mark.parametrize("request_", [HYBRID, BRIDGE], ids=["hybrid", "bridge"])
def test_drift_into_a_bridge_of_such_a_name_is_printed_and_put_right(world: World, request_: Request) -> None:
    with library(world) as host:
        host.plug([request_.vif])
    end = put_into_a_strange_bridge(world, request_)
    report = strictly(said(world, "-o", "json", "check", code=3))
    assert [(item["subject"], item["attribute"], item["observed"]) for item in report["vifs"][0]["drift"]] == [
        (end, "master", "br\\xff")
    ]
    for words, code in ((["check"], 3), (["show", request_.id], 0), (["list"], 0), (["diagram", request_.id], 0)):
        assert "br\\xff" in said(world, *words, code=code) or words[0] == "list"
    strictly(said(world, "-o", "json", "show", request_.id))
    assert strictly(said(world, "-o", "json", "repair", request_.id))["vifs"][0]["error"] is None
    with library(world) as host:
        assert host.check().clean


def test_daemon_keeps_vifs_beside_such_links_and_its_log_is_json(world: World) -> None:
    with Vifplugd(world) as daemon:
        world.vifplug("plug", "-", input=HYBRID.text)
        add_strangers(world)
        put_into_a_strange_bridge(world, HYBRID)
        wait_until(lambda: link_named(world, HYBRID.qvb).get("master") == HYBRID.qbr, "the repair", 20)
        with vifplug.connect(str(world.directory / "vifplug.sock")) as host:
            assert host.check().clean
            assert host.get(HYBRID.id).state in reports.STATES
            events = list(host.events())
        assert events
        for line in daemon.log().splitlines():
            strictly(line)


def test_row_with_a_name_that_no_link_can_have_stops_no_verb(world: World) -> None:
    with library(world) as host:
        host.plug([OVS.vif])
        for number, name in enumerate(("a name that is longer than a link's", "tab\there", "a%d", "é" * 9)):
            world.vsctl("--no-wait", "add-port", "br-int", name)
            ids = f"external_ids:vifplug-vif={OVS.id}" if number else "external_ids:x=y"
            world.vsctl("--no-wait", "set", "Port", name, ids)
        assert [vif.id for vif in host.list()] == [OVS.id]
        host.check([OVS.id])
        host.get(OVS.id)
        host.path(OVS.id)


def test_altname_of_a_foreign_link_is_a_conflict(world: World) -> None:
    ip(world, "link", "add", "name", "eth7", "type", "veth", "peer", "name", "far7")
    ip(world, "link", "property", "add", "dev", "eth7", "altname", BRIDGE.tap)
    before = world.snapshot()
    result = world.vifplug("plug", "-", input=BRIDGE.text, check=False)
    assert result.returncode == 4
    assert BRIDGE.tap in result.stderr
    assert world.snapshot() == before


def test_name_of_an_instance_is_printed_on_one_line(world: World) -> None:
    name = "\x1b[2J\n\u202e\ud7ffweb"
    document = HYBRID.but(instance={"name": name})
    world.vifplug("plug", "-", input=document.text)
    for words in (["list"], ["show", HYBRID.id], ["diagram", HYBRID.id], ["diagram", HYBRID.id, "--format", "dot"]):
        said(world, *words)
    assert strictly(said(world, "-o", "json", "show", HYBRID.id))["instance"]["name"] == name
