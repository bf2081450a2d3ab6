"""Fixtures of the functional tests; they need root and Open vSwitch's programs, and touch nothing of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults.faults import AMONG_MANY, IN_PIECES
from tests.support.world.world import DATAPATH_TYPE, World
from vifplug.engine.plan import plan, plug

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not hold on the worlds' datapath; without root there is no network namespace to be had."""
    other = "kernel_datapath" if DATAPATH_TYPE == "netdev" else "userspace_datapath"
    left_out = [item for item in items if HERE in item.path.parents and item.get_closest_marker(other)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if os.geteuid() == 0:
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="functional tests need root"))


@pytest.fixture
def world() -> Iterator[World]:
    """A namespace of its own with an Open vSwitch that has one bridge, br-int; the test runs inside."""
    with World() as world:
        world.add_bridge("br-int")
        yield world


@pytest.fixture(autouse=True)
def crowd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the case ``AMONG_MANY`` plans as if there were many ports already."""
    if _case(request) == AMONG_MANY:
        monkeypatch.setattr(plug, "CROWD", 0)


@pytest.fixture(autouse=True)
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a test of the case ``IN_PIECES`` a plan of two VIFs goes in five calls."""
    if _case(request) == IN_PIECES:
        monkeypatch.setattr(plan, "_TOGETHER_MAX", {"links": 3, "ports": 1})


def _case(request: pytest.FixtureRequest) -> object:
    callspec = getattr(request.node, "callspec", None)
    return None if callspec is None else callspec.params.get("case")


@pytest.fixture
def samples() -> Path:
    """Real ports, network_info lists and os-vif objects."""
    return HERE.parent / "samples"
