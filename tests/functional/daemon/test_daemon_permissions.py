"""Who may do what through the daemon's socket, and what its own processes may: all of it as the kernel tells."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.daemon.test_daemon_lifecycle import pair
from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import BRIDGE, HYBRID, OVS, Request
from tests.support.world.daemons import wait_until
from tests.support.world.users import Peer, status_of, with_users
from tests.support.world.world import World

USER = 4200
STRANGER = Peer(5000, 5000)
MEMBER = Peer(5001, 5001, [USER])
OTHER_MEMBER = Peer(5002, 5002, [USER])
OPERATOR = Peer(5003, 5003, [USER])
OTHER_OPERATOR = Peer(5004, 5004, [USER, 6000])
READER = Peer(5005, 5005, [USER])
ADMIN = Peer(5006, 5006, [USER])
CAP_NET_ADMIN = 1 << 12
IDLE = 100


@pytest.fixture
def daemon(world: World) -> Iterator[Vifplugd]:
    """The daemon as installed: members of group vifplug operate."""
    with with_users(world) as made:
        yield made


@pytest.fixture
def strict(world: World) -> Iterator[Vifplugd]:
    """Operators and admins are named, the socket's group reads."""
    levels = {"admin_users": "root,5006", "operator_users": "5003", "operator_groups": "6000"}
    with with_users(world, **levels) as made:
        yield made


def plug(daemon: Vifplugd, peer: Peer, request: Request) -> int:
    answer = peer.ask(daemon, "PUT", f"/v1/vifs/{request.id}", request.document)
    return int(answer[0])


def unplug(daemon: Vifplugd, peer: Peer, request: Request) -> int:
    return int(peer.ask(daemon, "DELETE", f"/v1/vifs/{request.id}")[0])


# -- who gets in ----------------------------------------------------------------------------------------------


def test_user_outside_the_group_is_denied_by_the_kernel(daemon: Vifplugd) -> None:
    found = daemon.socket.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, USER)
    assert STRANGER.ask(daemon, "GET", "/healthz") == "PermissionError"
    assert MEMBER.ask(daemon, "GET", "/healthz")[0] == 200
    # A user who makes himself root in a user namespace of his own is nobody else outside.
    alone = cli(daemon, STRANGER, "list", before=["unshare", "--user", "--map-root-user"])
    assert alone[0] == 1
    assert "permission denied" in alone[2].lower()


def test_command_line_of_a_user_outside_the_group_fails_and_never_works_locally(daemon: Vifplugd) -> None:
    for words in ([], ["--socket", str(daemon.socket)]):
        code, _output, shown = cli(daemon, STRANGER, *words, "list")
        assert code == 1
        assert "permission denied" in shown.lower()
        assert "vifplug" in shown
    code, output, _said = cli(daemon, MEMBER, "-o", "json", "list")
    assert (code, json.loads(output)) == (0, {"vifs": []})


def test_peer_whom_the_configuration_does_not_know_has_no_level(strict: Vifplugd) -> None:
    strict.socket.chmod(0o666)  # an administrator's mistake
    assert STRANGER.ask(strict, "GET", "/healthz")[0] == 200
    for method, path, body in everything():
        assert STRANGER.ask(strict, method, path, body)[0] == 403, path
    # Not even as root of a namespace of his own, for all that SO_PEERCRED is looked at from here.
    code, _output, shown = cli(strict, STRANGER, "list", before=["unshare", "--user", "--map-root-user"])
    assert (code, strict.vifs()) == (1, {}), shown
    assert "NotPermitted" in shown or "not permitted" in shown or "may not" in shown, shown


def everything() -> list[tuple[str, str, Any]]:
    """A request of each kind."""
    each = f"/v1/vifs/{HYBRID.id}"
    looks = ["/v1/vifs", each, f"{each}/path", f"{each}/progress", "/v1/host", "/metrics"]
    return [
        *(("GET", path, None) for path in looks),
        ("PUT", each, HYBRID.document),
        ("DELETE", each, None),
        ("POST", "/v1/batch", {"plug": [HYBRID.document]}),
        ("POST", "/v1/check", {}),
        ("POST", "/v1/repair", {}),
        ("POST", "/v1/gc", {"delete": True}),
    ]


# -- what each level may --------------------------------------------------------------------------------------


