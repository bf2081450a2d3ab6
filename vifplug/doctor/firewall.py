"""Checks of the firewall: whether it passes frames that guests send over a Linux bridge. Pure.

A chain is evaluated as in the kernel, for a frame of which only the bridge is known. A rule's condition is true, false,
or unknown; if the result depends on an unknown one, neither accept nor drop is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from vifplug import naming
from vifplug.doctor.facts import Chain, Facts, Rule
from vifplug.doctor.findings import ERROR, UNSEEN, WARNING
from vifplug.doctor.openvswitch import Draft, draft

_NEUTRON_CHAINS = ("neutron-openvswi-", "neutron-linuxbri-")
_SYSCTLS: Mapping[str, str] = {"ip": "bridge-nf-call-iptables", "ip6": "bridge-nf-call-ip6tables"}
_IPTABLES: Mapping[str, str] = {"ip": "iptables", "ip6": "ip6tables"}
_FIREWALLD = "firewalld"
_ADMIT = (
    "if no firewall of Neutron's needs bridged frames, exclude them (sysctl net.bridge.bridge-nf-call-iptables=0, "
    "-ip6tables likewise); else accept them: firewall-cmd --permanent --zone=trusted --add-interface=qbr+ "
    "--add-interface=brq+ && firewall-cmd --reload"
)
_ACCEPT, _DROP, _ON, _UNKNOWN = "accept", "drop", "on", "unknown"
_ANYTHING = frozenset({_ACCEPT, _DROP, _ON})
_GUESTS = (f"{naming.ROLE_BRIDGE}*", f"{naming.ROLE_NETWORK_BRIDGE}*")
"""Guests' bridges, if none is recorded."""

Chains = Mapping[str, Chain]
"""The chains of one table, by name."""


def firewall(facts: Facts) -> Iterator[Draft]:
    """Whether a chain at the forward hook drops frames of guests on Linux bridges."""
    state = facts.firewall
    if state is None:
        yield draft(UNSEEN, "firewall", "there is no privileged helper to ask")
        return
    if state.chains is None:
        if state.bridged and state.firewalld:
            reason = "it runs, it sees bridged frames (br_netfilter), and as shipped it rejects them"
            yield draft(WARNING, _FIREWALLD, f"{reason}; its chains cannot be read: {state.error}", _ADMIT)
        elif state.bridged:
            yield draft(UNSEEN, "firewall", f"its chains cannot be read: {state.error}")
    else:
        tables: dict[tuple[str, str], dict[str, Chain]] = {}
        for chain in state.chains:
            tables.setdefault((chain.family, chain.table), {})[chain.name] = chain
        for chain in state.chains:
            table = tables[chain.family, chain.table]
            through = _families(chain.family, state.bridged)
            # Neutron's firewall passes the frames of its ports, whatever the other rules.
            if chain.forward and through and not any(name.startswith(_NEUTRON_CHAINS) for name in table):
                yield from _findings(facts, chain, table, through)
    for family in state.legacy:
        if family in state.bridged:
            reason = f"iptables-legacy filters {family}, and its FORWARD policy cannot be read"
            yield draft(UNSEEN, "iptables-legacy", reason, "check that `iptables-legacy -S FORWARD` has no DROP policy")


def _families(family: str, bridged: Iterable[str]) -> str:
    """Which bridged frames a chain of that family sees; "" for none."""
    if family == "bridge":
        return "every bridged frame"
    sysctls = [_SYSCTLS[each] for each in sorted(bridged) if family in (each, "inet")]
    return f"bridged frames (br_netfilter: net.bridge.{' and '.join(sysctls)} = 1)" if sysctls else ""


def _findings(facts: Facts, chain: Chain, table: Chains, through: str) -> Iterator[Draft]:
    bridges = sorted(facts.plugged.bridges) if facts.plugged and facts.plugged.bridges else _GUESTS
    ends = frozenset().union(*(outcomes(chain, table, bridge) for bridge in bridges))
    subject = f"{chain.family} {chain.table} {chain.name}"
    policy = "its policy is drop" if chain.drops else "its policy is accept"
    if ends == {_DROP}:
        is_bridged = not facts.plugged or facts.plugged.bridged or not facts.plugged.total
        rules = "no rule accepts more than a part of the frames" if chain.drops else "but its rules drop the frames"
        reason = f"{policy}, {rules}, and it sees {through}: it drops what guests on a qbr or brq bridge send"
        # Frames of an ovs VIF cross no Linux bridge.
        yield draft(ERROR if is_bridged else WARNING, subject, reason, _remedy(chain))
    elif _DROP in ends:
        reason = f"{policy}, it sees {through}, and whether its rules accept guests' frames is unknown"
        status = WARNING if facts.firewall and facts.firewall.firewalld and chain.family != "bridge" else UNSEEN
        yield draft(status, subject, reason, "check that they do; if not: " + _remedy(chain))


