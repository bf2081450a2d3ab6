"""Lines to a descriptor that is not read: none waits, some are dropped, and that is told."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator

import pytest

from vifplug.daemon import log_writer
from vifplug.daemon.log_writer import LogStream, LogWriter

SOON_SECONDS = 10.0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def notice(count: int) -> bytes:
    return b"dropped %d\n" % count


def read_until(reader: int, text: bytes) -> bytes:
    output, deadline = b"", time.monotonic() + SOON_SECONDS
    while text not in output:
        assert time.monotonic() < deadline
        output += os.read(reader, 65536)
    return output


def test_lines_come_in_their_order(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], notice)
    for number in range(100):
        writer.write(b"%d\n" % number)
    writer.flush(SOON_SECONDS)
    assert os.read(pipe[0], 65536).split() == [b"%d" % number for number in range(100)]
    assert writer.dropped == 0


def test_what_is_not_read_is_dropped_and_reported(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "QUEUE_MAX_BYTES", 10_000)
    writer = LogWriter(pipe[1], notice)
    written = 0
    while not writer.dropped:
        writer.write(b"x" * 999 + b"\n")
        written += 1
    for _ in range(9):
        writer.write(b"x" * 999 + b"\n")
        written += 1
    began = time.monotonic()
    writer.flush(0.2)
    assert time.monotonic() - began < SOON_SECONDS
    # The writer may take a line between two that are dropped: there are as many notices then.
    output, dropped = b"", writer.dropped
    while sum(map(int, re.findall(rb"dropped (\d+)\n", output))) < dropped:
        output += read_until(pipe[0], b"\n")
    assert dropped >= 1 and output.count(b"x\n") == written - dropped
    writer.write(b"the next\n")
    assert b"dropped" not in read_until(pipe[0], b"the next")


def test_reader_that_has_gone_stops_nothing() -> None:
    reader, end = os.pipe()
    writer = LogWriter(end, notice)
    os.close(reader)
    for _ in range(3):
        writer.write(b"x\n")
    writer.flush(SOON_SECONDS)
    os.close(end)
    assert writer.dropped == 3


def test_descriptor_stays_as_it_is(pipe: tuple[int, int]) -> None:
    LogWriter(pipe[1], notice).write(b"x\n")
    assert os.get_blocking(pipe[1])
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1], notice)
    for _ in range(100):
        writer.write(b"x" * 9_999 + b"\n")
    threading.Timer(0.2, writer.write, [b"the last\n"]).start()
    assert read_until(pipe[0], b"the last").count(b"x\n") == 101


def test_child_of_a_fork_writes_its_own_lines_alone(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], notice)
    writer.write(b"x" * 100_000 + b"\n")  # more than the pipe holds: the thread waits
    writer.write(b"the parent\n")
    pid = os.fork()
    if pid == 0:
        writer.write(b"the child\n")
        writer.flush(SOON_SECONDS)
        os._exit(0)
    output = b""
    while b"the child" not in output or b"the parent" not in output:
        output += os.read(pipe[0], 65536)
    os.waitpid(pid, 0)
    assert output.count(b"the parent") == 1 and output.count(b"the child") == 1


def test_stream_passes_whole_lines_on(pipe: tuple[int, int]) -> None:
    writer = LogWriter(pipe[1], notice)
    stream = LogStream(writer, pipe[1])
    print("one", "two\nthree", end="", file=stream)
    print("\udcff", file=stream, flush=True)
    writer.flush(SOON_SECONDS)
    assert os.read(pipe[0], 1000) == b"one two\nthree\\udcff\n"
