"""The real host: translates actions to calls of privileged verbs, and their answers to resources. No policy.

The only importer of ``vifplug.privileged``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vifplug import naming
from vifplug.config.options import Settings
from vifplug.engine.host import Asked, Scope, Settle
from vifplug.engine.plan import renames
from vifplug.engine.plan.actions import Action, CreateLink, SetLink
from vifplug.errors import HelperDied, OvsUnavailable, VifplugError
from vifplug.linux import decode, encode, uplinks
from vifplug.linux.links import Links
from vifplug.linux.probe import LinuxProbe
from vifplug.linux.turns import turn
from vifplug.netlink import links as reading
from vifplug.netlink import monitor, parts, sysfs, vlans
from vifplug.netlink import socket as netlink
from vifplug.netlink.udev import Udev
from vifplug.privileged import apply as privileged
from vifplug.privileged.filters import changes as filter_changes
from vifplug.privileged.helper.channel import Channel
from vifplug.privileged.helper.context import refuse_unknown
from vifplug.privileged.links import obstructions
from vifplug.privileged.ovsdb import verbs as ovsdb
from vifplug.resources import kinds
from vifplug.resources.contract import Creation
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed, Qos, Station
from vifplug.store.locks import Session

_LINK_CALL_SECONDS = 60.0
"""Netlink answers at once; deleting many bridges waits for RCU grace periods."""
_MARGIN_SECONDS = 5.0
"""The helper's own deadlines expire first."""
_WAITING_MAX, _LOOKING_MAX = 8, 3
"""Concurrent calls that may wait for vswitchd; for OVSDB, only to read, besides one of ``asking``. The helper has 16
threads or more: two must be free for following OVSDB and nftables, and some for links, however many calls hang."""
_PROMPT_SECONDS, _PROMPT_PART = 1.0, 20
"""How long a call that Ctrl-C cannot interrupt may wait for vswitchd; and its share of the whole time limit."""
_CAUGHT_UP = "wait until ovs-vswitchd has caught up"
_NO_ROWS: Mapping[str, Any] = {
    **{"bridges": {}, "fake_bridges": {}, "ports": [], "port_count": 0, "held": {}, "iface_ids": {}, "qos": []}
}


