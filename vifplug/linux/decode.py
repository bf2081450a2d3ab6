"""What the privileged side tells of links and rows, in primitives, as resources. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vifplug import naming
from vifplug.resources.observed import Bridge, Link, OvsPort, Tap, Veth

_COMMON = (
    "name",
    "ifindex",
    "alias",
    "address",
    "mtu",
    "master",
    "up",
    "promiscuous",
    "carrier",
    "disable_ipv6",
    "accept_ra",
    "arp_ignore",
)
_PASSAGE = {"slave_kind": "", "impeded": {}}
_OF_KIND: Mapping[str, tuple[type[Link], tuple[str, ...]]] = {
    "bridge": (
        Bridge,
        ("stp", "forward_delay", "ageing_time", "multicast_snooping", "arp_announce"),
    ),
    "veth": (Veth, ("peer", "tx_checksum")),
    "tap": (Tap, ("uid", "gid", "multiqueue", "persistent", "vnet_header")),
}


def members(found: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The members of every bridge among links."""
    on: dict[str, list[str]] = {name: [] for name, link in found.items() if link["kind"] == "bridge"}
    for name, link in found.items():
        if link["master"] in on:
            on[link["master"]].append(name)
    return {name: tuple(sorted(names)) for name, names in on.items()}


def link(found: Mapping[str, Any]) -> Link:
    """One link."""
    cls, extra = _OF_KIND.get(found["kind"], (Link, ()))
    fields: dict[str, Any] = {name: found.get(name) for name in (*_COMMON, *extra)}
    fields |= {name: found.get(name, default) for name, default in _PASSAGE.items()}
    other_kind = found["kind"] if cls is Link else ""
    return cls(owner=naming.owner_of(found["alias"]), other_kind=other_kind, **fields)


def port(row: Mapping[str, Any]) -> OvsPort:
    """One Port row with its Interface."""
    return OvsPort(**{**row, "trunks": tuple(row["trunks"])})
