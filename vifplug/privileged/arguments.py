"""Checks of the caller's arguments: the helper trusts no argument that it has not checked."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.errors import PermissionDenied
from vifplug.resources import kinds
from vifplug.resources.kinds import Part
from vifplug.resources.link import MTU
from vifplug.resources.ovs_port import QOS_TYPES, VLAN_MODES
from vifplug.resources.schema import Attribute, Form

_EXTERNAL_ID = re.compile(r"[\x20-\x7e]{1,255}")
_ROW_NAME_MAX = 255
_FIREWALL_NAME_MAX = 255
"""NFT_NAME_MAXLEN less the closing zero."""

_ADDRESSES_MAX = 65536
_TICKS_PER_SECOND = 100
"""A bridge's times are in USER_HZ, whatever the kernel's own HZ is."""


def refuse(subject: str, value: object) -> PermissionDenied:
    """The error for an argument that is out of bounds."""
    return PermissionDenied(f"the privileged helper refused {subject} {value!r:.80}")


def name(value: Any) -> str:
    """A device name."""
    # With a "%" the kernel generates a name from a template (dev_alloc_name in net/core/dev.c).
    if not isinstance(value, str) or not naming.is_link_name(value) or "%" in value:
        raise refuse("the device name", value)
    return value


def link_there(value: Any) -> str:
    """The name of an existing link, perhaps of another program: any bytes that the kernel accepts."""
    if not isinstance(value, str) or not naming.may_be_a_link(value):
        raise refuse("the device name", value)
    return value


def pci_address(value: Any) -> str:
    """The address of a PCI function."""
    if not isinstance(value, str) or not naming.is_pci_address(value):
        raise refuse("the PCI address", value)
    return value


def row_name(value: Any) -> str:
    """The name of an OVSDB row to look up. A row may have a name that no device can have."""
    if not isinstance(value, str) or not 0 < len(value) <= _ROW_NAME_MAX:
        raise refuse("the row's name", value)
    return value


def firewall_name(value: Any) -> str:
    """The name of an nftables table, chain or set."""
    if not isinstance(value, str) or not 0 < len(value) <= _FIREWALL_NAME_MAX or "\0" in value:
        raise refuse("the name in the firewall", value)
    return value


def owner(value: Any) -> str:
    """A VIF id, or ``net:`` and a network id."""
    if not isinstance(value, str) or not naming.is_owner(value):
        raise refuse("the owner", value)
    return value


def address(value: Any) -> str:
    """A MAC address."""
    if not isinstance(value, str) or not naming.is_address(value) or int(value[:2], 16) & 1:
        raise refuse("the MAC address", value)
    return value


def part(value: Any) -> Part:
    """A link's part in a path, by its role: with the kind that plays it, and the permissions of such a link."""
    known = kinds.roles().get(value) if isinstance(value, str) else None
    if known is None:
        raise refuse("the role", value)
    return known


def role(value: Any) -> str:
    """The name of a link's part in a path."""
    return part(value).role.name


def number(subject: str, value: Any, low: int, high: int) -> int:
    """A whole number in bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise refuse(subject, value)
    return value


def seconds(value: Any, most: float) -> float:
    """A time to wait, at most ``most``; also for what is no time, such as NaN, which no comparison would end."""
    wanted = float(value)
    return wanted if 0 <= wanted <= most else most


def mtu(value: Any) -> int:
    """An MTU in bytes."""
    return number("the MTU", value, MTU.low, MTU.high)


def value_of(attribute: Attribute, value: Any) -> Any:
    """A value of an attribute, as on the wire, within the bounds of its kind's table."""
    match attribute.form:
        case Form.MAC:
            return address(value)
        case Form.FLAG:
            return flag(attribute.name, value)
        case Form.WHOLE | Form.UDP_PORT:
            return number(attribute.name, value, attribute.low, attribute.high)
        case Form.IP:
            return ip_address(attribute.name, value)
        case Form.ADDRESSES if isinstance(value, list | tuple) and len(value) <= _ADDRESSES_MAX:
            return tuple(ip_address(attribute.name, each) for each in value)
        case Form.SECONDS if isinstance(value, int | float) and not isinstance(value, bool):
            return number(attribute.name, round(value * _TICKS_PER_SECOND), attribute.low, attribute.high)
        case _:
            raise refuse(attribute.name, value)


def ip_address(subject: str, value: Any) -> str:
    """An IPv4 or IPv6 address."""
    try:
        if not isinstance(value, str):
            raise refuse(subject, value)
        socket.inet_pton(socket.AF_INET6 if ":" in value else socket.AF_INET, value)
    except OSError:
        raise refuse(subject, value) from None
    return value


def flag(subject: str, value: Any) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise refuse(subject, value)
    return value


_IDENTITY_KEYS = frozenset({"iface-id", "iface-status", "attached-mac", "vm-uuid", "bridge_name"})


def identity(value: Any, owner: str) -> dict[str, str | None]:
    """Keys of an Interface by which a control plane knows a VIF: another VIF's id is not accepted.

    :param value: None removes a key.
    """
    keys = external_ids({key: text or "" for key, text in _mapping(value).items()})
    if not keys.keys() <= _IDENTITY_KEYS:
        raise refuse("the interface's keys", sorted(keys.keys() - _IDENTITY_KEYS))
    own_identity(value, owner)
    return dict(value)


def own_identity(value: Mapping[str, Any], owner: str) -> None:
    """Refuse an iface-id that is not the owner's, and invalid MAC addresses.

    :raises PermissionDenied: naming it.
    """
    if value.get("iface-id") not in (None, owner):
        raise refuse(f"for {owner} the iface-id", value["iface-id"])
    if value.get("attached-mac") is not None:
        address(value["attached-mac"])


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise refuse("the external ids", value)
    return value


def external_ids(value: Any) -> dict[str, str]:
    """A map of printable strings."""
    if not isinstance(value, Mapping) or len(value) > 64:
        raise refuse("the external ids", value)
    for key, text in value.items():
        if not (isinstance(key, str) and isinstance(text, str) and _EXTERNAL_ID.fullmatch(key) and len(text) <= 65536):
            raise refuse("the external id", (key, text))
    return dict(value)


def qos_type(value: Any) -> str:
    """A QoS type of Open vSwitch that needs no other rows."""
    if not isinstance(value, str) or value not in QOS_TYPES:
        raise refuse("the QoS type", value)
    return value


def vlan_mode(value: Any) -> str:
    """A VLAN mode of a port. The IDL silently drops one that it does not know."""
    if not isinstance(value, str) or value not in VLAN_MODES:
        raise refuse("the VLAN mode", value)
    return value
