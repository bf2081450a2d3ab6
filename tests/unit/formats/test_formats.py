"""What the supported formats become: every real sample, and each rule with the smallest document that shows it."""

from __future__ import annotations

import copy
import json
import pathlib
from typing import Any

import jsonschema
import pytest

from vifplug import errors, formats
from vifplug.model import vif as model

SAMPLES = pathlib.Path(__file__).parents[2] / "samples"

HYBRID_1 = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
HYBRID_2 = "2bc1ec8f-4b2e-4a6a-a1da-6286f400507c"
PLAIN = "3fe5648f-4734-49a7-9fef-daa6f86f6799"
OVN = "81ab5618-df3e-4999-932a-1263b7886e5a"
GUEST = "c0ffee00-1111-4222-8333-000000000011"
OTHER_GUEST = "c0ffee00-1111-4222-8333-0000000000ff"

OWN = {"id": HYBRID_1, "vif_type": "ovs-hybrid", "address": "fa:16:3e:eb:5e:26"}


def sample(name: str) -> Any:
    """A fresh copy of a sample."""
    return json.loads((SAMPLES / f"{name}.json").read_text())


def neutron(details: Any = None, **fields: Any) -> dict[str, Any]:
    """The real hybrid port, bare, with other fields and vif_details."""
    port: dict[str, Any] = sample("ml2ovs_hybrid_port_get_active_1")["port"] | fields
    if details:
        port["binding:vif_details"] |= details
    return port


def nova(name: str = "nova_network_info_ovs_plain_create_tap", /, **fields: Any) -> dict[str, Any]:
    """The first VIF of a network_info sample, with other fields."""
    vif: dict[str, Any] = sample(name)[0] | fields
    return vif


def osvif(name: str = "VIFOpenVSwitch", /, **fields: Any) -> dict[str, Any]:
    """The real VIFOpenVSwitch under a class name, with other fields."""
    vif: dict[str, Any] = sample("osvif_ovs_plain_create_tap") | {"versioned_object.name": name}
    vif["versioned_object.data"] |= fields
    return vif


def hybrid(id: str, address: str, **network: Any) -> dict[str, Any]:
    """What a real hybrid sample says, without its instance."""
    said = {"id": "14ec4c8b-001b-49c3-89fb-bf84c4f41e24", "bridge": "br-int", "datapath_type": "netdev", **network}
    return {"id": id, "vif_type": "ovs-hybrid", "address": address, "network": said, "create_tap": False}


HYBRIDS_OF_NOVA = [
    hybrid(HYBRID_1, "fa:16:3e:eb:5e:26", mtu=1450),
    hybrid(HYBRID_2, "fa:16:3e:f6:04:91", mtu=1450),
]
PLAIN_OF_NOVA = {
    "id": PLAIN,
    "vif_type": "ovs",
    "address": "fa:16:3e:95:3a:3d",
    "network": {
        "id": "c43d5ee3-ae77-4e8c-b8af-a335400de439",
        "bridge": "br-int",
        "mtu": 1450,
        "datapath_type": "system",
    },
    "create_tap": True,
}
OVN_PORT = {
    "id": OVN,
    "vif_type": "ovs",
    "address": "fa:16:3e:b9:2c:38",
    "network": {"id": "899b9b97-ffd5-4ae9-86fc-85fe844447d0", "bridge": "br-int", "datapath_type": "netdev"},
    "instance": {"uuid": "c0ffee00-1111-4222-8333-000000000001"},
    "create_tap": True,
}
BRIDGED = PLAIN_OF_NOVA | {
    "vif_type": "bridge",
    "network": {"id": "c43d5ee3-ae77-4e8c-b8af-a335400de439", "bridge": "brqc43d5ee3-ae", "mtu": 1450},
    "create_tap": False,
}


