"""The daemon's host for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

from vifplug.aio import follow as following
from vifplug.aio import latest
from vifplug.aio import wait as waiting
from vifplug.aio.client import Wire
from vifplug.aio.contract import ErrorCallback, Host, Opening, VifReports, Warnings
from vifplug.api import calls, parameters
from vifplug.api import retry as retrying
from vifplug.api.follow import Choice
from vifplug.api.remote import configured
from vifplug.errors import InputError
from vifplug.model import durations, limits
from vifplug.model.reports import WIRED, CheckReport, GcReport, PathReport, PlanReport, Progress, VifReport

if TYPE_CHECKING:
    import datetime

    from vifplug.api.wait import Expectation
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import Event, WaitReport
    from vifplug.model.vif import Vif
    from vifplug.trace.values import TraceReport

T = TypeVar("T")


class DaemonHost(Host):
    """Plugs VIFs on this host through vifplugd; what ``vifplug.aio.connect`` opens. ``Host`` documents the methods.

    :param retry: seconds for which each call is repeated while its error is ``retryable``; waits and events keep their
        own time.
    """

    def __init__(self, wire: Wire, *, retry: float = 0) -> None:
        self._wire, self._retry = wire, retry

    @property
    def warnings(self) -> Warnings:
        return latest.of(self)

    async def plug(self, vifs: Sequence[Vif]) -> VifReports:
        return await self._done(calls.plug(vifs))

    async def unplug(self, ids: Sequence[str]) -> VifReports:
        return await self._done(calls.unplug(ids))

    async def get(self, id: str) -> VifReport:
        return await self._done(calls.get(id))

    async def list(self, *, absent_for: float | None = None) -> VifReports:
        return await self._done(calls.list_vifs(absent_for))

    async def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        return await self._done(calls.check(ids))

    async def repair(self, ids: Sequence[str] | None = None) -> VifReports:
        return await self._done(calls.repair(ids))

    async def plan_unplug(self, ids: Sequence[str]) -> PlanReport:
        return await self._done(calls.plan_unplug(ids))

    async def plan_repair(self, ids: Sequence[str] | None = None) -> PlanReport:
        return await self._done(calls.plan_repair(ids))

    async def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        return await self._done(calls.gc(delete, keep, absent_for))

    async def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        return await self._done(calls.plan(vifs))

    async def path(self, id: str) -> PathReport:
        return await self._done(calls.path(id))

    async def trace(self, id: str, *, interval: float = limits.TRACE_SECONDS, probe: bool = False) -> TraceReport:
        return await self._done(calls.trace(id, interval, probe))

    async def progress(self, id: str) -> Progress:
        return await self._done(calls.progress(id))

    async def guest(
        self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None
    ) -> GuestReport:
        return await self._done(calls.guest(id, format, model, queues))

    async def look(self, ids: Sequence[str], state: str) -> WaitReport:
        return await self._once(calls.look_once(ids, state))

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
        return following.of_daemon(self._wire, Choice(since=since, ids=ids, follow=follow))

    async def doctor(self) -> Diagnosis:
        return await self._done(calls.doctor(self._wire.seconds))

    async def host_info(self) -> HostInfo:
        return await self._done(calls.host_info(self._wire.path))

    async def close(self) -> None:
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.close()

    @property
    def _watch(self) -> waiting.Watch:
        return waiting.Watch(look=lambda *goal: self._once(calls.look(*goal)), get=self.get)

    def _refuse_if_closed(self) -> None:
        if self._wire.is_closed:
            raise InputError("this host is closed; open another with vifplug.aio.connect()")

    async def _done(self, call: calls.Call[T]) -> T:
        return await retrying.repeated_async(lambda: self._once(call), self._retry)

    async def _once(self, call: calls.Call[T]) -> T:
        self._refuse_if_closed()
        latest.keep(self, [])
        if call.request is None:
            return call.read({})
        answer = await self._wire.ask(call.request)
        try:
            result = call.read(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise self._wire.not_vifplugd(calls.another_answer(call.request)) from error
        latest.keep(self, calls.warnings_of(answer))
        return result


def connect(
    socket: str | None = None, config_file: str | None = None, *, timeout: float | None = None, retry: float = 0
) -> Opening[DaemonHost]:
    """Plug through the daemon. Parameters and errors are those of ``vifplug.connect``.

    :returns: for ``async with``, or ``await``, which returns an open host to be closed.
    """
    retry, timeout = durations.seconds(retry, "retry"), parameters.timeout("timeout", timeout)
    path, config_file = parameters.path("socket", socket), parameters.path("config_file", config_file)

    async def opened() -> DaemonHost:
        address = await asyncio.to_thread(configured, config_file) if path is None else path
        wire = Wire(address, seconds=timeout)
        try:
            await retrying.repeated_async(wire.open, retry)
        except BaseException:
            await wire.close()
            raise
        return DaemonHost(wire, retry=retry)

    return Opening(opened)
