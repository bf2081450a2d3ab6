"""The arrows of DESIGN section 2, and the sizes that keep rooms habitable."""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

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
    "passage": set(),
    "ownership": {"naming"},
    "resources": set(),
    "reports": set(),
    "limits": set(),
    "readable": set(),
    "ids": {"errors", "formats", "limits"},
    "durations": {"errors", "formats"},
    "retrying": {"errors"},
    "parameters": {"errors", "formats", "model"},
    # What is wrong with a VIF is worded in one place, which reads the model.
    "model": {"errors", "formats", "limits", "naming"},
    "fsuser": set(),
    "trusted": {"fsuser"},
    "holders": set(),
    "netns": set(),
    "locks": {"errors", "trusted"},
    "whereabouts": set(),
    "version": set(),
    "udev": set(),
    "values": {"naming"},
    "config": {"errors", "limits", "unknown_options", "values", "whereabouts"},
    "unknown_options": set(),
    "statedir": {"errors", "fsuser", "trusted"},
    "records": {"errors", "model", "naming", "reports", "resources"},
    "salvage": {"limits"},
    "events": {"reports"},
    "reserve": {"statedir", "trusted"},
    "store_schema": set(),
    "database": {"errors", "holders", "netns", "reserve", "statedir", "store_schema", "trusted"},
    "eventlog": {"errors", "records", "reports", "events", "database"},
    "store": {"errors", "limits", "records", "database", "eventlog", "salvage"},
    "formats": {"errors", "limits", "naming", "model", "formats"},
    "drivers": {"errors", "naming", "model", "resources", "drivers"},
    "guest": {"errors", "limits", "model", "resources", "drivers", "guest"},
    "prctl": set(),
    "stdio": set(),
    "privileged": {"errors", "naming", "ownership", "passage", "prctl", "stdio", "privileged"},
    "engine": {
        *("errors", "naming", "model", "resources", "reports", "drivers", "engine", "events", "eventlog", "records"),
        *("store", "locks", "passage", "ownership", "readable"),
    },
    "doctor": {
        *("errors", "naming", "resources", "reports", "records", "database", "config", "statedir", "drivers", "engine"),
        *("doctor", "udev", "version", "holders", "netns", "trusted"),
    },
    "operations": {"resources", "engine"},
    "primitives": {"naming", "resources"},
    "unreachable": set(),
    "refusals": {"errors"},
    "sse": set(),
    "stream": {"errors"},
    "wire": {"errors", "refusals", "stream", "unreachable"},
    "following": {"errors", "events", "formats", "limits", "parameters", "sse", "stream", "wire"},
    "waiting": {"errors", "events", "formats", "ids", "reports"},
    "client": {
        *("errors", "events", "model", "reports", "config", "doctor", "formats", "guest", "limits", "wire"),
        *("following", "ids", "parameters", "waiting", "whereabouts", "durations", "retrying"),
    },
    "osvif": {"errors", "naming", "model", "formats", "api", "client", "retrying", "osvif"},
    "daemon": {
        *("errors", "naming", "model", "resources", "reports", "config", "statedir", "locks", "records", "store"),
        *("formats", "drivers", "engine", "doctor", "guest", "api", "limits", "linux", "prctl", "events", "eventlog"),
        *("stdio", "trusted", "version"),
        *("daemon", "readable"),
    },
}
PURE = {
    *("actions", "conflicts", "departure", "drift", "obstacles", "ownership", "planner", "renames", "resolution"),
    "host",
}
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


def _package(path: pathlib.Path) -> str:
    """The package below vifplug, or the module beside them."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _must_be_empty(offenders: Iterator[str]) -> None:
    """Every offender of a rule is listed, not the first alone."""
    listed = list(offenders)
    assert not listed, "\n".join(listed)


def test_effects_are_imported_in_the_privileged_package_only() -> None:
    _must_be_empty(
        f"{_name(path)} imports {imported}; that belongs to {EFFECTS[imported.split('.')[0]]}"
        for path in MODULES
        if not path.is_relative_to(ROOT / "privileged")
        for imported in _imports(_tree(path))
        if imported.split(".")[0] in EFFECTS
    )


def test_os_vif_is_imported_in_its_plugin_only() -> None:
    _must_be_empty(
        f"{_name(path)} imports {imported}; os-vif need not be installed, and vifplug.osvif is a plugin of it"
        for path in MODULES
        if not path.is_relative_to(ROOT / "osvif")
        for imported in _imports(_tree(path))
        if imported.startswith(("os_vif", "vif_plug_ovs", "vifplug.osvif"))
    )


def test_every_package_has_a_rule() -> None:
    free = {"__init__", "api", "checkup", "cli", "linux", "snapshot"}
    assert {_package(path) for path in MODULES} <= ALLOWED.keys() | free, "say in ALLOWED what it may import"


def _wrong_arrows(path: pathlib.Path) -> Iterator[str]:
    package = _package(path)
    ours = {name.split(".")[1] for name in _imports(_tree(path)) if name.startswith("vifplug.")}
    if package in ALLOWED and not ours <= ALLOWED[package]:
        yield f"{_name(path)} may import {sorted(ALLOWED[package])}, not {sorted(ours - ALLOWED[package])}"
    if package not in ("linux", "privileged") and "privileged" in ours:
        yield f"{_name(path)} imports vifplug.privileged; vifplug.linux alone does"


def test_arrows_run_down_only() -> None:
    _must_be_empty(line for path in MODULES for line in _wrong_arrows(path))


def test_decisions_import_no_store_and_no_locks() -> None:
    allowed = {"errors", "naming", "ownership", "passage", "resources", "reports", "engine"}
    _must_be_empty(
        f"engine/{name}.py imports {imported}"
        for name in sorted(PURE)
        for imported in _imports(_tree(ROOT / "engine" / f"{name}.py"))
        if imported.startswith("vifplug.") and imported.split(".")[1] not in allowed
    )


def _too_large(path: pathlib.Path) -> Iterator[str]:
    source = path.read_text()
    if source.count("\n") > LINES_MAX:
        yield f"{_name(path)} has {source.count(chr(10))} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([argument for argument in arguments if argument.arg not in ("self", "cls")])
            if lines > FUNCTION_LINES_MAX or count > PARAMETERS_MAX:
                yield f"{_name(path)}: {node.name} has {lines} lines and {count} parameters"


def test_sizes_stay_below_their_limits() -> None:
    _must_be_empty(line for path in MODULES for line in _too_large(path))


def test_no_module_is_named_for_anything() -> None:
    vague = {"utils", "util", "common", "base", "helpers", "manager", "misc"}
    _must_be_empty(_name(path) for path in MODULES if path.stem in vague)


def test_public_names_are_sorted_and_importable() -> None:
    assert vifplug.__all__ == sorted(vifplug.__all__)
    for name in vifplug.__all__:
        assert getattr(vifplug, name) is not None
