"""Real ports, network_info lists and os-vif objects by the command line: each plugged, and unplugged by its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.network.writes import watched
from tests.support.vifs import INSTANCE, device, must_link, must_row
from tests.support.world.world import World

HYBRID_1, HYBRID_2 = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
OVN, DEMO = "81ab5618-df3e-4999-932a-1263b7886e5a", "3fe5648f-4734-49a7-9fef-daa6f86f6799"
DEMO_NETWORK = "c43d5ee3-ae77-4e8c-b8af-a335400de439"
NEUTRON_HYBRID = "ml2ovs_hybrid_port_get_active_1.json"
NOVA_HYBRID = "nova_network_info_ml2ovs_hybrid_from_real_neutron.json"
OSVIF_HYBRID = "osvif_ml2ovs_hybrid_from_real_neutron.json"
NOVA_BRIDGE = "nova_network_info_bridge.json"

# What a sample makes: prefix of a link and the id it is called by; an OVS port has its link's name.
WHOLE: dict[str, set[str]] = {
    NEUTRON_HYBRID: {device(prefix, HYBRID_1) for prefix in ("qbr", "qvb", "qvo")},
    "ml2ovs_hybrid_port_create_2.json": {device(prefix, HYBRID_2) for prefix in ("qbr", "qvb", "qvo")},
    "ovn_port_create_down.json": {device("tap", OVN)},
    "ovn_port_get_active.json": {device("tap", OVN)},
    NOVA_HYBRID: {device(prefix, vif) for prefix in ("qbr", "qvb", "qvo") for vif in (HYBRID_1, HYBRID_2)},
    "nova_network_info_ovs_plain_create_tap.json": {device("tap", DEMO)},
    NOVA_BRIDGE: {device("brq", DEMO_NETWORK)},
    OSVIF_HYBRID: {device(prefix, vif) for prefix in ("qbr", "qvb", "qvo") for vif in (HYBRID_1, HYBRID_2)},
    "osvif_ovs_plain_create_tap.json": {device("tap", DEMO)},
}
REFUSED = {
    "nova_network_info_binding_failed.json": "binding_failed",
    "ovn_port_binding_failed.json": "binding_failed",
    "ovn_port_unbound.json": "unbound",
}


def read(samples: Path, name: str) -> Any:
    return json.loads((samples / name).read_text())


def appeared(world: World, before: dict[str, Any]) -> tuple[set[str], set[str]]:
    """The names of links and of ports that were not there before."""
    new = [key.partition(" ") for key in world.snapshot().keys() - before.keys()]
    return tuple({name for kind, _, name in new if kind == wanted} for wanted in ("link", "Port"))  # type: ignore[return-value]


@pytest.mark.parametrize("sample", WHOLE)
def test_sample_plugged_and_unplugged_by_its_file(world: World, samples: Path, sample: str) -> None:
    before = world.snapshot()
    file = str(samples / sample)
    vifs = world.vifplug_json("plug", file, "--mtu", "1442")["vifs"]
    assert {vif["state"] for vif in vifs} == {"plugged"}
    links, ports = appeared(world, before)
    assert links == WHOLE[sample]
    assert ports == {name for name in links if name.startswith(("qvo", "tap"))}
    for name in ports:
        assert must_row(world, "Interface", name)["ofport"] > 0
    assert {must_link(world, name)["mtu"] for name in links} == {1442}
    world.vifplug("unplug", "-f", file)
    assert world.snapshot() == before


def test_forms_of_one_port_mean_the_same(world: World, samples: Path) -> None:
    world.vifplug("plug", str(samples / NEUTRON_HYBRID), "--mtu", "1450")
    ids = must_row(world, "Interface", device("qvo", HYBRID_1))["external_ids"]
    assert ids["vm-uuid"] == read(samples, NEUTRON_HYBRID)["port"]["device_id"] == INSTANCE
    for form in (NOVA_HYBRID, OSVIF_HYBRID):
        document = json.dumps(read(samples, form)[0])
        with watched(world) as writes:
            world.vifplug("plug", "-", input=document if form == OSVIF_HYBRID else f"[{document}]")
        assert writes.none, (form, writes)


def test_mtu_of_the_form_else_of_the_configuration(world: World, samples: Path) -> None:
    world.write_config(DEFAULT={"mtu": "1400"})
    world.vifplug("plug", str(samples / NEUTRON_HYBRID))
    world.vifplug("plug", str(samples / NOVA_BRIDGE))
    assert must_link(world, device("qvo", HYBRID_1))["mtu"] == 1400
    assert must_link(world, device("brq", DEMO_NETWORK))["mtu"] == 1450


def test_bridge_in_neutrons_and_osvifs_form_is_novas(world: World, samples: Path) -> None:
    (nova,) = read(samples, NOVA_BRIDGE)
    neutron = {
        "id": nova["id"],
        "mac_address": nova["address"],
        "network_id": nova["network"]["id"],
        "binding:vif_type": "bridge",
        "binding:vif_details": nova["details"],
    }
    osvif = read(samples, OSVIF_HYBRID)[0]
    data = osvif["versioned_object.data"]
    data |= {"id": nova["id"], "address": nova["address"], "plugin": "linux_bridge", "vif_name": nova["devname"]}
    data["bridge_name"] = data["network"]["versioned_object.data"]["bridge"] = nova["network"]["bridge"]
    data["network"]["versioned_object.data"]["id"] = nova["network"]["id"]
    del data["port_profile"]
    world.vifplug("plug", str(samples / NOVA_BRIDGE))
    assert must_link(world, device("brq", DEMO_NETWORK))["linkinfo"]["info_kind"] == "bridge"
    for document in (neutron, osvif):
        with watched(world) as writes:
            world.vifplug("plug", "-", input=json.dumps(document))
        assert writes.none, (document, writes)


@pytest.mark.parametrize("sample", REFUSED)
def test_sample_that_cannot_be_plugged_is_refused_and_nothing_touched(world: World, samples: Path, sample: str) -> None:
    before = world.snapshot()
    result = world.vifplug("plug", str(samples / sample), check=False)
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert REFUSED[sample] in line
    assert world.snapshot() == before


@pytest.mark.parametrize("bad", [None, {"vnic_type": "direct"}, {"type": "binding_failed"}])
def test_list_with_one_bad_entry_is_refused_whole(world: World, samples: Path, bad: dict[str, str] | None) -> None:
    before = world.snapshot()
    good, other = read(samples, NOVA_HYBRID)
    document = json.dumps([good, other | bad if bad else None])
    result = world.vifplug("plug", "-", input=document, check=False)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert "[1]" in line or other["id"] in line, "the entry is named"
    assert world.snapshot() == before
    assert world.vifplug_json("list") == {"vifs": []}
