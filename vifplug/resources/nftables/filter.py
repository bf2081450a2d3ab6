"""Filters: a guest sends only from its own addresses, by rules of nftables in a table of vifplug's."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from vifplug.resources.contract import FILTERS, LINKS, Reference, Resource

BRIDGE, DEVICE = "bridge", "netdev"
"""Where a guest's frames are filtered, which is nftables' family: when they reach any Linux bridge, by the name of the
tap, which may be made later; or as they come from a tap that vifplug makes, whose own chain is bound to it."""
PLACES = (BRIDGE, DEVICE)
TABLE = "vifplug"
"""The name of our table in each family."""
_CHAIN = "vif-"

Address = ipaddress.IPv4Network | ipaddress.IPv6Network
_LINK_LOCAL = int(ipaddress.IPv6Address("fe80::"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter(Resource):
    """The rules for the frames that a VIF's guest sends."""

    kind: ClassVar[str] = "filter"
    plane: ClassVar[str] = FILTERS

    name: str
    """The device that its frames come from."""
    owner: str = ""
    place: str = BRIDGE
    address: str = ""
    """The guest's MAC."""
    allowed: tuple[str, ...] = ()
    """Sources: a MAC, a space, and an IP address or a prefix."""
    switch: str = ""
    """The OVS bridge that the device is a port of: a userspace datapath reads frames before they are filtered."""

    def depends_on(self) -> frozenset[Reference]:
        """The device that its chain is bound to."""
        return frozenset() if self.place == BRIDGE else frozenset({(LINKS, self.name)})

    def in_words(self) -> str:
        """Its addresses, for a plan."""
        return ", ".join(dict.fromkeys((self.address, *(entry.split()[1] for entry in self.allowed))))


def chain_of(vif_id: str) -> str:
    """The name of a VIF's chain, which shows its owner."""
    return f"{_CHAIN}{vif_id}"


@functools.lru_cache(maxsize=1024)
def pairs(address: str, allowed: tuple[str, ...]) -> tuple[tuple[str, Address], ...]:
    """The MACs and the sources that may be sent with each, without those that another one covers.

    Each MAC may send from the link-local address that is derived from it, which IPv6 needs before any other.

    :raises ValueError: for an entry that is not a MAC and an address.
    """
    wanted: dict[str, list[Address]] = {address: [link_local(address)]}
    for entry in allowed:
        mac, _space, source = entry.partition(" ")
        wanted.setdefault(mac, [link_local(mac)]).append(ipaddress.ip_network(source))
    return tuple((mac, source) for mac, sources in wanted.items() for source in _collapsed(sources))


def _collapsed(sources: Iterable[Address]) -> Iterable[Address]:
    if all(source.prefixlen == source.max_prefixlen for source in sources):
        return dict.fromkeys(sources)  # the most frequent case, without the ten-fold time
    of_4 = [source for source in sources if isinstance(source, ipaddress.IPv4Network)]
    of_6 = [source for source in sources if isinstance(source, ipaddress.IPv6Network)]
    return [*ipaddress.collapse_addresses(of_4), *ipaddress.collapse_addresses(of_6)]


@functools.lru_cache(maxsize=4096)
def link_local(mac: str) -> ipaddress.IPv6Network:
    """The IPv6 link-local address that is derived from a MAC (RFC 4291, modified EUI-64)."""
    value = bytes.fromhex(mac.replace(":", ""))
    identifier = bytes((value[0] ^ 0x02, *value[1:3], 0xFF, 0xFE, *value[3:]))
    return ipaddress.IPv6Network(_LINK_LOCAL | int.from_bytes(identifier, "big"))
