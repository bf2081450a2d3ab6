"""Real users at the real daemon's socket: who gets in, and whose VIFs they may change."""

from __future__ import annotations

import grp
import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import BRIDGE, HYBRID, OVS, Request
from tests.support.world.world import World

GROUP = "users"
"""Debian's; it has no members but those made here."""
NOVA, NEUTRON, OUTSIDER = 64101, 64102, 64103


def connect_as(path: object, uid: int, groups: tuple[int, ...] = ()) -> socket.socket:
    """A connection that a process of another user made; PermissionError when the kernel did not let it.

    The kernel keeps the credentials of the moment of connect(): who holds the descriptor later does not matter.
    """
    near, far = socket.socketpair()
    with near, far:
        pid = os.fork()
        if pid == 0:
            _connect(str(path), far, uid, groups)
        message, descriptors, _, _ = socket.recv_fds(near, 16, 1)
        os.waitpid(pid, 0)
    if not descriptors:
        number = int(message)
        raise OSError(number, os.strerror(number))
    return socket.socket(fileno=descriptors[0])


def _connect(path: str, far: socket.socket, uid: int, groups: tuple[int, ...]) -> None:
    """In the child, which never returns."""
    try:
        os.setgroups(groups)
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(path)
            socket.send_fds(far, [b"0"], [connection.fileno()])
    except OSError as error:
        far.send(str(error.errno).encode())
    finally:
        os._exit(0)


