"""The library's own host: this process plugs, through privsep."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Self, TypeVar

from vifplug.api import follow as following
from vifplug.api import parameters
from vifplug.api import retry as retrying
from vifplug.api import wait as waiting
from vifplug.api.contract import Host, VifReports, Warnings
from vifplug.api.wait import ErrorCallback, Expectation
from vifplug.config import options as config
from vifplug.drivers.contract import Options
from vifplug.engine.commands import absent_guests, gc, guest, inspect, plug, recover, repair, unplug
from vifplug.engine.commands import wait as wait_command
from vifplug.engine.commands.absent_guests import Keep
from vifplug.engine.context import Context
from vifplug.engine.host import RunningHost
from vifplug.engine.plan import guest_absence
from vifplug.engine.requester import Requester
from vifplug.errors import InputError
from vifplug.model import durations, limits
from vifplug.model.events import Event, WaitReport
from vifplug.model.reports import WIRED, CheckReport, GcReport, PathReport, PlanReport, Progress, VifReport
from vifplug.model.types import canonical, each_once
from vifplug.model.vif import Vif
from vifplug.store import directory
from vifplug.store.locks import LockFile
from vifplug.store.store import Store

if TYPE_CHECKING:
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.trace.probe import Probe
    from vifplug.trace.values import TraceReport

P = ParamSpec("P")
T = TypeVar("T")
# The doctor and the guests' descriptions are imported by the methods that need them: a fifth of the modules of a plug.
LOCK_FILE = directory.LOCKS


def _retried(
    method: Callable[Concatenate[LocalHost, P], T],
) -> Callable[Concatenate[LocalHost, P], T]:
    """A method that is repeated for as long as its host permits; the next call settles what one has left."""

    @functools.wraps(method)
    def call(self: LocalHost, /, *arguments: P.args, **named: P.kwargs) -> T:
        if self._retry <= 0:
            return method(self, *arguments, **named)
        return retrying.repeated(lambda: method(self, *arguments, **named), self._retry)

    return call


class LocalHost(Host):
    """Plugs VIFs on this host, from this process; what ``vifplug.local`` opens. ``Host`` documents the methods.

    :param context: the context of the commands.
    :param probe: the doctor's source of facts.
    :param settles: whether every call settles interrupted work first; else only those that change something do.
    :param settings: its configuration, for ``doctor`` and ``host_info``; by default, the defaults.
    :param closing: called by ``close``; perhaps twice.
    :param retry: seconds for which a call is repeated while its error is ``retryable``.
    """

    def __init__(
        self,
        context: Context,
        probe: Probe,
        *,
        settles: bool = True,
        settings: config.Settings | None = None,
        closing: Callable[[], object] | None = None,
        retry: float = 0,
    ) -> None:
        self._opened, self._probe = context, probe
        self._settles = settles
        self._settings = settings or config.Settings()
        self._closing = closing
        self._is_closed = False
        self._retry, self._pid = retry, os.getpid()
        self._thread = threading.local()

    @property
    def warnings(self) -> Warnings:
        return getattr(self._thread, "warnings", [])

    @property
    def unknown_options(self) -> Warnings:
        """Unknown parts of the configuration file: a sentence each, with the file and the nearest option."""
        return [f"configuration file {self._settings.config_file}: {text}" for text in self._settings.unknown]

    @property
    def _context(self) -> Context:
        if self._is_over():
            raise InputError("this host is closed; open another with vifplug.local()")
        return self._opened

    def _is_over(self) -> bool:
        """Whether it is closed.

        :raises InputError: a forked child would read its parent's answers of the helper, and share its database.
        """
        if self._pid != os.getpid() and not self._is_closed:
            raise InputError(
                f"this host was opened by process {self._pid}, of which this one is a forked child; open another with "
                "vifplug.local()"
            )
        return self._is_closed

    def _looking(self) -> Context:
        if self._settles:
            return self._settled()
        context = self._context
        context.host.ensure_running()
        self._thread.warnings = []
        return context

    def _settled(self) -> Context:
        context = self._context
        context.host.ensure_running()
        self._thread.warnings = recover.settle(context)
        return context

    @_retried
    def plug(self, vifs: Sequence[Vif], *, requester: Requester | None = None) -> VifReports:
        # The daemon's requests contain the requester; otherwise it is this process's user, who may change every VIF.
        given = parameters.vifs(vifs)
        context = self._context
        context.host.ensure_running()
        with plug.asking(context, [vif.id for vif in given]) as early:
            self._thread.warnings = recover.settle(context)
            return plug.plug(context, given, requester or _this_user(), early)

    @_retried
    def unplug(self, ids: Sequence[str], *, requester: Requester | None = None) -> VifReports:
        given = each_once(ids)
        return unplug.unplug(self._settled(), given, requester)

    def plan_unplug(self, ids: Sequence[str]) -> PlanReport:
        given = each_once(ids)
        self._context.host.ensure_running()
        return unplug.plan(self._context, given)

    def progress(self, id: str) -> Progress:
        return self._context.under_way.of(canonical(id))

    @_retried
    def get(self, id: str) -> VifReport:
        vif_id = canonical(id)
        return inspect.get(self._looking(), vif_id)

    @_retried
    def list(self, *, absent_for: float | None = None) -> VifReports:
        seconds = None if absent_for is None else durations.seconds(absent_for, "absent_for")
        return guest_absence.absent_for(inspect.list_vifs(self._looking()), seconds)

    @_retried
    def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        given = None if ids is None else each_once(ids)
        return inspect.check(self._looking(), given)

    @_retried
    def repair(self, ids: Sequence[str] | None = None, *, requester: Requester | None = None) -> VifReports:
        wanted = None if ids is None else each_once(ids)
        context = self._settled()
        if wanted is None:
            wanted = [*context.store.contents().records]
        return repair.repair(context, wanted, requester)

    @_retried
    def plan_repair(self, ids: Sequence[str] | None = None) -> PlanReport:
        wanted = None if ids is None else each_once(ids)
        context = self._context
        context.host.ensure_running()
        return repair.plan(context, [*context.store.contents().records] if wanted is None else wanted)

    @_retried
    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        parameters.flag("delete", delete)
        wanted = None if keep is None else Keep(ids=frozenset(each_once(keep)), absent_for=absent_for)
        durations.seconds(absent_for, "absent_for")
        context = self._settled()
        if wanted is None:
            return gc.gc(context, delete=delete)
        absent = absent_guests.find(context, wanted)
        report = gc.gc(context, delete=delete)
        unplugged = absent_guests.unplug(context, absent, wanted) if delete and absent else []
        return replace(report, absent=tuple(absent), unplugged=tuple(unplugged))

    @_retried
    def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        given = parameters.vifs(vifs)
        self._context.host.ensure_running()
        return plug.plan(self._context, given).report()

    @_retried
    def path(self, id: str) -> PathReport:
        vif_id = canonical(id)
        self._context.host.ensure_running()
        return inspect.path(self._context, vif_id)

    @_retried
    def trace(self, id: str, *, interval: float = limits.TRACE_SECONDS, probe: bool = False) -> TraceReport:
        from vifplug.trace import report as traced

        vif_id, seconds = canonical(id), parameters.interval(interval)
        parameters.flag("probe", probe)
        self._context.host.ensure_running()
        return traced.trace(self._context, self._probe, vif_id, seconds, sends=probe)

    @_retried
    def guest(self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None) -> GuestReport:
        from vifplug.guest import description
        from vifplug.guest.nic import Nic
        from vifplug.guest.report import check_format

        vif_id = canonical(id)
        check_format(format)
        nic = Nic(model=model, queues=queues)
        seat = guest.guest_seat(self._looking(), vif_id)
        nic = replace(nic, is_userspace=seat.is_userspace, function_device=seat.function_device, vdpa=seat.vdpa)
        return description.describe(seat.vif, format, nic)

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        goal = waiting.Goal(ids, state, 0)
        return wait_command.look(self._looking(), goal.ids, goal.state)

    def wait(self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS) -> VifReports:
        return waiting.wait(self._watch, waiting.Goal(ids, state, timeout))

    def expect(
        self,
        ids: Sequence[str],
        state: str = WIRED,
        timeout: float = limits.TIMEOUT_SECONDS,
        error_callback: ErrorCallback | None = None,
    ) -> contextlib.AbstractContextManager[Expectation]:
        return waiting.expect(self._watch, waiting.Goal(ids, state, timeout), error_callback)

    def events(
        self,
        since: int | datetime.datetime | None = None,
        follow: bool = False,
        *,
        ids: Sequence[str] | None = None,
    ) -> Iterator[Event]:
        choice = following.Choice(since=since, ids=ids, follow=follow)
        return following.of_log(self._context.store, choice, is_over=self._is_over)

    def doctor(self) -> Diagnosis:
        from vifplug.doctor import gather

        return gather.diagnose(self._settings, self._context, self._probe)

    def host_info(self) -> HostInfo:
        from vifplug.doctor import gather

        return gather.host_info(self._settings, None if self._context.ovs_away else self._probe)

    def close(self) -> None:
        self._is_closed = True
        # In a forked child it would end the parent's helper, whose socket both have.
        if self._closing is not None and self._pid == os.getpid():
            self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()

    @property
    def _watch(self) -> waiting.Watch:
        return waiting.Watch(look=lambda ids, state, _seconds: self.look(ids, state), get=self.get)


def _this_user() -> Requester:
    return Requester(uid=os.getuid())


def local(config_file: str | None = None, *, retry: float = 0) -> LocalHost:
    """Plug in this process: starts a privileged helper (by fork when root), which ends when the host is closed.

    :param config_file: by default the one in VIFPLUG_CONFIG_FILE, else /etc/vifplug/vifplug.conf.
    :param retry: seconds for which each call is repeated while its error is ``retryable``: Open vSwitch that restarts,
        a helper that died, a VIF that another request works on. 0 means one attempt. Waits have their own time.
    :returns: an open host; use it in a ``with`` statement, or close it.
    :raises InputError: ``config_file`` is not a path, or ``retry`` not a number of seconds.
    :raises ConfigError: the configuration cannot be read, or is wrong.
    :raises StoreError: state_dir cannot be used.
    :raises HelperDied: the helper cannot be started.
    """
    # Imported here: a user of the library's data, or of the daemon, needs no netlink and no OVSDB.
    from vifplug.linux.host import LinuxHost

    retry = durations.seconds(retry, "retry")
    settings = config.load(parameters.path("config_file", config_file))
    LinuxHost.refuse(settings)
    with contextlib.ExitStack() as stack:
        # The store's directory first, so that its mode and owner are set; then the helper, before SQLite has
        # a connection that a fork would share; then the connection.
        directory.prepare(settings.state_dir, settings.user)
        locks = LockFile(os.path.join(settings.state_dir, LOCK_FILE))
        session = locks.open_session()
        stack.callback(session.close)
        host = LinuxHost(settings, session)
        stack.callback(host.close)
        store = Store(settings.state_dir, settings.user, notifies=bool(settings.notify_url))
        stack.callback(store.close)
        context = context_of(settings, host, store, locks)
        return LocalHost(context, host.probe, settings=settings, closing=stack.pop_all().close, retry=retry)


def log_of(host: LocalHost) -> following.Log:
    """The stored events of an open host.

    :raises InputError: it is closed.
    """
    return host._context.store


def context_of(settings: config.Settings, host: RunningHost, store: Store, locks: LockFile) -> Context:
    """The context of the commands, according to the configuration."""
    options = Options(
        integration_bridge=settings.integration_bridge,
        mtu=settings.mtu,
        isolate=settings.isolate,
        per_port_bridge=settings.per_port_bridge,
        qos_type=settings.qos_type or None,
        filter_enabled=settings.filter_enabled,
        wired_by=settings.wired_by,
        listens=settings.listen is not None,
        vhostuser_socket_dir=settings.vhostuser_socket_dir,
        configurable=settings.configurable,
        physical_networks=settings.physical_networks,
        addressed_devices=settings.addressed_devices,
        vxlan_local_ip=settings.vxlan_local_ip,
        vxlan_group=settings.vxlan_group,
    )
    return Context(host, store, locks, options, lock_seconds=3 * settings.timeout + 5)
