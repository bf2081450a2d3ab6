"""``vifplug.Host``: the contract that every host keeps. Its docstrings are the reference; none repeats them.

Nothing heavy is imported here: a client of the daemon starts without a model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from vifplug.model import limits
from vifplug.model.reports import WIRED, CheckReport, GcReport, PathReport, PlanReport, Progress, VifReport

if TYPE_CHECKING:
    import datetime
    from types import TracebackType

    from vifplug.api.wait import ErrorCallback, Expectation
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import Event, WaitReport
    from vifplug.model.vif import Vif
    from vifplug.trace.values import TraceReport

# In the classes below, ``list`` is a method.
VifReports: TypeAlias = list[VifReport]
Warnings: TypeAlias = list[str]


class Host(Protocol):
    """A host whose VIFs are plugged: this process (``vifplug.local``), the daemon's (``vifplug.connect``) or a fake one
    (``vifplug.testing.FakeHost``). The methods, their answers and their errors are the same.

    Threads may share a host. A forked child opens its own: in it ``vifplug.local``'s refuses every call, and
    ``vifplug.connect``'s makes connections of its own. It is closed by ``close`` or at the end of its ``with``
    block, and what was plugged stays. A VIF's id is a UUID, in either case. Times are in seconds, MTUs in bytes.

    Besides the errors that a method lists, every method may raise:

    - InputError: an argument is of the wrong type or out of bounds, or the host is closed. Nothing was changed.
    - StoreError: the record of plugged VIFs cannot be read or written (StoreLocked is temporary).
    - HelperDied: the privileged helper ended, or cannot be started. It is ``retryable``.
    - through the daemon, DaemonUnreachable: no answer came, or none within ``connect(timeout=)``. The outcome of a
      change is then unknown; the same call again finds what is done.
    - through the daemon, NotPermitted: its configuration does not permit this to this user. Nothing was changed.
    - through the daemon, Busy: this user has too many requests under way. It is ``retryable``.

    An error's ``retryable`` says whether the same call may succeed a moment later.
    """

    @property
    def warnings(self) -> Warnings:
        """Messages for a person from this thread's last call: interrupted work that it could not settle, and through
        the daemon the warnings about its VIFs, which a local host puts into each report's ``warnings``.

        :returns: one sentence each; empty if there are none.
        """
        ...

    def plug(self, vifs: Sequence[Vif]) -> VifReports:
        """Plug VIFs, all or none; each is verified before this returns.

        A VIF that already matches is not written to; one that drifted is repaired in place. Values that a request omits
        (MTU, instance) keep the recorded value, else get the configuration's.

        :param vifs: as from ``vifplug.load_all``; a list or another iterable of Vif, each id once.
        :returns: a report for each VIF, in the given order, with state ``plugged``: ``get`` and ``wait`` report the
            levels that depend on a control plane and a guest.
        :raises InputError: an item is not a VIF, or its vif_type has no driver. Nothing was changed.
        :raises Conflict: another VIF, or something that vifplug did not make, holds a name or an identity; or the VIF
            is plugged as another vif_type. Nothing was changed.
        :raises NotPermitted: another user plugged a VIF, or this user may not use a bridge. Nothing was changed.
        :raises Busy: another request works on one of them, and did not end in time. Nothing was changed.
        :raises BridgeMissing: an OVS bridge is missing. Nothing was changed.
        :raises HostError: a step failed (LinkError, OvsdbError, OvsUnavailable, TimedOut, VerifyError,
            PermissionDenied, HelperDied); ``step`` and ``subject`` name it. The changes are rolled back.
        :raises StoreError: it could not be recorded (StoreFull, StoreLocked, Replaced). The changes are rolled back.
        """
        ...

    def unplug(self, ids: Sequence[str]) -> VifReports:
        """Unplug VIFs, by their records; an absent one counts as success.

        It continues past errors, a hundred VIFs at a time, and raises them at the end. With vswitchd dead it succeeds,
        with a warning, once links and rows are deleted.

        :param ids: of VIFs; duplicates count once.
        :returns: a report for each VIF, in order, with state ``unplugged``; for an absent one, all but the id is None.
        :raises NotPermitted: another user plugged a VIF. Nothing was changed.
        :raises Busy: another request works on one of them; the others are unplugged.
        :raises TeardownError, HostError: something is left; the rest is deleted, and the next call continues.
        :raises StoreError: a change could not be recorded.
        """
        ...

    def plan_unplug(self, ids: Sequence[str]) -> PlanReport:
        """The changes that ``unplug`` would make; nothing is changed.

        :param ids: of VIFs; duplicates count once.
        :returns: the changes in order; none for absent VIFs.
        :raises HostError: the host could not be read; with Open vSwitch away, only links are listed.
        """
        ...

    def get(self, id: str) -> VifReport:
        """One VIF in its present state; with Open vSwitch away, as recorded.

        :returns: its state, devices and ports. With a damaged record it is ``failed``, and ``error`` has the reason.
        :raises UnknownVif: it is not plugged here.
        :raises HostError: links or ports could not be read.
        """
        ...

    def list(self, *, absent_for: float | None = None) -> VifReports:
        """Every VIF plugged here, in its present state; with Open vSwitch away, as recorded.

        :param absent_for: only those with nothing at the guest's end for that many seconds.
        :returns: reports as of ``get``; a VIF with a damaged record is ``failed``.
        :raises HostError: links or ports could not be read.
        """
        ...

    def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        """Compare VIFs with the host, and change nothing.

        :param ids: of VIFs; by default every VIF, and orphans.
        :returns: each VIF's state and drift, in the given order, and the orphans.
        :raises UnknownVif: an id is not plugged here.
        :raises HostError: the host could not be read (OvsUnavailable, TimedOut, LinkError, HelperDied).
        """
        ...

    def repair(self, ids: Sequence[str] | None = None) -> VifReports:
        """Restore the recorded state of VIFs, each separately, and only what drifted.

        :param ids: of VIFs; by default every VIF.
        :returns: a report for each VIF, in its state afterwards; its ``actions`` are the changes that were made.
        :raises UnknownVif: an id is not plugged here. Nothing was changed.
        :raises NotPermitted: another user plugged a VIF; or all VIFs, and the user is not an administrator. Nothing was
            changed.
        :raises Damaged: a record cannot be read: plug that VIF again, or unplug it. Nothing was changed.
        :raises Conflict, Busy, HostError: the only VIF that could not be repaired; the others were.
        :raises TeardownError: several VIFs could not be repaired; the others were.
        """
        ...

    def plan_repair(self, ids: Sequence[str] | None = None) -> PlanReport:
        """The changes that ``repair`` would make; nothing is changed.

        :param ids: of VIFs; by default every VIF.
        :returns: the changes in order; none for VIFs that are as recorded.
        :raises UnknownVif: an id is not plugged here.
        :raises Damaged, Conflict, BridgeMissing, HostError: a VIF cannot be repaired.
        """
        ...

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        """Find orphans, and with ``delete`` delete them.

        :param delete: each orphan is deleted under its owner's lock, and only if it is still an orphan.
        :param keep: ids of the existing VIFs or instances. Recorded VIFs that are not in it, and that have had nothing
            at the guest's end for ``absent_for`` seconds, are also found, and with ``delete`` unplugged. An empty list
            keeps none of those.
        :param absent_for: seconds.
        :returns: the findings, and what was deleted or unplugged; without ``keep``, ``absent`` is None.
        :raises NotPermitted: ``delete``, and the user is not an administrator. Nothing was changed.
        :raises TeardownError, HostError: something could not be deleted; the rest is.
        """
        ...

    def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        """The changes that ``plug`` would make; nothing is changed.

        :returns: the changes in order; none for VIFs that already match.
        :raises InputError, Conflict, BridgeMissing, HostError: as of ``plug``.
        """
        ...

    def path(self, id: str) -> PathReport:
        """One VIF's path, hop by hop, in its present state.

        :returns: the hops in order from the guest; none for a VIF with a damaged record.
        :raises UnknownVif: it is not plugged here.
        :raises HostError: the host could not be read; with Open vSwitch away, OvsUnavailable.
        """
        ...

    def trace(self, id: str, *, interval: float = limits.TRACE_SECONDS, probe: bool = False) -> TraceReport:
        """Where a VIF's frames stop: its path with counters over an interval, and what handles frames at each hop.

        Nothing is changed. A part that cannot be read is among ``claims.not_looked_at``, and raises nothing.

        :param interval: seconds over which counters are compared, 0.1 to 60.
        :param probe: also send 16 marked broadcast frames as the guest, if its end is a tap that vifplug made and that
            no program has open. A VMM that opens that tap within this half a second is refused: no default.
        :returns: the hops in order from the guest, the causes, the worst first, and a sentence.
        :raises UnknownVif: it is not plugged here.
        :raises NotPermitted: ``probe``, and the daemon permits this user only to read.
        :raises HostError: the links could not be read.
        """
        ...

    def progress(self, id: str) -> Progress:
        """The progress of a request that plugs, unplugs or repairs this VIF among others.

        :returns: at once; 0 of 0 if there is no such request of this process, or of the daemon.
        """
        ...

    def guest(self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None) -> GuestReport:
        """What a hypervisor needs for a VIF; ``vifplug.guest`` produces the same for a request.

        :param format: libvirt or qemu.
        :param model: libvirt's model of the guest's network card, or the name of a QEMU device.
        :param queues: usually the guest's number of CPUs; by default one, or two for a multi-queue tap.
        :returns: libvirt's element, or QEMU's arguments.
        :raises UnknownVif: it is not plugged here.
        :raises InputError: another format, or a card that the VIF's tap cannot have.
        :raises Damaged: its record cannot be read.
        :raises OvsUnavailable, BridgeMissing, HostError: the tap is an OVS port, and the bridge's datapath is unknown.
        """
        ...

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        """Whether VIFs have reached a state, and which program has to act.

        :param state: plugged, wired or active.
        :returns: one entry for each VIF, in order; a VIF that is not plugged here is ``absent``.
        :raises InputError: for another state.
        :raises HostError: links or ports could not be read.
        """
        ...

    def wait(self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS) -> VifReports:
        """Wait until VIFs are in a state, or a higher one. The present state counts, not events.

        The wait continues after ``retryable`` errors of ``look``: Open vSwitch or the daemon may restart meanwhile. Any
        other error ends it.

        :param state: plugged, wired or active.
        :param timeout: seconds, for all VIFs together; 0 looks once.
        :returns: a report for each VIF, in order.
        :raises NotReached: on timeout; the message lists what each VIF still waits for.
        :raises VifFailed: one has failed.
        """
        ...

    def expect(
        self,
        ids: Sequence[str],
        state: str = WIRED,
        timeout: float = limits.TIMEOUT_SECONDS,
        error_callback: ErrorCallback | None = None,
    ) -> contextlib.AbstractContextManager[Expectation]:
        """Wait for VIFs at the end of a ``with`` block, by the contract of Nova's ``wait_for_instance_event``.

        After a block that raises there is no wait. In the block, ``expectation.exit_early(ids)`` ends it, and excludes
        these VIFs.

        :param state: plugged, wired or active.
        :param timeout: seconds from the block's end, for all VIFs together; 0 does not wait.
        :param error_callback: called with the report of each VIF that failed, instead of raising VifFailed: True or
            None continues with the others, False ends the wait; its exceptions are raised.
        :returns: a context manager; its target has the ids of the VIFs.
        :raises NotReached, VifFailed: at the block's end, as of ``wait``.
        """
        ...

    def events(
        self,
        since: int | datetime.datetime | None = None,
        follow: bool = False,
        *,
        ids: Sequence[str] | None = None,
    ) -> Iterator[Event]:
        """Events of VIFs, in order, each exactly once, from all processes.

        :param since: the number of the last known event, or a time; by default all stored events (the newest 50,000).
            A time without a zone is local.
        :param follow: continue with new ones until the host is closed; without ``since``, only those from now on. It
            continues when the daemon restarts.
        :param ids: of VIFs, to get only their events; also of VIFs that are no longer plugged here.
        :returns: an iterator; this call determines where it begins.
        :raises EventsLost: also by the iterator: events after ``since`` are no longer stored, or it was never issued.
        """
        ...

    def doctor(self) -> Diagnosis:
        """Problems of this host, their reasons and remedies. Nothing is changed; problems raise no errors.

        :returns: at least one finding for each check; without Open vSwitch or a helper it takes seconds.
        """
        ...

    def host_info(self) -> HostInfo:
        """What this host can plug, and its versions; with Open vSwitch away, without what only that knows.

        :returns: versions, VIF types, bridges, and through the daemon the daemon's own data.
        """
        ...

    def close(self) -> None:
        """Close the host: end the helper, or the connections to the daemon; iterators of ``events`` end. Plugged VIFs
        stay. Repeated calls have no effect; it raises nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
