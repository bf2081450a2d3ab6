"""The cost of the same work for the kernel and Open vSwitch alone: ``ip -batch``, and one handwritten OVSDB
transaction.

No record, no read-back, no ownership, no privilege boundary. The rows have the same columns, the links the same
settings as far as ``ip`` can give them (it writes no sysctl: ``addrgenmode none`` keeps the host's IPv6 quiet instead).
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.vifs import INSTANCE, MTU, Request
from tests.support.world.world import World

Operation = dict[str, Any]
_SECONDS = 120.0
_GROUP = 4711
_OS_VIFS_SYSCTLS = {"ipv6/conf/{}/disable_ipv6": "1", "ipv4/conf/{}/arp_ignore": "1", "ipv4/conf/{}/arp_announce": "2"}


class Ovsdb:
    """A connection to OVSDB: requests and answers as on the wire, and vswitchd's cur_cfg."""

    def __init__(self, world: World) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_SECONDS)
        self._socket.connect(str(world.socket))
        self._decoder, self._text, self._number = json.JSONDecoder(), "", 0
        self._cur_cfg = 0
        reported = self._ask("monitor", ["Open_vSwitch", None, {"Open_vSwitch": {"columns": ["cur_cfg"]}}])
        self._note(reported)
        select = {"op": "select", "table": "Bridge", "where": [["name", "==", "br-int"]], "columns": ["_uuid"]}
        self._bridge = self._ask("transact", ["Open_vSwitch", select])[0]["rows"][0]["_uuid"]

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def _note(self, tables: dict[str, Any]) -> None:
        for row in tables.get("Open_vSwitch", {}).values():
            self._cur_cfg = row["new"]["cur_cfg"]

    def _message(self) -> Any:
        while True:
            self._text = self._text.lstrip()
            try:
                message, end = self._decoder.raw_decode(self._text)
            except json.JSONDecodeError:
                received = self._socket.recv(1 << 18)
                assert received, "OVSDB has closed the connection"
                self._text += received.decode()
                continue
            self._text = self._text[end:]
            if message.get("method") == "echo":
                self._send({"id": message["id"], "result": message["params"], "error": None})
            elif message.get("method") == "update":
                self._note(message["params"][1])
            return message

    def _send(self, message: Any) -> None:
        self._socket.sendall(json.dumps(message).encode())

    def _ask(self, method: str, params: Sequence[Any]) -> Any:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": params})
        while (message := self._message()).get("id") != self._number or "method" in message:
            pass
        assert not message["error"], message
        return message["result"]

    def commit(self, operations: Sequence[Operation]) -> None:
        """One transaction; returns when vswitchd has carried it out."""
        root: Operation = {"table": "Open_vSwitch", "where": []}
        asked = [
            *operations,
            {"op": "mutate", **root, "mutations": [["next_cfg", "+=", 1]]},
            {"op": "select", **root, "columns": ["next_cfg"]},
        ]
        answer = self._ask("transact", ["Open_vSwitch", *asked])
        errors = [each for each in answer if each and "error" in each]
        assert not errors, errors
        next_cfg = answer[len(asked) - 1]["rows"][0]["next_cfg"]
        while self._cur_cfg < next_cfg:
            self._message()

    def add_ports(self, requests: Sequence[Request]) -> None:
        """All in one transaction."""
        operations: list[Operation] = []
        for number, request in enumerate(requests):
            ids = {"iface-id": request.id, "iface-status": "active", "attached-mac": request.address}
            external_ids = ["map", sorted({**ids, "vm-uuid": INSTANCE}.items())]
            interface, port = f"interface{number}", f"port{number}"
            row = {"name": request.port, "external_ids": external_ids}
            operations.append({"op": "insert", "table": "Interface", "uuid-name": interface, "row": row})
            row = {"name": request.port, "interfaces": ["named-uuid", interface]}
            operations.append({"op": "insert", "table": "Port", "uuid-name": port, "row": row})
        named = [["named-uuid", f"port{number}"] for number in range(len(requests))]
        self.commit([*operations, self._ports("insert", named)])

    def delete_ports(self, requests: Sequence[Request]) -> None:
        """All in one transaction."""
        select = {"op": "select", "table": "Port", "where": [], "columns": ["_uuid", "name"]}
        rows = self._ask("transact", ["Open_vSwitch", select])[0]["rows"]
        wanted = {request.port for request in requests}
        self.commit([self._ports("delete", [row["_uuid"] for row in rows if row["name"] in wanted])])

    def _ports(self, mutator: str, uuids: Sequence[Any]) -> Operation:
        where = [["_uuid", "==", self._bridge]]
        return {"op": "mutate", "table": "Bridge", "where": where, "mutations": [["ports", mutator, ["set", uuids]]]}


