"""The client against a real small server on a Unix socket: what it asks, what it makes of answers and of none."""

from __future__ import annotations

import grp
import inspect
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.daemon.scripted_daemon import Conversation, Script, answer, problem, served, text
from vifplug import errors
from vifplug.api import http
from vifplug.api.remote import DaemonHost
from vifplug.model import reports
from vifplug.model.vif import Instance, Network, TapOwner, Vif

VIF_ID = "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"
VIF = Vif(
    id=VIF_ID,
    vif_type="ovs",
    address="fa:16:3e:eb:5e:26",
    network=Network(mtu=1450),
    instance=Instance(uuid="c0ffee00-1111-4222-8333-000000000011"),
    tap_owner=TapOwner(uid=0),
)
DOCUMENT = {
    "id": VIF_ID,
    "vif_type": "ovs",
    "address": "fa:16:3e:eb:5e:26",
    "network": {"mtu": 1450},
    "instance": {"uuid": "c0ffee00-1111-4222-8333-000000000011"},
    "tap_owner": {"uid": 0},
    "names": {},
}
REPORT = reports.VifReport(
    id=VIF_ID,
    state="plugged",
    vif_type="ovs",
    mtu=1450,
    instance=reports.InstanceReport(uuid="c0ffee00-1111-4222-8333-000000000011"),
    devices=(reports.DeviceReport(name="tap71a6b0e4-1a", kind="tap", up=True),),
    ports=(reports.PortReport(bridge="br-int", name="tap71a6b0e4-1a", ofport=3),),
    waiting_for="tap71a6b0e4-1a",
)
DRIFT = reports.DriftItem(subject="tap71a6b0e4-1a", attribute="mtu", observed=1400, desired=None)
ORPHAN = reports.Orphan(kind="veth", name="qvo2bc1ec8f-4b", vif_id="net:x")
CHECK = reports.CheckReport(vifs=(reports.VifCheck(id=VIF_ID, state="drifted", drift=(DRIFT,)),), orphans=(ORPHAN,))
GC = reports.GcReport(orphans=(ORPHAN,), deleted=(ORPHAN,))
PLAN = reports.PlanReport(actions=(reports.PlannedAction(action="add-port", subject="tap", text="add port tap"),))
HOP = reports.Hop(name="t", kind="tap", state="up", mtu=1450, note="ofport 3", joined=False, drift=(DRIFT,))
VIFS = {"vifs": [REPORT.as_json()], "warnings": ["beware"]}
HOP_JSON = {
    "name": "t",
    "kind": "tap",
    "state": "up",
    "mtu": 1450,
    "note": "ofport 3",
    "joined": False,
    "drift": [DRIFT.as_json()],
}
BATCH = {"plug": [DOCUMENT], "format": "vif"}

Call = Callable[[DaemonHost], Any]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Script]:
    with served(str(tmp_path / "s"), answer(VIFS)) as script:
        yield script


@pytest.fixture
def host(daemon: Script) -> Iterator[DaemonHost]:
    with vifplug.connect(daemon.path) as host:
        yield host


# What is asked, and what is made of the answer


