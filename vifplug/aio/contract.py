"""``vifplug.aio.Host``: the contract of ``vifplug.Host`` for asyncio. That class documents answers and errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeAlias, TypeVar

from vifplug.model import limits
from vifplug.model.reports import WIRED, CheckReport, GcReport, PathReport, PlanReport, Progress, VifReport

if TYPE_CHECKING:
    import datetime
    from types import TracebackType

    from vifplug.api.wait import Expectation
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import Event, WaitReport
    from vifplug.model.vif import Vif
    from vifplug.trace.values import TraceReport

# In the classes below, ``list`` is a method.
VifReports: TypeAlias = list[VifReport]
Warnings: TypeAlias = list[str]
ErrorCallback: TypeAlias = Callable[[VifReport], bool | Awaitable[bool | None] | None]
"""As of ``vifplug.Host.expect``; it may also be a coroutine function."""


class Host(Protocol):
    """A host whose VIFs are plugged, for asyncio. Each method does what that of ``vifplug.Host`` does, with the same
    parameters, answers and errors.

    A host belongs to the event loop that opened it. Tasks may share it. A cancelled call ends at once:

    - one that only looks or waits has then ended; through the daemon, also there.
    - a change that has begun (``plug``, ``unplug``, ``repair``, ``gc`` with ``delete``) is finished or rolled back as
      a whole, and its result is not known here: the same call again finds what is done.
    """

    @property
    def warnings(self) -> Warnings:
        """As ``vifplug.Host.warnings``, of this task's last call."""
        ...

    async def plug(self, vifs: Sequence[Vif]) -> VifReports:
        """Plug VIFs, all or none."""
        ...

    async def unplug(self, ids: Sequence[str]) -> VifReports:
        """Unplug VIFs, by their records."""
        ...

    async def get(self, id: str) -> VifReport:
        """One VIF in its present state."""
        ...

    async def list(self, *, absent_for: float | None = None) -> VifReports:
        """Every VIF plugged here, in its present state."""
        ...

    async def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        """Compare VIFs with the host, and change nothing."""
        ...

    async def repair(self, ids: Sequence[str] | None = None) -> VifReports:
        """Restore the recorded state of VIFs."""
        ...

    async def plan_unplug(self, ids: Sequence[str]) -> PlanReport:
        """The changes that ``unplug`` would make."""
        ...

    async def plan_repair(self, ids: Sequence[str] | None = None) -> PlanReport:
        """The changes that ``repair`` would make."""
        ...

    async def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        """Find orphans, and with ``delete`` delete them."""
        ...

    async def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        """The changes that ``plug`` would make."""
        ...

    async def path(self, id: str) -> PathReport:
        """One VIF's path, hop by hop."""
        ...

    async def trace(self, id: str, *, interval: float = limits.TRACE_SECONDS, probe: bool = False) -> TraceReport:
        """Where a VIF's frames stop."""
        ...

    async def progress(self, id: str) -> Progress:
        """The progress of a request that works on this VIF among others."""
        ...

    async def guest(
        self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None
    ) -> GuestReport:
        """What a hypervisor needs for a VIF."""
        ...

    async def look(self, ids: Sequence[str], state: str) -> WaitReport:
        """Whether VIFs have reached a state, and which program has to act."""
        ...

    async def wait(self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS) -> VifReports:
        """Wait until VIFs are in a state, or a higher one."""
        ...

    def expect(
        self,
        ids: Sequence[str],
        state: str = WIRED,
        timeout: float = limits.TIMEOUT_SECONDS,
        error_callback: ErrorCallback | None = None,
    ) -> contextlib.AbstractAsyncContextManager[Expectation]:
        """Wait at the end of an ``async with`` block until VIFs have reached a state. A cancelled block is not waited
        for."""
        ...

    def events(
        self,
        since: int | datetime.datetime | None = None,
        follow: bool = False,
        *,
        ids: Sequence[str] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Events of VIFs, in order, each exactly once, for ``async for``.

        The first step of the iteration determines where it begins, and raises the errors of the call. Leave the loop
        early only in ``contextlib.aclosing``, as with every asynchronous generator: else the stream stays open until
        the event loop collects it.
        """
        ...

    async def doctor(self) -> Diagnosis:
        """Problems of this host, their reasons and remedies."""
        ...

    async def host_info(self) -> HostInfo:
        """What this host can plug, and its versions."""
        ...

    async def close(self) -> None:
        """Close the host. It waits for changes that this process makes."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


H = TypeVar("H", bound=Host)


class Opening(Generic[H]):
    """A host that is being opened: ``async with connect() as host``, or ``host = await connect()`` and ``close``.

    :param opened: opens it.
    """

    def __init__(self, opened: Callable[[], Awaitable[H]]) -> None:
        self._opened = opened
        self._host: H | None = None

    def __await__(self) -> Generator[object, None, H]:
        return self._opened().__await__()

    async def __aenter__(self) -> H:
        self._host = await self._opened()
        return self._host

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._host is not None:
            await self._host.close()
