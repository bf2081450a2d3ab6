"""Log records for systemd's journal, with priorities and fields (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "vifplugd"
_VALUE_MAX = 96 * 1024
"""Bytes of a field. A datagram holds some 200 kB (net.core.wmem_default); by standard error the journal would cut lines
at 48 kB."""
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_FIELDS = {"request_id": "VIFPLUG_REQUEST", "vif_id": "VIFPLUG_VIF", "vif_ids": "VIFPLUG_VIF"}
"""Keys of a line that are fields, too; a field may have several values."""


def is_journal(descriptor: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a descriptor is the journal's own stream, as systemd connects it: JOURNAL_STREAM names it."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def send(entry: bytes, path: str = SOCKET) -> int:
    """Send an entry; the number of its bytes.

    The socket is opened each time: the journal may have restarted, and a fork must not share it.

    :raises OSError: the journal does not take it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        return sender.sendto(entry, path)


def entry(record: logging.LogRecord, line: str, keys: Mapping[str, Any]) -> bytes:
    """A record as the journal takes it. MESSAGE is the whole JSON line, as it was before there were fields.

    :param keys: of the line.
    """
    return b"".join(_encoded(name, value) for name, value in _values(record, line, keys))


def _values(record: logging.LogRecord, line: str, keys: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "MESSAGE", line
    yield "PRIORITY", str(priority(record.levelno))
    yield "SYSLOG_IDENTIFIER", IDENTIFIER
    yield "VIFPLUG_MESSAGE", record.getMessage()
    yield "VIFPLUG_LOGGER", record.name
    yield "CODE_FILE", record.pathname
    yield "CODE_LINE", str(record.lineno)
    yield "CODE_FUNC", record.funcName or ""
    for key, name in _FIELDS.items():
        for value in _all(keys.get(key)):
            yield name, value
    peer = keys.get("peer")
    if isinstance(peer, Mapping):
        yield "VIFPLUG_PEER_UID", str(peer.get("uid"))


def _all(value: object) -> Iterable[str]:
    if value is None:
        return ()
    return map(str, value) if isinstance(value, list | tuple) else (str(value),)


def priority(level: int) -> int:
    """The syslog priority of a level of ``logging``."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def _encoded(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")[:_VALUE_MAX]
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
