"""A VIF whose guest is gone: since when, who says so, and how it is told from the VIFs of servers that there are."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vifplug
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.network.relay import open_tap
from tests.support.vifs import HYBRID, INSTANCE, OVS, library
from tests.support.world.world import World
from vifplug import errors
from vifplug.model import durations

OTHER = "c0ffee00-1111-4222-8333-000000000099"
SECONDS = 60.0
TAP = OVS.but(create_tap=True)


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def guest_of(world: World) -> None:
    """The tap that libvirt makes and puts on a hybrid VIF's bridge."""
    world.run("ip", "tuntap", "add", HYBRID.tap, "mode", "tap")
    world.ip("link", "set", HYBRID.tap, "master", HYBRID.qbr, "up")


def since(daemon: Vifplugd, vif_id: str = HYBRID.id) -> str | None:
    found: str | None = daemon.vifs()[vif_id]["absent_since"]
    return found


def test_guest_that_goes_is_named_since_then_over_restarts_and_is_no_drift(world: World) -> None:
    with Vifplugd(world) as daemon:
        status, plugged = daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)
        assert status == 200
        assert since(daemon) == plugged["updated_at"], "it has none since its plug"
        until(lambda: daemon.metric("vifplug_absent_guests") == 1, "it is counted")
        assert since(daemon) == plugged["updated_at"]
        guest_of(world)
        until(lambda: daemon.metric("vifplug_absent_guests") == 0, "the guest is noted")
        assert since(daemon) is None
        time.sleep(1.1)
        world.ip("link", "del", HYBRID.tap)
        until(lambda: daemon.metric("vifplug_absent_guests") == 1, "its end is noted")
        gone = since(daemon)
        assert gone is not None and gone > plugged["updated_at"]
        daemon.stop()
        daemon.start()
        until(lambda: daemon.metric("vifplug_absent_guests") == 1, "it is compared")
        assert since(daemon) == gone
        # A replug of what is right writes nothing, and the guest is not back because of it.
        assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[1]["absent_since"] == gone
        checked = json.loads(world.vifplug("check", "-o", "json").stdout)
        assert checked["clean"] is True
        assert [vif["absent_since"] for vif in checked["vifs"]] == [gone]
        assert f"no guest since {durations.local(gone)}" in world.vifplug("list").stdout
        assert durations.local(gone) in world.vifplug("show", HYBRID.id).stdout
        found = json.loads(world.vifplug("doctor", "-o", "json", check=False).stdout)
        (guests,) = [each for each in found["checks"] if each["check"] == "guests"]
        assert guests["status"] == "ok" and f"VIF {HYBRID.id} has no guest since {gone}" in guests["reason"]
        for asked, count in (("0", 1), ("10m", 0)):
            listed = json.loads(world.vifplug("list", "--absent-for", asked, "-o", "json").stdout)["vifs"]
            assert len(listed) == count, asked
        assert len(daemon.request("GET", "/v1/vifs?absent_for=600")[1]["vifs"]) == 0
        assert len(daemon.request("GET", "/v1/vifs?absent_for=0")[1]["vifs"]) == 1
        assert daemon.request("GET", "/v1/vifs?absent_for=-1")[0] == 400


def test_guest_that_ended_while_no_daemon_ran_is_noted_at_the_start(world: World) -> None:
    with Vifplugd(world) as daemon:
        daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)
        guest_of(world)
        until(lambda: since(daemon) is None and daemon.metric("vifplug_absent_guests") == 0, "the guest is noted")
        time.sleep(1)  # until that is in the store
        daemon.stop()
        time.sleep(1.1)
        before = daemon_time()
        world.ip("link", "del", HYBRID.tap)
        daemon.start()
        until(lambda: daemon.metric("vifplug_absent_guests") == 1, "its end is noted")
        gone = since(daemon)
        assert gone is not None and gone >= before


def daemon_time() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())


def test_tap_of_ours_that_no_vmm_has_open_has_no_guest(world: World) -> None:
    with Vifplugd(world) as daemon:
        daemon.request("PUT", f"/v1/vifs/{TAP.id}", TAP.document)
        assert since(daemon, TAP.id) is not None
        with world.namespace.entered():
            fd = open_tap(TAP.tap)
        try:
            until(lambda: since(daemon, TAP.id) is None, "a guest is there")
            report = daemon.request("POST", "/v1/gc", {"keep": [], "absent_for": 0, "delete": True})[1]
            assert (report["absent"], report["unplugged"]) == ([], []), "a guest is on it"
        finally:
            os.close(fd)
        assert until(lambda: since(daemon, TAP.id), "the guest is gone")


