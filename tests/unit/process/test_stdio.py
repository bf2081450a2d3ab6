"""Streams and descriptors 0-2 that a caller has closed: what is opened next does not come there."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vifplug.process import stdio

CLOSED = "exec <&- >&- 2>&-; "
KINDS = """
import os, stat, sys
def kinds():
    found = []
    for descriptor in range(3):
        try:
            status = os.fstat(descriptor)
        except OSError:
            found.append("closed")
        else:
            null = stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) == 1 and os.minor(status.st_rdev) == 3
            found.append("null" if null else "another")
    return found
"""


def told(shell: str, script: str, *arguments: str) -> str:
    """What a script answers, in an interpreter started with some of its streams closed; it has a file for that."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    argv = ["bash", "-c", f'{shell}exec "$@"', "_", sys.executable, "-c", KINDS + script, str(writer), *arguments]
    process = subprocess.Popen(argv, pass_fds=[writer], cwd=Path(__file__).parents[3])
    os.close(writer)
    with open(reader) as answer:
        text = answer.read()
    assert process.wait() == 0
    return text


SETTLED = """
from vifplug.process import stdio
stdio.settle()
print("to nobody", file=sys.stderr)
inherited = [os.get_inheritable(descriptor) for descriptor in range(3)]
os.write(int(sys.argv[1]), repr((kinds(), inherited, sys.stdout is None)).encode())
"""


@pytest.mark.parametrize(
    ("shell", "kinds"),
    [
        (CLOSED, ["null", "null", "null"]),
        ("exec </dev/zero 2>&-; ", ["another", "another", "null"]),
        ("exec </dev/zero; ", ["another", "another", "another"]),
    ],
)
def test_program_that_is_started_with_closed_descriptors_has_them_for_good(shell: str, kinds: list[str]) -> None:
    assert told(shell, SETTLED) == repr((kinds, [True] * 3, shell == CLOSED))


LENT = """
from vifplug.process import stdio
seen = [kinds()]
with stdio.opened():
    seen.append(kinds())
    sys.stdout.flush()
    sys.stderr.flush()
seen.append(kinds())
os.write(int(sys.argv[1]), repr((seen, sys.stdout, sys.stderr)).encode())
"""


def test_what_a_library_is_lent_is_taken_back() -> None:
    assert told(CLOSED, LENT) == repr(([["closed"] * 3, ["null"] * 3, ["closed"] * 3], None, None))


SESSION = """
from vifplug.store.locks import LockFile
session = LockFile(sys.argv[2]).open_session()
os.write(int(sys.argv[1]), repr(kinds()).encode())
"""


def test_hold_of_a_session_is_not_where_a_helper_puts_dev_null(tmp_path: Path) -> None:
    assert told(CLOSED, SESSION, str(tmp_path / "locks")) == repr(["closed"] * 3)


class _Broken(io.StringIO):
    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("kind", ["none", "closed", "broken", "no stream"])
def test_stream_that_cannot_be_flushed_is_stood_in_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as closed:
        pass
    mine = {"none": None, "closed": closed, "broken": _Broken(), "no stream": object()}[kind]
    monkeypatch.setattr(sys, "stdout", mine)
    stdio.flush()
    with stdio.opened():
        assert sys.stdout is not mine
        sys.stdout.flush()
    assert sys.stdout is mine


def test_stream_that_another_thread_put_there_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    theirs = io.StringIO()
    with stdio.opened():
        sys.stdout = theirs
    assert sys.stdout is theirs
