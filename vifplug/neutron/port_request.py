"""A port's details, as neutron-server gives them to an agent -> the VIF that vifplugd is to plug. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vifplug.errors import InputError
from vifplug.formats import network as networks
from vifplug.model.uplink import Uplink
from vifplug.model.vif import Vif
from vifplug.neutron import binding
from vifplug.neutron.host_setup import HostSetup

_TRUSTED_OWNERS = "network:"
"""device_owner of ports of Neutron's own services: their addresses change without the port's."""
_LOCAL, _FLAT = "local", "flat"


def request(
    details: Mapping[str, Any],
    setup: HostSetup,
    peers: Collection[str],
    *,
    prevents_spoofing: bool,
    makes_own_tap: bool = False,
) -> Vif:
    """The VIF of a port.

    :param details: an entry of get_devices_details_list, with ``port_id``.
    :param peers: the other hosts of a VXLAN network, if the setup is by unicast.
    :param makes_own_tap: whether the compute service has plugged the VIF with a tap that vifplug made.
    :raises InputError: the host is not joined to the port's physical network, or has no tunnel.
    """
    port_id = str(details["port_id"])
    joined = {} if makes_own_tap else {"create_tap": False, "join_tap": True, "tap_up": bool(details["admin_state_up"])}
    network: dict[str, Any] = {"id": details["network_id"], "uplink": _uplink(details, setup, peers)}
    if details.get("mtu"):
        network["mtu"] = details["mtu"]
    return Vif.model_validate(
        {
            "id": port_id,
            "vif_type": "bridge",
            "address": details["mac_address"],
            "network": network,
            **joined,
            **(_filter(details) if prevents_spoofing and setup.filters else {}),
        }
    )


def _uplink(details: Mapping[str, Any], setup: HostSetup, peers: Collection[str]) -> Uplink | None:
    kind, physical, port_id = details["network_type"], details.get("physical_network"), details["port_id"]
    if kind == _LOCAL:
        return None
    if kind == binding.VXLAN and not setup.tunnel_address:
        raise InputError(
            f"port {port_id} is on a VXLAN network, and this host has no tunnel; set vifplugd's [bridge] "
            "vxlan_local_ip",
            port_id,
        )
    if kind in binding.WITHOUT_TUNNEL and physical not in setup.mappings:
        known = ", ".join(sorted(setup.mappings)) or "none"
        raise InputError(
            f"port {port_id} is on physical network {physical!r}, which vifplugd's [bridge] physical_networks does not "
            f"list; it lists: {known}",
            port_id,
        )
    values = {
        "type": kind,
        "physical_network": physical if kind != binding.VXLAN else None,
        "segmentation_id": details.get("segmentation_id") if kind != _FLAT else None,
        "peers": sorted(peers) if kind == binding.VXLAN and setup.by_unicast else None,
    }
    return networks.checked(values, {key: key for key in values})


def _filter(details: Mapping[str, Any]) -> dict[str, Any]:
    """Where the guest may send from: as Neutron's removed agent, ports of Neutron's own services are not limited."""
    if not details.get("port_security_enabled", True) or str(details.get("device_owner")).startswith(_TRUSTED_OWNERS):
        return {"port_security": False}
    own = details["mac_address"]
    pairs = [*(details.get("fixed_ips") or ()), *(details.get("allowed_address_pairs") or ())]
    allowed = [{"ip": pair["ip_address"], "mac": pair.get("mac_address") or own} for pair in pairs]
    return {"port_security": True, "allowed_addresses": allowed}


def with_peers(vif: Vif, peers: Collection[str]) -> Vif:
    """The same VIF with other hosts for its network's uplink."""
    uplink = vif.network.uplink
    if uplink is None:
        return vif
    changed = uplink.model_copy(update={"peers": tuple(sorted(peers))})
    return vif.model_copy(update={"network": vif.network.model_copy(update={"uplink": changed})})
