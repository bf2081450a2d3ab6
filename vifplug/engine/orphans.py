"""Orphans: owned on the host, but in no record. Pure."""

from __future__ import annotations

from vifplug import naming
from vifplug.engine.plan import ownership
from vifplug.model import printable
from vifplug.model.reports import Orphan
from vifplug.resources import kinds
from vifplug.resources.contract import Resource
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.observed import Observed
from vifplug.resources.ovs_port import OvsPort
from vifplug.store.records import Contents


def orphans(observed: Observed, before: Contents, after: Contents) -> list[Orphan]:
    """Owned resources that were neither recorded nor under way, both before the observation and after it."""
    wanted = _owners(before) | _owners(after) | before.covered | after.covered
    names = before.covered_names | after.covered_names
    result = [
        Orphan(kind=link.kind, name=printable.text(link.name), vif_id=link.owner)
        for link in observed.links.values()
        if link.owner and link.owner not in wanted and link.name not in names and ownership.role_of(link)
    ]
    result += [
        Orphan(kind=port.kind, name=port.name, vif_id=port.owner)
        for port in observed.ports.values()
        if naming.is_owner(port.owner)
        and port.owner not in wanted
        and port.name not in names
        and _shows_it(port, observed)
    ]
    result += [
        Orphan(kind=bridge.kind, name=bridge.name, vif_id=owner)
        for bridge in observed.bridges.values()
        if (owner := ownership.bridge_owner(bridge)) and owner not in wanted and bridge.name not in names
    ]
    result += [
        Orphan(kind="qos", name=qos.uuid, vif_id=qos.owner)
        for qos in observed.qos
        if naming.is_owner(qos.owner) and qos.owner not in wanted and not qos.is_copied
    ]
    result += [
        Orphan(kind=Filter.kind, name=printable.text(device), vif_id=owner)
        for owner, device, _place in sorted(observed.filtered)
        if owner not in wanted
    ]
    return result


def copied_marks(observed: Observed, before: Contents, after: Contents) -> list[Orphan]:
    """Rows with a copy of our mark, made by another program: no other sign agrees with it. Reported, never changed."""
    resources = [item for contents in (before, after) for item in _resources(contents)]
    known = {(item.owner, item.name, item.uuid) for item in kinds.ports_in(resources)}
    # A damaged record's resources are unknown.
    unknown = before.damaged_holders | after.damaged_holders
    ports = [
        Orphan(kind=port.kind, name=port.name, vif_id=port.owner)
        for port in observed.ports.values()
        if naming.is_owner(port.owner)
        and port.owner not in unknown
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
    """Every VIF, and every network whose bridge was built for one of them."""
    owners = set(contents.records) | set(contents.intents)
    held = _resources(contents)
    return owners | contents.damaged_holders | {item.owner for item in kinds.shared_in(held)}
