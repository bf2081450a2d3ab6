"""Which frames are traced through the flows of Open vSwitch, and what the result means. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from vifplug.doctor.switch.state import SwitchBridge, SwitchPort
from vifplug.trace import ofproto
from vifplug.trace.facts import Facts
from vifplug.trace.values import DROPPED, FROM_GUEST, PASSES, TO_GUEST, UNSEEN, Station, TracedFrame

_BROADCAST, _ANY, _EVERY = "ff:ff:ff:ff:ff:ff", "0.0.0.0", "255.255.255.255"
_OTHER_MAC, _OTHER_IP, _GUEST_IP = "02:00:5e:00:53:01", "192.0.2.1", "192.0.2.2"
"""A locally administered MAC, and addresses of documentation (RFC 5737), if the real ones are not known."""
_SENDERS_MAX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A frame to trace, and what is known about it."""

    bridge: str
    frame: dict[str, Any]
    """As ``Probe.trace_frame`` takes it."""
    text: str
    direction: str
    is_certain: bool = True


def questions(facts: Facts) -> Iterator[Question]:
    """The frames to trace: an ARP request and a DHCP discovery from the guest, and a ping to it."""
    there = facts.on_switch
    if there is None:
        return
    bridge, port, interface = there
    guest = facts.guest
    sender = next(iter(guest.addresses), "")
    made = {"in_port": interface.name, "source": guest.address, "destination": _BROADCAST, "vlan": None}
    # The guest of a trunk's subport sends through its parent: untagged here, as the patch passes its frames on.
    yield Question(
        bridge=bridge.name,
        frame={**made, "kind": "arp", "sender": sender or _ANY, "target": _OTHER_IP},
        text="an ARP request",
        direction=FROM_GUEST,
        is_certain=bool(sender),
    )
    yield Question(
        bridge=bridge.name,
        frame={**made, "kind": "dhcp", "sender": _ANY, "target": _EVERY},
        text="a DHCP discovery",
        direction=FROM_GUEST,
    )
    for source, mac, is_real in list(_senders(facts, bridge, port))[:_SENDERS_MAX]:
        yield Question(
            bridge=bridge.name,
            frame={
                **{"in_port": source.name, "source": mac, "destination": guest.address, "kind": "icmp"},
                **{"vlan": _vlan(source, port), "sender": _OTHER_IP, "target": sender or _GUEST_IP},
            },
            text=f"a ping from {source.name}",
            direction=TO_GUEST,
            is_certain=is_real and bool(sender),
        )


def _senders(facts: Facts, bridge: SwitchBridge, port: SwitchPort) -> Iterator[tuple[SwitchPort, str, bool]]:
    """Ports that may send to the guest, with a MAC behind each: stations that the bridge has learnt in the same VLAN,
    then uplinks, then other guests."""
    ports = {each.name: each for each in bridge.ports}
    learnt = [entry for entry in facts.stations if entry.bridge == bridge.name and entry.port in ports]
    used: set[str] = {port.name, bridge.name}
    uplinks = [ports[name] for name in bridge.uplinks()]
    for entry in sorted(learnt, key=_age):
        if entry.port not in used and entry.vlan == (port.tag or 0):
            used.add(entry.port)
            yield ports[entry.port], entry.address, True
    for uplink in uplinks:
        if uplink.name not in used and uplink.tag in (None, port.tag) and _is_up(uplink):
            used.add(uplink.name)
            yield uplink, _OTHER_MAC, False


def _is_up(port: SwitchPort) -> bool:
    return any((interface.ofport or 0) > 0 for interface in port.interfaces)


def _age(entry: Station) -> float:
    return entry.age if entry.age is not None else 0.0


def _vlan(source: SwitchPort, port: SwitchPort) -> int | None:
    """The tag of a frame that enters by a port: a trunk carries the VLAN of the guest's port."""
    return port.tag if source.tag is None and port.tag is not None and 0 < port.tag < 4095 else None


def answered(question: Question, answer: dict[str, str], facts: Facts) -> TracedFrame:
    """The result of a question."""
    made: dict[str, Any] = {"frame": question.text, "direction": question.direction, "bridge": question.bridge}
    port = str(question.frame["in_port"])
    if answer["error"]:
        return TracedFrame(**made, in_port=port, outcome=UNSEEN, reason=answer["error"].splitlines()[0])
    way = ofproto.way(answer["text"])
    passes = _passes(question, way, facts)
    return TracedFrame(
        **made,
        in_port=port,
        outcome=PASSES if passes else DROPPED,
        reason=way.reason,
        actions=way.actions,
        is_certain=question.is_certain,
    )


def _passes(question: Question, way: ofproto.Way, facts: Facts) -> bool:
    if question.direction == TO_GUEST:
        return facts.port in way.outputs
    return bool(way.outputs)


def outputs(frame: TracedFrame) -> frozenset[str]:
    """The ports that get a frame."""
    return ofproto.way(f"Datapath actions: {frame.actions}").outputs


def of(frames: Sequence[TracedFrame], direction: str) -> list[TracedFrame]:
    """The computed frames of a direction."""
    return [frame for frame in frames if frame.direction == direction and frame.outcome != UNSEEN]
