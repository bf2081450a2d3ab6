"""The way of a frame through rules in memory, and rules read from what the kernel says of them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vifplug.doctor import firewall, nftables, nftables_rules
from vifplug.doctor.facts import Chain, Facts, Firewall, Plugged, Rule
from vifplug.doctor.findings import ERROR, UNSEEN, WARNING
from vifplug.errors import TimedOut
from vifplug.netlink.message import attribute

BRIDGED, UNKNOWN, PART = ("bridged", ""), ("unknown", ""), ("part", "")


def rule(then: str, *when: tuple[str, str], to: str = "") -> Rule:
    return Rule(when=when, then=then, to=to)


ACCEPT, DROP = rule("accept"), rule("drop")
SURE, OPEN, LOST = {"accept"}, {"accept", "drop"}, {"drop"}
OTHERS = {
    "OPEN": Chain(family="ip", table="filter", name="OPEN", rules=(ACCEPT,)),
    "SHUT": Chain(family="ip", table="filter", name="SHUT", rules=(DROP,)),
    "BACK": Chain(family="ip", table="filter", name="BACK", rules=(rule("return"), DROP)),
    "PERHAPS": Chain(family="ip", table="filter", name="PERHAPS", rules=(rule("accept", UNKNOWN),)),
    "UNREAD": Chain(family="ip", table="filter", name="UNREAD", rules=None),
    "LOOP": Chain(family="ip", table="filter", name="LOOP", rules=(rule("jump", to="LOOP"),)),
}
WAYS: dict[str, tuple[tuple[Rule, ...], set[str]]] = {
    "none": ((), LOST),
    "the remedy": ((rule("accept", BRIDGED),), SURE),
    "the remedy before a drop": ((rule("accept", BRIDGED), DROP), SURE),
    "the remedy behind a drop": ((DROP, rule("accept", BRIDGED)), LOST),
    "the remedy behind what may drop": ((rule("drop", UNKNOWN), rule("accept", BRIDGED)), OPEN),
    "the remedy behind what drops a part": ((rule("drop", PART), rule("accept", BRIDGED)), SURE),
    "the remedy's opposite": ((rule("accept", ("unbridged", "")),), LOST),
    "the remedy and more": ((rule("accept", BRIDGED, UNKNOWN),), OPEN),
    "accept of what is unknown": ((rule("accept", UNKNOWN),), OPEN),
    "accept of a part": ((rule("accept", PART, UNKNOWN),), LOST),
    "accept of another bridge's": ((rule("accept", ("in", "docker0")),), LOST),
    "accept of this bridge's": ((rule("accept", ("in", "qbr1"), ("out", "qbr1")),), SURE),
    "accept of bridges of its kind": ((rule("accept", ("in", "qbr*")),), SURE),
    "accept of bridges of another kind": ((rule("accept", ("in", "qbr*"), ("out", "br-*")),), LOST),
    "jump": ((rule("jump", to="OPEN"), DROP), SURE),
    "jump and back": ((rule("jump", to="BACK"), ACCEPT), SURE),
    "jump that may lead to it": ((rule("jump", UNKNOWN, to="OPEN"),), OPEN),
    "jump to what may accept": ((rule("jump", to="PERHAPS"), DROP), OPEN),
    "jump for others": ((rule("jump", ("out", "docker0"), to="OPEN"),), LOST),
    "jump to nowhere": ((rule("jump", to="GONE"),), OPEN),
    "jump to what is not read": ((rule("jump", to="UNREAD"), ACCEPT), OPEN),
    "jump in a circle": ((rule("jump", to="LOOP"),), OPEN),
    "goto does not come back": ((rule("goto", to="BACK"), ACCEPT), LOST),
    "goto": ((rule("goto", to="OPEN"), DROP), SURE),
    "return": ((rule("return"), ACCEPT), LOST),
    "return of a part": ((rule("return", PART), ACCEPT), SURE),
    "what goes on": ((rule(""), rule("", UNKNOWN), ACCEPT), SURE),
    "to a program": ((rule("unknown"), DROP), OPEN),
}


def forward(*rules: Rule, **changes: Any) -> Chain:
    return Chain(
        **{"family": "ip", "table": "filter", "name": "FORWARD", "forward": True, "drops": True, **changes}, rules=rules
    )


@pytest.mark.parametrize("way", WAYS)
def test_way_of_a_frame_is_decided_or_left_open(way: str) -> None:
    rules, expected = WAYS[way]
    assert firewall.outcomes(forward(*rules), OTHERS, "qbr1") == expected


def test_policy_is_for_what_comes_to_the_end() -> None:
    assert firewall.outcomes(forward(drops=False), {}, "qbr1") == SURE
    assert firewall.outcomes(forward(DROP, drops=False), {}, "qbr1") == LOST
    assert firewall.outcomes(forward(rule("drop", UNKNOWN), drops=False), {}, "qbr1") == OPEN


@pytest.mark.parametrize(
    ("pattern", "bridge", "expected"),
    [
        ("qbr*", "qbr*", SURE), ("qb*", "qbr*", SURE), ("*", "qbr*", SURE), ("qbr1*", "qbr*", OPEN),
        ("qbr1", "qbr*", OPEN), ("docker0", "qbr*", LOST), ("br-lan", "br-lan", SURE), ("br-la", "br-lan", LOST),
    ],
)  # fmt: skip
def test_names_of_bridges_that_are_not_known_are_known_by_their_beginning(
    pattern: str, bridge: str, expected: set[str]
) -> None:
    assert firewall.outcomes(forward(rule("accept", ("in", pattern))), {}, bridge) == expected


def test_ports_of_a_bridge_are_anybodys_in_the_bridges_own_family() -> None:
    def ends(name: str) -> set[str]:
        return {*firewall.outcomes(forward(rule("accept", ("in", name)), family="bridge"), {}, "qbr1")}

    assert (ends("tap*"), ends("qvb1"), ends("eth0"), ends("*")) == (OPEN, OPEN, LOST, OPEN)


def test_firewalld_that_cannot_be_judged_is_a_warning() -> None:
    for chains, bridged, expected in (
        (None, {"ip"}, [WARNING]),
        (None, set(), []),
        ((forward(rule("accept", UNKNOWN), family="inet", table="firewalld"),), {"ip"}, [WARNING]),
        ((forward(ACCEPT, family="inet", table="firewalld"),), {"ip"}, []),
        ((forward(DROP, family="inet", table="firewalld"),), {"ip"}, [ERROR]),
    ):
        told = Firewall(bridged=frozenset(bridged), chains=chains, error="no", firewalld=True)
        facts = Facts(integration_bridge="br-int", firewall=told)
        assert [said("firewall").status for said in firewall.firewall(facts)] == expected


def judged(*chains: Chain, **plugged: Any) -> list[tuple[str, str]]:
    facts = Facts(
        integration_bridge="br-int",
        firewall=Firewall(bridged=frozenset({"ip"}), chains=chains),
        plugged=Plugged(**plugged) if plugged else None,
    )
    return [(said("firewall").status, said("firewall").reason) for said in firewall.firewall(facts)]


def test_finding_says_what_it_does_not_know() -> None:
    ((status, reason),) = judged(forward(rule("accept", UNKNOWN)))
    assert (status, "is unknown" in reason) == (UNSEEN, True)
    ((status, reason),) = judged(forward(DROP, drops=False))
    assert (status, "its rules drop" in reason) == (ERROR, True)
    assert judged(forward(rule("accept", BRIDGED))) == []
    assert [status for status, _reason in judged(forward(), forward(ACCEPT, table="mine"))] == [ERROR]


def test_each_recorded_bridge_must_come_through() -> None:
    chain = forward(rule("accept", ("in", "qbr*")))
    assert judged(chain, total=1, bridged=1, bridges=frozenset({"qbr1"})) == []
    both = judged(chain, total=2, bridged=2, bridges=frozenset({"qbr1", "br-lan"}))
    assert [status for status, _reason in both] == [UNSEEN]
    assert [status for status, _reason in judged(chain, total=1)] == [UNSEEN]


# -- read -------------------------------------------------------------------------------------------------


def expression(name: str, **told: bytes) -> bytes:
    data = b"".join(attribute(int(key[1:]), value) for key, value in told.items())
    return attribute(1, attribute(1, name.encode() + b"\0") + attribute(2, data))


def read(*expressions: bytes) -> Rule:
    return nftables_rules.rule({4: b"".join(expressions)})


def number(value: int) -> bytes:
    return struct.pack(">i", value)


VERDICT = expression("immediate", a1=number(0), a2=attribute(2, attribute(1, number(1))))
STATE = expression("ct", a1=number(1), a2=number(0))


def masked(mask: int, operator: int = 1, zero: bytes = bytes(4)) -> tuple[bytes, bytes, bytes]:
    bits = expression("bitwise", a1=number(1), a2=number(1), a3=number(4), a4=attribute(1, struct.pack("=I", mask)))
    return STATE, bits, expression("cmp", a1=number(1), a2=number(operator), a3=attribute(1, zero))


@pytest.mark.parametrize(
    ("expressions", "when", "then"),
    [
        ((), [], "accept"),
        ((expression("counter"),), [], "accept"),
        (masked(0x6), ["part"], "accept"),  # established, related
        (masked(0xE), ["unknown"], "accept"),  # and new
        (masked(0x46), ["unknown"], "accept"),  # and untracked
        (masked(0x6, operator=0), ["unknown"], "accept"),  # none of them
        (masked(0x6, zero=b"\2\0\0\0"), ["unknown"], "accept"),
        ((STATE, expression("lookup", a1=b"s\0", a2=number(1))), ["unknown"], "accept"),
        ((expression("dynset", a1=b"s\0"),), ["unknown"], "accept"),
        ((expression("match", a1=b"physdev\0", a3=bytes(64) + b"\0\4"),), ["bridged"], "accept"),
        ((expression("match", a1=b"physdev\0", a3=bytes(64) + b"\4\4"),), ["unbridged"], "accept"),
        ((expression("match", a1=b"physdev\0", a3=bytes(64) + b"\0\5"),), ["unknown"], "accept"),
        ((expression("match", a1=b"physdev\0", a3=b"\4"),), ["unknown"], "accept"),
        ((expression("match", a1=b"conntrack\0", a3=b"\4"),), ["unknown"], "accept"),
        ((expression("match", a1=b"of tomorrow\0"),), ["unknown"], "accept"),
    ],
)
def test_condition_is_read_as_what_it_is_or_as_unknown(
    expressions: tuple[bytes, ...], when: list[str], then: str
) -> None:
    told = read(*expressions, VERDICT)
    assert ([what for what, _name in told.when], told.then) == (when, then)


def test_verdict_that_a_map_says_or_that_is_not_known_is_unknown() -> None:
    assert read(STATE, expression("lookup", a1=b"m\0", a2=number(1), a3=number(0))).then == "unknown"
    assert read(expression("immediate", a1=number(0), a2=attribute(2, attribute(1, number(3))))).then == "unknown"
    assert read(expression("synproxy")).then == "unknown"
    assert read(expression("reject")).then == "drop"
    assert read(expression("counter")) == Rule()


def chain_message(name: str, *, family: int = 2, forward: bool = True, policy: int = 0) -> bytes:
    """As NFT_MSG_NEWCHAIN has it."""
    hook = attribute(4, attribute(1, number(2 if forward else 1)) + attribute(2, number(0)))
    names = attribute(1, b"filter\0") + attribute(3, name.encode() + b"\0")
    return bytes([family, 0, 0, 0]) + names + hook + attribute(5, number(policy))


def rule_message(*expressions: bytes) -> bytes:
    return bytes([2, 0, 0, 0]) + attribute(1, b"filter\0") + attribute(4, b"".join(expressions))


def jump(to: str) -> bytes:
    verdict = attribute(1, number(-3)) + attribute(2, to.encode() + b"\0")
    return expression("immediate", a1=number(0), a2=attribute(2, verdict))


LOOKUP = expression("lookup", a1=b"states\0", a2=number(1))
ELEMENTS = bytes([2, 0, 0, 0]) + attribute(3, attribute(1, attribute(1, attribute(1, struct.pack("=I", 6)))))
"""A set of the state 6: established, related."""
DUMPS: dict[tuple[str, str], list[bytes]] = {
    ("rules", "FORWARD"): [rule_message(STATE, LOOKUP, VERDICT), rule_message(jump("MINE"))],
    ("rules", "MINE"): [rule_message(VERDICT)],
    ("elements", "states"): [ELEMENTS],
}
CHAINS = [chain_message("FORWARD"), chain_message("MINE", forward=False), chain_message("OTHER", forward=False)]


def dump(kind: str, family: int, table: str, name: str) -> list[bytes] | None:
    assert (family, table) == (2, "filter")
    return DUMPS[kind, name]


def test_rules_are_dumped_of_the_chains_that_frames_pass_and_of_no_other() -> None:
    forward, mine, other = nftables.chains(CHAINS, dump)
    assert (forward.forward, forward.drops, forward.family, forward.table) == (True, True, "ip", "filter")
    assert forward.rules == (Rule(when=(PART,), then="accept"), Rule(then="jump", to="MINE"))
    assert mine.rules == (Rule(then="accept"),)
    assert other.rules is None


def test_chain_that_is_gone_or_too_large_has_unknown_rules_unlike_the_others() -> None:
    chains = nftables.chains(CHAINS, lambda kind, family, table, name: None if name == "MINE" else DUMPS[kind, name])
    assert [chain.rules is None for chain in chains] == [False, True, True]


def test_nothing_more_is_asked_of_a_kernel_that_does_not_answer() -> None:
    def silent(kind: str, family: int, table: str, name: str) -> list[bytes] | None:
        asked.append(name)
        raise TimedOut("no answer")

    asked: list[str] = []
    chains = nftables.chains([chain_message("FORWARD"), chain_message("ALSO")], silent)
    assert ([chain.rules for chain in chains], asked) == ([None, None], ["FORWARD"])


def test_more_rules_than_can_be_judged_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nftables, "_RULES_MAX", 2)
    assert [chain.rules is None for chain in nftables.chains(CHAINS, dump)] == [False, True, True]


@st.composite
def damaged(draw: st.DrawFn, messages: Sequence[bytes]) -> bytes:
    """One of the messages, cut short or with some bytes changed; or any bytes."""
    message = bytearray(draw(st.sampled_from(messages)))
    for position in draw(st.lists(st.integers(0, len(message) - 1), max_size=4)):
        message[position] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(message)))
    return draw(st.sampled_from([bytes(message), bytes(message[:cut])]) | st.binary(max_size=64))


MATCHES = [
    expression("match", a1=b"physdev\0", a3=bytes(64) + b"\0\4"),
    expression("match", a1=b"conntrack\0", a3=bytes(160)),
    expression("match", a1=b"state\0", a3=bytes(4)),
    expression("target", a1=b"REJECT\0"),
]
ALL_RULES = [*DUMPS["rules", "FORWARD"], rule_message(*masked(0x6), *MATCHES, VERDICT), rule_message(jump("OTHER"))]


@settings(max_examples=500)
@given(
    chains=st.lists(damaged(CHAINS), max_size=4),
    rules=st.lists(damaged(ALL_RULES), max_size=4),
    elements=st.lists(damaged([ELEMENTS]), max_size=2),
)
def test_damaged_messages_cause_no_error(chains: list[bytes], rules: list[bytes], elements: list[bytes]) -> None:
    answers = {"rules": rules, "elements": elements}
    found = nftables.chains([*chains, *CHAINS], lambda kind, family, table, name: answers[kind])
    facts = Facts(integration_bridge="br-int", firewall=Firewall(bridged=frozenset({"ip"}), chains=found))
    assert any(chain.rules is not None for chain in found)
    for said in firewall.firewall(facts):
        assert said("firewall").status in (ERROR, UNSEEN, WARNING)


@pytest.mark.parametrize("code", [b"", b"\0", bytes(3), bytes(5), number(7)])
def test_damaged_verdict_is_unknown(code: bytes) -> None:
    assert read(expression("immediate", a1=number(0), a2=attribute(2, attribute(1, code)))).then == "unknown"
