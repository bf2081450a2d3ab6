"""Output formats, columns, filters, help and suggestions."""

from __future__ import annotations

import dataclasses
import json
import logging

import pytest
import yaml

from tests.support.command_line import DRIFT, INSTANCE, ORPHAN, OTHER_ID, REPORT, VIF_ID, Notes, Run
from vifplug import errors
from vifplug.cli import main
from vifplug.guest import GuestReport
from vifplug.model import durations, reports
from vifplug.model.events import Event
from vifplug.model.queries.selection import SORT_KEYS, Selection

OTHER = reports.VifReport(id=OTHER_ID, state="active", vif_type="ovs", bridge="br-ex", mtu=9000)
EVENT = Event(seq=41, vif_id=VIF_ID, state="failed", previous="plugged", time="2026-11-21T07:36:29.104Z")

# -o


def test_yaml_is_the_document_of_json(run: Run) -> None:
    result = run("show", VIF_ID, "-o", "yaml")
    assert yaml.safe_load(result.out) == REPORT.as_json()
    assert result.out.startswith(f"id: {VIF_ID}\nvif_type: ovs-hybrid\n")


def test_error_under_yaml_is_json_which_is_yaml(run: Run, library: Notes) -> None:
    library.answers["get"] = errors.UnknownVif("x", VIF_ID)
    for argv in (("show", VIF_ID, "-o", "yaml"), ("-oyaml", "shwo")):
        result = run(*argv)
        assert (result.code, result.out, result.error["step"]) == (2, "", None)
        assert yaml.safe_load(result.err) == json.loads(result.err)


@pytest.mark.parametrize(
    ("argv", "out"),
    [
        (("list",), [VIF_ID, OTHER_ID]),
        (("show", VIF_ID), [VIF_ID]),
        (("unplug", VIF_ID), [VIF_ID]),
        (("check",), [VIF_ID]),
        (("gc",), ["qvo2bc1ec8f-4b"]),
        (("events",), [VIF_ID]),
    ],
)
def test_name_prints_ids_alone(run: Run, library: Notes, argv: tuple[str, ...], out: list[str]) -> None:
    library.answers["list"] = [REPORT, OTHER]
    drifted = reports.VifCheck(id=VIF_ID, state="drifted", drift=(DRIFT,))
    library.answers["check"] = reports.CheckReport(vifs=(drifted, reports.VifCheck(id=OTHER_ID, state="active")))
    library.answers["gc"] = reports.GcReport(orphans=(ORPHAN,))
    library.answers["events"] = [EVENT]
    assert run(*argv, "-o", "name").out.splitlines() == out


def test_name_of_nothing_prints_nothing(run: Run, library: Notes) -> None:
    library.answers["list"] = []
    assert run("list", "-o", "name").out == ""
    assert run("list", "--no-headers").out == ""


@pytest.mark.parametrize("argv", [("schema",), ("doctor",), ("host-info",), ("example",), ("diagram", VIF_ID)])
def test_verb_without_names_refuses_them_before_it_does_anything(
    run: Run, library: Notes, argv: tuple[str, ...]
) -> None:
    result = run(*argv, "-o", "name")
    assert (result.code, library.calls) == (2, [])
    assert result.err.startswith(f"vifplug: error: {argv[0]} has no -o name; ")


def test_wide_has_every_column(run: Run) -> None:
    header, row = run("list", "-o", "wide").out.splitlines()
    assert header.split()[-3:] == ["NETWORK", "UPDATED", "NOTE"]
    assert durations.local(str(REPORT.updated_at)) in row and "UPDATED" not in run("list").out


