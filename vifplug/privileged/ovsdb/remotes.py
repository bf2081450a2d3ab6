"""OVSDB addresses: whether a server answers at each, and whether it accepts writes.

A standby of an active-backup pair (ovsdb-server --sync-from, or connect-active-ovsdb-server) answers like any server
but refuses every write, and so does a remote that is configured read-only. python-ovs itself skips a member of a
cluster that is not its leader, and a relay (leader_only).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

WRITES_NOTHING = {
    "op": "mutate",
    "table": "Open_vSwitch",
    "where": [["_uuid", "==", ["uuid", "00000000-0000-0000-0000-000000000000"]]],
    "mutations": [["next_cfg", "+=", 1]],
}
"""A write of no row. A server that accepts no writes refuses it, too (ovsdb/execution.c)."""
TAKES_NO_WRITES = "it is a standby, or a read-only remote: it accepts no writes"
NOT_ALLOWED = "read only mode"
"""The texts of a server that refuses a write."""
_ERROR = "not allowed"
_DATABASE = "Open_vSwitch"
_OF_DATABASE = {
    "op": "select",
    "table": "Database",
    "where": [["name", "==", _DATABASE]],
    "columns": ["model", "connected", "leader"],
}
_PROBE_SECONDS = 0.2
_CHUNK_BYTES = 65536
_ANSWER_BYTES_MAX = 1 << 20


def refuses_writes(result: Any) -> bool:
    """Whether the answer to a transaction shows that this server accepts no writes."""
    operations = result if isinstance(result, list) else [result]
    return any(isinstance(each, dict) and each.get("error") == _ERROR for each in operations)


def answers(remote: str) -> bool:
    """Whether it is worth opening an IDL: it would back off for a second after its first refusal."""
    kind, _colon, path = remote.partition(":")
    if kind != "unix":
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def exists(remote: str) -> bool:
    """Whether there is, or may be, a server at this address: a killed one leaves a socket that refuses connections."""
    kind, _colon, path = remote.partition(":")
    try:
        return kind != "unix" or bool(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def connected(remote: str, seconds: float) -> socket.socket:
    """A separate connection.

    :raises OSError, ValueError: no server accepts it in time.
    """
    kind, _colon, place = remote.partition(":")
    if kind != "unix":
        host, _colon, port = place.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), seconds)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        made.settimeout(seconds)
        made.connect(place)
    except BaseException:
        made.close()
        raise
    return made


def unfit(connection: socket.socket, seconds: float) -> str:
    """Why a server accepts no writes; "" if it does.

    :raises OSError, ValueError: it does not answer in time, or its answer is invalid.
    """
    asked = [["Open_vSwitch", WRITES_NOTHING], ["_Server", _OF_DATABASE]]
    requests = [{"id": number, "method": "transact", "params": params} for number, params in enumerate(asked)]
    connection.settimeout(seconds)
    connection.sendall("".join(map(json.dumps, requests)).encode())
    replies = _answered(connection, len(requests), time.monotonic() + seconds)
    if replies[0].get("error"):
        return f"it has no database {_DATABASE}"
    if refuses_writes(replies[0].get("result")):
        return TAKES_NO_WRITES
    return _of_cluster(replies[1].get("result"))


def selected(
    connection: socket.socket, wanted: Mapping[str, Sequence[str]], seconds: float, most: int = _ANSWER_BYTES_MAX
) -> list[list[Any]]:
    """Rows of tables that are not replicated, in OVSDB's JSON: of each table, the requested columns.

    :param most: the limit of the answer, in characters.
    :raises OSError, ValueError: the server does not answer in time, or refuses.
    """
    reads = [{"op": "select", "table": table, "where": [], "columns": [*columns]} for table, columns in wanted.items()]
    connection.settimeout(seconds)
    connection.sendall(json.dumps({"id": 0, "method": "transact", "params": [_DATABASE, *reads]}).encode())
    answer = _answered(connection, 1, time.monotonic() + seconds, most)[0]
    try:
        return [result["rows"] for result in answer["result"]]
    except (LookupError, TypeError) as error:
        raise ValueError(f"the answer is not OVSDB's: {answer!r:.200}") from error


def _answered(
    connection: socket.socket, count: int, deadline: float, most: int = _ANSWER_BYTES_MAX
) -> dict[int, dict[str, Any]]:
    """The answers to the first requests, by number; other messages of the server are ignored."""
    decoder, text, replies = json.JSONDecoder(), "", dict[int, dict[str, Any]]()
    while len(replies) < count:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        chunk = connection.recv(_CHUNK_BYTES)
        if not chunk:
            raise OSError("the connection was closed without an answer")
        text = (text + chunk.decode(errors="replace")).lstrip()
        if len(text) > most:
            raise ValueError("the answer is not OVSDB's")
        while text:
            try:
                message, end = decoder.raw_decode(text)
            except ValueError:
                break  # the rest will follow
            text = text[end:].lstrip()
            if isinstance(message, dict) and isinstance(message.get("id"), int):
                replies[message["id"]] = message
    return replies


def _of_cluster(result: Any) -> str:
    """Why python-ovs would skip this server; an old server has no database about itself."""
    try:
        row = result[0]["rows"][0]
        model, is_connected, is_leader = (row[column] for column in ("model", "connected", "leader"))
    except (LookupError, TypeError):
        return ""
    if model == "relay":
        return "it is a relay, which is not written to"
    if model == "clustered" and not is_connected:
        return "it is a member of a cluster that it has lost"
    return "it is a member of a cluster, and not the leader" if model == "clustered" and not is_leader else ""
