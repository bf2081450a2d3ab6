"""What ``top`` shows: VIFs, their states, rates, drops and repairs, and the last events. Pure."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from vifplug import naming
from vifplug.model import reports
from vifplug.model.events import REPAIR, STATE, Event
from vifplug.model.reports import STATES, UNPLUGGED, VifReport

_BAD = (reports.FAILED, reports.CONTENDED, reports.DRIFTED)
_MOVING = (reports.PLUGGING, reports.UNPLUGGING)
_EVENTS_KEPT = 100
_DEVICE_COLUMNS = 16
"""Numbers of a line of /proc/net/dev."""


class Counters(NamedTuple):
    """A device's counters."""

    received: int
    sent: int
    dropped: int
    """Frames, in both directions."""


@dataclass(slots=True)
class Row:
    """A VIF as shown."""

    vif: VifReport
    state: str
    error: str = ""
    device: str = ""
    """The device whose counters are shown: the guest's end, if the host has it."""
    received: float | None = None
    """Bytes a second from the guest; None until they were measured."""
    sent: float | None = None
    """Bytes a second to the guest."""
    drops: int = 0
    """Since ``top`` began."""
    repairs: int = 0
    """Since ``top`` began."""

    @property
    def rank(self) -> tuple[int, float, str]:
        """Its place in the table: trouble first, then what moves, then by traffic."""
        level = 0 if self.state in _BAD else 1 if self.state in _MOVING else 2
        return level, -((self.received or 0) + (self.sent or 0)), self.vif.id

    def as_json(self) -> dict[str, Any]:
        """The row as data."""
        return {
            "id": self.vif.id,
            "state": self.state,
            "error": self.error or None,
            "device": self.device or None,
            "received_per_second": self.received,
            "sent_per_second": self.sent,
            "drops": self.drops,
            "repairs": self.repairs,
        }


@dataclass(slots=True)
class Board:
    """The VIFs of a host, as last seen and heard of."""

    rows: dict[str, Row] = field(default_factory=dict)
    events: collections.deque[Event] = field(default_factory=lambda: collections.deque(maxlen=_EVENTS_KEPT))
    repairs: int = 0
    """Of all VIFs, since ``top`` began."""
    _measured: Mapping[str, Counters] = field(default_factory=dict)
    _measured_at: float = 0.0

    def list(self, vifs: Sequence[VifReport]) -> None:
        """Take a list of all VIFs."""
        known = self.rows
        self.rows = {}
        for vif in vifs:
            row = known.get(vif.id) or Row(vif=vif, state=vif.state)
            row.vif, row.state, row.error = vif, vif.state, vif.error or ""
            self.rows[vif.id] = row

    def see(self, event: Event) -> bool:
        """Take an event; whether the list has to be read again, because the VIF is new or another device may be there.

        An event older than the list changes nothing that the list does not correct at its next reading.
        """
        self.events.append(event)
        row = self.rows.get(event.vif_id)
        if event.kind == REPAIR:
            self.repairs += 1
            if row is not None:
                row.repairs += 1
            return False
        if event.state == UNPLUGGED:
            self.rows.pop(event.vif_id, None)
            return False
        if event.kind == STATE or event.state != event.previous:
            if row is None:
                return event.state in STATES
            row.state, row.error = event.state, event.error or ""
        return False

    def measure(self, counters: Mapping[str, Counters], now: float) -> None:
        """Take the counters of all devices.

        :param now: seconds of a monotonic clock.
        """
        seconds = now - self._measured_at
        for row in self.rows.values():
            row.device = next((name for name in _devices(row.vif) if name in counters), "")
            before, after = self._measured.get(row.device), counters.get(row.device)
            if before is None or after is None or seconds <= 0 or after.received < before.received:
                row.received = row.sent = None  # a new device counts from 0
                continue
            row.received = (after.received - before.received) / seconds
            row.sent = (after.sent - before.sent) / seconds
            row.drops += max(0, after.dropped - before.dropped)
        self._measured, self._measured_at = counters, now

    def counts(self) -> dict[str, int]:
        """VIFs by state, in the states' order."""
        counted = collections.Counter(row.state for row in self.rows.values())
        return {state: counted[state] for state in STATES if counted[state]}

    def ranked(self) -> Sequence[Row]:
        """The rows in the order in which they are shown."""
        return sorted(self.rows.values(), key=lambda row: row.rank)

    def as_json(self) -> dict[str, Any]:
        """All of it as data."""
        return {
            "states": self.counts(),
            "repairs": self.repairs,
            "vifs": [row.as_json() for row in self.ranked()],
            "events": [event.as_json() for event in self.events],
        }


def _devices(vif: VifReport) -> Sequence[str]:
    """The devices that a guest's frames may cross, from the guest: first its tap, which the VMM may make later."""
    return [vif.waiting_for or "", naming.device("tap", vif.id), *(device.name for device in vif.devices)]


def counters_of(lines: Iterable[str]) -> dict[str, Counters]:
    """The counters of every device, from the lines of /proc/net/dev."""
    known = {}
    for line in lines:
        name, colon, rest = line.rpartition(":")
        numbers = rest.split()
        if colon and len(numbers) == _DEVICE_COLUMNS and all(number.isdigit() for number in numbers):
            values = [int(number) for number in numbers]
            known[name.strip()] = Counters(received=values[0], sent=values[8], dropped=values[3] + values[11])
    return known


def in_bits(bytes_per_second: float | None) -> str:
    """A rate as a person reads it."""
    if bytes_per_second is None:
        return "-"
    bits = bytes_per_second * 8
    for unit in ("b/s", "kb/s", "Mb/s"):
        if bits < 1000:
            return f"{bits:.0f} {unit}" if unit == "b/s" else f"{bits:.1f} {unit}"
        bits /= 1000
    return f"{bits:.1f} Gb/s"
