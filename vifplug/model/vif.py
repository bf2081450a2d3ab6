"""A request: a VIF, its network and its instance, validated and frozen. No I/O.

These are also the model of vifplug's own JSON format; ``vifplug schema`` prints their JSON Schema. A value that is None
was not given: a recorded VIF keeps what it had, a new one takes the configuration's.
"""

from __future__ import annotations

import functools
import ipaddress
import typing
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic.config import JsonDict

from vifplug import naming
from vifplug.model import limits
from vifplug.model.part import Part as _Part
from vifplug.model.uplink import Uplink

_MULTICAST_BIT = 0x01
ALLOWED_MAX = 1024
"""Of one VIF's allowed_addresses."""
CLIENT, SERVER = "client", "server"
"""The VMM's role at a vhost-user socket, as Neutron, Nova and os-vif call it."""


def _uuid(value: Any) -> str:
    if isinstance(value, uuid.UUID):
        return str(value)
    if not isinstance(value, str) or not naming.is_uuid(value.lower()):
        raise ValueError(limits.UUID_RULE)
    return value.lower()


def _address(value: Any) -> str:
    if not isinstance(value, str) or not naming.is_address(value.lower()):
        raise ValueError("it must be a MAC address such as fa:16:3e:eb:5e:26")
    if int(value[:2], 16) & _MULTICAST_BIT:
        raise ValueError("it is a multicast address; a VIF needs a unicast one (an even first byte)")
    if set(value) <= {"0", ":"}:
        raise ValueError("it is all zeros; a VIF needs an address of its own")
    return value.lower()


def _link_name(value: str) -> str:
    if not naming.is_link_name(value):
        raise ValueError(f"it must be a device name: {naming.LINK_NAME_RULE}")
    return value


def _socket_path(value: str) -> str:
    fault = naming.socket_path_fault(value)
    if fault:
        raise ValueError(fault)
    return value


def _socket_mode(value: str) -> str:
    if value not in (CLIENT, SERVER):
        raise ValueError(
            "it must be client or server: whether the guest's VMM connects to the socket, or listens on it"
        )
    return value


def _pci_address(value: Any) -> str:
    if not isinstance(value, str) or not naming.is_pci_address(value.lower()):
        raise ValueError("it must be a PCI address with its domain, such as 0000:3b:10.2")
    return value.lower()


def _own_vlan(value: Any) -> Any:
    if value != limits.NO_VLAN and not limits.is_vlan(value):
        raise ValueError(limits.VLAN_RULE)
    return value


def _source(value: Any) -> str:
    try:
        # A link's own addresses may have its name (RFC 4007), which no packet has.
        network = ipaddress.ip_network(value if isinstance(value, str) and "%" not in value else "", strict=False)
    except ValueError:
        raise ValueError("it must be an IPv4 or IPv6 address, or a prefix such as 10.0.0.0/24") from None
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


