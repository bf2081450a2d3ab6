"""Frames that a guest may send, and frames that it must not: written here octet by octet, not by the code under test.

All are those of one guest: its MAC, an IPv4 address, a prefix, an IPv6 address, and a second MAC with an address of its
own. Each frame differs from every other one, so that a capture shows which of them passed.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Mapping
from dataclasses import dataclass

BROADCAST, ALL_NODES = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"
IPV4, IPV6, ARP, RARP, VLAN, QINQ = 0x0800, 0x86DD, 0x0806, 0x8035, 0x8100, 0x88A8
UDP, ICMPV6, HOP_BY_HOP, FRAGMENT, DESTINATION = 17, 58, 0, 44, 60
GATEWAY, GATEWAY_6, STRANGER, STRANGER_6 = "10.9.0.254", "fe80::254", "10.9.0.66", "2001:db8::66"
OTHER_MAC, SECOND_MAC, SECOND_IP = "fa:16:3e:66:66:66", "00:00:5e:00:01:0a", "10.9.0.77"
OWN, OWN_6, PREFIX, OF_PREFIX = "10.9.0.1", "2001:db8::1", "192.168.7.0/24", "192.168.7.9"

ALLOWED = [{"ip": OWN}, {"ip": OWN_6}, {"ip": PREFIX}, {"ip": SECOND_IP, "mac": SECOND_MAC}]
"""``allowed_addresses`` of the guest."""


def octets(mac: str) -> bytes:
    """A MAC on the wire."""
    return bytes.fromhex(mac.replace(":", ""))


def link_local(mac: str) -> str:
    """fe80:: and the modified EUI-64 of a MAC."""
    first, *rest = octets(mac)
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes([first ^ 2, *rest[:2], 0xFF, 0xFE, *rest[2:]])))


def ethernet(source: str, kind: int, payload: bytes, target: str = BROADCAST, tags: tuple[int, ...] = ()) -> bytes:
    """A frame, with VLAN tags outermost first."""
    tagged = b"".join(struct.pack(">HH", tag, 5) for tag in tags)
    return (octets(target) + octets(source) + tagged + struct.pack(">H", kind) + payload).ljust(60, b"\0")


def arp(sender: str, address: str, target: str, operation: int = 1, kind: int = ARP, by: str = "") -> bytes:
    """ARP, or RARP, from an Ethernet source that may differ from the sender."""
    body = struct.pack(">HHBBH", 1, IPV4, 6, 4, operation) + octets(sender) + ipaddress.ip_address(address).packed
    return ethernet(by or sender, kind, body + bytes(6) + ipaddress.ip_address(target).packed)


def udp(source_port: int, target_port: int, mark: int = 0) -> bytes:
    """A datagram without checksum."""
    payload = struct.pack(">I", mark) + b"vifplug"
    return struct.pack(">HHHH", source_port, target_port, 8 + len(payload), 0) + payload


def ipv4(source: str, payload: bytes, target: str = GATEWAY, fragment: int = 0) -> bytes:
    """A packet of UDP.

    :param fragment: the field of flags and offset.
    """
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, fragment, 64, UDP, 0)
    header += ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    total = sum(struct.unpack(">10H", header))
    total = ~((total >> 16) + (total & 0xFFFF)) & 0xFFFF
    return header[:10] + struct.pack(">H", total) + header[12:] + payload


def ipv6(source: str, following: int, payload: bytes, target: str = "ff02::1") -> bytes:
    """A packet with the hop limit that neighbour discovery requires."""
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return struct.pack(">IHBB", 6 << 28, len(payload), following, 255) + addresses + payload


def icmpv6(kind: int, body: bytes) -> bytes:
    """A message; no switch checks its checksum."""
    return bytes((kind, 0, 0, 0)) + body


def about(kind: int, target: str, flags: int = 0) -> bytes:
    """A neighbour solicitation (135) or advertisement (136)."""
    return icmpv6(kind, struct.pack(">I", flags) + ipaddress.ip_address(target).packed)


def options(following: int, rest: bytes, length: int = 0) -> bytes:
    """A header of options, padded, before the rest."""
    padding = 6 + 8 * length
    return bytes((following, length, 1, padding - 2)) + bytes(padding - 2) + rest


def fragment(following: int, offset: int, more: int, piece: bytes) -> bytes:
    """A fragment header, and a piece."""
    return struct.pack(">BBHI", following, 0, offset | more, 99) + piece


_ADVERTISEMENT = icmpv6(134, bytes(12))
_MLD2 = icmpv6(143, struct.pack(">HHBBH", 0, 1, 4, 0, 0) + ipaddress.ip_address("ff02::1:ff00:1").packed)


@dataclass(frozen=True)
class Frames:
    """The frames of a guest."""

    mac: str

    @property
    def own(self) -> Mapping[str, bytes]:
        """What it may send."""
        mac, local = self.mac, link_local(self.mac)
        solicitation = icmpv6(133, bytes(4))
        return {
            "IPv4 from its address": ethernet(mac, IPV4, ipv4(OWN, udp(1024, 53, 1))),
            "IPv4 from its prefix": ethernet(mac, IPV4, ipv4(OF_PREFIX, udp(1024, 53, 2))),
            "IPv4 from its second MAC": ethernet(SECOND_MAC, IPV4, ipv4(SECOND_IP, udp(1024, 53, 3))),
            "a first fragment": ethernet(mac, IPV4, ipv4(OWN, udp(1024, 53, 4), fragment=0x2000)),
            "a later fragment": ethernet(mac, IPV4, ipv4(OWN, b"rest of it", fragment=2)),
            "a tagged frame": ethernet(mac, IPV4, ipv4(OWN, udp(1024, 53, 5)), tags=(VLAN,)),
            "an ARP request": arp(mac, OWN, GATEWAY),
            "an ARP reply": arp(mac, OWN, GATEWAY, operation=2),
            "ARP from its prefix": arp(mac, OF_PREFIX, "192.168.7.1"),
            "ARP of its second MAC": arp(SECOND_MAC, SECOND_IP, GATEWAY),
            "a gratuitous ARP": arp(mac, OWN, OWN, operation=1),
            "an ARP probe": arp(mac, "0.0.0.0", OWN),
            "QEMU's RARP": arp(mac, "0.0.0.0", "0.0.0.0", operation=3, kind=RARP),
            "a DHCP discovery": ethernet(mac, IPV4, ipv4("0.0.0.0", udp(68, 67), "255.255.255.255")),
            "a DHCP renewal": ethernet(mac, IPV4, ipv4(OWN, udp(68, 67))),
            "detection of a duplicate of its link-local address": self._six("::", ICMPV6, about(135, local)),
            "detection of a duplicate of its address": self._six("::", ICMPV6, about(135, OWN_6)),
            "a router solicitation from ::": self._six("::", ICMPV6, solicitation),
            "a router solicitation": self._six(local, ICMPV6, solicitation),
            "a multicast report from ::": self._six("::", HOP_BY_HOP, options(ICMPV6, _MLD2)),
            "a multicast report": self._six(local, HOP_BY_HOP, options(ICMPV6, _MLD2)),
            "a neighbour solicitation": self._six(local, ICMPV6, about(135, GATEWAY_6)),
            "a neighbour advertisement": self._six(local, ICMPV6, about(136, local, 0x60000000)),
            "an advertisement of its address": self._six(OWN_6, ICMPV6, about(136, OWN_6, 0x60000000)),
            "IPv6 from its address": self._six(OWN_6, UDP, udp(1024, 53, 6)),
            "a DHCPv6 solicitation": self._six(local, UDP, udp(546, 547)),
            "an IPv6 fragment": self._six(OWN_6, FRAGMENT, fragment(UDP, 0, 1, udp(1024, 53, 7))),
            "a later IPv6 fragment": self._six(OWN_6, FRAGMENT, fragment(UDP, 16, 0, b"rest of it")),
        }

    @property
    def spoofed(self) -> Mapping[str, bytes]:
        """What it must not send."""
        mac, local = self.mac, link_local(self.mac)
        split = options(ICMPV6, _ADVERTISEMENT, length=1)
        return {
            "another MAC": ethernet(OTHER_MAC, IPV4, ipv4(OWN, udp(1024, 53, 8))),
            "another IPv4 address": ethernet(mac, IPV4, ipv4(STRANGER, udp(1024, 53, 9))),
            "the address of its second MAC": ethernet(mac, IPV4, ipv4(SECOND_IP, udp(1024, 53, 10))),
            "its address from its second MAC": ethernet(SECOND_MAC, IPV4, ipv4(OWN, udp(1024, 53, 11))),
            "a fragment from another address": ethernet(mac, IPV4, ipv4(STRANGER, b"rest of it", fragment=2)),
            "another address in a tagged frame": ethernet(mac, IPV4, ipv4(STRANGER, udp(1024, 53)), tags=(VLAN,)),
            "its address in a frame with two tags": ethernet(mac, IPV4, ipv4(OWN, udp(1024, 53)), tags=(QINQ, VLAN)),
            "no address, not for DHCP": ethernet(mac, IPV4, ipv4("0.0.0.0", udp(1024, 53), "255.255.255.255")),
            "ARP for another address": arp(mac, STRANGER, GATEWAY),
            "an ARP reply for the gateway": arp(mac, GATEWAY, OWN, operation=2),
            "ARP of another MAC": arp(OTHER_MAC, OWN, GATEWAY, by=mac),
            "ARP by another MAC": arp(mac, OWN, GATEWAY, by=OTHER_MAC),
            "an ARP probe of another MAC": arp(OTHER_MAC, "0.0.0.0", OWN, by=mac),
            "an ARP reply without address": arp(mac, "0.0.0.0", GATEWAY, operation=2),
            "RARP of another MAC": arp(OTHER_MAC, "0.0.0.0", "0.0.0.0", operation=3, kind=RARP),
            "a RARP reply": arp(mac, OWN, GATEWAY, operation=4, kind=RARP),
            "a DHCP offer": ethernet(mac, IPV4, ipv4(OWN, udp(67, 68), "255.255.255.255")),
            "a DHCP offer from another port": ethernet(mac, IPV4, ipv4(OWN, udp(1024, 68), "255.255.255.255")),
            "a DHCPv6 advertisement": self._six(local, UDP, udp(547, 546)),
            "a router advertisement": self._six(local, ICMPV6, _ADVERTISEMENT),
            "a router advertisement from ::": self._six("::", ICMPV6, _ADVERTISEMENT),
            "a router advertisement behind options": self._six(local, DESTINATION, options(ICMPV6, _ADVERTISEMENT)),
            "a router advertisement in a fragment": self._six(local, FRAGMENT, fragment(ICMPV6, 0, 1, _ADVERTISEMENT)),
            "a fragment that hides its header": self._six(local, FRAGMENT, fragment(DESTINATION, 0, 1, split[:8])),
            "an advertisement of the gateway": self._six(local, ICMPV6, about(136, GATEWAY_6, 0x60000000)),
            "detection of another's duplicate": self._six("::", ICMPV6, about(135, STRANGER_6)),
            "a solicitation from another address": self._six(STRANGER_6, ICMPV6, about(135, GATEWAY_6)),
            "another IPv6 address": self._six(STRANGER_6, UDP, udp(1024, 53, 12)),
            "IPv6 from ::": self._six("::", UDP, udp(1024, 53, 13)),
            "another protocol": ethernet(mac, 0x88B5, b"vifplug"),
            "LLDP": ethernet(mac, 0x88CC, b"vifplug", "01:80:c2:00:00:0e"),
            "a spanning tree's frame": ethernet(mac, 38, b"\x42\x42\x03" + bytes(35), "01:80:c2:00:00:00"),
        }

    def _six(self, source: str, following: int, payload: bytes) -> bytes:
        return ethernet(self.mac, IPV6, ipv6(source, following, payload), ALL_NODES)
