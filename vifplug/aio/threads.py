"""A host of this process for asyncio: its calls run in threads of their own.

``asyncio.to_thread`` is not enough for that: a wait would keep one of its few threads for minutes, also after it was
cancelled, and the process could not end before; a call's warnings would stay in that thread; and a host could be closed
below a call. Here a wait or a follower holds no thread between two looks.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

from vifplug.aio import follow as following
from vifplug.aio import latest
from vifplug.aio import wait as waiting
from vifplug.aio.contract import ErrorCallback, Host, Opening, VifReports, Warnings
from vifplug.api import calls
from vifplug.api.follow import Choice
from vifplug.api.local import LocalHost, log_of
from vifplug.api.local import local as open_local
from vifplug.errors import InputError
from vifplug.model import limits
from vifplug.model.events import WaitReport
from vifplug.model.reports import WIRED, CheckReport, GcReport, PathReport, PlanReport, Progress, VifReport

if TYPE_CHECKING:
    import datetime

    from vifplug.api.wait import Expectation
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import Event
    from vifplug.model.vif import Vif
    from vifplug.trace.values import TraceReport

T = TypeVar("T")
_THREADS = 16
"""Calls of one host at once; others wait for their turn. The helper carries out one after the other anyway."""


class ThreadedHost(Host):
    """The methods of a synchronous host as coroutines; what ``vifplug.aio.threaded`` makes. ``Host`` documents them.

    :param host: an open host of this process.
    """

    def __init__(self, host: LocalHost) -> None:
        self._host = host
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="vifplug")
        self._is_closed = False

    @property
    def warnings(self) -> Warnings:
        return latest.of(self)

    async def plug(self, vifs: Sequence[Vif]) -> VifReports:
        return await self._done(lambda: self._host.plug(vifs))

    async def unplug(self, ids: Sequence[str]) -> VifReports:
        return await self._done(lambda: self._host.unplug(ids))

    async def get(self, id: str) -> VifReport:
        return await self._done(lambda: self._host.get(id))

    async def list(self, *, absent_for: float | None = None) -> VifReports:
        return await self._done(lambda: self._host.list(absent_for=absent_for))

    async def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        return await self._done(lambda: self._host.check(ids))

    async def repair(self, ids: Sequence[str] | None = None) -> VifReports:
        return await self._done(lambda: self._host.repair(ids))

    async def plan_unplug(self, ids: Sequence[str]) -> PlanReport:
        return await self._done(lambda: self._host.plan_unplug(ids))

    async def plan_repair(self, ids: Sequence[str] | None = None) -> PlanReport:
        return await self._done(lambda: self._host.plan_repair(ids))

    async def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        return await self._done(lambda: self._host.gc(delete, keep=keep, absent_for=absent_for))

    async def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        return await self._done(lambda: self._host.plan(vifs))

    async def path(self, id: str) -> PathReport:
        return await self._done(lambda: self._host.path(id))

    async def trace(self, id: str, *, interval: float = limits.TRACE_SECONDS, probe: bool = False) -> TraceReport:
        return await self._done(lambda: self._host.trace(id, interval=interval, probe=probe))

    async def progress(self, id: str) -> Progress:
        # Not in a thread, which may have to wait for the requests whose progress this is; it reads two numbers.
        self._refuse_if_closed()
        return self._host.progress(id)

    async def guest(
        self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None
    ) -> GuestReport:
        return await self._done(lambda: self._host.guest(id, format, model=model, queues=queues))

    async def look(self, ids: Sequence[str], state: str) -> WaitReport:
        return await self._done(lambda: self._host.look(ids, state))

    async def wait(self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS) -> VifReports:
        return await waiting.wait(self._watch, calls.goal_of(ids, state, timeout))

    def expect(
        self,
        ids: Sequence[str],
        state: str = WIRED,
        timeout: float = limits.TIMEOUT_SECONDS,
        error_callback: ErrorCallback | None = None,
    ) -> contextlib.AbstractAsyncContextManager[Expectation]:
        return waiting.expect(self._watch, calls.goal_of(ids, state, timeout), error_callback)

    def events(
        self,
        since: int | datetime.datetime | None = None,
        follow: bool = False,
        *,
        ids: Sequence[str] | None = None,
    ) -> AsyncGenerator[Event, None]:
        self._refuse_if_closed()
        choice = Choice(since=since, ids=ids, follow=follow)
        log = log_of(self._host)
        return following.of_log(log, choice, in_thread=self._in_thread, is_over=lambda: self._is_closed)

    async def doctor(self) -> Diagnosis:
        return await self._done(self._host.doctor)

    async def host_info(self) -> HostInfo:
        return await self._done(self._host.host_info)

    async def close(self) -> None:
        self._is_closed = True
        # The calls under way first: a change is finished, or rolled back, by the helper that closing ends.
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._host.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.close()

    @property
    def _watch(self) -> waiting.Watch:
        async def look(ids: Sequence[str], state: str, _seconds: float) -> WaitReport:
            return await self.look(ids, state)

        return waiting.Watch(look=look, get=self.get)

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise InputError("this host is closed; open another with vifplug.aio.local()")

    async def _done(self, call: Callable[[], T]) -> T:
        latest.keep(self, [])
        result, warnings = await self._in_thread(functools.partial(self._called, call))
        latest.keep(self, warnings)
        return result

    def _called(self, call: Callable[[], T]) -> tuple[T, Warnings]:
        result = call()
        return result, self._host.warnings  # of this thread

    async def _in_thread(self, work: Callable[[], T]) -> T:
        self._refuse_if_closed()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def threaded(host: LocalHost) -> ThreadedHost:
    """The methods of a host of this process, such as ``vifplug.testing.FakeHost``, as coroutines.

    :param host: an open host; closing the result closes it.
    """
    return ThreadedHost(host)


def local(config_file: str | None = None, *, retry: float = 0) -> Opening[ThreadedHost]:
    """Plug in this process, in threads. Parameters and errors are those of ``vifplug.local``.

    :returns: for ``async with``, or ``await``, which returns an open host to be closed.
    """

    async def opened() -> ThreadedHost:
        # In this thread: as root it forks the helper, and a fork copies the calling thread alone.
        return ThreadedHost(open_local(config_file, retry=retry))

    return Opening(opened)
