"""Ports of Neutron's SR-IOV and macvtap agents, and those that are a virtual function's representor, as Neutron, Nova
and os-vif describe them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.formats.test_formats import HYBRID_1, neutron, nova, osvif
from tests.unit.formats.test_formats import PLAIN as PLAIN_ID
from vifplug import errors, formats
from vifplug.model import vif as model

PCI = "0000:3b:10.2"
TAGGED = {"macvtap_source": "eth1.100", "macvtap_mode": "bridge", "physical_interface": "eth1", "vlan": 100}
PLAIN = {"macvtap_source": "eth1", "macvtap_mode": "bridge", "physical_interface": "eth1"}


def sriov(vlan: Any = "100", profile: Any = None, vnic_type: Any = "direct") -> dict[str, Any]:
    """A port of the SR-IOV agent: its VLAN is text (mech_sriov), and Nova has chosen the function."""
    port = neutron({"vlan": vlan}, **{"binding:vif_type": "hw_veb", "binding:vnic_type": vnic_type})
    return {**port, "binding:profile": {"pci_slot": PCI, "physical_network": "p1"} if profile is None else profile}


def macvtap(details: dict[str, Any]) -> dict[str, Any]:
    """A port of the macvtap agent."""
    return {**neutron(**{"binding:vif_type": "macvtap"}), "binding:vif_details": details}


def of_nova(kind: str, details: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The same as network_info has it."""
    return nova(type=kind, details=details, **more)


def loaded(document: dict[str, Any]) -> model.Vif:
    (vif,) = formats.load_all(document)
    return vif


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (sriov(), {"address": PCI, "vlan": 100}),
        (sriov("0"), {"address": PCI}),
        (sriov(None), {"address": PCI}),
        (sriov(4094, {"pci_slot": PCI.upper(), "trusted": "true"}), {"address": PCI, "vlan": 4094, "trusted": True}),
        (sriov(profile={"pci_slot": PCI, "trusted": False}), {"address": PCI, "vlan": 100, "trusted": False}),
        (of_nova("hw_veb", {"vlan": "7"}, vnic_type="direct", profile={"pci_slot": PCI}), {"address": PCI, "vlan": 7}),
        (sriov(vnic_type="macvtap"), {"address": PCI, "vlan": 100, "macvtap": "passthrough"}),
        (
            of_nova("hw_veb", {"vlan": "0"}, vnic_type="macvtap", profile={"pci_slot": PCI, "trusted": "True"}),
            {"address": PCI, "trusted": True, "macvtap": "passthrough"},
        ),
    ],
)
def test_sriov_port_is_a_virtual_function(document: dict[str, Any], expected: dict[str, Any]) -> None:
    vif = loaded(document)
    assert (vif.vif_type, vif.pci_device, vif.create_tap) == ("vf", model.PciDevice(**expected), None)


@pytest.mark.parametrize(
    ("document", "expected", "name"),
    [
        (macvtap(TAGGED), {"source": "eth1", "mode": "bridge", "vlan": 100}, None),
        (macvtap({**TAGGED, "macvtap_source": "phys.100"}), {"source": "eth1", "vlan": 100}, "phys.100"),
        (macvtap(PLAIN), {"source": "eth1"}, None),
        (macvtap({**PLAIN, "vlan": 0}), {"source": "eth1"}, None),
        (of_nova("macvtap", {**TAGGED, "macvtap_mode": "vepa"}), {"source": "eth1", "mode": "vepa", "vlan": 100}, None),
        (
            of_nova("macvtap", {**TAGGED, "macvtap_source": "x.1"}, devname="tapx"),
            {"source": "eth1", "vlan": 100},
            "x.1",
        ),
    ],
)
def test_macvtap_port_is_on_its_device(document: dict[str, Any], expected: dict[str, Any], name: str | None) -> None:
    vif = loaded(document)
    assert (vif.vif_type, vif.macvtap, vif.names.vlan) == (
        "macvtap",
        model.Macvtap(**{"mode": "bridge", **expected}),
        name,
    )


