"""The tables of filters, one in each family: chains and rules, which are the same for all VIFs, and sets. Pure.

A VIF has elements of the sets, each with its mark; in the family netdev also a base chain, bound to its device, that
leads to the common chain. So 500 VIFs have as many rules as one, and a plug adds elements and no rules: the kernel
validates every chain of a table when a rule is added (with 18 rules for each of 500 VIFs that took 1 ms).

The rules accept what a guest may send; what no rule accepts is dropped and counted. A rule with a property that a frame
lacks does not apply, so a header that cannot be parsed is never accepted (fragments that hide a header: RFC 7113).
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from vifplug import naming
from vifplug.netlink import nftables as nft
from vifplug.netlink.nftables import FIRST, LINK, NETWORK, SECOND, THIRD, TRANSPORT, Element, Part, Rule, Set
from vifplug.resources.nftables import filter as filters
from vifplug.resources.nftables.filter import TABLE, Address

GUESTS = Set("guests", (nft.INTERFACE,))
"""The devices that frames of guests come from; the mark of each shows its VIF."""
MACS = Set("macs", (nft.INTERFACE, nft.MAC))
IPV4 = Set("ipv4", (*MACS.fields, nft.IPV4))
IPV6 = Set("ipv6", (*MACS.fields, nft.IPV6))
IPV4_PREFIXES = Set("ipv4_prefixes", IPV4.fields, has_intervals=True)
IPV6_PREFIXES = Set("ipv6_prefixes", IPV6.fields, has_intervals=True)
SETS = (GUESTS, MACS, IPV4, IPV6, IPV4_PREFIXES, IPV6_PREFIXES)
_BY_VERSION = {4: (IPV4, IPV4_PREFIXES), 6: (IPV6, IPV6_PREFIXES)}

ENTRY, COMMON, TARGETS = "frames", "guest", "targets"
"""Chains: the base chain of the family bridge; the one that every guest's frames pass; and the one for the targets of
neighbour discovery."""

_IP4, _IP6, _ARP, _RARP = (struct.pack(">H", number) for number in (0x0800, 0x86DD, 0x0806, 0x8035))
_UDP, _ICMPV6 = b"\x11", b"\x3a"
_ARP_HEADER = bytes.fromhex("000108000604")
"""Ethernet and IPv4, of ARP and RARP."""
_REQUEST, _REVERSE_REQUEST = b"\0\1", b"\0\3"
_NO_ADDRESS, _ALL_HOSTS, _UNSPECIFIED = bytes(4), b"\xff" * 4, bytes(16)
_DHCP_CLIENT_TO_SERVER = struct.pack(">HH", 68, 67)
_OF_DHCP_CLIENT, _OF_DHCPV6_CLIENT = struct.pack(">H", 68), struct.pack(">H", 546)
_ROUTER_SOLICITATION, _ROUTER_ADVERTISEMENT, _SOLICITATION, _ADVERTISEMENT = 133, 134, 135, 136
_WITHOUT_ADDRESS = (131, 143, _ROUTER_SOLICITATION, _SOLICITATION)
"""What a host sends from :: before it has an address: reports of multicast groups, and what finds routers and
duplicates."""

_SOURCE_4, _SOURCE_6, _TARGET = 12, 8, 8
"""Offsets in the header of IPv4, of IPv6, and of ICMPv6's neighbour discovery."""
_SENDER_MAC, _SENDER_ADDRESS = 8, 14
"""Offsets in ARP."""
_SOURCE_MAC = 6
_PRIORITY_BRIDGE, _PRIORITY_NETDEV = -300, 0
"""Of the bridge: before br_netfilter, which leads to other programs' rules."""

FAMILIES = (nft.BRIDGE, nft.NETDEV)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A filter of a VIF, with checked values."""

    owner: str
    place: str
    device: str
    address: str
    allowed: tuple[str, ...]
    """As it was asked for; with the fields above it tells filters apart."""
    pairs: tuple[tuple[str, Address], ...] = field(compare=False)
    """MACs, and the sources that may be sent with each."""

    @property
    def family(self) -> int:
        """nf_tables' number of the family."""
        return nft.BRIDGE if self.place == filters.BRIDGE else nft.NETDEV

    @property
    def chain(self) -> str:
        """The base chain that is bound to its device; "" in the family bridge."""
        return "" if self.place == filters.BRIDGE else filters.chain_of(self.owner)

    def elements(self) -> Mapping[Set, Sequence[Element]]:
        """What it has of each set."""
        return _elements(self)


