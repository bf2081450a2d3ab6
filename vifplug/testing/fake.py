"""A fake host: the library's own engine and store with links and ports in memory. Its errors, plans and reports are
those of a real host."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from vifplug import naming
from vifplug.api.contract import VifReports
from vifplug.api.local import LOCK_FILE, LocalHost, context_of
from vifplug.config.options import Settings
from vifplug.doctor.findings import OK, Diagnosis, Finding
from vifplug.drivers import guest_end, registry
from vifplug.engine import report
from vifplug.engine.commands import reconcile
from vifplug.engine.requester import Requester
from vifplug.engine.wiring import EVENTS
from vifplug.errors import InputError, VifplugError
from vifplug.model import limits
from vifplug.model.reports import GcReport, PlannedAction
from vifplug.model.types import canonical
from vifplug.model.vif import Vif
from vifplug.resources import kinds
from vifplug.resources.contract import Relation
from vifplug.resources.link import Link
from vifplug.resources.ovs_port import OvsPort
from vifplug.store.events import NEUTRON_FAILED, NEUTRON_PLUGGED, NEUTRON_UNPLUGGED
from vifplug.store.locks import LockFile
from vifplug.store.records import Record
from vifplug.store.store import Store
from vifplug.testing.memory import NO_DEVICE, MemoryHost

_NO_MAC = "00:00:00:00:00:00"
_VF, _REPRESENTOR = "vf", "representor"
"""The kinds of a virtual function, and of its representor."""
_IFINDEX = 1000
"""Of the first representor."""
_NOTE_SECONDS, _PAUSE_SECONDS = 5.0, 0.01
"""Timeout of the locks of VIFs that another thread works on, and interval of looks."""


class FakeHost(LocalHost):
    """A ``vifplug.Host`` for tests: no root, no Open vSwitch, no daemon; nothing of the machine is changed.

    All methods of ``vifplug.Host`` work, with the results and the errors of a real host: plans, states, events, waits,
    Conflict, UnknownVif, InputError. The methods below stand for other actors on a host: a control plane, a guest,
    another program, a failure. Records are in a temporary directory, which ``close`` deletes.

    :param bridges: the existing OVS bridges; the first is the integration bridge.
    :param datapath: of these bridges: system (the kernel's) or netdev (userspace).
    :param mtu: of a VIF whose request has none; bytes.
    :param physical_devices: devices of the host that macvtap VIFs and uplinks of Linux bridges may be on, such as eth1;
        they are up. A map gives the physical network of each: {"physnet1": "eth1"}.
    :param virtual_functions: PCI addresses of the virtual functions that vf VIFs may have, such as 0000:3b:10.2. A map
        gives the name of each one's representor, and host-device VIFs may have them: {"0000:3b:10.2": "eth5"}.
    :param auto_wire: a plugged VIF is ``wired`` as soon as it is observed. False: only after ``wire``.
    :raises InputError: there is no bridge, or an argument is out of bounds.
    """

    def __init__(
        self,
        *,
        bridges: Sequence[str] = ("br-int",),
        datapath: str = "system",
        mtu: int = 1500,
        physical_devices: Sequence[str] | Mapping[str, str] = (),
        virtual_functions: Sequence[str] | Mapping[str, str] = (),
        auto_wire: bool = True,
    ) -> None:
        _check(bridges, datapath, mtu)
        _check_devices(physical_devices, virtual_functions)
        networks = dict(physical_devices) if isinstance(physical_devices, Mapping) else {}
        devices = list(networks.values() if networks else physical_devices)
        self._memory = MemoryHost(datapath=datapath, bridges=bridges)
        for name in devices:
            self._memory.links[name] = Link(name=name, mtu=max(mtu, 1500), up=True, carrier=True)
        for number, address in enumerate(virtual_functions):
            if isinstance(virtual_functions, Mapping):
                name = virtual_functions[address]
                self._memory.links[name] = Link(name=name, mtu=1500, up=False, ifindex=_IFINDEX + number)
                self._memory.links[address] = _representor(address, name, number)
            else:
                self._memory.links[address] = _virtual_function(address, f"vf{number}")
        self._auto_wire = auto_wire
        self._next_error: VifplugError | None = None
        self.diagnosis = Diagnosis(findings=(Finding(check="fake", status=OK, reason="a fake host, for tests"),))
        """The result of ``doctor``."""
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="vifplug-fake-"))
            settings = Settings(
                state_dir=directory,
                mtu=mtu,
                integration_bridge=bridges[0],
                wired_by=EVENTS,
                physical_networks=networks,
                configurable=(*devices, *virtual_functions),
            )
            # There is no user of that name: the files belong to this process's own.
            store = Store(directory, user="")
            stack.callback(store.close)
            context = context_of(settings, self._memory, store, LockFile(os.path.join(directory, LOCK_FILE)))
            super().__init__(context, self._memory.probe, settings=settings, closing=stack.pop_all().close)

    # -- the contract, as far as a fake host adds to it -----------------------------------------------------

    def plug(self, vifs: Sequence[Vif], *, requester: Requester | None = None) -> VifReports:
        with self._failing():
            reports = super().plug(vifs, requester=requester)
        if self._auto_wire:
            self._set_neutron_status([report.id for report in reports], NEUTRON_PLUGGED)
        return reports

    def unplug(self, ids: Sequence[str], *, requester: Requester | None = None) -> VifReports:
        with self._failing():
            return super().unplug(ids, requester=requester)

    def repair(self, ids: Sequence[str] | None = None, *, requester: Requester | None = None) -> VifReports:
        with self._failing():
            return super().repair(ids, requester=requester)

    def gc(
        self, delete: bool = False, *, keep: Sequence[str] | None = None, absent_for: float = limits.ABSENT_SECONDS
    ) -> GcReport:
        with self._failing() if delete else contextlib.nullcontext():
            return super().gc(delete, keep=keep, absent_for=absent_for)

    def doctor(self) -> Diagnosis:
        self._looking()
        return self.diagnosis

    # -- other actors on the host ---------------------------------------------------------------------------

    def enable_filter(self) -> None:
        """The operator sets [filter] enabled: guests may send only from their own addresses."""
        self._context.options = replace(self._context.options, filter_enabled=True)

    def flush_ruleset(self) -> None:
        """Another program deletes all rules of nftables."""
        self._memory.filters.clear()

    def wire(self, *ids: str) -> None:
        """The network control plane has wired these VIFs: they are ``wired``, and ``active`` with a guest.

        :raises UnknownVif: one is not plugged here.
        """
        self._set_neutron_status([self._record(vif_id).id for vif_id in ids], NEUTRON_PLUGGED)

    def unwire(self, *ids: str) -> None:
        """The control plane no longer serves these VIFs: they are ``plugged`` again.

        :raises UnknownVif: one is not plugged here.
        """
        self._set_neutron_status([self._record(vif_id).id for vif_id in ids], NEUTRON_UNPLUGGED)

    def give_up(self, *ids: str) -> None:
        """The control plane cannot wire these VIFs: they are ``failed``, which ends a wait with VifFailed.

        :raises UnknownVif: one is not plugged here.
        """
        self._set_neutron_status([self._record(vif_id).id for vif_id in ids], NEUTRON_FAILED)

    def start_guest(self, id: str) -> None:
        """A guest runs on the VIF's tap (made by the VMM if not by vifplug), or uses its vhost-user socket: a wired VIF
        is ``active``.

        :raises UnknownVif: it is not plugged here.
        :raises InputError: a host does not show whether its guest runs, so it is never ``active``.
        """
        record = self._record(id)
        if self._use_socket(record, "up"):
            return
        name = guest_end.link_of(registry.guest_end(record.vif))
        if not name:
            raise InputError(f"no link of this host shows the guest of VIF {record.id}; it is wired at most", record.id)
        if name not in self._memory.links:
            bridges = [link.name for link in kinds.links_in(record.resources) if kinds.has_members(link.kind)]
            made = kinds.link_of("tap")(name=name, mtu=record.vif.network.mtu)
            self._memory.add(replace(made, master=bridges[0] if bridges else None))
            for port in _vmms_ports(record):
                self._memory.add_vmms_port(port)
        self._memory.links[name] = replace(self._memory.links[name], up=True, carrier=True)
        self._note()

    def stop_guest(self, id: str) -> None:
        """The guest has ended, and with it a tap that vifplug did not make: an active VIF is ``wired``.

        :raises UnknownVif: it is not plugged here.
        """
        record = self._record(id)
        if self._use_socket(record, "down"):
            return
        name = guest_end.link_of(registry.guest_end(record.vif))
        if not name:
            return
        if any(link.name == name for link in kinds.links_in(record.resources)):
            if name in self._memory.links:
                self._memory.links[name] = replace(self._memory.links[name], carrier=False)
        else:
            self._memory.remove(name)
            for delegated in _vmms_ports(record):
                self._memory.ports.pop(delegated.name, None)
            port = self._memory.ports.get(name)
            if port is not None:
                self._memory.ports[name] = replace(port, ofport=-1, error=NO_DEVICE)
        self._note()

    def _use_socket(self, record: Record, link_state: str) -> bool:
        """Whether the guest's end is a vhost-user socket, whose port now shows that state."""
        if not isinstance(registry.guest_end(record.vif), guest_end.VhostUser):
            return False
        for port in kinds.ports_in(record.resources):
            if port.name in self._memory.ports:
                self._memory.ports[port.name] = replace(self._memory.ports[port.name], link_state=link_state)
        self._note()
        return True

    def drift(self, id: str) -> None:
        """Another program has changed the VIF: its first device, or its representor, is down; a virtual function has no
        MAC; of one without a device, the port is gone.

        :raises UnknownVif: it is not plugged here.
        :raises InputError: nothing of it is left.
        """
        record = self._record(id)
        present = [link for link in kinds.links_in(record.resources) if link.name in self._memory.links]
        functions = [link.name for link in present if link.kind == _VF]
        own = (link for link in present if link.relation is Relation.OWNED or (link.kind == _REPRESENTOR and link.up))
        links = [link.name for link in own]
        owned = (port for port in kinds.ports_in(record.resources) if port.is_owned)
        ports = [port.name for port in owned if port.name in self._memory.ports]
        if links:
            self._memory.links[links[0]] = replace(self._memory.links[links[0]], up=False)
        elif functions:
            self._memory.links[functions[0]] = replace(self._memory.links[functions[0]], address=_NO_MAC)
        elif ports:
            del self._memory.ports[ports[0]]
        else:
            raise InputError(f"VIF {record.id} has no device and no port left on this fake host", record.id)
        self._note()

    def delete(self, name: str) -> None:
        """Another program has deleted a device or an OVS port.

        :raises InputError: there is none of that name.
        """
        if name in self._memory.links:
            self._memory.remove(name)
        elif self._memory.ports.pop(name, None) is None:
            raise InputError(f"name: {name!r:.80}: there is no device and no port of that name on this fake host")
        self._note()

    def hold(self, name: str) -> None:
        """Another program has a device of that name: a plug that needs the name raises Conflict.

        :raises InputError: there is one already, or no device can have that name.
        """
        if not _is_name(name):
            raise InputError(f"name: {name!r:.80}: no device can have that name")
        if name in self._memory.links:
            raise InputError(f"name: {name!r:.80}: there is a device of that name on this fake host already")
        self._memory.add(Link(name=name, other_kind="dummy"))

    def forget(self, id: str) -> None:
        """The record of the VIF is lost: its resources on the host are orphans.

        :raises UnknownVif: it is not plugged here.
        """
        self._context.store.forget([self._record(id).id])

    def fail_next(self, error: VifplugError | None = None, *, step: int | None = None) -> None:
        """Let the next plug, unplug, repair or deleting gc fail.

        :param error: the error that it raises, such as ``vifplug.errors.Busy("...")``; by default a LinkError.
        :param step: the step of its plan that fails, from 0; earlier steps are undone as on a real host. An unplug
            continues past it. Without a step, nothing is changed.
        :raises InputError: neither is given, or an argument is of the wrong type.
        """
        if error is not None and not isinstance(error, VifplugError):
            raise InputError(f"error: {error!r:.80}: it must be one of vifplug.errors")
        if step is None and error is None:
            raise InputError("fail_next: give the error that is raised, or the step that fails")
        if step is None:
            self._next_error = error
            return
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise InputError(f"step: {step!r:.80}: it must be a whole number, 0 or more")
        self._memory.fail_at, self._memory.fail_with = len(self._memory.applied) + step, error

    def stop_ovs(self) -> None:
        """Open vSwitch is away: methods that need it raise OvsUnavailable, those that only read report VIFs as
        recorded."""
        self._memory.is_ovs_stopped = True

    def start_ovs(self) -> None:
        """Open vSwitch is back."""
        self._memory.is_ovs_stopped = False

    @property
    def applied(self) -> tuple[PlannedAction, ...]:
        """Every change that was made to the host, in order: a plug of a VIF that already matches adds none."""
        return tuple(PlannedAction(**action.as_json()) for action in self._memory.applied)

    # -------------------------------------------------------------------------------------------------------

    def _record(self, id: str) -> Record:
        return report.known(self._context.store, canonical(id))

    def _set_neutron_status(self, ids: Collection[str], word: str) -> None:
        for vif_id in ids:
            self._context.store.set_neutron_status(vif_id, word)
        self._note()

    def _note(self) -> None:
        """Store the VIFs' states, as the daemon does after a change: that creates events."""
        if self._memory.is_ovs_stopped:
            return
        deadline = time.monotonic() + _NOTE_SECONDS
        while True:
            seen = reconcile.survey(self._context, None)
            states = {check.id: (check.state, check.error) for check in seen.checks.values()}
            missed, _full = reconcile.note(self._context, states, seen.records)
            # Another thread works on them, and may leave them in another state than the one computed before.
            if not (missed or seen.unsteady) or time.monotonic() > deadline:
                return
            time.sleep(_PAUSE_SECONDS)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        self._looking()
        error, self._next_error = self._next_error, None
        if error is not None:
            raise error
        try:
            yield
        finally:
            self._memory.fail_at = self._memory.fail_with = None


def _is_name(name: object) -> bool:
    return isinstance(name, str) and naming.is_link_name(name)


def _check(bridges: Sequence[str], datapath: str, mtu: int) -> None:
    if isinstance(bridges, str) or not bridges or not all(map(_is_name, bridges)):
        raise InputError(f"bridges: {bridges!r:.80}: it must be a list of names, of one OVS bridge at least")
    if datapath not in ("system", "netdev"):
        raise InputError(f"datapath: {datapath!r:.80}: it must be system or netdev")
    if not limits.is_mtu(mtu):
        raise InputError(f"mtu: {mtu!r:.80}: {limits.MTU_RULE}")


def _check_devices(physical: Sequence[str] | Mapping[str, str], functions: Sequence[str] | Mapping[str, str]) -> None:
    if isinstance(functions, Mapping) and not all(map(_is_name, functions.values())):
        raise InputError(f"virtual_functions: {functions!r:.80}: each needs the name of its representor, such as eth5")
    names = physical.values() if isinstance(physical, Mapping) else physical
    if isinstance(physical, str) or not all(map(_is_name, names)):
        raise InputError(f"physical_devices: {physical!r:.80}: it must be a list of device names, such as eth1")
    if isinstance(functions, str) or not all(
        isinstance(address, str) and naming.is_pci_address(address) for address in functions
    ):
        raise InputError(f"virtual_functions: {functions!r:.80}: it must be a list of addresses such as 0000:3b:10.2")


def _representor(address: str, name: str, number: int) -> Link:
    """A representor as its driver leaves it."""
    physical = f"{address[:-1]}0"
    made: Link = kinds.of(_REPRESENTOR)(
        name=address, netdev=name, number=number, physical=physical, mtu=1500, disable_ipv6=False, up=False
    )
    return made


def _virtual_function(address: str, device: str) -> Link:
    """A function as its driver leaves it."""
    function: Link = kinds.of(_VF)(
        name=address, address=_NO_MAC, vlan=0, priority=0, spoof_check=True, trust=False, up=True, device=device
    )
    return function


def _vmms_ports(record: Record) -> list[OvsPort]:
    return [port for port in kinds.ports_in(record.resources) if not port.is_owned]