def of_osvif(network: dict[str, Any] | None = None, profile: str | None = None, **fields: Any) -> dict[str, Any]:
    """A serialised VIFDirect."""
    vif = osvif("VIFDirect", **fields)
    data = vif["versioned_object.data"]
    data["network"]["versioned_object.data"] |= network or {}
    data["port_profile"] = profile and {"versioned_object.name": profile, "versioned_object.data": {}}
    return vif


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (of_osvif(dev_address=PCI), {"address": PCI, "macvtap": "passthrough"}),
        (of_osvif(dev_address=PCI.upper(), mode="vepa", plugin=None), {"address": PCI, "macvtap": "vepa"}),
        (of_osvif({"vlan": 7}, dev_address=PCI, mode="bridge"), {"address": PCI, "vlan": 7, "macvtap": "bridge"}),
        (of_osvif({"vlan": 0}, "VIFPortProfileBase", dev_address=PCI), {"address": PCI, "macvtap": "passthrough"}),
    ],
)
def test_direct_of_osvif_is_a_macvtap_on_a_function(document: dict[str, Any], expected: dict[str, Any]) -> None:
    vif = loaded(document)
    assert (vif.vif_type, vif.pci_device, vif.macvtap) == ("vf", model.PciDevice(**expected), None)
    assert (vif.network.mtu, vif.network.bridge, vif.create_tap) == (1450, None, None)


@pytest.mark.parametrize(
    ("document", "expected", "name"),
    [
        (of_osvif(vlan_name="eth1.7"), {"source": "eth1.7"}, None),
        (of_osvif({"vlan": 7}, vlan_name="eth1.7", mode="vepa"), {"source": "eth1.7", "mode": "vepa"}, None),
        (of_osvif({"vlan": 7, "bridge_interface": "eth1"}, vlan_name="eth1.7"), {"source": "eth1", "vlan": 7}, None),
        (of_osvif({"vlan": 7, "bridge_interface": "eth1"}, vlan_name="v7"), {"source": "eth1", "vlan": 7}, "v7"),
        (of_osvif({"bridge_interface": "eth1"}, vlan_name="eth2"), {"source": "eth2"}, None),
    ],
)
def test_direct_of_osvif_is_a_macvtap_on_a_device(
    document: dict[str, Any], expected: dict[str, Any], name: str | None
) -> None:
    vif = loaded(document)
    assert (vif.vif_type, vif.macvtap, vif.names.vlan, vif.pci_device) == (
        "macvtap",
        model.Macvtap(**expected),
        name,
        None,
    )


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (sriov(vnic_type="normal"), f"vnic_type: 'normal': vifplug does not support port {HYBRID_1}'s vnic_type"),
        (sriov(vnic_type=None), "it must be direct or macvtap"),
        (sriov(profile={}), "binding:profile.pci_slot: it is missing"),
        (sriov(profile={"pci_slot": "eth1"}), "binding:profile.pci_slot: 'eth1'"),
        (sriov(profile={"pci_slot": PCI, "trusted": "maybe"}), "binding:profile.trusted: 'maybe'"),
        (sriov("4095"), "binding:vif_details.vlan: 4095"),
        (sriov("-1"), "binding:vif_details.vlan: '-1'"),
        (sriov(True), "binding:vif_details.vlan: true"),
        (of_osvif(), "vlan_name: it is missing, and a VIFDirect without dev_address is on that device"),
        (of_osvif(dev_address=PCI, vlan_name="eth1.7"), "vlan_name: 'eth1.7': it must be omitted"),
        (of_osvif(dev_address="eth1"), "dev_address: 'eth1': it must be a PCI address"),
        (of_osvif(dev_address=PCI, mode="open"), "mode: 'open'"),
        (of_osvif({"vlan": 4095}, dev_address=PCI), "network.vlan: 4095"),
        (of_osvif(plugin="noop", dev_address=PCI), "plugin: 'noop': it must be ovs, for a VIFDirect"),
        (of_osvif(profile="VIFPortProfile8021Qbg", dev_address=PCI), "port_profile.versioned_object.name: "),
        (of_osvif({"vlan": 4095, "bridge_interface": "eth1"}, vlan_name="eth1.7"), "network.vlan: 4095"),
        (of_osvif({"vlan": 5, "bridge_interface": "a/b"}, vlan_name="eth1.7"), "network.bridge_interface: 'a/b'"),
        (of_osvif(vlan_name="a/b"), "vlan_name: 'a/b'"),
        (macvtap({}), "binding:vif_details.macvtap_source: it is missing"),
        (macvtap({**TAGGED, "physical_interface": None}), "binding:vif_details.physical_interface: it is missing"),
        (macvtap({**TAGGED, "vlan": 5000}), "binding:vif_details.vlan: 5000"),
        (macvtap({**PLAIN, "macvtap_mode": "open"}), "binding:vif_details.macvtap_mode: 'open'"),
        (macvtap({**TAGGED, "macvtap_source": "a/b"}), "binding:vif_details.macvtap_source: 'a/b'"),
    ],
)
def test_wrong_binding_is_refused_by_its_field(document: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InputError) as raised:
        formats.load_all(document)
    assert words in str(raised.value)


PROFILE = {
    "pci_slot": PCI,
    "pci_vendor_info": "15b3:101e",
    "physical_network": None,
    "capabilities": ["switchdev"],
    "card_serial_number": "MT2113X00000",
    "pf_mac_address": "b8:ce:f6:00:00:01",
    "vf_num": 1,
}


