"""The journal's fields: sent to a fake journal, parsed as systemd does; the choice of a format; levels."""

from __future__ import annotations

import io
import json
import logging
import os
import pathlib
import socket
import sys
from collections.abc import Iterator

import pytest

from vifplug.daemon import journal, logs
from vifplug.daemon.log_writer import LogWriter

LOG = logging.getLogger("vifplug.test_journal")


def fields(entry: bytes) -> dict[str, list[str]]:
    """An entry by systemd's own rules (JOURNAL_NATIVE_PROTOCOL)."""
    known: dict[str, list[str]] = {}
    while entry:
        head, entry = entry.split(b"\n", 1)
        name, equals, value = head.partition(b"=")
        if not equals:
            size, entry = int.from_bytes(entry[:8], "little"), entry[8:]
            value, entry = entry[:size], entry[size + 1 :]
        known.setdefault(name.decode(), []).append(value.decode())
    return known


@pytest.fixture
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("vifplug")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], _, _ = before
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(False)


def test_journal_gets_priorities_and_fields(tmp_path: pathlib.Path, restored: None) -> None:
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as fake:
        fake.bind(path)
        fake.settimeout(10)
        writer = LogWriter(2, logs._dropped_entry, send=lambda entry: journal.send(entry, path))
        handler = logs.JournalHandler(writer)
        root = logging.getLogger()
        root.handlers[:] = [handler]
        root.setLevel(logging.DEBUG)
        LOG.setLevel(logging.DEBUG)
        for level, priority in ((10, "7"), (20, "6"), (30, "4"), (40, "3"), (50, "2")):
            LOG.log(level, "two\nlines of %s", "tap1\ud800", extra={"vif_id": "71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"})
            known = fields(fake.recv(2**20))
            assert known["PRIORITY"] == [priority] and known["SYSLOG_IDENTIFIER"] == ["vifplugd"]
            assert known["VIFPLUG_VIF"] == ["71a6b0e4-1a1b-4fd9-8f4a-7cab3f9a425b"]
            assert known["VIFPLUG_MESSAGE"] == ["two\nlines of tap1\\ud800"]
            assert json.loads(known["MESSAGE"][0])["level"] == logging.getLevelName(level)
            assert known["CODE_FUNC"] == ["test_journal_gets_priorities_and_fields"]
        request = logs.Request(id="r1", vif_ids=["a", "b"])
        token = logs.CURRENT.set(request)
        handler.addFilter(logs.RequestFilter())
        LOG.info("x" * 200_000)
        logs.CURRENT.reset(token)
        known = fields(fake.recv(2**20))
        assert known["VIFPLUG_VIF"] == ["a", "b"] and known["VIFPLUG_REQUEST"] == ["r1"]
        assert len(known["VIFPLUG_MESSAGE"][0]) == 96 * 1024
        writer.flush(5)
    # The journal has gone: lines are counted as dropped, and nothing waits.
    pathlib.Path(path).unlink()
    LOG.info("lost")
    writer.flush(5)
    assert writer.dropped == 1


def test_journal_is_known_by_its_stream(tmp_path: pathlib.Path) -> None:
    with (tmp_path / "x").open("w") as file:
        status = os.fstat(file.fileno())
        stream = f"{status.st_dev}:{status.st_ino}"
        assert journal.is_journal(file.fileno(), {"JOURNAL_STREAM": stream})
        assert not journal.is_journal(file.fileno(), {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not journal.is_journal(file.fileno(), {})
    assert not journal.is_journal(10**6, {"JOURNAL_STREAM": stream})


def test_text_is_for_a_person(restored: None) -> None:
    record = logging.LogRecord("vifplug.x", logging.INFO, __file__, 1, "repaired\n%s", ("tap\x1b[31m",), None)
    line = logs.TextFormatter().format(record)
    assert line.endswith("INFO     repaired\\ntap\\x1b[31m") and "\n" not in line and "+00:00" not in line


@pytest.mark.parametrize(
    ("own", "libraries", "shown"),
    [
        (logging.INFO, logging.INFO, ["ours info", "theirs info"]),
        (logging.DEBUG, logging.INFO, ["ours debug", "ours info", "theirs info"]),
        (logging.DEBUG, logging.DEBUG, ["ours debug", "theirs debug", "ours info", "theirs info"]),
    ],
)
def test_levels(own: int, libraries: int, shown: list[str], restored: None) -> None:
    stream = io.StringIO()
    logs.start(own, stream, libraries=libraries)
    for level in ("debug", "info"):
        for name, logger in (("ours", "vifplug.some"), ("theirs", "library.some")):
            getattr(logging.getLogger(logger), level)("%s %s", name, level)
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == shown
    assert sys.stderr is not stream
