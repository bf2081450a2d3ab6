"""Who may know a kind by name: its module, the kinds' list, what builds on both, and the driver that wants it."""

from __future__ import annotations

import ast
import pathlib

import vifplug
from vifplug.resources import kinds
from vifplug.resources.link import Link

ROOT = pathlib.Path(vifplug.__file__).parent
ASKED_BY_CLASS_MAX = 18
"""Lines outside resources/ that ask whether something is a link or a port: what treats both planes must."""


def _modules() -> list[pathlib.Path]:
    packages = (ROOT / "resources", ROOT / "drivers")
    return [path for path in ROOT.rglob("*.py") if packages[0] not in path.parents and path.parent != packages[1]]


def test_kinds_of_links_are_imported_by_drivers_alone() -> None:
    names = {kind.__module__ for kind in kinds.link_kinds()} - {Link.__module__}
    assert len(names) >= 3
    offenders = []
    for path in _modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            offenders += [f"{path.relative_to(ROOT)} imports {module}" for module in modules if module in names]
    assert not offenders, "\n".join(offenders)


def test_few_places_ask_for_a_plane_by_class() -> None:
    asked = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "isinstance"
        and isinstance(node.args[1], ast.Name)
        and node.args[1].id in ("Link", "OvsPort")
    ]
    assert 0 < len(asked) <= ASKED_BY_CLASS_MAX, "\n".join(asked)
