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
    from types import TracebackType

    from vifplug.api.wait import ErrorCallback, Expectation
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import Event, WaitReport
    from vifplug.model.vif import Vif

# In the classes below, ``list`` is a method.
VifReports: TypeAlias = list[VifReport]
Warnings: TypeAlias = list[str]


class Host(Protocol):
    """A host whose VIFs are plugged: this process (``vifplug.local``), the daemon's (``vifplug.connect``) or a fake one
    (``vifplug.testing.FakeHost``). The methods, their answers and their errors are the same.

    A host may be shared by threads; a forked child opens one of its own. It is closed by ``close`` or at the end of its
    ``with`` block, and what was plugged stays. A VIF's id is a UUID, in either case. Times are in seconds, MTUs in
    bytes.

    Beside the errors that a method names, every method may raise:

    - InputError: an argument is of the wrong type or out of bounds, or the host is closed. Nothing was touched.
    - StoreError: the record of what is plugged cannot be read or written (StoreLocked passes by itself).
    - HelperDied: the privileged helper ended, or cannot be started. It is ``retryable``.
    - through the daemon, DaemonUnreachable: no answer came, or none within ``connect(timeout=)``. In the middle of a
      change its outcome is not known, and the same call again finds what is done.
    - through the daemon, NotPermitted: its configuration does not let this user do that. Nothing was touched.
    - through the daemon, Busy: this user has too many requests under way. It is ``retryable``.

    An error's ``retryable`` says whether the same call may succeed a moment later.
    """

    @property
    def warnings(self) -> Warnings:
        """What a person should read of this thread's last call: what it could not settle of interrupted work, and
        through the daemon the warnings about its VIFs, which a local host has in each report's ``warnings``.

        :returns: a sentence each; empty after a call without any.
        """
        ...

    def plug(self, vifs: Sequence[Vif]) -> VifReports:
        """Plug VIFs, all or none; each is read back before this returns.

        A VIF that already matches is not written to; one that drifted is repaired in place. What a request leaves out
        (MTU, instance) keeps its recorded value, else the configuration's.

        :param vifs: what ``vifplug.load_all`` gives; a list or another iterable of Vif, each id once.
        :returns: a report for each VIF, in the order given, its state ``plugged``: ``get`` and ``wait`` report what
            a control plane and a guest make of it.
        :raises InputError: for what is no VIF, and for a vif_type that has no driver. Nothing was touched.
        :raises Conflict: another VIF, or something that vifplug did not make, holds a name or an identity; or the VIF
            is plugged as another vif_type. Nothing was touched.
        :raises NotPermitted: a VIF that another user plugged, or a bridge that is not for this user. Nothing was
            touched.
        :raises Busy: another request works on one of them, and did not end in time. Nothing was touched.
        :raises BridgeMissing: an OVS bridge is not there. Nothing was touched.
        :raises HostError: a step failed (LinkError, OvsdbError, OvsUnavailable, TimedOut, VerifyError,
            PermissionDenied, HelperDied); ``step`` and ``subject`` name it. What was made is taken back.
        :raises StoreError: it could not be recorded (StoreFull, StoreLocked, Replaced). What was made is taken back.
        """
        ...

    def unplug(self, ids: Sequence[str]) -> VifReports:
        """Unplug VIFs, by their records; an absent one counts as success.

        It goes on past errors, a hundred VIFs at a time, and raises them at the end. With vswitchd dead it succeeds,
        with a warning, once links and rows are gone.

        :param ids: of VIFs; an id that is given twice counts once.
        :returns: a report for each VIF, in order, its state ``unplugged``; of one that was absent, all but the id is
            None.
        :raises NotPermitted: a VIF that another user plugged. Nothing was touched.
        :raises Busy: another request works on one of them; the others are unplugged.
        :raises TeardownError, HostError: something is left; all that could go is gone, and the next call goes on with
            it.
        :raises StoreError: a change could not be recorded.
        """
        ...

    def get(self, id: str) -> VifReport:
        """One VIF as it is; with Open vSwitch away, as recorded.

        :returns: its state, devices and ports. One whose record is damaged is ``failed``, and ``error`` says why.
        :raises UnknownVif: it is not plugged here.
        :raises HostError: links or ports could not be read.
        """
        ...

    def list(self, *, absent_for: float | None = None) -> VifReports:
        """Every VIF plugged here, as it is; with Open vSwitch away, as recorded.

        :param absent_for: only those with nothing at the guest's end for that many seconds.
        :returns: reports as of ``get``; one whose record is damaged is ``failed``.
        :raises HostError: links or ports could not be read.
        """
        ...

    def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        """Compare VIFs with the host, and change nothing.

        :param ids: of VIFs; without, every VIF, and orphans are looked for.
        :returns: each VIF's state and drift, in the order given, and the orphans.
        :raises UnknownVif: an id that is not plugged here.
        :raises HostError: the host could not be read (OvsUnavailable, TimedOut, LinkError, HelperDied).
        """
        ...

    def repair(self, ids: Sequence[str] | None = None) -> VifReports:
        """Make VIFs as recorded again, each by itself, and only what drifted.

        :param ids: of VIFs; without, every VIF.
        :returns: a report for each VIF, as it is afterwards.
        :raises UnknownVif: an id that is not plugged here. Nothing was touched.
        :raises NotPermitted: a VIF that another user plugged; or all, by a user who is not an administrator. Nothing
            was touched.
        :raises Damaged: a record cannot be read: plug that VIF again, or unplug it. Nothing was touched.
        :raises Conflict, Busy, HostError: of the only VIF that could not be repaired; the others were.
        :raises TeardownError: several errors, of VIFs that could not be repaired; the others were.
        """
        ...

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        """Find orphans, and with ``delete`` delete them.

        :param delete: each orphan is deleted under its owner's lock, and only if it still is one.
        :param keep: ids of the VIFs, or of the instances, that there are. Recorded VIFs that it does not name, and that
            have had nothing at the guest's end for ``absent_for`` seconds, are found as well, and with ``delete``
            unplugged. An empty list keeps none of those.
        :param absent_for: seconds.
        :returns: what was found, and what was deleted or unplugged; without ``keep``, ``absent`` is None.
        :raises NotPermitted: ``delete``, by a user who is not an administrator. Nothing was touched.
        :raises TeardownError, HostError: something that should go could not; the rest is gone.
        """
        ...

    def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        """What ``plug`` would do, touching nothing.

        :returns: the changes in order; none for VIFs that are right.
        :raises InputError, Conflict, BridgeMissing, HostError: as of ``plug``.
        """
        ...

    def path(self, id: str) -> PathReport:
        """One VIF's path, hop by hop, as it is.

        :returns: the hops in order from the guest; none for a VIF whose record is damaged.
        :raises UnknownVif: it is not plugged here.
        :raises HostError: the host could not be read; with Open vSwitch away, OvsUnavailable.
        """
        ...

    def progress(self, id: str) -> Progress:
        """How far the request has come by now that plugs, unplugs or repairs this VIF among others.

        :returns: at once; 0 of 0 when there is no such request of this process, or of the daemon.
        """
        ...

    def guest(self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None) -> GuestReport:
        """What a hypervisor needs of a VIF; ``vifplug.guest`` makes the same of a request.

        :param format: libvirt or qemu.
        :param model: libvirt's word for the guest's network card, or the name of a device of QEMU's.
        :param queues: as many as the guest has CPUs, as a rule; by default one, or of a multi-queue tap two.
        :returns: libvirt's element, or QEMU's arguments.
        :raises UnknownVif: it is not plugged here.
        :raises InputError: another format, or a card that the VIF's tap cannot have.
        :raises Damaged: its record cannot be read.
        :raises OvsUnavailable, BridgeMissing, HostError: the tap is an OVS port, and the bridge's datapath cannot be
            seen.
        """
        ...

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        """How VIFs stand on their way to a state, and who is to bring them there.

        :param state: plugged, wired or active.
        :returns: one entry for each VIF, in order; one that is not plugged here is ``absent``.
        :raises InputError: for another state.
        :raises HostError: links or ports could not be read.
        """
        ...

    def wait(self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS) -> VifReports:
        """Wait until VIFs are in a state, or beyond it. What counts is how they are, not what has happened.

        Errors of ``look`` that are ``retryable`` are waited out: Open vSwitch or the daemon may be started anew
        meanwhile. Any other ends the wait.

        :param state: plugged, wired or active.
        :param timeout: seconds, for all VIFs together; 0 looks once.
        :returns: a report for each VIF, in order.
        :raises NotReached: on timeout; the message says of each missing VIF what it waits for.
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

        A block that raises is not waited for. In it, ``expectation.exit_early(ids)`` ends the block, and those are not
        waited for.

        :param state: plugged, wired or active.
        :param timeout: seconds from the block's end, for all VIFs together; 0 does not wait.
        :param error_callback: called with the report of each VIF that failed, in place of raising VifFailed: True or
            None goes on with the others, False ends the wait; what it raises is raised.
        :returns: a context manager; its target names the VIFs that are waited for.
        :raises NotReached, VifFailed: at the block's end, as of ``wait``.
        """
        ...

    def events(self, since: int | None = None, follow: bool = False) -> Iterator[Event]:
        """What happened to VIFs, in order, each event once, whichever process did it.

        :param since: the number of the last event that is known; without, all that are kept (the newest 50,000).
        :param follow: go on with new ones until the host is closed; without ``since``, only with those from now on. It
            outlives a daemon that is started anew.
        :returns: an iterator; where it begins is settled by this call.
        :raises EventsLost: by the iterator as well: events after ``since`` are not kept any more, or it was never
            given.
        """
        ...

    def doctor(self) -> Diagnosis:
        """What is wrong with this host, why, and what to do. Nothing is changed, nor raised for what is wrong.

        :returns: at least one finding for each check; without Open vSwitch or a helper it takes seconds.
        """
        ...

    def host_info(self) -> HostInfo:
        """What this host can plug, and with what; with Open vSwitch away, as far as that is known without.

        :returns: versions, VIF types, bridges, and through the daemon who it is.
        """
        ...

    def close(self) -> None:
        """Let go of the host: the helper ends, or the connections to the daemon; iterators of ``events`` end. What was
        plugged stays. Again is harmless; it raises nothing.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
