"""A captured worker: well-formed calls straight to the helper, on things that are not ours, change nothing.

Every call is one that an honest worker might send, with names, owners, MACs and numbers that are right for its victim:
a captured worker can read all of them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import vifplug
from tests.support.faults import faults
from tests.support.faults.faults import device, vif
from tests.support.network.relay import open_tap
from tests.support.world.daemons import wait_until
from tests.support.world.world import World
from vifplug import errors, naming
from vifplug.api.local import LocalHost

NOVA, AGENT_NET = "0000aaaa-d1c4-4b1e-8a51-6f0e5c9d77aa", "0000bbbb-d1c4-4b1e-8a51-6f0e5c9d77aa"
LIBVIRT, COPY = "0000cccc-d1c4-4b1e-8a51-6f0e5c9d77aa", "0000ffff-d1c4-4b1e-8a51-6f0e5c9d77aa"
MINE, VICTIM = vif("ovs-hybrid", 1), vif("ovs", 2)
SECONDS = 20.0
KINDS = {"qbr": "bridge", "qvb": "veth", "qvo": "veth", "brq": "bridge", "tap": "tap"}


SETTINGS: tuple[dict[str, Any], ...] = (
    *({"type": kind} for kind in ("internal", "dpdk", "patch", 7)),
    *(
        {"options": {"vhost-server-path": path}}
        for path in ("/run/docker.sock", "/var/lib/vhost_sockets/../../../x", "x")
    ),
    *({"options": {"vhost-server-path": "/var/lib/vhost_sockets/x", key: "y"}} for key in ("peer", "n_rxq")),
    *({"options": value} for value in ({"dpdk-devargs": "0000:00:1f.6"}, {}, None, "x")),
    *({"mtu_request": value} for value in (67, 65536, True, "1500")),
    *({name: "x"} for name in ("mac", "name", "lacp", "tag", "")),
)
"""Columns that are another program's, and values that no port of ours has."""


def name_of(prefix: str, identity: str) -> str:
    """Nova's rule, spelled here once more."""
    return (prefix + identity.removeprefix("net:"))[:14]


@pytest.fixture
def host(world: World) -> Iterator[LocalHost]:
    """The library, with a helper of its own, and two VIFs of ours among the things of other programs."""
    with vifplug.local(str(world.config_file)) as host:
        others(world)
        host.plug([MINE, VICTIM])
        yield host


def others(world: World) -> None:
    """What os-vif and Nova, the Linux bridge agent, libvirt, a VPN, Docker and an operator have on a host."""
    world.add_bridge("br-ex")
    qbr, qvb, qvo = (name_of(prefix, NOVA) for prefix in ("qbr", "qvb", "qvo"))
    world.ip("link", "add", qbr, "type", "bridge")
    world.ip("link", "add", qvb, "type", "veth", "peer", qvo)
    world.ip("link", "set", qvb, "master", qbr)
    ids = (f"external_ids:iface-id={NOVA}", r"external_ids:attached-mac=fa\:16\:3e\:00\:00\:77")
    world.vsctl("add-port", "br-int", qvo, "--", "set", "Interface", qvo, *ids)
    world.ip("link", "add", name_of("brq", AGENT_NET), "type", "bridge")
    late = name_of("tap", LIBVIRT)
    ids = (f"external_ids:iface-id={LIBVIRT}", "external_ids:iface-status=active")
    world.vsctl("--no-wait", "add-port", "br-int", late, "--", "set", "Interface", late, *ids)
    for tap, mac in (("vpn0", "02:11:22:33:44:55"), ("vmtap0", "fe:16:3e:00:00:66"), (late, "fe:16:3e:00:00:68")):
        world.ip("tuntap", "add", tap, "mode", "tap", "vnet_hdr")
        world.ip("link", "set", tap, "address", mac)
    world.ip("link", "add", "docker0", "type", "bridge")
    world.ip("link", "add", "eth7", "type", "veth", "peer", "wire")
    world.ip("link", "add", "vx0", "type", "vxlan", "id", "77", "dstport", "4789")
    world.vsctl("add-port", "br-ex", "px", "--", "set", "Interface", "px", "type=patch", "options:peer=py")
    world.vsctl("set", "Port", "px", f"external_ids:vifplug-vif={COPY}")
    world.vsctl("create", "QoS", "type=linux-htb", f"external_ids:vifplug-vif={MINE.id}", "external_ids:theirs=1")


