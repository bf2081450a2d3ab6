"""Fixtures of the end-to-end tests, and what their guests said, at the end of a run."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import image as images
from tests.support.world.world import World

HERE = Path(__file__).parent
_TELLING = re.compile(r"GUEST-READY|^\S+ \$ |packets transmitted|FETCHED|LEASED")
"""The lines of a console that are evidence; the rest is in its file."""
_results: list[Path] = []


@dataclass(frozen=True)
class Evidence:
    """Where one test puts what it has to show."""

    directory: Path

    def log(self, name: str) -> Path:
        """A file for a guest's console."""
        return self.directory / f"{name}.log"

    def note(self, text: str) -> None:
        """Something to be shown that no guest says."""
        with (self.directory / "notes.txt").open("a") as notes:
            notes.write(f"{text.rstrip()}\n")

    def keep_logs(self, world: World, name: str = "world") -> None:
        """Keep what a world's daemons have logged, which goes with the world."""
        folder = self.directory / name
        folder.mkdir()
        for log in (*world.directory.glob("*.log"), *world.directory.glob("libvirt/**/*.log")):
            shutil.copy(log, folder)


@pytest.fixture(scope="session")
def results() -> Path:
    """One folder a run: VIFPLUG_E2E_RESULTS, else a new one. It stays."""
    if not _results:
        reported = os.environ.get("VIFPLUG_E2E_RESULTS")
        _results.append(Path(reported) if reported else Path(tempfile.mkdtemp(prefix="vifplug-e2e-")))
        _results[0].mkdir(parents=True, exist_ok=True)
    return _results[0]


@pytest.fixture
def evidence(results: Path, request: pytest.FixtureRequest) -> Evidence:
    """This test's folder."""
    directory = results / re.sub(r"\W+", "-", request.node.name).strip("-")
    directory.mkdir(exist_ok=True)
    return Evidence(directory)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> images.Image:
    """What the guests boot."""
    return images.make(tmp_path_factory.mktemp("image"))


@pytest.fixture
def world(evidence: Evidence) -> Iterator[World]:
    """A namespace of its own with an Open vSwitch that has one bridge, br-int; the test runs inside."""
    with World() as world:
        world.add_bridge("br-int")
        yield world
        evidence.keep_logs(world)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root there is no network namespace to be had."""
    if os.geteuid() == 0:
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="end-to-end tests need root"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was said."""
    for directory in _results:
        terminalreporter.section("what the guests said")
        for log in sorted(path for path in directory.glob("*/*") if path.is_file()):
            terminalreporter.line(f"-- {log.relative_to(directory)}")
            for line in log.read_text().splitlines():
                if log.suffix == ".txt" or _TELLING.search(line):
                    terminalreporter.line(f"   {line}")
        terminalreporter.line(f"all of it: {directory}")
