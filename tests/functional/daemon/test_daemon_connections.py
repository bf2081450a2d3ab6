"""More connections than the daemon has descriptors for: it goes on, and says so once."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon.vifplugd import Vifplugd
from tests.support.vifs import HYBRID
from tests.support.world.daemons import wait_until
from tests.support.world.world import World

DESCRIPTORS = 512
CROWD = 600
LISTEN = 8775
EVENTS = {"wired_by": "neutron-events", "listen": str(LISTEN), "listen_token": "a-token-of-some-length"}


@contextlib.contextmanager
def crowd(address: str | tuple[str, int], sent: bytes) -> Iterator[list[socket.socket]]:
    """So many connections that each send this; the daemon may close any of them."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(CROWD):
            connection = stack.enter_context(
                socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
            )
            connection.settimeout(10)
            with contextlib.suppress(ConnectionError):
                connection.connect(address)
                connection.sendall(sent)
            found.append(connection)
        yield found


def patiently(daemon: Vifplugd, method: str, path: str, body: object = None) -> int:
    """As an ordinary client, which tries again what is refused as busy or broken off."""
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _body = daemon.request(method, path, body)
            if status != 503:
                return status
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /v1/check HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
        b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
        b'POST /v1/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 89\r\n\r\n{"ids": '
        b'["71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"], "for": "active", "timeout": 60}            ',
    ],
    ids=["idle", "half a request", "followers", "waits"],
)
def test_crowd_on_the_socket_stops_neither_requests_nor_repairs(world: World, sent: bytes) -> None:
    daemon = Vifplugd(world, repair_interval=1)
    daemon.command = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}", *daemon.command]
    with daemon:
        assert daemon.request("PUT", f"/v1/vifs/{HYBRID.id}", HYBRID.document)[0] == 200
        worker = daemon.worker()
        with crowd(str(daemon.socket), sent):
            assert patiently(daemon, "GET", "/v1/vifs") == 200
            world.ip("link", "set", "qvb71a6b0e4-1a", "mtu", "1300")
            wait_until(lambda: world.ip("link", "show", "qvb71a6b0e4-1a")[0]["mtu"] != 1300, "the repair", 20)
            assert patiently(daemon, "POST", "/v1/check", {}) == 200
        assert daemon.worker() == worker
        output = [line for line in daemon.log().splitlines() if "connection" in line or "descriptor" in line]
        assert len(output) <= 2, output


def test_crowd_on_the_listener_does_not_keep_an_event_out(world: World) -> None:
    daemon = Vifplugd(world, {"events": EVENTS})
    daemon.command = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}", *daemon.command]
    with daemon, world.namespace.entered(), crowd(("127.0.0.1", LISTEN), b"POST / HTTP/1.1\r\n"):
        client = http.client.HTTPConnection("127.0.0.1", LISTEN, timeout=10)
        with contextlib.closing(client):
            client.request("POST", "/v2.1/os-server-external-events", b"{}")
            assert client.getresponse().status == 401
        assert patiently(daemon, "GET", "/v1/vifs") == 200
        assert sum("oldest idle" in line for line in daemon.log().splitlines()) <= 1
