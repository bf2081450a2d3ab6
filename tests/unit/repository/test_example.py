"""The example that others copy: short, shown by the guide, and it explains itself."""

from __future__ import annotations

import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[3]
DRIVER = REPOSITORY / "examples" / "compute_driver.py"


def test_it_stays_short() -> None:
    assert DRIVER.read_text().count("\n") < 200


def test_the_guide_shows_it() -> None:
    guide = (REPOSITORY / "docs" / "how-to" / "write-a-compute-driver.md").read_text()
    assert '--8<-- "examples/compute_driver.py"' in guide


def test_it_explains_itself_without_a_host() -> None:
    asked = subprocess.run([sys.executable, str(DRIVER), "--help"], capture_output=True, text=True, check=True)
    assert "--instance-uuid" in asked.stdout
