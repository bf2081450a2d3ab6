"""Rules that drop a guest's frames, and those that do not."""

from __future__ import annotations

import pytest

from vifplug.doctor.facts import Chain, Rule
from vifplug.trace import firewall
from vifplug.trace.values import FROM_GUEST, TO_GUEST

TAP, UPLINK, BRIDGE, MAC = "tap1", "qvb1", "qbr1", "fa:16:3e:eb:5e:26"
CROSSINGS = firewall.crossings_of(TAP, BRIDGE, [UPLINK], MAC)
DEVICES = {TAP: (FROM_GUEST, TO_GUEST), UPLINK: (TO_GUEST, FROM_GUEST)}


def chain(*rules: Rule, family: str = "bridge", hook: str = "forward", drops: bool = False, **more: object) -> Chain:
    made = {"family": family, "table": "filter", "name": "F", "forward": hook == "forward", "hook": hook}
    return Chain(**{**made, "drops": drops, "rules": rules, **more})  # type: ignore[arg-type]


def rule(*when: tuple[str, str], then: str = "drop", to: str = "", packets: int | None = None) -> Rule:
    return Rule(when=when, then=then, to=to, packets=packets)


def dropped(*chains: Chain, bridged: frozenset[str] = frozenset()) -> set[tuple[str, str]]:
    """Directions and frames."""
    return {(drop.direction, drop.frames) for drop in firewall.drops(chains, bridged, CROSSINGS, DEVICES)}


BOTH = {(FROM_GUEST, "every frame"), (TO_GUEST, "every frame")}
OUT = {(FROM_GUEST, "every frame")}
BACK = {(TO_GUEST, "every frame")}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ([rule()], BOTH),
        ([rule(("in", TAP))], OUT),
        ([rule(("out", "tap*"))], BACK),
        ([rule(("in", "tap9"))], set()),
        ([rule(("source", MAC))], OUT),
        ([rule(("destination", MAC))], BACK),
        ([rule(("source", "02:00:00:00:00:01"))], set()),
        ([rule(("protocol", "0800"), ("in", TAP))], {(FROM_GUEST, "IPv4")}),
        ([rule(("part", ""))], set()),  # a port or a state: intended
        ([rule(("unknown", ""))], set()),
        ([rule(then="accept"), rule()], set()),
        ([rule(("in", TAP), then="accept"), rule()], BACK),
        ([rule(("in", TAP), then="return"), rule()], BACK),
    ],
)
def test_rules_of_the_family_bridge(rules: list[Rule], expected: set[tuple[str, str]]) -> None:
    assert dropped(chain(*rules)) == expected


def test_policy_drops_what_no_rule_accepts() -> None:
    assert dropped(chain(drops=True)) == BOTH
    assert dropped(chain(rule(("in", TAP), then="accept"), drops=True)) == BACK
    assert dropped(chain(rule(("unknown", ""), then="accept"), drops=True)) == set()
    assert dropped(chain(drops=True, rules=None)) == set()


def test_jump_is_followed() -> None:
    inner = chain(rule(("in", TAP)), hook="", name="inner")
    assert dropped(chain(rule(then="jump", to="inner")), inner) == OUT


def test_hooks_that_bridged_frames_do_not_pass_are_left_out() -> None:
    assert dropped(chain(rule(), hook="input")) == set()
    assert dropped(chain(rule(("in", TAP)), hook="prerouting")) == OUT
    assert dropped(chain(rule(("out", TAP)), hook="prerouting")) == set()


def test_ip_rules_count_only_where_br_netfilter_shows_them() -> None:
    ip = chain(drops=True, family="ip")
    assert dropped(ip) == set()
    assert dropped(ip, bridged=frozenset({"ip"})) == BOTH
    assert dropped(chain(rule(("in", BRIDGE)), family="inet"), bridged=frozenset({"ip6"})) == BOTH


def test_device_chains_have_the_direction_of_their_device() -> None:
    assert dropped(chain(rule(), family="netdev", hook="ingress", devices=(TAP,))) == OUT
    assert dropped(chain(rule(), family="netdev", hook="ingress", devices=(UPLINK,))) == BACK
    assert dropped(chain(rule(), family="netdev", hook="egress", devices=(UPLINK, "eth9"))) == OUT
    assert dropped(chain(rule(), family="netdev", hook="ingress", devices=("eth9",))) == set()


def test_own_table_is_left_to_check() -> None:
    assert dropped(chain(rule(), table="vifplug")) == set()


def test_counter_and_rule_are_named() -> None:
    (drop,) = firewall.drops([chain(rule(("in", TAP), packets=7))], frozenset(), CROSSINGS, DEVICES)
    assert (drop.chain, drop.rule, drop.packets) == ("bridge filter F", f"drop from {TAP}", 7)
