"""A Neutron network beside a port's document: its MTU, and the uplink of a Linux bridge."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

import vifplug
from vifplug.errors import InputError
from vifplug.model.uplink import Uplink

SAMPLES = pathlib.Path(__file__).parents[2] / "samples"
NETWORK = "899b9b97-ffd5-4ae9-86fc-85fe844447d0"
PORT = {
    **{"id": "81ab5618-df3e-4999-932a-1263b7886e5a", "mac_address": "fa:16:3e:b9:2c:38", "network_id": NETWORK},
    **{"binding:vif_type": "bridge", "binding:vif_details": {}, "binding:profile": {}},
}
OWN = {"id": PORT["id"], "vif_type": "bridge", "address": PORT["mac_address"]}


def network(kind: str = "vlan", number: Any = 5, device: Any = "physnet1", /, **fields: Any) -> dict[str, Any]:
    """A real network with other provider attributes."""
    sample: dict[str, Any] = json.loads((SAMPLES / "ovn_network_get.json").read_text())["network"]
    provider = {"network_type": kind, "segmentation_id": number, "physical_network": device}
    return {**sample, **{f"provider:{key}": value for key, value in provider.items()}, **fields}


def sdk(document: dict[str, Any]) -> dict[str, Any]:
    """The same with openstacksdk's keys."""
    return {key.replace("provider:", "provider_"): value for key, value in document.items()}


VLAN = Uplink(type="vlan", physical_network="physnet1", segmentation_id=5)
SEGMENT = {key: network()[key] for key in network() if key.startswith("provider:")}
SEGMENTED = {key: value for key, value in network().items() if not key.startswith("provider:")}


@pytest.mark.parametrize(
    ("document", "uplink"),
    [
        (network(), VLAN),
        ({"network": network()}, VLAN),
        ({"networks": [network(id="99ec4c8b-001b-49c3-89fb-bf84c4f41e24", mtu=9), network()]}, VLAN),
        ([network()], VLAN),
        (json.dumps(network()), VLAN),
        (sdk(network()), VLAN),
        ({**SEGMENTED, "segments": [SEGMENT]}, VLAN),
        (network("flat", None), Uplink(type="flat", physical_network="physnet1")),
        (network("flat", 0), Uplink(type="flat", physical_network="physnet1")),
        (network("vxlan", 513, None), Uplink(type="vxlan", segmentation_id=513)),
        (network("local", None, None), None),
    ],
)
def test_network_gives_uplink_and_mtu(document: Any, uplink: Uplink | None) -> None:
    vif = vifplug.load(PORT, network=document)
    assert (vif.network.id, vif.network.mtu, vif.network.uplink) == (NETWORK, 1442, uplink)


def test_ports_of_open_vswitch_take_the_mtu_alone() -> None:
    for kind in ("geneve", "vlan"):
        vif = vifplug.load({**PORT, "binding:vif_type": "ovs"}, network=network(kind))
        assert (vif.network.mtu, vif.network.uplink) == (1442, None)


def test_what_a_document_has_itself_takes_precedence() -> None:
    own = {"type": "flat", "physical_network": "other"}
    vif = vifplug.load({**OWN, "network": {"mtu": 1400, "uplink": own}}, network=network())
    assert (vif.network.id, vif.network.mtu) == (NETWORK, 1400)
    assert vif.network.uplink == Uplink(**own)
    assert vifplug.load(PORT, network=network(), mtu=1300).network.mtu == 1300


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (network(id="99ec4c8b-001b-49c3-89fb-bf84c4f41e24"), f"is on network {NETWORK}, and the network that is given"),
        ({"network": network("geneve")}, "network.provider:network_type: 'geneve': it must be flat, vlan or vxlan"),
        (network("vlan", 0), "provider:segmentation_id: 0: it must be a VLAN id, a whole number from 1 to 4094"),
        (network("vlan", 4095), "provider:segmentation_id: 4095: it must be a VLAN id"),
        (network("vlan", None), "provider:segmentation_id: null: it must be a VLAN id"),
        (network("vlan", 5, None), "provider:physical_network: null: it must be a name of [bridge] physical_networks"),
        (SEGMENTED, "provider:network_type: it is missing, only administrators and services are shown it"),
        ({**SEGMENTED, "segments": [SEGMENT, SEGMENT]}, "segments: a list: the bridge of a network has one uplink"),
        (network(mtu="1450"), "mtu: '1450': it must be a whole number from 68 to"),
        (network(id="x"), "id: 'x': it must be a UUID"),
        ({"networks": [{}]}, "networks[0].id: it is missing, a Neutron network always has one"),
        ({"networks": []}, "networks: a list: it must be a list with a Neutron network"),
        (3, "the network's document: 3: it must be a Neutron network, an object"),
        ("", "the document is empty"),
    ],
)
def test_wrong_network_is_refused_in_one_line(document: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        vifplug.load(PORT, network=document)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def nova(**meta: Any) -> dict[str, Any]:
    """A bridge VIF of network_info."""
    (sample,) = json.loads((SAMPLES / "nova_network_info_bridge.json").read_text())
    sample["network"]["meta"] |= meta
    return dict(sample)


@pytest.mark.parametrize(
    ("meta", "uplink"),
    [
        ({}, None),
        ({"bridge_interface": "eth1"}, Uplink(type="flat", physical_network="eth1")),
        ({"bridge_interface": "eth1", "vlan": 5}, Uplink(type="flat", physical_network="eth1")),
        (
            {"bridge_interface": "eth1", "vlan": 5, "should_create_vlan": True},
            Uplink(type="vlan", physical_network="eth1", segmentation_id=5),
        ),
        ({"bridge_interface": "eth1", "multi_host": True}, None),
        ({"bridge_interface": "eth1", "should_create_bridge": False}, None),
    ],
)
def test_novas_metadata_of_a_network_names_its_uplink(meta: dict[str, Any], uplink: Uplink | None) -> None:
    assert vifplug.load(nova(**meta)).network.uplink == uplink


def test_document_that_is_sent_unread_keeps_its_network() -> None:
    document = vifplug.formats.Document(PORT, network=network())
    assert document.as_request()["network"] == network()
    assert document[0].network.uplink == VLAN
