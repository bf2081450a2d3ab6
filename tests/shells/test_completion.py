"""Completion in bash, zsh and fish themselves: the Tab key on a terminal, and manual pages in man and mandoc.

A ring of its own, because of the shells: ``apt-get install zsh fish mandoc``, then ``pytest tests/shells``.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
STARTS = {
    "bash": (["bash", "--norc", "-i"], "source {script}"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit && compinit -u -D && source {script}"),
    "fish": (["fish", "--no-config", "--interactive"], "source {script}"),
}
LINES = (
    ("vifplug unpl", "vifplug unplug "),
    ("vifplug list --sta", "vifplug list --state "),
    ("vifplug list --state dri", "vifplug list --state drifted "),
    ("vifplug -o yaml exampl", "vifplug -o yaml example "),
    ("vifplug plug {directory}/doc", "vifplug plug {directory}/document.json "),
)


@pytest.fixture(autouse=True)
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vifplug in PATH, and a home without configuration of the shells."""
    program = tmp_path / "bin" / "vifplug"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m vifplug.cli.main "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    for name, value in {"HOME": str(tmp_path), "TERM": "dumb", "PS1": "$ ", "INPUTRC": "/dev/null"}.items():
        monkeypatch.setenv(name, value)


class Terminal:
    """A shell on a terminal, and what it has written."""

    def __init__(self, shell: str, tmp_path: Path) -> None:
        if not shutil.which(shell):
            pytest.fail(f"{shell} is missing: apt-get install zsh fish")
        script = tmp_path / f"completion.{shell}"
        script.write_text(subprocess.check_output(["vifplug", "completion", shell], text=True))
        argv, sourced = STARTS[shell]
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvp(argv[0], argv)
        self._text = ""
        self.type(f"{sourced.format(script=script)}; echo rea''dy\n")
        self.await_text("ready")

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._fd, text.encode())

    def await_text(self, wanted: str) -> None:
        """Read until a text was written; what was written before is forgotten then."""
        deadline = time.monotonic() + SECONDS
        while wanted not in self._plain():
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._fd], [], [], left)[0], f"no {wanted!r} in {self._text!r}"
            self._text += os.read(self._fd, 65536).decode(errors="replace")
        self._text = ""

    def _plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\r", "", self._text)

    def close(self) -> None:
        """End the shell."""
        with contextlib.suppress(OSError):
            os.close(self._fd)
        os.kill(self._pid, 9)
        os.waitpid(self._pid, 0)


@pytest.fixture
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    shell = Terminal(request.param, tmp_path)
    yield shell
    shell.close()


@pytest.mark.parametrize("terminal", ["bash", "zsh"], indirect=True)
def test_tab_completes(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "document.json").touch()
    for typed, completed in LINES:
        rest = completed.removeprefix(typed)
        terminal.type(typed.format(directory=tmp_path))
        terminal.type("\t")
        # The end of the line by itself shows that it was completed; the shell echoes what is typed in parts.
        terminal.await_text(rest.format(directory=tmp_path).split("/")[-1].removeprefix("doc").strip())
        terminal.type("\x15")  # discards the line; Ctrl-C would discard what is typed next, too


@pytest.mark.parametrize(("typed", "completed"), LINES)
def test_fish_completes(tmp_path: Path, typed: str, completed: str) -> None:
    (tmp_path / "document.json").touch()
    script = tmp_path / "vifplug.fish"
    script.write_text(subprocess.check_output(["vifplug", "completion", "fish"], text=True))
    line = typed.format(directory=tmp_path)
    words = ["fish", "--no-config", "-c", f"source {script}; complete -C '{line}'"]
    offered = [word.split("\t")[0] for word in subprocess.check_output(words, text=True).splitlines()]
    assert offered == [completed.format(directory=tmp_path).split()[-1]]


def test_manual_pages_render_without_warnings(tmp_path: Path) -> None:
    directory = tmp_path / "man1"
    subprocess.check_call(["vifplug", "-q", "man", "--directory", str(directory)])
    pages = sorted(map(str, directory.glob("*.1")))
    assert pages
    for words in (
        ["mandoc", "-Tlint", "-W", "warning"],
        ["groff", "-ww", "-man", "-Tutf8"],
        ["man", "--warnings", "-l"],
    ):
        done = subprocess.run([*words, *pages], capture_output=True, text=True, check=True)
        assert done.stderr == "" and (words[0] != "mandoc" or done.stdout == ""), words
