"""Measures faults with many VIFs: the time until all is restored, until frames cross, and the effects on others.

It does not use vifplug's answers: links by ``ip``, rows by OVS's own client, frames by guests that hold their taps.
``python -m tests.support.faults.fault_bench``, which ``tools/faults`` runs, prints a table of all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.faults import host_faults
from tests.support.faults.host_faults import Fault
from tests.support.network.endpoints import guest_on_tap
from tests.support.network.event_recorder import EventRecorder
from tests.support.network.traffic import Pinger, continuous_ping
from tests.support.vifs import MTU
from tests.support.world.fleet import Fleet, Member, differences, names
from tests.support.world.guests import Guests
from tests.support.world.world import Row, World

DEADLINE_SECONDS = 20.0
_PAUSE_SECONDS = 0.03
_QUIET_SECONDS = 0.3
BOOT = "boot: all links gone"


@dataclass
class Outcome:
    """The result of one fault."""

    fault: str
    vifs: int
    """The number of damaged VIFs."""
    seconds: float | None = None
    """From when it could be repaired until every attribute was restored; None: not within the deadline."""
    frames: list[float] = field(default_factory=list)
    """The same for frames across each tested VIF."""
    silent: list[str] = field(default_factory=list)
    """VIFs that no frame crossed within the deadline."""
    writes: list[str] = field(default_factory=list)
    """The writes to undamaged VIFs."""
    lost: dict[str, int | None] = field(default_factory=dict)
    """Pings lost between two undamaged VIFs; None if the fault itself interrupts them."""
    left: dict[str, Any] = field(default_factory=dict)
    """Differences from before, at the deadline."""
    repairs: int = 0
    """The number of VIFs that the daemon reports as repaired, including failed attempts."""

    @property
    def crossed(self) -> float | None:
        """When the last of them was crossed."""
        return max(self.frames, default=0.0) if not self.silent else None


class Bench:
    """A world with a fleet under the daemon; ``with Bench(world, 100) as bench``."""

    def __init__(self, world: World, count: int, seconds: float = DEADLINE_SECONDS) -> None:
        self.world, self.seconds = world, seconds
        self.daemon = Vifplugd(world)
        self.fleet = Fleet(world, count)
        self.guests = Guests(self.fleet)
        self.whole: dict[str, Row] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Bench:
        self._closing.enter_context(self.daemon)
        self.fleet.plug(self.daemon)
        self._closing.enter_context(self.guests)
        self._pingers = contextlib.ExitStack()
        self._closing.callback(lambda: self._pingers.close())
        self._arrive()
        self.whole = self.fleet.picture()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def _arrive(self) -> None:
        """All guests, once their taps exist."""
        pinging = {member.number for member in self.fleet.pingers}
        self.guests.arrive(member for member in self.fleet.members if member.number not in pinging)
        self.stations = {}
        for group, subnet in (("br-int", 1), ("brq", 2)):
            for host, member in enumerate(self.fleet.pair(group), 1):
                request = member.request
                station = guest_on_tap(self.world, request.tap, request.address, f"10.77.{subnet}.{host}", MTU)
                self.stations[member.number] = self._pingers.enter_context(station)

    @contextlib.contextmanager
    def _pings(self, group: str) -> Iterator[Pinger]:
        each, other = (self.stations[member.number] for member in self.fleet.pair(group))
        with continuous_ping(each, other.ip) as pinger:
            yield pinger

    def complaints(self) -> str:
        """The daemon's recent warnings and errors."""
        lines = [line for line in self.daemon.log().splitlines() if '"level": "INFO"' not in line]
        return "\n".join(line[:400] for line in lines[-10:])

    # -- one fault ----------------------------------------------------------------------------------------

    def must_be_whole(self) -> None:
        """The state after the plug, including frames; AssertionError if it differs."""
        outcome = Outcome("before", 0)
        self.guests.call()
        self._await(outcome, time.monotonic(), self.fleet.members, self.whole)
        assert not outcome.left and not outcome.silent, f"not whole to begin with: {outcome.left} {outcome.silent}"

    def endure(self, fault: Fault) -> Outcome:
        """One fault, its repair, and its effects on all others."""
        count = len(self.fleet.members)
        victims = [] if fault.ovs else self.fleet.some(max(10, count // 10), fault.types)
        hit = [member for member in self.fleet.members if member.request.type in fault.types] if fault.ovs else victims
        others = [member for member in self.fleet.members if member not in hit]
        outcome = Outcome(fault.name, len(hit))
        before = self.daemon.metric("vifplug_repairs_total")
        with EventRecorder(self.world) as recorder, self._pings("br-int") as through_ovs, self._pings("brq") as around:
            since = fault.damage(self.world, victims)
            # Frames received from now on have crossed what was damaged.
            self.guests.call()
            wanted = self.fleet.unwired(self.whole) if fault.rows == "loses" else self.whole
            self._await(outcome, since, hit, wanted)
            time.sleep(_QUIET_SECONDS)
        outcome.lost = {"br-int": None if fault.ovs else through_ovs.lost, "brq": around.lost}
        outcome.writes = recorder.writes_to(names(others))
        if fault.ovs and fault.rows == "keeps":
            # No rows are damaged: Open vSwitch reads them again.
            outcome.writes += recorder.rows_of(names(hit))
        outcome.repairs = int(self.daemon.metric("vifplug_repairs_total") - before)
        if fault.rows == "loses":
            self.fleet.wire()
        return outcome

    def _await(self, outcome: Outcome, since: float, hit: Sequence[Member], wanted: dict[str, Row]) -> None:
        """Wait for attributes and frames, and record their times."""
        pinging = {member.number for member in self.fleet.pingers}
        asked = {member.number for member in hit} - pinging
        deadline = max(since, time.monotonic()) + self.seconds
        while True:
            looked = time.monotonic()
            if outcome.seconds is None:
                try:
                    outcome.left = differences(self.fleet.picture(), wanted)
                except AssertionError as error:  # OVSDB does not exist yet
                    outcome.left = {"picture": str(error)}
                if not outcome.left:
                    outcome.seconds = time.monotonic() - since
            looked = time.monotonic() - looked
            received = self.guests.answered()
            if (outcome.seconds is not None and asked <= received.keys()) or time.monotonic() > deadline:
                break
            time.sleep(max(_PAUSE_SECONDS, looked))  # reading costs time, too
        self.guests.hush()
        outcome.frames = sorted(received[number] - since for number in asked & received.keys())
        outcome.silent = [self.fleet.members[number].request.id for number in sorted(asked - received.keys())]

    def _missing(self) -> int:
        """The number of missing or unusable taps and ports: guests start only when there are none."""
        there = {link["ifname"] for link in self.world.ip("link", "show")}
        rows = self.world.rows("Interface", "name", "ofport", "error")
        work = {row["name"] for row in rows if isinstance(row["ofport"], int) and row["ofport"] > 0}
        ports = {member.request.port for member in self.fleet.members if member.group != "brq"}
        return len({member.request.tap for member in self.fleet.members} - there) + len(ports - work)

    def boot(self) -> Outcome:
        """The machine reboots: the database exists, but no link; then the daemon starts, then the guests."""
        outcome = Outcome(BOOT, len(self.fleet.members))
        self.daemon.stop()
        self._pingers.close()
        self.guests.leave()
        brq = {self.fleet.caller("brq").request.brq}
        host_faults.everything_gone(self.world, sorted(names(self.fleet.members) | brq))
        vexed = [row["name"] for row in self.world.rows("Interface", "name", "error") if row["error"]]
        assert vexed, "Open vSwitch does not miss a single device: this is no boot"
        self.guests.call()
        since = time.monotonic()
        self.daemon.start(wait=False)
        while self._missing() and time.monotonic() < since + self.seconds:
            time.sleep(_PAUSE_SECONDS)
        self._arrive()
        self._await(outcome, since, self.fleet.members, self.whole)
        vexed = [str(row) for row in self.world.rows("Interface", "name", "error") if row["error"]]
        outcome.left |= {"Interface.error": vexed} if vexed else {}
        return outcome


# -- for people ---------------------------------------------------------------------------------------------------


def _seconds(value: float | None) -> str:
    return "not back" if value is None else f"{value:.2f}"


def _row(outcome: Outcome) -> list[str]:
    frames = f"{statistics.median(outcome.frames):.2f} {_seconds(outcome.crossed)}" if outcome.frames else "-"
    lost = ["cut" if outcome.lost.get(group, 0) is None else str(outcome.lost.get(group, "-")) for group in _GROUPS]
    crossed = f"{len(outcome.frames)}/{len(outcome.frames) + len(outcome.silent)}"
    return [
        outcome.fault,
        str(outcome.vifs),
        _seconds(outcome.seconds),
        frames,
        crossed,
        str(len(outcome.writes)),
        *lost,
    ]


_GROUPS = ("br-int", "brq")
_TITLES = (
    *("FAULT", "VIFS", "ATTRIBUTES s", "FRAMES s (median, last)", "CROSSED", "WRITES TO OTHERS"),
    *("PINGS LOST br-int", "brq"),
)


def _print_row(cells: Sequence[str]) -> None:
    widths = (36, 5, 13, 24, 9, 17, 18, 4)
    print("".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip(), flush=True)


def _outcomes(bench: Bench, only: str) -> Iterator[Outcome]:
    for fault in host_faults.FAULTS:
        if only in fault.name:
            yield bench.endure(fault)
    if only in BOOT:
        yield bench.boot()


def main() -> int:
    """Run them all; 1 if something was not restored, was written to, or lost a ping."""
    parser = argparse.ArgumentParser(prog="tools/faults", description=main.__doc__)
    parser.add_argument("count", nargs="?", type=int, default=100, help="VIFs (at least 40; default: 100)")
    parser.add_argument("--only", default="", help="faults whose name contains this")
    parser.add_argument("--json", action="store_true", help="one list on stdout, and no table")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to wait for a fault's end (default: 60)")
    parser.add_argument("--log", type=Path, help="where to keep the daemon's log; vswitchd's is put beside it")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    if not arguments.json:
        _print_row(_TITLES)
    with World() as world:
        world.add_bridge("br-int")
        with Bench(world, max(40, arguments.count), arguments.seconds) as bench:
            try:
                for outcome in _outcomes(bench, arguments.only):
                    outcomes.append(outcome)
                    if not arguments.json:
                        _print_row(_row(outcome))
            finally:
                if arguments.log:
                    arguments.log.write_text(bench.daemon.log())
                    shutil.copy(world.directory / "vswitchd.log", arguments.log.with_suffix(".vswitchd"))
    if arguments.json:
        json.dump([asdict(outcome) | {"crossed": outcome.crossed} for outcome in outcomes], sys.stdout, indent=1)
    bad = [each for each in outcomes if each.left or each.silent or each.writes or any(each.lost.values())]
    for each in bad:
        print(
            f"{each.fault}: {each.left or ''} silent: {each.silent} writes: {each.writes[:10]}"[:2000], file=sys.stderr
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
