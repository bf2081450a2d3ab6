"""The command line against a library that only takes notes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import DOCUMENT, Notes, Result, Run
from vifplug.cli import main


@pytest.fixture
def library() -> Notes:
    return Notes()


@pytest.fixture
def run(library: Notes, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: str) -> Result:
        code = main.main(list(argv), opener=library.opened)
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def document(tmp_path: Path) -> str:
    file = tmp_path / "vif.json"
    file.write_text(json.dumps(DOCUMENT))
    return str(file)