class LinuxHost:
    """This machine's kernel (the network namespace we are in) and its Open vSwitch.

    :param session: the session whose lock the helper also holds.
    :param restarts: whether a dead helper is restarted; the daemon's parent does that in another way.
    :raises ConfigError: its configured user or group does not exist.
    :raises HelperDied: the helper cannot be started.
    """

    def __init__(self, settings: Settings, session: Session, *, restarts: bool = True) -> None:
        self._settings = settings
        self._session = session
        self._restarts = restarts
        self._waiting = threading.BoundedSemaphore(_WAITING_MAX)
        self._looking = threading.BoundedSemaphore(_LOOKING_MAX)
        self._early = threading.Lock()
        self._udev = Udev()
        self._pending = threading.local()
        """Each thread's own next_cfg to wait for: a caller must not wait instead of another one."""
        self._restarting = threading.Lock()
        self._channel = self._started()
        self.probe = LinuxProbe(settings, self._examine)
        self._reader = netlink.LinkSocket()  # after the fork: the helper does not need it

    def _started(self) -> Channel:
        arguments = ["--hold", f"{self._session.path}:{self._session.number}"]
        if self._settings.config_file:
            arguments += ["--config-file", self._settings.config_file]
        settings = self._settings
        return Channel(
            dict(settings.privileged),
            settings.connection,
            settings.timeout,
            arguments,
            settings.configurable,
            settings.vhostuser_socket_dir,
        )

    @staticmethod
    def refuse(settings: Settings) -> None:
        """Check the helper's options before anything is created.

        :raises ConfigError: naming the option.
        """
        refuse_unknown(dict(settings.privileged))

    @property
    def session(self) -> int:
        """The number of the session whose lock this host's caller and helper hold."""
        return self._session.number

    @property
    def helper_pid(self) -> int:
        """The privileged helper's pid."""
        return self._channel.pid

    def close(self) -> None:
        """End the helper."""
        self._channel.close()
        self._reader.close()

    def ensure_running(self) -> None:
        """Restart the helper if the last one died: only between calls, never during one.

        :raises HelperDied: this process may not restart it, or the start fails.
        """
        with self._restarting:
            if not self._channel.running:
                if not self._restarts:
                    raise HelperDied("the privileged helper has ended; the daemon starts another one: try again")
                self._channel.close()
                self._channel = self._started()

    def _examine(self, verb: Any, seconds: float, *arguments: Any) -> Any:
        return self._channel.call(verb, *arguments, timeout=seconds)

    def _call(self, verb: Any, *arguments: Any, seconds: float, reads: bool = True) -> Any:
        return self._channel.call(verb, *arguments, timeout=seconds + _MARGIN_SECONDS, reads=reads)

    # -- observe ------------------------------------------------------------------------------------------

    def observe(self, scope: Scope) -> Observed:
        """The host's state: the helper reads the rows while this process reads the links."""
        functions = self._functions(scope)
        scope = self._with_local_devices(_with_devices(scope, functions))
        needs_rows = self._needs_rows(scope)
        unanswered = OvsUnavailable("OVSDB does not answer; check that it runs, then retry")
        looking = turn(self._looking, 2 * self._settings.timeout, unanswered)
        with looking if needs_rows else contextlib.nullcontext(), self._asked(scope, needs_rows=needs_rows) as answer:
            links = self._links(scope, functions)
            rows, of_filters = answer()
            return _with_filters(scope, self._observed(scope, rows, links), of_filters)

    @contextlib.contextmanager
    def asking(self, scope: Scope) -> Iterator[Asked | None]:
        """Ask for the rows; the links are read with the answer. One at a time: it may be held while others work."""
        is_ready = self._needs_rows(scope) and not (scope.function_kinds or scope.local_addresses)
        if not is_ready or not self._early.acquire(blocking=False):
            yield None
            return
        try:
            with self._asked(scope, needs_rows=True) as answer:

                def observe() -> Observed:
                    links = self._links(scope, ({}, {}))
                    rows, of_filters = answer()
                    return _with_filters(scope, self._observed(scope, rows, links), of_filters)

                yield Asked(scope, observe)
        finally:
            self._early.release()

    def _needs_rows(self, scope: Scope) -> bool:
        return scope.ovs and bool(scope.ports or scope.iface_ids or self.probe.has_ovs())

    @contextlib.contextmanager
    def _asked(self, scope: Scope, *, needs_rows: bool) -> Iterator[Callable[[], tuple[Any, Any]]]:
        """Ask for rows and for filters, as far as they are needed, in one call.

        :returns: as a context, a function that waits for both; without filters nftables is not asked.
        """
        of_filters = self._of_filters(scope)
        if not needs_rows and of_filters is None:
            yield lambda: (_NO_ROWS, None)
            return
        of_rows = (*_asked(scope), scope.everything, True, scope.thorough) if needs_rows else None
        seconds = 2 * self._settings.timeout if needs_rows else _LINK_CALL_SECONDS
        with self._channel.asked(*(privileged.read, of_rows, of_filters), timeout=seconds + _MARGIN_SECONDS) as answer:

            def both() -> tuple[Any, Any]:
                rows, filters = answer()
                return _NO_ROWS if rows is None else rows, filters

            yield both

    def _of_filters(self, scope: Scope) -> tuple[Any, ...] | None:
        everything = scope.everything and self._settings.filter_enabled
        return (_filters(scope), scope.thorough, everything) if scope.filters or everything else None

    def _functions(self, scope: Scope) -> parts.Functions:
        return parts.read(self._reader, scope.function_kinds) if scope.function_kinds else ({}, {})

    def _links(self, scope: Scope, functions: parts.Functions) -> Links:
        """The links. What can be done without the rows is done here, while the helper reads them."""
        of_links = scope.function_kinds.keys()
        plain = replace(scope, links=scope.links - of_links) if of_links else scope
        links, members = self._plain_links(plain)
        vlans.with_vlans(self._reader, links)
        links = obstructions.with_ingress(self._reader, links) if scope.thorough else links
        there, absent = functions
        links |= there
        return Links(links, self._stations(scope, links), members, absent)

    def _stations(self, scope: Scope, links: Mapping[str, Any]) -> tuple[Station, ...]:
        bridged = [name for name, link in links.items() if kinds.has_members(link["kind"])] if scope.thorough else ()
        return tuple(Station(**entry) for entry in obstructions.stations(self._reader, links, bridged))

    def _with_local_devices(self, scope: Scope) -> Scope:
        if not scope.local_addresses:
            return scope
        devices = uplinks.devices_of(self._reader, scope.local_addresses)
        return replace(scope, links=scope.links | devices)

    def _plain_links(self, scope: Scope) -> tuple[dict[str, Any], dict[str, tuple[str, ...]]]:
        if scope.everything:
            links = reading.all_links(self._reader)
            return links, decode.members(links)
        if reading.many(len(scope.links)):
            links, all_members = reading.many_links(self._reader, scope.links)
            links |= self._renamed(scope, links)
            return links, {name: tuple(sorted(all_members.get(name, ()))) for name in _bridges(scope, links)}
        links = reading.links(self._reader, sorted(scope.links))
        links |= self._renamed(scope, links)
        return links, self._members_of(_bridges(scope, links), links)

    def _renamed(self, scope: Scope, links: Mapping[str, Any]) -> dict[str, Any]:
        """Links that are missing under their recorded names, by their present ones. No message is sent if none is
        missing."""
        wanted = set(renames.lost(scope.recorded, {link["name"]: link["ifindex"] for link in links.values()}).values())
        wanted -= {link["ifindex"] for link in links.values()}
        there = reading.links_by_index(self._reader, sorted(wanted)) if wanted else {}
        if len(there) == len(wanted) or not scope.thorough:
            return there
        # A link that is nowhere may also have another ifindex. All links are one more message, only for an observation
        # with a missing link.
        owners = {link.owner for link in scope.recorded.values()}
        return there | {
            name: link
            for name, link in reading.all_links(self._reader).items()
            if name not in links and naming.owner_of(link["alias"]) in owners
        }

    def _observed(self, scope: Scope, rows: Mapping[str, Any], seen: Links) -> Observed:
        links, unforeseen = seen.links, {port["name"] for port in rows["ports"]} - scope.links
        if unforeseen and not scope.everything:
            links = links | reading.links(self._reader, sorted(unforeseen))
            seen = Links(links, self._stations(scope, links), seen.members, seen.absent)
        addresses, routes = uplinks.surroundings(self._reader, scope, links)
        added = links.keys() - seen.decoded.keys()  # other links of a missing uplink's kind
        ports = [decode.port(row) for row in rows["ports"]]
        bridges = {name: decode.bridge(name, row) for name, row in rows["bridges"].items()}
        # For ports that we made the record has the device, and a kernel datapath has no such sockets.
        by_sockets = (port.name for port in ports if port.bridge in bridges and bridges[port.bridge].userspace)
        vmms = any(name in links and not naming.owner_of(links[name]["alias"]) for name in by_sockets)
        observed = Observed(
            links={**seen.decoded, **{name: decode.link(links[name]) for name in added}},
            members=seen.members,
            bridges=bridges,
            fake_bridges={name: (parent, vlan) for name, (parent, vlan) in rows["fake_bridges"].items()},
            ports={port.name: port for port in ports},
            iface_ids={iface_id: tuple(names) for iface_id, names in rows["iface_ids"].items()},
            qos=tuple(Qos(**row) for row in rows["qos"]),
            listened_on=reading.listened_on() if vmms else None,
            port_count=rows["port_count"],
            held=rows["held"],
            stations=seen.stations,
            addresses=addresses,
            routes=routes,
            absent=seen.absent,
            physical={name: of for name in scope.functions if (of := sysfs.physical_function(name))},
        )
        return renames.undone(observed, scope)

    def follow_ovsdb(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Changes of OVSDB since ``known``, the last result of this method, or {} at first; waits for up to 5 s.

        :raises HelperDied: there is no helper.
        """
        seconds = ovsdb.FOLLOW_SECONDS_MAX
        since = (known.get("generation", 0), known.get("number", 0), known.get("connected", False))
        patience = seconds + self._settings.timeout
        answer: dict[str, Any] = self._call(ovsdb.changes, *since, seconds, seconds=patience, reads=False)
        return answer

    def follow_filters(self) -> dict[str, Any]:
        """VIFs whose filters changed since the last call, or that any may have; waits for up to 5 s.

        :raises HelperDied: there is no helper.
        """
        seconds = filter_changes.FOLLOW_SECONDS_MAX
        answer: dict[str, Any] = self._call(filter_changes.changes, seconds, seconds=seconds, reads=False)
        return answer

    def watch_links(self) -> monitor.LinkWatch:
        """A socket that reports every link that changes from now on."""
        return monitor.LinkWatch()

    def _members_of(self, bridges: Sequence[str], links: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        return {name: tuple(sorted(reading.member_names(self._reader, links[name]["ifindex"]))) for name in bridges}

    # -- apply --------------------------------------------------------------------------------------------

    def apply(self, stages: Sequence[Sequence[Action]], settle: Settle | None = None) -> Observed:
        """Carry out stages, wait for vswitchd, and observe: one privileged call, if vswitchd is prompt."""
        scope = None if settle is None else settle.scope
        rows, faults, began = None, None, time.monotonic()
        for stage in stages:
            self._note_taps(stage)
        if stages:
            rows, faults = self._change(stages, settle)
        if settle is None:
            return Observed()
        if rows is None:
            self._settle(settle)
        if scope is None:
            return Observed()
        if rows is None and scope.ovs:
            patience = 2 * self._settings.timeout
            rows = self._call(ovsdb.read, *_asked(scope), scope.everything, False, scope.thorough, seconds=patience)
        # vswitchd opens a port later than udev reads its device.
        self._await_udev(began if scope.ovs else time.monotonic())
        functions = self._functions(scope)
        scope = self._with_local_devices(_with_devices(scope, functions))
        observed = self._observed(scope, _NO_ROWS if rows is None else rows, self._links(scope, functions))
        if faults is None and scope.filters:
            faults = self._call(privileged.read, None, self._of_filters(scope), seconds=_LINK_CALL_SECONDS)[1]["faults"]
        return observed if faults is None else replace(observed, filters=_faults(scope, faults))

    def _change(
        self, stages: Sequence[Sequence[Action]], settle: Settle | None
    ) -> tuple[Mapping[str, Any] | None, Sequence[str]]:
        """Carry out stages; return the rows, if they are requested and vswitchd is prompt, and the filters' faults."""
        operations = [(stage[0].plane, _operations(stage)) for stage in stages]
        scope = None if settle is None else settle.scope
        rows = _asked(scope) if scope is not None and scope.ovs else None
        needs_ovsdb = rows is not None or any(plane == "ports" for plane, _operations in operations)
        prompt = min(_PROMPT_SECONDS, self._settings.timeout / _PROMPT_PART) if rows is not None else None
        opening = () if settle is None else settle.opening
        asked = [] if scope is None else _filters(scope)
        arguments = (operations, prompt, sorted(opening), rows, scope is not None and scope.thorough, asked)
        patience = _LINK_CALL_SECONDS + _MARGIN_SECONDS
        if needs_ovsdb:
            patience += 3 * self._settings.timeout + _PROMPT_SECONDS
        try:
            with (
                self._waiting if needs_ovsdb else contextlib.nullcontext(),
                self._channel.asked(privileged.apply, *arguments, timeout=patience, changes=True) as result,
            ):
                answer = result()
        except VifplugError as error:
            number, _dot, step = error.step.partition(".")
            if number.isdigit():
                raise _named(error, stages[int(number)], step) from error
            raise _named(error, [action for stage in stages for action in stage]) from error
        observed_rows: Mapping[str, Any] | None = answer["rows"]
        if observed_rows is None and answer["next_cfg"] is not None:
            self._pending.next_cfg = answer["next_cfg"]
        return observed_rows, answer["faults"]

    def _note_taps(self, stage: Sequence[Action]) -> None:
        """Remember the taps that this thread's plan makes: it waits for udev once, at the plan's end."""
        made = [action.link for action in stage if isinstance(action, CreateLink)]
        names = [link.name for link in made if _gets_its_address_late(link)]
        self._pending.taps = [*getattr(self._pending, "taps", ()), *names]
        for action in stage:
            if isinstance(action, SetLink) and _gets_its_address_late(action.link):
                self._udev.has_overwritten |= any(attribute == "address" for attribute, *_ in action.changes)

    def _await_udev(self, made_at: float) -> None:
        taps, self._pending.taps = getattr(self._pending, "taps", ()), []
        self._udev.await_taps(taps, made_at)

    def _settle(self, settle: Settle) -> None:
        """Wait until vswitchd has carried out our last transaction; return at once if it has."""
        next_cfg = getattr(self._pending, "next_cfg", None)
        if next_cfg is None:
            return
        timeout = self._settings.timeout
        patience = timeout if settle.seconds is None else min(settle.seconds, timeout)
        self._pending.next_cfg = None
        try:
            with self._waiting:
                self._call(ovsdb.wait, next_cfg, patience, sorted(settle.opening), seconds=2 * patience, reads=False)
        except VifplugError as error:
            raise error.at_step(_CAUGHT_UP) from error


def _with_devices(scope: Scope, functions: parts.Functions) -> Scope:
    """A scope with the devices of its functions, and the ports of their names."""
    names = {function["netdev"] for function in functions[0].values() if function.get("netdev")}
    return replace(scope, links=scope.links | names, ports=scope.ports | names) if names else scope


def _gets_its_address_late(link: Link) -> bool:
    """Whether udev may read a new link before it has its MAC, and write a generated one."""
    return link.creation is not Creation.NEVER and not link.has_birth_address


_ENCODED = {"links": encode.of_link, "ports": encode.of_port, "filters": encode.of_filter}


def _operations(stage: Sequence[Action]) -> list[dict[str, Any]]:
    of_plane = _ENCODED[stage[0].plane]
    return [of_plane(action) for action in stage]


def _filters(scope: Scope) -> list[dict[str, Any]]:
    return [encode.wanted_filter(item) for item in scope.filters.values()]


def _with_filters(scope: Scope, observed: Observed, answer: Mapping[str, Any] | None) -> Observed:
    """What was observed, and what differs from filters."""
    if answer is None:
        return observed
    owners = frozenset((owner, device, place) for owner, device, place in answer["owners"])
    return replace(observed, filters=_faults(scope, answer["faults"]), filtered=owners)


def _faults(scope: Scope, faults: Sequence[str]) -> dict[str, str]:
    return dict(zip(scope.filters, faults, strict=True))


def _asked(scope: Scope) -> tuple[list[str], list[str], list[str]]:
    return sorted(scope.ports), sorted(scope.iface_ids), sorted(scope.owners)


def _named(error: VifplugError, stage: Sequence[Action], step: str | None = None) -> VifplugError:
    """The error with the action's text as its step; the link verbs give a number."""
    number = error.step if step is None else step
    if number.isdigit() and int(number) < len(stage):
        action = stage[int(number)]
        return type(error)(error.message, error.subject or action.subject, str(action))
    if step is not None:
        error = type(error)(error.message, error.subject)
    return error.at_step("; ".join(str(action) for action in stage), stage[0].subject)


def _bridges(scope: Scope, links: Mapping[str, Mapping[str, Any]]) -> list[str]:
    indexes = {scope.recorded[name].ifindex for name in scope.members_of if name in scope.recorded}
    there = ((name, link) for name, link in links.items() if kinds.has_members(link["kind"]))
    return [name for name, link in there if name in scope.members_of or link["ifindex"] in indexes]
