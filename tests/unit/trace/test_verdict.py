"""From facts to the worst cause and the sentence; what follows from a cause is not named again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from vifplug.doctor.facts import Chain, Rule
from vifplug.doctor.switch.state import Interface, SwitchBridge, Switching, SwitchPort
from vifplug.model.reports import DriftItem, Hop, PathReport, VifReport
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.trace import text, verdict
from vifplug.trace.facts import Discipline, Facts, Filter, Guest, Peer
from vifplug.trace.report import _hop
from vifplug.trace.values import DROPPED, FROM_GUEST, PASSES, STOPS, TO_GUEST, Station, TracedFrame, TraceReport

VIF, OTHER = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "81ab5618-df3e-4999-932a-1263b7886e5a"
MAC, OTHER_MAC, NETWORK = "fa:16:3e:eb:5e:26", "fa:16:3e:b9:2c:38", "14ec4c8b-001b-49c3-89fb-bf84c4f41e24"
TAP, QBR, QVB, QVO = "tap1", "qbr1", "qvb1", "qvo1"
HOPS = (
    Hop(name=MAC, kind="guest", state="unknown"),
    Hop(name=TAP, kind="tap", state="up", mtu=1450),
    Hop(name=QBR, kind="bridge", state="up", mtu=1450),
    Hop(name=QVB, kind="veth", state="up", mtu=1450),
    Hop(name=QVO, kind="veth", state="up", mtu=1450),
    Hop(name=QVO, kind="ovs-port", state="up"),
    Hop(name="br-int", kind="ovs-bridge", state="up"),
)
COUNTED = {
    **{"received": 10, "sent": 10, "received_dropped": 0, "sent_dropped": 0, "received_errors": 0},
    **{"sent_errors": 0, "received_bytes": 600, "sent_bytes": 600},
}


def link(kind: str, name: str, **values: Any) -> Link:
    made: Link = kinds.of(kind)(name=name, mtu=1450, up=True, carrier=True, **values)
    return made


LINKS = {
    TAP: link("tap", TAP, master=QBR),
    QBR: link("bridge", QBR),
    QVB: link("veth", QVB, master=QBR),
    QVO: link("veth", QVO),
}


def port(name: str, **values: Any) -> SwitchPort:
    of_interface = {key: values.pop(key) for key in ("ofport", "error", "keys", "policing_rate") if key in values}
    interface = Interface(name=name, **{"ofport": 1, **of_interface})
    return SwitchPort(name=name, interfaces=(interface,), **values)


OWN, STATION = port(QVO, keys={"iface-id": VIF}), port("station", ofport=2)


def switching(*ports: SwitchPort, **values: Any) -> Switching:
    every = (port("br-int"), *(ports or (OWN, STATION)))
    bridge = SwitchBridge(**{"name": "br-int", "flow_count": 1, "ports": every, **values})
    return Switching(bridges={"br-int": bridge}, cur_cfg=1, next_cfg=1)


PASSED = TracedFrame(
    frame="an ARP request", direction=FROM_GUEST, bridge="br-int", in_port=QVO, outcome=PASSES, actions="br-int,station"
)
WELL = Facts(
    path=PathReport(vif=VifReport(id=VIF, state="active", address=MAC), hops=HOPS),
    guest=Guest(device=TAP, address=MAC, network=NETWORK, mtu=1450),
    links=LINKS,
    seconds=1.0,
    before=dict.fromkeys(LINKS, COUNTED),
    after=dict.fromkeys(LINKS, COUNTED),
    needs_ovs=True,
    port=QVO,
    switching=switching(),
    frames=(PASSED,),
    peers=(Peer(id=VIF, address=MAC, network=NETWORK, port=QVO),),
)


def with_hop(place: int, **values: Any) -> PathReport:
    hops = list(HOPS)
    hops[place] = replace(hops[place], **values)
    return replace(WELL.path, hops=tuple(hops))


def counted(name: str, **values: int) -> dict[str, Mapping[str, int]]:
    return {**WELL.after, name: {**COUNTED, **values}}


DRIFT = DriftItem(subject=QVB, attribute="up", observed=False, desired=True)
DROP_ALL = Chain(
    family="bridge", table="f", name="F", forward=True, hook="forward", rules=(Rule(when=(("in", TAP),), then="drop"),)
)
FLOW = replace(PASSED, outcome=DROPPED, actions="drop", reason="table 0 of br-int: no flow matches: drop")
TO_IT = replace(PASSED, direction=TO_GUEST, in_port="station", outcome=DROPPED, actions="other", reason="NORMAL")

CASES: dict[str, tuple[Facts, str]] = {
    "drift": (replace(WELL, path=with_hop(3, drift=(DRIFT,), state="down")), f"{QVB} up: False"),
    "OVSDB": (replace(WELL, ovsdb_error="it does not answer", switching=None, frames=()), "may stop at OVSDB"),
    "vswitchd": (replace(WELL, vswitchd_error="no answer within 2 s", frames=()), "no answer within 2 s"),
    "dead tag": (replace(WELL, switching=switching(replace(OWN, tag=4095), STATION)), "its tag is 4095"),
    "odd tag": (replace(WELL, switching=switching(replace(OWN, tag=77), STATION)), "its tag is 77"),
    "trunk": (replace(WELL, switching=switching(replace(OWN, vlan_mode="trunk", trunks=(5,)), STATION)), "is a trunk"),
    "no device": (replace(WELL, switching=switching(port(QVO, ofport=-1, error="No such device"))), "No such device"),
    "slow": (replace(WELL, switching=switching(port(QVO, policing_rate=1), STATION)), "at most 1 kbit/s"),
    "no flows": (replace(WELL, switching=switching(fail_mode="secure", flow_count=0)), "it has no controller"),
    "no controller": (
        replace(WELL, switching=switching(fail_mode="secure", flow_count=0, controllers=(("tcp:1", False),))),
        "controller tcp:1 is not connected",
    ),
    "no uplink": (replace(WELL, switching=switching(OWN)), "no uplink"),
    "drop flow": (replace(WELL, frames=(FLOW,)), "no flow matches"),
    "flow to it": (replace(WELL, frames=(PASSED, TO_IT)), "goes to other instead of qvo1"),
    "mirror": (replace(WELL, mirrored_to="spy"), "mirror 'spy'"),
    "firewall": (replace(WELL, chains=(DROP_ALL,)), "bridge f F (forward)"),
    "tc": (replace(WELL, filters={QVB: [Filter(kind="matchall", side="ingress", drops=True)]}), "matchall"),
    "queue": (
        replace(
            WELL,
            after=counted(QVB, sent_dropped=5),
            disciplines={QVB: [Discipline(kind="netem", place="root", dropped=5)]},
        ),
        "dropped 5 frames in 1 s (netem)",
    ),
    "silent": (replace(WELL, after=counted(TAP, received=0), before=counted(TAP, received=0)), "has sent no frame"),
    "hung": (replace(WELL, after=counted(TAP, sent_dropped=9)), "takes no frames: 9"),
    "vanished": (
        replace(WELL, after=counted(TAP, received=20)),
        f"1 s and none left {QVB}",
    ),
    "filtered": (
        replace(WELL, guest=replace(WELL.guest, is_filtered=True), after=counted(TAP, received=14), filtered=4),
        "filter dropped 4 frames",
    ),
    "no carrier": (replace(WELL, links={**LINKS, TAP: replace(LINKS[TAP], carrier=False)}), "no program has tap1 open"),
    "other MAC": (replace(WELL, stations=(Station(bridge="br-int", port=QVO, address=OTHER_MAC, age=1.0),)), OTHER_MAC),
    "twin MAC": (replace(WELL, peers=(*WELL.peers, Peer(id=OTHER, address=MAC, network=NETWORK))), f"VIF {OTHER} has"),
    "elsewhere": (replace(WELL, stations=(Station(bridge="br-int", port="station", address=MAC),)), "on station"),
    "twin port": (replace(WELL, switching=switching(OWN, port("twin", keys={"iface-id": VIF}), STATION)), "twin"),
    "connections": (
        replace(WELL, settings={"netfilter/nf_conntrack_count": 100, "netfilter/nf_conntrack_max": 100}),
        "table of connections is full",
    ),
    "tap down": (replace(WELL, path=with_hop(1, state="down")), f"at {TAP}: it is down"),
    "no bridge": (replace(WELL, path=with_hop(6, state="missing", note="no such OVS bridge")), "no such OVS bridge"),
    "not joined": (replace(WELL, path=with_hop(1, joined=False)), f"not connected to {QBR}"),
}
LIMITS: dict[str, tuple[Facts, str]] = {
    "narrow": (replace(WELL, path=with_hop(1, mtu=900)), "its MTU is 900"),
    "policing": (replace(WELL, switching=switching(port(QVO, policing_rate=10000), STATION)), "10000 kbit/s"),
    "forwarding": (
        replace(WELL, addresses={"br-int": ["10.0.0.1"]}, settings={"ipv4/ip_forward": 0}),
        "ip_forward is 0",
    ),
    "rp_filter": (
        replace(
            WELL,
            addresses={"br-int": ["10.0.0.1"]},
            settings={"ipv4/ip_forward": 1, "ipv4/conf/br-int/rp_filter": 1},
        ),
        "strict rp_filter",
    ),
}


def test_healthy_path_has_no_cause() -> None:
    assert verdict.causes(WELL) == []
    assert verdict.sentence(WELL, []) == "Nothing that was looked at stops frames of this VIF."


@pytest.mark.parametrize("name", CASES)
def test_cause_is_the_first_and_its_remedy_is_named(name: str) -> None:
    facts, words = CASES[name]
    causes = verdict.causes(facts)
    sentence = verdict.sentence(facts, causes)
    assert sentence.startswith("Frames ") and words in sentence, (name, sentence)
    assert causes[0].remedy and causes[0].actor


@pytest.mark.parametrize("name", LIMITS)
def test_limit_is_named_and_stops_nothing(name: str) -> None:
    facts, words = LIMITS[name]
    sentence = verdict.sentence(facts, verdict.causes(facts))
    assert sentence.startswith("Nothing that was looked at stops") and words in sentence


def test_what_follows_from_a_drift_is_not_named_again() -> None:
    facts = replace(CASES["drift"][0], frames=(FLOW,), switching=switching(port(QVO, ofport=-1)))
    assert [cause.subject for cause in verdict.causes(facts)] == [QVB]


def test_hop_that_was_not_looked_at_is_not_broken() -> None:
    path = with_hop(4, joined=False)
    hops = [replace(hop, state="unknown") if hop.kind.startswith("ovs") else hop for hop in path.hops]
    facts = replace(CASES["OVSDB"][0], path=replace(path, hops=tuple(hops)))
    assert [cause.subject for cause in verdict.causes(facts)] == ["OVSDB"]


def test_since_is_named_where_it_is_known() -> None:
    facts = replace(CASES["drift"][0], drifted_since="2026-12-01T10:00:00+00:00")
    assert "since 2026-12-01T10:00:00+00:00" in verdict.sentence(facts, verdict.causes(facts))


def test_requested_vlan_and_a_shared_tag_are_right() -> None:
    tagged = switching(replace(OWN, tag=77), STATION)
    assert verdict.causes(replace(WELL, switching=tagged, guest=replace(WELL.guest, vlan=77))) == []
    shared = switching(replace(OWN, tag=77), port("other", tag=77, keys={"iface-id": OTHER}), STATION)
    assert verdict.causes(replace(WELL, switching=shared)) == []


def test_frame_that_may_differ_from_a_real_one_proves_nothing() -> None:
    unsure = replace(FLOW, is_certain=False)
    assert verdict.causes(replace(WELL, frames=(unsure, replace(PASSED, frame="a DHCP discovery")))) == []


def test_text_is_one_screen_and_names_hops_counts_and_verdict() -> None:
    facts = replace(CASES["drop flow"][0], after=counted(TAP, received=13))
    causes = verdict.causes(facts)
    report = TraceReport(
        vif=facts.path.vif,
        seconds=1.0,
        hops=tuple(_hop(hop, facts) for hop in facts.path.hops),
        frames=tuple(facts.frames),
        causes=tuple(causes),
        verdict=verdict.sentence(facts, causes),
    )
    assert report.stops and report.hops[1].from_guest == 3
    drawn = text.as_text(report, unicode=False, width=100)
    assert drawn.isascii() and len(drawn.splitlines()) < 30
    assert "Frames from the guest stop at" in drawn and "no flow matches" in drawn
    assert TraceReport.from_json(report.as_json()) == report


def test_worst_cause_comes_first() -> None:
    facts = replace(LIMITS["narrow"][0], frames=(FLOW,))
    assert verdict.causes(facts)[0].effect == STOPS