class Floor:
    """A contestant of ``tests.bench.contestants``' kind, in this process.

    Only this contestant counts its links as VIFs.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._ovsdb = Ovsdb(world)

    def close(self) -> None:
        """Close the connection to OVSDB."""
        self._ovsdb.close()

    def plug(self, requests: Sequence[Request]) -> float:
        """Links in one ``ip -batch``, then ports in one transaction; seconds."""
        lines = "\n".join(line for request in requests for line in _creation(request))
        began = time.perf_counter()
        self._batch(lines)
        ports = [request for request in requests if request.type != "bridge"]
        if ports:
            self._ovsdb.add_ports(ports)
        return time.perf_counter() - began

    def imitate_os_vif(self, requests: Sequence[Request]) -> None:
        """Hybrid VIFs as os-vif leaves them, with IPv6; os-vif itself would need minutes."""
        self._batch("\n".join(line for request in requests for line in _creation(request, "")))
        with self._world.namespace.entered():
            for request in requests:
                for path, value in _OS_VIFS_SYSCTLS.items():
                    Path("/proc/sys/net", path.format(request.qbr)).write_text(value)
        self._ovsdb.add_ports(requests)

    def unplug(self, requests: Sequence[Request]) -> float:
        """The ports in one transaction, then the links as one group; seconds."""
        links = [name for request in requests for name in _links(request)]
        lines = "\n".join([*(f"link set {name} group {_GROUP}" for name in links), f"link delete group {_GROUP}"])
        began = time.perf_counter()
        ports = [request for request in requests if request.type != "bridge"]
        if ports:
            self._ovsdb.delete_ports(ports)
        self._batch(lines)
        return time.perf_counter() - began

    def _batch(self, lines: str) -> None:
        self._world.run("ip", "-batch", "-", input=lines)


def _links(request: Request) -> list[str]:
    return {"ovs-hybrid": [request.qvb, request.qbr], "ovs": [request.tap], "bridge": [request.brq]}[request.type]


def _creation(request: Request, quiet: str = "addrgenmode none ") -> list[str]:
    """The commands that create a VIF's links.

    :param quiet: the arguments that turn off the host's IPv6 on them.
    """
    bridge = "stp_state 0 forward_delay 0 mcast_snooping 0"
    if request.type == "ovs-hybrid":
        qbr, qvb, qvo = request.qbr, request.qvb, request.qvo
        return [
            f"link add {qbr} type bridge {bridge} ageing_time 0",
            f"link set {qbr} {quiet}mtu {MTU}",
            f"link add {qvb} mtu {MTU} type veth peer name {qvo} mtu {MTU}",
            f"link set {qvb} {quiet}promisc on master {qbr}",
            f"link set {qvo} {quiet}promisc on",
            *(f"link set {name} up" for name in (qbr, qvb, qvo)),
        ]
    if request.type == "ovs":
        tap = request.tap
        return [f"tuntap add dev {tap} mode tap", f"link set {tap} addrgenmode none mtu {MTU}", f"link set {tap} up"]
    return [
        f"link add {request.brq} type bridge {bridge}",
        f"link set {request.brq} addrgenmode none",
        f"link set {request.brq} up",
    ]
