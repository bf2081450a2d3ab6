"""Hosts that threads, forked children and retries share: docs/reference/library-concurrency.md says what holds."""

from __future__ import annotations

import os
import pathlib
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import vifplug
from tests.support import builders
from tests.support.daemon.daemon_calls import Daemon, served
from tests.support.daemon.scripted_daemon import Conversation, answer, streamed
from tests.support.daemon.scripted_daemon import served as scripted
from tests.unit.api.test_client_events import frames
from vifplug import errors
from vifplug.daemon.http.protocol import Access, Members
from vifplug.testing import FakeHost

VIF = builders.vif()
SECONDS = 30.0


def in_child(work: Callable[[], object]) -> str:
    """What a forked child makes of it: its result, or its error."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                said = str(work())
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as output:
        said = output.read()
    os.waitpid(child, 0)
    return said


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Iterator[Daemon]:
    own = Access(admins=Members(uids=frozenset({os.geteuid()})), operators=Members(), readers=Members())
    daemon = Daemon(tmp_path, access=own)
    with served(daemon.app, tmp_path / "s"):
        yield daemon
        daemon.hub.close()


# -- forks ------------------------------------------------------------------------------------------------


def test_local_host_refuses_a_forked_child_and_is_not_closed_by_it() -> None:
    with FakeHost() as host:
        host.plug([VIF])
        events = host.events(follow=True, since=0)
        next(events)
        for call in (host.list, lambda: host.plug([VIF]), host.events, lambda: list(events)):
            said = in_child(call)
            assert said.startswith(f"InputError: this host was opened by process {os.getpid()}"), said
            assert "vifplug.local()" in said
        assert in_child(host.close) == "None"
        assert [vif.id for vif in host.list()] == [VIF.id]


def test_child_goes_on_with_connections_of_its_own(daemon: Daemon) -> None:
    with vifplug.connect(str(daemon.directory / "s")) as host:
        host.plug([VIF])
        assert VIF.id in in_child(lambda: host.list()[0].id)
        assert in_child(host.close) == "None"
        assert [vif.id for vif in host.list()] == [VIF.id]


def test_child_takes_no_events_of_its_parent_and_ends_no_stream(tmp_path: pathlib.Path) -> None:
    goes_on = threading.Event()

    def stream(conversation: Conversation) -> bytes:
        conversation.wfile.write(streamed(frames(1), ended=False))
        conversation.wfile.flush()
        assert goes_on.wait(SECONDS)
        return streamed(frames(2)).partition(b"\r\n\r\n")[2]

    with scripted(str(tmp_path / "s"), stream, answer({})) as script, vifplug.connect(script.path) as host:
        events = host.events(0, follow=True)
        assert next(events).seq == 1
        assert in_child(lambda: next(events)).startswith("InputError: these events are those of this process's parent")
        assert in_child(host.close) == "None"
        goes_on.set()
        assert next(events).seq == 2


# -- threads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["local", "daemon"])
def test_threads_share_a_host(daemon: Daemon, kind: str) -> None:
    vifs = [
        VIF.model_copy(update={"id": str(uuid.UUID(int=number << 96)), "address": f"fa:16:3e:00:01:{number:02x}"})
        for number in range(1, 9)
    ]
    host = daemon.host if kind == "local" else vifplug.connect(str(daemon.directory / "s"))
    with ThreadPoolExecutor(len(vifs)) as threads:
        plugged = [*threads.map(lambda vif: host.plug([vif])[0].id, vifs)]
        assert plugged == [vif.id for vif in vifs]
        states = threads.map(lambda vif: host.wait([vif.id], "wired", SECONDS)[0].state, vifs)
        assert set(states) == {"wired"}
        list(threads.map(lambda vif: host.unplug([vif.id]), vifs))
    assert host.list() == []
    host.close()


# -- retries ----------------------------------------------------------------------------------------------


def test_local_host_repeats_what_is_retryable_and_nothing_else() -> None:
    with FakeHost() as host:
        host._retry = SECONDS
        host.stop_ovs()
        threading.Timer(0.3, host.start_ovs).start()
        assert [vif.state for vif in host.plug([VIF])] == ["plugged"]
        assert [vif.state for vif in host.unplug([VIF.id])] == ["unplugged"]
        host.hold("qbr71a6b0e4-1a")
        for wrong in (errors.Conflict, errors.UnknownVif):
            with pytest.raises(wrong):
                host.plug([VIF]) if wrong is errors.Conflict else host.get(VIF.id)


def test_local_host_without_retry_raises_at_once() -> None:
    with FakeHost() as host:
        host.stop_ovs()
        with pytest.raises(errors.OvsUnavailable):
            host.plug([VIF])


@pytest.mark.parametrize("wrong", [-1, float("inf"), "5", None])
def test_retry_of_a_local_host_must_be_seconds(wrong: object) -> None:
    with pytest.raises(errors.InputError, match="retry"):
        vifplug.local(retry=wrong)  # type: ignore[arg-type]
