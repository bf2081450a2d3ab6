"""The use cases that look: list, get, check, path; and gc, which deletes what nobody records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from vifplug import naming
from vifplug.drivers.registry import guest_link
from vifplug.engine import report
from vifplug.engine.apply import executor
from vifplug.engine.commands import observed_vlans, remove
from vifplug.engine.commands.plug import Plugger
from vifplug.engine.host import Scope
from vifplug.engine.plan import ownership, request, unplug
from vifplug.errors import Damaged, OvsUnavailable, VifplugError
from vifplug.model import printable
from vifplug.model.reports import PLUGGING, UNPLUGGING, CheckReport, GcReport, Orphan, PathReport, VifCheck, VifReport
from vifplug.resources import kinds
from vifplug.resources.contract import Resource
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.ovs_port import OvsPort
from vifplug.store.records import Contents, Record

LOG = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0
"""For requests on VIFs that look drifted: what they leave behind is what counts."""


def list_vifs(plugger: Plugger) -> list[VifReport]:
    """Every recorded VIF, as it is; with OVS away, those that have a port as recorded."""
    contents = plugger.store.contents()
    damaged = [report.damaged(vif_id, reason) for vif_id, reason in contents.damaged.items()]
    if not contents.records:
        return damaged
    scope, is_away = everything(contents), False
    try:
        observed = observe(plugger, scope)
    except OvsUnavailable:
        observed, is_away = observe(plugger, replace(scope, ovs=False)), True
    observed_vlans.note_vlans(plugger, contents.records.values(), observed)
    wiring = plugger.wiring()
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


def get(plugger: Plugger, vif_id: str) -> VifReport:
    """One recorded VIF, as it is; with OVS away, as recorded.

    :raises UnknownVif: when it is not recorded.
    """
    try:
        record = report.known(plugger.store, vif_id)
    except Damaged as error:
        return report.damaged(vif_id, str(error))
    intent, wiring = plugger.store.intent(vif_id), plugger.wiring([vif_id])
    try:
        observed = observe(plugger, _scope(record))
    except OvsUnavailable:
        return report.recorded(record, None, wiring, intent)
    observed_vlans.note_vlans(plugger, [record], observed)
    return report.recorded(record, observed, wiring, intent)


def path(plugger: Plugger, vif_id: str) -> PathReport:
    """One recorded VIF's path.

    :raises UnknownVif: when it is not recorded.
    """
    try:
        record = report.known(plugger.store, vif_id)
    except Damaged as error:
        return PathReport(vif=report.damaged(vif_id, str(error)))
    intent, wiring = plugger.store.intent(vif_id), plugger.wiring([vif_id])
    observed = observe(plugger, _scope(record))
    observed_vlans.note_vlans(plugger, [record], observed)
    return report.path(record, observed, wiring, intent)


def check(plugger: Plugger, vif_ids: Sequence[str] | None = None) -> CheckReport:
    """Drift of these VIFs only; or of all, and orphans.

    :raises UnknownVif: for an id that is not recorded.
    """
    found = _look(plugger, vif_ids)
    drifted = {vif.id: _owners_of(plugger, vif.id) for vif in found.vifs if vif.drift}
    drifted |= {vif.id: _owners_of(plugger, vif.id) for vif in found.vifs if vif.state in (PLUGGING, UNPLUGGING)}
    suspects = set().union(*drifted.values(), (orphan.vif_id for orphan in found.orphans))
    if not suspects:
        return found
    # What was seen in the middle of somebody's request is no finding: look again once it has ended, and see that
    # nobody was at it. No lock is taken: whoever asks again and again must not keep the one who repairs from doing so.
    plugger.locks.await_free(suspects, _PATIENCE_SECONDS)
    free = plugger.locks.free(suspects)
    again = _look(plugger, vif_ids)
    free &= plugger.locks.free(suspects)
    seen = {vif.id: vif for vif in again.vifs}
    vifs: list[VifCheck] = []
    for vif in found.vifs:
        if vif.id not in drifted:
            vifs.append(vif)
        elif not drifted[vif.id] <= free:
            state = vif.state if vif.state in (PLUGGING, UNPLUGGING) else PLUGGING
            vifs.append(VifCheck(id=vif.id, state=state))
        elif vif.id in seen:
            vifs.append(seen[vif.id])
    return CheckReport(vifs=tuple(vifs), orphans=tuple(orphan for orphan in again.orphans if orphan.vif_id in free))


def _owners_of(plugger: Plugger, vif_id: str) -> set[str]:
    record = plugger.store.record_or_none(vif_id)
    return {vif_id} | {item.owner for item in (record.resources if record else ())}


def _look(plugger: Plugger, vif_ids: Sequence[str] | None) -> CheckReport:
    if vif_ids is not None:
        known = {vif_id: _known_or_damaged(plugger, vif_id) for vif_id in vif_ids}
        checks = check_together(plugger, [one for one in known.values() if isinstance(one, Record)])
        damaged = [one for one in known.values() if isinstance(one, VifCheck)]
        found = {check.id: check for check in (*checks, *damaged)}
        return CheckReport(vifs=tuple(found[vif_id] for vif_id in vif_ids))
    before = plugger.store.contents()
    observed = observe(plugger, everything(before))
    observed_vlans.note_vlans(plugger, before.records.values(), observed)
    after, wiring = plugger.store.contents(), plugger.wiring()
    return CheckReport(
        vifs=(
            *(
                report.check(record, observed, wiring, after.intents.get(record.id))
                for record in before.records.values()
                if record.id in after.records
            ),
            *(report.check_damaged(vif_id, reason) for vif_id, reason in after.damaged.items()),
        ),
        orphans=(*orphans(observed, before, after), *copied_marks(observed, before, after)),
    )


def _known_or_damaged(plugger: Plugger, vif_id: str) -> Record | VifCheck:
    try:
        return report.known(plugger.store, vif_id)
    except Damaged as error:
        return report.check_damaged(vif_id, str(error))


def check_together(plugger: Plugger, records: Sequence[Record]) -> list[VifCheck]:
    """How some recorded VIFs are, all of them seen at one moment."""
    if not records:
        return []
    observed = observe(plugger, scope_of(records))
    observed_vlans.note_vlans(plugger, records, observed)
    wiring = plugger.wiring([record.id for record in records])
    return [report.check(record, observed, wiring, plugger.store.intent(record.id)) for record in records]


def scope_of(records: Sequence[Record]) -> Scope:
    """What to look at for some recorded VIFs."""
    scopes = [_scope(record) for record in records]
    return Scope(
        links=frozenset().union(*(scope.links for scope in scopes)),
        members_of=frozenset().union(*(scope.members_of for scope in scopes)),
        ports=frozenset().union(*(scope.ports for scope in scopes)),
        iface_ids=frozenset().union(*(scope.iface_ids for scope in scopes)),
        owners=frozenset().union(*(scope.owners for scope in scopes)),
        ovs=any(scope.ovs for scope in scopes),
        recorded={name: link for scope in scopes for name, link in scope.recorded.items()},
    )


def observe(plugger: Plugger, scope: Scope) -> Observed:
    """The host, unless that would mean to wait for an OVSDB that was just found not to answer.

    :raises HostError: when it cannot be seen.
    """
    if scope.ovs and plugger.host.ovs_away:
        raise OvsUnavailable("OVSDB does not answer; check that openvswitch-switch runs, then retry")
    return plugger.host.observe(replace(scope, thorough=True))


def gc(plugger: Plugger, *, delete: bool) -> GcReport:
    """Find orphans; with ``delete``, take those away that still are so under their owner's lock.

    :raises TeardownError, HostError: when one that should go could not.
    """
    there = check(plugger).orphans
    if not delete:
        return GcReport(orphans=there)
    deleted, errors = collect(plugger, {orphan.vif_id for orphan in there})
    remove.raise_all(errors)
    return GcReport(orphans=there, deleted=tuple(deleted))


def collect(
    plugger: Plugger, owners: Collection[str], spared: Callable[[str, Observed], bool] = lambda _owner, _seen: False
) -> tuple[list[Orphan], list[VifplugError]]:
    """Take away what these owners have on the host, where it still is an orphan under their locks, all in one plan.

    :returns: what is gone, and what went wrong.
    :raises HostError, StoreError: when nothing could be tried.
    """
    with plugger.locks.held_if_free(owners) as free:
        contents = plugger.store.contents()
        observed = observe(plugger, everything(contents))
        going = {owner for owner in free if not spared(owner, observed)}
        found = [orphan for orphan in orphans(observed, contents, contents) if orphan.vif_id in going]
        if not found:
            return [], []
        names = {orphan.name for orphan in found}
        lost = {orphan.vif_id for orphan in found}
        links = tuple(
            replace(link, role=ownership.role_of(link))
            for link in observed.links.values()
            if link.owner in lost and printable.text(link.name) in names
        )
        plan = unplug.plan_unplug(Inventory(links), lost, observed, set())
        errors = executor.teardown(plugger.host, plan.actions)
        for warning in remove.settle_or_warn(plugger.host):
            LOG.warning("%s", warning)
        # A shared bridge with somebody else's link on it stays; it is still an orphan, and was not deleted.
        left = orphans(observe(plugger, everything(contents)), contents, contents)
        return [orphan for orphan in found if orphan not in left], errors


def orphans(observed: Observed, before: Contents, after: Contents) -> list[Orphan]:
    """What is owned on the host and neither recorded nor under way, before it was looked at and after."""
    wanted = _owners(before) | _owners(after) | before.covered | after.covered
    names = before.covered_names | after.covered_names
    found = [
        Orphan(kind=link.kind, name=printable.text(link.name), vif_id=link.owner)
        for link in observed.links.values()
        if link.owner and link.owner not in wanted and link.name not in names and ownership.role_of(link)
    ]
    found += [
        Orphan(kind=port.kind, name=port.name, vif_id=port.owner)
        for port in observed.ports.values()
        if naming.is_owner(port.owner)
        and port.owner not in wanted
        and port.name not in names
        and _shows_it(port, observed)
    ]
    found += [
        Orphan(kind="qos", name=qos.uuid, vif_id=qos.owner)
        for qos in observed.qos
        if naming.is_owner(qos.owner) and qos.owner not in wanted and not qos.is_copied
    ]
    return found


def copied_marks(observed: Observed, before: Contents, after: Contents) -> list[Orphan]:
    """Rows with a mark of ours that nothing else agrees with: somebody copied it. They are named and never changed."""
    resources = [item for contents in (before, after) for item in _resources(contents)]
    known = {(item.owner, item.name, item.uuid) for item in kinds.ports_in(resources)}
    # What a damaged record holds cannot be told.
    untold = before.damaged_holders | after.damaged_holders
    ports = [
        Orphan(kind=port.kind, name=port.name, vif_id=port.owner)
        for port in observed.ports.values()
        if naming.is_owner(port.owner)
        and port.owner not in untold
        and (port.owner, port.name, port.uuid) not in known
        and not _shows_it(port, observed)
    ]
    qos = [
        Orphan(kind="qos", name=qos.uuid, vif_id=qos.owner)
        for qos in observed.qos
        if naming.is_owner(qos.owner) and qos.is_copied
    ]
    return [*ports, *qos]


def _shows_it(port: OvsPort, observed: Observed) -> bool:
    return ownership.port_shows_it(port, port.owner, observed.links.get(port.name))


def _resources(contents: Contents) -> list[Resource]:
    held: list[Resource] = [item for record in contents.records.values() for item in record.resources]
    return held + [item for intent in contents.intents.values() for item in intent.resources]


def _owners(contents: Contents) -> set[str]:
    """Every VIF, and every network whose bridge one of them was built with."""
    owners = set(contents.records) | set(contents.intents)
    held = _resources(contents)
    return owners | contents.damaged_holders | {link.owner for link in kinds.shared_in(held)}


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
    )
