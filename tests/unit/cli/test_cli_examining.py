"""doctor and host-info on the command line: whom they ask, what they print, and what they exit with."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import scripted_daemon
from vifplug import errors
from vifplug.cli import main
from vifplug.doctor.findings import ERROR, OK, UNSEEN, WARNING, Diagnosis, Finding
from vifplug.doctor.host_info import DaemonInfo, HostInfo, OvsInfo
from vifplug.model.claims import DIAGNOSED

CLAIMS = DIAGNOSED.sentence("ID")
WELL = Diagnosis(findings=(Finding(check="store", status=OK), Finding(check="daemon", status=OK)))
FOUND = Finding(check="ovsdb", status=ERROR, subject="unix:/db.sock", reason="nobody\nanswers", remedy="start it")
ILL = Diagnosis(
    findings=(
        Finding(check="store", status=OK),
        Finding(check="vifs", status=UNSEEN, subject="VIFs", reason="OVSDB is away"),
        FOUND,
        Finding(check="firewall", status=WARNING, subject="f", reason="drops", remedy="accept"),
    )
)
ABOUT = HostInfo(
    version="1",
    kernel="6.1",
    vif_types=["bridge", "ovs"],
    mtu=1500,
    integration_bridge="br-int",
    integration_bridge_datapath="netdev",
    bridges={"br-int": "netdev"},
    ovs=OvsInfo(
        connected=True,
        connection=("unix:/db.sock",),
        ovs_version="3.1.0",
        datapath_types=("netdev",),
        iface_types=("tap",),
    ),
    daemon=DaemonInfo(answers=False, socket="/s"),
)


@dataclass
class Place:
    """A configured socket, and what the doctor of this process would say."""

    path: str
    config_file: str
    capsys: pytest.CaptureFixture[str]
    alone: int = 0
    says: Diagnosis | Exception = WELL

    def run(self, *argv: str) -> tuple[int, str, str]:
        code = main.main(["--config-file", self.config_file, *argv])
        return code, *self.capsys.readouterr()

    def doctor(self, config_file: str | None) -> Diagnosis:
        assert config_file == self.config_file
        self.alone += 1
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    config_file, path = tmp_path / "vifplug.conf", tmp_path / "s"
    config_file.write_text(f"[daemon]\nsocket = {path}\n")
    made = Place(str(path), str(config_file), capsys)
    monkeypatch.setattr("vifplug.api.local_doctor.doctor", made.doctor)
    monkeypatch.setattr("vifplug.api.local_doctor.host_info", lambda _config_file: ABOUT)
    return made


@pytest.fixture
def refusing(place: Place) -> Iterator[Place]:
    """A socket whose daemon has died."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(place.path)
    yield place


def test_healthy_host_is_one_line_and_exit_0(place: Place) -> None:
    assert place.run("doctor") == (
        0,
        f"{CLAIMS}\n2 checks: nothing is wrong in what was looked at; if a guest has no network: vifplug trace ID\n",
        "",
    )


def test_worst_comes_first_each_with_its_remedy_and_exit_is_1(place: Place) -> None:
    place.says = ILL
    code, out, err = place.run("doctor")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "error    ovsdb: unix:/db.sock: nobody\\nanswers",
        "         start it",
        "warning  firewall: f: drops",
        "         accept",
        "skipped  vifs: OVSDB is away",
        CLAIMS,
        "5 checks, 2 findings: 1 error, 1 warning, 1 skipped",
    ]
    assert "ok       store" in place.run("doctor", "-v")[1]


def test_warnings_and_what_is_unseen_are_no_failure(place: Place) -> None:
    place.says = Diagnosis(findings=tuple(each for each in ILL.findings if each.status != ERROR))
    assert place.run("doctor")[0] == 0


