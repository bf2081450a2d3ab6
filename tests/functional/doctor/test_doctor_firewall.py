"""Firewalls as operators write them: what the doctor says of one is what a guest's ping says of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from pyroute2.nftables.expressions import verdict
from pyroute2.nftables.main import NFTables

from tests.support.faults.doctor_faults import BRIDGED
from tests.support.network.endpoints import Station, guest_in_bridge, host_on_bridge
from tests.support.vifs import GUEST, HOST, HYBRID, MTU, library
from tests.support.world.world import World
from vifplug.api import local_doctor
from vifplug.doctor import nftables as decoding
from vifplug.doctor.facts import Chain, Rule
from vifplug.errors import PermissionDenied
from vifplug.privileged import nftables as firewall

ANSWERS, UNANSWERED = True, False
REMEDY = "-I FORWARD -m physdev --physdev-is-bridged -j ACCEPT"
FIREWALLS: dict[str, tuple[tuple[str, ...], bool, str]] = {
    "policy": (("-P FORWARD DROP",), UNANSWERED, "error"),
    "remedy": (("-P FORWARD DROP", REMEDY), ANSWERS, ""),
    "accept of everything": (("-P FORWARD DROP", "-A FORWARD -j ACCEPT"), ANSWERS, ""),
    "remedy in another chain": (
        ("-P FORWARD DROP", "-N MINE", REMEDY.replace("-I FORWARD", "-A MINE"), "-A FORWARD -j MINE"),
        ANSWERS,
        "",
    ),
    "remedy before the others' rules": (
        ("-P FORWARD DROP", "-A FORWARD -i docker0 -j ACCEPT", "-A FORWARD -j DROP", REMEDY),
        ANSWERS,
        "",
    ),
    "guests' bridges": (("-P FORWARD DROP", "-A FORWARD -i qbr+ -o qbr+ -j ACCEPT"), ANSWERS, ""),
    "what is not bridged": (
        ("-P FORWARD DROP", "-A FORWARD -m physdev ! --physdev-is-bridged -j ACCEPT"),
        UNANSWERED,
        "error",
    ),
    "another's bridge": (
        ("-P FORWARD DROP", "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT", "-A FORWARD -o docker0 -j ACCEPT"),
        UNANSWERED,
        "error",
    ),
    "what is established": (
        ("-P FORWARD DROP", "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        UNANSWERED,
        "error",
    ),
    "TCP": (("-P FORWARD DROP", "-A FORWARD -p tcp --dport 22 -j ACCEPT"), UNANSWERED, "error"),
    "reject of everything": (("-A FORWARD -j REJECT",), UNANSWERED, "error"),
    "drop of everything": (("-A FORWARD -m comment --comment shut -j DROP",), UNANSWERED, "error"),
    "drop behind the remedy": (("-A FORWARD -j DROP", REMEDY), ANSWERS, ""),
    "drop of TCP": (("-A FORWARD -p tcp --dport 25 -j DROP",), ANSWERS, ""),
    "a port's": (("-P FORWARD DROP", "-A FORWARD -m physdev --physdev-in no+ -j ACCEPT"), UNANSWERED, "unseen"),
    "guests' ports": (("-P FORWARD DROP", "-A FORWARD -m physdev --physdev-out + -j ACCEPT"), ANSWERS, "unseen"),
    "an address": (("-A FORWARD -s 198.51.100.0/24 -j DROP",), ANSWERS, "unseen"),
}

# The chains at the forward hook of firewalld 1.3.0 (Debian 12) as shipped: zone public, no interface in it.
FIREWALLD = """
table inet firewalld {
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname "lo" accept
        ct state invalid drop
        ip6 daddr { ::/96, 2002::/24 } reject with icmpv6 addr-unreachable
        jump filter_FORWARD_ZONES
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD_ZONES {
        goto filter_FWD_public
    }
    chain filter_FWD_public_allow {
    }
    chain filter_FWD_public {
        jump filter_FWD_public_allow
        reject with icmpx admin-prohibited
    }
    chain filter_FWD_trusted {
        accept
    }
}
"""
TRUSTED = "insert rule inet firewalld filter_FORWARD_ZONES iifname qbr* goto filter_FWD_trusted"


@contextlib.contextmanager
def ruled(world: World, commands: tuple[str, ...]) -> Iterator[None]:
    try:
        for command in commands:
            world.run("iptables-nft", *command.split())
        yield
    finally:
        for command in ("-P FORWARD ACCEPT", "-F", "-X"):
            world.run("iptables-nft", *command.split())


def status_of(world: World) -> tuple[str, dict[str, str]]:
    """What is found of the firewall, of which there is one; nothing else is wrong."""
    diagnosis = local_doctor.doctor(str(world.config_file)).as_json()
    others = [
        one for one in diagnosis["checks"] if one["status"] in ("error", "warning") and one["check"] != "firewall"
    ]
    assert others == []
    found = [one for one in diagnosis["checks"] if one["check"] == "firewall" and one["status"] != "ok"]
    assert len(found) <= 1 and diagnosis["healthy"] == (not found or found[0]["status"] != "error")
    return (found[0]["status"], found[0]) if found else ("", {})


@contextlib.contextmanager
def pinging(world: World) -> Iterator[Any]:
    with library(world) as host:
        host.plug([HYBRID.vif])

    def answered(guest: Station) -> bool:
        return guest.run("ping", "-c1", "-W1", HOST, check=False).returncode == 0

    with (
        guest_in_bridge(world, HYBRID.qbr, GUEST, MTU, HYBRID.address, outer=HYBRID.tap) as guest,
        host_on_bridge(world, "br-int", HOST, MTU),
    ):
        assert answered(guest)
        yield lambda: answered(guest)


def test_finding_is_what_a_ping_finds(world: World) -> None:
    with pinging(world) as answered:
        for name, (commands, expected, status) in FIREWALLS.items():
            with ruled(world, commands):
                assert answered() == expected, name
                said, found = status_of(world)
                assert said == status, (name, found)
                assert said != "unseen" or "is unknown" in found["reason"], name


def test_its_own_remedy_silences_it(world: World) -> None:
    with pinging(world) as answered, ruled(world, ("-P FORWARD DROP",)):
        remedy = status_of(world)[1]["remedy"]
        command = remedy.partition("(iptables ")[2].rstrip(")").split()
        world.run("iptables-nft", *command)
        assert answered()
        assert status_of(world) == ("", {})


@pytest.mark.parametrize(("policy", "end", "expected", "status"), [(0, 1, ANSWERS, ""), (1, 0, UNANSWERED, "error")])
def test_rule_of_a_bridges_own_chain_is_read(world: World, policy: int, end: int, expected: bool, status: str) -> None:
    with pinging(world) as answered, world.namespace.entered(), NFTables(nfgen_family=BRIDGED) as nft:
        nft.table("add", name="mine")
        nft.chain("add", table="mine", name="out", hook="forward", type="filter", policy=policy)
        nft.rule("add", table="mine", chain="out", expressions=(verdict(code=end),))
        assert answered() == expected
        assert status_of(world)[0] == status


def test_rules_are_reported_of_the_chains_that_frames_come_through(world: World) -> None:
    commands = (
        "-N MINE",
        "-N ELSEWHERE",
        "-A MINE -j RETURN",
        "-A FORWARD -i lo -o docker+ -g MINE",
        "-A FORWARD ! -i lo -j LOG",
        "-A FORWARD -m state --state ESTABLISHED -j ACCEPT",
        "-A FORWARD -m conntrack ! --ctstate NEW -j ACCEPT",
        "-A FORWARD -p icmp --icmp-type 8 -j NFQUEUE",
        "-A FORWARD -m limit --limit 5/min -j DROP",
        "-A FORWARD -j MARK --set-mark 1",
    )
    with ruled(world, commands), world.namespace.entered():
        rules = {(chain.family, chain.name): chain.rules for chain in decoded()}
    assert rules["ip", "MINE"] == (Rule(then="return"),)
    assert rules["ip", "ELSEWHERE"] is None
    assert rules["ip", "FORWARD"] == (
        Rule(when=(("in", "lo"), ("out", "docker*")), then="goto", to="MINE"),
        Rule(when=(("unknown", ""),)),
        Rule(when=(("part", ""),), then="accept"),
        Rule(when=(("unknown", ""),), then="accept"),
        Rule(when=(("part", ""), ("part", "")), then="unknown"),
        Rule(when=(("part", ""),), then="drop"),
        Rule(),
    )


def decoded() -> tuple[Chain, ...]:
    """The chains of this network namespace."""
    return decoding.chains(firewall.dump(firewall.CHAINS), firewall.dump)


def test_helper_dumps_rules_and_elements_that_there_are_and_no_more_than_its_limit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ruled(world, ("-A FORWARD -i lo -j ACCEPT",)), library(world) as host:
        dump = host._probe.firewall
        (rule,) = dump("rules", 2, "filter", "FORWARD") or ()
        assert b"lo\0" in rule
        assert not dump("rules", 2, "filter", "NONE")
        assert dump("elements", 2, "filter", "none") is None
        for wrong in (
            ("chains", 2, "filter", "FORWARD"),
            ("rules", 256, "filter", "FORWARD"),
            ("rules", "2", "filter", "FORWARD"),
            ("rules", 2, "", "FORWARD"),
            ("rules", 2, "filter", "x" * 256),
            ("rules", 2, "filter", "x\0y"),
            ("rules", 2, "filter", None),
        ):
            with pytest.raises(PermissionDenied):
                dump(*wrong)
        with world.namespace.entered():
            monkeypatch.setattr(firewall, "BYTES_MAX", 20)
            with pytest.raises(OSError, match="more than 20 bytes"):
                firewall.dump(firewall.CHAINS)


def test_firewalld_as_shipped_is_found_and_its_remedy_silences_it(world: World) -> None:
    with pinging(world) as answered:
        world.run("nft", "-f", "-", input=FIREWALLD)
        assert not answered()
        status, found = status_of(world)
        assert (status, found["subject"]) == ("error", "inet firewalld filter_FORWARD")
        assert "firewall-cmd" in found["remedy"]
        # What firewalld makes of that remedy.
        world.run("nft", TRUSTED)
        assert answered()
        assert status_of(world) == ("", {})


@pytest.mark.parametrize(
    ("states", "expected", "status"),
    [("established, related", UNANSWERED, "error"), ("established, new, untracked", ANSWERS, "unseen")],
)
def test_states_in_a_set_are_read(world: World, states: str, expected: bool, status: str) -> None:
    ruleset = f"""
table inet mine {{
    chain forward {{
        type filter hook forward priority 0; policy drop;
        ct state {{ {states} }} accept
    }}
}}
"""
    with pinging(world) as answered:
        world.run("nft", "-f", "-", input=ruleset)
        assert answered() == expected
        assert status_of(world)[0] == status
