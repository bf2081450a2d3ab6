"""A daemon beside its requests: whole commands, processor time at rest, and a wiped OVSDB."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench import catalogue as c
from tests.bench import contestants
from tests.bench.contestants import Contestant
from tests.bench.figures import Figures, Key
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import Request
from tests.support.world.world import World

ENVIRONMENT = ("MALLOC_ARENA_MAX=1", "MALLOC_TRIM_THRESHOLD_=65536")
"""As in the unit."""
_REST_SECONDS = 10.0
_RESTORE_SECONDS = 300.0
_PAUSE_SECONDS = 0.05


def commands(figures: Figures, there: int, who: str, world: World, python: Path, requests: Sequence[Request]) -> None:
    """One VIF by the command: plugged, plugged again, listed, shown; and a Python that does nothing."""
    file = world.directory / "vif.json"
    vifplug = [str(python.with_name("vifplug")), "--config-file", str(world.config_file)]
    for local, request in zip((False, True), requests, strict=True):
        file.write_text(json.dumps(request.document))
        works = {c.CLI_LOCAL: ["--local", "plug", str(file)]}
        if not local:
            works = {c.CLI: ["plug", str(file)], c.CLI_REPLUG: ["plug", str(file)]}
            works |= {c.CLI_LIST: ["list"], c.CLI_SHOW: ["show", request.id]}
        for work, words in works.items():
            contestants.rest(world)
            seconds, _output = contestants.timed(world, [*vifplug, *words])
            by = who if not local else {c.DAEMON: c.LIBRARY}.get(who, c.OTHER)
            figures.add(Key(work, c.HYBRID, there, by), [seconds])
        contestants.timed(world, [*vifplug, "unplug", request.id])
    seconds, _output = contestants.timed(world, [str(python), "-c", "pass"])
    figures.add(Key(c.BARE, "", there, who), [seconds])


def at_rest(figures: Figures, there: int, who: str, daemon: Vifplugd) -> None:
    """The share of a core that a daemon without requests takes, its helper and its parent included."""
    pids = contestants.descendants(daemon.pid)
    before, began = contestants.worked(pids), time.monotonic()
    time.sleep(_REST_SECONDS)
    share = (contestants.worked(pids) - before) / 1e9 / (time.monotonic() - began)
    figures.add(Key(c.IDLE, "", there, who), [100 * share])


def end(daemon: Vifplugd) -> None:
    """Stop a daemon, if it runs."""
    if daemon.process is not None:
        daemon.stop()


def restore(figures: Figures, there: int, client: Contestant, library: Contestant, daemon: Vifplugd) -> None:
    """OVSDB loses its bridge with all ports: until a check is clean; and what vswitchd alone takes to close them."""
    world = daemon.world
    contestants.rest(world, seconds=_REST_SECONDS)
    began = time.perf_counter()
    _wipe(world)
    while not client.ask("is_clean"):
        if time.perf_counter() - began > _RESTORE_SECONDS:
            raise contestants.Failed("the daemon did not restore the ports in time")
        time.sleep(_PAUSE_SECONDS)
    figures.add(Key(c.RESTORE, "", there, c.DAEMON), [time.perf_counter() - began])
    daemon.stop()
    contestants.rest(world, seconds=_REST_SECONDS)
    began = time.perf_counter()
    _wipe(world)
    figures.add(Key(c.RESTORE, "", there, c.FLOOR), [time.perf_counter() - began])
    library.ask("repair")


def _wipe(world: World) -> None:
    """Returns when vswitchd has closed what was there: a thousand ports take longer than ``World.vsctl`` allows."""
    patience = f"--timeout={_RESTORE_SECONDS:.0f}"
    argv = ("ovs-vsctl", "--no-syslog", patience, f"--db=unix:{world.socket}", "del-br", "br-int")
    world.run(*argv, timeout=_RESTORE_SECONDS)
    world.add_bridge("br-int")