def test_json_holds_every_check_and_nothing_else_is_printed(place: Place) -> None:
    place.says = ILL
    code, out, err = place.run("doctor", "-o", "json")
    reported = json.loads(out)
    assert (code, err, reported["healthy"]) == (1, "", False)
    assert reported["checks"][:4] == ILL.as_json()["checks"]
    assert reported["checks"][4] == Finding(check="daemon", status=OK).as_json()


def test_daemon_that_answers_is_asked_and_this_process_looks_at_nothing(place: Place) -> None:
    with scripted_daemon.served(place.path, scripted_daemon.answer(ILL.as_json())) as daemon:
        code, out, _err = place.run("doctor", "-o", "json")
    assert (code, json.loads(out)) == (1, ILL.as_json())
    assert ([(each.method, each.target) for each in daemon.asked], place.alone) == ([("GET", "/v1/doctor")], 0)


def test_local_asks_no_daemon(place: Place) -> None:
    with scripted_daemon.served(place.path, scripted_daemon.answer(ILL.as_json())) as daemon:
        assert place.run("doctor", "--local")[0] == 0
    assert (daemon.connections, place.alone) == (0, 1)


def test_socket_whose_daemon_died_is_a_finding_beside_the_others(refusing: Place) -> None:
    code, out, _err = refusing.run("doctor", "-o", "json")
    found = [each for each in json.loads(out)["checks"] if each["status"] != OK]
    assert (code, [(each["check"], each["status"], each["subject"]) for each in found]) == (
        1,
        [("daemon", ERROR, refusing.path)],
    )
    assert refusing.alone == 1


def test_socket_that_was_named_and_is_not_there_is_a_finding(place: Place) -> None:
    code, out, _err = place.run("doctor", "-o", "json", "--socket", place.path)
    assert (code, json.loads(out)["checks"][-1]["status"]) == (1, ERROR)


@pytest.mark.parametrize("said", [{"checks": [{"check": "a"}]}, {"checks": 1}, {}, []])
def test_daemon_that_says_something_else_is_a_finding_too(place: Place, said: Any) -> None:
    with scripted_daemon.served(place.path, scripted_daemon.answer(said)):
        code, out, _err = place.run("doctor", "-o", "json")
    assert (code, json.loads(out)["checks"][-1]["check"], place.alone) == (1, "daemon", 1)


def test_wrong_configuration_is_the_same_error_as_of_every_verb(place: Place) -> None:
    place.says = errors.ConfigError("it is wrong")
    assert place.run("doctor") == (2, "", "vifplug: error: it is wrong\n")


def test_host_info_is_a_table_or_json(place: Place) -> None:
    code, out, _err = place.run("host-info")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith(("kernel", "vifplug", "daemon")))
    assert (code, rows) == (0, {"vifplug": "1", "kernel": "6.1", "daemon": "does not answer on /s"})
    assert "br-int (netdev)" in out
    alone = place.run("host-info", "--local")[1]
    assert alone.splitlines()[-1].split(maxsplit=1)[1] == "not asked (--local); its socket is /s"
    assert json.loads(place.run("host-info", "-o", "json")[1]) == ABOUT.as_json()


def test_host_info_of_a_daemon_says_who_it_is(place: Place) -> None:
    document = {key: value for key, value in ABOUT.as_json().items() if key != "daemon"}
    reported = {**document, "pid": 7, "level": "read", "keeper": {}}
    with scripted_daemon.served(place.path, scripted_daemon.answer(reported), scripted_daemon.answer({"version": "1"})):
        code, out, _err = place.run("host-info", "-o", "json")
        daemon = DaemonInfo(answers=True, socket=place.path, version="1", pid=7, level="read")
        assert (code, json.loads(out)) == (0, replace(ABOUT, daemon=daemon).as_json())
        assert place.run("host-info", "--socket", place.path)[0] == 1  # of what is no answer
    assert place.run("host-info", "--socket", place.path)[0] == 1


def test_both_take_no_words(place: Place) -> None:
    for verb in ("doctor", "host-info"):
        assert place.run(verb, "x")[0] == 2
