"""Who is at the other end, what they may do, and that none of them can hold the daemon up. Real sockets."""

from __future__ import annotations

import grp
import http.client
import json
import os
import pathlib
import pwd
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import uvicorn

from tests.support import builders
from tests.support.daemon.daemon_calls import ADMIN, OPERATOR, READER, STRANGER, Daemon, served
from vifplug.config.options import Settings
from vifplug.daemon.http import event_stream, middleware, protocol
from vifplug.daemon.http.protocol import Access, Level, Peer

SOON_SECONDS = 5.0
BRIEF_SECONDS = 0.3
NOBODY = 2**32 - 2
ONE = f"/v1/vifs/{builders.HYBRID}"
DOCUMENT = {"id": builders.HYBRID, "vif_type": "ovs-hybrid", "address": "fa:16:3e:eb:5e:26"}


class Socket:
    """The application on a socket, and connections to it."""

    def __init__(self, daemon: Daemon, path: pathlib.Path, open_ones: ExitStack, server: Any) -> None:
        self.daemon, self.path, self._open_ones, self.server = daemon, path, open_ones, server

    def connect(self) -> socket.socket:
        connection = self._open_ones.enter_context(socket.socket(socket.AF_UNIX))
        connection.settimeout(SOON_SECONDS)
        connection.connect(str(self.path))
        return connection

    def ask(self, method: str, path: str, body: Any = None, connection: socket.socket | None = None) -> tuple[int, Any]:
        client = http.client.HTTPConnection("vifplug")
        client.sock = connection or self.connect()
        client.request(method, path, None if body is None else json.dumps(body))
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())

    def lane(self, uid: int) -> middleware.Lane:
        self.ask("GET", "/v1/host")  # the first request has the middleware made
        app: Any = self.daemon.app.middleware_stack
        while not isinstance(app, middleware.Gate):
            app = app.app
        return app._lane(uid)

    def waits(self) -> int:
        """How many wait for a state."""
        return self.lane(ADMIN)._waits + self.lane(OPERATOR)._waits

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SOON_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Daemon:
    return Daemon(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, pathlib.Path, uvicorn.Server]]:
    """One server for them all: its end takes longer than most of these tests."""
    directory = tmp_path_factory.mktemp("daemon")
    daemon = Daemon(directory)
    with served(daemon.app, directory / "socket") as server:
        yield daemon, directory / "socket", server


@pytest.fixture
def unix(shared: tuple[Daemon, pathlib.Path, uvicorn.Server], monkeypatch: pytest.MonkeyPatch) -> Iterator[Socket]:
    """Everybody who connects is an administrator; ``_as`` makes them others."""
    _as(monkeypatch, ADMIN)
    daemon, path, server = shared
    with ExitStack() as open_ones:
        yield (found := Socket(daemon, path, open_ones, server))
        for vif_id in [vif.id for vif in daemon.host.list()]:
            daemon.host.unplug([vif_id])
    found.wait_until(lambda: not server.server_state.connections)


def _as(monkeypatch: pytest.MonkeyPatch, *uids: int) -> None:
    """Give the next connections these uids, the last one ever after: a test that is not root has but one of its own."""
    coming = list(uids)

    def of(_connection: object) -> Peer:
        return Peer(pid=1, uid=coming.pop(0) if len(coming) > 1 else coming[0], gid=NOBODY)

    monkeypatch.setattr(protocol.Peer, "of", of)


def _slowly(answer: Any) -> Any:
    time.sleep(3 * BRIEF_SECONDS)
    return answer


def _is_closed(connection: socket.socket) -> bool:
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def _answers(connection: socket.socket) -> bytes:
    """All that comes; the daemon may reset a connection that goes on after its end."""
    output = b""
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            output += part
    return output


def _everything(connection: socket.socket) -> bytes:
    output = b""
    while part := connection.recv(65536):
        output += part
    return output


# -- who it is --------------------------------------------------------------------------------------------


def test_peer_is_who_the_kernel_says() -> None:
    near, far = socket.socketpair()
    with near, far:
        peer = Peer.of(near)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert sorted(peer.groups) == sorted(os.getgroups())