@functools.lru_cache(maxsize=1024)
def _elements(filter_: Wanted) -> Mapping[Set, Sequence[Element]]:
    mark, device = naming.alias(filter_.owner), device_in_key(filter_.device)
    wanted: dict[Set, list[Element]] = {own: [] for own in SETS}
    wanted[GUESTS].append(Element(device, mark=mark))
    macs = dict.fromkeys(mac for mac, _source in filter_.pairs)
    wanted[MACS] += [Element(MACS.key(device, _bytes_of(mac)), mark=mark) for mac in macs]
    for mac, source in filter_.pairs:
        exact, intervals = _BY_VERSION[source.version]
        first = exact.key(device, _bytes_of(mac), source.network_address.packed)
        if source.prefixlen == source.max_prefixlen:
            wanted[exact].append(Element(first, mark=mark))
        else:
            last = exact.key(device, _bytes_of(mac), source.broadcast_address.packed)
            wanted[intervals].append(Element(first, last, mark))
    return wanted


def device_in_key(device: str) -> bytes:
    """A device's name as the kernel compares it."""
    return naming.encoded(device).ljust(nft.INTERFACE.length, b"\0")


def _bytes_of(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


# -- the rules -------------------------------------------------------------------------------------------------

_ACCEPT, _DROP = nft.verdict(nft.ACCEPT), (*nft.COUNTER, *nft.verdict(nft.DROP))
_FROM_DEVICE = nft.load_meta(nft.INPUT_NAME, FIRST)
_BY_MAC = nft.load(LINK, _SOURCE_MAC, 6, SECOND)
_BY_ARP_MAC = nft.load(NETWORK, _SENDER_MAC, 6, SECOND)


def _of(protocol: bytes) -> Rule:
    return nft.meta(nft.PROTOCOL, protocol)


def _over(protocol: bytes) -> Rule:
    return nft.meta(nft.TRANSPORT_PROTOCOL, protocol)


def _icmpv6(kind: int) -> Rule:
    return *_of(_IP6), *_over(_ICMPV6), *nft.payload(TRANSPORT, 0, bytes((kind,)))


_FROM_NOWHERE = nft.payload(NETWORK, _SOURCE_6, _UNSPECIFIED)
_PARSED = nft.meta(nft.TRANSPORT_PROTOCOL, b"\xff", nft.DIFFERENT)
"""255 is reserved: every frame whose headers can be parsed has another protocol."""
_SHOWS_HEADER = nft.payload(TRANSPORT, 0, bytes(4), nft.AT_LEAST)
"""Any value, but in this frame: a first fragment may end before the header that the rules above look at (RFC 7112)."""
_IS_ARP = (*_of(_ARP), *nft.payload(NETWORK, 0, _ARP_HEADER))


def _allowed(version: int, before: Rule, mac: bytes, address: tuple[int, int], then: Rule) -> Iterator[Rule]:
    """Rules for an address in the frame that is among the VIF's, alone or by a prefix.

    :param address: header and offset.
    """
    base, offset = address
    length = {4: 4, 6: 16}[version]
    for known in _BY_VERSION[version]:
        key = (_FROM_DEVICE, mac, nft.load(base, offset, length, THIRD))
        yield *before, *key, *nft.looked_up(known.name), *then


def _has_mac(mac: bytes, *, inverted: bool = False) -> Rule:
    return _FROM_DEVICE, mac, *nft.looked_up(MACS.name, inverted=inverted)


def _common() -> Iterator[Rule]:
    yield *_has_mac(_BY_MAC, inverted=True), *_DROP
    # No DHCP server: clients accept answers from any port of it, so the client's port decides.
    yield *_of(_IP4), *_over(_UDP), *nft.payload(TRANSPORT, 2, _OF_DHCP_CLIENT), *_DROP
    yield *_of(_IP6), *_over(_UDP), *nft.payload(TRANSPORT, 2, _OF_DHCPV6_CLIENT), *_DROP
    yield *_icmpv6(_ROUTER_ADVERTISEMENT), *_DROP
    to_targets = nft.verdict(nft.JUMP, TARGETS)
    yield *_icmpv6(_ADVERTISEMENT), *to_targets
    # A solicitation from :: asks whether an address is free: for another's address it would deny it to its owner.
    yield *_icmpv6(_SOLICITATION), *_FROM_NOWHERE, *to_targets
    yield from _without_address()
    yield from _allowed(4, _IS_ARP, _BY_ARP_MAC, (NETWORK, _SENDER_ADDRESS), _ACCEPT)
    yield from _allowed(4, (*_of(_IP4), *_PARSED), _BY_MAC, (NETWORK, _SOURCE_4), _ACCEPT)
    for is_whole in (_SHOWS_HEADER, nft.is_later_fragment()):
        yield from _allowed(6, (*_of(_IP6), *is_whole), _BY_MAC, (NETWORK, _SOURCE_6), _ACCEPT)
    yield _DROP


def _without_address() -> Iterator[Rule]:
    """What a guest sends before it has an address, or after a migration (QEMU's RARP)."""
    probe = (*_of(_ARP), *nft.payload(NETWORK, 0, _ARP_HEADER + _REQUEST))
    yield *probe, *nft.payload(NETWORK, _SENDER_ADDRESS, _NO_ADDRESS), *_has_mac(_BY_ARP_MAC), *_ACCEPT
    # Its source MAC is all that a switch learns of it. With more, nft aborts when it lists the rule (1.0.6).
    yield *_of(_RARP), *nft.payload(NETWORK, 0, _ARP_HEADER + _REVERSE_REQUEST), *_ACCEPT
    asking = nft.payload(NETWORK, _SOURCE_4, _NO_ADDRESS + _ALL_HOSTS)
    yield *_of(_IP4), *asking, *_over(_UDP), *nft.payload(TRANSPORT, 0, _DHCP_CLIENT_TO_SERVER), *_ACCEPT
    for kind in _WITHOUT_ADDRESS:
        yield *_icmpv6(kind), *_FROM_NOWHERE, *_ACCEPT


def _targets() -> Iterator[Rule]:
    """The guest speaks for its own addresses only."""
    yield from _allowed(6, (), _BY_MAC, (TRANSPORT, _TARGET), nft.verdict(nft.RETURN))
    yield _DROP


def _entry() -> Iterator[Rule]:
    yield _FROM_DEVICE, *nft.looked_up(GUESTS.name), *nft.verdict(nft.GOTO, COMMON)


OF_DEVICE: tuple[Rule, ...] = (nft.verdict(nft.GOTO, COMMON),)
"""The rule of a base chain that is bound to a VIF's device."""

_SHARED: Mapping[str, tuple[Rule, ...]] = {TARGETS: tuple(_targets()), COMMON: tuple(_common())}
CHAINS: Mapping[int, Mapping[str, tuple[Rule, ...]]] = {
    nft.BRIDGE: {**_SHARED, ENTRY: tuple(_entry())},
    nft.NETDEV: _SHARED,
}
"""The chains of each family's table that all VIFs share, with their rules; each leads only to those before it."""
HOOKS: Mapping[str, bytes] = {ENTRY: nft.hook(nft.PREROUTING, _PRIORITY_BRIDGE)}


def hook_of(device: str) -> bytes:
    """What makes a VIF's chain a base chain, for the frames that come from its device."""
    return nft.hook(nft.INGRESS, _PRIORITY_NETDEV, device)


# -- the messages ----------------------------------------------------------------------------------------------


def table(family: int) -> Part:
    """The message that makes a table, and ends its dormancy."""
    return nft.created(nft.NEW_TABLE, family, nft.table(TABLE))


def built(family: int) -> Iterator[Part]:
    """The messages that make a table with its sets, chains and rules."""
    yield table(family)
    for own in SETS:
        yield nft.created(nft.NEW_SET, family, nft.described(TABLE, own))
    for chain in CHAINS[family]:
        yield nft.created(nft.NEW_CHAIN, family, nft.chain(TABLE, chain, HOOKS.get(chain, b"")))
    yield from filled(family, CHAINS[family])


def filled(family: int, chains: Mapping[str, tuple[Rule, ...]]) -> Iterator[Part]:
    """The messages that give existing chains these rules, and no others."""
    for chain, rules in chains.items():
        yield nft.deleted(nft.DELETE_RULE, family, nft.rules_of(TABLE, chain))
        for rule in rules:
            yield nft.created(nft.NEW_RULE, family, nft.rule(TABLE, chain, rule))


def bound(chain: str, device: str) -> Iterator[Part]:
    """The messages that make a VIF's base chain."""
    yield nft.created(nft.NEW_CHAIN, nft.NETDEV, nft.chain(TABLE, chain, hook_of(device)))
    yield from filled(nft.NETDEV, {chain: OF_DEVICE})


def unbound(chain: str) -> Iterator[Part]:
    """The messages that delete a VIF's base chain."""
    yield nft.deleted(nft.DELETE_RULE, nft.NETDEV, nft.rules_of(TABLE, chain))
    yield nft.deleted(nft.DELETE_CHAIN, nft.NETDEV, nft.chain(TABLE, chain))


def with_elements(family: int, wanted: Mapping[Set, Sequence[Element]]) -> Iterator[Part]:
    """The messages that add elements; one that exists stays as it is."""
    for own, elements in wanted.items():
        for body in nft.elements(TABLE, own.name, elements):
            yield nft.created(nft.NEW_ELEMENT, family, body)


def without_elements(family: int, unwanted: Mapping[Set, Sequence[Element]]) -> Iterator[Part]:
    """The messages that delete elements."""
    for own, elements in unwanted.items():
        for body in nft.elements(TABLE, own.name, [element._replace(mark="") for element in elements]):
            yield nft.deleted(nft.DELETE_ELEMENT, family, body)
