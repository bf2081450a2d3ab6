"""A request's uplink: what joins a network's Linux bridge to networks outside the host. No I/O."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict

from vifplug import naming
from vifplug.model.part import Part

UplinkType = Literal["flat", "vlan", "vxlan"]
FLAT, VLAN, VXLAN = get_args(UplinkType)
_TYPES = f"it must be {FLAT}, {VLAN} or {VXLAN}"
_NUMBERS = {
    VLAN: (naming.VLAN_MAX, "VLAN id"),
    VXLAN: (naming.VNI_MAX, "VXLAN's number"),
}
_PEERS_MAX = 4096


def _type(value: Any) -> Any:
    if value not in get_args(UplinkType):
        raise ValueError(_TYPES)
    return value


def _ip(value: Any) -> str:
    try:
        if isinstance(value, str) and "%" not in value:
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise ValueError("it must be an IPv4 or IPv6 address such as 192.0.2.1")


def _number(value: Any, most: int, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"it must be a whole number from {least} to {most}")
    return value


def _port(value: Any) -> Any:
    return None if value is None else _number(value, 2**16 - 1)


def _ttl(value: Any) -> Any:
    return None if value is None else _number(value, 255)


def _tos(value: Any) -> Any:
    return None if value is None else _number(value, 255, 0)


_IP_SCHEMA: JsonDict = {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
IpAddress = Annotated[str, BeforeValidator(_ip), Field(json_schema_extra=_IP_SCHEMA)]


class Uplink(Part):
    """What joins a network's Linux bridge to networks outside the host; made with the network's first VIF, and deleted
    with its last."""

    model_config = ConfigDict(validate_default=True)

    type: Annotated[UplinkType, BeforeValidator(_type)] = Field(
        description="flat: the device itself is put on the bridge. vlan: a VLAN device on it. vxlan: a VXLAN device."
    )
    physical_network: str | None = Field(
        default=None,
        max_length=255,
        description="flat and vlan: a name of the configuration's physical_networks, or a device of theirs. vxlan: the "
        "same, by default the device that has the local address.",
    )
    segmentation_id: int | None = Field(
        default=None,
        description=f"vlan: the VLAN, 1 to {naming.VLAN_MAX}. vxlan: its number (VNI), 1 to {naming.VNI_MAX}.",
    )
    group: IpAddress | None = Field(
        default=None,
        description="vxlan: the multicast group of the hosts; by default the configuration's vxlan_group.",
    )
    peers: tuple[IpAddress, ...] | None = Field(
        default=None,
        description="vxlan: the other hosts' addresses, instead of a group; an empty list while there is none. VIFs "
        "of one network may name different ones, and all count.",
    )
    local_ip: IpAddress | None = Field(
        default=None, description="vxlan: this host's address; by default the configuration's vxlan_local_ip."
    )
    port: Annotated[int | None, BeforeValidator(_port)] = Field(
        default=None, description="vxlan: the UDP port of all hosts, 1 to 65535; by default the kernel's, 8472."
    )
    ttl: Annotated[int | None, BeforeValidator(_ttl)] = Field(
        default=None, description="vxlan: of its packets, 1 to 255; by default the kernel's, 1 for a multicast group."
    )
    tos: Annotated[int | None, BeforeValidator(_tos)] = Field(
        default=None, description="vxlan: of its packets, 0 to 255; 1 means the guest's packet's. By default 0."
    )
    udp_checksum: bool | None = Field(
        default=None,
        strict=True,
        description="vxlan: whether its packets have UDP checksums; by default they have. False over IPv6 also accepts "
        "packets without.",
    )

    @field_validator("physical_network")
    @classmethod
    def _physical_network_is_given(cls, value: str | None, info: ValidationInfo) -> str | None:
        kind = info.data.get("type")
        if not value and kind in (FLAT, VLAN):
            raise ValueError(f"it must be a name of [bridge] physical_networks, for an uplink of type {kind}")
        return value or None

    @field_validator("segmentation_id", mode="before")
    @classmethod
    def _segmentation_id_fits(cls, value: Any, info: ValidationInfo) -> Any:
        kind = info.data.get("type")
        if kind == FLAT and value is not None:
            raise ValueError("it is for uplinks of type vlan and vxlan only; leave it out")
        is_number = isinstance(value, int) and not isinstance(value, bool)
        most, name = _NUMBERS.get(kind or "", (None, ""))
        if most is not None and not (is_number and 1 <= value <= most):
            raise ValueError(f"it must be a {name}, a whole number from 1 to {most}, for an uplink of type {kind}")
        return value

    @field_validator("group", "peers", "local_ip", "port", "ttl", "tos", "udp_checksum")
    @classmethod
    def _is_of_vxlan(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("type") in (FLAT, VLAN):
            raise ValueError(f"it is for uplinks of type {VXLAN} only; leave it out")
        return value

    @field_validator("group")
    @classmethod
    def _group_is_one(cls, value: str | None) -> str | None:
        if value is not None and not ipaddress.ip_address(value).is_multicast:
            raise ValueError("it must be a multicast address such as 239.1.1.1; other hosts' addresses belong in peers")
        return value

    @field_validator("peers")
    @classmethod
    def _peers_are_hosts(cls, value: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if value is None:
            return None
        if info.data.get("group") is not None:
            raise ValueError("it excludes group: give either")
        if len(value) > _PEERS_MAX:
            raise ValueError(f"it must have at most {_PEERS_MAX} addresses")
        wrong = next((peer for peer in value if not _is_host(peer)), None)
        if wrong is not None:
            raise ValueError(f"{wrong} is not the address of a host")
        if len({ipaddress.ip_address(peer).version for peer in value}) > 1:
            raise ValueError("all must be IPv4, or all IPv6")
        return tuple(sorted(set(value)))

    @field_validator("local_ip")
    @classmethod
    def _local_ip_is_a_host(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if not _is_host(value):
            raise ValueError("it must be the address of a host")
        if value in (info.data.get("peers") or ()):
            raise ValueError("it is also one of peers, which are the other hosts")
        others = [info.data.get("group"), *(info.data.get("peers") or ())]
        if any(
            other and ipaddress.ip_address(other).version != ipaddress.ip_address(value).version for other in others
        ):
            raise ValueError("it must be of the same protocol, IPv4 or IPv6, as group and peers")
        return value


def _is_host(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    # A link-local address belongs to a device, which is not named here. Reserved are 240.0.0.0/4, and IPv4 addresses
    # within IPv6, which the kernel writes in another form; 0.0.0.0/8 are no hosts' either (RFC 6890).
    refused = (ip.is_multicast, ip.is_unspecified, ip.is_loopback, ip.is_reserved, ip.version == 6 and ip.is_link_local)
    return not (any(refused) or (ip.version == 4 and int(ip) < 2**24))
