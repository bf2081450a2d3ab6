"""What is made from the parser: the reference of the site, the manual pages, completion."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.command_line import OTHER_ID, REPORT, VIF_ID, Run
from vifplug.cli.arguments import parser
from vifplug.cli.reference import completion, examples, shells
from vifplug.cli.reference.completion import FILES, candidates
from vifplug.cli.reference.pages import pages
from vifplug.model import reports

ROOT = Path(__file__).parents[3]
OTHER = reports.VifReport(id=OTHER_ID, state="failed")

# The site's page


def test_reference_of_the_site_is_current(run: Run) -> None:
    made = run("man", "--format", "markdown").out
    assert (ROOT / "docs/reference/cli.md").read_text() == made, "vifplug man --format markdown >docs/reference/cli.md"


def test_every_verb_and_option_is_on_a_page() -> None:
    listed = {
        page.command: {name for group in page.groups for argument in group.arguments for name in argument.names}
        for page in pages()
    }
    for name, verb in parser.verbs(parser.build()).items():
        assert verb._option_string_actions.keys() <= listed[f"vifplug {name}"] | listed["vifplug"]


def test_there_are_examples_of_every_verb() -> None:
    assert examples.EXAMPLES.keys() == {"", *parser.verbs(parser.build())}


@pytest.mark.parametrize("command", [command for lines in examples.EXAMPLES.values() for command, _text in lines])
def test_every_example_can_be_parsed(command: str) -> None:
    commands = [part.strip().removesuffix(")") for part in re.split(r" \| |\$\(", command)]
    ours = [part.split() for part in commands if part.startswith("vifplug ") and not part.startswith("vifplug help")]
    values = {"UUID": VIF_ID, "libvirt-qemu:kvm": "root:root"}
    for words in ours:
        parser.parse([values.get(word, word) for word in words[1:] if not word.startswith(">")])


# Manual pages


@pytest.fixture
def manual(run: Run, tmp_path: Path) -> Sequence[Path]:
    assert run("man", "--directory", str(tmp_path)).code == 0
    return sorted(tmp_path.glob("*.1"))


def test_there_is_a_manual_page_of_each_verb(manual: Sequence[Path], run: Run) -> None:
    assert {path.stem for path in manual} == {page.name for page in pages()}
    source = run("man", "unplug").out
    assert source.startswith(".TH VIFPLUG-UNPLUG 1 ") and "\\fB\\-\\-dry\\-run\\fR" in source
    assert run("man", "unplgu").code == 2
    assert run("man", "--directory", "/proc/x").err.startswith("vifplug: error: cannot write to '/proc/x': ")


def test_manual_pages_have_one_date_in_a_reproducible_build(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1764547200")
    assert '.TH VIFPLUG 1 2025-12-01 "' in run("man").out


@pytest.mark.skipif(not shutil.which("groff"), reason="groff renders manual pages")
def test_manual_pages_render_without_warnings(manual: Sequence[Path]) -> None:
    words = ["groff", "-ww", "-man", "-Tutf8", *map(str, manual)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    text = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert "--no-headers" in text and "flat:NET|vlan:NET:ID|vxlan:ID" in text


# Completion


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["unpl"], ["unplug"]),
        (["-v", "unpl"], ["unplug"]),
        (["--config-file", "list", "unpl"], ["unplug"]),
        (["list", "--sta"], ["--state"]),
        (["list", "--state", "dr"], ["drifted"]),
        (["list", "--type", "ovs-"], ["ovs-hybrid"]),
        (["list", "--instance", "v"], ["vm-1"]),
        (["list", "--sort", "up"], ["updated"]),
        (["list", "-o", "y"], ["yaml"]),
        (["list", "--output", "=", "y"], ["yaml"]),
        (["list", "--output", "="], ["table", "wide", "name", "json", "yaml"]),
        (["plug", ""], [FILES]),
        (["plug", "--network", "x"], [FILES]),
        (["plug", "--type", "mac"], ["macvtap"]),
        (["--socket", "/x"], [FILES]),
        (["show", "71"], [VIF_ID]),
        (["show", "qv"], ["qvo71a6b0e4-1a"]),
        (["show", "tap7"], ["tap71a6b0e4-1a"]),
        (["show", "vm"], ["vm-1"]),
        (["show", ""], [VIF_ID, OTHER_ID]),
        (["show", VIF_ID, ""], []),
        (["unplug", VIF_ID, "2"], [OTHER_ID]),
        (["unplug", "-f", "x"], [FILES]),
        (["guest", "li"], ["libvirt"]),
        (["guest", "qemu", "7"], [VIF_ID]),
        (["wait", "71", "--for", "a"], ["active"]),
        (["completion", "z"], ["zsh"]),
        (["example", "v"], ["vhost-user", "vf"]),
        (["help", "unp"], ["unplug"]),
        (["man", "unp"], ["unplug"]),
        (["schema", ""], []),
        (["nonsense", ""], []),
    ],
)
def test_candidates(words: list[str], expected: list[str]) -> None:
    assert [word for word, _text in candidates(words, lambda: [REPORT, OTHER])] == expected


def test_candidates_are_described_and_need_no_quoting() -> None:
    evil = reports.VifReport(id=VIF_ID, state="x", instance=reports.InstanceReport(uuid=OTHER_ID, name="a b;$(id)\n"))
    assert candidates(["unplug", ""], lambda: [REPORT]) == [(VIF_ID, "ovs-hybrid tap71a6b0e4-1a plugged vm-1")]
    assert candidates(["unplug", "a"], lambda: [evil]) == []
    described = candidates(["unplug", ""], lambda: [evil])
    assert described == [(VIF_ID, "x a b;$(id)")]


def test_vifs_are_asked_for_only_where_they_are_named() -> None:
    def refuse() -> Sequence[reports.VifReport]:
        raise AssertionError("no VIF is named here")

    for words in (["li"], ["list", "--"], ["plug", ""], ["unplug", "-f", ""], ["example", ""]):
        candidates(words, refuse)


@pytest.mark.parametrize("shell", shells.SCRIPTS)
def test_script_is_printed(run: Run, shell: str) -> None:
    assert run("completion", shell).out == shells.SCRIPTS[shell]


def test_bash_completes(tmp_path: Path) -> None:
    command = tmp_path / "vifplug"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m vifplug.cli.main "$@"\n')
    command.chmod(0o755)
    script = tmp_path / "completion"
    script.write_text(shells.SCRIPTS["bash"])
    words = "COMP_WORDS=(vifplug list --sta); COMP_CWORD=2"
    program = f"source {script}; {words}; _vifplug; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    argv = ["bash", "-c", program]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == ("--state\n", "")


def test_completion_prints_no_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(completion, "candidates", fail)
    result = run("complete-words", "list", "")
    assert (result.code, result.out, result.err) == (0, "", "")
