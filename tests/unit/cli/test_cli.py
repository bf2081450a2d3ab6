"""The command line against a library that only takes notes: exit codes, streams, texts."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.command_line import (
    DOCUMENT,
    DRIFT,
    INSTANCE,
    ORPHAN,
    OTHER_ID,
    REPORT,
    VIF_ID,
    Notes,
    PlanNotes,
    Result,
    Run,
)
from tests.support.daemon import scripted_daemon
from vifplug import errors
from vifplug.cli import main, tables, verbs
from vifplug.cli.arguments import parser
from vifplug.cli.layout import Screen
from vifplug.daemon.process import supervisor
from vifplug.model import durations, reports
from vifplug.model.claims import CHECKED

# Usage


@pytest.mark.parametrize(
    "argv",
    [
        ("-v",),
        ("frobnicate",),
        ("list", "--frobnicate"),
        ("list", "surplus"),
        ("show",),
        ("show", VIF_ID, OTHER_ID),
        ("plug",),
        ("plug", "x", "--format", "yaml"),
        ("list", "-o", "xml"),
        ("unplug",),
        ("unplug", VIF_ID, "-f", "x"),
        ("unplug", VIF_ID, "--instance", INSTANCE),
        ("repair",),
        ("repair", "--all", VIF_ID),
        ("list", "--local", "--socket", "/x"),
        ("--local", "list", "--socket", "/x"),
        ("diagram", VIF_ID, OTHER_ID),
        ("diagram", VIF_ID, "--format", "png"),
        ("events", "--since", "-1"),
        ("events", "--since", "x"),
        ("events", "--since", "9" * 20),
        ("events", "--since", "5w"),
        ("events", "--since", "25:00"),
        ("history",),
        ("history", VIF_ID, OTHER_ID),
        ("repair", "--dry-run"),
        ("wait",),
        ("wait", VIF_ID, "--for", "plugging"),
        ("wait", VIF_ID, "--timeout", "-1"),
        ("wait", VIF_ID, "--timeout", "nan"),
    ],
)
def test_usage_error_is_exit_2_one_line_and_the_host_is_not_opened(
    run: Run, library: Notes, argv: tuple[str, ...]
) -> None:
    result = run(*argv)
    assert (result.code, result.out, library.calls) == (2, "", [])
    assert result.err.startswith("vifplug: error: ") and result.err.count("\n") == 1


@pytest.mark.parametrize(
    "argv", [("-o", "json", "list", "--bogus"), ("list", "--bogus", "-ojson"), ("--output=json", "no")]
)
def test_usage_error_with_json_is_json(run: Run, argv: tuple[str, ...]) -> None:
    result = run(*argv)
    assert (result.code, result.out, result.error["type"]) == (2, "", "InputError")


def test_unknown_flag_text_in_full(run: Run) -> None:
    assert run("check", "--bogus").err == (
        "vifplug: error: unrecognized arguments: --bogus; see `vifplug check --help`\n"
    )


@pytest.mark.parametrize(
    "argv",
    [
        ("-o", "json", "--config-file", "c", "check", VIF_ID, OTHER_ID),
        ("check", VIF_ID, OTHER_ID, "-o", "json", "--config-file", "c"),
        ("-o", "json", "check", VIF_ID, "--config-file=c", OTHER_ID),
        ("--config-file", "c", "check", "-ojson", VIF_ID, "--local", OTHER_ID),
    ],
)
def test_common_options_stand_before_or_after_the_verb(run: Run, library: Notes, argv: tuple[str, ...]) -> None:
    result = run(*argv)
    assert json.loads(result.out) == {**reports.CheckReport().as_json(), "clean": True, "vifs": [], "orphans": []}
    assert library.calls == [("open", "c"), ("check", [VIF_ID, OTHER_ID])]


def test_every_verb_of_the_parser_has_its_function(run: Run) -> None:
    text = run("--help").out
    for verb in verbs.VERBS:
        assert f"\n    {verb} " in text
        assert run(verb, "--help").code == 0
    assert verbs.VERBS.keys() | {"help"} == parser.verbs(parser.build()).keys()


def test_version_is_one_line(run: Run) -> None:
    result = run("--version")
    assert result.code == 0 and result.out.startswith("vifplug ") and result.out.count("\n") == 1


def test_daemon_says_its_version_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        supervisor.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"vifplugd {importlib.metadata.version('vifplug')}\n"


@pytest.mark.parametrize("argv", [("--help",), ("--version",), ("schema",), ("plug", "/nowhere")])
def test_start_is_lean(argv: tuple[str, ...]) -> None:
    script = (
        "import sys; from vifplug.cli.main import main; main(sys.argv[1:]); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'pyroute2', 'ovsdbapp', 'oslo_privsep', 'oslo_config', 'rich'}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_module_runs_as_a_script() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vifplug.cli.main", "schema"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["properties"]["vif_type"]


# Ids


def test_ids_are_lowered_and_asked_once(run: Run, library: Notes) -> None:
    run("check", VIF_ID.upper(), VIF_ID)
    assert library.calls[-1] == ("check", [VIF_ID])


# plug


def test_plug_prints_the_vif_as_plain_columns(run: Run, document: str) -> None:
    result = run("plug", document)
    assert (result.code, result.err) == (0, "")
    header, row = result.out.splitlines()
    headers = "ID TYPE STATE ADDRESS MTU BRIDGE DEVICES OFPORTS INSTANCE NOTE"
    assert header.split() == headers.split()
    assert row.split(maxsplit=9) == [
        VIF_ID,
        "ovs-hybrid",
        "plugged",
        "fa:16:3e:eb:5e:26",
        "1450",
        "br-int",
        "qbr71a6b0e4-1a,qvo71a6b0e4-1a",
        "3",
        "vm-1",
        "waits for tap71a6b0e4-1a",
    ]


def test_plug_json_is_pure_and_warnings_go_to_stderr(run: Run, library: Notes, document: str) -> None:
    warned = reports.VifReport(id=VIF_ID, state="plugged", warnings=("datapath_type 'x' is\nignored",))
    library.answers["plug"] = [warned]
    result = run("plug", document, "-o", "json")
    assert json.loads(result.out) == {"vifs": [warned.as_json()]}
    assert result.err == "vifplug: warning: datapath_type 'x' is\\nignored\n"


def test_plug_options_reach_the_vif(run: Run, library: Notes, document: str) -> None:
    run("plug", document, "--mtu", "1442", "--instance-uuid", INSTANCE.upper(), "--instance-name", "vm-1")
    (vif,) = library.calls[-1][1]
    assert vif.network.mtu == 1442
    assert (vif.instance.uuid, vif.instance.name) == (INSTANCE, "vm-1")


def test_plug_reads_stdin(run: Run, library: Notes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + json.dumps(DOCUMENT).encode())))
    assert run("plug", "-").code == 0
    assert library.calls[-1][1][0].id == VIF_ID


def test_plug_instance_name_alone_needs_an_instance_in_the_document(run: Run, library: Notes, document: str) -> None:
    result = run("plug", document, "--instance-name", "vm-9")
    assert (result.code, library.calls) == (2, [])
    assert result.err == (
        f"vifplug: error: --instance-name 'vm-9': the document has no instance for VIF {VIF_ID}; "
        "give --instance-uuid as well\n"
    )
    Path(document).write_text(json.dumps(DOCUMENT | {"instance": {"uuid": INSTANCE}}))
    assert run("plug", document, "--instance-name", "vm-9").code == 0
    assert library.calls[-1][1][0].instance.name == "vm-9"


def test_plug_dry_run_prints_the_plan_and_plugs_nothing(run: Run, library: Notes, document: str) -> None:
    assert run("plug", document, "--dry-run").out == "create bridge qbr71a6b0e4-1a\n"
    assert json.loads(run("plug", document, "--dry-run", "-o", "json").out) == PlanNotes().as_json()
    library.answers["plan"] = PlanNotes(actions=())
    assert "plug" not in dict(library.calls)


@pytest.mark.parametrize("value", ["67", "65522", "-1", "big", "1450.5", ""])
def test_plug_mtu_out_of_bounds_names_the_option(run: Run, library: Notes, document: str, value: str) -> None:
    result = run("plug", document, "--mtu", value)
    assert (result.code, library.calls) == (2, [])
    assert "--mtu" in result.err and "a whole number from 68 to 65521" in result.err


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon"])
def test_plug_timeout_must_be_a_time(run: Run, document: str, value: str) -> None:
    result = run("plug", document, "--timeout", value)
    assert result.code == 2 and "--timeout" in result.err


@pytest.mark.parametrize(
    ("option", "value"), [("--instance-uuid", "vm-1"), ("--instance-name", ""), ("--instance-name", "x" * 256)]
)
def test_plug_instance_options_are_checked(run: Run, document: str, option: str, value: str) -> None:
    result = run("plug", document, option, value)
    assert result.code == 2 and option in result.err


def test_file_that_cannot_be_read_is_one_line_and_exit_2(run: Run, library: Notes, tmp_path: Path) -> None:
    missing, folder = str(tmp_path / "none.json"), str(tmp_path)
    assert run("plug", missing).err == f"vifplug: error: cannot read '{missing}': No such file or directory\n"
    assert run("plug", folder).err == f"vifplug: error: cannot read '{folder}': Is a directory\n"
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff\x00")
    (tmp_path / "empty").write_text(" \n")
    for argv in (("plug", "binary"), ("plug", "empty"), ("unplug", "-f", "empty")):
        result = run(*argv[:-1], str(tmp_path / argv[-1]))
        assert (result.code, result.err.count("\n"), library.calls) == (2, 1, [])


def test_empty_or_closed_stdin_is_exit_2(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert run("plug", "-").err == (
        "vifplug: error: 'stdin' is empty; give a JSON or YAML document with one VIF or a list of them\n"
    )
    monkeypatch.setattr("sys.stdin", None)
    assert run("plug", "-").err == "vifplug: error: cannot read 'stdin': it is closed\n"


# unplug


@pytest.mark.parametrize(
    "text",
    [
        f"{VIF_ID}\n\n# by hand\n{OTHER_ID.upper()}  # too\n",
        json.dumps([VIF_ID, OTHER_ID]),
        json.dumps([DOCUMENT, {"id": OTHER_ID, "binding:vif_type": "unbound"}]),
        json.dumps({"ports": [{"id": VIF_ID}, {"id": OTHER_ID}]}),
        json.dumps(
            [
                {"port": {"id": VIF_ID}},
                {"versioned_object.name": "VIFBridge", "versioned_object.data": {"id": OTHER_ID}},
            ]
        ),
    ],
)
def test_unplug_file_holds_ids_or_documents(run: Run, library: Notes, tmp_path: Path, text: str) -> None:
    (tmp_path / "gone").write_text(text)
    assert run("unplug", "-f", str(tmp_path / "gone")).code == 0
    assert library.calls[-1] == ("unplug", [VIF_ID, OTHER_ID])


@pytest.mark.parametrize("text", ["[null]", "[{}]", "[[]]", "not an id", '["x"]', "[1", '{"id": 7}'])
def test_unplug_file_without_ids_is_exit_2(run: Run, library: Notes, tmp_path: Path, text: str) -> None:
    (tmp_path / "gone").write_text(text)
    result = run("unplug", "-f", str(tmp_path / "gone"))
    assert (result.code, result.err.count("\n"), library.calls) == (2, 1, [])


def test_unplug_says_what_became_of_each(run: Run, library: Notes) -> None:
    gone = reports.VifReport(id=VIF_ID, state="unplugged", vif_type="ovs-hybrid", bridge="br-int")
    library.answers["unplug"] = [gone, reports.VifReport(id=OTHER_ID, state="unplugged")]
    assert [line.split() for line in run("unplug", VIF_ID, OTHER_ID).out.splitlines()] == [
        ["ID", "TYPE", "BRIDGE", "RESULT"],
        [VIF_ID, "ovs-hybrid", "br-int", "unplugged"],
        [OTHER_ID, "-", "-", "absent"],
    ]


# The reading verbs


def test_list_of_nothing_says_so(run: Run, library: Notes) -> None:
    library.answers["list"] = []
    assert run("list").out == "no VIFs\n"
    assert run("list", "-o", "json").out == '{\n  "vifs": []\n}\n'


def test_show_prints_one_vif(run: Run) -> None:
    assert (
        run("show", VIF_ID).out
        == f"""\
