"""Image, flavour, networks and security rules; with ML2/OVN, which has no DHCP namespaces, and in mode bridge on the
second host, a port of each network in a namespace of its own, to reach the guests from: ``resources.py MODE``."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import openstack

IMAGES = f"{os.environ['R']}/images"
COMMAND_LINE = "console=ttyS0 quiet mitigations=off nokaslr"
NETWORKS: tuple[tuple[str, str, dict[str, Any]], ...] = (("net1", "10.1.0.0/24", {}), ("net2", "10.2.0.0/24", {}))
FLAT = {"provider_network_type": "flat", "provider_physical_network": "physnet1"}
VLAN = {"provider_network_type": "vlan", "provider_physical_network": "physnet1", "provider_segmentation_id": 101}
BRIDGED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *NETWORKS,
    ("flat1", "10.3.0.0/24", FLAT),
    ("vlan1", "10.4.0.0/24", VLAN),
)
names = {"project_name": "admin", "user_domain_name": "Default", "project_domain_name": "Default"}
cloud: Any = openstack.connect(
    auth_url="http://controller:5000/v3", username="admin", password="admin", region_name="RegionOne", **names
)


def image(name: str, path: str, disk_format: str, **properties: str) -> Any:
    """The image of that name."""
    container = disk_format if disk_format in ("aki", "ari") else "bare"
    return cloud.image.find_image(name) or cloud.image.create_image(
        name=name,
        filename=f"{IMAGES}/{path}",
        disk_format=disk_format,
        container_format=container,
        visibility="public",
        wait=True,
        **properties,
    )


def security_rules() -> None:
    """Let ping and TCP in, from anywhere."""
    group = cloud.network.find_security_group("default", project_id=cloud.current_project_id)
    for protocol in ("icmp", "tcp"):
        rule = {"direction": "ingress", "ether_type": "IPv4", "protocol": protocol}
        if not list(cloud.network.security_group_rules(security_group_id=group.id, **rule)):
            cloud.network.create_security_group_rule(security_group_id=group.id, remote_ip_prefix="0.0.0.0/0", **rule)


def probe(network: Any) -> None:
    """A veth pair plugged by hand, with one end in namespace probe-NETWORK."""
    name = f"probe-{network.name}"
    port = cloud.network.find_port(name) or cloud.network.create_port(
        name=name, network_id=network.id, binding_host_id="hv1", device_owner="compute:probe"
    )
    address = port.fixed_ips[0]["ip_address"]
    outer, mac = f"pv-{network.name}", port.mac_address
    commands = [
        f"ip netns add {name}",
        f"ip link add {outer} type veth peer name eth0 netns {name}",
        f"ip link set {outer} up",
        f"ip -n {name} link set eth0 address {mac} mtu 1400 up",
        f"ip -n {name} addr add {address}/24 dev eth0",
        f"ip -n {name} link set lo up",
        f"ip netns exec {name} ethtool -K eth0 tx off",
        f"ovs-vsctl add-port br-int {outer} -- set interface {outer} external_ids:iface-id={port.id} "
        f'external_ids:attached-mac="{mac}"',
    ]
    for command in commands:
        subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)


def second_hosts_probe(network: Any) -> None:
    """A veth pair on host hv2, as a VMM would make a tap there, with one end in namespace probe-NETWORK."""
    name = f"probe-{network.name}"
    # Of a group of its own: members of the guests' group reach each other without any rule.
    group = cloud.network.find_security_group("probes") or cloud.network.create_security_group(name="probes")
    binding = {"binding_host_id": "hv2", "device_owner": "compute:probe", "security_group_ids": [group.id]}
    port = cloud.network.find_port(name) or cloud.network.create_port(name=name, network_id=network.id, **binding)
    commands = [
        f"ip netns add {name}",
        f"ip -n hv2 link add tap{port.id[:11]} type veth peer name eth0 netns {name}",
        f"ip -n {name} link set eth0 address {port.mac_address} mtu {network.mtu} up",
        f"ip -n {name} addr add {port.fixed_ips[0]['ip_address']}/24 dev eth0",
        f"ip -n {name} link set lo up",
        f"ip -n hv2 link set tap{port.id[:11]} up",
    ]
    for command in commands:
        subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)


def main(mode: str) -> None:
    """Make what is not there yet."""
    kernel, initrd = image("kernel", "vmlinuz", "aki"), image("initrd", "initrd", "ari")
    image(
        "guest",
        "disk",
        "raw",
        kernel_id=kernel.id,
        ramdisk_id=initrd.id,
        os_command_line=COMMAND_LINE,
        hw_serial_port_count="1",
        hw_disk_bus="virtio",
        hw_vif_model="virtio",
    )
    if cloud.compute.find_flavor("tiny") is None:
        cloud.compute.create_flavor(name="tiny", ram=128, vcpus=1, disk=1)
    security_rules()
    for name, cidr, provider in BRIDGED if mode == "bridge" else NETWORKS:
        network = cloud.network.find_network(name) or cloud.network.create_network(name=name, **provider)
        if not list(cloud.network.subnets(network_id=network.id)):
            cloud.network.create_subnet(network_id=network.id, name=name, ip_version=4, cidr=cidr, is_dhcp_enabled=True)
        if mode == "ovn":
            probe(network)
        elif mode == "bridge":
            second_hosts_probe(network)


if __name__ == "__main__":
    main(sys.argv[1])