def identity(name: str, owner: str, role: str, world: World) -> dict[str, Any]:
    """What an honest worker sends with each operation on a link, with everything that it could know of this one."""
    link = world.link(name) or {}
    address = link.get("address", "02:00:00:00:00:01")
    return {"name": name, "owner": owner, "role": role, "birth_address": address, "ifindex": link.get("ifindex")}


def foreign_links() -> Iterator[tuple[str, str, str]]:
    """Name, owner and role of every link that is not ours, claimed as well as it can be."""
    yield from ((name_of(prefix, NOVA), NOVA, prefix) for prefix in ("qbr", "qvb", "qvo"))
    yield name_of("brq", AGENT_NET), f"net:{AGENT_NET}", "brq"
    yield name_of("tap", LIBVIRT), LIBVIRT, "tap"
    for name in ("vpn0", "vmtap0", "br-int", "br-ex", "ovs-netdev"):
        yield from ((name, owner, "tap") for owner in (MINE.id, COPY))
    yield from (("docker0", MINE.id, "qbr"), ("docker0", f"net:{AGENT_NET}", "brq"), ("eth7", MINE.id, "qvo"))
    yield from (("vx0", MINE.id, "tap"), ("lo", MINE.id, "tap"), (device("tap", VICTIM), MINE.id, "tap"))


def link_calls(world: World) -> Iterator[dict[str, Any]]:
    """Deletions, settings, adoptions and joins."""
    for name, owner, role in foreign_links():
        own = identity(name, owner, role, world)
        for adopt in (False, True):
            yield {"op": "delete", "links": [{**own, "adopt": adopt, "spare_members": False}]}
            values = {"alias": f"vifplug:{owner}", "mtu": 1400, "up": False}
            yield {"op": "set", **own, "adopt": adopt, "values": values, "multiqueue": False}
            yield {"op": "set", **own, "adopt": adopt, "values": {"master": device("qbr", MINE)}, "multiqueue": False}
        for new in ("fresh", name_of(role, owner), device("tap", MINE)):
            yield {"op": "rename", **own, "to": new}
    for role in ("qbr", "qvb", "qvo"):
        own = identity(device(role, MINE), MINE.id, role, world)
        for new in (device("tap", VICTIM), name_of("tap", COPY), name_of("qvo", COPY), "eth7", "docker0", "vif%d"):
            yield {"op": "rename", **own, "to": new}
    tap = identity(device("tap", VICTIM), VICTIM.id, "tap", world)
    for vlan in (0, 4095, -1, True, "5", "1-4094 tagged"):  # the last one is a network's uplink's
        yield {"op": "set", **tap, "adopt": False, "values": {"bridge_vlan": vlan}, "multiqueue": False}
    bridge = identity(device("qbr", MINE), MINE.id, "qbr", world)
    for guest in ("br-int", "br-ex", "ovs-netdev", "vpn0", "vmtap0", "eth7", "docker0", device("tap", VICTIM)):
        link = world.link(guest)
        if link is None:
            continue
        for address in ("", MINE.address, "02:" + link["address"][3:]):
            join = {"op": "join", **bridge, "guest": guest, "guest_ifindex": link["ifindex"], "guest_address": address}
            yield from ({**join, "vif_id": whose} for whose in (MINE.id, VICTIM.id))


