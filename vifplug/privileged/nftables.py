"""Dumps of nftables: chains, a chain's rules, a set's elements. Read, never changed.

The messages are returned as the kernel sends them: the doctor decodes them without privileges (doctor/nftables.py).
With pyroute2's nftables every helper would import it for three dumps. iptables-nft's FORWARD is also such a chain;
iptables-legacy's tables are a separate part of the kernel, of which only the names can be read.
"""

from __future__ import annotations

import contextlib
import socket
import threading

from vifplug.netlink import nftables as nft
from vifplug.netlink import socket as netlink

CHAINS, RULES, ELEMENTS = "chains", "rules", "elements"
DUMPS = {CHAINS: nft.GET_CHAIN, RULES: nft.GET_RULE, ELEMENTS: nft.GET_ELEMENT}
"""The request, by what is dumped."""
BYTES_MAX = 4 * 2**20
"""Of one dump. A rule of iptables-nft with a comment has some 500."""

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
    # A rule's chain and a set's elements are named by the same attributes.
    body = nft.rules_of(table, name) if table else b""
    request = nft.message(DUMPS[kind], family, body, flags=nft.DUMP, sequence=1)
    with (
        _one_dump,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nft.NETLINK_NETFILTER) as channel,
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
