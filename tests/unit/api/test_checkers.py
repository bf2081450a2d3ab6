"""What a checker sees of the library: small compute drivers pass the strictest ones, and a name there is not is
refused."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import pytest

SUPPORT = pathlib.Path(__file__).parents[2] / "support"
DRIVER, ASYNC_DRIVER = SUPPORT / "typed_driver.py", SUPPORT / "typed_async_driver.py"
MISTAKES = {
    "conect": ("vifplug.connect(", "vifplug.conect("),
    "divices": ("report.devices", "report.divices"),
    "unplugg": ("host.plug(vifs)", "host.unplugg(ids)"),
    "expect": ("timeout=60", 'timeout="60"'),
}
"""What each is found by, and the change that makes it."""
ASYNC_MISTAKES = {
    "conect": ("aio.connect(", "aio.conect("),
    "await": ("await host.list()", "host.list()"),
    "timeout": ("timeout=60", "timout=60"),
    "sequence": ("event.seq", "event.sequence"),
}


@pytest.fixture
def wrong(tmp_path: pathlib.Path) -> dict[str, pathlib.Path]:
    """The driver with one mistake each."""
    files: dict[str, pathlib.Path] = {}
    for driver, mistakes in ((DRIVER, MISTAKES), (ASYNC_DRIVER, ASYNC_MISTAKES)):
        text = driver.read_text()
        for name, (right, mistake) in mistakes.items():
            assert text.count(right) == 1
            files[f"{driver.stem}.{name}"] = tmp_path / f"{driver.stem}_with_{name}.py"
            files[f"{driver.stem}.{name}"].write_text(text.replace(right, mistake))
        (tmp_path / f"right_{driver.name}").write_text(text)
    return files


def _complaints(lines: list[tuple[str, str]], wrong: dict[str, pathlib.Path]) -> dict[str, list[str]]:
    assert [line for line in lines if line[0].startswith("right_")] == []
    return {name: [text for file, text in lines if file == path.name] for name, path in wrong.items()}


def _must_name_each(found: dict[str, list[str]]) -> None:
    for driver, texts in found.items():
        name = driver.rpartition(".")[2]
        # Of a coroutine that is not awaited checkers say different things; that they refuse it is enough.
        assert texts if name in ("await", "timeout") else any(name in text for text in texts), (driver, texts)


def test_drivers_are_as_short_as_documented() -> None:
    for driver in (DRIVER, ASYNC_DRIVER):
        lines = driver.read_text().splitlines()
        assert len([line for line in lines if line and not line.startswith(('"', "from", "import"))]) <= 20


def test_mypy_strict_takes_the_drivers_and_refuses_each_mistake(
    tmp_path: pathlib.Path, wrong: dict[str, pathlib.Path]
) -> None:
    argv = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "."]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path)
    lines = [(file, text) for file, text in re.findall(r"^(\S+\.py):\d+: error: (.*)$", done.stdout, re.MULTILINE)]
    assert done.returncode == 1 and lines, done
    _must_name_each(_complaints(lines, wrong))


@pytest.mark.skipif(not importlib.util.find_spec("basedpyright"), reason="no basedpyright: tools/setup installs it")
def test_pyright_strict_takes_the_drivers_and_refuses_each_mistake(
    tmp_path: pathlib.Path, wrong: dict[str, pathlib.Path]
) -> None:
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "include": ["*.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    argv = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path)
    reported = json.loads(done.stdout)["generalDiagnostics"]
    lines = [(pathlib.Path(each["file"]).name, each["message"]) for each in reported]
    assert done.returncode == 1 and lines, done
    _must_name_each(_complaints(lines, wrong))
