"""The commands that only read: list, get, check, path."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from vifplug.drivers.registry import guest_link
from vifplug.engine import orphans, report
from vifplug.engine.commands import observed_vlans
from vifplug.engine.context import Context
from vifplug.engine.host import Scope
from vifplug.engine.plan import request
from vifplug.errors import Damaged, OvsUnavailable
from vifplug.model import claims
from vifplug.model.reports import PLUGGING, UNPLUGGING, CheckReport, PathReport, VifCheck, VifReport
from vifplug.resources import kinds
from vifplug.resources.observed import Observed
from vifplug.store.records import Contents, Record

LOG = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0
"""How long to wait for requests on VIFs that seem drifted: the state after them counts."""


def list_vifs(context: Context) -> list[VifReport]:
    """Every recorded VIF in its present state; with OVS away, those that have a port as recorded."""
    contents = context.store.contents()
    damaged = [report.damaged(vif_id, reason) for vif_id, reason in contents.damaged.items()]
    if not contents.records:
        return damaged
    scope, is_away = everything(contents), False
    try:
        observed = observe(context, scope)
    except OvsUnavailable:
        observed, is_away = observe(context, replace(scope, ovs=False)), True
    observed_vlans.note_vlans(context, contents.records.values(), observed)
    wiring = context.wiring()
    sound = [
        report.recorded(
            record,
            None if is_away and _scope(record).ovs else observed,
            wiring,
            contents.intents.get(record.id),
        )
        for record in contents.records.values()
    ]
    return [*sound, *damaged]


def get(context: Context, vif_id: str) -> VifReport:
    """One recorded VIF in its present state; with OVS away, as recorded.

    :raises UnknownVif: it is not recorded.
    """
    try:
        record = report.known(context.store, vif_id)
    except Damaged as error:
        return report.damaged(vif_id, str(error))
    intent, wiring = context.store.intent(vif_id), context.wiring([vif_id])
    try:
        observed = observe(context, _scope(record))
    except OvsUnavailable:
        return report.recorded(record, None, wiring, intent)
    observed_vlans.note_vlans(context, [record], observed)
    return report.recorded(record, observed, wiring, intent)


def path(context: Context, vif_id: str) -> PathReport:
    """One recorded VIF's path.

    :raises UnknownVif: it is not recorded.
    """
    try:
        record = report.known(context.store, vif_id)
    except Damaged as error:
        return PathReport(vif=report.damaged(vif_id, str(error)), claims=claims.NOTHING)
    return path_of(context, record)[0]


def path_of(context: Context, record: Record, *, ovs: bool = True) -> tuple[PathReport, Observed]:
    """A record's path, and the observation that it is from.

    :param ovs: False to leave out Open vSwitch, while OVSDB is away: its ports and bridges then count as missing.
    :raises HostError: the host cannot be read.
    """
    intent, wiring = context.store.intent(record.id), context.wiring([record.id])
    scope = _scope(record)
    observed = observe(context, scope if ovs else replace(scope, ovs=False, ports=frozenset(), iface_ids=frozenset()))
    if ovs:
        observed_vlans.note_vlans(context, [record], observed)
        return report.path(record, observed, wiring, intent), observed
    path = report.path(record, observed, wiring, intent)
    return replace(path, vif=report.recorded(record, None, wiring, intent)), observed


def check(context: Context, vif_ids: Sequence[str] | None = None) -> CheckReport:
    """Drift of these VIFs only; or of all, and orphans.

    :raises UnknownVif: an id is not recorded.
    """
    first = _look(context, vif_ids)
    drifted = {vif.id: _owners_of(context, vif.id) for vif in first.vifs if vif.drift}
    drifted |= {vif.id: _owners_of(context, vif.id) for vif in first.vifs if vif.state in (PLUGGING, UNPLUGGING)}
    suspects = set().union(*drifted.values(), (orphan.vif_id for orphan in first.orphans))
    if not suspects:
        return first
    # A state in the middle of a request is not a finding: look again after its end, at a moment when no other request
    # works on the VIF. No lock is taken: a client that checks again and again must not block repairs.
    context.locks.await_free(suspects, _PATIENCE_SECONDS)
    free = context.locks.free(suspects)
    again = _look(context, vif_ids)
    free &= context.locks.free(suspects)
    seen = {vif.id: vif for vif in again.vifs}
    vifs: list[VifCheck] = []
    for vif in first.vifs:
        if vif.id not in drifted:
            vifs.append(vif)
        elif not drifted[vif.id] <= free:
            state = vif.state if vif.state in (PLUGGING, UNPLUGGING) else PLUGGING
            vifs.append(VifCheck(id=vif.id, state=state))
        elif vif.id in seen:
            vifs.append(seen[vif.id])
    left = tuple(orphan for orphan in again.orphans if orphan.vif_id in free)
    return CheckReport(vifs=tuple(vifs), orphans=left, claims=again.claims)


def _owners_of(context: Context, vif_id: str) -> set[str]:
    record = context.store.record_or_none(vif_id)
    return {vif_id} | {item.owner for item in (record.resources if record else ())}


def _look(context: Context, vif_ids: Sequence[str] | None) -> CheckReport:
    if vif_ids is not None:
        known = {vif_id: _known_or_damaged(context, vif_id) for vif_id in vif_ids}
        checks = check_together(context, [vif for vif in known.values() if isinstance(vif, Record)])
        damaged = [vif for vif in known.values() if isinstance(vif, VifCheck)]
        by_id = {check.id: check for check in (*checks, *damaged)}
        chosen = tuple(by_id[vif_id] for vif_id in vif_ids)
        return CheckReport(vifs=chosen, claims=claims.CHECKED.without(claims.ORPHANS))
    version, before = context.store.version(), context.store.contents()
    observed = observe(context, everything(before))
    observed_vlans.note_vlans(context, before.records.values(), observed)
    after = before if context.store.version() == version else context.store.contents()
    wiring = context.wiring()
    return CheckReport(
        vifs=(
            *(
                report.check(record, observed, wiring, after.intents.get(record.id))
                for record in before.records.values()
                if record.id in after.records
            ),
            *(report.check_damaged(vif_id, reason) for vif_id, reason in after.damaged.items()),
        ),
        orphans=(*orphans.orphans(observed, before, after), *orphans.copied_marks(observed, before, after)),
    )


def _known_or_damaged(context: Context, vif_id: str) -> Record | VifCheck:
    try:
        return report.known(context.store, vif_id)
    except Damaged as error:
        return report.check_damaged(vif_id, str(error))


def check_together(context: Context, records: Sequence[Record]) -> list[VifCheck]:
    """The checks of some recorded VIFs, all observed at one moment."""
    if not records:
        return []
    observed = observe(context, scope_of(records))
    observed_vlans.note_vlans(context, records, observed)
    wiring = context.wiring([record.id for record in records])
    return [report.check(record, observed, wiring, context.store.intent(record.id)) for record in records]


def scope_of(records: Sequence[Record]) -> Scope:
    """The scope of an observation for some recorded VIFs."""
    scopes = [_scope(record) for record in records]
    return Scope(
        links=frozenset().union(*(scope.links for scope in scopes)),
        members_of=frozenset().union(*(scope.members_of for scope in scopes)),
        ports=frozenset().union(*(scope.ports for scope in scopes)),
        iface_ids=frozenset().union(*(scope.iface_ids for scope in scopes)),
        owners=frozenset().union(*(scope.owners for scope in scopes)),
        ovs=any(scope.ovs for scope in scopes),
        recorded={name: link for scope in scopes for name, link in scope.recorded.items()},
        filters={name: item for scope in scopes for name, item in scope.filters.items()},
        function_kinds={name: kind for scope in scopes for name, kind in scope.function_kinds.items()},
    )


def observe(context: Context, scope: Scope) -> Observed:
    """Observe the host, unless that would mean waiting for an OVSDB that has just not answered.

    :raises HostError: the host cannot be read.
    """
    if scope.ovs and context.ovs_away:
        raise OvsUnavailable("OVSDB does not answer; check that openvswitch-switch runs, then retry")
    return context.host.observe(replace(scope, thorough=True))


def _scope(record: Record) -> Scope:
    scope = request.scope_of(record.resources, {record.id}, {guest_link(record.vif)} - {""})
    switch = record.vif.network.bridge
    if scope.ovs or switch is None:
        return scope
    return replace(scope, links=scope.links | {switch}, owners=frozenset())


def everything(contents: Contents) -> Scope:
    """All links, and all rows of ours. A host with no OVS VIF may have no OVS."""
    items = [item for record in contents.records.values() for item in record.resources]
    links = kinds.links_in(items)
    return Scope(
        links=frozenset(link.name for link in links),
        members_of=frozenset(link.name for link in links if link.has_members),
        ports=frozenset(port.name for port in kinds.ports_in(items)),
        everything=True,
        ovs=True,
        recorded=request.with_ifindex(items),
        filters={item.name: item for item in kinds.filters_in(items)},
        function_kinds=kinds.functions_in(items),
    )