def test_columns_are_those_chosen_in_their_order(run: Run) -> None:
    result = run("list", "--columns", "state,ID", "--columns", "updated", "--no-headers")
    assert result.out == f"plugged  {VIF_ID}  {durations.local(str(REPORT.updated_at))}\n"
    assert run("list", "--columns", "instance").out == "INSTANCE\nvm-1\n"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("list", "--columns", "sate"), "list has no column 'SATE' (did you mean 'STATE'?); it has ID, TYPE, "),
        (("list", "--columns", ","), "list has no column ''"),
        (("unplug", VIF_ID, "--columns", "mtu"), "it has ID, TYPE, BRIDGE, RESULT"),
        (("schema", "--columns", "id"), "schema prints no table with columns"),
        (("list", "--columns", "id", "-o", "name"), "those of a table, not of -o name"),
    ],
)
def test_wrong_columns_are_refused_before_anything_is_done(
    run: Run, library: Notes, argv: tuple[str, ...], reason: str
) -> None:
    result = run(*argv)
    assert (result.code, library.calls) == (2, []) and reason in result.err


def test_quiet_prints_errors_only(run: Run, library: Notes, document: str) -> None:
    library.warnings = ["interrupted"]
    result = run("plug", document, "-q")
    assert (result.code, result.out, result.err) == (0, "", "")
    library.answers["check"] = reports.CheckReport(orphans=(ORPHAN,))
    assert run("-q", "check").code == 3
    library.answers["plug"] = errors.Conflict("held")
    assert run("plug", document, "-q").err == "vifplug: error: held\n"


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        ("yaml", ["---", "seq: 41"]),
        ("name", [VIF_ID]),
        ("json", [json.dumps(EVENT.as_json())]),
    ],
)
def test_followed_events_in_each_form(run: Run, library: Notes, form: str, lines: list[str]) -> None:
    library.answers["events"] = [EVENT]
    assert run("events", "--follow", "-o", form).out.splitlines()[: len(lines)] == lines


def test_followed_events_have_the_columns_that_are_chosen(run: Run, library: Notes) -> None:
    library.answers["events"] = [EVENT]
    result = run("events", "--follow", "--columns", "event,seq", "--no-headers")
    assert result.out.split() == ["failed", "41"]


# list


@pytest.mark.parametrize(
    ("argv", "ids"),
    [
        ((), [VIF_ID, OTHER_ID]),
        (("--state", "active"), [OTHER_ID]),
        (("--state", "active,PLUGGED"), [VIF_ID, OTHER_ID]),
        (("--state", "active", "--state", "plugged"), [VIF_ID, OTHER_ID]),
        (("--state", "failed"), []),
        (("--type", "ovs"), [OTHER_ID]),
        (("--type", "ovs,ovs-hybrid", "--state", "plugged"), [VIF_ID]),
        (("--instance", "vm-1"), [VIF_ID]),
        (("--instance", INSTANCE.upper()), [VIF_ID]),
        (("--instance", "VM-1"), []),
        (("--bridge", "br-ex"), [OTHER_ID]),
        (("--bridge", "qbr71a6b0e4-1a"), [VIF_ID]),
        (("--sort", "id"), [OTHER_ID, VIF_ID]),
        (("--sort", "mtu"), [VIF_ID, OTHER_ID]),
        (("--sort", "instance"), [VIF_ID, OTHER_ID]),  # the one without an instance is last
        (("--sort", "state"), [OTHER_ID, VIF_ID]),
    ],
)
def test_list_selects_and_sorts(run: Run, library: Notes, argv: tuple[str, ...], ids: list[str]) -> None:
    library.answers["list"] = [REPORT, OTHER]
    assert run("list", "-o", "name", *argv).out.split() == ids


@pytest.mark.parametrize("key", SORT_KEYS)
def test_every_key_sorts_any_vif(key: str) -> None:
    damaged = reports.VifReport(id=VIF_ID, state="failed")
    assert len(Selection(sort=key).of([damaged, REPORT, OTHER, damaged])) == 4


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (("--state", "drifte"), "(did you mean 'drifted'?)"),
        (("--state", ""), "'' is not a state"),
        (("--type", "OVS"), "'OVS' is not a vif_type"),
        (("--sort", "sate"), "(did you mean 'state'?); it must be one of id, type, "),
    ],
)
def test_wrong_filter_is_refused(run: Run, library: Notes, argv: tuple[str, ...], reason: str) -> None:
    result = run("list", *argv)
    assert (result.code, library.calls) == (2, []) and reason in result.err


