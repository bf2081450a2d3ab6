"""A worker as its parent sees it, and how long the parent waits before the next one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from vifplug.daemon.process import child, worker
from vifplug.daemon.process.backoff import Backoff
from vifplug.daemon.process.child import Child, adopt_orphans
from vifplug.process.prctl import SET_CHILD_SUBREAPER, prctl


def serve(pipe: int) -> None:
    """Say so, and end when asked to."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    os.write(pipe, worker.READY)
    time.sleep(60)


def with_helper(pipe: int, *, reported: bool) -> None:
    """Fork a helper that outlives its worker, and tell of it."""
    helper = os.fork()
    if helper == 0:
        time.sleep(0.3 if not reported else 60)
        os._exit(0)
    if reported:
        os.write(pipe, worker.HELPER + helper.to_bytes(worker.PID_BYTES))
        os.write(pipe, worker.READY)
    time.sleep(60)


def heard(of: Child) -> None:
    """Wait until a worker has said something."""
    deadline = time.monotonic() + 5
    while not of.read_messages():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(child, "_HELPER_SECONDS", 0.5)
    adopt_orphans()
    yield
    prctl(SET_CHILD_SUBREAPER, 0)


def must_have_no_child() -> None:
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_worker_that_ends_when_asked_is_not_killed() -> None:
    each = Child.fork(serve)
    heard(each)
    each.end(5)
    assert each.ending == "has ended with status 7"
    must_have_no_child()


def test_worker_that_is_stopped_is_killed_in_time() -> None:
    each = Child.fork(serve)
    heard(each)
    os.kill(each.pid, signal.SIGSTOP)
    began = time.monotonic()
    each.end(0)
    assert 0.4 < time.monotonic() - began < 3
    assert each.ending == "was ended by signal 9"
    must_have_no_child()


def test_helper_that_does_not_end_by_itself_is_killed() -> None:
    each = Child.fork(lambda pipe: with_helper(pipe, reported=True))
    heard(each)
    assert each.helper is not None
    assert each.ready_at is not None
    each.kill()
    began = time.monotonic()
    each.end(5)
    assert 0.4 < time.monotonic() - began < 3
    must_have_no_child()


def test_helper_that_was_never_reported_to_the_parent_is_reaped() -> None:
    each = Child.fork(lambda pipe: with_helper(pipe, reported=False))
    time.sleep(0.1)
    each.kill()
    each.end(5)
    must_have_no_child()


def test_no_descriptor_is_left() -> None:
    before = set(os.listdir("/proc/self/fd"))
    each = Child.fork(lambda pipe: with_helper(pipe, reported=True))
    heard(each)
    each.kill()
    each.end(5)
    # Fewer may be left: those of other tests go whenever the garbage collector comes by.
    assert set(os.listdir("/proc/self/fd")) <= before


def test_next_worker_comes_at_once_after_a_long_life_and_ever_later_after_short_ones() -> None:
    backoff = Backoff()
    assert backoff.after(3600) == 0
    assert [backoff.after(1) for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2]
    assert backoff.after(3600) == 0
    assert backoff.after(1) == 0.1


def test_workers_that_never_serve_are_waited_for_the_longest() -> None:
    backoff = Backoff()
    waits = [backoff.after(None) for _ in range(12)]
    assert waits[:3] == [0.1, 0.2, 0.4]
    assert waits[-1] == 30


def test_one_that_was_killed_as_it_started_costs_no_more_after_many_short_lives() -> None:
    backoff = Backoff()
    for _ in range(50):
        backoff.after(1)
    assert backoff.after(None) == 0.1
    assert backoff.after(1) == 2