@pytest.mark.parametrize(
    ("name", "format", "expected"),
    [
        (
            "ml2ovs_hybrid_port_get_active_1",
            "neutron-port",
            [hybrid(HYBRID_1, "fa:16:3e:eb:5e:26") | {"instance": {"uuid": GUEST}}],
        ),
        (
            "ml2ovs_hybrid_port_create_2",
            "neutron-port",
            [hybrid(HYBRID_2, "fa:16:3e:f6:04:91") | {"instance": {"uuid": GUEST[:-1] + "2"}}],
        ),
        (
            "openstack_port_show_hybrid",
            "neutron-port",
            [hybrid(HYBRID_1, "fa:16:3e:eb:5e:26") | {"instance": {"uuid": GUEST}}],
        ),
        ("ovn_port_create_down", "neutron-port", [OVN_PORT]),
        ("ovn_port_get_active", "neutron-port", [OVN_PORT]),
        ("nova_network_info_ml2ovs_hybrid_from_real_neutron", "nova-network-info", HYBRIDS_OF_NOVA),
        ("nova_network_info_ovs_plain_create_tap", "nova-network-info", [PLAIN_OF_NOVA]),
        ("nova_network_info_bridge", "nova-network-info", [BRIDGED]),
        ("osvif_ml2ovs_hybrid_from_real_neutron", "os-vif", HYBRIDS_OF_NOVA),
        ("osvif_ovs_plain_create_tap", "os-vif", [PLAIN_OF_NOVA]),
    ],
)
def test_sample_is_read_whole(name: str, format: str, expected: list[dict[str, Any]]) -> None:
    text = (SAMPLES / f"{name}.json").read_bytes()
    vifs = [model.Vif.model_validate(vif) for vif in expected]
    assert formats.load_all(text) == vifs
    assert formats.load_all(text.decode(), format=format) == vifs
    document = json.loads(text)
    before = copy.deepcopy(document)
    assert formats.load_all(document) == vifs
    assert document == before


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(neutron(), {"vif_type": "ovs-hybrid"}, id="bare-port"),
        pytest.param({"ports": [neutron()]}, {"vif_type": "ovs-hybrid"}, id="ports"),
        pytest.param([{"port": neutron()}], {"vif_type": "ovs-hybrid"}, id="list-of-envelopes"),
        pytest.param(neutron({"ovs_hybrid_plug": False}), {"vif_type": "ovs"}, id="not-hybrid"),
        pytest.param(neutron({"ovs_hybrid_plug": None}), {"vif_type": "ovs"}, id="hybrid-null"),
        pytest.param(neutron({"ovs_create_tap": True}), {"create_tap": True}, id="hybrid-create-tap"),
        pytest.param(neutron({"datapath_type": ""}), {"network.datapath_type": None}, id="no-datapath"),
        pytest.param(neutron({"bridge_name": "tbr-1234"}), {"network.bridge": "tbr-1234"}, id="trunk"),
        pytest.param(neutron({"bridge_name": None}), {"network.bridge": None}, id="no-bridge-name"),
        pytest.param(
            neutron({"bridge_name": "brq-x"}, **{"binding:vif_type": "bridge"}),
            {"vif_type": "bridge", "network.bridge": "brq-x", "create_tap": False},
            id="bridge-port",
        ),
        pytest.param(neutron(**{"binding:vnic_type": None}), {"vif_type": "ovs-hybrid"}, id="no-vnic-type"),
        pytest.param(neutron(device_owner="compute:az-2"), {"instance.uuid": GUEST}, id="any-zone"),
        pytest.param(neutron(device_owner="network:dhcp"), {"instance": None}, id="not-a-guest"),
        pytest.param(neutron(device_id="dhcp-x"), {"instance": None}, id="device-is-no-uuid"),
        pytest.param(neutron(device_id=5), {"instance": None}, id="device-is-a-number"),
        pytest.param(neutron(id=HYBRID_1.upper()), {"id": HYBRID_1}, id="upper-case"),
        pytest.param(neutron(binding_vif_type="unbound"), {"vif_type": "ovs-hybrid"}, id="api-before-sdk"),
        pytest.param(neutron(**{"binding:profile": {"migrating_to": "hv2"}}), {"instance.uuid": GUEST}, id="migrating"),
        pytest.param(nova(), {"names.tap": None, "instance": None}, id="bare-nova"),
        pytest.param(nova(devname="tapx"), {"names.tap": "tapx"}, id="nova-devname"),
        pytest.param(nova(devname=None), {"names.tap": None}, id="nova-no-devname"),
        pytest.param(nova(ovs_interfaceid=PLAIN.upper()), {"id": PLAIN}, id="nova-interface-id"),
        pytest.param(
            nova(details={}),
            {"create_tap": False, "network.datapath_type": None, "network.bridge": "br-int"},
            id="nova",
        ),
        pytest.param(nova(details={"bridge_name": "br-fifteen-char"}), {"network.bridge": "br-fifteen-char"}, id="cut"),
        pytest.param(nova(network={"bridge": "br-int", "meta": {"mtu": 0}}), {"network.mtu": None}, id="nova-mtu-0"),
        pytest.param(nova(network={"bridge": None, "meta": None}), {"network.mtu": None}, id="nova-mtu-none"),
        pytest.param(nova(vnic_type=None, network=None, details=None), {"network.bridge": None}, id="nova-no-network"),
        pytest.param(osvif(vif_name="nicx"), {"names.tap": "nicx"}, id="osvif-name"),
        pytest.param(osvif(bridge_name="br-x"), {"network.bridge": "br-int", "names.qbr": None}, id="osvif-bridge"),
        pytest.param(osvif(bridge_name="br-x", network=None), {"network.bridge": "br-x"}, id="osvif-bridge-name"),
        pytest.param(osvif("VIFBridge"), {"vif_type": "ovs-hybrid", "names.qbr": "br-int"}, id="osvif-qbr"),
        pytest.param(
            osvif("VIFBridge", bridge_name="qbr3fe5648f-47"), {"names.qbr": None, "network.bridge": "br-int"}, id="rule"
        ),
        pytest.param(
            osvif("VIFBridge", plugin="linux_bridge", bridge_name="brq-x"),
            {"vif_type": "bridge", "network.bridge": "brq-x", "names.qbr": None},
            id="osvif-linux-bridge",
        ),
        pytest.param(
            nova(
                "nova_network_info_bridge", network={"meta": {"should_create_bridge": False, "bridge_interface": "x"}}
            ),
            {"vif_type": "bridge"},
            id="nova-bridge-is-there",
        ),
        pytest.param(
            osvif(port_profile={"versioned_object.name": "VIFPortProfileFPOpenVSwitch", "versioned_object.data": {}}),
            {"vif_type": "ovs"},
            id="osvif-derived-profile",
        ),
        pytest.param(
            osvif(port_profile=None, network=None, plugin=None),
            {"create_tap": False, "multiqueue": None, "network.bridge": "br-int"},
            id="osvif-unset",
        ),
        pytest.param(
            osvif(port_profile={"versioned_object.data": {"multiqueue": True, "create_port": False}}),
            {"multiqueue": True, "create_tap": False},
            id="osvif-multiqueue",
        ),
        pytest.param(
            neutron(
                {"bridge_name": "br-int"},
                **{
                    "binding:vif_type": "ovs",
                    "binding:vnic_type": "remote-managed",
                    "binding:profile": {"pci_slot": "0000:3B:10.2"},
                },
            ),
            {
                "vif_type": "external",
                "pci_device.address": "0000:3b:10.2",
                "pci_device.whole": False,
                "network.bridge": None,
            },
            id="remote-managed",
        ),
        pytest.param(
            neutron(
                **{
                    "binding:vif_type": "hostdev_physical",
                    "binding:vnic_type": "direct-physical",
                    "binding:profile": {"pci_slot": "0000:3b:00.1"},
                }
            ),
            {"vif_type": "external", "pci_device.address": "0000:3b:00.1", "pci_device.whole": True},
            id="direct-physical",
        ),
        pytest.param(
            nova(type="hostdev_physical", vnic_type="direct-physical", profile={"pci_slot": "0000:3b:00.1"}),
            {"vif_type": "external", "pci_device.whole": True, "create_tap": None, "network.bridge": None},
            id="nova-direct-physical",
        ),
        pytest.param(
            nova(type="vhostuser", details={"vhostuser_socket": "/run/vpp/sock-1"}),
            {"vif_type": "external", "vhost_user.socket": "/run/vpp/sock-1", "vhost_user.mode": "server"},
            id="nova-vhostuser",
        ),
        pytest.param(
            osvif("VIFVHostUser", plugin="noop", path="/run/vpp/sock-1", mode="client"),
            {"vif_type": "external", "vhost_user.mode": "client", "network.bridge": None, "create_tap": None},
            id="osvif-vhostuser",
        ),
        pytest.param(
            osvif(
                "VIFVHostUser",
                path="/var/lib/vhost_sockets/vhu3fe5648f-47",
                vif_name="vhu3fe5648f-47",
                port_profile=None,
            ),
            {"vif_type": "vhost-user", "vhost_user.mode": "server", "network.bridge": "br-int", "names.tap": None},
            id="osvif-vhost-user",
        ),
        pytest.param(
            osvif("VIFHostDevice", plugin="noop", dev_address="0000:3b:10.2", dev_type="ethernet", port_profile=None),
            {"vif_type": "external", "pci_device.address": "0000:3b:10.2", "pci_device.whole": False},
            id="osvif-host-device",
        ),
        pytest.param(nova(delegate_create=False), {"create_tap": True, "create_port": None}, id="tap-needs-port"),
        pytest.param(
            nova(details={}, delegate_create=False), {"create_tap": False, "create_port": False}, id="nova-delegated"
        ),
        pytest.param(nova(details={}), {"create_tap": False, "create_port": True}, id="nova-not-delegated"),
        pytest.param(
            neutron({"ovs_hybrid_plug": False}, **{"binding:profile": {"os_vif_delegation": False}}),
            {"vif_type": "ovs", "create_port": False},
            id="neutron-delegated",
        ),
        pytest.param(neutron(**{"binding:profile": {"os_vif_delegation": False}}), {"create_port": None}, id="hybrids"),
        pytest.param(
            osvif(port_profile={"versioned_object.data": {"create_tap": False, "create_port": False}}),
            {"create_tap": False, "create_port": False},
            id="osvif-delegated",
        ),
        pytest.param(
            osvif(port_profile={"versioned_object.data": {"create_tap": True, "create_port": False}}),
            {"create_tap": True, "create_port": None},
            id="osvif-tap-needs-port",
        ),
        pytest.param(
            OWN | {"vif_type": "ovs", "create_port": False}, {"create_tap": False, "create_port": False}, id="delegated"
        ),
        pytest.param(
            neutron({"mac_address": "EE:ee:ee:ee:ee:ee", "bridge_name": "br-int"}, **{"binding:vif_type": "tap"}),
            {"vif_type": "tap", "tap.address": "ee:ee:ee:ee:ee:ee", "create_tap": None, "network.bridge": None},
            id="tap-port",
        ),
        pytest.param(
            nova(type="tap", details={}),
            {"vif_type": "tap", "tap": None, "network.mtu": 1450, "network.bridge": None},
            id="tap-nova",
        ),
        pytest.param(
            osvif("VIFGeneric", port_profile=None, plugin=None),
            {"vif_type": "tap", "tap": None, "create_tap": None, "network.bridge": None},
            id="tap-osvif",
        ),
        pytest.param(
            {"versioned_object.name": "VIFList", "versioned_object.data": {"objects": [osvif()]}},
            {"id": PLAIN},
            id="list",
        ),
        pytest.param(OWN, {"create_tap": None, "network.mtu": None, "instance": None}, id="own"),
        pytest.param(OWN | {"vif_type": "noop"}, {"vif_type": "noop"}, id="drivers-decide"),
        pytest.param(OWN | {"tap_owner": {"uid": 5}}, {"tap_owner.uid": 5, "tap_owner.gid": None}, id="own-owner"),
        pytest.param(OWN | {"network": {"mtu": 68}}, {"network.mtu": 68}, id="smallest-mtu"),
        pytest.param(OWN | {"network": {"mtu": 65521}}, {"network.mtu": 65521}, id="largest-mtu"),
    ],
)
def test_document_gives_fields(document: Any, expected: dict[str, Any]) -> None:
    vif = formats.load(document)
    for path, value in expected.items():
        found: Any = vif
        for name in path.split("."):
            found = getattr(found, name)
        assert found == value, path
    assert formats.load(json.dumps(document)) == vif


