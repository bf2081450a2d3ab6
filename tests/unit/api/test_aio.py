"""``vifplug.aio``: one contract with ``vifplug.Host``, through the daemon and in threads."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import pathlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import vifplug
from tests.support import builders
from tests.support.daemon.daemon_calls import Daemon, served
from vifplug import aio, errors
from vifplug.aio.remote import DaemonHost
from vifplug.aio.threads import ThreadedHost
from vifplug.daemon.http.protocol import Access, Members
from vifplug.testing import FakeHost

if TYPE_CHECKING:

    def each_is_a_host(daemon: DaemonHost, threaded: ThreadedHost) -> list[aio.Host]:
        """A checker sees that each has every method, with these types."""
        return [daemon, threaded]


METHODS = sorted(name for name, _ in inspect.getmembers(vifplug.Host, inspect.isfunction) if name[0] != "_")
NOT_COROUTINES = {"expect", "events"}
VIF = builders.vif()
SECONDS = 30.0
"""A failing test ends."""


@pytest.fixture
def daemon(tmp_path: pathlib.Path) -> Iterator[Daemon]:
    own = Access(admins=Members(uids=frozenset({os.geteuid()})), operators=Members(), readers=Members())
    daemon = Daemon(tmp_path, access=own)
    with served(daemon.app, tmp_path / "s"):
        yield daemon
        daemon.hub.close()


@contextlib.asynccontextmanager
async def _through_daemon(daemon: Daemon) -> AsyncIterator[aio.Host]:
    async with aio.connect(str(daemon.directory / "s")) as host:
        yield host


@contextlib.asynccontextmanager
async def _in_threads(daemon: Daemon) -> AsyncIterator[aio.Host]:
    async with aio.threaded(daemon.host) as host:
        yield host


HOSTS = {"daemon": _through_daemon, "threads": _in_threads}
Test = Callable[[aio.Host], Awaitable[Any]]


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, SECONDS))


@pytest.fixture(params=HOSTS)
def run(daemon: Daemon, request: pytest.FixtureRequest) -> Callable[[Test], Any]:
    """Runs a test with a host of each kind."""

    async def tested(test: Test) -> Any:
        async with HOSTS[request.param](daemon) as host:
            return await test(host)

    return lambda test: _run(tested(test))


# -- the contract -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [aio.Host, DaemonHost, ThreadedHost])
@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_the_parameters_of_the_synchronous_one(host: Any, name: str) -> None:
    asked, mine = inspect.signature(getattr(vifplug.Host, name)), inspect.signature(getattr(host, name))
    names = {key: (each.kind, each.default) for key, each in asked.parameters.items()}
    assert {key: (each.kind, each.default) for key, each in mine.parameters.items()} == names
    assert inspect.iscoroutinefunction(getattr(host, name)) == (name not in NOT_COROUTINES)
    if name not in NOT_COROUTINES:
        assert mine.return_annotation == asked.return_annotation


def test_every_method_answers_as_the_synchronous_one(run: Callable[[Test], Any], daemon: Daemon) -> None:
    same = daemon.host

    async def test(host: aio.Host) -> None:
        ids = [VIF.id]
        assert await host.plan([VIF]) == same.plan([VIF])
        assert [vif.state for vif in await host.plug([VIF])] == ["plugged"]
        assert await host.get(VIF.id) == same.get(VIF.id)
        assert await host.list() == same.list() == await host.wait(ids, "wired", 0)
        assert await host.list(absent_for=3600) == []
        assert await host.check() == same.check()
        assert await host.check(ids) == same.check(ids)
        assert await host.repair(ids) == same.repair(ids)
        assert await host.plan_repair(ids) == same.plan_repair(ids)
        assert await host.gc() == same.gc()
        assert await host.path(VIF.id) == same.path(VIF.id)
        assert (await host.trace(VIF.id, interval=0.1)).hops
        assert await host.progress(VIF.id) == same.progress(VIF.id)
        assert await host.guest(VIF.id, "qemu", queues=1) == same.guest(VIF.id, "qemu", queues=1)
        assert await host.look(ids, "active") == same.look(ids, "active")
        assert (await host.doctor()).findings
        assert (await host.host_info()).bridges == same.host_info().bridges
        assert [event async for event in host.events()] == list(same.events())
        assert [event async for event in host.events(ids=ids)] == list(same.events(ids=ids))
        assert [event async for event in host.events(ids=[builders.TAP])] == []
        assert [event async for event in host.events(since=1)] == list(same.events(since=1))
        assert [vif.state for vif in await host.unplug(ids)] == ["unplugged"]
        assert (await host.plug([]), await host.unplug([])) == ([], [])

    run(test)


def test_errors_are_those_of_the_synchronous_host(run: Callable[[Test], Any], daemon: Daemon) -> None:
    async def test(host: aio.Host) -> None:
        daemon.fake.fail_at = 2
        with pytest.raises(errors.LinkError) as failed:
            await host.plug([VIF])
        assert failed.value.step
        for wrong in (host.get("no id"), host.plug([1]), host.gc(1), host.wait([VIF.id], "nowhere")):  # type: ignore[list-item, arg-type]
            with pytest.raises(errors.InputError):
                await wrong
        with pytest.raises(errors.UnknownVif):
            await host.get(VIF.id)
        with pytest.raises(errors.EventsLost):
            [event async for event in host.events(since=1000)]
        with pytest.raises(errors.InputError):
            host.events(since=-1)

    run(test)


def test_warnings_are_those_of_the_tasks_own_last_call(run: Callable[[Test], Any], daemon: Daemon) -> None:
    async def unplug(host: aio.Host) -> list[str]:
        reports = await host.unplug([VIF.id])
        return [*host.warnings, *(warning for vif in reports for warning in vif.warnings)]

    async def test(host: aio.Host) -> None:
        await host.plug([VIF])
        daemon.fake.stuck = True
        warnings = await asyncio.create_task(unplug(host))
        assert any("did not carry out" in warning for warning in warnings)
        assert host.warnings == []

    run(test)


def test_closed_host_refuses_every_call(daemon: Daemon) -> None:
    async def test(kind: str) -> None:
        async with HOSTS[kind](daemon) as host:
            await host.close()
            for call in (host.list(), host.plug([VIF]), host.plug([]), host.progress(VIF.id), host.wait([VIF.id])):
                with pytest.raises(errors.InputError, match="is closed; open another with vifplug"):
                    await call
            with pytest.raises(errors.InputError, match="is closed"):
                host.events()

    for kind in HOSTS:
        _run(test(kind))


def test_host_is_opened_with_await_too(daemon: Daemon) -> None:
    async def test() -> None:
        host = await aio.connect(str(daemon.directory / "s"))
        async with host as same:
            assert same is host
            assert await host.list() == []

    _run(test())


# -- waits and events -------------------------------------------------------------------------------------


def test_expectation_waits_behind_its_block(run: Callable[[Test], Any], daemon: Daemon) -> None:
    async def test(host: aio.Host) -> None:
        async with host.expect([VIF.id], "wired", timeout=SECONDS) as expected:
            assert expected.ids == (VIF.id,)
            await host.plug([VIF])
        with pytest.raises(errors.NotReached, match="active"):
            async with host.expect([VIF.id], "active", timeout=0.1):
                pass
        async with host.expect([VIF.id], "active", timeout=0):
            pass
        with pytest.raises(ZeroDivisionError):
            async with host.expect([VIF.id], "active", timeout=SECONDS):
                1 / 0  # noqa: B018
        async with host.expect([VIF.id, builders.TAP], "wired", timeout=SECONDS) as expected:
            expected.exit_early([builders.TAP])

    run(test)


def test_error_callback_may_be_a_coroutine_function() -> None:
    failed: list[str] = []

    async def note(vif: vifplug.VifReport) -> bool:
        await asyncio.sleep(0)
        failed.append(vif.id)
        return False

    async def test() -> None:
        fake = FakeHost(auto_wire=False)
        async with aio.threaded(fake) as host:
            await host.plug([VIF])
            fake.give_up(VIF.id)
            async with host.expect([VIF.id], "wired", timeout=SECONDS, error_callback=note):
                pass
            assert failed == [VIF.id]
            with pytest.raises(errors.VifFailed):
                await host.wait([VIF.id], "wired", timeout=SECONDS)
            with pytest.raises(errors.InputError, match="error_callback"):
                host.expect([VIF.id], error_callback=7)  # type: ignore[arg-type]

    _run(test())


def test_follower_gets_new_events_and_leaves_no_stream(run: Callable[[Test], Any], daemon: Daemon) -> None:
    async def test(host: aio.Host) -> None:
        found: list[str] = []

        async def follow() -> None:
            async with contextlib.aclosing(host.events(follow=True)) as events:
                async for event in events:
                    found.append(event.state)
                    if event.state == "unplugged":
                        return

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.3)  # it begins with its first step
        await host.plug([VIF])
        await host.unplug([VIF.id])
        await following
        assert (found[0], found[-1]) == ("plugged", "unplugged")
        for _ in range(200):
            if not daemon.hub._followers.total():
                break
            await asyncio.sleep(0.02)
        assert not daemon.hub._followers.total()

    run(test)


def test_many_waits_need_no_thread_each(run: Callable[[Test], Any], daemon: Daemon) -> None:
    """With ``asyncio.to_thread`` the seventh would wait for the first: there are as many threads as processors, and
    four."""

    async def test(host: aio.Host) -> None:
        await host.plug([VIF])
        waits = [asyncio.create_task(host.wait([VIF.id], "active", SECONDS)) for _ in range(60)]
        await asyncio.sleep(0.3)
        assert (await host.get(VIF.id)).state == "wired"
        for each in waits:
            each.cancel()
        ended = await asyncio.gather(*waits, return_exceptions=True)
        assert {type(each) for each in ended} == {asyncio.CancelledError}

    run(test)
    assert len([each for each in threading.enumerate() if each.name.startswith("vifplug")]) == 0


# -- cancellation -----------------------------------------------------------------------------------------


@pytest.fixture
def held(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """A plug that has begun, and what lets it go on."""
    begun, goes_on = threading.Event(), threading.Event()
    apply = daemon.fake.apply

    def slow(*arguments: Any, **named: Any) -> Any:
        begun.set()
        assert goes_on.wait(SECONDS)
        return apply(*arguments, **named)

    monkeypatch.setattr(daemon.fake, "apply", slow)
    return begun, goes_on


def test_change_that_was_cancelled_is_carried_out(
    run: Callable[[Test], Any], daemon: Daemon, held: tuple[threading.Event, threading.Event]
) -> None:
    begun, goes_on = held
    changes = len(daemon.host.plan([VIF]).actions)

    async def test(host: aio.Host) -> None:
        plugging = asyncio.create_task(host.plug([VIF]))
        await asyncio.to_thread(begun.wait, SECONDS)
        plugging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await plugging  # at once: the change is still held
        assert not goes_on.is_set()
        goes_on.set()
        (again,) = await host.plug([VIF])
        assert again.state == "plugged"

    run(test)
    assert len(daemon.fake.applied) == changes


def test_close_waits_for_a_change_in_a_thread(daemon: Daemon, held: tuple[threading.Event, threading.Event]) -> None:
    begun, goes_on = held

    async def test() -> None:
        host = aio.threaded(daemon.host)
        plugging = asyncio.create_task(host.plug([VIF]))
        await asyncio.to_thread(begun.wait, SECONDS)
        plugging.cancel()
        closing = asyncio.create_task(host.close())
        await asyncio.sleep(0.1)
        assert not closing.done()
        goes_on.set()
        await closing

    _run(test())
    assert daemon.fake.ports


def test_cancelled_wait_ends_in_the_daemon(daemon: Daemon) -> None:
    """Else each client that gives up would leave a wait there for half a minute."""

    async def test() -> None:
        async with aio.connect(str(daemon.directory / "s")) as host:
            await host.plug([VIF])
            waiting = asyncio.create_task(host.wait([VIF.id], "active", SECONDS))
            gate: Any = daemon.app.middleware_stack
            while not hasattr(gate, "_lanes"):
                gate = gate.app
            for _ in range(500):
                if gate._waits.count:
                    break
                await asyncio.sleep(0.01)
            assert gate._waits.count == 1
            waiting.cancel()
            for _ in range(500):
                if not gate._waits.count:
                    break
                await asyncio.sleep(0.01)
            assert gate._waits.count == 0

    _run(test())


def test_fake_host_serves_asynchronous_drivers() -> None:
    async def test() -> list[str]:
        async with aio.threaded(FakeHost()) as host, host.expect([VIF.id], timeout=SECONDS):
            return [vif.state for vif in await host.plug([VIF])]

    assert _run(test()) == ["plugged"]
