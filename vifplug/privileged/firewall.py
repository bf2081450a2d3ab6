"""nftables' chains that bridged or routed frames are forwarded through. Read, never changed.

pyroute2's nftables would be imported by every helper for one dump; the two messages are decoded here instead.
iptables-nft's FORWARD is such a chain, too; iptables-legacy's tables are another machinery of the kernel's, of which
only the names can be told.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Any

from vifplug.privileged import netlink

_NETLINK_NETFILTER = 12
_NFT_GETCHAIN = (10 << 8) | 4
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_NFGEN = struct.Struct("=BBH")
_TABLE, _NAME, _HOOK, _POLICY = 1, 3, 4, 5
_HOOK_NUMBER = 1
_FORWARD = 2
"""NF_INET_FORWARD and NF_BR_FORWARD alike."""
_DROP = 0
_FAMILIES = {1: "inet", 2: "ip", 7: "bridge", 10: "ip6"}
_LEGACY = {"ip": "/proc/net/ip_tables_names", "ip6": "/proc/net/ip6_tables_names"}
_SECONDS = 2.0


def chains() -> list[dict[str, Any]]:
    """Every chain: family, table, name, whether it is at the forward hook, and whether its policy is to drop.

    :raises OSError: when the kernel does not tell. One without nf_tables has none.
    """
    found: list[dict[str, Any]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as channel:
        channel.settimeout(_SECONDS)
        channel.bind((0, 0))
        body = _NFGEN.pack(0, 0, 0)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        channel.send(_HEADER.pack(_HEADER.size + len(body), _NFT_GETCHAIN, flags, 1, 0) + body)
        while True:
            for kind, _flags, _sequence, payload in netlink.split(channel.recv(netlink.RECEIVE_BYTES)):
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", payload)
                    raise OSError(-code, os.strerror(-code))
                found += _chain(payload)


def _chain(payload: bytes) -> list[dict[str, Any]]:
    family = _FAMILIES.get(payload[0])
    if family is None:
        return []
    attributes = netlink.attributes(payload, _NFGEN.size)
    hook = netlink.attributes(attributes.get(_HOOK, b""))
    return [
        {
            "family": family,
            "table": _text(attributes.get(_TABLE)),
            "name": _text(attributes.get(_NAME)),
            "forward": _number(hook.get(_HOOK_NUMBER)) == _FORWARD,
            "drops": _number(attributes.get(_POLICY)) == _DROP,
        }
    ]


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")


def _number(value: bytes | None) -> int | None:
    return None if value is None else int.from_bytes(value, "big")


def legacy() -> list[str]:
    """The families for which iptables-legacy has a filter table."""
    families = []
    for family, path in _LEGACY.items():
        with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as names:
            if "filter" in names.read().split():
                families.append(family)
    return families
