"""Our table of a family: whether it is as it should be, and its elements. The socket and its lock are here.

What is right is not read again while the ruleset's generation is the same (``known``).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence

from vifplug import naming
from vifplug.netlink import nftables as nft
from vifplug.netlink.message import NFGEN, attribute
from vifplug.netlink.nftables import Element, Set
from vifplug.netlink.socket import attributes
from vifplug.privileged.filters import known, rules
from vifplug.privileged.filters.channel import Channel
from vifplug.resources.nftables.filter import TABLE

Wanted = Mapping[Set, Sequence[Element]]

lock = threading.RLock()
"""Held from the look at a table to its change."""
channel = Channel()


def start() -> None:
    """Forget what a forked process has inherited: its caller may be in another network namespace."""
    channel.close()
    known.forget()


def fault(family: int, generation: int) -> str:
    """What differs in a table, its chains, sets and rules; "" if nothing does.

    :param generation: the present one.
    """
    if known.is_table(family, generation):
        return ""
    text = _fault(family)
    if not text and channel.generation() == generation:
        known.table_is_right(family, generation)
    return text


def title(family: int) -> str:
    """A table as nft names it."""
    return f"table {nft.FAMILIES[family]} {TABLE}"


def missing(family: int) -> str:
    """The fault of a table that does not exist."""
    return f"{title(family)} is missing"


def dormant(family: int) -> str:
    """The fault of a table with flags, of which vifplug sets none."""
    return f"{title(family)} has flags: it may be dormant"


def _fault(family: int) -> str:
    chains = rules.CHAINS[family]
    questions = [
        (nft.GET_TABLE, family, attribute(nft.TABLE_NAME, nft.name(TABLE))),
        *((nft.GET_SET, family, nft.of_set(TABLE, own.name)) for own in rules.SETS),
        *((nft.GET_CHAIN, family, nft.chain(TABLE, chain)) for chain in chains),
    ]
    table, *others = channel.ask(questions)
    if table is None:
        return missing(family)
    if any(attributes(table, NFGEN.size).get(nft.TABLE_FLAGS, b"")):
        return dormant(family)
    sets, there = others[: len(rules.SETS)], others[len(rules.SETS) :]
    for own, answer in zip(rules.SETS, sets, strict=True):
        if answer is None or not nft.is_set(answer, own):
            return f"set {own.name} of {title(family)} is {'missing' if answer is None else 'another one'}"
    for chain, answer in zip(chains, there, strict=True):
        words = "is missing" if answer is None else chain_fault(family, chain, answer, chains[chain])
        if words:
            return f"chain {chain} of {title(family)} {words}"
    return ""


def chain_fault(family: int, chain: str, answer: bytes, expected: Sequence[nft.Rule], hook: bytes | None = None) -> str:
    """What differs in a chain, as the end of a sentence; "" if nothing does.

    :param answer: the chain in the kernel's answer.
    :param expected: its rules; none if they are known to be right.
    :param hook: that of a VIF's own base chain.
    """
    if not nft.is_hooked(answer, rules.HOOKS.get(chain, b"") if hook is None else hook):
        return "has another hook or policy"
    if not expected:
        return ""
    there = channel.dump(nft.GET_RULE, family, nft.rules_of(TABLE, chain))
    if len(there) != len(expected):
        return f"has {len(there)} rules instead of {len(expected)}"
    places = (place for place, pair in enumerate(zip(there, expected, strict=True), 1) if not nft.is_rule(*pair))
    changed = next(places, 0)
    return f"has another rule {changed}" if changed else ""


def sets_there(family: int) -> dict[Set, bool]:
    """The sets that a table has, and whether each is of the right kind."""
    answers = channel.ask([(nft.GET_SET, family, nft.of_set(TABLE, own.name)) for own in rules.SETS])
    pairs = zip(rules.SETS, answers, strict=True)
    return {own: nft.is_set(answer, own) for own, answer in pairs if answer is not None}


def chain(name: str) -> bytes | None:
    """A base chain of the family netdev, if it exists."""
    (answer,) = channel.ask([(nft.GET_CHAIN, nft.NETDEV, nft.chain(TABLE, name))])
    return answer


def elements_there(family: int, wanted: Wanted) -> dict[Set, list[Element]]:
    """Those of some elements that exist, each as it is."""
    asked = [(own, body) for own, parts in wanted.items() for part in parts for body in _question(own, part)]
    answers = channel.ask([(nft.GET_ELEMENT, family, body) for _own, body in asked])
    elements: dict[Set, list[Element]] = {own: [] for own in wanted}
    for (own, _body), answer in zip(asked, answers, strict=True):
        elements[own] += nft.elements_in(answer) if answer is not None else ()
    return elements


def _question(own: Set, part: Element) -> list[bytes]:
    return nft.elements(TABLE, own.name, [part._replace(mark="")])


def of_guests(family: int) -> list[Element]:
    """The elements of all guests' devices."""
    return elements_of(dumped(family, rules.GUESTS))


def dumped(family: int, own: Set) -> list[bytes]:
    """The messages with all elements of a set."""
    return channel.dump(nft.GET_ELEMENT, family, nft.of_set(TABLE, own.name))


def device_of(element: Element) -> str:
    """The device that an element is about."""
    return naming.decoded(element.key[: nft.INTERFACE.length].rstrip(b"\0"))


def by_device(elements: Wanted) -> dict[bytes, dict[Set, list[Element]]]:
    """Elements of all sets by device, as in their keys."""
    devices: dict[bytes, dict[Set, list[Element]]] = {}
    for own, parts in elements.items():
        for element in parts:
            of_device = devices.setdefault(element.key[: nft.INTERFACE.length], {each: [] for each in rules.SETS})
            of_device[own].append(element)
    return devices


def all_elements(family: int, marks: Iterable[bytes] = ()) -> dict[Set, list[Element]]:
    """All elements of a table.

    :param marks: only those that contain one of these.
    """
    few = tuple(marks)
    return {own: elements_of(dumped(family, own), few) for own in rules.SETS}


def elements_of(payloads: Iterable[bytes], marks: Collection[bytes] = ()) -> list[Element]:
    """The elements in messages.

    :param marks: only those that contain one of these.
    """
    return [element for payload in payloads for element in nft.elements_in(payload, marks)]
