"""Which package imports which, where effects are imported, and which files there are."""

from __future__ import annotations

import ast
import functools
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import vifplug

ROOT = pathlib.Path(vifplug.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py"))

EFFECTS = {
    "pyroute2": (set(), "nowhere: vifplug/netlink/numbers.py has its numbers, and the tests compare them"),
    "ovsdbapp": ({"privileged"}, "vifplug/privileged/ovsdb/session.py"),
    "ovs": ({"privileged"}, "vifplug/privileged/ovsdb/session.py"),
    "oslo_privsep": ({"privileged"}, "vifplug/privileged/helper/context.py"),
    "httpx": ({"aio", "daemon"}, "vifplug/daemon/nova/http_post.py or vifplug/aio/client.py"),
    "subprocess": ({"setup"}, "vifplug/setup/run.py: nothing else starts child processes"),
}
"""Who may import it, and the module that does."""
ALLOWED: dict[str, set[str]] = {
    "__main__": {"cli"},
    "errors": set(),
    "naming": set(),
    "version": set(),
    "model": {"errors", "naming"},
    "formats": {"errors", "model", "naming"},
    "resources": {"errors", "naming"},
    "process": set(),
    "netlink": {"errors", "naming", "resources"},
    "store": {"errors", "model", "naming", "process", "resources"},
    "config": {"errors", "model", "naming", "resources"},
    "drivers": {"errors", "model", "naming", "resources"},
    "guest": {"drivers", "errors", "model", "naming", "resources"},
    "privileged": {"errors", "naming", "netlink", "process", "resources"},
    "engine": {"drivers", "errors", "model", "naming", "resources", "store"},
    "linux": {"config", "engine", "errors", "naming", "netlink", "privileged", "resources", "store"},
    "doctor": {
        *("config", "drivers", "engine", "errors", "model", "naming", "netlink", "process", "resources", "store"),
        "version",
    },
    "aio": {"api", "doctor", "errors", "guest", "model", "trace"},
    "trace": {"doctor", "drivers", "engine", "errors", "model", "resources", "store"},
    "api": {"config", "doctor", "drivers", "engine", "errors", "formats", "guest", "linux", "model", "store", "trace"},
    "setup": {"api", "config", "errors", "model", "version"},
    "cli": {
        *("api", "doctor", "drivers", "errors", "formats", "guest", "model", "naming", "process", "setup", "trace"),
        *("config", "version"),  # config.locate: the command's start imports nothing of the library
    },
    "testing": {
        *("api", "config", "doctor", "drivers", "engine", "errors", "model", "naming", "resources", "store", "trace"),
    },
    "neutron": {"api", "doctor", "errors", "formats", "model", "naming", "netlink"},
    "osvif": {"api", "errors", "formats", "model", "naming"},
    "daemon": {
        *("api", "config", "doctor", "drivers", "engine", "errors", "formats", "guest", "linux", "model", "naming"),
        *("process", "resources", "store", "trace", "version"),
    },
}
"""Beside itself and the package that holds them all."""
PURE = {"engine/plan", "engine/requester.py", "engine/state.py", "engine/wiring.py", "drivers"}
"""Values in, values out: no store, no locks, no host."""
VALUES_OF_THE_STORE = ("vifplug.store.records", "vifplug.store.events.NEUTRON_")
ROOT_MODULES = {"__init__", "__main__", "errors", "naming", "version"}
PACKAGE_FILES_MAX = 15
TESTS = pathlib.Path(__file__).parents[2]
TESTS_OF_TESTS = {"test_world.py"}
"""They lie in no folder: what they test is what all others stand on."""
TEST_FOLDER_FILES_MAX = 20


def _name(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def _imports(tree: ast.AST) -> Iterator[str]:
    yield from _imported(ast.walk(tree))


def _imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def _tree(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text())


def _package(path: pathlib.Path) -> str:
    """The package below vifplug, or the module beside them."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _must_be_empty(offenders: Iterator[str]) -> None:
    """Every offender of a rule is listed, not the first alone."""
    listed = list(offenders)
    assert not listed, "\n".join(listed)


def test_effects_are_imported_where_they_belong_only() -> None:
    _must_be_empty(
        f"{_name(path)} imports {imported}; that belongs to {EFFECTS[imported.split('.')[0]][1]}"
        for path in MODULES
        for imported in _imports(_tree(path))
        if imported.split(".")[0] in EFFECTS and _package(path) not in EFFECTS[imported.split(".")[0]][0]
    )


def test_os_vif_is_imported_in_its_plugin_only() -> None:
    _must_be_empty(
        f"{_name(path)} imports {imported}; os-vif need not be installed, and vifplug.osvif is a plugin of it"
        for path in MODULES
        if not path.is_relative_to(ROOT / "osvif")
        for imported in _imports(_tree(path))
        if imported.startswith(("os_vif", "vif_plug_ovs", "vifplug.osvif"))
    )


def test_neutron_is_imported_in_its_own_package_only() -> None:
    _must_be_empty(
        f"{_name(path)} imports {imported}; Neutron need not be installed, and vifplug.neutron is loaded by it"
        for path in MODULES
        if not path.is_relative_to(ROOT / "neutron")
        for imported in _imports(_tree(path))
        if imported.startswith(("neutron", "oslo_messaging", "oslo_service", "vifplug.neutron"))
    )


def test_every_package_has_a_rule() -> None:
    unknown = sorted({_package(path) for path in MODULES} - ALLOWED.keys() - {"__init__"})
    _must_be_empty(f"{package} has no rule: add to ALLOWED what it may import" for package in unknown)


def test_root_holds_no_other_modules() -> None:
    _must_be_empty(
        f"{path.name} is not a module of the root" for path in ROOT.glob("*.py") if path.stem not in ROOT_MODULES
    )


def test_imports_are_absolute() -> None:
    """The rules read imports by their full names."""
    _must_be_empty(
        f"{_name(path)}:{node.lineno} imports relatively"
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ImportFrom) and node.level
    )


def test_packages_stay_small_enough_to_be_read_by_their_names() -> None:
    sizes = {_name(path): len(list(path.glob("*.py"))) for path in {module.parent for module in MODULES}}
    _must_be_empty(f"{name} has {size} files" for name, size in sizes.items() if size > PACKAGE_FILES_MAX)


def _wrong_arrows(path: pathlib.Path) -> Iterator[str]:
    package = _package(path)
    ours = {name.split(".")[1] for name in _imports(_tree(path)) if name.startswith("vifplug.")} - {package}
    if package in ALLOWED and not ours <= ALLOWED[package]:
        yield f"{_name(path)} may import {sorted(ALLOWED[package])}, not {sorted(ours - ALLOWED[package])}"
    if package not in ("linux", "privileged") and "privileged" in ours:
        yield f"{_name(path)} imports vifplug.privileged; vifplug.linux.host alone does"


def test_arrows_run_down_only() -> None:
    _must_be_empty(line for path in MODULES for line in _wrong_arrows(path))


def _cycles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that reach each other."""
    reached = {node: set(targets) for node, targets in graph.items()}
    for middle in graph:
        for targets in reached.values():
            if middle in targets:
                targets |= reached[middle]
    mutual = {
        node: [other for other in sorted(graph) if other in reached[node] and node in reached[other]] for node in graph
    }
    return sorted(cycle for node, cycle in mutual.items() if node == min(cycle, default=""))


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _outside_functions(child)


def _modules_imported(path: pathlib.Path, names: Mapping[str, pathlib.Path]) -> set[str]:
    """What a module imports of vifplug when it is imported, and for its types."""
    imported = set(_imported(_outside_functions(_tree(path))))
    return {name if name in names else name.rpartition(".")[0] for name in imported} & names.keys()


def test_no_modules_import_each_other() -> None:
    names = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in MODULES}
    graph = {name: _modules_imported(path, names) for name, path in names.items() if path.stem != "__init__"}
    _must_be_empty(" and ".join(cycle) + " import each other" for cycle in _cycles(graph))


def test_no_packages_import_each_other() -> None:
    _must_be_empty(" and ".join(cycle) + " may import each other" for cycle in _cycles(ALLOWED))


def test_cycles_are_noticed() -> None:
    assert _cycles({"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set()}) == [["a", "b", "c"]]


def test_decisions_import_no_store_and_no_locks() -> None:
    effects = ("store", "linux", "privileged", "netlink", "process", "api", "daemon", "engine.apply", "engine.commands")
    _must_be_empty(
        f"{_name(path)} imports {imported}"
        for path in MODULES
        if any(path.is_relative_to(ROOT / pure) for pure in PURE)
        for imported in _imports(_tree(path))
        if imported.startswith(tuple(f"vifplug.{effect}." for effect in effects))
        and not imported.startswith(VALUES_OF_THE_STORE)
    )


def _grows(path: pathlib.Path) -> bool:
    """Whether it raises a number to a power that is not fixed, as a pause that grows from try to try does."""
    powers = (node for node in ast.walk(_tree(path)) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow))
    return any(not isinstance(power.right, ast.Constant) for power in powers)


def test_growing_pauses_are_computed_in_one_place() -> None:
    assert [_name(path) for path in MODULES if _grows(path)] == ["model/backoff.py"]


def test_forms_of_ids_and_addresses_are_written_once() -> None:
    """The JSON schema's patterns, which allow upper case, are beside the validators in model/vif.py."""
    uuid, mac = "[0-9a-f]{4}){3}-[0-9a-f]{12}", ":[0-9a-f]{2}){5}"
    assert [_name(path) for path in MODULES if uuid in path.read_text().lower().replace("a-fa-f", "a-f")] == [
        "model/vif.py",
        "naming.py",
    ]
    assert [_name(path) for path in MODULES if mac in path.read_text()] == ["naming.py"]


def test_tests_lie_in_folders_by_subject_and_what_they_share_in_support() -> None:
    offenders: list[str] = []
    for kind in ("unit", "functional"):
        for path in sorted((TESTS / kind).rglob("*.py")):
            name = str(path.relative_to(TESTS))
            if path.name in ("__init__.py", "conftest.py"):
                continue
            if not path.name.startswith("test_"):
                offenders.append(f"{name} is no test: tests/support is its place")
            elif path.parent == TESTS / kind and path.name not in TESTS_OF_TESTS:
                offenders.append(f"{name} lies in no folder")
    offenders += [f"{path.relative_to(TESTS)} is a test" for path in (TESTS / "support").rglob("test_*.py")]
    _must_be_empty(iter(offenders))


def test_test_folders_stay_small_enough_to_be_read_by_their_names() -> None:
    folders = [folder for kind in ("unit", "functional", "support") for folder in (TESTS / kind).rglob("*")]
    sizes = {folder: len(list(folder.glob("*.py"))) for folder in folders if folder.is_dir()}
    _must_be_empty(
        f"{folder.relative_to(TESTS)} has {size} files"
        for folder, size in sizes.items()
        if size > TEST_FOLDER_FILES_MAX
    )


def test_public_names_are_sorted_and_importable() -> None:
    assert vifplug.__all__ == sorted(vifplug.__all__)
    for name in vifplug.__all__:
        assert getattr(vifplug, name) is not None