# The validators decide; json_schema_extra describes to readers of the JSON Schema what a pattern can express.
UUID_SCHEMA: JsonDict = {"format": "uuid", "pattern": r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"}
_MAC_SCHEMA: JsonDict = {"pattern": r"^(?!00(:00){5}$)[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$"}
_LINK_SCHEMA: JsonDict = {
    "pattern": r"^(?!(?:\.{1,2}|all|default)$)[^\s/:%\x00-\x1f\x7f]+$",
    "minLength": 1,
    "maxLength": naming.LINK_NAME_MAX,
}

Uuid = Annotated[str, BeforeValidator(_uuid), Field(json_schema_extra=UUID_SCHEMA)]
MacAddress = Annotated[str, BeforeValidator(_address), Field(json_schema_extra=_MAC_SCHEMA)]
LinkName = Annotated[str, AfterValidator(_link_name), Field(json_schema_extra=_LINK_SCHEMA)]
PciAddress = Annotated[
    str,
    BeforeValidator(_pci_address),
    Field(json_schema_extra={"pattern": r"^[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[01][0-9A-Fa-f]\.[0-7]$"}),
]
IpSource = Annotated[str, BeforeValidator(_source)]
VlanId = Annotated[int, Field(ge=naming.VLAN_MIN, le=naming.VLAN_MAX, strict=True)]
OwnVlan = Annotated[
    int | Literal["none"],
    BeforeValidator(_own_vlan),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": naming.VLAN_MIN, "maximum": naming.VLAN_MAX},
                {"const": limits.NO_VLAN},
            ]
        }
    ),
]
Mtu = Annotated[int, Field(ge=limits.MTU_MIN, le=limits.MTU_MAX, strict=True)]
Flag = Annotated[bool, Field(strict=True)]
UserId = Annotated[int, Field(ge=0, le=2**32 - 2, strict=True)]
SocketPath = Annotated[
    str, AfterValidator(_socket_path), Field(json_schema_extra={"pattern": "^/", "maxLength": naming.SOCKET_PATH_MAX})
]
SocketMode = Annotated[str, AfterValidator(_socket_mode), Field(json_schema_extra={"enum": [CLIENT, SERVER]})]
VifType = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class Network(_Part):
    """The network a VIF is on."""

    id: Uuid | None = Field(
        default=None, description="The network's UUID; a bridge VIF needs it unless it names its bridge."
    )
    bridge: LinkName | None = Field(
        default=None,
        description="ovs, ovs-hybrid, vhost-user and host-device: the OVS bridge, by default the configuration's "
        "integration_bridge. bridge: the Linux bridge, by default brq and the network id, cut to 14 characters.",
    )
    mtu: Mtu | None = Field(default=None, description="Bytes, for every hop of the VIF's path.")
    datapath_type: str | None = Field(
        default=None,
        max_length=64,
        description="The OVS bridge's datapath as the sender assumes. The bridge's own decides; a difference causes a "
        "warning.",
    )
    uplink: Uplink | None = Field(
        default=None,
        description="bridge: what joins the Linux bridge to networks outside the host; by default nothing.",
    )


class Instance(_Part):
    """The guest a VIF belongs to."""

    uuid: Uuid = Field(description="Written to Interface.external_ids:vm-uuid.")
    name: str | None = Field(default=None, max_length=limits.INSTANCE_NAME_MAX)


class TapOwner(_Part):
    """The users who may open a tap that vifplug makes, besides root."""

    uid: UserId | None = None
    gid: UserId | None = None


class Names(_Part):
    """Explicit device names, instead of prefix plus id."""

    qbr: LinkName | None = None
    qvb: LinkName | None = None
    qvo: LinkName | None = None
    tap: LinkName | None = None
    vhu: LinkName | None = None
    vfr: LinkName | None = Field(
        default=None, description="The port of a host-device VIF on a bridge of the userspace datapath."
    )
    vlan: LinkName | None = Field(
        default=None, description="The VLAN device of a macvtap VIF, or of a network's uplink."
    )


class VhostUser(_Part):
    """The socket that connects a guest's VMM and a switch."""

    vif_types = frozenset({"vhost-user", "external"})
    device = "socket"
    defaults: ClassVar[Mapping[str, Any]] = {"mode": SERVER}

    socket: SocketPath = Field(
        description="Its path; of vhost-user below the configuration's vhostuser_socket_dir, and in mode client with "
        "the port's name."
    )
    mode: SocketMode | None = Field(
        default=None,
        description="The VMM's role. server, the default: it listens, and Open vSwitch connects (dpdkvhostuserclient). "
        "client: Open vSwitch listens (dpdkvhostuser).",
    )


class LoneTap(_Part):
    """Fields that only a VIF that is a single tap may have."""

    vif_types: ClassVar[frozenset[str]] = frozenset({"tap"})

    address: MacAddress | None = Field(
        default=None,
        description="The MAC of the host's side, which a network backend may name. By default the guest's with the "
        "first byte fe (fa, if the guest's begins with fe).",
    )


MacvtapMode = Literal["bridge", "vepa", "private", "passthrough"]


class PciDevice(_Part):
    """The PCI function that a guest gets."""

    vif_types: ClassVar[frozenset[str]] = frozenset({"external", "host-device", "vf"})
    device = "address"

    address: PciAddress = Field(description="The function's PCI address.")
    whole: Flag | None = Field(
        default=None,
        description="Whether it is a whole NIC, given to the guest unchanged; by default it is a virtual function, "
        "whose MAC the hypervisor sets.",
    )
    vlan: VlanId | None = Field(default=None, description="vf: the VLAN of its frames; by default none.")
    trusted: Flag | None = Field(
        default=None,
        description="vf: whether the guest may change its MAC and be promiscuous; by default unchanged.",
    )
    spoof_check: Flag | None = Field(
        default=None,
        description="vf: whether frames with another source MAC are dropped; by default unchanged.",
    )
    macvtap: MacvtapMode | None = Field(
        default=None,
        description="vf: the guest gets a macvtap of this mode on the function's own network device, in place of the "
        "function.",
    )
    vdpa: Flag | None = Field(
        default=None,
        description="host-device: whether the guest gets the function's vDPA device (/dev/vhost-vdpa-N) in place of "
        "the function; by default, if it has one.",
    )