def ask(daemon: Vifplugd, uid: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request of a member of GROUP."""
    client = http.client.HTTPConnection("vifplugd", timeout=30)
    client.sock = connect_as(daemon.socket, uid, (grp.getgrnam(GROUP).gr_gid,))
    try:
        client.request(method, path, None if body is None else json.dumps(body))
        answer = client.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        client.close()


def path_of(request: Request) -> str:
    return f"/v1/vifs/{request.id}"


@contextmanager
def running(world: World, **options: object) -> Iterator[Vifplugd]:
    world.directory.chmod(0o711)
    with Vifplugd(world, socket_group=GROUP, **options) as daemon:
        yield daemon


def test_user_outside_the_group_gets_permission_denied(world: World) -> None:
    with running(world, reader_users=OUTSIDER) as daemon:
        with pytest.raises(PermissionError):
            connect_as(daemon.socket, OUTSIDER)
        assert ask(daemon, NOVA, "GET", "/v1/vifs")[0] == 200


def test_member_operates_on_what_it_plugged_itself(world: World) -> None:
    with running(world) as daemon:
        assert ask(daemon, NOVA, "PUT", path_of(HYBRID), HYBRID.document)[0] == 200
        assert ask(daemon, NEUTRON, "PUT", path_of(OVS), OVS.document)[0] == 200
        before = world.snapshot()
        for method, path, body in (
            ("DELETE", path_of(HYBRID), None),
            ("PUT", path_of(HYBRID), HYBRID.but(network={"mtu": 1300}).document),
            ("POST", "/v1/batch", {"unplug": [HYBRID.id]}),
            ("POST", "/v1/batch", {"plug": [OVS.document, HYBRID.document]}),
            ("POST", "/v1/repair", {"ids": [HYBRID.id]}),
            ("POST", "/v1/repair", {}),
            ("POST", "/v1/gc", {"delete": True}),
        ):
            status, output = ask(daemon, NEUTRON, method, path, body)
            assert (status, output["error"]["type"]) == (403, "NotPermitted"), (method, path, body, output)
        assert world.snapshot() == before
        status, output = ask(daemon, NEUTRON, "POST", "/v1/batch", {"unplug": [HYBRID.id, OVS.id]})
        assert status == 403, output
        assert world.link(HYBRID.qvo) is not None
        assert ask(daemon, NOVA, "DELETE", path_of(HYBRID))[0] == 200
        assert world.link(HYBRID.qvo) is None


def test_administrator_may_change_every_vif(world: World) -> None:
    with running(world, admin_users=f"root,{NEUTRON}") as daemon:
        assert ask(daemon, NOVA, "PUT", path_of(HYBRID), HYBRID.document)[0] == 200
        assert ask(daemon, NEUTRON, "DELETE", path_of(HYBRID))[0] == 200
        assert ask(daemon, NOVA, "PUT", path_of(OVS), OVS.document)[0] == 200
        assert daemon.request("DELETE", path_of(OVS))[0] == 200
        assert world.link(OVS.tap) is None


def test_reader_looks_and_changes_nothing(world: World) -> None:
    with running(world, operator_users=NOVA) as daemon:
        assert ask(daemon, NOVA, "PUT", path_of(HYBRID), HYBRID.document)[0] == 200
        before = world.snapshot()
        for path in ("/v1/vifs", path_of(HYBRID), f"{path_of(HYBRID)}/path", "/v1/host"):
            assert ask(daemon, NEUTRON, "GET", path)[0] == 200
        assert ask(daemon, NEUTRON, "GET", "/v1/host")[1]["level"] == "read"
        assert ask(daemon, NEUTRON, "PUT", f"{path_of(OVS)}?dry_run=true", OVS.document)[0] == 200
        assert ask(daemon, NEUTRON, "PUT", path_of(OVS), OVS.document)[0] == 403
        assert ask(daemon, NEUTRON, "DELETE", path_of(HYBRID))[0] == 403
        assert world.snapshot() == before


def test_creator_is_remembered_over_the_daemons_restart(world: World) -> None:
    with running(world) as daemon:
        assert ask(daemon, NOVA, "PUT", path_of(HYBRID), HYBRID.document)[0] == 200
        daemon.stop()
        daemon.start()
        assert ask(daemon, NEUTRON, "DELETE", path_of(HYBRID))[0] == 403
        assert ask(daemon, NOVA, "DELETE", path_of(HYBRID))[0] == 200


def test_hundred_idle_connections_do_not_stop_the_next_request(world: World) -> None:
    group = (grp.getgrnam(GROUP).gr_gid,)
    with running(world) as daemon:
        idle = [connect_as(daemon.socket, NOVA, group) for _ in range(100)]
        try:
            for connection in idle[::2]:
                connection.sendall(b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert ask(daemon, NOVA, "PUT", path_of(HYBRID), HYBRID.document)[0] == 200
            assert ask(daemon, NEUTRON, "GET", "/v1/vifs")[0] == 200
        finally:
            for connection in idle:
                connection.close()


def _on(request: Request, bridge: str) -> Request:
    return request.but(network={**request.document["network"], "bridge": bridge})


def test_operator_reaches_no_bridge_that_is_not_for_guests(world: World) -> None:
    world.vsctl("add-br", "br-ex", "--", "set", "bridge", "br-ex", "datapath_type=netdev")
    for name in ("docker0", "brq14ec4c8b-00"):
        world.ip("link", "add", name, "type", "bridge")
    with running(world, operator_bridges="br-prov*,docker1") as daemon:
        assert ask(daemon, NOVA, "PUT", path_of(OVS), OVS.document)[0] == 200
        before = world.snapshot()
        requests = [
            _on(HYBRID, "br-ex"),
            _on(OVS, "br-ex"),
            *(_on(BRIDGE, name) for name in ("docker0", "brq14ec4c8b-00")),
        ]
        for request in requests:
            for method, path, body in (
                ("PUT", path_of(request), request.document),
                ("POST", "/v1/batch", {"plug": [request.document]}),
            ):
                status, output = ask(daemon, NOVA, method, path, body)
                assert (status, output["error"]["type"]) == (403, "NotPermitted"), request
                assert "operator_bridges" in output["detail"]
        assert world.snapshot() == before
        assert daemon.request("PUT", path_of(HYBRID), _on(HYBRID, "br-ex").document)[0] == 200, "root may"
        world.vsctl("add-br", "br-provider", "--", "set", "bridge", "br-provider", "datapath_type=netdev")
        assert ask(daemon, NOVA, "PUT", path_of(OVS), _on(OVS, "br-provider").document)[0] == 200


def test_mtu_of_a_shared_bridge_stays_when_another_user_joins(world: World) -> None:
    other = BRIDGE.but(id="81ab5618-df3e-4999-932a-1263b7886e5b", address="fa:16:3e:00:00:09")
    name = "brq" + BRIDGE.document["network"]["id"][:11]

    def joins(uid: int, request: Request, mtu: int) -> int:
        network = {**request.document["network"], "mtu": mtu}
        return ask(daemon, uid, "PUT", path_of(request), request.but(network=network).document)[0]

    with running(world) as daemon:
        assert joins(NOVA, BRIDGE, 1400) == 200
        assert joins(NEUTRON, other, 9000) == 403
        assert joins(NEUTRON, other, 1400) == 200
        assert joins(NEUTRON, other, 9000) == 403
        assert world.ip("link", "show", name)[0]["mtu"] == 1400
