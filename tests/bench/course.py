"""The course that all contestants run, in turn: the measurements at each number of VIFs.

Two worlds: a host full of VIFs as os-vif leaves them, and one that vifplug has filled. The cost of a plug depends on
which program made the existing VIFs: the host's own IPv6 frames are flooded to every port, and only os-vif's links
receive them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import catalogue as c
from tests.bench import contestants, standing, tally
from tests.bench.contestants import Contestant
from tests.bench.figures import Figures, Key
from tests.bench.first_frame import Prober
from tests.bench.floors import Floor
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import INSTANCE, MTU, NETWORK, Request
from tests.support.world.world import REPOSITORY, World

_FILLING, _SETTLING_SECONDS = 100, 15.0
_WARM = 2
_START_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Extent:
    """The extent of a run."""

    there: Sequence[int] = (c.FEW, 100, 400, 1000)
    turns: int = 15
    """Rounds of work on one VIF at a time."""
    rounds: int = 3
    """Rounds of batches and crowds."""
    crowd: int = 64
    """VIFs that a crowd plugs."""
    starts: int = 7
    """Fresh processes."""
    crowds: Sequence[int] = c.CROWDS
    kinds: Sequence[str] = c.KINDS
    """Rounds of single VIFs with many VIFs on the host."""
    slow_from: int = 400
    """With at least this number of VIFs on the host, os-vif's batches and crowds run ``slow_rounds`` times: they take
    minutes."""
    slow_rounds: int = 1
    only: str = ""
    """Only sections whose name contains this."""


QUICK = Extent(
    there=(c.FEW, 400), turns=5, rounds=1, crowd=32, starts=3, crowds=(32,), kinds=(c.HYBRID,), slow_rounds=0
)


class Course:
    """The worlds, the contestants in them, and the results.

    :param theirs: os-vif's world.
    :param say: called with a line about each step before it begins.
    :param beside: a checkout of another commit, to compare this one with, and its world.
    """

    def __init__(
        self,
        world: World,
        theirs: World,
        extent: Extent,
        say: Callable[[str], None],
        beside: tuple[Path, World] | None = None,
    ) -> None:
        self.world, self.their_world, self.extent, self.say = world, theirs, extent, say
        self.beside = beside
        self._awake = world
        self.figures = Figures()
        self._numbers = 0
        self._filled = 0
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> Course:
        theirs = self.their_world
        self.theirs = self._closing.enter_context(Contestant(theirs, contestants.os_vif_argv(theirs)))
        self.visitor = self._closing.enter_context(Contestant(self.world, contestants.os_vif_argv(self.world)))
        self.library = self._closing.enter_context(Contestant(self.world, contestants.vifplug_argv(self.world)))
        self.floor = Floor(self.world)
        self._closing.callback(self.floor.close)
        self.their_floor = Floor(theirs)
        self._closing.callback(self.their_floor.close)
        theirs.pause_vswitchd()
        # The daemon's section of the configuration; it is started only for its own part, because it watches what others
        # do.
        self.daemons = {c.DAEMON: Vifplugd(self.world)}
        vifplugd = str(contestants.python_of(REPOSITORY).with_name("vifplugd"))
        self.daemons[c.DAEMON].command = ["env", *standing.ENVIRONMENT, vifplugd]
        self.libraries = {c.LIBRARY: self.library}
        if self.beside is not None:
            self._prepare_other(*self.beside)
        return self

    def _prepare_other(self, checkout: Path, world: World) -> None:
        """The other commit's library and daemon."""
        argv = contestants.vifplug_argv(world, checkout=checkout)
        self.libraries[c.OTHER] = self._closing.enter_context(Contestant(world, argv, checkout=checkout))
        self.daemons[c.OTHER_DAEMON] = Vifplugd(world)
        self.daemons[c.OTHER_DAEMON].command = [str(contestants.python_of(checkout).with_name("vifplugd"))]
        world.pause_vswitchd()

    def _checkout(self, who: str) -> Path:
        return self.beside[0] if self.beside is not None and who in c.BESIDE.values() else REPOSITORY

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def rest(self, world: World, seconds: float = 2.0) -> None:
        """Let a world come to rest before the next contestant; Open vSwitch in the other world is stopped meanwhile."""
        if world is not self._awake:
            self._awake.pause_vswitchd()
            world.resume_vswitchd()
            self._awake = world
        contestants.rest(world, seconds=seconds)

    def requests(self, kind: str, count: int) -> list[Request]:
        """VIFs that no contestant has yet."""
        made = []
        for number in range(self._numbers, self._numbers + count):
            network = {"id": NETWORK, "mtu": MTU}
            if kind == c.BRIDGE:
                network["id"] = f"{number:08x}-001b-49c3-89fb-bf84c4f41e24"
            document = {
                "id": f"{number:08x}-d1c4-4b1e-8a51-6f0e5c9d77aa",
                "vif_type": kind,
                "address": f"fa:16:3e:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",
                "network": network,
                "instance": {"uuid": INSTANCE},
                "create_tap": kind == c.OVS,
            }
            made.append(Request(document))
        self._numbers += count
        return made

    # -- the whole ----------------------------------------------------------------------------------------

    def run(self) -> None:
        """All sections at every number of VIFs; measurements before an error are kept."""
        self._warm_up()
        for there in self.extent.there:
            self.say(f"{there} there: fill")
            self.fill(there)
            for name, section in self._sections(there):
                if self.extent.only in name:
                    began = time.monotonic()
                    self.say(f"{there} there: {name}")
                    section(there)
                    self.say(f"{there} there: {name}: {time.monotonic() - began:.0f} s")

    def _sections(self, there: int) -> Iterator[tuple[str, Callable[[int], None]]]:
        if there in (c.FEW, self.extent.slow_from):
            yield "frame", self._first_frames
        yield "one", self._one
        yield "batch", self._batches
        yield "crowd", self._crowds
        if there == self.extent.there[0]:
            yield "fresh", self._fresh
            yield "count", self._counts
        yield "check", self._check
        yield "daemon", self._daemon

    def _warm_up(self) -> None:
        """First calls are slower; they have a separate row."""
        for kind in c.KINDS:
            for process in {
                **self._processes(kind),
                **({} if kind == c.BRIDGE else {c.VISITOR: self.visitor}),
            }.values():
                requests = self.requests(kind, _WARM)
                self.rest(process.world)
                process.each("plug", requests)
                process.each("unplug", requests)

    def fill(self, there: int) -> None:
        """That many hybrid VIFs in each world."""
        while self._filled < there:
            count = min(_FILLING, there - self._filled)
            for library in self.libraries.values():
                self.rest(library.world)
                library.together("plug", self.requests(c.HYBRID, count))
            self.rest(self.their_world)
            self.their_floor.imitate_os_vif(self.requests(c.HYBRID, count))
            self._filled += count
        for world in (self.their_world, *(library.world for library in self.libraries.values())):
            self.rest(world, seconds=_SETTLING_SECONDS)

    def _processes(self, kind: str) -> dict[str, Contestant]:
        """The contestants that plug VIFs of a kind one at a time; os-vif 5.3.0 no longer has a plugin for Linux
        bridges."""
        theirs = {c.OS_VIF: self.theirs} if kind != c.BRIDGE else {}
        return {**theirs, **self.libraries}

    # -- sections -----------------------------------------------------------------------------------------

    def _one(self, there: int) -> None:
        for kind in c.KINDS if there == self.extent.there[0] else self.extent.kinds:
            for turn in range(self.extent.turns):
                self._turn(there, kind, self._processes(kind), turn)
                if kind == c.HYBRID:
                    self._turn(there, kind, {c.VISITOR: self.visitor}, turn)
                self._floor(there, kind, 1, (c.PLUG, c.UNPLUG))

    def _turn(self, there: int, kind: str, processes: dict[str, Contestant], turn: int) -> None:
        """The next VIF of each contestant: plugged, plugged again, unplugged; they take turns to begin.

        It is deleted before the next contestant's turn: os-vif's veths continue to send for seconds, which is flooded
        to every port.
        """
        order = list(processes.items())
        for who, process in order if turn % 2 else order[::-1]:
            vif = self.requests(kind, 1)
            for work, verb in ((c.PLUG, "plug"), (c.REPLUG, "plug"), (c.UNPLUG, "unplug")):
                self.rest(process.world)
                self.figures.add(Key(work, kind, there, who), process.each(verb, vif))

    def _floor(self, there: int, kind: str, size: int, works: tuple[str, str]) -> None:
        requests = self.requests(kind, size)
        for work, act in zip(works, (self.floor.plug, self.floor.unplug), strict=True):
            self.rest(self.world)
            self.figures.add(Key(work, kind, there, c.FLOOR), [act(requests) / size])

    def _first_frames(self, there: int) -> None:
        sides = {c.OS_VIF: self.theirs, c.LIBRARY: self.library}
        with contextlib.ExitStack() as closing:
            probers = {who: closing.enter_context(Prober(side.world)) for who, side in self._awake_in_turn(sides)}
            for kind in (c.OVS, c.HYBRID):
                for turn in range(self.extent.turns):
                    order = list(sides.items())
                    for who, process in order if turn % 2 else order[::-1]:
                        (request,) = self.requests(kind, 1)
                        self.rest(process.world)
                        seconds, first = probers[who].plugged(process, request)
                        self.figures.add(Key(c.RETURN, kind, there, who), [seconds])
                        self.figures.add(Key(c.FIRST_FRAME, kind, there, who), [first])
                        process.each("unplug", [request])

    def _awake_in_turn(self, sides: dict[str, Contestant]) -> Iterator[tuple[str, Contestant]]:
        for who, side in sides.items():
            self.rest(side.world)
            yield who, side

    def _batches(self, there: int) -> None:
        for size in c.BATCHES:
            for number in range(self.extent.rounds):
                for who, library in self.libraries.items():
                    self._batch(there, size, who, library)
                if self._is_os_vifs(number, there):
                    self._batch(there, size, c.OS_VIF, self.theirs)
                self._floor(there, c.HYBRID, size, (c.batch(c.PLUG, size), c.batch(c.UNPLUG, size)))

    def _is_os_vifs(self, number: int, there: int) -> bool:
        return there < self.extent.slow_from or number < self.extent.slow_rounds

    def _batch(self, there: int, size: int, who: str, process: Contestant) -> None:
        requests = self.requests(c.HYBRID, size)
        for verb in (c.PLUG, c.UNPLUG):
            self.rest(process.world)
            key = Key(c.batch(verb, size), c.HYBRID, there, who)
            self.figures.add(key, [process.together(verb, requests) / size])

    def _crowds(self, there: int) -> None:
        for number in range(self.extent.rounds):
            if self._is_os_vifs(number, there):
                self._crowd(there, c.OS_VIF, self.theirs)
            for who, library in self.libraries.items():
                self._crowd(there, who, library)

    def _crowd(self, there: int, who: str, process: Contestant) -> None:
        for callers, work in ((1, c.SERIAL), *((callers, c.crowd(callers)) for callers in self.extent.crowds)):
            requests = self.requests(c.HYBRID, self.extent.crowd)
            self.rest(process.world)
            seconds = process.crowd("plug", requests, callers)
            self.figures.add(Key(work, c.HYBRID, there, who), [len(requests) / seconds])
            # In one request if possible: its duration is measured elsewhere.
            process.together("unplug", requests)

    def _fresh(self, there: int) -> None:
        sides = {c.OS_VIF: (contestants.os_vif_argv(self.their_world), self.theirs)}
        for who, library in self.libraries.items():
            sides[who] = (contestants.vifplug_argv(library.world, checkout=self._checkout(who)), library)
        for _start in range(self.extent.starts):
            for who, (argv, process) in sides.items():
                requests = self.requests(c.HYBRID, 1)
                self.rest(process.world)
                whole, call = contestants.fresh(process.world, argv, requests[0], checkout=self._checkout(who))
                self.figures.add(Key(c.FRESH, c.HYBRID, there, who), [whole])
                self.figures.add(Key(c.FRESH_CALL, c.HYBRID, there, who), [call])
                process.each("unplug", requests)

    def _counts(self, there: int) -> None:
        """Separate processes, in which everything is counted."""
        sides = {c.OS_VIF: contestants.os_vif_argv(self.world), c.LIBRARY: contestants.vifplug_argv(self.world)}
        self.rest(self.world)
        for who, argv in sides.items():
            with Contestant(self.world, argv, "--count") as process:
                for kind in (c.HYBRID, c.OVS):
                    warm, one = self.requests(kind, 5), self.requests(kind, 1)
                    process.each("plug", warm)
                    for work, verb in ((c.PLUG, "plug"), (c.REPLUG, "plug"), (c.UNPLUG, "unplug")):
                        process.ask("counts")
                        process.each(verb, one)
                        for name, count in process.ask("counts").items():
                            self.figures.add(Key(c.count(name, work), kind, there, who), [count])
                    process.each("unplug", warm)

    def _check(self, there: int) -> None:
        for _number in range(self.extent.rounds):
            for who, library in self.libraries.items():
                self.rest(library.world)
                self.figures.add(Key(c.CHECK, "", there, who), library.ask("check")["seconds"])
        for who, process in ((c.OS_VIF, self.theirs), *self.libraries.items()):
            self._memory(there, who, process.pid)

    def _memory(self, there: int, who: str, pid: int) -> None:
        parts = [contestants.memory(one) for one in contestants.descendants(pid)]
        self.figures.add(Key(c.MEMORY, "", there, who), [sum(parts)])

    # -- the daemon ---------------------------------------------------------------------------------------

    def _daemon(self, there: int) -> None:
        """The daemons run at the same time, each over its own Open vSwitch; without requests they hardly work."""
        with contextlib.ExitStack() as closing:
            clients: dict[str, Contestant] = {}
            for who, daemon in self.daemons.items():
                self.rest(daemon.world)
                daemon.start(wait=False)
                closing.callback(standing.end, daemon)
                daemon.await_answer(_START_SECONDS)
                checkout = self._checkout(who)
                argv = contestants.vifplug_argv(daemon.world, "daemon", checkout)
                clients[who] = closing.enter_context(Contestant(daemon.world, argv, checkout=checkout))
            self._through_daemons(there, clients)

    def _through_daemons(self, there: int, clients: dict[str, Contestant]) -> None:
        for client in clients.values():
            self.rest(client.world, seconds=10)
            client.each("plug", warm := self.requests(c.HYBRID, _WARM))
            client.each("unplug", warm)
        for turn in range(self.extent.turns):
            self._turn(there, c.HYBRID, clients, turn)
        for size in c.BATCHES:
            for _number in range(self.extent.rounds):
                for who, client in clients.items():
                    self._batch(there, size, who, client)
        for _number in range(self.extent.rounds):
            for who, client in clients.items():
                self._crowd(there, who, client)
                self.figures.add(Key(c.CHECK, "", there, who), client.ask("check")["seconds"])
        if there < self.extent.slow_from or self.extent.slow_rounds:
            for _start in range(self.extent.starts):
                for who, daemon in self.daemons.items():
                    python = contestants.python_of(self._checkout(who))
                    self.rest(daemon.world)
                    standing.commands(self.figures, there, who, daemon.world, python, self.requests(c.HYBRID, 2))
        for who, daemon in self.daemons.items():
            self._memory(there, who, daemon.pid)
            standing.at_rest(self.figures, there, who, daemon)
        if there == self.extent.there[-1]:
            daemon = self.daemons[c.DAEMON]
            self.rest(daemon.world)
            standing.restore(self.figures, there, clients[c.DAEMON], self.library, daemon)


COUNTED_WRITES = (tally.CHANGES, tally.WRITES)
"""A replug of a VIF that already matches must have none of these."""
