"""The library's own host: this process plugs, through privsep."""

from __future__ import annotations

import builtins
import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

from vifplug.api import follow as following
from vifplug.api import parameters
from vifplug.api import wait as waiting
from vifplug.config import options as config
from vifplug.doctor import gather
from vifplug.doctor.findings import Diagnosis
from vifplug.doctor.host_info import HostInfo
from vifplug.drivers.contract import Options
from vifplug.engine.commands import absent_guests, inspect, recover
from vifplug.engine.commands import guest as seating
from vifplug.engine.commands import wait as standings
from vifplug.engine.commands.absent_guests import Keep
from vifplug.engine.commands.plug import Plugger
from vifplug.engine.host import Host
from vifplug.engine.plan import guest_absence
from vifplug.engine.requester import Requester
from vifplug.guest import description
from vifplug.guest.nic import Nic
from vifplug.guest.report import GuestReport, check_format
from vifplug.model import durations, limits
from vifplug.model.events import Event, WaitReport
from vifplug.model.reports import WIRED, CheckReport, GcReport, PathReport, PlanReport, Progress, VifReport
from vifplug.model.types import canonical, each_once
from vifplug.model.vif import Vif
from vifplug.store import directory
from vifplug.store.locks import LockFile
from vifplug.store.store import Store

LOCK_FILE = "locks"