def kept(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def test_gc_takes_what_no_instance_has_and_nothing_else(world: World, tmp_path: Path) -> None:
    before = world.snapshot()
    left = OVS.but(instance={"uuid": OTHER}, create_tap=False)
    with Vifplugd(world) as daemon:
        for request in (HYBRID, left):
            assert daemon.request("PUT", f"/v1/vifs/{request.id}", request.document)[0] == 200
        running = world.snapshot()

        def gc(file: str, *options: str) -> dict[str, Any]:
            found: dict[str, Any] = json.loads(world.vifplug("gc", "--keep", file, "-o", "json", *options).stdout)
            return found

        servers = kept(tmp_path / "servers", "# openstack server list", INSTANCE.upper())
        ports = kept(tmp_path / "ports", HYBRID.id)
        none = kept(tmp_path / "none", "# none")
        # A server that is being built is in no list yet.
        assert gc(none, "--delete")["absent"] == []
        for file in (servers, ports):
            (found,) = gc(file, "--absent-for", "0")["absent"]
            assert (found["vif_id"], found["instance"], found["device"]) == (left.id, OTHER, left.tap)
        assert [vif["vif_id"] for vif in gc(none, "--absent-for", "0s")["absent"]] == sorted([HYBRID.id, left.id])
        assert world.snapshot() == running, "it only shows"
        text = world.vifplug("gc", "--keep", servers, "--absent-for", "0").stdout
        assert left.id in text and "no guest since" in text and HYBRID.id not in text
        (gone,) = gc(servers, "--absent-for", "0", "--delete")["unplugged"]
        assert gone["vif_id"] == left.id
        assert list(daemon.vifs()) == [HYBRID.id]
        assert world.row("Port", left.tap) is None
        with vifplug.connect(str(daemon.socket)) as host:
            assert host.gc(keep=[INSTANCE], absent_for=0).absent == ()
            (found,) = host.gc(keep=[OTHER], absent_for=0).absent or ()
            assert host.gc().absent is None, "there was no list to compare with"
            guest_of(world)
            assert host.gc(True, keep=[], absent_for=0).unplugged == (), "its guest is there"
            world.ip("link", "del", HYBRID.tap)
            until(lambda: host.list(absent_for=0), "the guest's end is noted")
            (found,) = host.gc(True, keep=[], absent_for=0).unplugged
            assert found.vif_id == HYBRID.id
    assert world.snapshot() == before


def test_without_the_daemon_it_is_since_the_records_last_change(world: World, tmp_path: Path) -> None:
    with library(world) as host:
        (report,) = host.plug([HYBRID.vif])
        assert report.absent_since == report.updated_at
        guest_of(world)
        assert host.get(HYBRID.id).absent_since is None
        world.ip("link", "del", HYBRID.tap)
        assert host.get(HYBRID.id).absent_since == report.updated_at
        (checked,) = host.check().vifs
        assert checked.absent_since == report.updated_at
        assert len(host.list(absent_for=0)) == 1
        assert host.list(absent_for=3600) == []
        assert host.gc(True, keep=[OTHER]).unplugged == ()
        (gone,) = host.gc(True, keep=[OTHER], absent_for=0).unplugged
        assert gone.vif_id == HYBRID.id
        assert host.list() == []


def test_wrong_words_are_refused(world: World, tmp_path: Path) -> None:
    empty = kept(tmp_path / "empty")
    cases = (
        (("gc", "--local", "--keep", empty, "--delete"), "is empty"),
        (("gc", "--local", "--keep", kept(tmp_path / "bad", "web-1")), "web-1"),
        (("gc", "--local", "--absent-for", "5m"), "--keep"),
        (("list", "--local", "--absent-for", "soon"), "soon"),
    )
    for argv, word in cases:
        result = world.vifplug(*argv, check=False)
        assert (result.returncode, word in result.stderr) == (2, True), result.stderr
    with library(world) as host:
        for wrong in ("5m", -1, float("nan"), True):
            with pytest.raises(errors.InputError, match="absent_for"):
                host.list(absent_for=wrong)  # type: ignore[arg-type]
            with pytest.raises(errors.InputError, match="absent_for"):
                host.gc(keep=[], absent_for=wrong)  # type: ignore[arg-type]
        with pytest.raises(errors.InputError, match="web-1"):
            host.gc(keep=["web-1"])
    with Vifplugd(world) as daemon:
        for body in ({"keep": ["web-1"]}, {"keep": "x"}, {"keep": [], "absent_for": -1}):
            assert daemon.request("POST", "/v1/gc", body)[0] == 400, body
