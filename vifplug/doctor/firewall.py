"""Judgements about the firewall: whether frames that guests send over a Linux bridge come through. Pure.

A chain is walked as the kernel does, with a frame in mind that nothing is known of but the bridge that it crosses. What
a rule asks of it is true, untrue, or unknown; what is unknown leaves both ways open, and then neither is claimed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from vifplug import naming
from vifplug.doctor.facts import Chain, Facts, Rule
from vifplug.doctor.findings import ERROR, UNSEEN, WARNING
from vifplug.doctor.openvswitch import Draft, found

_NEUTRON_CHAINS = ("neutron-openvswi-", "neutron-linuxbri-")
_SYSCTLS: Mapping[str, str] = {"ip": "bridge-nf-call-iptables", "ip6": "bridge-nf-call-ip6tables"}
_IPTABLES: Mapping[str, str] = {"ip": "iptables", "ip6": "ip6tables"}
_FIREWALLD = "firewalld"
_ADMIT = (
    "keep bridged frames out (sysctl net.bridge.bridge-nf-call-iptables=0, -ip6tables likewise) where no firewall of "
    "Neutron's needs them; or let them through: firewall-cmd --permanent --zone=trusted --add-interface=qbr+ "
    "--add-interface=brq+ && firewall-cmd --reload"
)
_ACCEPT, _DROP, _ON, _UNKNOWN = "accept", "drop", "on", "unknown"
_ANYTHING = frozenset({_ACCEPT, _DROP, _ON})
_GUESTS = (f"{naming.ROLE_BRIDGE}*", f"{naming.ROLE_NETWORK_BRIDGE}*")
"""Bridges of guests, where none is recorded."""

Chains = Mapping[str, Chain]
"""Those of one table, by name."""


def firewall(facts: Facts) -> Iterator[Draft]:
    """Whether a chain at the forward hook eats what guests on Linux bridges send."""
    told = facts.firewall
    if told is None:
        yield found(UNSEEN, "firewall", "there is no privileged helper to ask")
        return
    if told.chains is None:
        if told.bridged and told.firewalld:
            reason = "it runs, it sees bridged frames (br_netfilter), and as shipped it rejects them"
            yield found(WARNING, _FIREWALLD, f"{reason}; the kernel does not tell its chains: {told.error}", _ADMIT)
        elif told.bridged:
            yield found(UNSEEN, "firewall", f"the kernel does not tell its chains: {told.error}")
    else:
        tables: dict[tuple[str, str], dict[str, Chain]] = {}
        for chain in told.chains:
            tables.setdefault((chain.family, chain.table), {})[chain.name] = chain
        for chain in told.chains:
            table = tables[chain.family, chain.table]
            through = _families(chain.family, told.bridged)
            # Neutron's firewall lets through what it knows, whatever else is there.
            if chain.forward and through and not any(name.startswith(_NEUTRON_CHAINS) for name in table):
                yield from _judged(facts, chain, table, through)
    for family in told.legacy:
        if family in told.bridged:
            reason = f"iptables-legacy filters {family}, and its FORWARD policy cannot be told from here"
            yield found(UNSEEN, "iptables-legacy", reason, "see that `iptables-legacy -S FORWARD` does not say DROP")


def _families(family: str, bridged: Iterable[str]) -> str:
    """How bridged frames come to a chain of that family: "" when they do not."""
    if family == "bridge":
        return "every bridged frame"
    ways = [_SYSCTLS[one] for one in sorted(bridged) if family in (one, "inet")]
    return f"bridged frames (br_netfilter: net.bridge.{' and '.join(ways)} = 1)" if ways else ""


def _judged(facts: Facts, chain: Chain, table: Chains, through: str) -> Iterator[Draft]:
    bridges = sorted(facts.plugged.bridges) if facts.plugged and facts.plugged.bridges else _GUESTS
    ends = frozenset().union(*(fates(chain, table, bridge) for bridge in bridges))
    subject = f"{chain.family} {chain.table} {chain.name}"
    policy = "its policy is drop" if chain.drops else "its policy is accept"
    if ends == {_DROP}:
        concerned = not facts.plugged or facts.plugged.bridged or not facts.plugged.total
        rules = (
            "no rule of it lets more than a part of them through" if chain.drops else "its rules drop them all the same"
        )
        reason = f"{policy}, {rules}, and it sees {through}: it eats what guests on a qbr or brq bridge send"
        # Frames of an ovs VIF cross no Linux bridge.
        yield found(ERROR if concerned else WARNING, subject, reason, _remedy(chain))
    elif _DROP in ends:
        reason = f"{policy}, it sees {through}, and whether its rules let through what guests send cannot be judged"
        status = WARNING if facts.firewall and facts.firewall.firewalld and chain.family != "bridge" else UNSEEN
        yield found(status, subject, reason, "see that they do; where they do not: " + _remedy(chain))


def fates(chain: Chain, table: Chains, bridge: str) -> frozenset[str]:
    """What may become of a frame in a chain at a hook: accept, drop, or either.

    :param bridge: the bridge it crosses, or how its name begins and ``*``.
    """
    ends = _Walk(table, bridge).through(chain)
    return (ends - {_ON}) | ({_DROP if chain.drops else _ACCEPT} if _ON in ends else frozenset())


class _Walk:
    """One table's chains, as a frame of one bridge goes through them."""

    def __init__(self, table: Chains, bridge: str) -> None:
        self._table, self._bridge = table, bridge
        self._known: dict[str, frozenset[str]] = {}

    def through(self, chain: Chain) -> frozenset[str]:
        """Accept, drop, and ``on`` where it comes out at the end. Each chain is walked once; the kernel lets none lead
        back to itself."""
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
            led = self._led(rule)
            ends |= led - {_ON}
            if rule.then in ("goto", "return"):  # what is behind this rule is not met any more
                ends |= led & {_ON}
                led -= {_ON}
            if applies and _ON not in led:
                return frozenset(ends)
        return frozenset({*ends, _ON})

    def _led(self, rule: Rule) -> frozenset[str]:
        """What becomes of a frame that the rule is about."""
        if rule.then in (_ACCEPT, _DROP):
            return frozenset({rule.then})
        if rule.then in ("jump", "goto"):
            return self.through(self._table[rule.to]) if rule.to in self._table else _ANYTHING
        return _ANYTHING if rule.then == _UNKNOWN else frozenset({_ON})

    def _applies(self, rule: Rule, family: str) -> bool | None:
        """Whether it is about the frame; None where that is unknown."""
        answers = [self._is(what, name, family) for what, name in rule.when]
        return False if False in answers else None if None in answers else True

    def _is(self, what: str, name: str, family: str) -> bool | None:
        if what in ("bridged", "unbridged"):
            return what == "bridged"
        if what == "part":
            # What is done with a part of the frames is somebody's choice, and no way for the others.
            return False
        if what not in ("in", "out"):
            return None
        if family == "bridge":  # by the port, which may be any guest's
            return None if any(_covers(name, f"{role}*") is not False for role in naming.ROLES) else False
        return _covers(name, self._bridge)


def _covers(pattern: str, name: str) -> bool | None:
    """Whether a name is one of a pattern's; of a name of which only the beginning is known, perhaps."""
    start, beginning = pattern.removesuffix("*"), name.removesuffix("*")
    if pattern.endswith("*") and beginning.startswith(start):
        return True
    if name.endswith("*"):
        return None if start.startswith(beginning) else False
    return pattern == name


def _remedy(chain: Chain) -> str:
    if chain.family == "bridge":
        return f"amend that chain: nft insert rule bridge {chain.table} {chain.name} accept"
    keep = (
        "keep bridged frames out (sysctl net.bridge.bridge-nf-call-iptables=0, -ip6tables likewise) where no firewall "
        "of Neutron's needs them; or let them through "
    )
    if chain.table == _FIREWALLD:
        return _ADMIT
    if chain.family in _IPTABLES and (chain.table, chain.name) == ("filter", "FORWARD"):
        return f"{keep}({_IPTABLES[chain.family]} -I FORWARD -m physdev --physdev-is-bridged -j ACCEPT)"
    where = f"{chain.family} {chain.table} {chain.name}"
    return f"{keep}(nft insert rule {where} iifname 'qbr*' oifname 'qbr*' accept, and so for guests' other bridges)"
