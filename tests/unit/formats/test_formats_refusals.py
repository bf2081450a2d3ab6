"""Every wrong request is refused in one line that names the field, its value and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.formats.test_formats import GUEST, HYBRID_1, OWN, PLAIN, neutron, nova, osvif, sample
from vifplug import errors, formats

NAME_RULE = (
    "it must be a device name: 1 to 15 bytes, without '/', ':', '%', spaces, control characters or the byte 0xa0, "
    "and none of '.', '..', 'all' and 'default'"
)
MTU_RULE = "it must be a whole number from 68 to 65521"
KNOWN = (
    "a VIF in one of the formats vif (id, vif_type, address), neutron-port (id, mac_address, binding:vif_type), "
    "nova-network-info (id, address, type), os-vif (versioned_object.name, versioned_object.data)"
)
KEYS = "; valid keys: "
CYCLE: list[Any] = []
CYCLE.append(CYCLE)


def vhost(**details: Any) -> dict[str, Any]:
    """The vhost-user VIF of network_info, with other details."""
    vif = nova("nova_network_info_vhostuser_ovs")
    vif["details"] |= details
    return vif


def refused(document: object, **arguments: Any) -> errors.InputError:
    """The error a document gives."""
    with pytest.raises(errors.InputError) as caught:
        formats.load_all(document, **arguments)
    assert type(caught.value) is errors.InputError
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            sample("ovn_port_unbound"),
            "port.binding:vif_type: 'unbound': port 261a9203-cf4d-40ec-896e-4c6510ad5f57 is bound to no host; "
            "bind it to this host first",
        ),
        (
            {"ports": [neutron(), sample("ovn_port_binding_failed")["port"]]},
            "ports[1].binding:vif_type: 'binding_failed': Neutron could not bind port "
            "44809f88-074d-474a-b55f-699847ba8d22 to its host; see neutron-server's log for why "
            "(often no agent is alive on that host), correct that, and bind the port again",
        ),
        (
            sample("nova_network_info_binding_failed"),
            f"[0].type: 'binding_failed': Neutron could not bind port {PLAIN} to its host; see neutron-server's log "
            "for why (often no agent is alive on that host), correct that, and bind the port again",
        ),
        (
            nova(type="dvs"),
            f"type: 'dvs': vifplug does not support port {PLAIN}'s type; it must be one of ovs, bridge, tap, macvtap, "
            "hw_veb, hostdev_physical, vhostuser",
        ),
        (
            vhost(vhostuser_fp_plug=True),
            f"type: 'vhostuser': vifplug does not support port {PLAIN}'s type with vhostuser_fp_plug, which is for a "
            "plugin of its own",
        ),
        (vhost(vhostuser_socket=None), "details.vhostuser_socket: it is missing, and a VIF needs it"),
        (vhost(vhostuser_socket=7), "details.vhostuser_socket: 7: it must be a string"),
        (
            vhost(vhostuser_socket="/var/lib/vhost_sockets/../../../run/x"),
            "details.vhostuser_socket: '/var/lib/vhost_sockets/../../../run/x': it must be an absolute path without "
            "'..', '.', empty parts and control characters",
        ),
        (
            vhost(vhostuser_mode="both"),
            "details.vhostuser_mode: 'both': it must be client or server: whether the guest's VMM connects to the "
            "socket, or listens on it",
        ),
        (
            neutron({"vhostuser_ovs_plug": True, "vhostuser_socket": "vhu0"}, **{"binding:vif_type": "vhostuser"}),
            "binding:vif_details.vhostuser_socket: 'vhu0': it must be an absolute path without '..', '.', empty parts "
            "and control characters",
        ),
        (
            neutron({"mac_address": "x"}, **{"binding:vif_type": "tap"}),
            "binding:vif_details.mac_address: 'x': it must be a MAC address such as fa:16:3e:eb:5e:26",
        ),
        (
            osvif("VIFGeneric"),
            "port_profile.versioned_object.name: 'VIFPortProfileOpenVSwitch': it must be VIFPortProfileFPTap, or be "
            "omitted, for a VIFGeneric",
        ),
        (
            osvif("VIFGeneric", plugin="vrouter"),
            "plugin: 'vrouter': it must be ovs, for a VIFGeneric: every other plugin wires the tap itself",
        ),
        (
            neutron(**{"binding:vnic_type": "smart-nic"}),
            f"binding:vnic_type: 'smart-nic': vifplug does not support port {HYBRID_1}'s vnic_type; it must be normal "
            "or direct or vdpa",
        ),
        (
            neutron(**{"binding:vnic_type": "direct"}),
            "binding:profile.pci_slot: it is missing, and Nova writes it when it has chosen a virtual function",
        ),
        (
            {"ports": [neutron(), None]},
            "ports[1]: null: this entry holds no VIF; remove it, or replace it by its VIF",
        ),
        ([OWN, neutron()], f"[1].id: '{HYBRID_1}': [0] has the same id; give each VIF once"),
        (
            {"ports": [OWN | {"id": PLAIN}, neutron({"bridge_name": "a/b"})]},
            f"ports[1].binding:vif_details.bridge_name: 'a/b': {NAME_RULE}",
        ),
        ([], "the document holds no VIF; give one, or a list of them"),
        ({"ports": []}, "the document holds no VIF; give one, or a list of them"),
        (sample("ovn_network_get"), f"the document: an object with the keys network: it must be {KNOWN}"),
        (sample("ovn_subnet_get"), f"the document: an object with the keys subnet: it must be {KNOWN}"),
        (
            sample("ovn_network_get")["network"],
            "the document: an object with the keys admin_state_up, availability_zone_hints, availability_zones, "
            f"created_at, ...: it must be {KNOWN}",
        ),
        ([{}], f"[0]: an empty object: it must be {KNOWN}"),
        ("17", f"the document: 17: it must be an object: {KNOWN}"),
        ([[OWN]], f"[0]: a list: it must be an object: {KNOWN}"),
        ({"port": None}, "port: null: this entry holds no VIF; remove it, or replace it by its VIF"),
        ({"ports": "x"}, "ports: 'x': it must be a list of Neutron ports"),
        (
            {key: value for key, value in neutron().items() if not key.startswith("binding:")},
            "binding:vif_type: it is missing, only administrators and services are shown it",
        ),
        (
            sample("openstack_port_show_hybrid") | {"binding_vif_type": None},
            "binding_vif_type: it is missing, only administrators and services are shown it",
        ),
        (
            # As older versions of the command print it.
            sample("openstack_port_show_hybrid") | {"binding_vif_details": "ovs_hybrid_plug='True'"},
            "binding_vif_details: \"ovs_hybrid_plug='True'\": it must be an object",
        ),
        (
            neutron(device_owner="trunk:subport"),
            "device_owner: 'trunk:subport': its frames come through the parent port of its trunk; plug that one",
        ),
        (
            neutron(**{"binding:profile": {"parent_name": PLAIN, "tag": 7}}),
            f"binding:profile.parent_name: '{PLAIN}': its frames come through that port; plug that one",
        ),
        (
            neutron(mac_address="01:00:5e:00:00:01"),
            "mac_address: '01:00:5e:00:00:01': it is a multicast address; "
            "a VIF needs a unicast one (an even first byte)",
        ),
        (neutron(id=None), "id: it is missing, a Neutron port always has one"),
        (neutron({"ovs_hybrid_plug": "true"}), "binding:vif_details.ovs_hybrid_plug: 'true': it must be true or false"),
        (neutron({"ovs_create_tap": 1}), "binding:vif_details.ovs_create_tap: 1: it must be true or false"),
        (neutron(**{"binding:vif_details": "x"}), "binding:vif_details: 'x': it must be an object"),
        (
            nova(ovs_interfaceid=GUEST),
            f"ovs_interfaceid: '{GUEST}': it must be the VIF's own id, or be omitted: "
            "vifplug writes the id as iface-id",
        ),
        (nova(network={"meta": {"mtu": "1450"}}), f"network.meta.mtu: '1450': {MTU_RULE}"),
        (nova(network={"meta": {"mtu": False}}), f"network.meta.mtu: false: {MTU_RULE}"),
        (
            nova(
                "nova_network_info_bridge",
                network={
                    "meta": {
                        **{"should_create_bridge": True, "should_create_vlan": True},
                        **{"bridge_interface": "x", "vlan": 4095},
                    }
                },
            ),
            "network.meta.vlan: 4095: it must be a VLAN id, a whole number from 1 to 4094, for an uplink of type vlan",
        ),
        (nova(devname="../../etc/passwd"), f"devname: '../../etc/passwd': {NAME_RULE}"),
        (nova(details={}, network={"bridge": "x:y"}), f"network.bridge: 'x:y': {NAME_RULE}"),
        (
            osvif("VIFHostDevice", plugin="agilio_ovs"),
            "plugin: 'agilio_ovs': it must be ovs or noop, for a VIFHostDevice",
        ),
        (osvif("VIFHostDevice"), "dev_address: it is missing, and the representor is that function's"),
        (
            osvif("VIFHostDevice", dev_type="generic", dev_address="0000:3b:10.2"),
            "dev_type: 'generic': it must be ethernet, for a virtual function with a representor",
        ),
        (osvif("VIFHostDevice", plugin="noop"), "dev_address: it is missing, and the guest's end is that PCI function"),
        (
            osvif("VIFHostDevice", plugin="noop", dev_address="3b:10.2"),
            "dev_address: '3b:10.2': it must be a PCI address with its domain, such as 0000:3b:10.2",
        ),
        (
            osvif("VIFVHostUser", plugin="noop", path="../x"),
            "path: '../x': it must be an absolute path without '..', '.', empty parts and control characters",
        ),
        (
            neutron(**{"binding:vif_type": "hostdev_physical", "binding:vnic_type": "direct-physical"}),
            "binding:profile.pci_slot: it is missing, and the guest's end is that PCI function",
        ),
        (
            neutron({"vhostuser_socket": f"/{'x' * 107}"}, **{"binding:vif_type": "vhostuser"}),
            f"binding:vif_details.vhostuser_socket: '/{'x' * 75}...: it has 108 bytes, and a Unix socket's path has at "
            "most 107 (unix(7))",
        ),
        (
            neutron({"vhostuser_socket": "/x", "vhostuser_mode": "both"}, **{"binding:vif_type": "vhostuser"}),
            "binding:vif_details.vhostuser_mode: 'both': it must be client or server: whether the guest's VMM connects "
            "to the socket, or listens on it",
        ),
        (
            neutron({"vhostuser_fp_plug": True}, **{"binding:vif_type": "vhostuser"}),
            f"binding:vif_type: 'vhostuser': vifplug does not support port {HYBRID_1}'s type with vhostuser_fp_plug, "
            "which is for a plugin of its own",
        ),
        (osvif("VIFVHostUser"), "path: it is missing, and the guest's end is that socket"),
        (
            osvif("VIFVHostUser", plugin="vhostuser_fp"),
            "plugin: 'vhostuser_fp': it must be ovs or noop, for a VIFVHostUser",
        ),
        (
            osvif("VIFNestedDPDK"),
            f"versioned_object.name: 'VIFNestedDPDK': VIF {PLAIN} is of a class vifplug does not plug; "
            "it must be one of VIFBridge, VIFOpenVSwitch, VIFGeneric, VIFHostDevice, VIFVHostUser, VIFDirect",
        ),
        (osvif("VIFBridge", plugin="noop"), "plugin: 'noop': it must be ovs or linux_bridge, for a VIFBridge"),
        (
            osvif(
                "VIFBridge",
                plugin="linux_bridge",
                network={"versioned_object.data": {"should_provide_bridge": True, "should_provide_vlan": True}},
            ),
            "network.should_provide_vlan: true: a VLAN device needs bridge_interface, the device that it is on",
        ),
        (
            osvif(port_profile={"versioned_object.name": "VIFPortProfile8021Qbh", "versioned_object.data": {}}),
            "port_profile.versioned_object.name: 'VIFPortProfile8021Qbh': it must be VIFPortProfileOpenVSwitch, "
            "for a port of Open vSwitch",
        ),
        (osvif(address=None), "address: it is missing, and a VIF needs it"),
        (osvif(plugin="noop"), "plugin: 'noop': it must be ovs, for a VIFOpenVSwitch"),
        (
            osvif(port_profile={"versioned_object.data": {"interface_id": GUEST}}),
            f"port_profile.interface_id: '{GUEST}': it must be the VIF's own id, or be omitted: "
            "vifplug writes the id as iface-id",
        ),
        (
            osvif(network={"mtu": 1450}),
            "network.versioned_object.data: null: it must be an object: the fields of a serialised os-vif object",
        ),
        (osvif(network={"versioned_object.data": {"mtu": 67}}), f"network.mtu: 67: {MTU_RULE}"),
        (osvif(bridge_name=" ", network=None), f"bridge_name: ' ': {NAME_RULE}"),
        (osvif("VIFBridge", bridge_name="a b"), f"bridge_name: 'a b': {NAME_RULE}"),
        (osvif() | {"versioned_object.namespace": "nova"}, "versioned_object.namespace: 'nova': it must be os_vif"),
    ],
    ids=range(68),
)
def test_refusal_names_field_value_and_right(document: Any, message: str) -> None:
    assert str(refused(document)) == message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"colour": "red"},
            f"unknown key 'colour'{KEYS}id, vif_type, address, network, instance, create_tap, create_port, "
            "join_tap, tap_up, tap_owner, tap, multiqueue, isolate, vlan, per_port_bridge, names, vhost_user, "
            "pci_device, macvtap, allowed_addresses, port_security",
        ),
        (
            {"mac": "fa:16:3e:00:00:01"},
            f"unknown key 'mac' (did you mean 'address'?){KEYS}id, vif_type, address, network, instance, create_tap, "
            "create_port, join_tap, tap_up, tap_owner, tap, multiqueue, isolate, vlan, per_port_bridge, names, "
            "vhost_user, pci_device, macvtap, allowed_addresses, port_security",
        ),
        (
            {"vif_type": "ovs", "create_port": False, "create_tap": True},
            "the document: create_tap: it must be false, or be left out, with create_port false: libvirt makes both",
        ),
        ({"create_port": True}, "the document: create_port: it is for VIFs of type ovs only; leave it out"),
        ({"vif_type": "ovs", "create_port": 0}, "create_port: 0: it must be true or false"),
        ({"names": {"tun": "x"}}, f"unknown key 'names.tun'{KEYS}qbr, qvb, qvo, tap, vhu, vfr, vlan"),
        (
            {"network": {"uplink": {"type": "flat", "physical_network": "p", "interface": "eth1"}}},
            f"unknown key 'network.uplink.interface'{KEYS}type, physical_network, segmentation_id, group, peers, "
            "local_ip, port, ttl, tos, udp_checksum",
        ),
        ({"network": {"mtu": 1450.0}}, f"network.mtu: 1450.0: {MTU_RULE}"),
        ({"network": {"mtu": True}}, f"network.mtu: true: {MTU_RULE}"),
        ({"network": {"mtu": 10**5000}}, f"network.mtu: an integer of 16610 bits: {MTU_RULE}"),
        ({"network": {"mtu": 65536}}, f"network.mtu: 65536: {MTU_RULE}"),
        ({"network": []}, "network: a list: it must be an object"),
        (
            {"network": {"datapath_type": "d" * 65}},
            f"network.datapath_type: '{'d' * 65}': it must be at most 64 characters long",
        ),
        ({"id": "x" * 500}, f"id: '{'x' * 76}...: it must be a UUID such as {HYBRID_1} (and 1 more)"),
        ({"instance": {}}, "instance.uuid: it is missing, and a VIF needs it"),
        ({"create_tap": "yes"}, "create_tap: 'yes': it must be true or false"),
        ({"tap_owner": {"uid": -1}}, "tap_owner.uid: -1: it must be a whole number from 0 to 4294967294"),
        ({"names": {"tap": "x", "qbr": "x"}}, "the document: names: 'x' is given to two devices; each needs its own"),
        (
            {"vif_type": "OVS"},
            "vif_type: 'OVS': it must be 1 to 32 lower-case letters, digits and hyphens, "
            "such as ovs-hybrid, ovs or bridge",
        ),
        (
            {"instance": {"uuid": GUEST, "name": "\ud800"}},
            "instance.name: '\\ud800': it must be a string of Unicode characters, without lone surrogates",
        ),
        (
            {"names": {"tap": "\ud800"}},
            f"names.tap: '\\ud800': {NAME_RULE}",
        ),
        ({"names": {"tap": "a\x00\n"}}, f"names.tap: 'a\\x00\\n': {NAME_RULE}"),
        (
            {"network": {"\ud800": 1}},
            "network: '\\ud800': it must be a string of Unicode characters, without lone surrogates",
        ),
        ({"address": {"a": CYCLE}}, "address: an object: it must be a MAC address such as fa:16:3e:eb:5e:26"),
        ({"address": CYCLE}, "address: a list: it must be a MAC address such as fa:16:3e:eb:5e:26"),
    ],
    ids=range(25),
)
def test_own_format_ignores_nothing(change: dict[str, Any], message: str) -> None:
    second = {"id": "x" * 500} if "id" in change else {}
    document = OWN | change | ({"address": "none"} if second else {})
    assert str(refused(document)) == message


def test_mistyped_key_is_named_before_the_field_it_leaves_missing() -> None:
    with pytest.raises(errors.InputError, match=r"^unknown key 'adress' \(did you mean 'address'\?\)"):
        formats.load_all({"id": HYBRID_1, "vif_type": "ovs", "adress": "52:54:00:00:00:01"})


def test_missing_vif_type_is_named() -> None:
    assert str(refused({"id": PLAIN, "address": "fa:16:3e:95:3a:3d"})) == "vif_type: it is missing, and a VIF needs it"


@pytest.mark.parametrize("document", [neutron({"bridge_name": ""}), nova(devname=""), osvif(plugin=5), OWN | {"x": 1}])
def test_refusal_carries_the_vif_id(document: dict[str, Any]) -> None:
    assert refused(document).subject in (HYBRID_1, PLAIN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "yaml"}, "format: 'yaml': it must be one of auto, vif, neutron-port, nova-network-info, os-vif"),
        (
            {"format": "os-vif"},
            "the document: an object with the keys id, vif_type, address: it must be a VIF in the format "
            "os-vif (versioned_object.name, versioned_object.data); it looks like vif",
        ),
        ({"mtu": 67}, f"mtu: 67: {MTU_RULE}"),
        ({"mtu": True}, f"mtu: true: {MTU_RULE}"),
        ({"mtu": "1500"}, f"mtu: '1500': {MTU_RULE}"),
        ({"instance": "x"}, "instance: 'x': it must be an object with uuid and name"),
        ({"instance": {"uuid": "x"}}, f"instance.uuid: 'x': it must be a UUID such as {HYBRID_1}"),
        ({"instance": {"uuid": GUEST, "id": 1}}, f"unknown key 'instance.id' (did you mean 'uuid'?){KEYS}uuid, name"),
        (
            {"instance": {"name": "web"}},
            "instance.uuid: it is missing, and the document has no instance either",
        ),
    ],
)
def test_wrong_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    assert str(refused(OWN, **arguments)) == message
