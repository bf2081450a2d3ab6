"""The commands that may reach ovs-vswitchd's control socket, and their arguments."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vifplug.errors import PermissionDenied
from vifplug.privileged import vswitchd

MAC, EVERY = "fa:16:3e:eb:5e:26", "ff:ff:ff:ff:ff:ff"
FRAME: dict[str, Any] = {
    **{"kind": "arp", "in_port": "qvo1", "source": MAC, "destination": EVERY, "vlan": None},
    **{"sender": "0.0.0.0", "target": "192.0.2.1"},
}


class Switch:
    """A control socket that records requests."""

    def __init__(self, path: Path) -> None:
        self.requests: list[Any] = []
        self.reply: Any = {"id": 0, "result": "text", "error": None}
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _peer = self._socket.accept()
            except OSError:
                return
            with connection:
                self.requests.append(json.loads(connection.recv(65536)))
                connection.sendall(json.dumps(self.reply).encode())

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Switch]:
    made = Switch(tmp_path / "ovs-vswitchd.1.ctl")
    session = type("Session", (), {"remotes": [f"unix:{tmp_path}/db.sock"]})
    monkeypatch.setattr("vifplug.privileged.vswitchd.ovsdb.session", lambda: session)
    yield made
    made.close()


def test_each_verb_sends_its_fixed_command(switch: Switch) -> None:
    assert vswitchd._answered("fdb/show", "br-int") == {"text": "text", "error": ""}
    assert switch.requests == [{"id": 0, "method": "fdb/show", "params": ["br-int"]}]


def test_error_of_the_switch_is_an_answer(switch: Switch) -> None:
    switch.reply = {"id": 0, "result": None, "error": "br-no: unknown bridge\n"}
    assert vswitchd._answered("fdb/show", "br-no") == {"text": "", "error": "br-no: unknown bridge"}


def test_answer_in_pieces_is_read_whole(switch: Switch) -> None:
    switch.reply = {"id": 0, "result": "}" * 200_000, "error": None}
    assert vswitchd._answered("fdb/show", "br-int")["text"] == "}" * 200_000


def test_too_large_an_answer_is_refused(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vswitchd, "ANSWER_BYTES_MAX", 1000)
    switch.reply = {"id": 0, "result": "x" * 10_000, "error": None}
    assert "more than 1000 bytes" in vswitchd._answered("fdb/show", "br-int")["error"]


def test_frames_are_put_together_here() -> None:
    assert vswitchd._flow(FRAME) == (
        f"in_port=qvo1,dl_src={MAC},dl_dst={EVERY},arp,arp_op=1,arp_sha={MAC},arp_spa=0.0.0.0,arp_tpa=192.0.2.1"
    )
    assert vswitchd._flow({**FRAME, "kind": "icmp", "vlan": 5}).startswith("icmp,in_port=qvo1,")
    assert "dl_vlan=5" in vswitchd._flow({**FRAME, "kind": "icmp", "vlan": 5})
    assert vswitchd._flow({**FRAME, "kind": "dhcp"}).endswith("udp_src=68,udp_dst=67")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "-generate"),
        ("in_port", "1,actions=drop"),
        ("in_port", "-generate"),
        ("in_port", ""),
        ("source", "fa:16:3e:eb:5e:26,tp_src=1"),
        ("destination", "01:00:5e:00:00:01"),
        ("vlan", 4096),
        ("vlan", "5"),
        ("vlan", True),
        ("sender", "::1"),
        ("target", "192.0.2.1,ip"),
    ],
)
def test_argument_that_is_none_is_refused(key: str, value: object) -> None:
    with pytest.raises(PermissionDenied):
        vswitchd._flow({**FRAME, key: value})


@pytest.mark.parametrize("bridge", ["", "-generate", "br int", "br-int,x", "br/int", "b" * 256, None, 5, "br\n"])
def test_bridge_that_is_no_name_is_refused(bridge: object) -> None:
    with pytest.raises(PermissionDenied):
        vswitchd._name("the bridge", bridge)
