"""One VIF is in one state for one reason, whichever face is asked: library, daemon, HTTP and command line."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import vifplug
from tests.support import builders
from tests.support.builders import BRIDGE, HYBRID, TAP
from tests.support.daemon.daemon_calls import ADMIN, Daemon, served
from tests.support.fake_host import FakeHost
from vifplug.cli import main
from vifplug.daemon.http.protocol import Access, Members
from vifplug.errors import Damaged, OvsUnavailable
from vifplug.resources.tap import Tap
from vifplug.store import records
from vifplug.store.events import NEUTRON_FAILED
from vifplug.store.records import Intent

QBR, TAP_DEVICE = "qbr71a6b0e4-1a", "tap81ab5618-df"
Said = tuple[str, str | None]


class Away(FakeHost):
    """Open vSwitch goes away; links stay to be seen."""

    ovs_away = False

    def observe(self, scope: Any) -> Any:
        if scope.ovs and self.ovs_away:
            raise OvsUnavailable("OVSDB does not answer")
        return super().observe(scope)


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Iterator[Daemon]:
    everybody = Access(admins=Members(uids=frozenset({ADMIN, os.getuid()})), operators=Members(), readers=Members())
    daemon = Daemon(tmp_path, fake=Away(), access=everybody)
    daemon.host.plug([builders.vif(), builders.vif("ovs"), builders.vif("bridge")])
    with served(daemon.app, tmp_path / "s"):
        yield daemon


def faces(daemon: Daemon, vif_id: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Said]:
    """What each face says of a VIF; "away" where it says that it cannot be seen."""
    path = str(daemon.directory / "s")
    said: dict[str, Callable[[], Any]] = {}

    def of_host(name: str, host: Any) -> None:
        said[f"{name} get"] = lambda: host.get(vif_id).as_json()
        said[f"{name} list"] = lambda: _one([vif.as_json() for vif in host.list()], vif_id)
        said[f"{name} check of one"] = lambda: _one([vif.as_json() for vif in host.check([vif_id]).vifs], vif_id)
        said[f"{name} check of all"] = lambda: _one([vif.as_json() for vif in host.check().vifs], vif_id)
        said[f"{name} path"] = lambda: host.path(vif_id).vif.as_json()
        said[f"{name} look"] = lambda: _one([vif.as_json() for vif in host.look([vif_id], "active").vifs], vif_id)

    def of_command(*words: str) -> Any:
        main.main(["--socket", path, "-o", "json", *words])
        out, err = capsys.readouterr()
        found = json.loads(out or err)
        if "error" in found and "id" not in found:
            raise OvsUnavailable(found["error"]["message"])
        return found.get("vif") or (_one(found["vifs"], vif_id) if "vifs" in found else found)

    of_host("local", daemon.host)
    said["http get"] = lambda: daemon.ask("GET", f"/v1/vifs/{vif_id}").json
    said["http list"] = lambda: _one(daemon.ask("GET", "/v1/vifs").json["vifs"], vif_id)
    for words in (["list"], ["show", vif_id], ["check"], ["check", vif_id], ["diagram", vif_id]):
        said[" ".join(("command", *words))] = lambda words=words: of_command(*words)  # type: ignore[misc]
    with vifplug.connect(path) as host:
        of_host("daemon", host)
        return {name: _said(ask) for name, ask in said.items()}


def _one(vifs: Any, vif_id: str) -> Any:
    return next(vif for vif in vifs if vif["id"] == vif_id)


def _said(ask: Callable[[], Any]) -> Said:
    try:
        found = ask()
    except OvsUnavailable:
        return ("away", None)
    return found["state"], found["error"]


def assert_all_say(found: dict[str, Said], state: str, reason: str | None) -> None:
    # A look says no reason where there is nothing more to wait for.
    expected = dict.fromkeys(found, (state, reason))
    assert found == expected


def keep(daemon: Daemon, vif_id: str, **changes: Any) -> None:
    record = daemon.store.record(vif_id)
    assert record is not None
    daemon.store.save_records([replace(record, **changes)])


def spoil(daemon: Daemon) -> str:
    """Drift of the hybrid VIF, and how it is said."""
    daemon.fake.links[QBR] = replace(daemon.fake.links[QBR], mtu=1400)
    daemon.fake.links["qvb71a6b0e4-1a"] = replace(daemon.fake.links["qvb71a6b0e4-1a"], up=False)
    return f"{QBR} mtu: 1400, should be 1450"


def intend(daemon: Daemon, verb: str) -> None:
    record = daemon.store.record(HYBRID)
    assert record is not None
    daemon.store.begin([Intent(vif_id=HYBRID, verb=verb, session=1, resources=record.resources)], {})


def test_wired_and_active(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert_all_say(faces(daemon, HYBRID, capsys), "wired", None)
    tap = daemon.fake.links[TAP_DEVICE]
    assert isinstance(tap, Tap)
    daemon.fake.links[TAP_DEVICE] = replace(tap, carrier=True)
    assert_all_say(faces(daemon, TAP, capsys), "active", None)


def test_plugged(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.host._context.options = replace(daemon.host._context.options, wired_by="neutron-agent")
    assert_all_say(faces(daemon, HYBRID, capsys), "plugged", None)


def test_drifted_says_why_without_a_daemon_that_repairs(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    reason = spoil(daemon)
    assert_all_say(faces(daemon, HYBRID, capsys), "drifted", reason)
    keep(daemon, HYBRID, state="drifted", error="an older reason")
    assert_all_say(faces(daemon, HYBRID, capsys), "drifted", reason)
    (repaired,) = daemon.host.repair([HYBRID])
    assert (repaired.state, repaired.error) == ("wired", None)
    assert_all_say(faces(daemon, HYBRID, capsys), "wired", None)


@pytest.mark.parametrize("state", ["contended", "failed"])
def test_what_the_daemon_found_out(daemon: Daemon, capsys: pytest.CaptureFixture[str], state: str) -> None:
    spoil(daemon)
    keep(daemon, HYBRID, state=state, error="others undo it")
    assert_all_say(faces(daemon, HYBRID, capsys), state, "others undo it")
    (repaired,) = daemon.host.repair([HYBRID])
    assert_all_say(faces(daemon, HYBRID, capsys), repaired.state, repaired.error)


def test_failed_by_neutron(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    daemon.host._context.options = replace(daemon.host._context.options, wired_by="neutron-events", listens=True)
    daemon.store.set_neutron_status(HYBRID, NEUTRON_FAILED)
    reason = "Neutron reports that it could not wire this port; its log has the reason"
    assert_all_say(faces(daemon, HYBRID, capsys), "failed", reason)
    (repaired,) = daemon.host.repair([HYBRID])
    assert (repaired.state, repaired.error) == ("failed", reason)


@pytest.mark.parametrize(("verb", "state"), [(records.PLUG, "plugging"), (records.UNPLUG, "unplugging")])
def test_request_under_way(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, state: str
) -> None:
    spoil(daemon)
    keep(daemon, HYBRID, state="drifted", error="an older reason")
    intend(daemon, verb)
    monkeypatch.setattr("vifplug.engine.commands.inspect._PATIENCE_SECONDS", 0.05)
    with daemon.host._context.locks.held([HYBRID], 1):
        assert_all_say(faces(daemon, HYBRID, capsys), state, None)


def test_ovs_away(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    """What has a port is told as recorded, where that is an answer; what has none, as it is."""
    spoil(daemon)
    daemon.fake.links["tap3fe5648f-47"] = replace(daemon.fake.links["tap3fe5648f-47"], mtu=1400)
    assert isinstance(daemon.fake, Away)
    daemon.fake.ovs_away = daemon.host._context.ovs_away = True
    found = faces(daemon, HYBRID, capsys)
    assert set(found.values()) == {("wired", None), ("away", None)}
    assert {name for name, (state, _) in found.items() if state == "wired"} == {
        name for name in found if name.endswith(("get", "list", "look")) or name.startswith("command show")
    }
    found = faces(daemon, BRIDGE, capsys)
    reason = "tap3fe5648f-47 mtu: 1400, should be 1450"
    assert set(found.values()) == {("drifted", reason), ("away", None)}
    assert {name.split()[-1] for name, (state, _) in found.items() if state == "away"} == {"all", "check"}


def test_record_that_is_damaged(daemon: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(sqlite3.connect(daemon.directory / "vifplug.db")) as database, database:
        database.execute("UPDATE records SET body = '{' WHERE vif_id = ?", (HYBRID,))
    reason = daemon.host.get(HYBRID).error
    assert reason and "damaged" in reason
    assert_all_say(faces(daemon, HYBRID, capsys), "failed", reason)
    with pytest.raises(Damaged) as caught:
        daemon.host.repair([HYBRID])
    assert str(caught.value) == reason
