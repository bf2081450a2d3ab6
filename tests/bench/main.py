"""vifplug and os-vif side by side: ``python -m tests.bench.main``, which ``tools/bench`` runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.bench import contestants, filters, plot, profiling, report
from tests.bench.course import QUICK, Course, Extent
from tests.support.world.world import REPOSITORY, World

_BUSY = 0.10
_PICTURE = REPOSITORY / "docs/benchmark.svg"
_PROFILED = (10, 400)


def _version(python: Path | str, *names: str) -> dict[str, str]:
    program = (
        "import json, sys; from importlib.metadata import version as v; print(json.dumps(list(map(v, sys.argv[1:]))))"
    )
    done = subprocess.run([str(python), "-c", program, *names], capture_output=True, text=True, check=True)
    return dict(zip(names, json.loads(done.stdout), strict=True))


def _version_of(python: Path) -> str:
    program = "import os, platform, sys; print(platform.python_version(), 'of', os.path.realpath(sys.executable))"
    return subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def _machine() -> dict[str, Any]:
    ovs = subprocess.run(["ovs-vswitchd", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        "kernel": platform.release(),
        "processors": len(os.sched_getaffinity(0)),
        "python": f"{_version_of(contestants.python_of(REPOSITORY))}",
        "openvswitch": ovs.splitlines()[0].rpartition(" ")[2],
        "datapath": "netdev",
        "os-vif": _version(contestants.os_vif_python(), "os-vif", "ovs", "ovsdbapp", "pyroute2", "oslo.privsep"),
        "vifplug": _version(
            contestants.python_of(REPOSITORY), "vifplug", "ovs", "ovsdbapp", "pyroute2", "oslo.privsep"
        ),
        "busy": round(contestants.busy(), 2),
        "date": time.strftime("%Y-%m-%d"),
    }


def _caption(machine: dict[str, Any]) -> str:
    return (
        f"os-vif {machine['os-vif']['os-vif']}, {machine['processors']} processors, kernel {machine['kernel']}, "
        f"Open vSwitch {machine['openvswitch']} ({machine['datapath']} datapath), Python {machine['python']}, "
        f"{machine['date']}"
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/bench", description="vifplug beside os-vif, in a sandbox.")
    parser.add_argument("--quick", action="store_true", help="some two minutes: fewer turns, 10 and 400 VIFs there")
    parser.add_argument(
        "--only", default="", metavar="NAME", help="frame, one, batch, crowd, fresh, count, check or daemon"
    )
    parser.add_argument("--there", type=int, nargs="+", metavar="N", help="how many VIFs are there (10 100 400 1000)")
    parser.add_argument("--turns", type=int, metavar="N", help="how often what is done to one VIF at a time")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="CHECKOUT",
        help="compare with another commit's vifplug: a checkout with its .venv",
    )
    parser.add_argument("--json", action="store_true", help="one document on standard output, and no table")
    parser.add_argument("--plot", action="store_true", help=f"write {_PICTURE.relative_to(REPOSITORY)}")
    parser.add_argument("--filters", action="store_true", help="plugs with a filter beside those without; no more")
    parser.add_argument("--profile", action="store_true", help="where vifplug's time goes, and nothing else")
    return parser.parse_args(argv)


def _extent(arguments: argparse.Namespace) -> Extent:
    extent = replace(QUICK if arguments.quick else Extent(), only=arguments.only)
    if arguments.there:
        extent = replace(extent, there=tuple(sorted(arguments.there)))
    if arguments.turns:
        extent = replace(extent, turns=arguments.turns)
    return extent


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _profiles(course: Course, there: Sequence[int], *, quiet: bool) -> dict[str, Any]:
    def show(text: str) -> None:
        if not quiet:
            print(text, flush=True)

    return {"profiles": [row for count in there for row in profiling.profile(course, count, show)]}


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; 1 if a contestant failed. A missed target is not a failure of the benchmark."""
    arguments = _arguments(argv)
    machine = _machine()
    _log(_caption(machine))
    if machine["busy"] > _BUSY:
        _log(f"bench: this machine is {machine['busy']:.0%} busy with other work, which affects these numbers")
    status = 0
    with contextlib.ExitStack() as closing:
        worlds = [closing.enter_context(World()) for _number in range(3 if arguments.beside else 2)]
        for world in worlds:
            world.add_bridge("br-int")
        if arguments.filters:
            rows = filters.measure(worlds[0], _log)
            if arguments.json:
                print(json.dumps({"machine": machine, "filters": rows}, indent=1))
            return 0
        beside = (arguments.beside.resolve(), worlds[2]) if arguments.beside else None
        with Course(worlds[0], worlds[1], _extent(arguments), _log, beside) as course:
            if arguments.profile:
                result = _profiles(course, arguments.there or _PROFILED, quiet=arguments.json)
                if arguments.json:
                    print(json.dumps({"machine": machine, **result}, indent=1))
                return 0
            try:
                course.run()
            except contestants.Failed as error:
                _log(f"bench: {error}")
                status = 1
            figures = course.figures
    machine["busy_after"] = round(contestants.busy(), 2)
    if arguments.json:
        print(json.dumps(report.document(figures, machine), indent=1))
    else:
        print(f"\n{_caption(machine)}\n{report.table(figures)}\n\n{report.target_table(figures)}")
        if arguments.beside:
            print(f"\n{arguments.beside}:\n{report.beside_table(figures)}")
    if arguments.plot:
        _PICTURE.write_text(plot.svg(figures, _caption(machine)))
        _log(f"wrote {_PICTURE}")
    return status


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
