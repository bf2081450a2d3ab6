from __future__ import annotations

import inspect

import msgpack  # type: ignore[import-untyped]
import pytest

from vifplug import errors


def _classes() -> list[type[errors.VifplugError]]:
    found = [cls for _name, cls in inspect.getmembers(errors, inspect.isclass)]
    return [cls for cls in found if issubclass(cls, errors.VifplugError)]


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
    said = [line.split("exit ")[1] for line in drawn if "exit " in line]
    assert all(code == str(cls.exit_code) for code in said)


def test_step_is_filled_in_once() -> None:
    error = errors.LinkError("refused", "qvo", "first")

    assert error.at_step("second", "qvb").args == ("refused", "qvo", "first")
    assert errors.LinkError("refused").at_step("second", "qvb").args == ("refused", "qvb", "second")


def test_teardown_error_lists_all_flat() -> None:
    error = errors.TeardownError.of([errors.LinkError("one"), errors.OvsdbError("two")], "vif")

    assert str(error) == "one; two"
    assert error.exit_code == 1
