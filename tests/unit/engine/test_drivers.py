"""Drivers of other packages: found by their entry points, behind vifplug's own, and skipped when they are broken."""

from __future__ import annotations

import json
import logging
import pathlib
from collections.abc import Iterator

import pytest

from tests.support import builders
from vifplug.drivers import registry
from vifplug.drivers.ovs import Ovs
from vifplug.resources import kinds
from vifplug.store import records

MODULE = """
class Theirs:
    vif_type = "theirs"

class Broken:
    def __init__(self):
        raise ValueError("no licence")
"""
ENTRY_POINTS = """
[vifplug.drivers]
theirs = theirs_driver:Theirs
ovs = theirs_driver:Theirs
broken = theirs_driver:Broken
absent = theirs_driver:Absent
missing = no_such_driver:Any
"""


def _install(directory: pathlib.Path, entry_points: str, module: str, text: str) -> None:
    info = directory / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text(entry_points)
    (directory / f"{module}.py").write_text(text)


@pytest.fixture
def _theirs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with drivers is installed."""
    _install(tmp_path, ENTRY_POINTS, "theirs_driver", MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.drivers.cache_clear()
    yield
    registry.drivers.cache_clear()


@pytest.mark.usefixtures("_theirs")
def test_a_working_driver_is_found_and_a_broken_one_is_named(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    found = registry.drivers()
    assert found["theirs"].vif_type == "theirs"
    assert isinstance(found["ovs"], Ovs), "vifplug's own comes first"
    assert not {"broken", "absent", "missing"} & found.keys()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert "skipped the driver of vif_type 'broken' (theirs_driver:Broken): no licence" in lines


KIND = """
from vifplug.resources import kinds
from vifplug.resources.link import Device

kinds.register(type("Theirs", (Device,), {"kind": "their-device"}))

class Theirs:
    vif_type = "theirs"
"""


def test_record_with_a_kind_of_another_package_is_read_before_its_driver_is_needed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path, "[vifplug.drivers]\ntheirs = their_kinds_driver:Theirs\n", "their_kinds_driver", KIND)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("_KINDS", "_PARTS", "_OF_THE_KERNEL"):
        monkeypatch.setattr(kinds, name, dict(getattr(kinds, name)))
    registry.drivers.cache_clear()
    try:
        vif = builders.vif()
        record = {"vif": vif.model_dump(mode="json", exclude_none=True), "state": "plugged", "updated_at": ""}
        resources = [{"kind": "their-device", "name": "eth7", "owner": vif.id}]
        body = json.dumps({**record, "resources": resources, "error": None})
        (read,) = records.from_json(vif.id, body).resources
        assert (read.kind, read.name) == ("their-device", "eth7")
    finally:
        registry.drivers.cache_clear()