def creations(world: World) -> Iterator[dict[str, Any]]:
    """Links that would be born into foreign bridges, or under roles and MACs that are not theirs."""
    spare = "0000eeee-d1c4-4b1e-8a51-6f0e5c9d77aa"
    for master in ("docker0", name_of("brq", AGENT_NET), name_of("qbr", NOVA), device("qbr", MINE), "br-int", "eth7"):
        ends = [
            {"name": name_of(role, spare), "owner": spare, "role": role, "birth_address": mac, "address": mac}
            for role in ("qvb", "qvo")
            for mac in [birth(spare, role)]
        ]
        near, far = ({**end, "mtu": 1500, "master": None} for end in ends)
        yield {"op": "create-veth", "ends": [{**near, "master": master}, far]}
        yield {"op": "create-veth", "ends": [near, {**far, "master": master}]}
    made = {"op": "create-bridge", "name": "made", "owner": MINE.id, "role": "qbr", "mtu": 1500}
    yield {**made, "address": "02:00:00:00:00:09"}
    yield {**made, "address": birth(MINE.id, "qbr"), "owner": f"net:{AGENT_NET}"}
    yield {**made, "name": "vif%d", "address": birth(MINE.id, "qbr")}
    yield {**made, "op": "create-tap", "role": "tap", "name": "tap%d", "address": MINE.address, "multiqueue": False}
    own = identity(device("qvb", MINE), MINE.id, "qvb", world)
    for master in ("docker0", name_of("qbr", NOVA), name_of("brq", AGENT_NET)):
        yield {"op": "set", **own, "adopt": False, "values": {"master": master}, "multiqueue": False}


def birth(owner: str, role: str) -> str:
    """The MAC that a link is created with."""
    return naming.birth_address(owner, role)


def row_calls(world: World) -> Iterator[dict[str, Any]]:
    """Rows of others, claimed by their own iface-id, by a copied mark, or put on foreign devices."""
    nova, late, mine = name_of("qvo", NOVA), name_of("tap", LIBVIRT), device("qvo", MINE)
    for name, owner in ((nova, NOVA), (late, LIBVIRT), ("px", COPY), ("br-int", MINE.id)):
        found = world.row("Port", name)
        own = {"name": name, "owner": owner, "uuid": found["_uuid"] if found else ""}
        yield {"op": "delete", **own}
        yield {"op": "delete", **own, "as_added": True} if name != "px" else {"op": "", **own}
        yield {"op": "move", **own, "bridge": "br-ex"}
        yield {"op": "reattach", **own}
        yield {"op": "set", **own, "iface_ids": {"iface-id": owner}, "external_ids": {"vifplug-vif": owner}}
        yield {"op": "set", **own, "iface_ids": {}, "external_ids": {"vifplug-vif": None}}
        yield {"op": "set", **own, "iface_ids": {}, "own_vlans": {"tag": 5, "vlan_mode": "access", "trunks": []}}
    ours = {"op": "set", "name": mine, "owner": MINE.id, "external_ids": {}}
    yield {**ours, "iface_ids": {"iface-id": VICTIM.id}}
    yield {**ours, "iface_ids": {"attached-mac": "01:00:00:00:00:00"}}
    yield {**ours, "iface_ids": {"ovn-installed": "true"}}
    yield {**ours, "iface_ids": {}, "external_ids": {"theirs": "1"}}
    yield {**ours, "iface_ids": {}, "external_ids": {"vifplug-vif": VICTIM.id}}
    for vlans in ({"tag": 4096}, {"tag": True}, {"vlan_mode": "any"}, {"trunks": [-1]}):
        yield {**ours, "iface_ids": {}, "own_vlans": {"tag": 5, **vlans}}
    for settings in SETTINGS:
        yield {**ours, "iface_ids": {}, "settings": settings}
    add: dict[str, Any] = {"op": "add", "bridge": "br-int", "iface_ids": {}, "external_ids": {}}
    for name in ("eth7", "docker0", "vpn0", "vmtap0", "vx0", "lo", "br-ex", "wire", "ovs-netdev", "tap%d"):
        for address in (MINE.address, "02:16:3e:00:00:99"):
            ids = {"iface-id": MINE.id, "attached-mac": address}
            yield {**add, "name": name, "owner": MINE.id, "iface_ids": ids}
    yield {**add, "name": device("qvb", MINE), "owner": VICTIM.id, "iface_ids": {"iface-id": VICTIM.id}}
    yield {**add, "name": "fresh", "owner": MINE.id, "iface_ids": {"iface-id": VICTIM.id}}
    yield {**add, "name": "fresh", "owner": NOVA, "iface_ids": {"iface-id": NOVA}}
    for row in world.rows("QoS", "_uuid"):
        yield {**add, "name": "fresh", "owner": MINE.id, "iface_ids": {"iface-id": MINE.id}, "qos": row["_uuid"]}


