"""The resource that joins a network's Linux bridge to networks outside the host."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

from vifplug import naming
from vifplug.drivers import builders
from vifplug.drivers.contract import Options, mtu_of
from vifplug.errors import InputError
from vifplug.model import uplink as model
from vifplug.model.uplink import Uplink
from vifplug.model.vif import Vif
from vifplug.resources.bridge import Bridge
from vifplug.resources.link import TRUNK, Link
from vifplug.resources.uplink import nic, vxlan


def uplinks(vif: Vif, bridge: Bridge, options: Options) -> list[Link]:
    """The uplink of a bridge, if its network has one.

    :raises InputError: the configuration does not list its physical network, or it lacks a value.
    """
    asked = vif.network.uplink
    if asked is None:
        return []
    if bridge.vlan_filtering and asked.type != model.FLAT:
        raise InputError(
            f"network.uplink of VIF {vif.id} is of type {asked.type}, and the VIF has vlan {vif.vlan}: a bridge that "
            f"filters by VLAN takes an uplink of type {model.FLAT}, which has the VLANs tagged; leave out one of them",
            vif.id,
        )
    if asked.type == model.VXLAN:
        return [_vxlan(vif, asked, bridge, options)]
    device = _device(vif, asked, options)
    if asked.type == model.FLAT:
        keeps = device in options.addressed_devices
        own = nic.Nic(
            name=device, owner=bridge.owner, role=nic.ROLE, master=bridge.name, keeps_addresses=keeps, up=True
        )
        return [replace(own, bridge_vlan=TRUNK) if bridge.vlan_filtering else own]
    number = int(asked.segmentation_id or 0)
    name = vif.names.vlan or naming.vlan_device(device, number)
    return [replace(builders.vlan_device(vif, name, bridge.owner, device, number), master=bridge.name)]


def overhead(asked: Any, options: Options) -> int:
    """Bytes of the physical network's MTU that an uplink's own headers take.

    :param asked: as in the request; None for none.
    """
    if not isinstance(asked, Uplink) or asked.type != model.VXLAN:
        return 0
    return vxlan.OVERHEAD6 if _is_ipv6(asked, _group(asked, options), _local_ip(asked, options)) else vxlan.OVERHEAD


def _device(vif: Vif, asked: Uplink, options: Options) -> str:
    """The device of a physical network, or one that is named itself.

    :raises InputError: the configuration lists neither.
    """
    wanted, networks = str(asked.physical_network), options.physical_networks
    if wanted in networks:
        return networks[wanted]
    if wanted in networks.values():
        return wanted
    known = ", ".join(f"{name} ({device})" for name, device in sorted(networks.items())) or "none"
    raise InputError(
        f"network.uplink.physical_network of VIF {vif.id} is {wanted!r}, which [bridge] physical_networks does not "
        f"list; it lists: {known}",
        vif.id,
    )


def _vxlan(vif: Vif, asked: Uplink, bridge: Bridge, options: Options) -> vxlan.Vxlan:
    number, group, local = int(asked.segmentation_id or 0), _group(asked, options), _local_ip(asked, options)
    lower = None if asked.physical_network is None else _device(vif, asked, options)
    if group is None and asked.peers is None:
        raise InputError(
            f"network.uplink of VIF {vif.id} has neither group nor peers, and [bridge] vxlan_group is not set; give "
            "one of them: where frames without a known destination go",
            vif.id,
        )
    if lower is None and local is None:
        raise InputError(
            f"network.uplink of VIF {vif.id} has neither physical_network nor local_ip, and [bridge] vxlan_local_ip is "
            "not set; give one of them: the device that its packets leave by",
            vif.id,
        )
    is_ipv6 = _is_ipv6(asked, group, local)
    if is_ipv6 and local is None and group is None:  # by these the kernel decides for a protocol (vxlan_fdb_parse)
        raise InputError(
            f"network.uplink of VIF {vif.id} has peers of IPv6 and no local_ip, and [bridge] vxlan_local_ip is not "
            "set; give one of them",
            vif.id,
        )
    if any(address is not None and (":" in address) != is_ipv6 for address in (group, local)):
        raise InputError(
            f"network.uplink of VIF {vif.id} has local address {local} and {'group ' + group if group else 'peers'} of "
            "different protocols; all must be IPv4, or all IPv6 (local_ip, or [bridge] vxlan_local_ip)",
            vif.id,
        )
    without_checksums = None if asked.udp_checksum is None else not asked.udp_checksum
    return vxlan.Vxlan(
        name=naming.vxlan_device(number),
        owner=bridge.owner,
        role=vxlan.ROLE,
        alias=naming.alias(bridge.owner),
        address=naming.birth_address(bridge.owner, vxlan.ROLE),
        mtu=mtu_of(vif),
        vni=number,
        lower=lower,
        group=None if is_ipv6 else group,
        group6=group if is_ipv6 else None,
        local=None if is_ipv6 else local,
        local6=local if is_ipv6 else None,
        port=asked.port,
        ttl=asked.ttl,
        tos=asked.tos,
        learning=True,
        udp_checksum=None if is_ipv6 else asked.udp_checksum,
        no_checksum6_sent=without_checksums if is_ipv6 else None,
        no_checksum6_received=without_checksums if is_ipv6 else None,
        peers=asked.peers,
        is_ipv6=is_ipv6,
        master=bridge.name,
        disable_ipv6=True,
        accept_ra=0,
        arp_ignore=1,
        up=True,
    )


def _group(asked: Uplink, options: Options) -> str | None:
    """The multicast group: the request's, or the configuration's.

    Of a range of groups each VXLAN has one by its number, as of Neutron's Linux bridge agent (get_vxlan_group).
    """
    if asked.peers is not None or asked.group is not None:
        return asked.group
    if not options.vxlan_group:
        return None
    groups = ipaddress.ip_network(options.vxlan_group)
    return str(groups.network_address + (int(asked.segmentation_id or 0) & int(groups.hostmask)))


def _local_ip(asked: Uplink, options: Options) -> str | None:
    return asked.local_ip or options.vxlan_local_ip or None


def _is_ipv6(asked: Uplink, group: str | None, local: str | None) -> bool:
    """By where its packets go to."""
    return ":" in (group or next(iter(asked.peers or ()), None) or local or "")
