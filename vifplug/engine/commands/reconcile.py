"""The daemon's work on many VIFs at once: compare them, repair them, write their states into the records."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from vifplug import naming
from vifplug.engine import orphans, report
from vifplug.engine.apply.group_commit import apart
from vifplug.engine.commands import inspect, plug
from vifplug.engine.context import Context
from vifplug.engine.plan import actions, guest_absence, request, resolve
from vifplug.engine.plan.request import Job
from vifplug.engine.wiring import StateAndReason, is_called_down, state_of
from vifplug.errors import BridgeMissing, Busy, StoreFull, VifplugError
from vifplug.model.events import EventCause
from vifplug.model.reports import CONTENDED, Orphan, VifCheck
from vifplug.resources import kinds
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_port import OvsPort
from vifplug.store.records import Record, now


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The results of comparing some VIFs, or all, at one moment."""

    checks: Mapping[str, VifCheck] = field(default_factory=dict)
    """Recorded VIFs that no request works on."""
    states: Mapping[str, StateAndReason] = field(default_factory=dict)
    """The states of those without drift."""
    records: Mapping[str, Record] = field(default_factory=dict)
    unsteady: frozenset[str] = frozenset()
    """Recorded VIFs that a request worked on: they were not compared."""
    bridgeless: Mapping[str, BridgeMissing] = field(default_factory=dict)
    """VIFs whose OVS bridge is missing, or is not a bridge to Open vSwitch, and the error that a repair would have."""
    outdated: frozenset[str] = frozenset()
    """VIFs whose VMM's device appeared or disappeared since it was recorded, or whose port has other VLANs since."""
    orphans: Sequence[Orphan] = ()
    copied_marks: Sequence[Orphan] = ()
    """Rows of other programs with a mark of ours: reported, never deleted."""
    in_use: frozenset[str] = frozenset()
    """Owners of orphans that a guest is on."""
    absent: frozenset[str] = frozenset()
    """VIFs whose guest's end is missing."""
    called_down: frozenset[str] = frozenset()
    """VIFs whose guest's end ovs-vswitchd reports as down, perhaps wrongly (``wiring.is_called_down``)."""
    guests: Mapping[str, str] = field(default_factory=dict)
    """Changes for the store about VIFs' guests, as from ``guest_absence.to_note``."""


def survey(context: Context, vif_ids: Collection[str] | None, *, ovs: bool = True) -> Survey:
    """Observe and compare some VIFs, or all and search orphans.

    :param ovs: False to leave out VIFs with an OVS port, while OVSDB is away.
    :raises HostError, StoreError: the host or the store cannot be read.
    """
    before = context.store.contents(vif_ids)
    records = list(before.records.values())
    if not ovs:
        records = [record for record in records if not _ports(record)]
    everything = vif_ids is None and ovs
    if not records and not everything:
        return Survey()
    scope = inspect.everything(before) if everything else inspect.scope_of(records)
    observed = context.host.observe(replace(scope, thorough=True))
    after, wiring = context.store.contents(vif_ids), context.wiring(vif_ids)
    steady = [record for record in records if after.records.get(record.id) == record and record.id not in after.intents]
    orphaned = orphans.orphans(observed, before, after) if everything else []
    return Survey(
        checks={record.id: report.check(record, observed, wiring) for record in steady},
        states={record.id: state_of(record, observed, wiring) for record in steady},
        records={record.id: record for record in steady},
        unsteady=frozenset(record.id for record in records if record.id in after.records)
        - {record.id for record in steady},
        bridgeless={record.id: error for record in steady if (error := _bridge_missing(record, observed))},
        outdated=frozenset(record.id for record in steady if _is_outdated(record, observed)),
        orphans=orphaned,
        copied_marks=orphans.copied_marks(observed, before, after) if everything else [],
        in_use=frozenset(orphan.vif_id for orphan in orphaned if is_in_use(orphan.vif_id, observed)),
        absent=frozenset(record.id for record in steady if guest_absence.is_absent(record, observed)),
        called_down=frozenset(record.id for record in steady if is_called_down(record, observed)),
        guests=guest_absence.to_note(steady, observed, now()),
    )


def needs_ovs(context: Context, has_ovs: bool) -> bool:
    """Whether an OVSDB that does not answer is needed: a host with plain bridges only has none, one with OVS VIFs may
    have lost even its socket."""
    return has_ovs or any(_ports(record) for record in context.store.contents().records.values())


def _ports(record: Record) -> list[OvsPort]:
    return kinds.ports_in(record.resources)


def _is_outdated(record: Record, observed: Observed) -> bool:
    bridges = [link for link in kinds.links_in(record.resources) if link.guest]
    return any(_outdated(port, observed) for port in _ports(record)) or any(
        request.guest_ifindex(bridge, observed, bridge) != bridge.guest_ifindex for bridge in bridges
    )


def _outdated(port: OvsPort, observed: Observed) -> bool:
    """Whether the record lacks the port's present VMM device, or the VLANs that another program has set."""
    current = observed.ports.get(port.name)
    if current is None:
        return False
    if port.vlan is None and port.vlans != current.vlans:
        return True
    if not port.waits_for_device:
        return False
    link = observed.links.get(port.name)
    if link is None:
        return port.device_ifindex is not None and (current.ofport or 0) <= 0
    return port.device_ifindex is None