id           {VIF_ID}
vif_type     ovs-hybrid
state        plugged
address      fa:16:3e:eb:5e:26
mtu          1450
bridge       br-int
network      -
waiting_for  tap71a6b0e4-1a
error        -
updated_at   {durations.local("2025-01-01T00:00:00+00:00")}
instance     {INSTANCE} vm-1
device       qbr71a6b0e4-1a kind=bridge mtu=- up=True master=- ifindex=-
device       qvo71a6b0e4-1a kind=veth mtu=- up=- master=- ifindex=-
port         qvo71a6b0e4-1a bridge=br-int ofport=3 tag=-
"""
    )
    assert json.loads(run("show", VIF_ID, "-o", "json").out) == REPORT.as_json()


def test_check_clean_says_so_and_exits_0(run: Run) -> None:
    result = run("check")
    assert (result.code, result.out.splitlines()[0]) == (0, "clean")
    assert result.out.splitlines()[1:] == [CHECKED.sentence("ID")]


def test_check_drift_exits_3_and_names_it(run: Run, library: Notes) -> None:
    drifted = reports.VifCheck(id=VIF_ID, state="drifted", drift=(DRIFT,))
    library.answers["check"] = reports.CheckReport(vifs=(drifted,), orphans=(ORPHAN,))
    result = run("check")
    assert (result.code, result.err) == (3, "")
    assert [line.split() for line in result.out.splitlines()[:-1]] == [
        ["VIF", "SUBJECT", "ATTRIBUTE", "OBSERVED", "DESIRED"],
        [VIF_ID, "qvb71a6b0e4-1a", "mtu", "1400", "1450"],
        [OTHER_ID, "qvo2bc1ec8f-4b", "orphan", "veth", "-"],
    ]
    result = run("check", "-o", "json")
    assert result.code == 3 and json.loads(result.out)["vifs"][0]["drift"] == [DRIFT.as_json()]


def test_repair_all_asks_for_all_and_a_vif_left_wrong_fails(run: Run, library: Notes) -> None:
    assert run("repair", "--all").code == 0
    assert library.calls[-1] == ("repair", None)
    for state, code in (("failed", 1), ("drifted", 1), ("contended", 4)):
        library.answers["repair"] = [REPORT, reports.VifReport(id=OTHER_ID, state=state)]
        assert run("repair", VIF_ID, OTHER_ID).code == code


def test_gc_lists_and_deletes_only_when_requested(run: Run, library: Notes) -> None:
    assert run("gc").out == "no orphans\n"
    library.answers["gc"] = reports.GcReport(orphans=(ORPHAN,))
    assert run("gc").out.splitlines()[1].split() == ["veth", "qvo2bc1ec8f-4b", OTHER_ID, "left"]
    library.answers["gc"] = reports.GcReport(orphans=(ORPHAN,), deleted=(ORPHAN,))
    assert run("gc", "--delete").out.splitlines()[1].split()[-1] == "deleted"
    assert [asked for verb, asked in library.calls if verb == "gc"] == [False, False, True]


def test_diagram_in_all_forms(run: Run) -> None:
    assert "guest  vm-1  up\n" in run("diagram", VIF_ID).out
    assert run("diagram", VIF_ID, "--format", "dot").out.startswith(f'graph "vif {VIF_ID}" {{\n')
    assert [hop["kind"] for hop in json.loads(run("diagram", VIF_ID, "-o", "json").out)["hops"]] == ["guest", "tap"]


def test_what_the_library_could_not_settle_is_a_warning(run: Run, library: Notes) -> None:
    library.warnings = ["an interrupted plug of VIF x could not be settled yet: no answer"]
    result = run("list", "-o", "json")
    assert result.err == "vifplug: warning: an interrupted plug of VIF x could not be settled yet: no answer\n"
    library.answers["list"] = errors.OvsUnavailable("no answer")
    assert run("list", "-o", "json").error["type"] == "OvsUnavailable"


# Errors


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.UnknownVif(f"no VIF {VIF_ID} is recorded", VIF_ID), 2, f"no VIF {VIF_ID} is recorded"),
        (errors.Conflict("qbr1 is held by VIF x", "qbr1"), 4, "qbr1 is held by VIF x"),
        (
            errors.LinkError("File exists", "qbr1", "create bridge qbr1"),
            1,
            "File exists (at qbr1, in step create bridge qbr1)",
        ),
        (errors.Busy("VIF x is worked on", "x"), 1, "VIF x is worked on; try again"),
        (errors.OvsUnavailable("no answer; try again when it runs"), 1, "no answer; try again when it runs"),
        (errors.InputError("two\nlines"), 2, "two\\nlines"),
    ],
)
def test_error_is_one_line_with_its_exit_code(
    run: Run, library: Notes, error: errors.VifplugError, code: int, text: str
) -> None:
    library.answers["get"] = error
    result = run("show", VIF_ID, "-v")
    assert (result.code, result.out, result.err) == (code, "", f"vifplug: error: {text}\n")


def test_error_as_json(run: Run, library: Notes) -> None:
    library.answers["get"] = errors.TimedOut("vswitchd did not answer", "qvo1", "add port qvo1")
    result = run("show", VIF_ID, "-o", "json")
    assert (result.code, result.out) == (1, "")
    assert result.error == {
        "type": "TimedOut",
        "message": "vswitchd did not answer",
        "step": "add port qvo1",
        "subject": "qvo1",
        "retryable": True,
    }


def test_unexpected_error_is_one_line_and_with_v_a_traceback(run: Run, library: Notes) -> None:
    library.answers["list"] = ZeroDivisionError("oops")
    text = (
        "vifplug: error: internal error: ZeroDivisionError: oops; "
        "please report it with the output of the same command with --debug\n"
    )
    result = run("list")
    assert (result.code, result.err) == (1, text)
    result = run("list", "-v")
    assert result.err.startswith("Traceback ") and result.err.endswith(text)


def test_interrupt_is_exit_130_and_one_line(run: Run, library: Notes) -> None:
    library.answers["list"] = KeyboardInterrupt()
    result = run("list")
    assert (result.code, result.out) == (130, "")
    assert result.err == ("vifplug: error: interrupted; begun work is rolled back, or settled by the next command\n")
    assert run("list", "-o", "json").error["type"] == "Interrupted"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_is_an_exception_in_the_verb_and_handlers_are_put_back(
    run: Run, library: Notes, number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)

    def interrupted_work() -> None:
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            os.kill(os.getpid(), number)  # a second one does not break off the roll-back

    library.answers["list"] = interrupted_work
    result = run("list")
    assert (result.code, library.closed_by) == (code, [SystemExit])
    assert result.err.startswith("vifplug: error: terminated by a signal; ") and result.err.count("\n") == 1
    assert signal.getsignal(number) is before


def test_interrupt_with_a_note_says_that(run: Run, library: Notes) -> None:
    interrupt = KeyboardInterrupt()
    interrupt.add_note("the daemon goes on")
    library.answers["list"] = interrupt
    assert run("list").err == "vifplug: error: interrupted; the daemon goes on\n"


def test_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m vifplug.cli.main schema; echo $? >{tmp_path}/code"
    done = subprocess.run(["bash", "-c", f"({command}) | true"], capture_output=True, text=True, check=True)
    assert (done.stderr, (tmp_path / "code").read_text()) == ("", "0\n")


def test_result_that_cannot_be_written_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vifplug.cli.main", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        "vifplug: error: the command is done, but its result could not be written: "
        "No space left on device (at stdout)\n"
    )


@pytest.mark.parametrize("words", [("-o", "json"), (), ("-v",)], ids=" ".join)
def test_error_is_no_result_though_stderr_is_closed(words: tuple[str, ...]) -> None:
    argv = [sys.executable, "-m", "vifplug.cli.main", *words, "plug", "/nonexistent"]
    command = ["bash", "-c", 'exec "$@" 2>&-', "_", *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_crash_is_no_result_though_there_is_no_stderr(
    library: Notes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library.answers["list"] = RuntimeError("a bug")
    monkeypatch.setattr(sys, "stderr", None)
    assert main.main(["-v", "list"], opener=library.opened) == 1
    sys.stderr.close()  # what stands in for it
    assert capsys.readouterr().out == ""


# The daemon, or this process


@dataclass
class Place:
    """A socket that is configured, and whether a command worked in this process."""

    socket: str
    config_file: str
    library: Notes
    capsys: pytest.CaptureFixture[str]

    def run(self, *argv: str) -> Result:
        code = main.main(["--config-file", self.config_file, *argv])
        return Result(code, *self.capsys.readouterr())

    @property
    def is_local(self) -> bool:
        return bool(self.library.calls)


@pytest.fixture
def place(tmp_path: Path, library: Notes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    @contextlib.contextmanager
    def local(config_file: str) -> Iterator[Notes]:
        library.calls.append(("open", config_file))
        yield library

    monkeypatch.setattr("vifplug.api.local.local", local)
    config_file, path = tmp_path / "vifplug.conf", tmp_path / "s"
    config_file.write_text(f"[daemon]\nsocket = {path}\n")
    return Place(str(path), str(config_file), library, capsys)


def test_daemon_that_answers_is_used(place: Place) -> None:
    vifs = [REPORT.as_json()]
    with scripted_daemon.served(place.socket, scripted_daemon.answer({"vifs": vifs, "warnings": ["a\nb"]})) as daemon:
        for argv in ((), ("--socket", place.socket)):
            result = place.run("list", "-o", "json", *argv)
            assert (result.code, json.loads(result.out)) == (0, {"vifs": vifs})
            assert result.err == "vifplug: warning: a\\nb\n"
    assert (len(daemon.asked), place.is_local) == (2, False)


def test_local_is_local_whether_a_daemon_answers_or_not(place: Place) -> None:
    with scripted_daemon.served(place.socket, scripted_daemon.answer({"vifs": []})) as daemon:
        assert place.run("--local", "list").code == 0
    assert (daemon.connections, place.library.calls[0]) == (0, ("open", place.config_file))


@pytest.mark.parametrize("left", ["nothing", "socket", "file"])
def test_without_a_daemon_it_is_this_process(place: Place, left: str) -> None:
    if left == "socket":
        with socket.socket(socket.AF_UNIX) as each:
            each.bind(place.socket)
    elif left == "file":
        Path(place.socket).touch()
    result = place.run("list", "-o", "json")
    assert (result.code, result.err, place.is_local) == (0, "", True)


@pytest.mark.parametrize("verb", [("list",), ("unplug", VIF_ID)])
def test_named_socket_that_does_not_answer_is_an_error(place: Place, verb: Sequence[str]) -> None:
    result = place.run("--socket", place.socket, *verb)
    assert (result.code, result.out, place.is_local) == (1, "", False)
    assert result.err == (
        f"vifplug: error: no daemon answers on socket '{place.socket}' (No such file or directory); "
        "start vifplugd, or try again with --local\n"
    )
    result = place.run("--socket", place.socket, *verb, "-o", "json")
    assert (result.code, result.error["type"], result.error["subject"]) == (1, "DaemonUnreachable", place.socket)


def test_what_answers_and_is_no_daemon_is_passed_by_with_a_warning(place: Place) -> None:
    with scripted_daemon.served(place.socket, scripted_daemon.text(b"It works!")) as stranger:
        stranger.is_well = False
        result = place.run("list")
        assert (result.code, place.is_local) == (0, True)
        assert result.err.startswith(
            f"vifplug: warning: the program that answers on socket '{place.socket}' is not vifplugd "
        )
        assert result.err.endswith("; this command works without it\n") and result.err.count("\n") == 1
        place.library.calls.clear()
        assert (place.run("list", "--socket", place.socket).code, place.is_local) == (1, False)


def test_socket_that_is_not_for_this_user_is_an_error(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("vifplug.api.http._Connection.connect", refused)  # nothing is denied to root; see test_client
    result = place.run("list")
    assert (result.code, result.out, place.is_local) == (1, "", False)
    assert result.err == (
        f"vifplug: error: no permission to use the daemon's socket '{place.socket}' (Permission denied): "
        "join the group that [daemon] socket_group names, log in anew and try again\n"
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_while_the_daemon_plugs_says_that_it_goes_on(
    place: Place, document: str, number: signal.Signals
) -> None:
    def interrupt(_: object) -> bytes:
        os.kill(os.getpid(), number)
        time.sleep(0.2)
        return b""

    with scripted_daemon.served(place.socket, interrupt):
        result = place.run("plug", document)
    assert result.code == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert result.err.endswith("; the daemon continues the request; `vifplug list` shows the result\n")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("kind", "code"), [("UnknownVif", 2), ("Conflict", 4), ("NotPermitted", 1), ("LinkError", 1), ("ConfigError", 2)]
)
def test_error_of_the_daemon_has_its_exit_code(place: Place, kind: str, code: int) -> None:
    output = scripted_daemon.problem(kind, "no", subject="qvo", step="add port qvo")
    with scripted_daemon.served(place.socket, output):
        assert place.run("show", VIF_ID).err == "vifplug: error: no (at qvo, in step add port qvo)\n"
        result = place.run("show", VIF_ID, "-o", "json")
    assert (result.code, result.out) == (code, "")
    assert result.error == {
        "type": kind,
        "message": "no",
        "step": "add port qvo",
        "subject": "qvo",
        "retryable": False,
    }


# Screens


def test_terminal_gets_a_drawn_table() -> None:
    screen = Screen(terminal=True, color=True, unicode=True)
    assert "─" in tables.vifs([REPORT], screen)
    assert tables.vifs([REPORT], Screen(terminal=True)).isascii()


def test_names_cannot_steer_the_terminal() -> None:
    instance = reports.InstanceReport(uuid=INSTANCE, name="\x1b[2J\u202evm")
    vif = reports.VifReport(id=VIF_ID, state="plugged", instance=instance)
    assert "\\x1b[2J\\u202evm" in tables.single_vif(vif, Screen())