class LocalHost:
    """Plugs VIFs on this host; what ``vifplug.local`` yields. Safe to share between threads.

    A VIF's id is a UUID, in either case; every method raises InputError for anything else.

    :param settles: whether every call settles interrupted work first; else only those that change something do.
    :param settings: what it was made of, for ``doctor`` and ``host_info``; by default, the defaults.
    """

    def __init__(self, plugger: Plugger, *, settles: bool = True, settings: config.Settings | None = None) -> None:
        self._plugger = plugger
        self._settles = settles
        self._settings = settings or config.Settings()
        self._thread = threading.local()

    @property
    def warnings(self) -> builtins.list[str]:
        """What this thread's last call could not settle of others' interrupted work."""
        return getattr(self._thread, "warnings", [])

    @property
    def unknown_options(self) -> builtins.list[str]:
        """What of the configuration file nothing reads: a sentence each, with the file and the nearest option."""
        return [f"configuration file {self._settings.config_file}: {text}" for text in self._settings.unknown]

    def _looking(self) -> Plugger:
        if self._settles:
            return self._settled()
        self._plugger.host.ensure_running()
        self._thread.warnings = []
        return self._plugger

    def _settled(self) -> Plugger:
        self._plugger.host.ensure_running()
        self._thread.warnings = recover.settle(self._plugger)
        return self._plugger

    def plug(self, vifs: Sequence[Vif], *, requester: Requester | None = None) -> builtins.list[VifReport]:
        """Plug VIFs, all or none. A VIF that is right already costs no write.

        :param requester: who asks; by default this process's user, who may change every VIF.
        :raises InputError, Conflict, NotPermitted: nothing was touched.
        :raises HostError: it failed, and what it had made was taken back.
        """
        given = parameters.vifs(vifs)
        return self._settled().plug(given, requester or _this_user())

    def unplug(self, ids: Sequence[str], *, requester: Requester | None = None) -> builtins.list[VifReport]:
        """Unplug VIFs; one that is not plugged is done.

        :raises NotPermitted: for one that is not the requester's.
        :raises TeardownError, HostError: something is left; the next call goes on with it.
        """
        given = each_once(ids)
        return self._settled().unplug(given, requester)

    def progress(self, id: str) -> Progress:
        """How far the request has come by now that plugs, unplugs or repairs this VIF among others."""
        return self._plugger.under_way.of(canonical(id))

    def get(self, id: str) -> VifReport:
        """One VIF as it is.

        :raises UnknownVif: when it is not plugged here.
        """
        vif_id = canonical(id)
        return inspect.get(self._looking(), vif_id)

    def list(self, *, absent_for: float | None = None) -> builtins.list[VifReport]:
        """Every VIF plugged here.

        :param absent_for: only those with nothing at the guest's end for that many seconds.
        """
        seconds = None if absent_for is None else durations.seconds(absent_for, "absent_for")
        return guest_absence.absent_for(inspect.list_vifs(self._looking()), seconds)

    def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        """Drift of these VIFs; or of all, and orphans.

        :raises UnknownVif: for an id that is not plugged here.
        """
        given = None if ids is None else each_once(ids)
        return inspect.check(self._looking(), given)

    def repair(
        self, ids: Sequence[str] | None = None, *, requester: Requester | None = None
    ) -> builtins.list[VifReport]:
        """Put right what drifted of these VIFs, or of all.

        :raises UnknownVif: for an id that is not plugged here; nothing was touched.
        :raises HostError: after the others were repaired.
        """
        wanted = None if ids is None else each_once(ids)
        plugger = self._settled()
        if wanted is None:
            wanted = builtins.list(plugger.store.contents().records)
        return plugger.repair(wanted, requester)

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        """Find orphans, and with ``delete`` take them away.

        :param keep: ids of the VIFs, or of the instances, that there are. Recorded VIFs that it does not name, and that
            have had nothing at the guest's end for ``absent_for`` seconds, are found as well, and with ``delete``
            unplugged. An empty list keeps none of those.
        """
        parameters.flag("delete", delete)
        wanted = None if keep is None else Keep(ids=frozenset(each_once(keep)), absent_for=absent_for)
        durations.seconds(absent_for, "absent_for")
        plugger = self._settled()
        if wanted is None:
            return inspect.gc(plugger, delete=delete)
        absent = absent_guests.find(plugger, wanted)
        found = inspect.gc(plugger, delete=delete)
        unplugged = absent_guests.unplug(plugger, absent, wanted) if delete and absent else []
        return replace(found, absent=tuple(absent), unplugged=tuple(unplugged))

    def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        """What ``plug`` would do, touching nothing.

        :raises InputError, Conflict, HostError: as ``plug``.
        """
        given = parameters.vifs(vifs)
        self._plugger.host.ensure_running()
        return self._plugger.plan(given).report()

    def path(self, id: str) -> PathReport:
        """One VIF's path, hop by hop, as it is.

        :raises UnknownVif: when it is not plugged here.
        """
        vif_id = canonical(id)
        self._plugger.host.ensure_running()
        return inspect.path(self._plugger, vif_id)

    def guest(self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None) -> GuestReport:
        """What a hypervisor needs of a VIF; see ``vifplug.guest``.

        :param format: libvirt or qemu.
        :raises UnknownVif: when it is not plugged here.
        :raises InputError: when the guest's card cannot be so.
        :raises OvsUnavailable, BridgeMissing: when it cannot be told what the card needs.
        """
        vif_id = canonical(id)
        check_format(format)
        nic = Nic(model=model, queues=queues)
        vif, is_userspace = seating.seated(self._looking(), vif_id)
        return description.describe(vif, format, replace(nic, is_userspace=is_userspace))

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        """How VIFs stand on their way to a state, and who is to bring them there. One that is not plugged is absent.

        :raises InputError: for a state that is none of plugged, wired and active.
        """
        goal = waiting.Goal(ids, state, 0)
        return standings.look(self._looking(), goal.ids, goal.state)

    def wait(
        self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS
    ) -> builtins.list[VifReport]:
        """Wait until VIFs are plugged, wired or active.

        :param timeout: seconds; 0 is to look once.
        :raises NotReached: when the time is over; it names each VIF that is not there, and what it waits for.
        :raises VifFailed: when one has failed.
        """
        return waiting.wait(self._watch, waiting.Goal(ids, state, timeout))

    def expect(
        self,
        ids: Sequence[str],
        state: str = WIRED,
        timeout: float = limits.TIMEOUT_SECONDS,
        error_callback: waiting.ErrorCallback | None = None,
    ) -> contextlib.AbstractContextManager[waiting.Expectation]:
        """Wait for VIFs at the end of a ``with`` block, as Nova's wait_for_instance_event; see ``vifplug.api.wait``.

        :param timeout: seconds from the block's end, for all VIFs together; 0 is not to wait.
        :param error_callback: what to do about a VIF that failed, in place of raising VifFailed.
        :raises NotReached, VifFailed: at the block's end.
        """
        return waiting.expect(self._watch, waiting.Goal(ids, state, timeout), error_callback)

    def events(self, since: int | None = None, follow: bool = False) -> Iterator[Event]:
        """What happened to VIFs, in order, each once, whoever did it.

        :param since: the last event's number that is known already; without, all that are kept.
        :param follow: go on with those that come, for ever; without ``since``, with those from now on.
        :raises EventsLost: by the iterator, too, when some are not kept any more.
        """
        return following.of_log(self._plugger.store, since, follow=follow)

    def doctor(self) -> Diagnosis:
        """What is wrong with this host, why, and what to do. Nothing is changed, nor raised for what is wrong."""
        return gather.diagnose(self._settings, self._plugger)

    def host_info(self) -> HostInfo:
        """What this host can plug, and with what; with OVS away, as far as that is known without."""
        return gather.host_info(self._settings, self._plugger.host)

    @property
    def _watch(self) -> waiting.Watch:
        return waiting.Watch(look=lambda ids, state, _seconds: self.look(ids, state), get=self.get)


def _this_user() -> Requester:
    return Requester(uid=os.getuid())


@contextlib.contextmanager
def local(config_file: str | None = None) -> Iterator[LocalHost]:
    """Plug in this process: starts a privileged helper (by fork when root) and ends it with the block.

    :param config_file: by default the one in VIFPLUG_CONFIG_FILE, else /etc/vifplug/vifplug.conf.
    :raises ConfigError, StoreError, HelperDied: when it cannot start.
    """
    # Here: whoever imports the library for its data, or for the daemon's, needs no netlink and no OVSDB.
    from vifplug.linux.host import LinuxHost

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
        yield LocalHost(plugger_of(settings, host, store, locks), settings=settings)


def plugger_of(settings: config.Settings, host: Host, store: Store, locks: LockFile) -> Plugger:
    """The use cases, as the configuration wants them."""
    options = Options(
        integration_bridge=settings.integration_bridge,
        mtu=settings.mtu,
        isolate=settings.isolate,
        qos_type=settings.qos_type or None,
        wired_by=settings.wired_by,
        listens=settings.listen is not None,
    )
    return Plugger(host, store, locks, options, lock_seconds=3 * settings.timeout + 5)
