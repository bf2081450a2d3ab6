"""The daemon's host: the library's methods, their answers and their errors, spoken over the daemon's socket.

Nothing heavy is imported here, the host's side of vifplug least of all; and what not every command asks for, by the
method that needs it.
"""

from __future__ import annotations

import builtins
import contextlib
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from vifplug.api import parameters
from vifplug.api import retry as retrying
from vifplug.api.http import Request, Wire
from vifplug.config import locate
from vifplug.formats.document import Document
from vifplug.model import durations, limits
from vifplug.model.reports import (
    WIRED,
    CheckReport,
    GcReport,
    PathReport,
    PlanReport,
    Progress,
    VifReport,
)
from vifplug.model.types import canonical, each_once

if TYPE_CHECKING:
    from vifplug.api import wait as waiting
    from vifplug.doctor.findings import Diagnosis
    from vifplug.doctor.host_info import HostInfo
    from vifplug.guest.report import GuestReport
    from vifplug.model.events import Event, WaitReport
    from vifplug.model.vif import Vif

_VIFS, _BATCH, _CHECK, _REPAIR, _GC = "/v1/vifs", "/v1/batch", "/v1/check", "/v1/repair", "/v1/gc"
_WAIT = "/v1/wait"
_DOCTOR_SECONDS = 120.0
"""Each thing it looks at has a time-out of its own."""
_ONE_WAIT_SECONDS = 30.0
"""The daemon waits for 60 at most."""
_WAIT_SPARE_SECONDS = 5.0
"""How much later than it was told to answer it may do so; then it is taken for stuck."""

T = TypeVar("T")


