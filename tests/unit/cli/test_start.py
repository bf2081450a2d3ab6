"""What a command imports that asks the daemon: nothing but Python's own library, and of ours what speaks to the daemon.

Each import is paid by every start; what the daemon takes to answer is less than what pydantic takes to import.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import DOCUMENT, REPORT, VIF_ID
from tests.support.daemon.scripted_daemon import answer, problem, served
from vifplug.cli import arguments
from vifplug.guest.report import FORMATS as GUESTS

SCRIPT = """
import sys
before = set(sys.modules)
from vifplug.cli.main import main
code = main(sys.argv[1:])
for name in sorted(set(sys.modules) - before):
    print(name, getattr(sys.modules[name], "__file__", None) or "", file=sys.stderr)
sys.exit(code)
"""
OF_THE_HOST = (
    "api.local",
    "config.options",
    "model.vif",
    "store",
    "drivers",
    "engine",
    "privileged",
    "daemon",
    "linux",
    "doctor",
)
SLOW = ("importlib.metadata", "sqlite3", "asyncio", "concurrent", "multiprocessing", "xml", "html", "uuid", "hashlib")
VIFS = answer({"vifs": [REPORT.as_json()], "warnings": []})
VIF = answer(REPORT.as_json())
CHECKED = answer({"clean": True, "vifs": [], "orphans": [], "warnings": []})
REACHED = answer({"reached": True, "vifs": [{"id": VIF_ID, "state": "plugged"}]})
PLANNED = answer({"actions": [{"action": "create-bridge", "subject": "qbr", "text": "create bridge qbr"}]})
PORT = {"id": VIF_ID, "mac_address": "fa:16:3e:eb:5e:26", "binding:vif_type": "ovs"}


def start(directory: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A command in an interpreter of its own that finds the daemon by its configuration; and what it imported."""
    config = directory / "vifplug.conf"
    config.write_text(f"[DEFAULT]\nmtu = 1450\nstate_dir = {directory}/state\n\n[daemon]\nsocket = {directory}/s\n")
    argv = [sys.executable, "-c", SCRIPT, "--config-file", str(config), *words]
    environment = {key: value for key, value in os.environ.items() if key != "VIFPLUG_CONFIG_FILE"}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[3])
    return done, done.stderr.splitlines()


@pytest.mark.parametrize("form", [(), ("-o", "json")], ids=["table", "json"])
@pytest.mark.parametrize(
    ("words", "turns"),
    [
        (("plug", "FILE"), [VIFS]),
        (("plug", "PORTS", "--mtu", "1400", "--instance-uuid", VIF_ID, "--instance-name", "web"), [VIFS]),
        (("plug", "FILE", "--dry-run"), [PLANNED]),
        (("plug", "FILE", "--wait", "wired"), [VIFS, REACHED, VIF]),
        (("unplug", VIF_ID), [VIFS]),
        (("unplug", "-f", "PORTS"), [VIFS]),
        (("plug", "--type", "ovs", "--bridge", "br-int"), [VIFS]),
        (("unplug", "vm-1"), [VIFS, VIFS]),
        (("list",), [VIFS]),
        (("list", "--state", "plugged", "--sort", "id"), [VIFS]),
        (("show", "tap71a6b0e4-1a"), [VIFS, VIF]),
        (("show", VIF_ID), [VIF]),
        (("check", VIF_ID), [CHECKED]),
        (("repair", VIF_ID), [VIFS]),
        (("repair", "--all"), [VIFS]),
        (("wait", VIF_ID, "--for", "plugged"), [REACHED, REACHED, VIF]),
        (("gc",), [answer({"orphans": [], "deleted": []})]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_asks_the_daemon_imports_what_it_uses(
    tmp_path: Path, words: tuple[str, ...], turns: list[Any], form: tuple[str, ...]
) -> None:
    files = {"FILE": DOCUMENT, "PORTS": {"ports": [PORT]}}
    for name, document in files.items():
        (tmp_path / name).write_text(json.dumps(document))
    with served(str(tmp_path / "s"), *turns):
        done, imported = start(tmp_path, *(str(tmp_path / word) if word in files else word for word in words), *form)
    assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr
    names = [line.split()[0] for line in imported]
    assert "vifplug.api.remote" in names
    assert [line for line in imported if "-packages" in line] == []
    slow = [*(f"vifplug.{room}" for room in OF_THE_HOST), *SLOW]
    assert [name for name in names if any(f"{name}.".startswith(f"{each}.") for each in slow)] == []


def test_document_is_handed_on_as_it_is_and_refused_in_the_daemons_words(tmp_path: Path) -> None:
    document = [PORT, {"of": ["nobody", 1.5, "é"]}]
    (tmp_path / "ports").write_text(json.dumps(document))
    refused = problem("InputError", "[1].of: no", subject=VIF_ID)
    with served(str(tmp_path / "s"), refused) as daemon:
        done, _ = start(tmp_path, "plug", str(tmp_path / "ports"), "--mtu", "1400", "-o", "json")
    assert [asked.document for asked in daemon.asked] == [{"plug": document, "format": "auto", "mtu": 1400}]
    assert (done.returncode, done.stdout) == (2, "")
    assert json.loads(done.stderr.splitlines()[0])["error"]["message"] == "[1].of: no"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", ()),
        ("{}", ()),
        ("null", ()),
        ('"x"', ()),
        ("7", ()),
        ("not JSON", ()),
        (json.dumps(DOCUMENT | {"address": "x"}), ("--create-tap",)),
        (json.dumps(DOCUMENT), ("--instance-name", "web")),
        (json.dumps(PORT | {"more": "x" * 2**20, "mac_address": "x"}), ()),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else " ".join(value),
)
def test_errors_that_the_daemon_cannot_report_are_reported_before_it_is_asked(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text(text)
    with served(str(tmp_path / "s"), VIFS) as daemon:
        done, _ = start(tmp_path, "plug", str(tmp_path / "file"), *words)
    assert (done.returncode, done.stdout, daemon.asked) == (2, "", [])


@pytest.mark.parametrize("words", [(), ("--socket", "/nowhere"), ("--config-file", "/nowhere"), ("--local",)])
@pytest.mark.parametrize(
    ("document", "said"),
    [
        (DOCUMENT | {"address": "x"}, "address: 'x': it must be a MAC address"),
        (DOCUMENT | {"vif_type": "vhostuser"}, "is 'vhostuser', which has no driver here"),
    ],
)
def test_without_a_daemon_wrong_input_is_reported_first(
    tmp_path: Path, words: tuple[str, ...], document: Any, said: str
) -> None:
    (tmp_path / "file").write_text(json.dumps(document))
    done, lines = start(tmp_path, "plug", str(tmp_path / "file"), *words)
    assert done.returncode == 2 and said in lines[0]
    assert not (tmp_path / "state").exists()


def test_words_that_the_parser_knows_by_heart_are_the_librarys() -> None:
    import vifplug.formats

    assert (arguments.GUESTS, arguments.FORMATS) == (GUESTS, vifplug.formats.FORMATS)


def test_library_loads_neither_doctor_nor_guests_descriptions_to_plug() -> None:
    program = "import sys, vifplug.api.local, vifplug.linux.host; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = [name for name in done.stdout.split() if name.startswith(("vifplug.doctor", "vifplug.guest"))]
    assert not loaded, loaded
