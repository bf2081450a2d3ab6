"""Foreign devices under names that a request or a record carries; copied marks; marks that other programs changed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import device, document, stored, vif
from tests.support.network.relay import open_tap
from tests.support.world.world import World
from vifplug import errors
from vifplug.api.local import LocalHost
from vifplug.model.vif import Vif

OTHER = vif("ovs", 9)
COPY = "0000ffff-d1c4-4b1e-8a51-6f0e5c9d77aa"
FOREIGN = ("eth7", "docker0", "vpn0", "vx0", "macvtap0", "br-ex", "br-int", "tap-other")
TYPES = ("ovs", "ovs-hybrid", "bridge")


@pytest.fixture
def host(world: World) -> Iterator[LocalHost]:
    """The library, on a host with devices of other programs, and another VIF."""
    world.add_bridge("br-ex")
    world.ip("link", "add", "eth7", "type", "veth", "peer", "wire")
    world.ip("link", "add", "docker0", "type", "bridge")
    world.ip("link", "add", "vx0", "type", "vxlan", "id", "77", "dstport", "4789")
    world.ip("link", "add", "link", "eth7", "name", "macvtap0", "type", "macvtap", "mode", "bridge")
    world.ip("tuntap", "add", "vpn0", "mode", "tap")
    with vifplug.local(str(world.config_file)) as host:
        host.plug([OTHER])
        yield host


def named(name: str, vif_type: str, **more: Any) -> Vif:
    """A VIF whose VMM makes a tap of that name."""
    name = device("tap", OTHER) if name == "tap-other" else name
    return vif(vif_type, create_tap=False, names={"tap": name}, **more)


@pytest.mark.parametrize("vif_type", TYPES)
def test_foreign_device_is_no_guests_tap(world: World, host: LocalHost, vif_type: str) -> None:
    before = world.snapshot()
    for name in FOREIGN:
        one = named(name, vif_type)
        for attempt in (host.plan, host.plug):
            with pytest.raises(errors.Conflict) as caught:
                attempt([one])
            assert caught.value.subject == one.names.tap
        assert world.snapshot() == before
    answer = world.vifplug("-o", "json", "plug", "-", input=document([named("eth7", vif_type)]), check=False)
    assert (answer.returncode, json.loads(answer.stderr)["error"]["type"]) == (4, "Conflict")
    assert world.snapshot() == before
    assert named("eth7", vif_type).id not in str(stored(world))


@pytest.mark.parametrize("field", ["tap", "qbr", "qvb", "qvo"])
def test_foreign_device_is_none_of_our_links(world: World, host: LocalHost, field: str) -> None:
    before = world.snapshot()
    for name in ("eth7", "docker0", "vpn0", "vx0", "br-ex", device("tap", OTHER)):
        with pytest.raises(errors.Conflict):
            host.plug([vif("ovs-hybrid", create_tap=True, names={field: name})])
        assert world.snapshot() == before


WAITING = "0000dddd-d1c4-4b1e-8a51-6f0e5c9d77aa"


@pytest.mark.parametrize(
    "one",
    [
        vif("ovs", create_tap=True, names={"tap": "waits"}),
        vif("bridge", create_tap=True, names={"tap": "waits"}),
        vif("ovs-hybrid", create_tap=True, names={"tap": "waits"}),
        *(vif("ovs-hybrid", names={field: "waits"}) for field in ("qbr", "qvb", "qvo")),
        vif("bridge", network={"id": faults.NETWORK, "bridge": "waits"}, create_tap=True),
    ],
    ids=["ovs-tap", "bridge-tap", "hybrid-tap", "qbr", "qvb", "qvo", "network.bridge"],
)
def test_port_of_another_program_that_waits_for_its_device_gets_none_of_ours(world: World, one: Vif) -> None:
    """vswitchd opens the device as soon as it is there, and our guest is in the other port's network."""
    ids = f"external_ids:iface-id={WAITING}"
    world.vsctl("--no-wait", "add-port", "br-int", "waits", "--", "set", "Interface", "waits", ids)
    before = world.snapshot()
    answer = world.vifplug("-o", "json", "plug", "-", input=document([one]), check=False)
    error = json.loads(answer.stderr)["error"]
    assert (answer.returncode, error["type"], error["subject"]) == (4, "Conflict", "waits")
    assert world.snapshot() == before
    assert world.link("waits") is None


def test_networks_bridge_that_is_none_or_another_vifs_is_refused(world: World, host: LocalHost) -> None:
    hybrid = vif("ovs-hybrid", 8)
    host.plug([hybrid])
    before = world.snapshot()
    for name in ("eth7", "vpn0", "br-ex", "br-int", device("qbr", hybrid)):
        for makes in (True, False):
            with pytest.raises(errors.Conflict):
                host.plug([vif("bridge", network={"id": faults.NETWORK, "bridge": name}, create_tap=makes)])
    assert world.snapshot() == before


@pytest.mark.parametrize("kind", ["veth", "tap", "bridge"])
def test_device_that_appears_meanwhile_is_seen_by_the_helper(world: World, host: LocalHost, kind: str) -> None:
    one = named("web0", "ovs")
    before = {key for key in world.snapshot() if not key.startswith("link ")}

    def appear(_host: object) -> None:
        if kind == "tap":
            world.ip("tuntap", "add", "web0", "mode", "tap")
        else:
            world.ip("link", "add", "web0", "type", kind)

    with faults.at_the_one_call(appear), pytest.raises(errors.Conflict):
        host.plug([one])
    assert {key for key in world.snapshot() if not key.startswith("link ")} == before
    assert world.link("web0") is not None
    assert one.id not in str(stored(world))


