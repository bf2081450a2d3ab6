"""Which rules of nftables drop a guest's frames on its way. Pure.

A chain is evaluated as in the kernel, for a frame of which the devices and the MACs are known. A rule for a part of the
traffic (a port, a connection's state) is taken as intended and skipped; a condition that is not understood is no drop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from vifplug.doctor.facts import Chain, Rule
from vifplug.resources.nftables.filter import TABLE
from vifplug.trace.values import FROM_GUEST, TO_GUEST

_PROTOCOLS = {"0800": "IPv4", "0806": "ARP", "86dd": "IPv6"}
_IP_FAMILIES = ("ip", "ip6", "inet")
_BRIDGE_HOOKS = ("prerouting", "forward", "postrouting")
_NO, _ALL, _PART, _UNKNOWN = "no", "all", "part", "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A frame on its way through a Linux bridge, or through a device alone."""

    direction: str
    enters: str = ""
    """The device by which it comes to the bridge."""
    leaves: Sequence[str] = ()
    """Devices by which it may leave it; each may be the guest's way."""
    bridge: str = ""
    source: str | None = None
    destination: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """A rule, or a policy, that drops frames."""

    chain: str
    """Family, table and name."""
    hook: str
    direction: str
    rule: str
    """Its conditions in words; "policy" for a policy."""
    frames: str
    """Which of the frames: every frame, or a protocol."""
    packets: int | None = None
    """What its counter has counted."""
    device: str = ""
    """Of a chain at a device's ingress or egress."""


def concerns(chain: Chain) -> bool:
    """Whether a chain may see frames of a bridge or of a device."""
    if chain.table == TABLE:
        return False  # vifplug's own filter, which check compares
    if chain.family == "netdev":
        return bool(chain.hook)
    return chain.hook in _BRIDGE_HOOKS if chain.family == "bridge" else chain.hook == "forward"


def drops(
    chains: Sequence[Chain],
    bridged: frozenset[str],
    crossings: Sequence[Crossing],
    devices: Mapping[str, tuple[str, str]],
) -> list[Drop]:
    """What drops the frames of these crossings.

    :param bridged: the families that br_netfilter shows bridged frames.
    :param devices: of each device of the path, the directions of frames at its ingress and at its egress.
    """
    listed: list[Drop] = []
    tables: dict[tuple[str, str], dict[str, Chain]] = {}
    for chain in chains:
        tables.setdefault((chain.family, chain.table), {})[chain.name] = chain
    for chain in filter(concerns, chains):
        table = tables[chain.family, chain.table]
        if chain.family == "netdev":
            listed += _at_devices(chain, table, devices)
        elif chain.family == "bridge" or _sees_bridged(chain.family, bridged):
            for crossing in crossings:
                listed += _Walk(table, chain, crossing).drops()
    return list(dict.fromkeys(listed))


def _sees_bridged(family: str, bridged: frozenset[str]) -> bool:
    return bool(bridged) if family == "inet" else family in bridged


def _at_devices(chain: Chain, table: Mapping[str, Chain], devices: Mapping[str, tuple[str, str]]) -> Iterator[Drop]:
    for device in chain.devices:
        if device in devices:
            ingress, egress = devices[device]
            crossing = Crossing(direction=ingress if chain.hook == "ingress" else egress, enters=device)
            yield from _Walk(table, chain, crossing, device).drops()


class _Walk:
    """Evaluates one base chain for one crossing."""

    def __init__(self, table: Mapping[str, Chain], chain: Chain, crossing: Crossing, device: str = "") -> None:
        self._table, self._chain, self._crossing, self._device = table, chain, crossing, device
        self._drops: list[Drop] = []
        self._entered: set[str] = set()

    def drops(self) -> list[Drop]:
        """The rules that drop every frame, or every frame of a protocol; and a policy that no rule prevents."""
        ends, unknown = self._through(self._chain)
        if not ends and not unknown and self._chain.drops and self._chain.rules is not None:
            self._note("policy drop", "every frame", None)
        return self._drops

    def _through(self, chain: Chain) -> tuple[bool, bool]:
        """Whether no frame reaches the end; and whether a rule that is not understood may have accepted some."""
        if chain.rules is None or chain.name in self._entered:
            return False, True
        self._entered.add(chain.name)
        unknown = False
        for rule in chain.rules:
            match, protocol = self._match(rule, chain.family)
            if match in (_NO, _PART):
                continue
            if rule.then == "drop" and match == _ALL:
                self._note(
                    _words(rule), _PROTOCOLS.get(protocol, protocol) if protocol else "every frame", rule.packets
                )
                if not protocol:
                    return True, unknown
            elif rule.then in ("jump", "goto") and match == _ALL and not protocol and rule.to in self._table:
                ends, inner = self._through(self._table[rule.to])
                unknown |= inner
                if ends or rule.then == "goto":
                    return ends, unknown
            elif rule.then == "accept" and match == _ALL and not protocol:
                return True, unknown
            elif rule.then == "return" and match == _ALL and not protocol:
                return False, unknown
            elif rule.then not in ("", "drop"):
                unknown = True
        return False, unknown

    def _match(self, rule: Rule, family: str) -> tuple[str, str]:
        """Whether a rule applies to the frame; and the protocol that it applies to, if it is one only."""
        protocol, unknown = "", False
        for condition, value in rule.when:
            if condition == "protocol":
                protocol = value
                continue
            answer = self._is(condition, value, family)
            if answer is False:
                return _NO, ""
            if condition == "part":
                return _PART, ""
            unknown |= answer is None
        return (_UNKNOWN if unknown else _ALL), protocol

    def _is(self, condition: str, value: str, family: str) -> bool | None:
        crossing = self._crossing
        match condition:
            case "bridged" | "unbridged":
                return (condition == "bridged") is bool(crossing.bridge)
            case "in" if family in _IP_FAMILIES:
                return _covers(value, crossing.bridge)
            case "out" if family in _IP_FAMILIES:
                return _covers(value, crossing.bridge)
            case "in":
                return _covers(value, crossing.enters) if crossing.enters else None
            case "out":
                if self._chain.hook == "prerouting":
                    return False
                return any(_covers(value, name) for name in crossing.leaves) if crossing.leaves else None
            case "source":
                return None if crossing.source is None else crossing.source == value
            case "destination":
                return None if crossing.destination is None else crossing.destination == value
            case _:
                return None

    def _note(self, rule: str, frames: str, packets: int | None) -> None:
        chain = self._chain
        self._drops.append(
            Drop(
                chain=f"{chain.family} {chain.table} {chain.name}",
                hook=chain.hook,
                direction=self._crossing.direction,
                rule=rule,
                frames=frames,
                packets=packets,
                device=self._device,
            )
        )


def _covers(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == name


def _words(rule: Rule) -> str:
    names = {
        "in": "from",
        "out": "to",
        "source": "source MAC",
        "destination": "destination MAC",
        "protocol": "EtherType",
    }
    conditions = [f"{names.get(condition, condition)} {value}".strip() for condition, value in rule.when]
    return f"drop {', '.join(conditions)}" if conditions else "drop"


def crossings_of(device: str, bridge: str, others: Sequence[str], address: str) -> tuple[Crossing, ...]:
    """A guest's frames through the Linux bridge that its device is on.

    :param others: the other ports by which its frames may leave and come.
    """
    out = Crossing(direction=FROM_GUEST, enters=device, leaves=others, bridge=bridge, source=address)
    back = (
        Crossing(direction=TO_GUEST, enters=other, leaves=(device,), bridge=bridge, destination=address)
        for other in others
    )
    return (out, *back)