@pytest.mark.parametrize(
    ("call", "asked", "said", "made"),
    [
        (lambda host: host.plug([VIF]), ("POST", "/v1/batch", BATCH), VIFS, [REPORT]),
        (lambda host: host.unplug((VIF_ID,)), ("POST", "/v1/batch", {"unplug": [VIF_ID]}), VIFS, [REPORT]),
        (lambda host: host.get(VIF_ID), ("GET", f"/v1/vifs/{VIF_ID}", None), REPORT.as_json(), REPORT),
        (lambda host: host.get(VIF_ID.upper()), ("GET", f"/v1/vifs/{VIF_ID}", None), REPORT.as_json(), REPORT),
        (lambda host: host.list(), ("GET", "/v1/vifs", None), VIFS, [REPORT]),
        (
            lambda host: host.progress(VIF_ID),
            ("GET", f"/v1/vifs/{VIF_ID}/progress", None),
            {"done": 1, "total": 2},
            reports.Progress(done=1, total=2),
        ),
        (lambda host: host.check(), ("POST", "/v1/check", {"ids": None}), CHECK.as_json(), CHECK),
        (lambda host: host.check([VIF_ID]), ("POST", "/v1/check", {"ids": [VIF_ID]}), CHECK.as_json(), CHECK),
        (lambda host: host.check([]), ("POST", "/v1/check", {"ids": []}), CHECK.as_json(), CHECK),
        (lambda host: host.repair(), ("POST", "/v1/repair", {"ids": None}), VIFS, [REPORT]),
        (lambda host: host.repair([VIF_ID]), ("POST", "/v1/repair", {"ids": [VIF_ID]}), VIFS, [REPORT]),
        (lambda host: host.gc(), ("POST", "/v1/gc", {"delete": False}), GC.as_json(), GC),
        (lambda host: host.gc(delete=True), ("POST", "/v1/gc", {"delete": True}), GC.as_json(), GC),
        (lambda host: host.plan([VIF]), ("POST", "/v1/batch", {**BATCH, "dry_run": True}), PLAN.as_json(), PLAN),
        (
            lambda host: host.path(VIF_ID),
            ("GET", f"/v1/vifs/{VIF_ID}/path", None),
            {"vif": REPORT.as_json(), "hops": [HOP_JSON]},
            reports.PathReport(vif=REPORT, hops=(HOP,)),
        ),
    ],
)
def test_method_asks_and_answers_as_the_library(
    host: DaemonHost, daemon: Script, call: Call, asked: tuple[str, str, Any], said: Any, made: Any
) -> None:
    daemon.turns = [answer({**said, "warnings": ["beware"], "added": "by a later version"})]
    assert call(host) == made
    assert host.warnings == ["beware"]
    (each,) = daemon.asked
    assert (each.method, each.target, each.document) == asked


def test_reports_are_the_same_after_their_journey() -> None:
    for report in (REPORT, CHECK, GC, PLAN):
        again = type(report).from_json(json.loads(json.dumps(report.as_json())))
        assert (again, again.as_json()) == (report, report.as_json())
    assert str(PLAN) == "add port tap" and PLAN and not reports.PlanReport()


def test_document_sent_is_the_vif_again() -> None:
    assert vifplug.load(VIF.model_dump(mode="json", exclude_none=True), format="vif") == VIF


def test_nothing_to_do_is_not_asked(host: DaemonHost, daemon: Script) -> None:
    assert (host.plug([]), host.unplug([]), host.plan([]).actions) == ([], [], ())
    assert daemon.asked == []


def test_daemon_host_has_the_methods_of_the_librarys() -> None:
    from vifplug.api.local import LocalHost

    for name, method in inspect.getmembers(LocalHost, inspect.isfunction):
        if name.startswith("_"):
            continue
        mine, theirs = (inspect.signature(each).parameters for each in (getattr(DaemonHost, name), method))
        assert {key: (each.kind, each.default) for key, each in mine.items()} == {
            key: (each.kind, each.default) for key, each in theirs.items() if key != "requester"
        }, name


def test_socket_is_the_configurations(daemon: Script, tmp_path: Path) -> None:
    file = tmp_path / "vifplug.conf"
    file.write_text(f"[daemon]\nsocket = {daemon.path}\n")
    with vifplug.connect(config_file=str(file)) as host:
        assert host.list() == [REPORT]
    with pytest.raises(errors.ConfigError), vifplug.connect(config_file=str(tmp_path / "none")):
        pass


