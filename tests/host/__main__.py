"""``tools/test --host``: a booted Debian host, checked from its install to a reboot; one line a check.

``python -m tests.host [--work DIRECTORY] [BATCH...]`` builds the machine of HEAD, boots it once, and runs the batches
(``checks``) in it, in their order. The exit status is 0 when every check of every batch passed: a batch that did not
come to its end has failed.
"""

from __future__ import annotations

import argparse
import datetime
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.host.machine import Failed, Machine

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
BATCHES: dict[str, float] = {
    "install": 600,
    "paths": 900,
    "drift": 900,
    "ovs_bridges": 1800,
    "macvtap": 600,
    "vlan_bridges": 1200,
    "vlan_uplinks": 600,
    "uplinks": 3600,
    "vf": 600,
    "vf_faults": 1800,
    "representors": 1200,
    "functional": 2400,
    "udev": 900,
    "neighbours": 900,
    "processes": 900,
    "outages": 900,
    "before_reboot": 600,
    "after_reboot": 600,
}
"""In their order, with the seconds that each may take."""
_REBOOTS_BEHIND = "before_reboot"
_END_SECONDS = 120.0
_PYTHON = "/opt/vifplug/bin/python"


class Tally:
    """What the checks said."""

    def __init__(self) -> None:
        self.passed = self.failed = 0
        self.has_ended = False
        self.batches: list[str] = []
        self._began = time.monotonic()

    def line(self, text: str) -> None:
        """A line of a batch: ``ok NAME``, ``FAILED NAME: why``, ``end N``; all else is shown as it is."""
        word, _space, _rest = text.partition(" ")
        if word == "ok":
            self.passed += 1
        elif word == "FAILED":
            self.failed += 1
        elif word == "end":
            self.has_ended = True
            return
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        print(f"{minutes:3}:{seconds:02}  {text}", flush=True)

    def fail(self, name: str, reason: str) -> None:
        """A check of the ring's own."""
        self.line(f"FAILED {name}: {reason}")


def run(machine: Machine, batches: list[str], tally: Tally) -> None:
    """Run batches, with a reboot behind the one that prepares it."""
    for name in batches:
        tally.has_ended = False
        began, passed, failed = time.monotonic(), tally.passed, tally.failed
        # timeout ends what hangs within the machine, so that the next batch can be run.
        script = f"cd /host/code && exec timeout -k 10 {BATCHES[name]:.0f} {_PYTHON} -m tests.host.checks.{name}"
        status = machine.run(script, BATCHES[name] + _END_SECONDS, tally.line)
        if not tally.has_ended:
            tally.fail(name, f"the batch ended with status {status} before its end")
        took = f"{time.monotonic() - began:.0f} s"
        tally.batches.append(f"{name:14} {tally.passed - passed:3} passed {tally.failed - failed:3} failed  {took:>6}")
        if name == _REBOOTS_BEHIND:
            machine.run("systemctl reboot --no-block", 60, tally.line)
            machine.await_boot(2)
            tally.line("ok the machine rebooted")


def _hand_over(tests: Path) -> None:
    """Put the checks where the machine finds them."""
    (tests / "host").mkdir(parents=True)
    for module in ("__init__.py", "host/__init__.py"):
        shutil.copy(REPOSITORY / "tests" / module, tests / module)
    for folder in ("host/checks", "support"):
        shutil.copytree(REPOSITORY / "tests" / folder, tests / folder, ignore=shutil.ignore_patterns("__pycache__"))


def main(argv: list[str]) -> int:
    """Console script."""
    parser = argparse.ArgumentParser(prog="tools/test --host", description=__doc__)
    parser.add_argument("--work", type=Path, default=REPOSITORY / ".host", help="where the image is kept")
    parser.add_argument("batches", nargs="*", choices=[*BATCHES, []], help="default: all of them")
    options = parser.parse_args(argv)
    batches = options.batches or list(BATCHES)
    subprocess.run([HERE / "build", REPOSITORY, options.work], check=True)
    tally = Tally()
    try:
        with Machine(options.work) as machine:
            tally.line("ok the machine booted")
            _hand_over(machine.share / "code" / "tests")
            run(machine, batches, tally)
    except Failed as error:
        tally.fail("the machine", str(error))
    commit = subprocess.run(
        ["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    today = datetime.datetime.now(tz=datetime.UTC).date()
    print("\n".join(tally.batches))
    print(f"{tally.passed} passed, {tally.failed} failed ({today}, commit {commit.stdout.strip()})")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