def test_reader_sees_everything_and_changes_nothing(strict: Vifplugd, world: World) -> None:
    assert plug(strict, ADMIN, HYBRID) == 200
    before = world.snapshot()
    for path in ("/v1/vifs", f"/v1/vifs/{HYBRID.id}", f"/v1/vifs/{HYBRID.id}/path", "/v1/host", "/metrics"):
        assert READER.ask(strict, "GET", path)[0] == 200, path
    assert READER.ask(strict, "POST", "/v1/check", {})[0] == 200
    assert READER.ask(strict, "GET", "/v1/host")[1]["level"] == "read"
    assert plug(strict, READER, OVS) == 403
    assert unplug(strict, READER, HYBRID) == 403
    assert READER.ask(strict, "POST", "/v1/batch", {"plug": [OVS.document]})[0] == 403
    assert READER.ask(strict, "POST", "/v1/repair", {"ids": [HYBRID.id]})[0] == 403
    assert READER.ask(strict, "POST", "/v1/gc", {"delete": True})[0] == 403
    assert READER.ask(strict, "PUT", f"/v1/vifs/{OVS.id}?dry_run=true", OVS.document)[0] == 200
    code, output, shown = cli(strict, READER, "-o", "json", "plug", "-", text=OVS.text)
    assert (code, output) == (1, "")
    assert json.loads(shown)["error"]["type"] == "NotPermitted"
    assert world.snapshot() == before
    assert set(strict.vifs()) == {HYBRID.id}


def test_operator_changes_what_he_plugged_and_nothing_else(strict: Vifplugd, world: World) -> None:
    assert plug(strict, OPERATOR, HYBRID) == 200
    assert plug(strict, OTHER_OPERATOR, OVS) == 200
    before = world.snapshot()
    assert unplug(strict, OPERATOR, OVS) == 403
    assert unplug(strict, OTHER_OPERATOR, HYBRID) == 403
    both = {"unplug": [HYBRID.id, OVS.id]}
    assert OPERATOR.ask(strict, "POST", "/v1/batch", both)[0] == 403
    assert plug(strict, OPERATOR, OVS.but(address="fa:16:3e:00:00:01")) == 403
    assert OPERATOR.ask(strict, "POST", "/v1/repair", {"ids": [OVS.id]})[0] == 403
    assert OPERATOR.ask(strict, "POST", "/v1/gc", {"delete": True})[0] == 403
    assert world.snapshot() == before
    assert OPERATOR.ask(strict, "POST", "/v1/repair", {"ids": [HYBRID.id]})[0] == 200
    assert unplug(strict, OPERATOR, HYBRID) == 200
    assert unplug(strict, ADMIN, OVS) == 200
    assert strict.vifs() == {}


def test_operator_cannot_have_a_vif_whose_record_no_longer_says_whose_it_is(strict: Vifplugd, world: World) -> None:
    assert plug(strict, OPERATOR, BRIDGE) == 200
    with contextlib.closing(sqlite3.connect(world.state_dir / "vifplug.db")) as database, database:
        database.execute("UPDATE records SET body = '{'")
    before = world.snapshot()
    for peer in (OPERATOR, OTHER_OPERATOR):
        assert unplug(strict, peer, BRIDGE) == 403
        assert plug(strict, peer, BRIDGE) == 403
    assert world.snapshot() == before
    assert unplug(strict, ADMIN, BRIDGE) == 200


def test_owner_is_remembered_over_a_restart(strict: Vifplugd) -> None:
    assert plug(strict, OPERATOR, BRIDGE) == 200
    strict.stop()
    strict.start()
    assert unplug(strict, OTHER_OPERATOR, BRIDGE) == 403
    assert unplug(strict, OPERATOR, BRIDGE) == 200


def test_members_operate_where_no_operator_is_named(daemon: Vifplugd) -> None:
    assert plug(daemon, MEMBER, BRIDGE) == 200
    assert unplug(daemon, OTHER_MEMBER, BRIDGE) == 403
    code, _output, shown = cli(daemon, OTHER_MEMBER, "unplug", BRIDGE.id)
    assert code == 1, shown
    assert set(daemon.vifs()) == {BRIDGE.id}
    assert cli(daemon, MEMBER, "unplug", BRIDGE.id)[0] == 0
    assert daemon.vifs() == {}


# -- what the daemon itself may -------------------------------------------------------------------------------


