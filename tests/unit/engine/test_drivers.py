"""Drivers of other packages: found by their entry points, behind vifplug's own, and skipped when they are broken."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator

import pytest

from vifplug.drivers import registry
from vifplug.drivers.ovs import Ovs

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


@pytest.fixture
def _theirs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with drivers is installed."""
    info = tmp_path / "theirs-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "theirs_driver.py").write_text(MODULE)
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
