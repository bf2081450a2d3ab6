"""``tools/test --packages``: the packages of HEAD, on a fresh Debian 12 and a fresh Debian 13; a line a check.

``python -m tests.packages [--packages DIRECTORY] [12] [13]``. Without --packages tools/package builds them first.
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


def _check(debian: str, packages: Path, work: Path) -> Tally:
    tally = Tally(f"Debian {debian}")
    (new,) = packages.glob(f"vifplug_*~deb{debian}_*.deb")
    old = older(new, work)
    with tally.check("the machine"):
        machine = Machine(debian, work, [old, new])
        if debian == "13":  # the image is made of this package
            container.prepare(machine, new, work)
        with machine:
            checks.run(machine, old, new, tally)
            if debian == "13":
                container.check(machine, tally)
    return tally


def main(argv: list[str]) -> int:
    """Console script."""
    parser = argparse.ArgumentParser(prog="tools/test --packages", description=__doc__)
    parser.add_argument("--packages", type=Path, help="a directory with packages that are built already")
    parser.add_argument("debians", nargs="*", choices=[*DEBIANS, []], metavar="12|13", help="default: both")
    options = parser.parse_args(argv)
    debians = options.debians or list(DEBIANS)
    work = REPOSITORY / ".package" / "tests"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as built:
        packages = options.packages or Path(built)
        if options.packages is None:
            words = [f"--debian{debian}" for debian in debians]
            subprocess.run([REPOSITORY / "tools" / "package", "--output", packages, *words], check=True)
        tallies = [_check(debian, packages, work) for debian in debians]
    passed, failed = sum(tally.passed for tally in tallies), sum(tally.failed for tally in tallies)
    commit = subprocess.run(
        ["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    today = datetime.datetime.now(tz=datetime.UTC).date()
    print(f"{passed} passed, {failed} failed ({today}, commit {commit.stdout.strip()})")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
