"""The verbs that look on: events, wait, and the wait of a plug; and what becomes of them when they are ended."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import OTHER_ID, REPORT, VIF_ID, Notes, Run
from tests.support.daemon import scripted_daemon
from tests.support.daemon.scripted_daemon import Conversation, Script, Turn, chunk, streamed
from vifplug import errors
from vifplug.cli import output
from vifplug.model import durations, reports
from vifplug.model.events import Event, Waited, WaitReport

EVENT = Event(seq=7, vif_id=VIF_ID, state="wired", previous="plugged", instance=None, time="2026-11-21T07:36:29.104Z")
FAILED = Event(seq=8, vif_id=OTHER_ID, state="failed", error="no\nroom", time="2026-11-21T07:36:30.871Z")
LATE = errors.NotReached(f"timeout after 5 s: VIF {VIF_ID} is plugged, not wired, and waits for OVN", VIF_ID)

# wait


def test_wait_outlives_a_daemon_that_dies_before_its_first_word(run: Run, library: Notes) -> None:
    library.answers["look"] = errors.DaemonUnreachable("the daemon ended before it answered", "/run/s")
    assert run("wait", VIF_ID).code == 0
    assert [verb for verb, _asked in library.calls] == ["open", "look", "wait"]
    library.calls.clear()
    library.answers["look"] = errors.OvsUnavailable("OVSDB did not answer", "unix:s")
    assert run("wait", VIF_ID).code == errors.OvsUnavailable.exit_code
    assert [verb for verb, _asked in library.calls] == ["open", "look"], "what the daemon itself says is no such thing"


def test_wait_prints_the_vifs(run: Run, library: Notes) -> None:
    result = run("wait", VIF_ID.upper(), VIF_ID, "--for", "active", "--timeout", "2.5")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[1].split()[:3] == [VIF_ID, "ovs-hybrid", "active"]
    assert library.calls[-1] == ("wait", ([VIF_ID], "active", 2.5))
    result = run("wait", VIF_ID, "-o", "json")
    assert json.loads(result.out) == {"vifs": [REPORT.as_json() | {"state": "wired"}]}
    assert library.calls[-1] == ("wait", ([VIF_ID], "wired", 300.0))
    assert run("wait", VIF_ID, "--timeout", "0").code == 0
    assert library.calls[-1] == ("wait", ([VIF_ID], "wired", 0.0))


def test_wait_for_an_unknown_vif_is_exit_2_at_once(run: Run, library: Notes) -> None:
    there = Waited(id=VIF_ID, state="plugged", waits_for="OVN")
    gone = Waited(id=OTHER_ID, state="absent", waits_for="somebody to plug it here")
    library.answers["look"] = WaitReport(reached=False, vifs=[there, gone])
    result = run("wait", VIF_ID, OTHER_ID)
    assert (result.code, result.out) == (2, "")
    shown = f"VIF {OTHER_ID} is not plugged on this host; 'vifplug list' shows those that are"
    assert result.err == f"vifplug: error: {shown}\n"
    assert "wait" not in dict(library.calls)
    result = run("wait", VIF_ID, OTHER_ID, "-o", "json")
    assert (result.code, result.error["type"], result.error["subject"]) == (2, "UnknownVif", OTHER_ID)


def test_wait_out_of_time_is_exit_5_and_one_line(run: Run, library: Notes) -> None:
    library.answers["wait"] = LATE
    result = run("wait", VIF_ID)
    assert (result.code, result.out, result.err) == (5, "", f"vifplug: error: {LATE}; try again\n")
    result = run("wait", VIF_ID, "-o", "json")
    assert (result.code, result.out, result.error["type"], result.error["subject"]) == (5, "", "NotReached", VIF_ID)
    library.answers["wait"] = errors.VifFailed(f"VIF {VIF_ID} failed during the wait: no", VIF_ID)
    assert run("wait", VIF_ID).code == 1


def test_wait_that_is_broken_off_says_that_nothing_was_changed(run: Run, library: Notes) -> None:
    library.answers["wait"] = KeyboardInterrupt()
    result = run("wait", VIF_ID)
    assert (result.code, result.err) == (130, "vifplug: error: interrupted; nothing was changed\n")


def test_wait_says_on_a_terminal_what_it_waits_for(
    run: Run, library: Notes, monkeypatch: pytest.MonkeyPatch, document: str
) -> None:
    monkeypatch.setattr(output, "is_interactive", lambda: True)
    shown = f"vifplug: waiting up to 9 s for VIF {VIF_ID} to be wired; it waits for OVN ...\n"
    assert run("wait", VIF_ID, "--timeout", "9").err == shown
    assert run("plug", document, "--wait", "wired", "--timeout", "9").err == shown
    assert run("wait", VIF_ID, OTHER_ID).err.startswith(
        f"vifplug: waiting up to 300 s for VIF {VIF_ID} and 1 more to be wired"
    )
    assert run("wait", VIF_ID, "-o", "json").err == ""
    there = Waited(id=VIF_ID, state="wired")
    library.answers["look"] = WaitReport(reached=True, vifs=[there])
    assert run("wait", VIF_ID).err == ""
    library.answers["look"] = errors.DaemonUnreachable("gone")
    assert run("plug", document, "--wait", "wired").code == 0, "the wait outlives what the announcement does not"


# plug --wait


@pytest.mark.parametrize("state", ["wired", "active"])
def test_plug_waits(run: Run, library: Notes, document: str, state: str) -> None:
    result = run("plug", document, "--wait", state, "--timeout", "30", "-o", "json")
    assert (result.code, json.loads(result.out)["vifs"][0]["state"]) == (0, state)
    assert [verb for verb, _ in library.calls] == ["open", "plug", "wait"]
    assert library.calls[-1] == ("wait", ([VIF_ID], state, 30.0))
    run("plug", document, "--wait", state)
    assert library.calls[-1] == ("wait", ([VIF_ID], state, 300.0))


@pytest.mark.parametrize("words", [(), ("--wait", "plugged"), ("--wait", "plugged", "--timeout", "3")])
def test_plug_has_no_need_to_wait_for_plugged(run: Run, library: Notes, document: str, words: tuple[str, ...]) -> None:
    assert run("plug", document, *words).code == 0
    assert library.calls[-1][0] == "plug"


def test_plug_dry_run_waits_for_nothing(run: Run, library: Notes, document: str) -> None:
    assert run("plug", document, "--dry-run", "--wait", "wired").code == 0
    assert library.calls[-1][0] == "plan"


def test_plug_of_a_wait_that_is_over_says_that_it_stays_plugged(run: Run, library: Notes, document: str) -> None:
    library.answers["wait"] = LATE
    result = run("plug", document, "--wait", "wired", "--timeout", "5")
    assert (result.code, result.out) == (5, "")
    assert result.err == f"vifplug: error: {LATE}; it stays plugged; try again\n"
    library.answers["wait"] = errors.VifFailed("failed", VIF_ID)
    assert run("plug", document, "--wait", "wired").code == 1
    library.answers["plug"] = [REPORT, reports.VifReport(id=OTHER_ID, state="plugged")]
    assert run("plug", document, "--wait", "wired", "-o", "json").error["message"] == "failed; they stay plugged"


def test_plug_broken_off_as_it_waits_says_what_stays(run: Run, library: Notes, document: str) -> None:
    library.answers["wait"] = KeyboardInterrupt()
    result = run("plug", document, "--wait", "wired")
    assert (result.code, result.err) == (
        130,
        "vifplug: error: interrupted; it stays plugged; continue with `vifplug wait`\n",
    )


def test_plug_that_fails_is_not_waited_for(run: Run, library: Notes, document: str) -> None:
    library.answers["plug"] = errors.Conflict("held", "qbr")
    assert run("plug", document, "--wait", "wired").code == 4
    assert library.calls[-1][0] == "plug"


def test_plug_and_wait_say_each_warning_once(run: Run, library: Notes, document: str) -> None:
    library.warnings = ["not settled"]
    library.answers["plug"] = [reports.VifReport(id=VIF_ID, state="plugged", warnings=("datapath",))]
    assert run("plug", document, "--wait", "wired").err.splitlines() == [
        "vifplug: warning: not settled",
        "vifplug: warning: datapath",
    ]


# events


def test_events_in_both_forms(run: Run, library: Notes) -> None:
    assert run("events").out == "no events\n"
    assert run("events", "-o", "json").out == '{\n  "events": []\n}\n'
    library.answers["events"] = [EVENT, FAILED]
    result = run("events", "--since", "6")
    assert library.calls[-1] == ("events", (6, False))
    assert [re.split("  +", line) for line in result.out.splitlines()] == [
        ["SEQ", "TIME", "VIF", "EVENT", "PREVIOUS", "NOTE"],
        ["7", durations.local(EVENT.time), VIF_ID, "wired", "plugged", "-"],
        ["8", durations.local(FAILED.time), OTHER_ID, "failed", "-", "no\\nroom"],
    ]
    assert json.loads(run("events", "-o", "json").out) == {"events": [EVENT.as_json(), FAILED.as_json()]}


def test_events_that_are_lost_are_exit_1(run: Run, library: Notes) -> None:
    library.answers["events"] = errors.EventsLost("events after 1 are not kept any more", "1")
    result = run("events", "--since", "1", "-o", "json")
    assert (result.code, result.error["type"]) == (1, "EventsLost")


def test_follow_prints_a_line_for_each(run: Run, library: Notes) -> None:
    library.answers["events"] = [EVENT, FAILED]
    result = run("events", "--follow", "-o", "json")
    assert [json.loads(line) for line in result.out.splitlines()] == [EVENT.as_json(), FAILED.as_json()]
    assert library.calls == [("open", None), ("events", (None, True))]
    lines = run("events", "--follow", "--since", "3").out.splitlines()
    assert lines[0].split() == ["SEQ", "TIME", "VIF", "EVENT", "PREVIOUS", "NOTE"]
    assert lines[0].index("EVENT") == lines[1].index("wired") == lines[2].index("failed")
    assert library.calls[-1] == ("events", (3, True)), library.calls


# A follower in its own process


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Script]:
    with scripted_daemon.served(str(tmp_path / "s"), waiting(EVENT)) as script:
        yield script


def frame(event: Event) -> bytes:
    return f"id: {event.seq}\ndata: {json.dumps(event.as_json())}\n\n".encode()


def waiting(*events: Event) -> Turn:
    """A stream that says these and then nothing."""

    def turn(conversation: Conversation) -> bytes:
        conversation.wfile.write(streamed(*map(frame, events), ended=False))
        conversation.rfile.read(1)  # until the other side goes
        return b""

    return turn


Follow = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def follow(daemon: Script) -> Iterator[Follow]:
    begun: list[subprocess.Popen[str]] = []

    def begin(*words: str, **more: Any) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "vifplug.cli.main", "--socket", daemon.path, "events", "--follow", *words]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
        begun.append(subprocess.Popen(argv, text=True, **streams))
        return begun[-1]

    yield begin
    for each in begun:
        if each.poll() is None:
            each.kill()
        each.communicate()


def line_of(follower: subprocess.Popen[str], seconds: float = 30.0) -> str:
    assert follower.stdout is not None
    assert select.select([follower.stdout], [], [], seconds)[0], "no line has come"
    return follower.stdout.readline()


def ended(follower: subprocess.Popen[str]) -> tuple[int, str]:
    _out, err = follower.communicate(timeout=30)
    return follower.returncode, err


@pytest.mark.parametrize("form", ["json", "table"])
def test_follow_prints_an_event_as_it_comes(daemon: Script, follow: Follow, form: str) -> None:
    follower = follow("-o", form)
    if form == "table":
        assert line_of(follower).startswith("SEQ ")
    assert VIF_ID in line_of(follower)
    assert follower.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_follow_is_ended_by_a_signal(daemon: Script, follow: Follow, number: signal.Signals) -> None:
    follower = follow("-o", "json")
    line_of(follower)
    follower.send_signal(number)
    code, err = ended(follower)
    if number == signal.SIGINT:
        assert (code, err) == (0, "")
    else:
        assert code == 143 and json.loads(err)["error"]["message"] == "terminated by a signal; nothing was changed"


def test_follow_ends_quietly_when_its_reader_goes_although_nothing_happens(daemon: Script, follow: Follow) -> None:
    follower = follow("-o", "json")
    line_of(follower)
    assert follower.stdout is not None
    follower.stdout.close()
    assert follower.wait(30) == 0
    assert follower.stderr is not None and follower.stderr.read() == ""


def test_follow_ends_quietly_when_its_reader_goes_as_it_prints(daemon: Script, follow: Follow) -> None:
    def babbling(conversation: Conversation) -> bytes:
        conversation.wfile.write(streamed(ended=False))
        for seq in range(1, 100_000):
            conversation.wfile.write(chunk(frame(Event(seq=seq, vif_id=VIF_ID, state="wired", time="now"))))
        return b""

    daemon.turns = [babbling]
    follower = follow()
    line_of(follower)
    assert follower.stdout is not None
    follower.stdout.close()
    assert follower.wait(30) == 0
    assert follower.stderr is not None and follower.stderr.read() == ""


def test_follow_to_a_reader_who_is_gone_already(daemon: Script, follow: Follow) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for words in ((), ("-o", "json")) * 3:
        follower = follow(*words, stdout=writing)
        assert ended(follower) == (0, "")
    os.close(writing)


def test_follow_on_a_full_disk_is_an_error(daemon: Script, follow: Follow) -> None:
    with open("/dev/full", "w") as full:
        code, err = ended(follow("-o", "json", stdout=full))
    assert code == 1 and "No space left on device" in json.loads(err)["error"]["message"]


def test_follow_into_a_file_goes_on(daemon: Script, follow: Follow, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        follower = follow("-o", "json", stdout=log)
        deadline = time.monotonic() + 5
        while not (tmp_path / "log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.1)
        assert follower.poll() is None


def test_follow_goes_on_when_the_daemon_breaks_off(daemon: Script, follow: Follow) -> None:
    # Sending to a daemon that went away is a SIGPIPE, too.
    daemon.turns = [lambda conversation: streamed(frame(EVENT)), b"", b"", waiting(FAILED)]
    follower = follow("-o", "json")
    assert [json.loads(line_of(follower))["seq"] for _ in range(2)] == [7, 8]
    assert follower.poll() is None


def test_follow_on_a_terminal_ends_by_ctrl_c(daemon: Script, follow: Follow) -> None:
    ours, theirs = pty.openpty()
    follower = follow(stdout=theirs, stderr=theirs, stdin=theirs, start_new_session=True)
    os.close(theirs)
    shown = b""
    while VIF_ID.encode() not in shown:
        shown += os.read(ours, 1000)
    os.killpg(follower.pid, signal.SIGINT)
    assert follower.wait(30) == 0
    os.close(ours)
