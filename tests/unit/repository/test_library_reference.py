"""The library's reference is made from the docstrings, and is current."""

from __future__ import annotations

import importlib.util
import pathlib
import types

import vifplug

SITE = pathlib.Path(__file__).parents[3] / "docs" / "site"
ELSEWHERE = {"guest"}
"""A module that docs/how-to/start-guests.md describes."""


def _generator() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("library_reference", SITE / "library.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_of_the_library_is_current() -> None:
    generator = _generator()
    assert generator.PAGE.read_text() == generator.page(), "run: .venv/bin/python docs/site/library.py"


def test_reference_names_everything_that_is_public() -> None:
    text = _generator().PAGE.read_text()
    named = {name for name in vifplug.__all__ if f"### {name}\n" in text or f"vifplug.{name}" in text}
    assert set(vifplug.__all__) - named <= ELSEWHERE | {"Host"}
    methods = [name for name, member in vars(vifplug.Host).items() if name[0] != "_" and callable(member)]
    assert [name for name in methods if f"### host.{name}\n" not in text] == []
