"""The arrows of DESIGN section 2, and the sizes that keep rooms habitable."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

import vifplug

ROOT = pathlib.Path(vifplug.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py"))

EFFECTS = {
    "pyroute2": "vifplug/privileged/netlink.py or reading.py",
    "ovsdbapp": "vifplug/privileged/ovsdb_session.py",
    "ovs": "vifplug/privileged/ovsdb_session.py",
    "oslo_privsep": "vifplug/privileged/context.py",
    "subprocess": "nowhere: vifplug starts no child processes",
}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "naming": set(),
    "resources": set(),
    "reports": set(),
    "limits": set(),
    "ids": {"errors", "limits"},
    "model": {"errors", "limits", "naming"},
    "locks": {"errors"},
    "whereabouts": set(),
    "version": set(),
    "values": {"naming"},
    "config": {"errors", "limits", "values", "whereabouts"},
    "statedir": {"errors"},
    "records": {"errors", "model", "resources"},
    "events": {"reports"},
    "database": {"errors", "statedir"},
    "eventlog": {"errors", "records", "reports", "events", "database"},
    "store": {"errors", "records", "database", "eventlog"},
    "formats": {"errors", "limits", "naming", "model", "formats"},
    "drivers": {"errors", "naming", "model", "resources", "drivers"},
    "guest": {"errors", "limits", "model", "resources", "drivers", "guest"},
    "prctl": set(),
    "stdio": set(),
    "privileged": {"errors", "naming", "prctl", "stdio", "privileged"},
    "engine": {
        *("errors", "naming", "model", "resources", "reports", "drivers", "engine", "events", "eventlog", "records"),
        *("store", "locks"),
    },
    "doctor": {
        *("errors", "naming", "resources", "reports", "records", "database", "config", "statedir", "drivers", "engine"),
        *("doctor", "version"),
    },
    "operations": {"resources", "engine"},
    "primitives": {"naming", "resources"},
    "unreachable": set(),
    "refusals": {"errors"},
    "sse": set(),
    "stream": {"errors"},
    "wire": {"errors", "refusals", "stream", "unreachable"},
    "following": {"errors", "events", "sse", "stream", "wire"},
    "waiting": {"errors", "events", "ids", "reports"},
    "client": {
        *("errors", "events", "model", "reports", "config", "doctor", "formats", "guest", "limits", "wire"),
        *("following", "waiting", "whereabouts"),
    },
    "osvif": {"errors", "naming", "model", "formats", "api", "client", "osvif"},
    "daemon": {
        *("errors", "naming", "model", "resources", "reports", "config", "statedir", "locks", "records", "store"),
        *("formats", "drivers", "engine", "doctor", "guest", "api", "limits", "linux", "prctl", "events", "eventlog"),
        *("stdio", "version"),
        "daemon",
    },
}
PURE = {"actions", "conflicts", "departure", "drift", "ownership", "planner", "resolution", "host"}
# Where to look is 300 and 40 lines (CONTRIBUTING); these are where a change is refused.
LINES_MAX, FUNCTION_LINES_MAX, PARAMETERS_MAX = 450, 60, 6


def _name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_effects_are_imported_in_the_privileged_package_only(path: pathlib.Path) -> None:
    if path.is_relative_to(ROOT / "privileged"):
        return
    for imported in _imports(_tree(path)):
        top = imported.split(".")[0]
        assert top not in EFFECTS, f"{_name(path)} imports {top}; that belongs to {EFFECTS[top]}"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_os_vif_is_met_in_its_plugin_only(path: pathlib.Path) -> None:
    if not path.is_relative_to(ROOT / "osvif"):
        met = [name for name in _imports(_tree(path)) if name.startswith(("os_vif", "vif_plug_ovs", "vifplug.osvif"))]
        assert not met, f"{_name(path)} imports {met}; os-vif need not be there, and vifplug.osvif is a plugin of it"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_arrows_run_down_only(path: pathlib.Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    ours = {name.split(".")[1] for name in _imports(_tree(path)) if name.startswith("vifplug.")}
    if room in ALLOWED:
        assert ours <= ALLOWED[room], f"{_name(path)} may import {sorted(ALLOWED[room])}, not {sorted(ours)}"
    if room != "linux" and room != "privileged":
        assert "privileged" not in ours, f"{_name(path)} imports vifplug.privileged; vifplug.linux alone does"


@pytest.mark.parametrize("name", sorted(PURE))
def test_decisions_import_no_store_and_no_locks(name: str) -> None:
    imported = {one.split(".")[1] for one in _imports(_tree(ROOT / "engine" / f"{name}.py")) if "vifplug." in one}
    assert imported <= {"errors", "naming", "resources", "reports", "engine"}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_rooms_stay_habitable(path: pathlib.Path) -> None:
    source = path.read_text()
    swollen = [f"{_name(path)} has {source.count(chr(10))} lines"] if source.count("\n") > LINES_MAX else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([argument for argument in arguments if argument.arg not in ("self", "cls")])
            if lines > FUNCTION_LINES_MAX or count > PARAMETERS_MAX:
                swollen.append(f"{_name(path)}: {node.name} has {lines} lines and {count} parameters")
    assert not swollen, "wants its own room: " + "; ".join(swollen)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_drawer_is_opened(path: pathlib.Path) -> None:
    assert path.stem not in {"utils", "util", "common", "base", "helpers", "manager", "misc"}


def test_public_names_are_sorted_and_importable() -> None:
    assert vifplug.__all__ == sorted(vifplug.__all__)
    for name in vifplug.__all__:
        assert getattr(vifplug, name) is not None
