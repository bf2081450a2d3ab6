"""The library takes VIFs' ids in either case, and nothing else."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import builders
from tests.support.fake_host import FakeHost
from vifplug.api.local import LocalHost
from vifplug.errors import InputError
from vifplug.model.types import each_once

ID = builders.TAP
CALLS: dict[str, Callable[[LocalHost, Any], Any]] = {
    "unplug": lambda host, id: host.unplug([id]),
    "get": lambda host, id: host.get(id),
    "progress": lambda host, id: host.progress(id),
    "check": lambda host, id: host.check([id]),
    "repair": lambda host, id: host.repair([id]),
    "path": lambda host, id: host.path(id),
    "guest": lambda host, id: host.guest(id, "qemu"),
    "look": lambda host, id: host.look([id], "plugged"),
    "wait": lambda host, id: host.wait([id], "plugged", 0),
}


@pytest.fixture
def host(tmp_path: pathlib.Path) -> LocalHost:
    host = builders.local_host(builders.plugger(tmp_path, FakeHost()))
    host.plug([builders.vif("ovs")])
    return host


@pytest.mark.parametrize("call", CALLS)
def test_capitals_are_the_same_vif(host: LocalHost, call: str) -> None:
    CALLS[call](host, ID.upper())
    assert [vif.id for vif in host.list()] == ([] if call == "unplug" else [ID])


@pytest.mark.parametrize("id", ["", "abc", ID[:-1], f"{ID}\n", f"net:{ID}", "tap81ab5618-df", 5, None, b"x" * 36])
@pytest.mark.parametrize("call", CALLS)
def test_what_is_no_id_is_refused(host: LocalHost, call: str, id: Any) -> None:
    with pytest.raises(InputError, match="is not a VIF's id: it must be a UUID as text"):
        CALLS[call](host, id)
    assert [vif.id for vif in host.list()] == [ID]


def test_each_is_named_once_in_order() -> None:
    assert each_once([builders.HYBRID, ID.upper(), ID, builders.HYBRID.upper()]) == [builders.HYBRID, ID]
    with pytest.raises(InputError, match="is one id; give a list"):
        each_once(ID)


def test_vifs_may_come_from_an_iterator_and_none_twice(host: LocalHost) -> None:
    given = [builders.vif(), builders.vif("bridge")]
    assert [vif.id for vif in host.plug(iter(given))] == [vif.id for vif in given]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=f"VIF {given[1].id} is given twice"):
        host.plug([*given, given[1]])
    assert host.plug([]) == []