def test_record_makes_no_foreign_device_a_port(world: World, host: LocalHost) -> None:
    one = named("web0", "ovs")
    host.plug([one])
    world.vsctl("del-port", "web0")
    world.ip("link", "set", "eth7", "name", "web0")
    before = world.snapshot()
    with pytest.raises(errors.Conflict):
        host.repair([one.id])
    answer = world.vifplug("repair", one.id, check=False)
    assert answer.returncode == 4, answer.stderr
    assert world.snapshot() == before
    host.unplug([one.id])
    assert world.snapshot() == before


@pytest.mark.parametrize("vif_type", TYPES)
@pytest.mark.parametrize("name", ["", "web0"])
def test_guests_own_tap_is_taken(world: World, host: LocalHost, vif_type: str, name: str) -> None:
    one = named(name, vif_type) if name else vif(vif_type, create_tap=False)
    tap = name or device("tap", one)
    with world.namespace.entered():
        descriptor = open_tap(tap)
    world.ip("link", "set", tap, "address", "fe" + one.address[2:], "up")
    host.plug([one])
    master = {"ovs": None, "ovs-hybrid": device("qbr", one), "bridge": faults.NETWORK_BRIDGE}[vif_type]
    if master:
        world.ip("link", "set", tap, "master", master)
    host.plug([one])
    assert host.check([one.id]).clean
    if vif_type != "ovs":
        # decision 0008: seen on its bridge, it goes back there
        host.repair([one.id])
        world.ip("link", "set", tap, "nomaster")
        host.repair([one.id])
        assert (world.link(tap) or {})["master"] == master
    host.unplug([one.id])
    assert world.link(tap) is not None
    os.close(descriptor)


# -- copied marks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_recorded", [True, False])
def test_port_with_a_copied_mark_is_named_and_never_changed(world: World, host: LocalHost, is_recorded: bool) -> None:
    owner = OTHER.id if is_recorded else COPY
    world.vsctl("add-port", "br-ex", "px", "--", "set", "Interface", "px", "type=patch", "options:peer=py")
    world.vsctl("set", "Port", "px", f"external_ids:vifplug-vif={owner}")
    world.vsctl("create", "QoS", "type=linux-htb", f"external_ids:vifplug-vif={owner}", "external_ids:theirs=1")
    kept = {key: row for key, row in world.snapshot().items() if key.endswith(" px")}
    assert kept
    result = world.vifplug("-o", "json", "check", check=False)
    assert result.returncode == 3, result
    orphans = json.loads(result.stdout)["orphans"]
    assert {(orphan["kind"], orphan["vif_id"]) for orphan in orphans} == {("ovs-port", owner), ("qos", owner)}
    assert host.gc(delete=True).deleted == ()
    host.plug([OTHER])
    host.repair([OTHER.id])
    world.ip("link", "set", device("tap", OTHER), "down")
    host.repair([OTHER.id])
    assert {key: row for key, row in world.snapshot().items() if key.endswith(" px")} == kept
    host.unplug([OTHER.id])
    assert {key: row for key, row in world.snapshot().items() if key.endswith(" px")} == kept
    assert world.row("Port", device("tap", OTHER)) is None
    (qos,) = world.rows("QoS", "external_ids")
    assert qos["external_ids"]["theirs"] == "1"


# -- marks that other programs changed ------------------------------------------------------------------------


def disguise(world: World, name: str, alias: str) -> None:
    """What another program does to a link's marks."""
    world.ip("link", "set", "dev", name, "alias", alias)
    world.ip("link", "set", "dev", name, "address", "02:00:00:00:00:42")


@pytest.mark.parametrize("alias", ["", "theirs"])
@pytest.mark.parametrize(
    "vif_type, prefix", [("ovs-hybrid", "qbr"), ("ovs-hybrid", "qvo"), ("ovs", "tap"), ("bridge", "tap")]
)
def test_unplug_ends_whatever_was_changed(world: World, vif_type: str, prefix: str, alias: str) -> None:
    before = world.snapshot()
    one = vif(vif_type)
    name = device(prefix, one)
    world.vifplug("plug", "-", input=document([one]))
    disguise(world, name, alias)
    if world.row("Port", name):
        world.vsctl("remove", "Port", name, "external_ids", "vifplug-vif")
        world.vsctl("set", "Interface", name, f"external_ids:iface-id={COPY}")
    result = world.vifplug("unplug", one.id)
    assert stored(world) == {}
    assert world.vifplug_json("list") == {"vifs": []}
    left = {key for key in world.snapshot() if key not in before}
    ends = {f"link {device(end, one)}" for end in ("qvb", "qvo")}
    # A network's bridge stays as long as a link that cannot be told from others' is on it.
    assert left <= {f"link {name}", f"Port {name}", f"Interface {name}", f"link {faults.NETWORK_BRIDGE}", *ends}
    for kind in ("link", "Port"):
        assert (f"{kind} {name}" in left) == (f"{kind.replace('Port', 'OVS port')} '{name}'" in result.stderr), (
            result.stderr
        )
    assert world.vifplug("unplug", one.id).stderr == ""


def test_helper_that_has_seen_the_mark_takes_away_what_lost_it(world: World) -> None:
    before = world.snapshot()
    with vifplug.local(str(world.config_file)) as host:
        for one in (vif("ovs-hybrid", 1), vif("ovs", 2), vif("bridge", 3)):
            host.plug([one])
            for prefix in ("qbr", "qvb", "qvo", "tap"):
                if world.link(device(prefix, one)):
                    disguise(world, device(prefix, one), "theirs")
            (report,) = host.unplug([one.id])
            assert (report.state, report.warnings) == ("unplugged", ())
            assert world.snapshot() == before