def test_worker_has_no_power_and_the_helper_one(daemon: Vifplugd) -> None:
    assert plug(daemon, MEMBER, HYBRID) == 200
    worker, helper = map(status_of, pair(daemon))
    assert worker["Uid"].split() == worker["Gid"].split() == [str(USER)] * 4
    assert worker["Groups"].split() == [str(USER)]
    assert worker["NoNewPrivs"] == helper["NoNewPrivs"] == "1"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(worker[kind], 16) == 0, kind
    assert helper["Uid"].split() == ["0"] * 4
    assert int(helper["CapEff"], 16) == int(helper["CapPrm"], 16) == CAP_NET_ADMIN
    assert int(helper["CapInh"], 16) == int(helper["CapAmb"], 16) == 0
    for task in os.listdir(f"/proc/{daemon.helper()}/task"):
        assert int(status_of(int(task))["CapEff"], 16) == CAP_NET_ADMIN
    _never_reaches(daemon)


def _never_reaches(daemon: Vifplugd) -> None:
    """The helper has neither the store nor the daemon's socket."""
    helper, worker = _targets(daemon.helper()), _targets(daemon.worker())
    assert not any("vifplug.db" in target for target in helper)
    listening = [
        line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if str(daemon.socket) in line
    ]
    sockets = {f"socket:[{inode}]" for inode in listening}
    assert sockets & set(worker)
    assert not sockets & set(helper)


def _targets(pid: int) -> list[str]:
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return found


@pytest.mark.parametrize("before", ["nothing", "local mode as root"])
def test_state_belongs_to_the_user_whichever_process_made_it(world: World, before: str) -> None:
    if before != "nothing":
        world.vifplug("plug", "-", input=BRIDGE.text)  # no such user outside: root's
        assert world.state_dir.stat().st_uid == 0
    with with_users(world) as daemon:
        assert plug(daemon, MEMBER, HYBRID) == 200
        places = [world.state_dir, *world.state_dir.iterdir()]
        assert len(places) >= 4
        assert {(each.stat().st_uid, each.stat().st_gid) for each in places} == {(USER, USER)}
        assert {stat.S_IMODE(each.stat().st_mode) for each in places} == {0o700, 0o600}
        wanted = {HYBRID.id} | ({BRIDGE.id} if before != "nothing" else set())
        assert set(daemon.vifs()) == wanted
        # And root's local mode beside it leaves it so.
        assert set(daemon.vifs()) == {each["id"] for each in world.vifplug_json("--local", "list")["vifs"]}
        assert {each.stat().st_uid for each in places if each.exists()} == {USER}


# -- idle connections -----------------------------------------------------------------------------------------


def test_hundred_idle_connections_do_not_stop_the_next_request(daemon: Vifplugd) -> None:
    worker, _helper = pair(daemon)
    daemon.vifs()
    before = len(_targets(worker))
    with contextlib.ExitStack() as stack:
        for number in range(IDLE):
            idle = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            idle.connect(str(daemon.socket))
            if number % 2:
                idle.sendall(b"GET /v1/vifs HTTP/1.1\r\nHost: ")
        assert MEMBER.run(lambda: _crowd_and_ask(daemon)) == 200
        assert len(_targets(worker)) > before + IDLE - 5, "they are not open at all"
        began = time.monotonic()
        assert plug(daemon, MEMBER, BRIDGE) == 200
        assert daemon.request("GET", "/healthz")[0] == 200
        assert time.monotonic() - began < 2
    wait_until(lambda: len(_targets(worker)) <= before + 5, "their end")


def _crowd_and_ask(daemon: Vifplugd) -> int:
    """As one user: a hundred connections more, and then a request."""
    crowd = []
    for _ in range(IDLE):
        crowd.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        crowd[-1].connect(str(daemon.socket))
    return daemon.request("GET", "/v1/vifs", timeout=2)[0]


def cli(
    daemon: Vifplugd, peer: Peer, *words: str, text: str | None = None, before: list[str] | None = None
) -> tuple[int, str, str]:
    """The command line as a user, who finds an interpreter where the daemon does; status, output, errors."""
    inside = ["nsenter", "-t", str(daemon.pid), "--mount"]
    command = [sys.executable, "-m", "vifplug.cli.main", "--config-file", str(daemon.world.config_file), *words]
    result = daemon.world.run(*inside, *peer.words, *(before or []), *command, input=text, check=False)
    return result.returncode, result.stdout, result.stderr
