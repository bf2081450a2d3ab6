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
_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_OF_DEVICE = ("ingress", "egress")
"""The hooks of the family netdev, by their numbers there."""
_DEVICE_LIST = 4
"""NFTA_HOOK_DEVS, of a chain that is bound to several devices."""
_NETDEV = "netdev"
_NUMBERS = {name: family for family, name in _FAMILIES.items()}
_SECONDS, _RULES_MAX = 4.0, 5000
"""Time limit for the rules of all chains; a chain beyond it has unknown rules."""

Dump = Callable[[str, int, str, str], Sequence[bytes] | None]
"""``Probe.firewall``. It raises VifplugError if no answer can be expected any more."""
_Key = tuple[str, str, str]
"""Family, table and name."""


def _forwards(chain: Chain) -> bool:
    return chain.forward


def chains(messages: Iterable[bytes], dump: Dump, concerns: Callable[[Chain], bool] = _forwards) -> tuple[Chain, ...]:
    """Every chain of a dump's messages; with the rules of some base chains, if they can be read.

    :param concerns: which; by default those that forwarded frames pass.
    """
    known = {(chain.family, chain.table, chain.name): chain for chain in map(_chain, messages) if chain is not None}
    for key, rules in _rules(known, dump, concerns):
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
        forward=family != _NETDEV and number(hook.get(nft.HOOK_NUMBER)) == _FORWARD,
        hook=_hook(family, number(hook.get(nft.HOOK_NUMBER))),
        devices=_devices(hook),
        drops=number(attributes.get(nft.CHAIN_POLICY)) == nft.DROP,
        rules=None,
    )


def _hook(family: str, hook: int | None) -> str:
    names = _OF_DEVICE if family == _NETDEV else _HOOKS
    return names[hook] if hook is not None and hook < len(names) else ""


def _devices(hook: dict[int, bytes]) -> tuple[str, ...]:
    several = netlink.each_attribute(hook.get(_DEVICE_LIST, b""))
    names = [text(hook[nft.HOOK_DEVICE])] if nft.HOOK_DEVICE in hook else []
    return (*names, *(text(name) for _number, name in several))


def _rules(
    known: dict[_Key, Chain], dump: Dump, concerns: Callable[[Chain], bool]
) -> Iterator[tuple[_Key, tuple[Rule, ...]]]:
    """The rules of these chains, and of those that their rules lead to."""
    pending = [key for key, chain in known.items() if concerns(chain)]
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