class Macvtap(_Part):
    """The device on which the guest's VMM makes a macvtap."""

    vif_types: ClassVar[frozenset[str]] = frozenset({"macvtap"})
    device = "source"
    defaults: ClassVar[Mapping[str, Any]] = {"mode": "bridge"}

    source: LinkName = Field(description="The host's device; with a VLAN the one below its VLAN device.")
    mode: MacvtapMode | None = Field(default=None, description="Of the macvtap; by default bridge.")
    vlan: VlanId | None = Field(
        default=None, description="Make a VLAN device on the source, named SOURCE.VLAN; by default none."
    )


WITH_VLAN = frozenset({"bridge", "ovs", "ovs-hybrid"})
"""The vif_types whose VIFs may have a VLAN of their own."""
_VLANS_OF_PARTS = {"vf": "pci_device.vlan", "macvtap": "macvtap.vlan"}


class AllowedAddress(_Part):
    """An address that a guest may send from."""

    ip: IpSource = Field(description="An IPv4 or IPv6 address, or a prefix such as 10.0.0.0/24.")
    mac: MacAddress | None = Field(default=None, description="With this MAC; by default the VIF's.")


class Vif(_Part):
    """One guest interface and how it is to be plugged."""

    id: Uuid = Field(description="The port's UUID.")
    vif_type: VifType = Field(
        description="Which driver builds it: ovs-hybrid, ovs, bridge, tap, vhost-user, host-device, vf, macvtap "
        "or external."
    )
    address: MacAddress = Field(description="The guest's MAC address.")
    network: Network = Network()
    instance: Instance | None = None
    create_tap: Flag | None = Field(
        default=None, description="Make the guest's tap. By default true for ovs, bridge and tap, false for ovs-hybrid."
    )
    create_port: Flag | None = Field(
        default=None,
        description="ovs: make the port. False leaves it to libvirt, which makes it with the tap and deletes it with "
        "the guest; vifplug only reads it. By default true.",
    )
    join_tap: Flag | None = Field(
        default=None,
        description="bridge, with create_tap false: put the tap that another program has made on the bridge, with the "
        "VIF's MTU. It must have the name tap and the id, cut to 14 characters; unplug takes it off. By default the "
        "VMM puts it there.",
    )
    tap_up: Flag | None = Field(
        default=None, description="With join_tap: whether the tap is up; by default true. False cuts the guest off."
    )
    tap_owner: TapOwner | None = None
    tap: LoneTap | None = None
    multiqueue: Flag | None = Field(
        default=None, description="Make the tap multi-queue; QEMU must open it the same way."
    )
    isolate: Flag | None = Field(
        default=None,
        description="A new OVS port is dead (VLAN 4095) until a control plane wires it. By default the "
        "configuration's.",
    )
    vlan: OwnVlan | None = Field(
        default=None,
        description="bridge, ovs and ovs-hybrid: the VLAN of the guest's frames, on hosts where no control plane wires "
        "ports. On an OVS bridge vifplug owns Port.tag then; a Linux bridge filters by VLAN, and VIFs of several VLANs "
        "share it. A request without it keeps that of a plugged VIF; none removes it from an OVS port.",
    )
    per_port_bridge: Flag | None = Field(
        default=None,
        description="ovs: the port goes to an OVS bridge of the VIF's own, which a patch joins to network.bridge. By "
        "default the configuration's; a plugged VIF keeps its way until it is unplugged.",
    )
    names: Names = Names()
    vhost_user: VhostUser | None = Field(default=None, description="vhost-user and external: the guest's end.")
    pci_device: PciDevice | None = Field(default=None, description="external, host-device and vf: the guest's end.")
    macvtap: Macvtap | None = Field(default=None, description="macvtap: the guest's end.")
    allowed_addresses: Annotated[tuple[AllowedAddress, ...], Field(max_length=ALLOWED_MAX)] | None = Field(
        default=None,
        description="The addresses that the guest may send from, if the configuration's [filter] enabled is true; "
        "besides, the link-local address that is derived from each MAC.",
    )
    port_security: Flag | None = Field(
        default=None,
        description="Whether the guest is limited to its addresses. False: it is not, whatever allowed_addresses has; "
        "true: it is, even without any. By default it is if allowed_addresses is given.",
    )

    @model_validator(mode="before")
    @classmethod
    def _delegated_port_has_the_vmms_tap(cls, data: Any) -> Any:
        is_delegated = isinstance(data, Mapping) and data.get("create_port") is False
        return {**data, "create_tap": False} if is_delegated and data.get("create_tap") is None else data

    @model_validator(mode="after")
    def _delegated_port_is_of_ovs(self) -> Vif:
        if self.create_port is not None and self.vif_type != "ovs":
            raise ValueError("create_port: it is for VIFs of type ovs only; leave it out")
        if self.create_port is False and self.create_tap:
            raise ValueError("create_tap: it must be false, or be left out, with create_port false: libvirt makes both")
        return self

    @model_validator(mode="before")
    @classmethod
    def _joined_tap_is_another_programs(cls, data: Any) -> Any:
        is_joined = isinstance(data, Mapping) and data.get("join_tap") is True
        return {**data, "create_tap": False} if is_joined and data.get("create_tap") is None else data

    @model_validator(mode="after")
    def _joined_tap_is_of_a_bridge(self) -> Vif:
        if self.join_tap and self.vif_type != "bridge":
            raise ValueError("join_tap: it is for VIFs of type bridge only; leave it out")
        if self.join_tap and self.create_tap:
            raise ValueError("create_tap: it must be false, or be left out, with join_tap: another program has the tap")
        if self.join_tap and (self.vlan is not None or self.names.tap):
            wrong = "vlan" if self.vlan is not None else "names.tap"
            raise ValueError(f"{wrong}: it must be left out with join_tap")
        if self.tap_up is not None and not self.join_tap:
            raise ValueError("tap_up: it is for VIFs with join_tap only; leave it out")
        return self

    @model_validator(mode="after")
    def _uplink_is_of_a_bridge(self) -> Vif:
        if self.network.uplink is not None and self.vif_type != "bridge":
            raise ValueError("network.uplink: it is for VIFs of type bridge only; leave it out")
        return self

    @model_validator(mode="after")
    def _own_bridge_is_of_the_type(self) -> Vif:
        if self.per_port_bridge and self.vif_type != "ovs":
            raise ValueError("per_port_bridge: it is for VIFs of type ovs only; leave it out")
        return self

    @model_validator(mode="after")
    def _vlan_is_of_the_type(self) -> Vif:
        if self.vlan is not None and self.vif_type not in WITH_VLAN:
            part = _VLANS_OF_PARTS.get(self.vif_type)
            hint = f" (of a {self.vif_type} VIF it is {part})" if part else ""
            raise ValueError(f"vlan: it is for VIFs of type {', '.join(sorted(WITH_VLAN))} only; leave it out{hint}")
        return self

    @model_validator(mode="after")
    def _parts_are_of_the_type(self) -> Vif:
        for name, part in sub_models().items():
            if part.vif_types and self.vif_type not in part.vif_types and getattr(self, name) is not None:
                known = ", ".join(sorted(part.vif_types))
                raise ValueError(f"{name}: it is for VIFs of type {known} only; leave it out")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> Vif:
        chosen = [name for name in vars(self.names).values() if name]
        twice = sorted({name for name in chosen if chosen.count(name) > 1})
        if twice:
            raise ValueError(f"names: {twice[0]!r} is given to two devices; each needs its own")
        return self


@functools.cache
def sub_models() -> Mapping[str, type[_Part]]:
    """The parts of a request that are models of their own, by the field."""
    named = ((name, (field.annotation, *typing.get_args(field.annotation))) for name, field in Vif.model_fields.items())
    parts = ((name, part) for name, types in named for part in types)
    return {name: part for name, part in parts if isinstance(part, type) and issubclass(part, _Part)}


@functools.cache
def optional_fields() -> tuple[str, ...]:
    """Fields that a request may omit, and that a recorded VIF then keeps unchanged."""
    return tuple(name for name, field in Vif.model_fields.items() if field.default is None)
