"""The example that others copy: short, and what README shows of it is what it says."""

from __future__ import annotations

import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[3]
DRIVER = REPOSITORY / "examples" / "compute_driver.py"


def test_it_stays_short() -> None:
    assert DRIVER.read_text().count("\n") < 200


def test_readme_quotes_it() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    quoted = readme.partition("Its core is this:\n\n")[2].partition("\n\n")[0]
    assert quoted.count("\n") > 5
    assert quoted in DRIVER.read_text()


def test_it_explains_itself_without_a_host() -> None:
    asked = subprocess.run([sys.executable, str(DRIVER), "--help"], capture_output=True, text=True, check=True)
    assert "--instance-uuid" in asked.stdout
