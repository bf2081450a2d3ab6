"""The library's reference, which the site makes from the docstrings, has everything that is public."""

from __future__ import annotations

import pathlib
import runpy

import vifplug

DOCS = pathlib.Path(__file__).parents[3] / "docs"
GENERATOR = runpy.run_path(str(DOCS / "site" / "library.py"))
ELSEWHERE = {"guest"}
"""A module that docs/how-to/start-guests.md describes."""


def test_page_has_the_place_for_the_reference() -> None:
    assert (DOCS / "reference" / "library.md").read_text().count(GENERATOR["MARKER"]) == 1


def test_reference_names_everything_that_is_public() -> None:
    text = GENERATOR["reference"]()
    named = {name for name in vifplug.__all__ if f"### {name}\n" in text or f"vifplug.{name}" in text}
    assert set(vifplug.__all__) - named <= ELSEWHERE | {"Host"}
    methods = [name for name, member in vars(vifplug.Host).items() if name[0] != "_" and callable(member)]
    assert [name for name in methods if f"### host.{name}\n" not in text] == []


def test_reference_has_parameters_results_and_errors_of_a_method() -> None:
    plug = GENERATOR["reference"]().partition("### host.plug\n")[2].partition("### ")[0]
    assert "    host.plug(vifs: Sequence[Vif]) -> VifReports" in plug
    for words in ("- `vifs`: as from `vifplug.load_all`", "- Returns a report for each VIF", "- Raises `Conflict`:"):
        assert words in plug