# Help


def test_without_words_it_prints_help(run: Run) -> None:
    result = run()
    assert (result.code, result.err) == (0, "")
    assert result.out == run("--help").out == run("help").out
    assert "\nexamples:\n" in result.out and "Exit codes: 0 done;" in " ".join(result.out.split())


def test_every_verb_has_help_with_examples(run: Run) -> None:
    from vifplug.cli.arguments import parser

    for verb in parser.verbs(parser.build()):
        result = run("help", verb)
        assert (result.code, result.out) == (0, run(verb, "--help").out)
        assert "\nexamples:\n  " in result.out, verb


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (("lsit",), "there is no verb 'lsit' (did you mean 'list'?); see `vifplug --help`"),
        (("help", "plgu"), "there is no verb 'plgu' (did you mean 'plug'?); see `vifplug --help`"),
        (("list", "--stat", "x"), "(did you mean '--state'?); see `vifplug list --help`"),
        (("plug", "f", "--instance_uuid=x"), "(did you mean '--instance-uuid'?)"),
        (("plug", "f", "--format", "neutron"), "'neutron' is unknown (did you mean 'neutron-port'?)"),
        (("wait", VIF_ID, "--for", "actve"), "(did you mean 'active'?); it must be one of plugged, wired, active"),
        (("list", "-o", "jsn"), "(did you mean 'json'?)"),
        (("-v",), "there is no verb; see `vifplug --help`"),
        (("xyzzy",), "there is no verb 'xyzzy'; see"),
    ],
)
def test_mistyped_word_brings_the_nearest(run: Run, argv: tuple[str, ...], hint: str) -> None:
    result = run(*argv)
    assert result.code == 2 and hint in result.err


# The terminal


def test_nothing_from_outside_steers_the_terminal(run: Run, library: Notes) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e\u2066\x9b\r\nvm\u200f"
    instance = reports.InstanceReport(uuid=INSTANCE, name=evil)
    vif = dataclasses.replace(REPORT, instance=instance, error=evil, bridge=evil, waiting_for=evil)
    library.answers |= {"list": [vif], "get": vif, "events": [dataclasses.replace(EVENT, error=evil)]}
    library.warnings = [evil]
    for argv in (
        ("list",),
        ("show", VIF_ID),
        ("events",),
        ("list", "-o", "wide"),
        ("list", "-o", "yaml"),
        ("list", "-o", "json"),
    ):
        result = run(*argv)
        text = (result.out + result.err).replace("\n", "")
        assert text.isascii() and text.isprintable(), argv
    library.answers["list"] = errors.OvsdbError(evil, evil, evil)
    assert run("list").err[:-1].isprintable() and run("list", "-o", "json").err[:-1].isprintable()
    assert run("list", evil).err[:-1].isprintable()


def test_completion_of_words_answers_whatever_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ((), ("--",), ("-",), ("\udcff",), ("list", "--state", "dr"), ("plug", "-f"), ("=", "=")):
        assert main.main(["complete-words", *words]) == 0
    assert "drifted\n" in capsys.readouterr().out


def test_what_a_verb_prints_by_itself_steers_no_terminal(
    run: Run, library: Notes, capsys: pytest.CaptureFixture[str]
) -> None:
    library.answers["guest"] = GuestReport(
        id=VIF_ID, format="qemu", text="a\x1b]0;x\x07\u202eb\x9b\n\tc\x1b[31md\x1b[0m"
    )
    assert run("guest", "qemu", VIF_ID).out == "a\\x1b]0;x\\x07\\u202eb\\x9b\n\tc\x1b[31md\x1b[0m\n"

    def log() -> list[reports.VifReport]:
        logging.getLogger("x").warning("a\x1b[2Jb")
        raise ZeroDivisionError("\x1b[2J")

    library.answers["list"] = log
    err = run("list", "-v").err
    assert "\x1b" not in err and "a\\x1b[2Jb" in err and "Traceback" in err