def test_formats_may_be_mixed_in_one_list() -> None:
    documents = [OWN, nova(), {"port": sample("ovn_port_get_active")["port"]}]
    assert [vif.id for vif in formats.load_all(documents)] == [HYBRID_1, PLAIN, OVN]


def test_argument_replaces_what_the_document_says() -> None:
    vif = formats.load(neutron(), instance={"uuid": OTHER_GUEST, "name": "web"}, mtu=9000)
    assert vif.instance == model.Instance(uuid=OTHER_GUEST, name="web")
    assert vif.network == formats.load(neutron()).network.model_copy(update={"mtu": 9000})


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ({"name": "web"}, {"uuid": GUEST, "name": "web"}),
        ({"uuid": GUEST}, {"uuid": GUEST, "name": "old"}),
        ({"uuid": GUEST.upper(), "name": None}, {"uuid": GUEST, "name": "old"}),
        ({"uuid": OTHER_GUEST}, {"uuid": OTHER_GUEST}),
        ({}, {"uuid": GUEST, "name": "old"}),
        (model.Instance(uuid=OTHER_GUEST, name="new"), {"uuid": OTHER_GUEST, "name": "new"}),
    ],
)
def test_instance_argument_is_merged(argument: Any, expected: dict[str, str]) -> None:
    vif = formats.load(OWN | {"instance": {"uuid": GUEST, "name": "old"}}, instance=argument)
    assert vif.instance == model.Instance(**expected)


