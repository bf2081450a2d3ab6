"""Who makes a VIF wired, and when its guest is up: decisions over what was observed and said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug.engine.host import Scope
from vifplug.engine.wiring import AGENT, AUTO, EVENTS, OVN, PLUG, Wiring, awaited, state_of
from vifplug.model.reports import ACTIVE, FAILED, PLUGGED, WIRED
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_bridge import OvsBridge
from vifplug.resources.ovs_port import CONTROL_AGENT, CONTROL_OVN, DelegatedPort, OvsPort
from vifplug.resources.tap import Tap
from vifplug.store.records import Record

QVO, TAP = "qvo71a6b0e4-1a", "tap71a6b0e4-1a"
INSTALLED = {"iface_ids": {"ovn-installed": "true"}}
TAGGED: dict[str, Any] = {"tag": 1, "other_config": {"net_uuid": "x", "tag": "1"}}


def built(vif_type: str = "ovs-hybrid", *, isolate: bool = False) -> Record:
    port = OvsPort(name=QVO, bridge="br-int", owner=builders.HYBRID, isolate=isolate)
    vif = builders.vif(vif_type, id=builders.HYBRID)
    return Record(vif=vif, resources=() if vif_type == "bridge" else (port,), state=PLUGGED)


def seen(*, plane: str = "", guest: dict[str, Any] | None = None, **port: Any) -> Observed:
    links = {} if guest is None else {TAP: Tap(name=TAP, **guest)}
    return Observed(
        links=links,
        bridges={"br-int": OvsBridge(name="br-int", datapath_type="netdev", control_plane=plane)},
        ports={QVO: OvsPort(name=QVO, bridge="br-int", **port)},
    )


@pytest.mark.parametrize(
    ("by", "plane", "port", "told", "state"),
    [
        (OVN, "", {}, None, PLUGGED),
        (OVN, "", {"iface_ids": {"ovn-installed": "false"}}, None, PLUGGED),
        (OVN, "", TAGGED, "plugged", PLUGGED),
        (OVN, "", INSTALLED, None, WIRED),
        (AGENT, "", {}, None, PLUGGED),
        (AGENT, "", {"tag": 1}, None, PLUGGED),
        (AGENT, "", {"other_config": TAGGED["other_config"]}, None, PLUGGED),
        (AGENT, "", {"tag": 1, "other_config": {"mcast-snooping-flood": "true"}}, None, PLUGGED),
        (AGENT, "", {**TAGGED, "tag": 4095}, None, PLUGGED),
        (AGENT, "", {**TAGGED, "vlan_mode": "trunk", "trunks": (4095,)}, None, PLUGGED),
        (AGENT, "", {**TAGGED, "tag": 0}, None, WIRED),
        (AGENT, "", TAGGED, None, WIRED),
        (EVENTS, "", {**TAGGED, **INSTALLED}, None, PLUGGED),
        (EVENTS, "", {}, "unplugged", PLUGGED),
        (EVENTS, "", {}, "failed", FAILED),
        (EVENTS, "", {}, "plugged", WIRED),
        (PLUG, CONTROL_OVN, {}, None, WIRED),
        (AUTO, "", {}, None, WIRED),
        (AUTO, "", {}, "failed", WIRED),
        (AUTO, CONTROL_OVN, TAGGED, None, PLUGGED),
        (AUTO, CONTROL_OVN, INSTALLED, None, WIRED),
        (AUTO, CONTROL_AGENT, INSTALLED, None, PLUGGED),
        (AUTO, CONTROL_AGENT, TAGGED, None, WIRED),
    ],
)
def test_word_that_counts(by: str, plane: str, port: dict[str, Any], told: str | None, state: str) -> None:
    said = Wiring(by=by, neutron_status={builders.HYBRID: told} if told else {})
    found, reason = state_of(built(), seen(plane=plane, **port), said)
    assert found == state
    assert (reason is not None) == (state == FAILED)


def test_auto_waits_for_neutron_where_it_can_be_heard_or_ports_are_dead() -> None:
    heard = Wiring(listens=True)
    assert state_of(built(), seen(), heard)[0] == PLUGGED
    assert state_of(built(), seen(), replace(heard, neutron_status={builders.HYBRID: "plugged"}))[0] == WIRED
    assert state_of(built(isolate=True), seen(), Wiring())[0] == PLUGGED
    assert state_of(built(isolate=True), seen(**TAGGED), heard)[0] == WIRED


@pytest.mark.parametrize(
    ("by", "state"), [(OVN, WIRED), (AGENT, WIRED), (PLUG, WIRED), (AUTO, WIRED), (EVENTS, PLUGGED)]
)
def test_vif_without_an_ovs_port_is_neutrons_word_alone_to_wait_for(by: str, state: str) -> None:
    assert state_of(built("bridge"), Observed(), Wiring(by=by))[0] == state


@pytest.mark.parametrize(
    ("guest", "state"),
    [
        (None, WIRED),
        ({"up": True, "carrier": False}, WIRED),
        ({"up": False, "carrier": True}, WIRED),
        ({"up": True, "carrier": True}, ACTIVE),
    ],
)
def test_active_is_wired_with_a_carrier_on_the_guests_tap(guest: dict[str, Any] | None, state: str) -> None:
    assert state_of(built(), seen(guest=guest), Wiring())[0] == state
    assert state_of(built(), seen(guest=guest), Wiring(by=OVN))[0] == PLUGGED


@pytest.mark.parametrize(
    ("said", "wanted", "words"),
    [
        (Wiring(by=OVN), WIRED, f"OVN to set ovn-installed on Interface '{QVO}' of br-int"),
        (Wiring(by=AGENT), ACTIVE, f"Neutron's OVS agent to set tag and other_config of Port '{QVO}' of br-int"),
        (Wiring(by=EVENTS), WIRED, "network-vif-plugged"),
        (Wiring(by=PLUG), ACTIVE, f"a guest on tap '{TAP}', which is not there"),
        (Wiring(by=EVENTS, neutron_status={builders.HYBRID: "failed"}), WIRED, "could not wire"),
    ],
)
def test_what_is_awaited_is_reported(said: Wiring, wanted: str, words: str) -> None:
    assert words in (awaited(built(), seen(), said, wanted) or "")


def test_nothing_is_awaited_of_what_is_there() -> None:
    assert awaited(built(), seen(), Wiring(), WIRED) is None
    assert awaited(built(), seen(), Wiring(by=OVN), PLUGGED) is None


@pytest.mark.parametrize(
    ("wiring", "absent", "there"),
    [
        (Wiring(by=PLUG), PLUGGED, WIRED),
        (Wiring(by=OVN), PLUGGED, PLUGGED),
        (Wiring(by=EVENTS, neutron_status={builders.HYBRID: "plugged"}), WIRED, WIRED),
    ],
)
def test_port_of_the_vmm_is_not_wired_before_it_is_there_but_by_neutrons_word(
    wiring: Wiring, absent: str, there: str
) -> None:
    record = replace(built(), resources=(DelegatedPort(name=QVO, bridge="br-int", owner=builders.HYBRID),))
    before = replace(seen(), ports={})
    assert state_of(record, before, wiring)[0] == absent
    assert state_of(record, seen(), wiring)[0] == there
    if absent == PLUGGED:
        assert awaited(record, before, wiring, WIRED) == f"the guest's VMM to make OVS port '{QVO}' on br-int"


def test_record_says_what_is_read_back(tmp_path: Any) -> None:
    host = FakeHost()
    plugger = builders.plugger(tmp_path, host, wired_by=OVN)
    assert [report.state for report in plugger.plug([builders.vif()])] == [PLUGGED]
    assert plugger.store.contents().records[builders.HYBRID].state == PLUGGED
    port = host.ports[QVO]
    host.ports[QVO] = replace(port, iface_ids={**port.iface_ids, "ovn-installed": "true"})
    before = host.observe(Scope(everything=True))
    assert [report.state for report in plugger.plug([builders.vif()])] == [PLUGGED]
    assert host.observe(Scope(everything=True)) == before
    assert plugger.store.contents().records[builders.HYBRID].state == WIRED
    assert [event.state for event in plugger.store.events(0, 10)] == [PLUGGED, WIRED]


def test_new_try_is_not_failed_by_the_last_ones_word(tmp_path: Any) -> None:
    plugger = builders.plugger(tmp_path, FakeHost(), wired_by=EVENTS)
    plugger.store.set_neutron_status(builders.HYBRID, "failed")
    plugger.plug([builders.vif()])
    assert plugger.store.contents().records[builders.HYBRID].state == PLUGGED
    plugger.store.set_neutron_status(builders.HYBRID, "plugged")
    plugger.plug([builders.vif()])
    assert plugger.store.contents().records[builders.HYBRID].state == WIRED


def test_word_of_an_earlier_life_is_gone(tmp_path: Any) -> None:
    plugger = builders.plugger(tmp_path, FakeHost(), wired_by=EVENTS)
    plugger.store.set_neutron_status(builders.HYBRID, "plugged")
    plugger.unplug([builders.HYBRID])
    plugger.plug([builders.vif()])
    assert plugger.store.contents().records[builders.HYBRID].state == PLUGGED