class DaemonHost:
    """Plugs VIFs on this host through vifplugd; what ``vifplug.connect`` yields. Safe to share between threads.

    Whose VIFs a caller may change, the daemon decides by the user it sees on the socket. Every method raises what
    LocalHost's does, NotPermitted, and DaemonUnreachable when no answer comes.

    :param retry: seconds for which each call is repeated while its error is ``retryable``; waits and events keep their
        own time.
    """

    def __init__(self, wire: Wire, *, retry: float = 0) -> None:
        self._wire, self._retry = wire, retry
        self._thread = threading.local()

    @property
    def warnings(self) -> builtins.list[str]:
        """What a person should read of this thread's last call, about its VIFs and about others' interrupted work."""
        return getattr(self._thread, "warnings", [])

    def plug(self, vifs: Sequence[Vif]) -> builtins.list[VifReport]:
        """Plug VIFs, all or none. A VIF that is right already costs no write.

        :raises InputError, Conflict, NotPermitted: nothing was touched.
        :raises HostError: it failed, and what it had made was taken back.
        :raises DaemonUnreachable: in mid-request it is not known; the same call again finds what is done.
        """
        asked = _plugging(vifs)
        return self._vifs_of(_BATCH, asked) if asked["plug"] else self._nothing()

    def unplug(self, ids: Sequence[str]) -> builtins.list[VifReport]:
        """Unplug VIFs; one that is not plugged is done.

        :raises NotPermitted: for one that is not the caller's.
        :raises TeardownError, HostError: something is left; the next call goes on with it.
        """
        given = each_once(ids)
        return self._vifs_of(_BATCH, {"unplug": given}) if given else self._nothing()

    def progress(self, id: str) -> Progress:
        """How far the request has come by now that plugs, unplugs or repairs this VIF among others."""
        return self._ask(Request(method="GET", target=f"{_target(id)}/progress"), Progress.from_json)

    def get(self, id: str) -> VifReport:
        """One VIF as it is.

        :raises UnknownVif: when it is not plugged here.
        """
        return self._ask(Request(method="GET", target=_target(id)), VifReport.from_json)

    def list(self, *, absent_for: float | None = None) -> builtins.list[VifReport]:
        """Every VIF plugged here.

        :param absent_for: only those with nothing at the guest's end for that many seconds.
        """
        query = "" if absent_for is None else f"?absent_for={durations.seconds(absent_for, 'absent_for')}"
        return self._ask(Request(method="GET", target=_VIFS + query), _vifs)

    def check(self, ids: Sequence[str] | None = None) -> CheckReport:
        """Drift of these VIFs; or of all, and orphans.

        :raises UnknownVif: for an id that is not plugged here.
        """
        return self._ask(Request(method="POST", target=_CHECK, document={"ids": _ids(ids)}), CheckReport.from_json)

    def repair(self, ids: Sequence[str] | None = None) -> builtins.list[VifReport]:
        """Put right what drifted of these VIFs, or of all.

        :raises UnknownVif: for an id that is not plugged here; nothing was touched.
        :raises HostError: after the others were repaired.
        """
        return self._vifs_of(_REPAIR, {"ids": _ids(ids)})

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        """Find orphans, and with ``delete`` take them away.

        :param keep: ids of the VIFs, or of the instances, that there are. Recorded VIFs that it does not name, and that
            have had nothing at the guest's end for ``absent_for`` seconds, are found as well, and with ``delete``
            unplugged. An empty list keeps none of those.
        """
        parameters.flag("delete", delete)
        document: dict[str, Any] = {"delete": delete}
        seconds = durations.seconds(absent_for, "absent_for")
        if keep is not None:
            document |= {"keep": each_once(keep), "absent_for": seconds}
        asked = Request(method="POST", target=_GC, document=document, changes=delete)
        return self._ask(asked, GcReport.from_json)

    def plan(self, vifs: Sequence[Vif]) -> PlanReport:
        """What ``plug`` would do, touching nothing.

        :raises InputError, Conflict, HostError: as ``plug``.
        """
        asked = _plugging(vifs)
        if not asked["plug"]:
            self._nothing()
            return PlanReport()
        document = {**asked, "dry_run": True}
        return self._ask(Request(method="POST", target=_BATCH, document=document), PlanReport.from_json)

    def path(self, id: str) -> PathReport:
        """One VIF's path, hop by hop, as it is.

        :raises UnknownVif: when it is not plugged here.
        """
        return self._ask(Request(method="GET", target=f"{_target(id)}/path"), PathReport.from_json)

    def guest(self, id: str, format: str, *, model: str = limits.VIRTIO, queues: int | None = None) -> GuestReport:
        """What a hypervisor needs of a VIF; see ``vifplug.guest``.

        :param format: libvirt or qemu.
        :raises UnknownVif: when it is not plugged here.
        :raises InputError: when the guest's card cannot be so.
        :raises OvsUnavailable, BridgeMissing: when it cannot be told what the card needs.
        """
        from vifplug.guest.nic import Nic
        from vifplug.guest.report import GuestReport, check_format

        vif = _target(id)
        check_format(format)
        nic = Nic(model=model, queues=queues)
        card = {"model": nic.model, **({"queues": nic.queues} if nic.queues is not None else {})}
        target = f"{vif}/guest/{format}?{urllib.parse.urlencode(card)}"
        return self._ask(Request(method="GET", target=target), GuestReport.from_json)

    def look(self, ids: Sequence[str], state: str) -> WaitReport:
        """How VIFs stand on their way to a state, and who is to bring them there. One that is not plugged is absent.

        :raises InputError: for a state that is none of plugged, wired and active.
        """
        from vifplug.api import wait as waiting

        goal = waiting.Goal(ids, state, 0)
        return self._look(goal.ids, goal.state, goal.timeout)

    def wait(
        self, ids: Sequence[str], state: str = WIRED, timeout: float = limits.TIMEOUT_SECONDS
    ) -> builtins.list[VifReport]:
        """Wait until VIFs are plugged, wired or active; a daemon that is started anew meanwhile is waited for.

        :param timeout: seconds; 0 is to look once.
        :raises NotReached: when the time is over; it names each VIF that is not there, and what it waits for.
        :raises VifFailed: when one has failed.
        """
        from vifplug.api import wait as waiting

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
        from vifplug.api import wait as waiting

        return waiting.expect(self._watch, waiting.Goal(ids, state, timeout), error_callback)

    def events(self, since: int | None = None, follow: bool = False) -> Iterator[Event]:
        """What happened to VIFs, in order, each once.

        :param since: the last event's number that is known already; without, all that are kept.
        :param follow: go on with those that come, for ever; without ``since``, with those from now on.
        :raises EventsLost: by the iterator, too, when some are not kept any more.
        """
        from vifplug.api import follow as following

        return following.of_daemon(self._wire, since, follow=follow)

    def doctor(self) -> Diagnosis:
        """What is wrong with this host, as its daemon sees it, why, and what to do. Nothing is changed."""
        from vifplug.doctor.findings import Diagnosis

        asked = Request(method="GET", target="/v1/doctor", seconds=_DOCTOR_SECONDS)
        return self._ask(asked, Diagnosis.from_json)

    def host_info(self) -> HostInfo:
        """What this host can plug, and with what; with OVS away, as far as that is known without."""
        from vifplug.doctor.host_info import HostInfo

        def read(answer: Mapping[str, Any]) -> HostInfo:
            of_daemon = {name: answer[name] for name in ("version", "pid", "level")}
            return HostInfo.from_json({**answer, "daemon": {"answers": True, "socket": self._wire.path, **of_daemon}})

        return self._ask(Request(method="GET", target="/v1/host"), read)

    @property
    def _watch(self) -> waiting.Watch:
        from vifplug.api import wait as waiting

        return waiting.Watch(look=self._look, get=self.get)

    def _look(self, ids: Sequence[str], state: str, seconds: float) -> WaitReport:
        seconds = min(seconds, _ONE_WAIT_SECONDS)
        document = {"ids": builtins.list(ids), "for": state, "timeout": seconds}
        asked = Request(method="POST", target=_WAIT, document=document, seconds=seconds + _WAIT_SPARE_SECONDS)
        from vifplug.model.events import WaitReport

        return self._ask_once(asked, WaitReport.from_json)

    def _vifs_of(self, target: str, document: Mapping[str, Any]) -> builtins.list[VifReport]:
        return self._ask(Request(method="POST", target=target, document=document, changes=True), _vifs)

    def _nothing(self) -> builtins.list[VifReport]:
        self._thread.warnings = []
        return []

    def _ask(self, request: Request, read: Callable[[Mapping[str, Any]], T]) -> T:
        return retrying.repeated(lambda: self._ask_once(request, read), self._retry)

    def _ask_once(self, request: Request, read: Callable[[Mapping[str, Any]], T]) -> T:
        self._nothing()
        answer = self._wire.ask(request)
        try:
            found = read(answer)
        except (KeyError, TypeError, ValueError) as error:
            raise self._wire.not_understood(f"its answer to {request.method} {request.target} is another") from error
        warnings = answer.get("warnings")
        self._thread.warnings = [str(warning) for warning in warnings] if isinstance(warnings, builtins.list) else []
        return found