def test_arguments_reach_every_vif() -> None:
    vifs = formats.load_all(
        sample("nova_network_info_ml2ovs_hybrid_from_real_neutron"), instance={"uuid": GUEST}, mtu=68
    )
    assert [(vif.instance and vif.instance.uuid, vif.network.mtu) for vif in vifs] == [(GUEST, 68)] * 2


def test_load_refuses_two_vifs() -> None:
    with pytest.raises(errors.InputError) as refused:
        formats.load(sample("nova_network_info_ml2ovs_hybrid_from_real_neutron"))
    assert str(refused.value) == "the document holds 2 VIFs, but load() reads one; use load_all()"


def test_schema_describes_what_is_read() -> None:
    schema = formats.schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] and schema["description"] and schema["examples"]
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for example in schema["examples"]:
        validator.validate(example)
        formats.load(example)
    validator.validate(formats.load(neutron()).model_dump())
    for names in ({"tap": "...", "qbr": ".x"}, {"tap": "all0", "qbr": "defaults"}):
        validator.validate(OWN | {"names": names})
        formats.load(OWN | {"names": names})
    for wrong in (
        {},
        OWN | {"colour": 1},
        OWN | {"address": "x"},
        OWN | {"id": "x"},
        OWN | {"address": "00:00:00:00:00:00"},
        OWN | {"names": {"tap": "a/b"}},
        OWN | {"names": {"tap": ".."}},
        OWN | {"names": {"tap": "a\x7f"}},
        OWN | {"names": {"tap": "tap%d"}},
        OWN | {"names": {"qbr": "all"}},
        OWN | {"network": {"bridge": "br%d"}},
        OWN | {"network": {"bridge": "default"}},
        OWN | {"network": {"mtu": 67}},
    ):
        assert not validator.is_valid(wrong), wrong
        with pytest.raises(errors.InputError):
            formats.load(wrong)
    assert formats.schema() is not schema
