"""A guest's description through each face: the library, the daemon, its client and the command line say the same."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import pytest

import vifplug
from tests.support import builders
from tests.support.builders import HYBRID, TAP, vif
from tests.support.daemon import scripted_daemon
from tests.support.daemon.daemon_calls import READER, STRANGER, Daemon, served
from tests.support.daemon.scripted_daemon import Script, answer
from vifplug.cli import main
from vifplug.daemon.http.protocol import Access, Members
from vifplug.errors import BridgeMissing, DaemonUnreachable, InputError, OvsUnavailable, UnknownVif
from vifplug.guest.description import describe
from vifplug.guest.nic import Nic

QUIET = describe(vif("ovs", create_tap=True), "qemu", Nic(is_userspace=True))


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Daemon:
    found = Daemon(tmp_path)
    found.host.plug([vif(), vif("ovs")])
    return found


# The library


@pytest.mark.parametrize("datapath", ["netdev", "system", ""])
def test_offloads_go_by_the_bridges_own_datapath(daemon: Daemon, datapath: str) -> None:
    daemon.fake.bridges["br-int"] = type(daemon.fake.bridges["br-int"])(name="br-int", datapath_type=datapath)
    assert ("csum" in daemon.host.guest(TAP, "libvirt").text) == (datapath == "netdev")
    assert ("csum=off" in daemon.host.guest(TAP, "qemu").text) == (datapath == "netdev")
    assert "csum" not in daemon.host.guest(HYBRID, "libvirt").text


def test_unknown_datapath_is_not_guessed(daemon: Daemon) -> None:
    daemon.host._context.ovs_away = True
    with pytest.raises(OvsUnavailable):
        daemon.host.guest(TAP, "qemu")
    assert daemon.host.guest(HYBRID, "qemu").arguments  # for which nobody needs to ask Open vSwitch
    daemon.host._context.ovs_away = False
    del daemon.fake.bridges["br-int"]
    with pytest.raises(BridgeMissing, match="br-int"):
        daemon.host.guest(TAP, "libvirt")


def test_omitted_values_are_as_recorded(daemon: Daemon) -> None:
    recorded = daemon.store.record(TAP)
    assert recorded is not None and recorded.vif.create_tap
    assert daemon.host.guest(TAP, "qemu") == QUIET


def test_wrong_wishes_are_refused_before_anything_is_looked_at(daemon: Daemon) -> None:
    for wish in ({"format": "xen"}, {"format": "qemu", "queues": 0}, {"format": "qemu", "model": "a,b"}):
        with pytest.raises(InputError):
            daemon.host.guest("no such VIF", **wish)
    with pytest.raises(UnknownVif):
        daemon.host.guest(builders.BRIDGE, "qemu")


def test_it_is_part_of_the_public_library() -> None:
    assert vifplug.guest.Nic().model == "virtio"
    code = (
        "import vifplug; vifplug.guest.Nic(queues=2); import sys; print([m for m in sys.modules if 'stevedore' in m])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# The daemon


def test_daemon_answers_only_readers(daemon: Daemon) -> None:
    path = f"/v1/vifs/{TAP}/guest/qemu"
    found = daemon.ask("GET", path, uid=READER)
    assert (found.status, found.json) == (200, QUIET.as_json())
    assert daemon.ask("GET", path, uid=STRANGER).status == 403
    assert daemon.ask("GET", path.replace(TAP, TAP.upper()), uid=READER).json == found.json
    assert daemon.ask("GET", f"/v1/vifs/{HYBRID}/guest/libvirt?queues=3&model=virtio").status == 200


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"/v1/vifs/{builders.BRIDGE}/guest/qemu", 404, builders.BRIDGE),
        ("/v1/vifs/x/guest/qemu", 400, "UUID"),
        (f"/v1/vifs/{TAP}/guest/xen", 400, "libvirt, qemu"),
        (f"/v1/vifs/{TAP}/guest/qemu?queues=257", 400, "queues"),
        (f"/v1/vifs/{TAP}/guest/qemu?queues=2", 400, "multiqueue true"),
        (f"/v1/vifs/{TAP}/guest/qemu?queues=", 400, "queues"),
        (f"/v1/vifs/{TAP}/guest/qemu?model=a%2Cmac=00", 400, "model"),
        (f"/v1/vifs/{TAP}/guest/qemu?model=virtio%0A", 400, "model"),
        (f"/v1/vifs/{TAP}/guest/qemu?vhost=on", 400, "vhost"),
    ],
)
def test_daemon_refuses(daemon: Daemon, path: str, status: int, words: str) -> None:
    found = daemon.ask("GET", path)
    assert found.error in ("InputError", "UnknownVif")
    assert (found.status, words in found.json["detail"]) == (status, True), found.json


def test_daemon_says_503_and_409_for_what_it_cannot_tell(daemon: Daemon) -> None:
    path = f"/v1/vifs/{TAP}/guest/libvirt"
    daemon.host._context.ovs_away = True
    assert (daemon.ask("GET", path).status, daemon.ask("GET", path).error) == (503, "OvsUnavailable")
    daemon.host._context.ovs_away = False
    del daemon.fake.bridges["br-int"]
    assert (daemon.ask("GET", path).status, daemon.ask("GET", path).error) == (409, "BridgeMissing")


# The client


def test_client_and_library_answer_alike() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory)
        daemon = Daemon(path)
        everybody = Access(admins=Members(uids=frozenset({os.getuid()})), operators=Members(), readers=Members())
        daemon.grant(everybody)
        daemon.host.plug([vif(), vif("ovs", multiqueue=True)])
        with served(daemon.app, path / "s"), vifplug.connect(str(path / "s")) as host:
            for vif_id, format, queues in ((HYBRID, "libvirt", None), (HYBRID, "qemu", 2), (TAP, "qemu", None)):
                assert host.guest(vif_id, format, queues=queues) == daemon.host.guest(vif_id, format, queues=queues)
            with pytest.raises(InputError, match="libvirt, qemu"):
                host.guest(TAP, "../path")
            with pytest.raises(InputError, match="2 or more queues"):
                host.guest(TAP, "qemu", queues=1)
            with pytest.raises(UnknownVif):
                host.guest(builders.BRIDGE, "qemu")


@pytest.fixture
def scripted(tmp_path: pathlib.Path) -> Iterator[Script]:
    with scripted_daemon.served(str(tmp_path / "s")) as found:
        yield found


@pytest.mark.parametrize("document", [{}, {"id": TAP}, {**QUIET.as_json(), "before": 7}, {"vifs": []}])
def test_answer_that_is_no_guest_is_not_vifplugds(scripted: Script, document: object) -> None:
    scripted.turns = [answer(document)]
    with vifplug.connect(scripted.path) as host, pytest.raises(DaemonUnreachable, match="another"):
        host.guest(TAP, "qemu")


# The command line


def test_command_prints_the_same_through_the_daemon_and_its_warnings_aside(
    scripted: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    reported = describe(vif(), "qemu")
    scripted.turns = [answer(reported.as_json())] * 2
    argv = ["guest", "qemu", "--socket", scripted.path, HYBRID, "--queues", "2", "--model", "virtio-transitional"]
    assert main.main(argv) == 0
    out, err = capsys.readouterr()
    assert out == f"{reported.text}\n"
    assert err == f"vifplug: warning: {reported.warnings[0]}\n"
    assert main.main([*argv, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == reported.as_json()
    asked = [each.target for each in scripted.asked if each.target != "/healthz"]
    assert asked == [f"/v1/vifs/{HYBRID}/guest/qemu?model=virtio-transitional&queues=2"] * 2


@pytest.mark.parametrize(
    "argv",
    [
        ("guest",),
        ("guest", "qemu"),
        ("guest", HYBRID),
        ("guest", "xen", HYBRID),
        ("guest", "qemu", HYBRID, TAP),
        ("guest", "qemu", HYBRID, "--queues", "0"),
        ("guest", "qemu", HYBRID, "--queues", "257"),
        ("guest", "qemu", HYBRID, "--queues", "9" * 30),
        ("guest", "qemu", HYBRID, "--model", "a,b"),
        ("guest", "qemu", HYBRID, "--model", ""),
    ],
)
def test_command_refuses_without_asking_a_host(
    scripted: Script, argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*argv, "--socket", scripted.path]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), scripted.asked) == ("", 1, [])


def test_create_tap_is_asked_of_every_vif_whatever_its_document_says(
    scripted: Script, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vifs.json"
    documents = [each.model_dump(mode="json", exclude_none=True) for each in (vif(), vif("ovs", create_tap=False))]
    file.write_text(json.dumps(documents))
    scripted.turns = [answer({"actions": []})] * 2
    for option in ([], ["--create-tap"]):
        assert main.main(["plug", str(file), "--dry-run", "--socket", scripted.path, *option]) == 0
    asked = [[each.get("create_tap") for each in call.document["plug"]] for call in scripted.asked if call.document]
    assert asked == [[None, False], [True, True]]
    capsys.readouterr()
