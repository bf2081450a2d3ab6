"""The doctor's view of the store and of ``check``: the records, compared with the host."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from vifplug.doctor.facts import Absent, Identity, Obstacle, Plugged, Port, VifProblem, Waiting
from vifplug.drivers.registry import guest_link
from vifplug.engine.commands import inspect, wait
from vifplug.engine.context import Context
from vifplug.engine.plan import obstacles
from vifplug.model.reports import CONTENDED, DRIFTED, FAILED, PLUGGED, WIRED, CheckReport, DriftItem
from vifplug.resources import kinds
from vifplug.resources.contract import Relation
from vifplug.resources.link import Link
from vifplug.resources.observed import Observed
from vifplug.store.records import Contents, Record

_ITEMS_MAX = 3
"""The number of drift items that are shown per VIF; ``vifplug check`` shows all."""


def needs_ovs(context: Context | None) -> bool:
    """Whether a recorded VIF has an OVS port."""
    if context is None:
        return False
    records = context.store.contents().records.values()
    return any(kinds.ports_in(record.resources) for record in records)


def names(context: Context) -> frozenset[str]:
    """The names of all devices and ports in records and intents.

    :raises StoreError: when they cannot be read.
    """
    contents = context.store.contents()
    held = [record.resources for record in contents.records.values()]
    held += [intent.resources for intent in contents.intents.values()]
    return frozenset(item.name for items in held for item in items)


def compared(context: Context) -> Plugged:
    """All records, compared with the host.

    :raises HostError, StoreError: when either cannot be read.
    """
    report = inspect.check(context)
    contents = context.store.contents()
    items = [item for record in contents.records.values() for item in record.resources]
    bridges = {
        record.id: [link.name for link in kinds.links_in(record.resources) if link.passage.is_bridge]
        for record in contents.records.values()
    }
    return Plugged(
        ports=tuple(_ports(contents)),
        bridged=sum(map(bool, bridges.values())),
        bridges=frozenset(name for names in bridges.values() for name in names),
        total=len(contents.records),
        names=frozenset(item.name for item in items),
        problems=tuple(_problems(context, report, contents)),
        obstacles=tuple(_obstacles(context, contents)),
        orphans=_orphans(report),
        absent=tuple(_absent(report, contents)),
        identities=tuple(
            Identity(vif_id=record.id, address=record.vif.address, network=record.vif.network.id)
            for record in contents.records.values()
        ),
        waiting=tuple(_waiting(context, contents)),
    )


def _obstacles(context: Context, contents: Contents) -> Iterator[Obstacle]:
    """Settings on a VMM's taps and on other programs' bridges, which vifplug must not change."""
    if not contents.records:
        return
    records = list(contents.records.values())
    observed = inspect.observe(context, inspect.scope_of(records))
    for record in records:
        yield from obstacles_of(record, observed)


def obstacles_of(record: Record, observed: Observed) -> Iterator[Obstacle]:
    """Those of one VIF."""
    built = {link.name for link in kinds.links_in(record.resources)}
    tap = observed.links.get(guest_link(record.vif))
    if tap is not None and tap.name not in built and not tap.owner:
        for item in obstacles.on_foreign_link(tap, observed):
            yield Obstacle(vif_id=record.id, subject=tap.name, text=_differs(item))
    yield from _narrow(record, observed)
    for bridge in _foreign_bridges(record, observed):
        guest = (guest_link(record.vif), record.vif.address)
        for item in obstacles.on_foreign_bridge(bridge, observed, guest, record.vif.vlan):
            yield Obstacle(vif_id=record.id, subject=bridge.name, text=_differs(item))


def _narrow(record: Record, observed: Observed) -> Iterator[Obstacle]:
    """Devices of other programs on the path with a smaller MTU than the VIF: larger frames are lost there."""
    built = kinds.links_in(record.resources)
    names = {guest_link(record.vif), *(link.name for link in built if link.relation is not Relation.OWNED)}
    wanted = record.vif.network.mtu
    for name in sorted(names - {link.name for link in built if link.relation is Relation.OWNED} - {""}):
        link = observed.links.get(name)
        if link is not None and link.mtu is not None and wanted is not None and link.mtu < wanted:
            yield Obstacle(vif_id=record.id, subject=name, text=f"mtu is {link.mtu}, should be {wanted}")


def _foreign_bridges(record: Record, observed: Observed) -> Iterator[Link]:
    """Linux bridges of other programs that a VIF uses: the requested one, and a replacement of ours."""
    masters = {link.master for link in kinds.links_in(record.resources) if link.master}
    for name in sorted(masters | {record.vif.network.bridge or ""}):
        bridge = observed.links.get(name)
        if bridge is not None and bridge.passage.is_bridge and not bridge.owner:
            yield bridge


def _differs(item: DriftItem) -> str:
    return f"{item.attribute} is {item.observed}, should be {'none' if item.desired is None else item.desired}"


def _orphans(report: CheckReport) -> dict[str, list[str]]:
    orphans: dict[str, list[str]] = {}
    for orphan in report.orphans:
        orphans.setdefault(orphan.vif_id, []).append(f"{orphan.kind} {orphan.name}")
    return orphans


def _absent(report: CheckReport, contents: Contents) -> Iterator[Absent]:
    now = datetime.datetime.now(datetime.UTC)
    for vif in report.vifs:
        record = contents.records.get(vif.id)
        if vif.absent_since is not None and record is not None:
            seconds = (now - datetime.datetime.fromisoformat(vif.absent_since)).total_seconds()
            device = guest_link(record.vif)
            yield Absent(vif_id=vif.id, device=device, since=vif.absent_since, seconds=seconds)


def _ports(contents: Contents) -> Iterator[Port]:
    for record in contents.records.values():
        for item in kinds.ports_in(record.resources):
            datapath = record.vif.network.datapath_type or ""
            yield Port(
                vif_id=record.id,
                bridge=item.bridge,
                datapath_type=datapath,
                name=item.name,
                type=str(item.settings.get("type", "")),
                tag=item.tag,
                network=record.vif.network.id,
                vlan=record.vif.vlan if isinstance(record.vif.vlan, int) else None,
            )


def _waiting(context: Context, contents: Contents) -> Iterator[Waiting]:
    """VIFs in the state plugged: built, and not wired by the source that decides about that."""
    ids = [record.id for record in contents.records.values() if record.state == PLUGGED]
    if not ids:
        return
    now = datetime.datetime.now(datetime.UTC)
    for waited in wait.look(context, ids, WIRED).vifs:
        record = contents.records[waited.id]
        if waited.waits_for:
            seconds = (now - datetime.datetime.fromisoformat(record.updated_at)).total_seconds()
            yield Waiting(vif_id=waited.id, since=record.updated_at, seconds=seconds, waits_for=waited.waits_for)


def _problems(context: Context, report: CheckReport, contents: Contents) -> Iterator[VifProblem]:
    for vif in report.vifs:
        record = contents.records.get(vif.id)
        reason = contents.damaged.get(vif.id) or (record.error if record else "") or ""
        drift = [str(item) for item in vif.drift]
        more = [f"and {len(drift) - _ITEMS_MAX} more"] if len(drift) > _ITEMS_MAX else []
        text = "; ".join([reason, *drift[:_ITEMS_MAX], *more]).removeprefix("; ")
        if vif.drift or vif.state in (FAILED, CONTENDED):
            damaged = vif.id in contents.damaged
            since = record.updated_at if record is not None and record.state == DRIFTED else ""
            text = text or "see the daemon's log"
            yield VifProblem(vif_id=vif.id, state=vif.state, text=text, damaged=damaged, since=since)
    for intent in contents.intents.values():
        # Read again: an intent that was carried out ends before its session does.
        if not context.locks.is_session_alive(intent.session) and context.store.intent(intent.vif_id) == intent:
            yield VifProblem(vif_id=intent.vif_id, state=f"interrupted {intent.verb}", text="")
