"""The command's start, which asks the daemon without the modules of the long way, and shows the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import DOCUMENT, OTHER_ID, REPORT, VIF_ID
from tests.support.daemon.scripted_daemon import answer, problem, served
from vifplug.cli import front, tables
from vifplug.cli.layout import Screen
from vifplug.model import durations
from vifplug.model.reports import InstanceReport, VifReport

PLAIN = Screen(terminal=False)
BARE = VifReport(id=OTHER_ID, state="failed", error="no room")
SEEN = replace(REPORT, updated_at="2025-01-01T00:00:00.000Z")
REPORTS = [
    SEEN,
    BARE,
    replace(SEEN, id=OTHER_ID, instance=InstanceReport(uuid=VIF_ID), absent_since="2025-03-01T00:59:59.120Z"),
    replace(SEEN, waiting_for=None, ports=(), devices=(), instance=None, network=VIF_ID),
]
GONE = [replace(REPORT, state="unplugged"), BARE]


TIMES = ("1970-01-01T00:00:00.000Z", "2000-02-29T23:59:59.999Z", "2025-03-30T01:00:00.001Z", "2100-03-01T12:00:00.500Z")


@pytest.mark.parametrize("zone", ["UTC", "Europe/Vienna", "America/St_Johns", "Pacific/Kiritimati"])
def test_times_are_those_of_the_long_way(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert [front._local(text) for text in TIMES] == [durations.local(text) for text in TIMES]
    finally:
        monkeypatch.undo()
        time.tzset()


def shown(verb: str, words: list[str], document: Any) -> str:
    return front._Command([verb, *words]).text(json.loads(json.dumps(document)))


def test_tables_are_those_of_the_long_way() -> None:
    for reports in (REPORTS, REPORTS[:1], []):
        document = {"vifs": [report.as_json() for report in reports], "warnings": []}
        assert shown("list", [], document) == tables.vifs(reports, PLAIN)
    gone = {"vifs": [report.as_json() for report in GONE]}
    assert shown("unplug", [VIF_ID], gone) == tables.unplugged(GONE, PLAIN)
    for report in REPORTS:
        assert shown("show", [VIF_ID], {**report.as_json(), "warnings": []}) == tables.single_vif(report, PLAIN)


@pytest.mark.parametrize(
    "document",
    [
        {"vifs": [], "warnings": ["look"]},
        {"vifs": [replace(REPORT, error="caf\u00e9").as_json()]},
        {"vifs": [replace(REPORT, error="two\nlines").as_json()]},
    ],
)
def test_what_is_not_plain_is_left_to_the_long_way(document: Any) -> None:
    with pytest.raises(front.NotPlainError):
        shown("list", [], document)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["list", "-o", "json"],
        ["list", "--local"],
        ["list", "x"],
        ["--version"],
        ["show"],
        ["show", "web"],
        ["show", VIF_ID.upper()],
        ["plug", "--mtu", "1400", "FILE"],
        ["plug", "-"],
        ["check"],
        ["list", "--socket"],
        ["list", "--socket", "a", "--config-file", "b"],
    ],
    ids=" ".join,
)
def test_command_line_that_is_not_plain_is_left_to_the_long_way(words: list[str]) -> None:
    with pytest.raises((front.NotPlainError, OSError)):
        front._Command(words).request()


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', "[1.5]", "[NaN]", "{} {}", "[]", "{}", '"x"', "", "[" * 10**5, '{"a": "\u00e9"}']
)
def test_document_that_is_not_plain_is_left_to_the_long_way(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(front.NotPlainError):
        front._document(str(tmp_path / "file"))


def run(directory: Path, *words: str, module: str = "vifplug.cli.front") -> subprocess.CompletedProcess[str]:
    program = f"import sys; from {module} import main; code = main(); print(*sorted(sys.modules), file=sys.stderr)"
    argv = [sys.executable, "-c", f"{program}; sys.exit(code)", "--socket", str(directory / "s"), *words]
    environment = {key: value for key, value in os.environ.items() if key != "VIFPLUG_CONFIG_FILE"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL, timeout=60)
    return done


def test_start_imports_nothing_of_pythons_library(tmp_path: Path) -> None:
    (tmp_path / "vif").write_text(json.dumps(DOCUMENT, indent=1))
    with served(str(tmp_path / "s"), answer({"vifs": [REPORT.as_json()], "warnings": []})) as daemon:
        done = run(tmp_path, "plug", str(tmp_path / "vif"))
    assert (done.returncode, done.stdout) == (0, tables.vifs([REPORT], PLAIN) + "\n")
    assert [asked.document for asked in daemon.asked] == [{"plug": DOCUMENT, "format": "auto"}]
    imported = set(done.stderr.split())
    assert not imported & {"re", "enum", "typing", "json", "socket", "http", "argparse", "functools", "dataclasses"}


@pytest.mark.parametrize(
    ("turn", "code", "text"),
    [
        (problem("Conflict", "held by another", status=409, subject="qvo1"), 4, "held by another"),
        (b"", 1, "the outcome is unknown"),
        (answer([1]), 1, "not vifplugd"),
    ],
    ids=["refused", "cut off", "another program"],
)
def test_answer_that_is_not_plain_is_shown_by_the_long_way_without_another_request(
    tmp_path: Path, turn: bytes, code: int, text: str
) -> None:
    (tmp_path / "vif").write_text(json.dumps(DOCUMENT))
    with served(str(tmp_path / "s"), turn) as daemon:
        done = run(tmp_path, "plug", str(tmp_path / "vif"))
    assert (done.returncode, done.stdout) == (code, "")
    assert text in done.stderr.splitlines()[0]
    assert len(daemon.asked) == 1


def test_unplug_of_an_absent_id_looks_for_the_instance_of_that_uuid(tmp_path: Path) -> None:
    absent = {"vifs": [VifReport(id=OTHER_ID, state="unplugged").as_json()], "warnings": []}
    its_vif = replace(REPORT, instance=InstanceReport(uuid=OTHER_ID))
    listed = {"vifs": [its_vif.as_json()], "warnings": []}
    gone = {"vifs": [replace(its_vif, state="unplugged").as_json()], "warnings": []}
    with served(str(tmp_path / "s"), answer(absent), answer(listed), answer(gone)) as daemon:
        done = run(tmp_path, "unplug", OTHER_ID)
    assert done.returncode == 0
    assert VIF_ID in done.stdout
    asked = [request.document for request in daemon.asked]
    assert (asked[0], asked[-1]) == ({"unplug": [OTHER_ID]}, {"unplug": [VIF_ID]})


def test_warnings_of_an_answer_are_shown(tmp_path: Path) -> None:
    with served(str(tmp_path / "s"), answer({"vifs": [REPORT.as_json()], "warnings": ["look out"]})):
        done = run(tmp_path, "list")
    assert (done.returncode, done.stdout) == (0, tables.vifs([REPORT], PLAIN) + "\n")
    assert done.stderr.splitlines()[0] == "vifplug: warning: look out"
