"""Dumps of nftables: chains, a chain's rules, a set's elements. Read, never changed.

The messages are returned as the kernel sends them: the doctor decodes them without privileges (doctor/nftables.py).
With pyroute2's nftables every helper would import it for three dumps. iptables-nft's FORWARD is also such a chain;
iptables-legacy's tables are a separate part of the kernel, of which only the names can be read.
"""

from __future__ import annotations

import contextlib
import socket
import threading

from vifplug.netlink import socket as netlink
from vifplug.netlink.message import HEADER, NFGEN, attribute

CHAINS, RULES, ELEMENTS = "chains", "rules", "elements"
DUMPS = {CHAINS: (10 << 8) | 4, RULES: (10 << 8) | 7, ELEMENTS: (10 << 8) | 13}
"""NFT_MSG_GETCHAIN, NFT_MSG_GETRULE and NFT_MSG_GETSETELEM, by what is dumped."""
BYTES_MAX = 4 * 2**20
"""Of one dump. A rule of iptables-nft with a comment has some 500."""

_NETLINK_NETFILTER = 12
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_OF_TABLE, _OF_NAME = 1, 2
"""NFTA_RULE_TABLE and NFTA_RULE_CHAIN; NFTA_SET_ELEM_LIST_TABLE and NFTA_SET_ELEM_LIST_SET are the same numbers."""
_LEGACY = {"ip": "/proc/net/ip_tables_names", "ip6": "/proc/net/ip6_tables_names"}
_SECONDS = 2.0
_one_dump = threading.BoundedSemaphore(1)
"""Only one of a helper's threads reads a dump at a time: each may have ``BYTES_MAX``."""


def dump(kind: str, family: int = 0, table: str = "", name: str = "") -> list[bytes]:
    """The payloads of a dump's messages: nfgenmsg and attributes.

    :param kind: a key of ``DUMPS``.
    :param family: 0 for all.
    :param table: that of the chain or set; empty for all chains.
    :raises OSError: an error of the kernel, EMSGSIZE for more than ``BYTES_MAX``, TimeoutError for no answer.
    """
    body = NFGEN.pack(family, 0, 0)
    if table:
        body += attribute(_OF_TABLE, table.encode() + b"\0") + attribute(_OF_NAME, name.encode() + b"\0")
    request = HEADER.pack(HEADER.size + len(body), DUMPS[kind], _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + body
    with (
        _one_dump,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as channel,
    ):
        channel.settimeout(_SECONDS)
        channel.bind((0, 0))
        return netlink.exchange(channel, request, BYTES_MAX)


def legacy() -> list[str]:
    """The families for which iptables-legacy has a filter table."""
    families = []
    for family, path in _LEGACY.items():
        with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as names:
            if "filter" in names.read().split():
                families.append(family)
    return families