def carried_out(host: LocalHost, world: World, plane: str, calls: list[dict[str, Any]]) -> list[str]:
    """The calls that were not refused, or that changed something."""
    before, found = world.snapshot(), []
    for call in calls:
        try:
            faults.change(host, plane, [call])
            found.append(f"carried out: {call}")
        except Exception as error:
            assert not isinstance(error, errors.HelperDied | errors.TimedOut), error
    if world.snapshot() != before:
        found.append("the world has changed")
    return found


def test_calls_on_links_of_others_are_refused(world: World, host: LocalHost) -> None:
    calls = [*link_calls(world), *creations(world)]
    assert len(calls) > 100
    assert not carried_out(host, world, "links", calls)
    assert not host.check([MINE.id, VICTIM.id]).vifs[0].drift


def test_calls_on_rows_of_others_are_refused(world: World, host: LocalHost) -> None:
    # Like the MAC of a guest's tap, which vswitchd's own devices may have.
    world.vsctl("set", "Bridge", "br-ex", 'other_config:hwaddr="fe:16:3e:00:00:99"')
    wait_until(lambda: (world.link("br-ex") or {})["address"] == "fe:16:3e:00:00:99", "the MAC", SECONDS)
    assert not carried_out(host, world, "ports", list(row_calls(world)))


def test_guests_tap_that_another_program_made_a_port_stays_off_our_bridges(world: World, host: LocalHost) -> None:
    """Its VIF is not ours, so its name can be claimed, and a bridge for it made."""
    late, address = name_of("tap", LIBVIRT), birth(LIBVIRT, "qbr")
    made = {"op": "create-bridge", "name": "made", "owner": LIBVIRT, "role": "qbr", "mtu": 1500, "address": address}
    faults.change(host, "links", [made])
    index = (world.link(late) or {})["ifindex"]
    join = {"op": "join", **identity("made", LIBVIRT, "qbr", world), "guest": late, "guest_ifindex": index}
    calls = [{**join, "vif_id": LIBVIRT, "guest_address": mac} for mac in ("", "fa:16:3e:00:00:68")]
    assert not carried_out(host, world, "links", calls)


@pytest.mark.parametrize("verb", ("add", "join"))
def test_mac_of_another_vif_does_not_show_whose_guests_tap_it_is(world: World, host: LocalHost, verb: str) -> None:
    """The tap that the victim's VMM has just made, on no bridge yet, claimed with the victim's MAC."""
    with world.namespace.entered():
        descriptor = open_tap("vnet7")
    world.ip("link", "set", "vnet7", "address", "fe" + VICTIM.address[2:])
    ids = {"iface-id": COPY, "attached-mac": VICTIM.address}
    add = {"op": "add", "bridge": "br-int", "name": "vnet7", "owner": COPY, "iface_ids": ids, "external_ids": {}}
    index = (world.link("vnet7") or {})["ifindex"]
    join = {"op": "join", **identity(device("qbr", MINE), MINE.id, "qbr", world), "guest": "vnet7"}
    join |= {"guest_ifindex": index, "guest_address": VICTIM.address, "vif_id": MINE.id}
    called, call = ("ports", add) if verb == "add" else ("links", join)
    assert not carried_out(host, world, called, [call])
    os.close(descriptor)


def test_one_mac_of_two_vifs_is_plugged_and_repaired(world: World, host: LocalHost) -> None:
    """Neutron gives one MAC to VIFs of two networks, and the helper knows no VIF's network."""
    twin = vif("ovs-hybrid", 5, address=VICTIM.address)
    host.plug([twin])
    name = device("qvo", twin)
    world.vsctl("set", "Interface", name, r"external_ids:attached-mac=fa\:16\:3e\:00\:00\:77")
    host.repair([twin.id])
    assert (world.row("Interface", name) or {})["external_ids"]["attached-mac"] == VICTIM.address
    assert host.check([twin.id]).clean


