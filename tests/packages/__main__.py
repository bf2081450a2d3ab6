"""``tools/test --packages``: the packages of HEAD, on a fresh Debian 12 and a fresh Debian 13; a line a check.

``python -m tests.packages [--packages DIRECTORY] [12] [13] [container]``. Without --packages
tools/package builds them first.
The exit status is 0 when every check passed.
"""

from __future__ import annotations

import argparse
import datetime
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.packages import checks, container
from tests.packages.machine import Machine
from tests.packages.older import older
from tests.packages.tally import Tally

REPOSITORY = Path(__file__).resolve().parents[2]
DEBIANS = ("12", "13")
CONTAINER = "container"
PARTS = (*DEBIANS, CONTAINER)


def _check(debian: str, packages: Path, work: Path) -> Tally:
    tally = Tally(f"Debian {debian}")
    (new,) = packages.glob(f"vifplug_*~deb{debian}_*.deb")
    old = older(new, work)
    with tally.check("the machine"), Machine(debian, work, [old, new]) as machine:
        checks.run(machine, old, new, tally)
    return tally


def _check_container(packages: Path, work: Path) -> Tally:
    tally = Tally("container")
    (package,) = packages.glob("vifplug_*~deb13_*.deb")
    with tally.check("the machine and the steps of the Containerfile"):
        machine = Machine("13", work, [])
        container.prepare(machine, package, work)
        with machine:
            container.check(machine, tally)
    return tally


def main(argv: list[str]) -> int:
    """Console script."""
    parser = argparse.ArgumentParser(prog="tools/test --packages", description=__doc__)
    parser.add_argument("--packages", type=Path, help="a directory with packages that are built already")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="|".join(PARTS), help="default: all")
    options = parser.parse_args(argv)
    parts = options.parts or list(PARTS)
    work = REPOSITORY / ".package" / "tests"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as built:
        packages = options.packages or Path(built)
        if options.packages is None:
            words = sorted({f"--debian{part if part in DEBIANS else '13'}" for part in parts})
            subprocess.run([REPOSITORY / "tools" / "package", "--output", packages, *words], check=True)
        tallies = [
            _check_container(packages, work) if part == CONTAINER else _check(part, packages, work) for part in parts
        ]
    passed, failed = sum(tally.passed for tally in tallies), sum(tally.failed for tally in tallies)
    commit = subprocess.run(
        ["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    today = datetime.datetime.now(tz=datetime.UTC).date()
    print(f"{passed} passed, {failed} failed ({today}, commit {commit.stdout.strip()})")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