def test_peer_of_another_kind_of_socket_is_unknown() -> None:
    with socket.socket(socket.AF_INET) as connection, pytest.raises(OSError, match="Unix"):
        Peer.of(connection)


def test_peer_whose_groups_cannot_be_read_has_its_primary_one(caplog: pytest.LogCaptureFixture) -> None:
    near, far = socket.socketpair()

    class ManyGroups:
        family = socket.AF_UNIX

        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            if option != socket.SO_PEERCRED:
                raise OSError(34, "Numerical result out of range")
            return near.getsockopt(level, option, size)

    with near, far:
        peer = Peer.of(ManyGroups())
    assert (peer.gid, peer.groups) == (os.getegid(), ())
    assert "only its primary group" in caplog.text


def test_credentials_reach_the_application(daemon: Daemon, tmp_path: pathlib.Path) -> None:
    settings = Settings(admin_users=("root",), reader_users=(str(os.geteuid()),))
    daemon.grant(Access.of(settings))
    with served(daemon.app, tmp_path / "socket") as server, ExitStack() as open_ones:
        status, output = Socket(daemon, tmp_path / "socket", open_ones, server).ask("GET", "/v1/host")
    assert (status, output["level"]) == (200, "admin" if os.geteuid() == 0 else "read")


def test_each_connection_keeps_its_own_peer(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    _as(monkeypatch, READER, ADMIN, OPERATOR)
    connections = [unix.connect() for _ in range(3)]
    unix.wait_until(lambda: len(unix.server.server_state.connections) == 3)
    for _ in range(3):
        levels = [unix.ask("GET", "/v1/host", connection=connection)[1]["level"] for connection in connections]
        assert levels == ["read", "admin", "operate"]


# -- what they may do -------------------------------------------------------------------------------------


def _level(settings: Settings, uid: int, gid: int = 100, groups: tuple[int, ...] = ()) -> Level:
    return Access.of(settings).level(Peer(pid=1, uid=uid, gid=gid, groups=groups))


SOCKET_GROUP = Settings(user="no-such-user", socket_group="50")


@pytest.mark.parametrize(
    ("changes", "level"),
    [
        ({}, Level.NONE),
        ({"user": "1000"}, Level.ADMIN),
        ({"admin_users": ("root", "1000")}, Level.ADMIN),
        ({"admin_groups": ("100",)}, Level.ADMIN),
        ({"admin_groups": ("7",)}, Level.ADMIN),
        ({"operator_users": ("1000",)}, Level.OPERATE),
        ({"operator_groups": ("7",)}, Level.OPERATE),
        ({"reader_users": ("1000",)}, Level.READ),
        ({"reader_groups": ("100",)}, Level.READ),
        ({"socket_group": "7"}, Level.OPERATE),
        ({"socket_group": "100"}, Level.OPERATE),
        ({"socket_group": "7", "operator_users": ("1001",)}, Level.READ),
        ({"socket_group": "7", "operator_groups": ("no-such-group",)}, Level.READ),
        ({"operator_groups": ("no-such-group",)}, Level.NONE),
        ({"reader_users": ("1000",), "operator_groups": ("7",), "admin_groups": ("100",)}, Level.ADMIN),
        ({"admin_users": ("-1", "+1000", "1_000", "1000 ", "\uff11\uff10", "0x3e8", "")}, Level.NONE),
        ({"admin_users": (), "reader_groups": ("1000",)}, Level.NONE),
    ],
)
def test_highest_level_counts(changes: dict[str, Any], level: Level) -> None:
    settings = Settings(**{"user": "no-such-user", "socket_group": "no-such-group", **changes})
    assert _level(settings, uid=1000, groups=(7, 8)) == level


def test_root_is_the_administrator_whatever_is_configured() -> None:
    assert _level(Settings(admin_users=(), user="no-such-user"), uid=0) == Level.ADMIN


def test_names_are_looked_up() -> None:
    me, mine = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    settings = Settings(admin_users=(), user="no-such-user", socket_group=mine, operator_users=("1",))
    assert _level(settings, uid=NOBODY, gid=os.getgid()) == Level.READ
    assert _level(Settings(operator_users=(me,)), uid=os.getuid()) in (Level.OPERATE, Level.ADMIN)


def test_names_that_do_not_exist_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    Access.of(Settings(admin_users=("no-such-one",), reader_groups=("no-such-two",), user="x-y", socket_group="x-y"))
    (record,) = caplog.records
    assert "'no-such-one', 'no-such-two'" in record.getMessage()
    assert "x-y" not in record.getMessage()


# -- none can hold it up ----------------------------------------------------------------------------------


def test_two_hundred_and_forty_idle_connections_do_not_stop_the_next_request(
    unix: Socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    _as(monkeypatch, OPERATOR)
    monkeypatch.setattr(unix.daemon.metrics, "text", lambda: b"x" * 2**20)
    sent = (
        b"",
        b"GET /v1/vifs HTTP/1.1\r\n",
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",  # whose answer it does not take
    )
    for number in range(240):
        unix.connect().sendall(sent[number % len(sent)])
    began = time.monotonic()
    assert unix.ask("PUT", ONE, DOCUMENT)[0] == 200
    assert time.monotonic() - began < 15  # of 30, had it to wait for one of them


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /v1/vifs HT",
        b"GET /v1/vifs HTTP/1.1\r\nHost: x\r\n",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT",
    ],
)
def test_request_that_does_not_come_is_not_waited_for(
    unix: Socket, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", BRIEF_SECONDS)
    connection = unix.connect()
    connection.sendall(sent)
    assert _is_closed(connection)
    unix.wait_until(lambda: not unix.server.server_state.connections)


def test_request_that_trickles_is_not_waited_for(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", BRIEF_SECONDS)
    connection = unix.connect()
    began = time.monotonic()
    with pytest.raises(OSError):
        while time.monotonic() - began < SOON_SECONDS:
            connection.sendall(b"X")
            time.sleep(BRIEF_SECONDS / 10)
    assert time.monotonic() - began < 4


def test_request_that_takes_long_is_answered(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", BRIEF_SECONDS)
    monkeypatch.setattr(unix.daemon.host, "list", lambda: _slowly([]))
    connection = unix.connect()
    assert unix.ask("GET", "/v1/vifs", connection=connection)[0] == 200
    assert unix.ask("GET", "/healthz", connection=connection)[0] == 200


def test_answer_that_is_not_read_is_not_kept(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", BRIEF_SECONDS)
    monkeypatch.setattr(unix.daemon.metrics, "text", lambda: b"x" * 2**24)
    unix.connect().sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    unix.wait_until(lambda: bool(unix.server.server_state.connections))
    unix.wait_until(lambda: not unix.server.server_state.connections)


def test_answer_that_is_read_slowly_is_whole(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix.daemon.metrics, "text", lambda: b"x" * 2**22)
    connection = unix.connect()
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    time.sleep(BRIEF_SECONDS)
    assert _everything(connection).endswith(b"x" * 2**22)


def test_one_connection_too_many_is_closed_and_the_rest_serve(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 3)
    _as(monkeypatch, OPERATOR)
    kept = [unix.connect() for _ in range(3)]
    unix.wait_until(lambda: len(unix.server.server_state.connections) == 3)
    assert _is_closed(unix.connect())
    assert all(unix.ask("GET", "/v1/host", connection=connection)[0] == 200 for connection in kept)
    _as(monkeypatch, READER)
    assert unix.ask("GET", "/v1/host")[1]["level"] == "read"
    _as(monkeypatch, OPERATOR)
    kept.pop().close()
    unix.wait_until(lambda: len(unix.server.server_state.connections) < 4)
    assert unix.ask("GET", "/v1/host")[0] == 200


def test_user_who_keeps_many_threads_busy_leaves_some(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(middleware, "_THREADS_OF_A_USER", 2)
    monkeypatch.setattr(middleware, "_THREADS", 3)
    monkeypatch.setattr(unix.daemon.host, "list", lambda: end.wait(SOON_SECONDS) and [])
    _as(monkeypatch, OPERATOR)
    blocked = [unix.connect() for _ in range(5)]
    for connection in blocked:
        connection.sendall(b"GET /v1/vifs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    unix.wait_until(lambda: len(unix.server.server_state.connections) == 5)
    assert unix.ask("GET", "/healthz")[0] == 200
    _as(monkeypatch, READER)
    assert unix.ask("GET", "/v1/host")[0] == 200
    end.set()
    assert all(_everything(connection).startswith(b"HTTP/1.1 200") for connection in blocked)


# -- those who go -------------------------------------------------------------------------------------------

WAIT = {"ids": [builders.HYBRID], "for": "active", "timeout": 30}
FOLLOW = b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n"


def _request(method: str, path: str, body: Any) -> bytes:
    content = json.dumps(body).encode()
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def _following(unix: Socket) -> socket.socket:
    """A follower that has read all there is."""
    connection = unix.connect()
    connection.sendall(FOLLOW)
    output = b""
    while b"id: " not in output or not output.endswith(b"\n\n\r\n"):
        output += connection.recv(65536)
    return connection


def _waiting(unix: Socket, **changes: Any) -> socket.socket:
    """One who waits for what does not come."""
    before = unix.waits()
    connection = unix.connect()
    connection.sendall(_request("POST", "/v1/wait", {**WAIT, **changes}))
    unix.wait_until(lambda: unix.waits() > before)
    return connection


def test_follower_that_has_gone_is_let_go_at_once(unix: Socket) -> None:
    followers = [_following(unix) for _ in range(5)]
    assert b"vifplug_followers 5.0" in unix.daemon.metrics.text()
    for follower in followers:
        follower.close()
    unix.wait_until(lambda: not unix.server.server_state.connections)
    unix.wait_until(lambda: b"vifplug_followers 0.0" in unix.daemon.metrics.text())


def test_follower_that_goes_before_the_first_byte_keeps_no_place(unix: Socket) -> None:
    for _ in range(50):
        connection = unix.connect()
        connection.sendall(FOLLOW)
        connection.close()
    unix.wait_until(lambda: not unix.server.server_state.connections and not unix.server.server_state.tasks)
    assert b"vifplug_followers 0.0" in unix.daemon.metrics.text()


def test_wait_whose_asker_has_gone_is_over(unix: Socket) -> None:
    assert unix.ask("PUT", ONE, DOCUMENT)[0] == 200
    waits = [_waiting(unix) for _ in range(5)]
    for connection in waits:
        connection.close()
    unix.wait_until(lambda: not unix.waits() and not unix.server.server_state.tasks)


def test_client_that_has_shut_its_sending_side_is_answered(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_LOOK_SECONDS", 0.02)
    assert unix.ask("PUT", ONE, DOCUMENT)[0] == 200
    connection, follower = _waiting(unix, timeout=1), _following(unix)
    for one in (connection, follower):
        one.shutdown(socket.SHUT_WR)
    assert b'"reached":false' in _everything(connection)
    assert unix.ask("DELETE", ONE)[0] == 200
    assert b"event: unplugged" in follower.recv(65536)


@pytest.mark.parametrize("more", [b"", FOLLOW], ids=["half closed", "with another request behind"])
def test_asker_that_goes_unseen_is_let_go_soon(unix: Socket, monkeypatch: pytest.MonkeyPatch, more: bytes) -> None:
    monkeypatch.setattr(protocol, "_LOOK_SECONDS", 0.05)
    assert unix.ask("PUT", ONE, DOCUMENT)[0] == 200
    for connection in (_waiting(unix), _following(unix)):
        connection.sendall(more)
        if not more:
            connection.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        connection.close()
    unix.wait_until(lambda: not unix.waits() and not unix.server.server_state.tasks)


def test_change_whose_asker_has_gone_is_carried_out(unix: Socket) -> None:
    for _ in range(5):
        connection = unix.connect()
        connection.sendall(_request("PUT", ONE, DOCUMENT))
        connection.close()
        unix.wait_until(lambda: [vif.id for vif in unix.daemon.host.list()] == [builders.HYBRID])
        assert unix.ask("DELETE", ONE)[0] == 200


def test_those_who_have_gone_are_not_in_their_users_way(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "CONNECTIONS_MAX", 3)
    _as(monkeypatch, OPERATOR)
    end = threading.Event()
    monkeypatch.setattr(unix.daemon.host, "list", lambda: end.wait(SOON_SECONDS) and [])

    def leave_one() -> None:
        connection, before = unix.connect(), len(unix.server.server_state.tasks)
        connection.sendall(b"GET /v1/vifs HTTP/1.1\r\nHost: x\r\n\r\n")
        unix.wait_until(lambda: len(unix.server.server_state.tasks) > before)
        connection.close()

    for _ in range(5):
        leave_one()
    with unix.connect() as connection:
        assert unix.ask("GET", "/v1/host", connection=connection)[0] == 200
    unix.wait_until(lambda: len(unix.server.server_state.connections) == 5)
    leave_one()
    assert _is_closed(unix.connect()), "what they have asked for is still done, and that has a bound"
    end.set()


def test_waits_and_follows_leave_connections_for_changes(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    assert middleware._WAITS_OF_A_USER + event_stream._FOLLOWERS_OF_A_USER <= protocol.CONNECTIONS_MAX - 32
    monkeypatch.setattr(unix.lane(OPERATOR), "_waits_max", 2)
    monkeypatch.setattr(event_stream, "_FOLLOWERS_OF_A_USER", 2)
    _as(monkeypatch, OPERATOR)
    assert unix.ask("PUT", ONE, DOCUMENT)[0] == 200
    kept = [_waiting(unix), _waiting(unix), _following(unix), _following(unix)]
    for method, path, body in (("POST", "/v1/wait", WAIT), ("GET", "/v1/events", None)):
        status, output = unix.ask(method, path, body)
        assert (status, output["error"]["type"], output["error"]["retryable"]) == (503, "Busy", True)
    assert unix.ask("POST", "/v1/wait", {**WAIT, "timeout": 0})[0] == 200, "this one does not wait"
    assert unix.ask("DELETE", ONE)[0] == 200
    kept.pop().close()
    unix.wait_until(lambda: b"vifplug_followers 1.0" in unix.daemon.metrics.text())
    _following(unix)


def test_who_comes_when_the_daemon_ends_does_not_hold_it_up(daemon: Daemon, tmp_path: pathlib.Path) -> None:
    with served(daemon.app, tmp_path / "socket") as server, ExitStack() as open_ones:
        unix = Socket(daemon, tmp_path / "socket", open_ones, server)
        daemon.grant(Access.of(Settings(reader_users=(str(os.geteuid()),))))
        early = _following(unix)
        daemon.hub.close()
        late = unix.connect()
        late.sendall(FOLLOW)
        assert b"connection: close" in _everything(late).lower()
        assert early.recv(65536).endswith(b"0\r\n\r\n"), "whole"


# -- what is sent, however odd, is survived ---------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GARBAGE\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nBad Header: x\r\n\r\n",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\nGARBAGE\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(unix: Socket, sent: bytes) -> None:
    connection = unix.connect()
    connection.sendall(sent)
    connection.shutdown(socket.SHUT_WR)
    assert b" 400 " in _everything(connection)
    assert unix.ask("GET", "/healthz")[0] == 200


def test_header_without_end_is_cut_off(unix: Socket) -> None:
    connection = unix.connect()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ")
        for _ in range(64):
            connection.sendall(b"x" * 2**20)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET http://elsewhere/healthz HTTP/1.1", 404),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"CONNECT elsewhere:80 HTTP/1.1", 404),
        (b"GET //healthz HTTP/1.1", 404),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", 404),
        (b"GET /v1/vifs/%00%ff%f0 HTTP/1.1", 400),
        (b"GET /healthz?" + b"a" * 8000 + b" HTTP/1.1", 200),
        (b"GET /v1/vifs?" + b"&" * 8000 + b" HTTP/1.1", 200),
        (b"GET /v1/host HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket", 200),
        (b"GET /v1/host HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c", 200),
        (b"POST /v1/check HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}", 200),
        (b"BREW /v1/vifs HTTP/1.1", 405),
    ],
)
def test_odd_requests_are_answered(unix: Socket, sent: bytes, status: int) -> None:
    connection = unix.connect()
    line, _, rest = sent.partition(b"\r\n")
    connection.sendall(
        line + b"\r\nHost: x\r\n" + rest + (b"" if b"\r\n\r\n" in rest else b"\r\n\r\n"[: 4 if rest else 2])
    )
    connection.shutdown(socket.SHUT_WR)
    assert f" {status} ".encode() in _everything(connection)


HIDDEN = b"GET /v1/host HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LENGTH = b"Content-Length: 2\r\n"


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (LENGTH + CHUNKED, b"0\r\n\r\n"),
        (CHUNKED + b"Content-Length: 5\r\n", b"0\r\n\r\n"),
        (LENGTH + LENGTH, b"{}"),
        (LENGTH + b"content-LENGTH: 3\r\n", b"{}"),
        (b"Content-Length: 2, 2\r\n", b"{}"),
        (b"Content-Length: +2\r\n", b"{}"),
        (b"Content-Length: -0\r\n", b""),
        (b"Content-Length: 0x2\r\n", b"{}"),
        (b"Content-Length: 1_0\r\n", b"{}        "),
        (b"Content-Length:\r\n", b""),
        (b"Content-Length : 2\r\n", b"{}"),
        (b"Content-Length: 2\n", b"{}"),
        (b"X: y\r\n Content-Length: 2\r\n", b"{}"),
        (b"X: y\rContent-Length: 2\r\n", b"{}"),
        (b"X: y\x00\r\n" + LENGTH, b"{}"),
        (b"X: y\x0b\r\n" + LENGTH, b"{}"),
        (b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n"),
        (CHUNKED + CHUNKED, b"0\r\n\r\n"),
        (b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        (b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n"),
        (b"Transfer-Encoding:\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
        (b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
        (CHUNKED, b"0\n\n"),
        (CHUNKED, b"2;x=y\r\n{}\r\n0\r\n\r\n"),
        (CHUNKED, b"2 \r\n{}\r\n0\r\n\r\n"),
        (CHUNKED, b"+2\r\n{}\r\n0\r\n\r\n"),
        (CHUNKED, b"0x2\r\n{}\r\n0\r\n\r\n"),
        (CHUNKED, b"\r\n0\r\n\r\n"),
        (CHUNKED, b"2\r\n{}0\r\n\r\n"),
        (CHUNKED, b"1\r\n{}\r\n0\r\n\r\n"),
        (CHUNKED, b"2\r\n{}\n0\r\n\r\n"),
        (CHUNKED, b"0\r\nContent-Length: 40\r\n\r\n"),
        (CHUNKED, b"ffffffffffffffff2\r\n{}\r\n0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("is_whole", [True, False], ids=["at once", "byte by byte"])
def test_request_whose_end_is_in_doubt_is_refused_and_the_connection_closed(
    unix: Socket, fields: bytes, body: bytes, is_whole: bool
) -> None:
    connection = unix.connect()
    sent = b"POST /v1/check HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n" + body + HIDDEN
    with suppress(BrokenPipeError, ConnectionResetError):
        for part in [sent] if is_whole else [sent[n : n + 1] for n in range(len(sent))]:
            connection.sendall(part)
    output = _answers(connection)
    assert output.startswith(b"HTTP/1.1 400 ") and output.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in output and b"application/problem+json" in output
    assert json.loads(output.partition(b"\r\n\r\n")[2])["error"]["type"] == "InputError"


def test_http_1_0_has_no_chunks(unix: Socket) -> None:
    connection = unix.connect()
    connection.sendall(b"POST /v1/check HTTP/1.0\r\nHost: x\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + HIDDEN)
    output = _answers(connection)
    assert output.startswith(b"HTTP/1.1 400 ") and output.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "head",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(HIDDEN),
        b"DELETE " + ONE.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n0\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n",
        b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n",
    ],
)
def test_nothing_is_served_behind_a_request_that_others_may_read_otherwise(unix: Socket, head: bytes) -> None:
    connection = unix.connect()
    connection.sendall(head + b"\r\n" + HIDDEN + HIDDEN)
    output = _answers(connection)
    assert output.count(b"HTTP/1.1 ") == 1 and b"connection: close" in output


def test_right_requests_before_a_wrong_one_are_answered_first(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix.daemon.host, "list", lambda: _slowly([]))
    connection = unix.connect()
    slow, chunked = b"GET /v1/vifs HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /v1/check HTTP/1.1\r\nHost: x\r\n" + CHUNKED
    right = chunked + b"\r\n2\r\n{}\r\n0\r\n\r\n"
    connection.sendall(slow + right + chunked + LENGTH + b"\r\n" + HIDDEN)
    output = _answers(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", output) == [b"200", b"200", b"400"]


def test_wrong_body_is_not_carried_out(unix: Socket) -> None:
    connection = unix.connect()
    document = json.dumps(DOCUMENT).encode()
    connection.sendall(b"PUT " + ONE.encode() + b" HTTP/1.1\r\nHost: x\r\n" + CHUNKED + b"\r\n")
    connection.sendall(b"%x\r\n" % len(document) + document + b"\r\n0\r\nX: y\r\n\r\n")
    assert _answers(connection).startswith(b"HTTP/1.1 400 ")
    assert unix.ask("GET", ONE)[0] == 404


def test_requests_in_a_row_are_answered_in_turn(unix: Socket) -> None:
    connection = unix.connect()
    ids = [b"one", b"two", b"three"]
    for identity in ids:
        connection.sendall(b"GET /v1/host HTTP/1.1\r\nHost: x\r\nX-Request-Id: " + identity + b"\r\n\r\n")
    connection.shutdown(socket.SHUT_WR)
    output = _everything(connection)
    assert output.count(b"HTTP/1.1 200") == 3
    assert [line.partition(b": ")[2] for line in output.split(b"\r\n") if line.startswith(b"x-request-id")] == ids


def test_peer_that_goes_in_the_middle_of_its_request_is_let_go(unix: Socket, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(20):
        connection = unix.connect()
        connection.sendall(b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        connection.close()
    unix.wait_until(lambda: not unix.server.server_state.connections)
    assert unix.ask("GET", "/v1/host")[0] == 200
    assert not [record for record in caplog.records if record.exc_info]


def test_too_large_a_body_is_answered_before_it_ends(unix: Socket) -> None:
    connection = unix.connect()
    connection.sendall(b"POST /v1/check HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        connection.sendall(b"100000\r\n" + b" " * 2**20 + b"\r\n")
    assert b" 413 " in connection.recv(65536)


def test_bodies_of_one_user_are_not_kept_without_bounds(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "_BODIES_MAX", 2**20)
    _as(monkeypatch, OPERATOR)
    head = b"PUT " + ONE.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    first, second = unix.connect(), unix.connect()
    first.sendall(head + b" " * 600_000)
    time.sleep(BRIEF_SECONDS)
    second.sendall(head + b" " * 600_000)
    output = b""
    while b'"Busy"' not in output:
        output += second.recv(65536)
    assert b" 503 " in output and b"retry-after: 1" in output
    _as(monkeypatch, ADMIN)
    assert unix.ask("PUT", ONE, DOCUMENT)[0] == 200
    first.sendall(b" " * 400_000)
    assert b" 400 " in first.recv(65536)
    _as(monkeypatch, OPERATOR)
    assert unix.ask("POST", "/v1/check", {"ids": []})[0] == 200


def test_body_of_a_stranger_is_not_read(unix: Socket, monkeypatch: pytest.MonkeyPatch) -> None:
    _as(monkeypatch, STRANGER)
    connection = unix.connect()
    connection.sendall(b"PUT " + ONE.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
    assert b" 403 " in connection.recv(65536)


def test_many_at_once_each_get_their_own_answer(unix: Socket) -> None:
    """Plugs, unplugs and looks from many threads over the same few VIFs: nothing unforeseen, and nothing left."""
    statuses: list[int] = []

    def work(number: int) -> None:
        document = {**DOCUMENT, "id": f"0000000{number % 4}-1a1b-4fd9-8f4a-7cab3f9a425b"}
        path = f"/v1/vifs/{document['id']}"
        connection = unix.connect()
        for _ in range(5):
            for method, body in (("PUT", document), ("GET", None), ("DELETE", None)):
                status, output = unix.ask(method, path, body, connection)
                statuses.append(status)
                assert output.get("id", document["id"]) == document["id"]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 16 * 5 * 3
    assert set(statuses) <= {200, 404}
    assert not unix.daemon.fake.links