def test_helper_that_has_not_looked_into_ovsdb_yet_does_before_it_decides(world: World, host: LocalHost) -> None:
    """A worker that has ended its helper gets a new one, and its first call may be any."""
    late, held = name_of("tap", LIBVIRT), "0000dddd-d1c4-4b1e-8a51-6f0e5c9d77aa"
    name = name_of("tap", held)
    world.vsctl(
        "--no-wait", "add-port", "br-int", name, "--", "set", "Interface", name, f"external_ids:iface-id={NOVA}"
    )
    own = {"owner": LIBVIRT, "role": "qbr", "mtu": 1500}
    made = {**own, "op": "create-bridge", "name": "made", "address": birth(LIBVIRT, "qbr")}
    faults.change(host, "links", [made])
    index = (world.link(late) or {})["ifindex"]
    join = {"op": "join", **identity("made", LIBVIRT, "qbr", world), "guest": late, "guest_ifindex": index}
    tap = {"op": "create-tap", "name": name, "owner": held, "role": "tap", "mtu": 1500, "multiqueue": False}
    for call in ({**join, "vif_id": LIBVIRT, "guest_address": ""}, {**tap, "address": "fe:16:3e:00:00:01"}):
        with vifplug.local(str(world.config_file)) as fresh:
            assert not carried_out(fresh, world, "links", [call])


@pytest.mark.parametrize("is_killed", (False, True))
def test_fresh_helper_makes_no_chosen_name_while_ovsdb_does_not_answer(world: World, is_killed: bool) -> None:
    """A socket that a killed server left shows that there is an OVSDB. What goes on a Linux bridge needs none."""
    world.write_config(ovs={"timeout": "1"})
    if is_killed:
        world.ovsdb.stop(signal.SIGKILL)
    else:
        world.ovsdb.pause()
    assert world.socket.exists()
    each = vif("bridge", 3)
    with vifplug.local(str(world.config_file)) as fresh:
        tap = {"op": "create-tap", "owner": each.id, "role": "tap", "mtu": 1500, "multiqueue": False, "name": "chosen"}
        with pytest.raises(errors.OvsUnavailable):
            faults.change(fresh, "links", [{**tap, "address": birth(each.id, "tap")}])
        assert world.link("chosen") is None
        fresh.plug([each])
        assert (world.link(faults.NETWORK_BRIDGE) or {})["linkinfo"]["info_kind"] == "bridge"


def test_bridge_vif_is_plugged_on_a_host_without_open_vswitch(world: World) -> None:
    world.stop_vswitchd()
    world.ovsdb.stop()
    assert not world.socket.exists()
    each = vif("bridge", 3)
    with vifplug.local(str(world.config_file)) as fresh:
        fresh.plug([each])
        assert (world.link(device("tap", each)) or {})["master"] == faults.NETWORK_BRIDGE
        fresh.unplug([each.id])
    assert world.link(faults.NETWORK_BRIDGE) is None


def test_tap_of_ours_joins_no_bridge_that_another_program_has_for_one_vif(world: World, host: LocalHost) -> None:
    own = {"op": "set", **identity(device("tap", VICTIM), VICTIM.id, "tap", world), "multiqueue": False}
    call = {**own, "values": {"master": name_of("qbr", NOVA)}}
    assert not carried_out(host, world, "links", [call, {**call, "adopt": True}])


@pytest.mark.parametrize("name", ["vlan_filtering", "group_fwd_mask", "stp"])
def test_attribute_of_another_kind_is_refused_and_not_passed_over(world: World, host: LocalHost, name: str) -> None:
    own = {"op": "set", **identity(device("tap", VICTIM), VICTIM.id, "tap", world), "multiqueue": False}
    assert not carried_out(host, world, "links", [{**own, "values": {name: 1}}])


def test_port_that_waits_for_its_device_is_not_taken_by_making_that(world: World, host: LocalHost) -> None:
    """With a link of ours of its name the port would pass for ours, to be deleted."""
    waiting = "0000dddd-d1c4-4b1e-8a51-6f0e5c9d77aa"
    name = name_of("tap", waiting)
    world.vsctl(
        "--no-wait", "add-port", "br-int", name, "--", "set", "Interface", name, f"external_ids:iface-id={waiting}"
    )
    made = {"name": name, "owner": MINE.id, "mtu": 1500, "multiqueue": False}
    bridge = {**made, "op": "create-bridge", "role": "qbr", "address": birth(MINE.id, "qbr")}
    tap = {**made, "op": "create-tap", "role": "tap", "address": "fe:16:3e:00:00:01"}
    # Under the very id of the port, too: os-vif's rows have it, and no mark of ours.
    assert not carried_out(host, world, "links", [tap, bridge, {**tap, "owner": waiting}])
    assert not carried_out(host, world, "ports", [{"op": "delete", "name": name, "owner": MINE.id}])


