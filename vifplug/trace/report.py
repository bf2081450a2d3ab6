"""The report of a trace: gathers, judges, and puts each fact to its hop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vifplug.drivers.registry import guest_link
from vifplug.engine import report
from vifplug.engine.context import Context
from vifplug.errors import Conflict, Damaged, HostError
from vifplug.model import claims
from vifplug.model.claims import Claims
from vifplug.model.reports import Hop
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.resources.ovs_port import OvsPort
from vifplug.store.records import Record
from vifplug.trace import of_links, verdict
from vifplug.trace.facts import Facts
from vifplug.trace.gather import Gatherer
from vifplug.trace.probe import Probe
from vifplug.trace.values import (
    FROM_GUEST,
    Counted,
    ProbeReport,
    Station,
    TracedPort,
    TraceHop,
    TraceReport,
)

PROBE_FRAMES = 16
_COUNTERS = ("received", "sent", "received_dropped", "sent_dropped", "received_errors", "sent_errors")
_OF_OVS = {
    **{"received": "rx_packets", "sent": "tx_packets", "received_dropped": "rx_dropped"},
    **{"sent_dropped": "tx_dropped", "received_errors": "rx_errors", "sent_errors": "tx_errors"},
}
_COUNTS, _SETTINGS, _TC, _RULES = "counters", "bridge ports and forwarding tables", "tc", "firewall rules on the path"
_FLOWS, _DATAPATH, _NEIGHBOURS = "OpenFlow flows for three frames", "datapath flows", "neighbours"
_NEVER = ("the inside of the guest", "other hosts and the network between them")


def trace(context: Context, probe: Probe, vif_id: str, seconds: float, *, sends: bool) -> TraceReport:
    """Where the frames of a VIF stop. Nothing is changed.

    :param seconds: the interval of the counters.
    :param sends: whether to send marked frames through the VIF, if no guest holds its tap.
    :raises UnknownVif: it is not recorded.
    :raises HostError: the links cannot be read.
    """
    try:
        record = report.known(context.store, vif_id)
    except Damaged as error:
        return TraceReport(vif=report.damaged(vif_id, str(error)), verdict=str(error), claims=claims.NOTHING)
    sent: list[Mapping[str, Any]] = []
    refused: list[str] = []
    sending = _sending(record, probe, sent, refused) if sends else (lambda: None)
    facts = Gatherer(context, probe, record, seconds).facts(sending)
    causes = verdict.causes(facts)
    return TraceReport(
        vif=facts.path.vif,
        seconds=facts.seconds,
        hops=tuple(_hop(hop, facts) for hop in facts.path.hops),
        frames=tuple(facts.frames),
        flows=tuple(facts.flows),
        neighbours=tuple(facts.neighbours),
        causes=tuple(causes),
        verdict=verdict.sentence(facts, causes),
        probe=_probed(facts, sent, refused) if sends else None,
        claims=_claims(facts),
    )


def _sending(record: Record, probe: Probe, sent: list[Mapping[str, Any]], refused: list[str]) -> Callable[[], None]:
    tap = next((link for link in kinds.links_in(record.resources) if link.name == guest_link(record.vif)), None)

    def send() -> None:
        if tap is None:
            refused.append("its guest's end is no tap that vifplug made: only the guest can send through it")
            return
        try:
            sent.append(probe.send_frames(_claim(tap, record.vif.address), PROBE_FRAMES))
        except (Conflict, HostError) as error:
            refused.append(str(error))

    return send


def _claim(tap: Link, source: str) -> dict[str, Any]:
    return {"name": tap.name, "owner": tap.owner, "role": tap.role, "birth_address": tap.address, "source": source}


def _probed(facts: Facts, sent: Sequence[Mapping[str, Any]], refused: Sequence[str]) -> ProbeReport:
    if not sent:
        return ProbeReport(reason="; ".join(refused))
    count = int(sent[0]["sent"])
    reached: list[str] = []
    for name, (ingress, _egress) in of_links.orientation(facts.path.hops).items():
        if name not in facts.after:
            continue
        if facts.counted(name, "received" if ingress == FROM_GUEST else "sent") < count:
            return ProbeReport(sent=count, reached=tuple(reached), stopped_at=name)
        reached.append(name)
    limit = "; the flows of Open vSwitch were computed, not counted" if facts.needs_ovs else ""
    return ProbeReport(sent=count, reached=tuple(reached), reason=f"no device of the path lost them{limit}")


def _hop(hop: Hop, facts: Facts) -> TraceHop:
    directions = of_links.orientation(facts.path.hops).get(hop.name)
    is_counted = hop.name in facts.after and hop.name in facts.before and hop.kind != OvsPort.kind
    counted = Counted(**{name: facts.counted(hop.name, name) for name in _COUNTERS}) if is_counted else None
    total = Counted(**{name: facts.after[hop.name][name] for name in _COUNTERS}) if is_counted else None
    outwards = counted is not None and directions is not None
    received_from_guest = outwards and directions[0] == FROM_GUEST  # type: ignore[index]
    return TraceHop(
        name=hop.name,
        kind=hop.kind,
        state=hop.state,
        mtu=hop.mtu,
        joined=hop.joined,
        notes=(hop.note,) if hop.note else (),
        drift=hop.drift,
        counted=counted,
        total=total,
        from_guest=(counted.received if received_from_guest else counted.sent) if counted and outwards else None,
        to_guest=(counted.sent if received_from_guest else counted.received) if counted and outwards else None,
        stations=tuple(_stations(hop, facts)),
        port=_port(hop, facts),
        queueing=tuple(_queueing(hop, facts)) if hop.kind != OvsPort.kind else (),
        rules=tuple(
            f"{drop.chain}: {drop.rule}"
            for drop in of_links.rules(facts)
            if hop.kind != OvsPort.kind and hop.name == (drop.device or of_links.bridge_of(facts)[0])
        ),
    )


def _stations(hop: Hop, facts: Facts) -> list[Station]:
    """Of a bridge: where it has the guest's MAC, and what else it has learnt on the guest's port."""
    ports = (facts.guest.device, facts.port)
    here = (entry for entry in facts.stations if entry.bridge == hop.name)
    return [entry for entry in here if entry.address == facts.guest.address or entry.port in ports]


def _port(hop: Hop, facts: Facts) -> TracedPort | None:
    there = facts.switching.port_of(hop.name) if facts.switching and hop.kind == OvsPort.kind else None
    if there is None:
        return None
    bridge, row, interface = there
    statistics = {name: int(interface.statistics.get(key, 0)) for name, key in _OF_OVS.items()}
    return TracedPort(
        bridge=bridge.name,
        ofport=interface.ofport,
        tag=row.tag,
        trunks=tuple(row.trunks),
        vlan_mode=row.vlan_mode,
        policing_rate=interface.policing_rate,
        policing_burst=interface.policing_burst,
        admin_state=interface.admin_state,
        link_state=interface.link_state,
        error=interface.error,
        statistics=Counted(**statistics) if interface.statistics else None,
    )


def _queueing(hop: Hop, facts: Facts) -> list[str]:
    usual = ("noqueue", "noop", "pfifo_fast", "fq_codel", "mq")
    listed = [
        f"{each.kind} ({each.place}), {each.dropped} dropped"
        for each in facts.disciplines.get(hop.name, ())
        if each.kind not in usual or each.dropped
    ]
    return [*listed, *(f"filter {each.kind} at {each.side}" for each in facts.filters.get(hop.name, ()))]


def _claims(facts: Facts) -> Claims:
    looked_at = [*claims.DRAWN.looked_at[:3], _COUNTS, _SETTINGS, _TC, _RULES, _NEIGHBOURS]
    if facts.switching is not None:
        looked_at.append(claims.PORTS)
    if facts.frames:
        looked_at += [_FLOWS, _DATAPATH]
    unknown = [hop for hop in facts.path.hops if hop.state == "unknown" and hop.kind != "guest"]
    unseen = [f"{hop.kind} {hop.name}" for hop in unknown if not facts.ovsdb_error]
    return Claims(looked_at=tuple(looked_at), not_looked_at=(*facts.unseen, *unseen, *_NEVER))
