"""The use cases that look: list, get, check, path; and gc, which deletes what nobody records."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from vifplug import naming
from vifplug.drivers.registry import driver_for
from vifplug.engine import departure, executor, jobs, ownership, removal, views
from vifplug.engine.host import Scope
from vifplug.engine.plugger import Plugger
from vifplug.errors import OvsUnavailable, VifplugError
from vifplug.records import Record
from vifplug.reports import PLUGGING, CheckReport, GcReport, Orphan, PathReport, VifCheck, VifReport
from vifplug.resources import Bridge, Inventory, Link, Observed, OvsPort, Resource
from vifplug.store import Contents

LOG = logging.getLogger(__name__)

_LOCK_SECONDS = 5.0


def list_vifs(plugger: Plugger) -> list[VifReport]:
    """Every recorded VIF, as it is; with OVS away, as recorded."""
    contents = plugger.store.contents()
    if not contents.records:
        return []
    try:
        observed: Observed | None = plugger.host.observe(_everything(contents))
    except OvsUnavailable:
        observed = None
    return [views.recorded(record, observed, contents.intents.get(record.id)) for record in contents.records.values()]


def get(plugger: Plugger, vif_id: str) -> VifReport:
    """One recorded VIF, as it is; with OVS away, as recorded.

    :raises UnknownVif: when it is not recorded.
    """
    record = views.known(plugger.store, vif_id)
    intent = plugger.store.contents().intents.get(vif_id)
    try:
        return views.recorded(record, plugger.host.observe(_scope(record)), intent)
    except OvsUnavailable:
        return views.recorded(record, None, intent)


def path(plugger: Plugger, vif_id: str) -> PathReport:
    """One recorded VIF's path.

    :raises UnknownVif: when it is not recorded.
    """
    record = views.known(plugger.store, vif_id)
    return views.path(record, plugger.host.observe(_scope(record)))


def check(plugger: Plugger, vif_ids: Sequence[str] | None = None) -> CheckReport:
    """Drift of these VIFs only; or of all, and orphans.

    :raises UnknownVif: for an id that is not recorded.
    """
    found = _look(plugger, vif_ids)
    drifted = {vif.id: _owners_of(plugger, vif.id) for vif in found.vifs if vif.drift}
    suspects = set().union(*drifted.values(), (orphan.vif_id for orphan in found.orphans))
    if not suspects:
        return found
    # What was seen in the middle of somebody's request is no finding: look again while nobody can be at it.
    with plugger.locks.held_if_free(suspects) as free:
        again = _look(plugger, vif_ids)
    seen = {vif.id: vif for vif in again.vifs}
    vifs: list[VifCheck] = []
    for vif in found.vifs:
        if vif.id not in drifted:
            vifs.append(vif)
        elif not drifted[vif.id] <= free:
            vifs.append(replace(vif, state=PLUGGING, drift=()))
        elif vif.id in seen:
            vifs.append(seen[vif.id])
    return CheckReport(vifs=vifs, orphans=[orphan for orphan in again.orphans if orphan.vif_id in free])


def _owners_of(plugger: Plugger, vif_id: str) -> set[str]:
    record = plugger.store.record(vif_id)
    return {vif_id} | {item.owner for item in (record.resources if record else ())}


def _look(plugger: Plugger, vif_ids: Sequence[str] | None) -> CheckReport:
    if vif_ids is not None:
        records = [views.known(plugger.store, vif_id) for vif_id in vif_ids]
        intents = plugger.store.contents().intents
        return CheckReport(
            vifs=[
                views.check(record, plugger.host.observe(_scope(record)), intents.get(record.id)) for record in records
            ]
        )
    before = plugger.store.contents()
    observed = plugger.host.observe(_everything(before))
    after = plugger.store.contents()
    return CheckReport(
        vifs=[
            views.check(record, observed, after.intents.get(record.id))
            for record in before.records.values()
            if record.id in after.records
        ],
        orphans=_orphans(observed, before, after),
    )


def gc(plugger: Plugger, *, delete: bool) -> GcReport:
    """Find orphans; with ``delete``, take those away that still are ones under their owner's lock.

    :raises TeardownError, HostError: when one that should go could not.
    """
    orphans = check(plugger).orphans
    if not delete:
        return GcReport(orphans=orphans)
    deleted: list[Orphan] = []
    errors: list[VifplugError] = []
    for owner in dict.fromkeys(orphan.vif_id for orphan in orphans):
        try:
            gone, failed = _collect(plugger, owner)
        except VifplugError as error:
            gone, failed = [], [error]
        deleted += gone
        errors += failed
    for warning in removal.settle_or_warn(plugger.host):
        LOG.warning("%s", warning)
    removal.raise_all(errors)
    return GcReport(orphans=orphans, deleted=deleted)


def _collect(plugger: Plugger, owner: str) -> tuple[list[Orphan], list[VifplugError]]:
    with plugger.locks.held({owner}, _LOCK_SECONDS):
        before = plugger.store.contents()
        observed = plugger.host.observe(_everything(before))
        orphans = [orphan for orphan in _orphans(observed, before, before) if orphan.vif_id == owner]
        if not orphans:
            return [], []
        names = {orphan.name for orphan in orphans}
        links = tuple(link for link in observed.links.values() if link.owner == owner and link.name in names)
        plan = departure.plan_unplug(Inventory(links), {owner}, observed, set())
        errors = executor.teardown(plugger.host, plan.actions)
        # A shared bridge with somebody else's link on it stays; it is still an orphan, and was not deleted.
        going = {link.name for action in plan.actions for link in getattr(action, "links", ())}
        gone = [item for item in orphans if item.kind in (OvsPort.kind, "qos") or item.name in going]
        return ([] if errors else gone), errors


def _orphans(observed: Observed, before: Contents, after: Contents) -> list[Orphan]:
    """What is owned on the host and neither recorded nor under way, before it was looked at and after."""
    wanted = _owners(before) | _owners(after)
    found = [
        Orphan(kind=link.kind, name=link.name, vif_id=link.owner)
        for link in observed.links.values()
        if link.owner and link.owner not in wanted and ownership.bears_birth_marks(link)
    ]
    found += [
        Orphan(kind=port.kind, name=port.name, vif_id=port.owner)
        for port in observed.ports.values()
        if naming.is_owner(port.owner) and port.owner not in wanted
    ]
    found += [
        Orphan(kind="qos", name=qos.uuid, vif_id=qos.owner)
        for qos in observed.qos
        if naming.is_owner(qos.owner) and qos.owner not in wanted
    ]
    return found


def _owners(contents: Contents) -> set[str]:
    """Every VIF, and every network whose bridge one of them was built with."""
    owners = set(contents.records) | set(contents.intents)
    held: list[Resource] = [item for record in contents.records.values() for item in record.resources]
    held += [item for intent in contents.intents.values() for item in intent.resources]
    return owners | {item.owner for item in held if isinstance(item, Bridge) and item.shared}


def _scope(record: Record) -> Scope:
    driver = driver_for(record.vif.vif_type, record.id)
    scope = jobs.scope_of(record.resources, {record.id}, {driver.guest_link(record.vif)})
    switch = record.vif.network.bridge
    if scope.ovs or switch is None:
        return scope
    return Scope(links=scope.links | {switch}, members_of=scope.members_of, ovs=False)


def _everything(contents: Contents) -> Scope:
    """All links, and all rows of ours. A host with no OVS VIF may have no OVS."""
    ports = [item for record in contents.records.values() for item in record.resources if isinstance(item, OvsPort)]
    names = frozenset(port.name for port in ports)
    bridges = frozenset(
        item.name for record in contents.records.values() for item in record.resources if isinstance(item, Bridge)
    )
    links = frozenset(
        item.name for record in contents.records.values() for item in record.resources if isinstance(item, Link)
    )
    return Scope(links=links, members_of=bridges, ports=names, everything=True, ovs=True)
