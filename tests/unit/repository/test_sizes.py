"""The sizes of files and functions: a warning lists what to look at, a failure what is refused (CONTRIBUTING)."""

from __future__ import annotations

import ast
import functools
import pathlib
import warnings
from collections.abc import Sequence

import pytest

REPOSITORY = pathlib.Path(__file__).parents[3]
SOURCES = sorted(
    path for folder in ("vifplug", "tests", "tools", "examples") for path in (REPOSITORY / folder).rglob("*.py")
)
SCRIPTS = sorted(path for path in (REPOSITORY / "tools").iterdir() if path.is_file())
LINES_LOOK, LINES_MAX = 300, 450
FUNCTION_LINES_LOOK, FUNCTION_LINES_MAX = 40, 60
PARAMETERS_MAX = 6
FILES_BEYOND = {
    "tests/unit/api/test_client.py",
    "tests/unit/api/test_client_events.py",
    "tests/unit/cli/test_cli.py",
    "tests/unit/daemon/test_daemon_api.py",
    "tests/unit/daemon/test_daemon_peers.py",
    "tests/unit/daemon/test_external_events.py",
    "tests/unit/daemon/test_notifier.py",
    "tests/unit/doctor/test_doctor.py",
}
"""Tests that were beyond the limit before it was checked here; each leaves this list when it is split."""


class Look(UserWarning):
    """A file or function to look at."""


def _name(path: pathlib.Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _lines(path: pathlib.Path) -> int:
    return path.read_text().count("\n")


@functools.cache
def _functions(path: pathlib.Path) -> Sequence[tuple[ast.FunctionDef | ast.AsyncFunctionDef, int]]:
    nodes = ast.walk(ast.parse(path.read_text()))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [(node, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions]


def _long_files(most: int) -> list[str]:
    return [f"{_name(path)}: {_lines(path)} lines" for path in (*SOURCES, *SCRIPTS) if _lines(path) > most]


def _long_functions(most: int) -> list[str]:
    functions = [(path, *function) for path in SOURCES for function in _functions(path)]
    return [f"{_name(path)}: {node.name}: {lines} lines" for path, node, lines in functions if lines > most]


def _look_at(offenders: list[str], limit: str) -> None:
    if offenders:
        warnings.warn(Look("\n".join([f"over {limit}:", *offenders])), stacklevel=2)


@pytest.mark.filterwarnings("default:over .* lines:UserWarning")
def test_files_stay_below_their_limit() -> None:
    _look_at(_long_files(LINES_LOOK), f"{LINES_LOOK} lines (look whether the file holds two ideas)")
    offenders = [line for line in _long_files(LINES_MAX) if line.split(":")[0] not in FILES_BEYOND]
    assert not offenders, "\n".join(offenders)


@pytest.mark.filterwarnings("default:over .* lines:UserWarning")
def test_functions_stay_below_their_limit() -> None:
    _look_at(_long_functions(FUNCTION_LINES_LOOK), f"{FUNCTION_LINES_LOOK} lines (look whether it does two things)")
    offenders = _long_functions(FUNCTION_LINES_MAX)
    assert not offenders, "\n".join(offenders)


def test_files_beyond_the_limit_are_still_beyond_it() -> None:
    split = [name for name in sorted(FILES_BEYOND) if _lines(REPOSITORY / name) <= LINES_MAX]
    assert not split, f"{split} are short enough: take them off FILES_BEYOND"


def test_functions_have_few_parameters() -> None:
    offenders = []
    for path in (path for path in SOURCES if path.is_relative_to(REPOSITORY / "vifplug")):
        for node, _lines_of in _functions(path):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len([argument for argument in arguments if argument.arg not in ("self", "cls")])
            if count > PARAMETERS_MAX:
                offenders.append(f"{_name(path)}: {node.name} has {count} parameters")
    assert not offenders, "\n".join(offenders)
