"""The checks of flows, VLANs, MACs, uplinks, limits and waits; each is silent on a healthy host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vifplug.doctor.facts import Facts, Identity, Plugged, Port, Waiting
from vifplug.doctor.findings import ERROR, OK, WARNING, Finding
from vifplug.doctor.switch import checks
from vifplug.doctor.switch.state import Interface, SwitchBridge, Switching, SwitchPort, decoded

VIF, OTHER = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b", "81ab5618-df3e-4999-932a-1263b7886e5a"
NETWORK, MAC = "14ec4c8b-001b-49c3-89fb-bf84c4f41e24", "fa:16:3e:eb:5e:26"


def port(name: str, vif: str = "", **values: object) -> SwitchPort:
    interface = Interface(name=name, ofport=1, keys={"iface-id": vif} if vif else {})
    return SwitchPort(name=name, interfaces=(interface,), **values)  # type: ignore[arg-type]


def facts(*ports: SwitchPort, **bridge: object) -> Facts:
    every = ports or (port("qvo1", VIF), port("eth1"))
    switch = SwitchBridge(**{"name": "br-int", "flow_count": 1, "ports": every, **bridge})  # type: ignore[arg-type]
    return Facts(
        integration_bridge="br-int",
        switching=Switching(bridges={"br-int": switch}),
        plugged=Plugged(
            ports=(
                Port(vif_id=VIF, bridge="br-int", name="qvo1", network=NETWORK),
                Port(vif_id=OTHER, bridge="br-int", name="qvo2", network=NETWORK),
            ),
            total=2,
        ),
    )


WELL = facts()
CHECKS = (checks.flows, checks.vlans, checks.addresses, checks.uplinks, checks.limits, checks.waiting)


def reported(given: Facts) -> list[Finding]:
    return [draft("check") for check in CHECKS for draft in check(given)]


def with_plugged(**values: object) -> Facts:
    assert WELL.plugged is not None
    return replace(WELL, plugged=replace(WELL.plugged, **values))  # type: ignore[arg-type]


TWINS = tuple(Identity(vif_id=vif_id, address=MAC, network=NETWORK) for vif_id in (VIF, OTHER))
WAITING = Waiting(vif_id=VIF, since="2026-12-01T10:00:00+00:00", seconds=700, waits_for="Neutron's agent")
SECURE = {"fail_mode": "secure", "flow_count": 0}
CASES: dict[str, tuple[Facts, str, str]] = {
    "no flows": (facts(**SECURE), ERROR, "it has no controller"),
    "controller away": (facts(**SECURE, controllers=(("tcp:1", False),)), ERROR, "tcp:1 is not connected"),
    "idle controller": (facts(**SECURE, controllers=(("tcp:1", True),)), ERROR, "tcp:1 has set none"),
    "stale flows": (
        facts(fail_mode="secure", flow_count=9, controllers=(("tcp:1", False),)),
        WARNING,
        "flows stay as they are",
    ),
    "dead tag": (facts(port("qvo1", VIF, tag=4095), port("eth1")), ERROR, "its tag is 4095"),
    "odd tag": (facts(port("qvo1", VIF, tag=77), port("eth1")), WARNING, "which no other port of br-int has"),
    "another tag": (
        facts(port("qvo1", VIF, tag=77), port("qvo2", OTHER, tag=5), port("eth1", tag=77)),
        WARNING,
        "the other VIFs of its network have tag 5",
    ),
    "trunks": (facts(port("qvo1", VIF, trunks=(5,)), port("eth1")), WARNING, "untagged frames of its guest"),
    "one MAC": (with_plugged(identities=TWINS), WARNING, f"VIFs {VIF} and {OTHER}"),
    "one identity": (facts(port("qvo1", VIF), port("twin", VIF), port("eth1")), WARNING, "qvo1 and twin"),
    "no uplink": (facts(port("qvo1", VIF)), OK, "br-int has no uplink"),
    "connections": (
        replace(WELL, settings={"netfilter/nf_conntrack_count": 96, "netfilter/nf_conntrack_max": 100}),
        ERROR,
        "(96 of 100)",
    ),
    "no forwarding": (
        replace(WELL, settings={"ipv4/ip_forward": 0}, routers=frozenset({"br-int"})),
        WARNING,
        "net.ipv4.ip_forward is 0",
    ),
    "strict": (
        replace(WELL, settings={"ipv4/ip_forward": 1, "ipv4/conf/all/rp_filter": 1}, routers=frozenset({"br-int"})),
        WARNING,
        "strict rp_filter",
    ),
    "waits": (with_plugged(waiting=(WAITING,)), WARNING, "not wired: Neutron's agent"),
}


def test_healthy_host_is_silent() -> None:
    assert reported(WELL) == []
    assert reported(replace(WELL, switching=None, plugged=None)) == []


@pytest.mark.parametrize("name", CASES)
def test_fault_is_reported_once_with_a_remedy(name: str) -> None:
    given, status, words = CASES[name]
    finding, *more = reported(given)
    assert not more or name == "another tag"  # which of the two is wrong is not known
    assert finding.status == status and words in finding.reason and finding.remedy


def test_what_is_right_is_not_reported() -> None:
    assert reported(with_plugged(waiting=(replace(WAITING, seconds=30),))) == []
    assert reported(with_plugged(identities=(TWINS[0], replace(TWINS[1], network=None)))) == []
    assert reported(facts(port("qvo1", VIF, tag=5), port("qvo2", OTHER, tag=5), port("eth1"))) == []
    wired = facts(port("qvo1", VIF, tag=4095), port("eth1"), controllers=(("tcp:1", True),), flow_count=20)
    assert reported(wired) == []
    assert reported(replace(WELL, settings={"ipv4/ip_forward": 0})) == []


def test_answer_of_the_privileged_side_is_decoded() -> None:
    interface = {"name": "qvo1", "type": "", "ofport": 1, "error": "", "keys": {}, "statistics": {}}
    row = {"name": "qvo1", "tag": 5, "trunks": [], "vlan_mode": "", "interfaces": [interface]}
    bridge = {"name": "br-int", "controllers": [["tcp:1", True]], "flow_count": 3, "ports": [row]}
    switching = decoded({"bridges": [bridge], "cur_cfg": 1, "next_cfg": 2})
    there = switching.port_of("qvo1")
    assert there is not None and there[1].tag == 5 and there[0].is_controlled
    assert switching.port_of("other") is None and (switching.cur_cfg, switching.next_cfg) == (1, 2)