def test_client_is_lean(daemon: Script) -> None:
    heavy = ("pyroute2", "ovsdbapp", "ovs", "oslo_privsep", "oslo_config", "fastapi", "uvicorn", "pydantic", "rich")
    script = (
        "import sys; from vifplug.cli.main import main; code = main(sys.argv[1:]); "
        f"print(code, sorted({{name.split('.')[0] for name in sys.modules}} & set({heavy})), file=sys.stderr)"
    )
    argv = [sys.executable, "-c", script, "--socket", daemon.path, "-o", "json", "list"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["vifplug: warning: beware", "0 []"]
    assert json.loads(done.stdout) == {"vifs": VIFS["vifs"]}


# Errors


@pytest.mark.parametrize("cls", [each for _, each in inspect.getmembers(errors, inspect.isclass)])
def test_error_is_of_the_class_it_had_in_the_daemon(
    host: DaemonHost, daemon: Script, cls: type[errors.VifplugError]
) -> None:
    daemon.turns = [problem(cls.__name__, "no: é\n", subject="qvo", step="set qvo: up", status=500)]
    with pytest.raises(errors.VifplugError) as caught:
        host.plug([VIF])
    assert type(caught.value) is cls
    assert caught.value.args == ("no: é\n", "qvo", "set qvo: up")
    daemon.turns = [problem(cls.__name__, "no")]
    with pytest.raises(cls) as caught:
        host.get(VIF_ID)
    assert caught.value.args == ("no", "", "")
    assert host.warnings == []


@pytest.mark.parametrize("name", ["", "NewError", "__doc__", "annotations", "ClassVar", None, 7, ["Busy"]])
def test_error_of_an_unknown_class_is_the_base(host: DaemonHost, daemon: Script, name: Any) -> None:
    daemon.turns = [answer({"error": {"type": name, "message": "of tomorrow", "subject": 7}}, 500)]
    with pytest.raises(errors.VifplugError, match=r"^of tomorrow$") as caught:
        host.list()
    assert (type(caught.value), caught.value.subject) == (errors.VifplugError, "7")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer({"title": "Gone", "detail": "no such path"}, 404), "no such path"),
        (answer({"title": "Gone", "error": {"type": "Busy"}}, 404), "Gone"),
        (answer(["x"], 500), '["x"]'),
        (text(b"Internal\n  Server \xff Error", 500), "Internal Server � Error"),
        (text(b"", 503), "Whatever"),
        (text(b"x" * 10**6, 400), "x" * 200),
        (text(b"", 307), "Whatever"),
    ],
)
def test_refusal_without_an_error_object_is_reported_in_its_words(
    host: DaemonHost, daemon: Script, said: bytes, words: str
) -> None:
    daemon.turns = [said]
    with pytest.raises(errors.VifplugError) as caught:
        host.list()
    assert type(caught.value) is errors.VifplugError
    status = int(said.split()[1])
    assert str(caught.value) == f"the daemon answered GET /v1/vifs with status {status}: {words}"


def test_refusal_before_the_body_was_read_is_heard(host: DaemonHost, daemon: Script) -> None:
    daemon.reads_bodies = False
    daemon.turns = [problem("InputError", "the body is larger than 4 MiB", status=413)]
    with pytest.raises(errors.InputError, match="larger than 4 MiB"):
        host.unplug([str(uuid.UUID(int=number)) for number in range(2**17)])


# No answer, or none of vifplugd's

_LONG = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def then_hang_up(said: bytes) -> Callable[[Conversation], bytes]:
    def turn(conversation: Conversation) -> bytes:
        conversation.wfile.write(said)
        return b""

    return turn


