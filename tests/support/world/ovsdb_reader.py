"""Rows of an OVSDB by plain JSON-RPC on its socket (RFC 7047): no process per read, and no code under test."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

READ_SECONDS = 15.0

Row = dict[str, Any]


def select(path: Path, tables: Sequence[tuple[str, Sequence[str]]]) -> list[list[Row]]:
    """Every row of some tables, all read in one transaction.

    :param tables: each table with the requested columns; no columns means all of them.
    :returns: rows by table, in the order asked: uuid as str, set as sorted list, map as dict.
    :raises AssertionError: the server answers with an error.
    """
    operations: list[Any] = ["Open_vSwitch"]
    for table, columns in tables:
        operation: Row = {"op": "select", "table": table, "where": []}
        operations.append(operation | ({"columns": list(columns)} if columns else {}))
    answer = _call(path, {"method": "transact", "params": operations, "id": 0})
    assert not answer.get("error"), f"{operations}: {answer}"
    results = answer["result"]
    assert all("rows" in result for result in results), f"{operations}: {answer}"
    return [[{column: _plain(value) for column, value in row.items()} for row in result["rows"]] for result in results]


def _call(path: Path, request: Row) -> Row:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(READ_SECONDS)
        connection.connect(str(path))
        connection.sendall(json.dumps(request).encode())
        decoder, received = json.JSONDecoder(), b""
        while True:
            more = connection.recv(1 << 20)
            assert more, f"OVSDB at {path} closed the connection"
            received += more
            if not received.rstrip().endswith(b"}"):
                continue
            try:
                answer, _end = decoder.raw_decode(received.decode())
            except ValueError:  # cut within a message, or within a character
                continue
            if answer.get("id") == 0 and "result" in answer:
                return dict(answer)


def _plain(value: Any) -> Any:
    """OVSDB's JSON notation as Python values."""
    match value:
        case ["uuid", str() as uuid]:
            return uuid
        case ["set", list() as items]:
            return sorted((_plain(item) for item in items), key=str)
        case ["map", list() as pairs]:
            return {_plain(key): _plain(item) for key, item in pairs}
        case _:
            return value