def _plugging(vifs: Sequence[Vif]) -> dict[str, Any]:
    if isinstance(vifs, Document):
        return vifs.as_request()
    given = parameters.vifs(vifs)
    return {"plug": [vif.model_dump(mode="json", exclude_none=True) for vif in given], "format": "vif"}


def _ids(ids: Sequence[str] | None) -> list[str] | None:
    return None if ids is None else each_once(ids)


def _target(vif_id: str) -> str:
    return f"{_VIFS}/{canonical(vif_id)}"


def _vifs(answer: Mapping[str, Any]) -> list[VifReport]:
    return [VifReport.from_json(vif) for vif in answer["vifs"]]


@contextlib.contextmanager
def connect(socket: str | None = None, config_file: str | None = None, *, retry: float = 0) -> Iterator[DaemonHost]:
    """Plug through the daemon; the connection ends with the block, what was plugged stays.

    :param socket: the path of its socket; by default the configuration's ``[daemon] socket``.
    :param config_file: as of ``vifplug.local``; not read when ``socket`` is given.
    :param retry: seconds for which the connection, and then each call, is repeated while its error is ``retryable``:
        a daemon that starts, or whose process died in the middle of a plug. 0 is to try once.
    :raises DaemonUnreachable: when nobody answers there, or the caller may not connect (from a PermissionError).
    :raises InputError: when ``retry`` is no number of seconds.
    :raises ConfigError: when the configuration cannot be read.
    """
    retry = durations.seconds(retry, "retry")
    path, config_file = parameters.path("socket", socket), parameters.path("config_file", config_file)
    wire = Wire(_configured(config_file) if path is None else path)
    try:
        retrying.repeated(wire.open, retry)
        yield DaemonHost(wire, retry=retry)
    finally:
        wire.close()


def _configured(config_file: str | None) -> str:
    path = locate.config_file(config_file)
    found = locate.socket_of(path)
    if found is None:
        from vifplug.config import options  # here, because oslo.config takes longer to import than all else

        return options.load(path).socket
    return found