def is_in_use(owner: str, observed: Observed) -> bool:
    """Whether a guest uses what an owner has on the host: its tap, or another one on its bridge, has a carrier, or its
    driver uses a vhost-user socket. Pure."""
    links = observed.links
    own = [link for link in links.values() if link.owner == owner]
    taps: list[Link] = [link for link in own if link.is_opened_by_guest]
    taps += [links[port.name] for port in observed.ports.values() if port.owner == owner and port.name in links]
    members = [name for link in own if link.has_members for name in observed.members.get(link.name, ())]
    foreign = [links[name] for name in members if name in links and not links[name].owner]
    sockets = [port for port in observed.ports.values() if port.owner == owner and not port.has_device]
    return any(port.link_state == "up" for port in sockets) or any(
        link.carrier for link in (*foreign, *taps) if _is_guests_end(link)
    )


def _is_guests_end(link: Link) -> bool:
    return link.is_opened_by_guest or not link.owner


def refresh(context: Context, vif_ids: Collection[str]) -> None:
    """Make ovs-vswitchd check its ports again: any transaction makes it process its configuration.

    A transaction that changes no row is sufficient: it raises next_cfg.

    :raises HostError: it is refused, or OVSDB is away.
    """
    records = context.store.contents(vif_ids).records.values()
    port = next((port for record in records for port in _ports(record)), None)
    if port is not None:
        mark = (naming.OWNER_KEY, port.owner, port.owner)
        context.host.apply([[actions.SetPort(port, port_changes=(mark,))]])


def repair(context: Context, vif_ids: Sequence[str]) -> dict[str, VifplugError | None]:
    """Make recorded VIFs as recorded again, as many as possible in one plan; a failure of one does not affect the
    others.

    :returns: by VIF id: None if it is as recorded now (or no longer recorded), else the error.
    """
    owners = {vif_id: _owners(context, vif_id) for vif_id in vif_ids}
    outcome: dict[str, VifplugError | None] = {}
    with context.locks.held_if_free(set().union(*owners.values())) as free:
        work: list[Job] = []
        for vif_id in vif_ids:
            outcome[vif_id] = Busy(f"another request works on VIF {vif_id}", vif_id)
            if not owners[vif_id] <= free:
                continue
            try:
                job = _job(context, vif_id)
            except VifplugError as error:
                outcome[vif_id] = error
                continue
            if job is None:
                outcome[vif_id] = None
            elif job.identities <= free:  # else it was replugged between the observation and the lock
                work.append(job)
        answers = apart(work, lambda jobs: plug.plug_held(context, jobs))
        for job, answer in zip(work, answers, strict=True):
            outcome[job.vif.id] = answer if isinstance(answer, VifplugError) else None
    return outcome


def _owners(context: Context, vif_id: str) -> set[str]:
    """The locks that a repair of a VIF needs: also of a shared bridge that another program had made, and that is to be
    created now."""
    record = context.store.record_or_none(vif_id)
    if record is None:
        return {vif_id}
    owners = {vif_id} | {item.owner for item in record.resources}
    with contextlib.suppress(VifplugError):  # the repair itself reports the error
        owners |= request.job(record.vif, record, context.options).identities
    return owners


def _job(context: Context, vif_id: str) -> Job | None:
    plug.settle_interrupted(context, vif_id)
    record = context.store.record_or_none(vif_id)
    if record is None:
        return None
    job = replace(request.job(record.vif, record, context.options), takes_back=False, thorough=True, repairs=True)
    # One repair does not show that the other program has stopped undoing repairs.
    return replace(job, state=record.state, error=record.error) if record.state == CONTENDED else job


def note(
    context: Context,
    states: Mapping[str, StateAndReason],
    seen: Mapping[str, Record] | None = None,
    causes: Mapping[str, EventCause] = MappingProxyType({}),
) -> tuple[frozenset[str], StoreFull | None]:
    """Write states and their reasons into records that differ, of VIFs that no request works on.

    :param causes: what the changes are about, for their events.
    :param seen: the records that these states belong to: a VIF that was unplugged and plugged again has another state.
    :returns: VIFs without a written state, which are to be compared again; and the reason why the others were not
        written, if the disk is full. States are computed anew at each comparison; repairing is more important than
        recording.
    :raises StoreError: the store cannot be written for another reason.
    """
    if not states:
        return frozenset(), None
    full: StoreFull | None = None
    with context.locks.held_if_free(states) as free:
        known = context.store.contents(free)
        steady = {
            vif_id: record
            for vif_id, record in known.records.items()
            if vif_id not in known.intents and (seen is None or seen.get(vif_id) == record)
        }
        changed = [
            replace(record, state=state, error=error, updated_at=now(), cause=causes.get(record.id))
            for record in steady.values()
            for state, error in [states[record.id]]
            if (record.state, record.error) != (state, error)
        ]
        if changed:
            try:
                context.store.save_records(changed)
            except StoreFull as error:
                full = error
    return frozenset(states.keys() - steady.keys()), full


def _bridge_missing(record: Record, observed: Observed) -> BridgeMissing | None:
    """The error of a VIF whose OVS bridge is missing; None if all exist, except those that a repair creates."""
    made = {bridge.name: bridge.like for bridge in kinds.ovs_bridges_in(record.resources)}
    needed = dict.fromkeys(made.get(port.bridge, port.bridge) for port in _ports(record))
    missing = [name for name in needed if name not in observed.bridges and not naming.is_trunk_bridge(name)]
    if not missing:
        return None
    fake = resolve.fake_bridge(missing, observed)
    if fake is not None:
        return BridgeMissing(fake, missing[0])
    names = ", ".join(map(repr, missing))
    return BridgeMissing(f"no OVS bridge {names}; the VIF is repaired once it is created", names)