def outcomes(chain: Chain, table: Chains, bridge: str) -> frozenset[str]:
    """The possible results of a chain at a hook for a frame: accept, drop, or both.

    :param bridge: the frame's bridge, or the beginning of its name and ``*``.
    """
    ends = _Walk(table, bridge).through(chain)
    return (ends - {_ON}) | ({_DROP if chain.drops else _ACCEPT} if _ON in ends else frozenset())


class _Walk:
    """Evaluates one table's chains for a frame of one bridge."""

    def __init__(self, table: Chains, bridge: str) -> None:
        self._table, self._bridge = table, bridge
        self._known: dict[str, frozenset[str]] = {}

    def through(self, chain: Chain) -> frozenset[str]:
        """The possible results: accept, drop, and ``on`` for reaching the end. Each chain is evaluated once; the kernel
        allows no loops."""
        if chain.name not in self._known:
            self._known[chain.name] = _ANYTHING
            self._known[chain.name] = self._walked(chain)
        return self._known[chain.name]

    def _walked(self, chain: Chain) -> frozenset[str]:
        if chain.rules is None:
            return _ANYTHING
        ends: set[str] = set()
        for rule in chain.rules:
            applies = self._applies(rule, chain.family)
            if applies is False:
                continue
            results = self._results(rule)
            ends |= results - {_ON}
            if rule.then in ("goto", "return"):  # the rules after this one are skipped
                ends |= results & {_ON}
                results -= {_ON}
            if applies and _ON not in results:
                return frozenset(ends)
        return frozenset({*ends, _ON})

    def _results(self, rule: Rule) -> frozenset[str]:
        """The possible results for a frame that matches the rule."""
        if rule.then in (_ACCEPT, _DROP):
            return frozenset({rule.then})
        if rule.then in ("jump", "goto"):
            return self.through(self._table[rule.to]) if rule.to in self._table else _ANYTHING
        return _ANYTHING if rule.then == _UNKNOWN else frozenset({_ON})

    def _applies(self, rule: Rule, family: str) -> bool | None:
        """Whether the rule matches the frame; None if that is unknown."""
        answers = [self._is(condition, name, family) for condition, name in rule.when]
        return False if False in answers else None if None in answers else True

    def _is(self, condition: str, name: str, family: str) -> bool | None:
        if condition in ("bridged", "unbridged"):
            return condition == "bridged"
        if condition == "part":
            # A rule for a part of the frames is intended, and does not apply to the others.
            return False
        if condition not in ("in", "out"):
            return None
        if family == "bridge":  # matches the bridge port, which may be any guest's
            return None if any(_covers(name, f"{role}*") is not False for role in naming.ROLES) else False
        return _covers(name, self._bridge)


def _covers(pattern: str, name: str) -> bool | None:
    """Whether a pattern matches a name; None (perhaps) if only the beginning of the name is known."""
    start, beginning = pattern.removesuffix("*"), name.removesuffix("*")
    if pattern.endswith("*") and beginning.startswith(start):
        return True
    if name.endswith("*"):
        return None if start.startswith(beginning) else False
    return pattern == name


def _remedy(chain: Chain) -> str:
    if chain.family == "bridge":
        # An accept before all rules would switch the whole chain off, also for the guests that it protects.
        listed = f"nft -a list chain bridge {chain.table} {chain.name}"
        return f"vifplug trace ID names the rule or policy that drops a guest's frames; change that one ({listed})"
    keep = (
        "if no firewall of Neutron's needs bridged frames, exclude them (sysctl net.bridge.bridge-nf-call-iptables=0, "
        "-ip6tables likewise); else accept them "
    )
    if chain.table == _FIREWALLD:
        return _ADMIT
    if chain.family in _IPTABLES and (chain.table, chain.name) == ("filter", "FORWARD"):
        return f"{keep}({_IPTABLES[chain.family]} -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT)"
    chain_name = f"{chain.family} {chain.table} {chain.name}"
    return (
        f"{keep}(nft insert rule {chain_name} iifname 'qbr*' oifname 'qbr*' accept; the same for guests' other bridges)"
    )