CUT = [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\ncontent-", _LONG, _LONG + b'{"vifs"', _CHUNKED, _CHUNKED + b"5\r\n{"]


@pytest.mark.parametrize("said", CUT)
def test_connection_that_ends_is_an_unknown_outcome(host: DaemonHost, daemon: Script, said: bytes) -> None:
    daemon.turns = [then_hang_up(said)]
    with pytest.raises(errors.DaemonUnreachable) as caught:
        host.plug([VIF])
    if said not in CUT[1:3]:  # what begins as no answer of HTTP's is a stranger's
        assert str(caught.value) == (
            f"the daemon on socket {daemon.path!r} ended before it answered (connection closed): the outcome "
            "is unknown; when it runs, look with `vifplug list`, or try again, which is safe: "
            "what is already done stays"
        )
    assert len(daemon.asked) == 1, "a change is never sent twice"
    assert (caught.value.exit_code, caught.value.retryable) == (1, True)
    daemon.turns = [answer(VIFS)]
    assert host.list() == [REPORT], "and the next call works"


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff" * 4096,
        b"a" * 70000,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n{",
        text(b""),
        text(b"<html>"),
        text(b"\xff\xfe"),
        text(b"[" * 100000),
        text(b'{"vifs": ' + b"9" * 5000 + b"}"),
        answer([]),
        answer(None),
        answer({}),
        answer({"vifs": None}),
        answer({"vifs": {"a": 1}}),
        answer({"vifs": [None]}),
        answer({"vifs": [{}]}),
        answer({"vifs": [{"id": "x", "state": "y", "devices": [1]}]}),
        answer({"vifs": [{"id": "x", "state": "y", "ports": 1}]}),
    ],
)
def test_answer_of_something_else_is_named(host: DaemonHost, daemon: Script, said: bytes) -> None:
    daemon.turns = [then_hang_up(said)]
    with pytest.raises(errors.DaemonUnreachable, match="is not vifplugd of this version"):
        host.list()


@pytest.mark.parametrize("kind", ["length", "chunks", "end"])
def test_answer_too_large_to_be_one_is_not_kept(
    host: DaemonHost, daemon: Script, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    body = b'{"vifs": [], "x": "' + b"x" * 100_000 + b'"}'
    said = {
        "length": text(body),
        "chunks": _CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
        "end": b"HTTP/1.0 200 OK\r\n\r\n" + body,
    }
    daemon.turns = [then_hang_up(said[kind])]
    assert host.list() == []
    monkeypatch.setattr(http, "ANSWER_MAX", 1000)
    with pytest.raises(errors.DaemonUnreachable, match="is not vifplugd"):
        host.list()


# Connections


def test_connection_is_kept(host: DaemonHost, daemon: Script) -> None:
    for _ in range(3):
        host.list()
    daemon.turns = [problem("Busy", "x"), answer(VIFS)]
    with pytest.raises(errors.Busy):
        host.plug([VIF])
    host.plug([VIF])
    assert daemon.connections == 1


def test_connection_closed_meanwhile_is_noticed_before_a_change_is_sent(host: DaemonHost, daemon: Script) -> None:
    for count in range(1, 4):
        daemon.hang_up()
        assert host.plug([VIF]) == [REPORT]
        assert len(daemon.asked) == count
    assert daemon.connections == 4


def test_connection_closed_as_it_is_used_is_made_again_for_what_only_looks(host: DaemonHost, daemon: Script) -> None:
    daemon.turns = [b"", answer(VIFS)]
    assert host.list() == [REPORT]
    daemon.turns = [b"", answer(VIFS)]
    with pytest.raises(errors.DaemonUnreachable, match="the outcome is unknown"):
        host.plug([VIF])
    daemon.turns = [b"", b"", answer(VIFS)]
    with pytest.raises(errors.DaemonUnreachable, match=r"ended before it answered .*; try again when it runs"):
        host.list()  # on a new connection, it is no staleness
    assert [(each.method, each.connection) for each in daemon.asked] == [
        ("GET", 1),
        ("GET", 2),
        ("POST", 2),
        ("GET", 3),
    ]


def test_connection_that_rested_long_is_not_used(
    host: DaemonHost, daemon: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.0)
    host.list()
    host.list()
    assert daemon.connections == 3


def test_answer_may_take_long(host: DaemonHost, daemon: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEALTH_SECONDS", 0.1)
    with vifplug.connect(daemon.path) as another:

        def slowly(_: Conversation) -> bytes:
            time.sleep(0.4)
            return answer(VIFS)

        daemon.turns = [slowly]
        assert another.plug([VIF]) == [REPORT]


def test_threads_share_a_host(host: DaemonHost, daemon: Script) -> None:
    gate = threading.Barrier(8)

    def together(_: Conversation) -> bytes:
        gate.wait(5)
        return answer(VIFS)

    def call(_: int) -> list[reports.VifReport]:
        found = host.plug([VIF])
        assert host.warnings == ["beware"]
        return found

    daemon.turns = [together]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == [[REPORT]] * 8
    assert daemon.connections == 8
    assert host.warnings == [], "this thread asked nothing"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_makes_its_own_connection(host: DaemonHost, daemon: Script) -> None:
    host.list()
    child = os.fork()
    if not child:
        try:
            os._exit(0 if host.list() == [REPORT] else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    host.list()
    assert [each.connection for each in daemon.asked] == [1, 2, 1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupt_says_that_the_daemon_goes_on(host: DaemonHost, daemon: Script, kind: type[BaseException]) -> None:
    def interrupted(*_: object) -> None:
        raise kind

    def interrupt(_: Conversation) -> bytes:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.2)
        return answer(VIFS)

    before = signal.signal(signal.SIGUSR1, interrupted)
    try:
        daemon.turns = [interrupt]
        for call, notes in ((host.plug, 1), (host.plan, 0)):
            with pytest.raises(kind) as caught:
                call([VIF])
            said = getattr(caught.value, "__notes__", [])
            assert [note.startswith("the daemon continues") for note in said] == [True] * notes
    finally:
        signal.signal(signal.SIGUSR1, before)
    daemon.turns = [answer({"vifs": []})]
    assert host.list() == [], "the answer to another request is not taken for this one's"


# Nobody there


def unreachable(path: str) -> errors.DaemonUnreachable:
    with pytest.raises(errors.DaemonUnreachable) as caught, vifplug.connect(path):
        pass
    assert (caught.value.subject, caught.value.exit_code) == (path, 1)
    return caught.value


def test_socket_without_a_listener(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    ending = "; start vifplugd, or try again with --local"
    assert str(unreachable(path)) == f"no daemon answers on socket {path!r} (No such file or directory){ending}"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    assert str(unreachable(path)) == f"no daemon answers on socket {path!r} (Connection refused){ending}"
    for wrong in (str(tmp_path), "", str(tmp_path / "s" / "t")):
        assert str(unreachable(wrong)).endswith(ending)
    assert "has 201 bytes, and a Unix socket's path at most 107" in str(unreachable("/" + "x" * 200))


def test_socket_with_a_full_backlog_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_CONNECT_SECONDS", 1)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        began = time.monotonic()
        assert "too many connections wait, after 1 s" in str(unreachable(path))
        assert 0.9 < time.monotonic() - began < 5


def test_socket_that_takes_and_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "HEALTH_SECONDS", 0.1)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert str(unreachable(path)) == (
            f"the daemon on socket {path!r} does not answer, within 0.1 s; restart it, or try again with --local"
        )


@pytest.mark.parametrize(
    "said", [b"", b"hello\r\n", text(b"not found", 404), answer({"message": "not found"}, 404), answer({})]
)
def test_socket_of_something_else(daemon: Script, said: bytes) -> None:
    daemon.is_well = False
    daemon.turns = [said]
    assert any(words in str(unreachable(daemon.path)) for words in ("is not vifplugd", "ended before it answered"))


@pytest.mark.parametrize(
    ("mode", "advice"),
    [(0o660, "join group '{group}', log in anew and try again"), (0o600, "only user '{user}' may; try again as")],
)
def test_socket_that_is_not_for_this_user(daemon: Script, tmp_path: Path, mode: int, advice: str) -> None:
    if os.geteuid():
        os.chmod(daemon.path, mode & ~0o200)  # its owner is refused as well then
    else:
        os.chmod(daemon.path, mode)
    script = (
        # All imports first: the other user may not be let into this interpreter's directories.
        "import os, sys, vifplug.api.remote; from vifplug.cli.main import main\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main(['--socket', sys.argv[1], 'list']))"
    )
    for folder in (tmp_path, *tmp_path.parents):
        if folder == tmp_path or folder.name.startswith(("pytest-", "popen-")):  # one more with pytest-xdist
            folder.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script, daemon.path], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 1
    names = {"group": grp.getgrgid(os.getgid()).gr_name, "user": pwd.getpwuid(os.geteuid()).pw_name}
    assert done.stderr.startswith(
        f"vifplug: error: no permission to use the daemon's socket {daemon.path!r} (Permission denied): "
        + advice.format(**names)
    )
    assert done.stderr.count("\n") == 1 and not done.stderr.endswith("again; try again\n")