def switchdev(vnic_type: str = "direct", profile: Any = None, **details: Any) -> dict[str, Any]:
    """A port of Open vSwitch with hardware offload; ML2/OVN sends ovs_create_tap for every port of a host."""
    bound = {
        "port_filter": True,
        "connectivity": "l2",
        "bridge_name": "br-int",
        "datapath_type": "system",
        "ovs_create_tap": True,
        **details,
    }
    port = neutron(**{"binding:vnic_type": vnic_type, "binding:vif_details": bound})
    return {**port, "binding:profile": PROFILE if profile is None else profile}


def in_nova(vnic_type: str, **more: Any) -> dict[str, Any]:
    """The same as network_info has it."""
    details = {"port_filter": True, "bridge_name": "br-int", "datapath_type": "system", "ovs_create_tap": True}
    return nova(type="ovs", vnic_type=vnic_type, details=details, profile=PROFILE, delegate_create=True, **more)


def in_os_vif(profile: dict[str, Any] | None = None, name: str = "VIFPortProfileOVSRepresentor", **fields: Any) -> Any:
    """The same as an object, which Nova makes of it (os_vif_util._get_vnic_direct_vif_instance)."""
    document = osvif("VIFHostDevice", dev_type="ethernet", **fields)
    del document["versioned_object.data"]["vif_name"]
    port_profile = document["versioned_object.data"]["port_profile"]
    port_profile["versioned_object.name"] = name
    for key in ("create_port", "create_tap"):
        port_profile["versioned_object.data"].pop(key, None)
    port_profile["versioned_object.data"] |= profile or {}
    return document


def offload(address: str | None) -> dict[str, Any]:
    """The part of a profile that names a representor's function."""
    data = {"representor_name": "tap3fe5648f-47", "representor_address": address}
    return {
        "datapath_offload": {
            "versioned_object.name": "DatapathOffloadRepresentor",
            "versioned_object.namespace": "os_vif",
            "versioned_object.version": "1.0",
            "versioned_object.data": data,
        }
    }


@pytest.mark.parametrize(
    ("document", "vdpa"),
    [
        (switchdev(), False),
        (switchdev("vdpa"), True),
        (switchdev(profile={"pci_slot": PCI.upper()}), False),
        (in_nova("direct"), False),
        (in_nova("vdpa"), True),
        (in_os_vif(dev_address=PCI), None),
        (in_os_vif({**offload(PCI)["datapath_offload"]["versioned_object.data"]}), None),
        (in_os_vif(offload(PCI), "VIFPortProfileOpenVSwitch"), None),
        (in_os_vif({**offload(PCI), "representor_address": "0000:ff:10.2"}, dev_address=PCI), None),
        (in_os_vif(offload(None), dev_address=PCI, plugin="ovs"), None),
    ],
)
def test_port_of_open_vswitch_on_a_function_is_a_host_device(document: dict[str, Any], vdpa: bool | None) -> None:
    vif = loaded(document)
    assert (vif.vif_type, vif.pci_device) == ("host-device", model.PciDevice(address=PCI, vdpa=vdpa))
    assert (vif.network.bridge, vif.create_tap, vif.create_port, vif.names.tap) == ("br-int", None, None, None)


def test_port_on_a_function_is_not_hybrid() -> None:
    assert loaded(switchdev(ovs_hybrid_plug=True)).vif_type == "host-device"


def test_port_on_a_function_in_a_trunk_names_its_bridge() -> None:
    assert loaded(switchdev(bridge_name="tbr-71a6b0e4-1")).network.bridge == "tbr-71a6b0e4-1"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (switchdev("macvtap"), f"vnic_type: 'macvtap': vifplug does not support port {HYBRID_1}'s vnic_type"),
        (switchdev(profile={}), "binding:profile.pci_slot: it is missing, and Nova writes it"),
        (switchdev("vdpa", profile={"pci_slot": "3b:10.2"}), "binding:profile.pci_slot: '3b:10.2'"),
        (in_os_vif(dev_address="eth1"), "dev_address: 'eth1': it must be a PCI address"),
        (in_os_vif(), "dev_address: it is missing, and the representor is that function's"),
        (in_os_vif(name="VIFPortProfile8021Qbg", dev_address=PCI), "it must be VIFPortProfileOpenVSwitch"),
    ],
)
def test_wrong_port_on_a_function_is_refused_by_its_field(document: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InputError) as raised:
        formats.load_all(document)
    assert words in str(raised.value)
    assert raised.value.subject in (HYBRID_1, PLAIN_ID)
