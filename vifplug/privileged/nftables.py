"""nftables' chains that bridged or routed frames are forwarded through, with their rules. Read, never changed.

pyroute2's nftables would be imported by every helper for two dumps; the messages are decoded here instead.
iptables-nft's FORWARD is such a chain, too; iptables-legacy's tables are another machinery of the kernel's, of which
only the names can be told.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from vifplug.netlink import socket as netlink
from vifplug.netlink.message import attribute
from vifplug.privileged import nftables_rules
from vifplug.privileged.nftables_rules import number, text

_NETLINK_NETFILTER = 12
_NFT_GETCHAIN, _NFT_GETRULE, _NFT_GETSETELEM = (10 << 8) | 4, (10 << 8) | 7, (10 << 8) | 13
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_NFGEN = struct.Struct("=BBH")
_TABLE, _NAME, _HOOK, _POLICY = 1, 3, 4, 5
_RULE_TABLE, _RULE_CHAIN = 1, 2
_ELEMENTS_TABLE, _ELEMENTS_SET, _ELEMENTS = 1, 2, 3
_KEY, _VALUE = 1, 1
_HOOK_NUMBER = 1
_FORWARD = 2
"""NF_INET_FORWARD and NF_BR_FORWARD alike."""
_DROP = 0
_FAMILIES = {1: "inet", 2: "ip", 7: "bridge", 10: "ip6"}
_NUMBERS = {name: family for family, name in _FAMILIES.items()}
_LEGACY = {"ip": "/proc/net/ip_tables_names", "ip6": "/proc/net/ip6_tables_names"}
_SECONDS = 2.0
_RULES_SECONDS, _RULES_MAX = 4.0, 5000
"""For the rules of all chains; of those that are beyond it, none are told."""


def chains() -> list[dict[str, Any]]:
    """Every chain: family, table, name, whether it is at the forward hook, and whether its policy is to drop; and of
    those that frames come through there, ``rules`` as of ``firewall_rules.rule``, or None where they cannot be told.

    :raises OSError: when the kernel does not tell. One without nf_tables has none.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as channel:
        channel.settimeout(_SECONDS)
        channel.bind((0, 0))
        found = [chain for payload in _dumped(channel, _NFT_GETCHAIN) for chain in _chain(payload)]
        _add_rules(channel, found)
    return found


def _dumped(channel: socket.socket, kind: int, family: int = 0, which: bytes = b"") -> Iterator[bytes]:
    body = _NFGEN.pack(family, 0, 0) + which
    channel.send(_HEADER.pack(_HEADER.size + len(body), kind, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + body)
    while True:
        for answer, _flags, _sequence, payload in netlink.split(channel.recv(netlink.RECEIVE_BYTES)):
            if answer == _NLMSG_DONE:
                return
            if answer == _NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", payload)
                raise OSError(-code, os.strerror(-code))
            yield payload


def _chain(payload: bytes) -> list[dict[str, Any]]:
    family = _FAMILIES.get(payload[0])
    if family is None:
        return []
    attributes = netlink.attributes(payload, _NFGEN.size)
    hook = netlink.attributes(attributes.get(_HOOK, b""))
    return [
        {
            "family": family,
            "table": text(attributes.get(_TABLE)),
            "name": text(attributes.get(_NAME)),
            "forward": number(hook.get(_HOOK_NUMBER)) == _FORWARD,
            "drops": number(attributes.get(_POLICY)) == _DROP,
            "rules": None,
        }
    ]


def _add_rules(channel: socket.socket, found: list[dict[str, Any]]) -> None:
    """Of the chains at the forward hook, and of those that their rules lead to."""
    known = {(one["family"], one["table"], one["name"]): one for one in found}
    coming = [key for key, one in known.items() if one["forward"]]
    met, left = set(coming), _RULES_MAX
    end = time.monotonic() + _RULES_SECONDS
    while coming and time.monotonic() < end:
        family, table, name = key = coming.pop(0)
        which = attribute(_RULE_TABLE, table.encode() + b"\0") + attribute(_RULE_CHAIN, name.encode() + b"\0")
        try:
            # All of them are read, or the next dump would hear the rest of this one.
            payloads = list(_dumped(channel, _NFT_GETRULE, _NUMBERS[family], which))
            left -= len(payloads)
            if left < 0:
                return
            elements = functools.partial(_elements, channel, family, table)
            rules = [nftables_rules.rule(netlink.attributes(payload, _NFGEN.size), elements) for payload in payloads]
        except TimeoutError:
            return
        except OSError:  # it is gone already, say
            continue
        known[key]["rules"] = rules
        further = dict.fromkeys((family, table, rule["to"]) for rule in rules if rule["to"])
        coming += [one for one in further if one in known and one not in met]
        met.update(further)


def _elements(channel: socket.socket, family: str, table: str, name: str) -> list[bytes] | None:
    """A set's; None where it is gone already.

    :raises TimeoutError: when the kernel does not answer.
    """
    which = attribute(_ELEMENTS_TABLE, table.encode() + b"\0") + attribute(_ELEMENTS_SET, name.encode() + b"\0")
    try:
        payloads = list(_dumped(channel, _NFT_GETSETELEM, _NUMBERS[family], which))
    except TimeoutError:
        raise
    except OSError:
        return None
    told = [netlink.attributes(payload, _NFGEN.size).get(_ELEMENTS, b"") for payload in payloads]
    keys = [netlink.attributes(element).get(_KEY, b"") for part in told for element in nftables_rules.nested(part)]
    return [netlink.attributes(key).get(_VALUE, b"") for key in keys]


def legacy() -> list[str]:
    """The families for which iptables-legacy has a filter table."""
    families = []
    for family, path in _LEGACY.items():
        with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as names:
            if "filter" in names.read().split():
                families.append(family)
    return families
