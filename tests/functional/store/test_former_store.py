"""A store that vifplug wrote at commit 9495f80, over devices as it made them: read, kept, repaired and unplugged.

``ip``, ``ethtool`` and ``ovs-vsctl`` make the devices, with the names, marks, addresses and numbers of the records.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.network.writes import watched
from tests.support.vifs import BRIDGE, HYBRID, MTU, OVS, must_link
from tests.support.world.world import World

REQUESTS = (HYBRID, OVS, BRIDGE)
SAMPLE = "store_9495f80.sql"


def _recorded(database: sqlite3.Connection) -> list[dict[str, Any]]:
    bodies = [json.loads(body) for (body,) in database.execute("SELECT body FROM records")]
    return [resource for body in bodies for resource in body["resources"]]


def _make_link(world: World, link: dict[str, Any], kind: str, *options: str) -> None:
    name, index = link["name"], ("index", str(link["ifindex"]))
    world.ip("link", "add", name, *index, "address", link["address"], "mtu", str(link["mtu"]), "type", kind, *options)


def _make_tap(world: World, tap: dict[str, Any]) -> None:
    world.run("ip", "tuntap", "add", tap["name"], "mode", "tap", "vnet_hdr")
    world.ip("link", "set", tap["name"], "address", tap["address"], "mtu", str(tap["mtu"]))
    # /dev/net/tun takes no index; a new namespace numbers its links from 1, as the one did that the store is of.
    assert must_link(world, tap["name"])["ifindex"] == tap["ifindex"]


def _make_bridge(world: World, bridge: dict[str, Any]) -> None:
    ageing = ("ageing_time", str(bridge["ageing_time"])) if "ageing_time" in bridge else ()
    _make_link(world, bridge, "bridge", *("stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"), *ageing)


def _make_veth(world: World, near: dict[str, Any], far: dict[str, Any]) -> None:
    peer = ("peer", "name", far["name"], "index", str(far["ifindex"]), "address", far["address"], "mtu", str(MTU))
    _make_link(world, near, "veth", *peer)


def _configure(world: World, link: dict[str, Any]) -> None:
    name = link["name"]
    world.ip("link", "set", name, "alias", link["alias"])
    for family, key in (
        ("ipv6", "disable_ipv6"),
        ("ipv6", "accept_ra"),
        ("ipv4", "arp_ignore"),
        ("ipv4", "arp_announce"),
    ):
        if key in link:
            world.run("sh", "-c", f"echo {int(link[key])} > /proc/sys/net/{family}/conf/{name}/{key}")
    if link.get("tx_checksum") is False:
        world.run("ethtool", "-K", name, "tx", "off")
    if link.get("master"):
        world.ip("link", "set", name, "master", link["master"])
    if link.get("promiscuous"):
        world.ip("link", "set", name, "promisc", "on")
    world.ip("link", "set", name, "up")


def _make_port(world: World, port: dict[str, Any]) -> str:
    ids = [f"external_ids:{key}={json.dumps(value)}" for key, value in port["iface_ids"].items()]
    mark = f"external_ids:vifplug-vif={port['owner']}"
    name = port["name"]
    world.vsctl(
        *("add-port", port["bridge"], name, "--", "set", "Port", name, mark, "--", "set", "Interface", name, *ids)
    )
    return str(world.vsctl("get", "Port", name, "_uuid"))


def _make_all(world: World, resources: list[dict[str, Any]]) -> dict[str, str]:
    """Make what the records hold; the rows' ids, which OVSDB chooses, by the recorded ids."""
    links = {link["name"]: link for link in resources if link["kind"] != "ovs-port"}
    for name in (OVS.tap, BRIDGE.tap):
        _make_tap(world, links[name])
    for name in (HYBRID.qbr, BRIDGE.brq):
        _make_bridge(world, links[name])
    _make_veth(world, links[HYBRID.qvb], links[HYBRID.qvo])
    for link in links.values():
        _configure(world, link)
    return {port["uuid"]: _make_port(world, port) for port in resources if port["kind"] == "ovs-port"}


@pytest.fixture
def former(world: World, samples: Path) -> dict[str, Any]:
    """The world as the former vifplug left it; the snapshot from before."""
    before = world.snapshot()
    world.state_dir.mkdir(mode=0o700)
    with closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database:
        database.executescript((samples / SAMPLE).read_text())
        for recorded, made in _make_all(world, _recorded(database)).items():
            database.execute("UPDATE records SET body = replace(body, ?, ?)", (recorded, made))
        database.commit()
    return before


def test_records_of_a_former_store_are_read(world: World, former: dict[str, Any]) -> None:
    vifs = {vif["id"]: vif for vif in world.vifplug_json("list")["vifs"]}
    assert vifs.keys() == {request.id for request in REQUESTS} and former
    for request in REQUESTS:
        vif = vifs[request.id]
        assert (vif["vif_type"], vif["address"], vif["mtu"]) == (request.type, request.address, MTU)
        assert (vif["state"], vif["error"], vif["instance"]) == (
            "wired",
            None,
            request.document["instance"] | {"name": None},
        )
    names = {device["name"] for vif in vifs.values() for device in vif["devices"]}
    assert names == {HYBRID.qbr, HYBRID.qvb, HYBRID.qvo, OVS.tap, BRIDGE.tap, BRIDGE.brq}
    assert {port["name"] for vif in vifs.values() for port in vif["ports"]} == {HYBRID.qvo, OVS.tap}
    events = world.vifplug_json("events")["events"]
    assert [(event["seq"], event["state"]) for event in events] == [
        (n, ("plugged", "wired")[(n - 1) % 2]) for n in range(1, 7)
    ]


def test_vifs_of_a_former_store_are_kept_by_a_plug_without_a_write(world: World, former: dict[str, Any]) -> None:
    assert former
    assert world.vifplug_json("check")["clean"]
    with watched(world) as writes:
        for request in REQUESTS:
            world.vifplug("plug", "-", input=request.text)
    assert writes.none, writes
    assert world.vifplug_json("check")["clean"]


def test_drift_of_a_former_stores_vif_is_repaired(world: World, former: dict[str, Any]) -> None:
    whole = world.snapshot()
    assert whole != former
    world.ip("link", "set", HYBRID.qvo, "mtu", "1400")
    world.ip("link", "set", BRIDGE.tap, "nomaster")
    world.vsctl("remove", "Interface", OVS.tap, "external_ids", "iface-id")
    drifted = {vif["id"] for vif in world.vifplug_json("check", check=False)["vifs"] if vif["drift"]}
    assert drifted == {request.id for request in REQUESTS}
    world.vifplug("repair", "--all")
    assert world.snapshot() == whole
    assert world.vifplug_json("check")["clean"]


def test_vifs_of_a_former_store_are_unplugged(world: World, former: dict[str, Any]) -> None:
    states = {vif["id"]: vif["state"] for vif in world.vifplug_json("unplug", *(each.id for each in REQUESTS))["vifs"]}
    assert states == {request.id: "unplugged" for request in REQUESTS}
    assert world.snapshot() == former
    assert world.vifplug_json("list")["vifs"] == []
    with closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database:
        left = [database.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("records", "claims")]
    assert left == [(0,), (0,)]