def test_qos_row_with_a_copied_mark_outlives_its_owner(world: World, host: LocalHost) -> None:
    faults.change(host, "ports", [{"op": "delete-qos", "owner": MINE.id}])
    host.unplug([MINE.id])
    (row,) = world.rows("QoS", "external_ids")
    assert row["external_ids"] == {"theirs": "1", "vifplug-vif": MINE.id}


def test_shared_bridge_is_spared_whatever_the_caller_says(world: World, host: LocalHost) -> None:
    each = vif("bridge", 3)
    host.plug([each])
    world.ip("link", "set", "wire", "master", faults.NETWORK_BRIDGE)
    own = identity(faults.NETWORK_BRIDGE, f"net:{faults.NETWORK}", "brq", world)
    call = {"op": "delete", "links": [{**own, "spare_members": False}]}
    assert not carried_out(host, world, "links", [call])


def test_deletion_is_no_adoption_but_what_set_has_marked_is_deleted(world: World, host: LocalHost) -> None:
    """A tap of ours whose alias and MAC are gone: the next helper marks it first, and deletes what it then sees."""
    tap = device("tap", VICTIM)
    world.ip("link", "set", "dev", tap, "alias", "")
    world.ip("link", "set", "dev", tap, "address", "02:00:00:00:00:05")
    own = identity(tap, VICTIM.id, "tap", world)
    mark = {"op": "set", **own, "adopt": True, "values": {"alias": f"vifplug:{VICTIM.id}"}, "multiqueue": False}
    delete = {"op": "delete", "links": [{**own, "spare_members": False}]}
    with vifplug.local(str(world.config_file)) as other:
        assert not carried_out(other, world, "links", [delete])
        faults.change(other, "links", [mark, delete])
    assert world.link(tap) is None


def test_network_gets_no_patch_to_a_bridge_of_another_program(world: World, host: LocalHost) -> None:
    bridge = "tbr-0000bbbb-d"
    owner = naming.network_owner(naming.network_of_bridge(bridge))
    faults.change(host, "ports", [{"op": "add-bridge", "name": bridge, "owner": owner, "like": "br-int"}])
    near, far = naming.patch_ports(owner)
    add: dict[str, Any] = {"op": "add", "owner": owner, "iface_ids": {}, "external_ids": {}}
    calls = [
        {**add, "bridge": on, "name": name, "settings": {"type": "patch", "options": {"peer": peer}}}
        for on, name, peer in ((bridge, near, far), ("br-ex", far, near), ("br-ex", near, far))
    ]
    assert not carried_out(host, world, "ports", calls)


def test_port_on_another_bridge_does_not_show_whose_a_bridge_is(world: World, host: LocalHost) -> None:
    """os-vif's bridge of the same name, and a marked port of that name that is not its local port."""
    name = naming.port_bridge(NOVA)
    mark = f"external_ids:vifplug-vif={NOVA}"
    bridge = ("--id=@b", "create", "Bridge", f"name={name}", "--", "add", "Open_vSwitch", ".", "bridges", "@b")
    interface = ("--id=@i", "create", "Interface", f"name={name}", "type=internal")
    port = ("--id=@p", "create", "Port", f"name={name}", mark, "interfaces=@i", "--", "add", "Bridge", "br-ex")
    # vsctl waits for vswitchd, which makes the port's device and its numbers.
    world.vsctl(*bridge, "--", *interface, "--", *port, "ports", "@p")
    wait_until(lambda: world.snapshot() == world.snapshot(), "vswitchd at rest", SECONDS)
    own: dict[str, Any] = {"name": name, "owner": NOVA, "like": "br-int"}
    calls = [{"op": "delete-bridge", **own}, {"op": "set-bridge", **own, "columns": ["fail_mode"]}]
    assert not carried_out(host, world, "ports", calls)
