from __future__ import annotations

import ast
import inspect
import pathlib

import msgpack  # type: ignore[import-untyped]
import pytest

from vifplug import errors


def _classes() -> list[type[errors.VifplugError]]:
    found = [cls for _name, cls in inspect.getmembers(errors, inspect.isclass)]
    return [cls for cls in found if issubclass(cls, errors.VifplugError)]


def test_errors_are_defined_in_errors_and_nowhere_else() -> None:
    """The client and the privsep channel look a class up by its name there; of one elsewhere only the base is left."""
    own = {cls.__name__ for cls in _classes()}
    root = pathlib.Path(errors.__file__).parent
    strays = [
        f"{path.relative_to(root)}: {node.name}"
        for path in root.rglob("*.py")
        if path != pathlib.Path(errors.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and own & {ast.unparse(base).split(".")[-1] for base in node.bases}
    ]
    assert not strays, f"belongs into vifplug/errors.py: {strays}"


@pytest.mark.parametrize("cls", _classes())
def test_error_survives_the_privsep_channel(cls: type[errors.VifplugError]) -> None:
    error = cls("could not set link 'qvo': no such device", "qvo", "set qvo: up")
    arguments = msgpack.unpackb(msgpack.packb(error.args), use_list=False)

    again = cls(*arguments)

    assert (str(again), again.subject, again.step) == (str(error), "qvo", "set qvo: up")
    assert again.args == error.args


@pytest.mark.parametrize("cls", _classes())
def test_error_is_drawn_in_the_tree_with_its_exit_code(cls: type[errors.VifplugError]) -> None:
    drawn = [line for line in (errors.__doc__ or "").splitlines() if f"{cls.__name__} " in line + " "]
    assert drawn, f"{cls.__name__} is missing from the tree at the top of errors.py"
    output = [line.split("exit ")[1] for line in drawn if "exit " in line]
    assert all(code == str(cls.exit_code) for code in output)


def test_step_is_filled_in_once() -> None:
    error = errors.LinkError("refused", "qvo", "first")

    assert error.at_step("second", "qvb").args == ("refused", "qvo", "first")
    assert errors.LinkError("refused").at_step("second", "qvb").args == ("refused", "qvb", "second")


def test_teardown_error_lists_all_flat() -> None:
    error = errors.TeardownError.of([errors.LinkError("one"), errors.OvsdbError("two")], "vif")

    assert str(error) == "one; two"
    assert error.exit_code == 1
