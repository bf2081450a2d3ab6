"""Port bindings in Neutron's terms, which Nova uses too, and the parts of a network that are checked with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vifplug.formats import devices
from vifplug.formats.reader import Entry

_TYPES, _PHYSICAL, _VHOST_USER = ("ovs", "bridge", "tap"), "hostdev_physical", "vhostuser"
_PARTS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "vhost-user": ("vhost_user", {"socket": "vhostuser_socket", "mode": "vhostuser_mode"}),
}
"""vif_type -> the part of a VIF that only its requests have, and the keys of the details that its fields come from."""
_ON_A_BRIDGE = ("ovs", "bridge", _VHOST_USER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of a port's binding, which Neutron and Nova name differently."""

    vif_type: str
    vnic_type: str
    details: str
    profile: str


def lone_tap(backend: Entry) -> dict[str, Any] | None:
    """What a single tap has of its network backend, whose ``mac_address`` is that of the host's side."""
    address = backend.data.get("mac_address")
    return None if address is None else {"address": address}


class Binding:
    """How Neutron bound a port to its host: all parts of a request that depend on that.

    :raises InputError: the details are not an object.
    """

    def __init__(self, port: Entry, keys: Keys) -> None:
        self._port, self._keys = port, keys
        self.details = port.part(keys.details)
        profile = port.data.get(keys.profile)
        self.profile = Entry(profile if isinstance(profile, Mapping) else {}, port.at(keys.profile), port.subject)

    def fields(self) -> dict[str, Any]:
        """Fields of the request, ``vif_type`` first.

        :raises InputError: for a port that is not bound, or whose binding no driver supports.
        """
        self._check_vnic()
        vif_type = self._vif_type()
        if vif_type == "external":
            return {"vif_type": vif_type, **self._end()}
        if vif_type == devices.HOST_DEVICE:
            # ML2/OVN may send ovs_create_tap for every port of a host, and this one has no tap.
            return devices.represented(self._vnic, self.profile)
        if vif_type in devices.TYPES.values():
            return devices.fields(vif_type, self._vnic, self.details, self.profile)
        if vif_type == "tap":
            return {"vif_type": vif_type, "tap": lone_tap(self.details)}
        # Exactly the port's value; a missing one means false. ML2/OVN may send it for every port of a host, and a
        # vhost-user port has no tap.
        create_tap = bool(self.details.flag("ovs_create_tap")) and not self.details.flag("vhostuser_ovs_plug")
        # A tap that vifplug makes is useless without its port.
        create_port = self._create_port() if vif_type == "ovs" and not create_tap else None
        return {"vif_type": vif_type, "create_tap": create_tap, "create_port": create_port, **self._part(vif_type)}

    def _part(self, vif_type: str) -> dict[str, Any]:
        """The part of the request that only VIFs of its type have."""
        if vif_type not in _PARTS:
            return {}
        name, keys = _PARTS[vif_type]
        values = {field: self.details.data.get(key) for field, key in keys.items()}
        return {name: {field: value for field, value in values.items() if value is not None}}

    def _create_port(self) -> bool | None:
        """Whether libvirt leaves the port to vifplug: as Nova records it for a VIF, and in a migration's profile."""
        delegated = self._port.flag("delegate_create")
        return self.profile.flag("os_vif_delegation") if delegated is None else delegated

    @property
    def is_on_bridge(self) -> bool:
        """Whether a port of this type is on a bridge; the document may name one for every type."""
        return self._port.data.get(self._keys.vif_type) in _ON_A_BRIDGE and not self._is_external

    def sources(self) -> dict[str, str]:
        """Fields of the request that have another name here -> their paths."""
        parts = {
            f"{name}.{field}": self.details.at(key) for name, keys in _PARTS.values() for field, key in keys.items()
        }
        return {
            "network.datapath_type": self.details.at("datapath_type"),
            "tap.address": self.details.at("mac_address"),
            "pci_device.address": self.profile.at("pci_slot"),
            **devices.sources(self.details, self.profile),
            **parts,
        }

    @property
    def _is_remote(self) -> bool:
        """Whether a smart NIC's own host plugs it: its representor is there, not here."""
        return self._port.data.get(self._keys.vnic_type) == "remote-managed"

    @property
    def _is_external(self) -> bool:
        """Whether vifplug makes nothing for it on this host."""
        vif_type = self._port.data.get(self._keys.vif_type)
        if vif_type == _VHOST_USER:
            return not self.details.flag("vhostuser_ovs_plug")
        return vif_type == _PHYSICAL or (vif_type == "ovs" and self._is_remote)

    def _end(self) -> dict[str, Any]:
        """The guest's end of a port for which vifplug makes nothing on this host."""
        if self._port.data.get(self._keys.vif_type) == _VHOST_USER:
            socket = self.details.require("vhostuser_socket", "and the guest's end is that socket")
            # Nova also treats a missing mode as server (os_vif_util).
            return {"vhost_user": {"socket": socket, "mode": self.details.text("vhostuser_mode") or "server"}}
        address = self.profile.require("pci_slot", "and the guest's end is that PCI function")
        return {"pci_device": {"address": address, "whole": not self._is_remote}}

    def _check_vnic(self) -> None:
        """Refuse a port that needs other hardware than its type has."""
        key = self._keys.vnic_type
        vif_type = self._port.data.get(self._keys.vif_type)
        wanted = devices.VNICS.get(vif_type, ("normal",)) if isinstance(vif_type, str) else ("normal",)
        is_of_another = self._is_external and self._port.data.get(self._keys.vif_type) != _VHOST_USER
        if self._vnic not in wanted and not is_of_another:
            should = f"it must be {' or '.join(wanted)}"
            raise self._port.refusal(key, f"vifplug does not support {self._name}'s vnic_type; {should}")

    @property
    def _vnic(self) -> Any:
        """The port's vnic_type; a missing value is Neutron's default, normal."""
        return self._port.data.get(self._keys.vnic_type) or "normal"

    def _vif_type(self) -> str:
        key = self._keys.vif_type
        vif_type = self._port.data.get(key)
        if vif_type == "unbound":
            raise self._port.refusal(key, f"{self._name} is bound to no host; bind it to this host first")
        if vif_type == "binding_failed":
            raise self._port.refusal(
                key,
                f"Neutron could not bind {self._name} to its host; see neutron-server's log for why "
                "(often no agent is alive on that host), correct that, and bind the port again",
            )
        if vif_type == _VHOST_USER:
            return self._vhost_user(key)
        if self._is_external:
            return "external"
        if isinstance(vif_type, str) and vif_type in devices.TYPES:
            return devices.TYPES[vif_type]
        if vif_type not in _TYPES:
            should = f"it must be one of {', '.join((*_TYPES, *devices.TYPES, _PHYSICAL, _VHOST_USER))}"
            raise self._port.refusal(key, f"vifplug does not support {self._name}'s type; {should}")
        if vif_type == "ovs" and self._vnic in devices.REPRESENTED:
            return devices.HOST_DEVICE
        return "ovs-hybrid" if vif_type == "ovs" and self.details.flag("ovs_hybrid_plug") else str(vif_type)

    def _vhost_user(self, key: str) -> str:
        """Open vSwitch's vhost-user ports, and those of a switch that makes the socket itself. 6WIND's and Contrail's
        have their own plugins (nova's os_vif_util)."""
        for other in ("vhostuser_fp_plug", "vhostuser_vrouter_plug"):
            if self.details.flag(other):
                raise self._port.refusal(
                    key,
                    f"vifplug does not support {self._name}'s type with {other}, which is for a plugin of its own",
                )
        return "external" if self._is_external else "vhost-user"

    @property
    def _name(self) -> str:
        return f"port {self._port.subject}" if self._port.subject else "the port"


def uplink(network: Entry, verb: str) -> dict[str, Any] | None:
    """The uplink of a Linux bridge, as os-vif's former plugin made it: a device, or a VLAN device on it. None if
    another program is to make the bridge.

    :param verb: in the keys: Nova has ``should_create_bridge``, os-vif ``should_provide_bridge``.
    :raises InputError: a VLAN has no device.
    """
    device, vlan = network.text("bridge_interface"), f"should_{verb}_vlan"
    if not network.flag(f"should_{verb}_bridge") or network.flag("multi_host"):
        return None
    if network.flag(vlan):
        if not device:
            raise network.refusal(vlan, "a VLAN device needs bridge_interface, the device that it is on")
        return {"type": "vlan", "physical_network": device, "segmentation_id": network.data.get("vlan")}
    return {"type": "flat", "physical_network": device} if device else None


def sources_of_uplink(network: Entry) -> dict[str, str]:
    """The paths of an uplink's fields."""
    named = {"physical_network": "bridge_interface", "segmentation_id": "vlan"}
    return {f"network.uplink.{field}": network.at(key) for field, key in named.items()}
