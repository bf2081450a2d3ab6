"""nftables' chains that bridged or routed frames are forwarded through, with their rules, from the kernel's messages.

The privileged side makes the dumps; here the messages are decoded, damaged ones without an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from vifplug.doctor import nftables_rules
from vifplug.doctor.facts import Chain, Rule
from vifplug.doctor.nftables_rules import number
from vifplug.errors import VifplugError
from vifplug.netlink import nftables as nft
from vifplug.netlink import socket as netlink
from vifplug.netlink.message import NFGEN
from vifplug.netlink.nftables import text

_FORWARD = 2
"""NF_INET_FORWARD and NF_BR_FORWARD have this value."""
_FAMILIES = {1: "inet", 2: "ip", 7: "bridge", 10: "ip6"}
_NUMBERS = {name: family for family, name in _FAMILIES.items()}
_SECONDS, _RULES_MAX = 4.0, 5000
"""Time limit for the rules of all chains; a chain beyond it has unknown rules."""

Dump = Callable[[str, int, str, str], Sequence[bytes] | None]
"""``Probe.firewall``. It raises VifplugError if no answer can be expected any more."""
_Key = tuple[str, str, str]
"""Family, table and name."""


def chains(messages: Iterable[bytes], dump: Dump) -> tuple[Chain, ...]:
    """Every chain of a dump's messages; with the rules of those that forwarded frames pass, if they can be read."""
    known = {(chain.family, chain.table, chain.name): chain for chain in map(_chain, messages) if chain is not None}
    for key, rules in _rules(known, dump):
        known[key] = replace(known[key], rules=rules)
    return tuple(known.values())


def _chain(message: bytes) -> Chain | None:
    """None for a chain of another family, or a damaged one."""
    family = _FAMILIES.get(message[0]) if len(message) >= NFGEN.size else None
    if family is None:
        return None
    attributes = netlink.attributes(message, NFGEN.size)
    hook = netlink.attributes(attributes.get(nft.CHAIN_HOOK, b""))
    table, name = text(attributes.get(nft.CHAIN_TABLE)), text(attributes.get(nft.CHAIN_NAME))
    if not (table and name):
        return None
    return Chain(
        family=family,
        table=table,
        name=name,
        forward=number(hook.get(nft.HOOK_NUMBER)) == _FORWARD,
        drops=number(attributes.get(nft.CHAIN_POLICY)) == nft.DROP,
        rules=None,
    )


def _rules(known: dict[_Key, Chain], dump: Dump) -> Iterator[tuple[_Key, tuple[Rule, ...]]]:
    """The rules of the chains at the forward hook, and of those that their rules lead to."""
    pending = [key for key, chain in known.items() if chain.forward]
    seen, left = set(pending), _RULES_MAX
    end = time.monotonic() + _SECONDS
    while pending and time.monotonic() < end:
        family, table, name = key = pending.pop(0)
        try:
            messages = dump("rules", _NUMBERS[family], table, name)
            if messages is None:
                continue
            left -= len(messages)
            if left < 0:
                return
            rules = tuple(_rule(message, dump, family, table) for message in messages)
        except VifplugError:
            return
        yield key, rules
        targets = dict.fromkeys((family, table, rule.to) for rule in rules if rule.to)
        pending += [target for target in targets if target in known and target not in seen]
        seen.update(targets)


def _rule(message: bytes, dump: Dump, family: str, table: str) -> Rule:
    def elements(name: str) -> list[bytes] | None:
        messages = dump("elements", _NUMBERS[family], table, name) if name else None
        return None if messages is None else [element.key for each in messages for element in nft.elements_in(each)]

    return nftables_rules.rule(netlink.attributes(message, NFGEN.size), elements)
