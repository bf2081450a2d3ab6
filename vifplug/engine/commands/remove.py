"""Deletes what was built for a VIF as far as possible, and deletes its record when all is gone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from vifplug.engine.apply import executor
from vifplug.engine.host import Host, Scope, Settle
from vifplug.engine.plan import configured, ownership, request, unplug
from vifplug.engine.plan.actions import ConfigureLink, DeleteBridge, DeleteLinks, DeletePort
from vifplug.engine.plan.nftables.filters import DeleteFilter
from vifplug.engine.plan.ownership import NOT_IN_USE, InUse
from vifplug.engine.plan.plan import Plan
from vifplug.engine.removal import Removal, Removed
from vifplug.errors import Conflict, OvsUnavailable, PermissionDenied, TeardownError, TimedOut, VifplugError
from vifplug.resources import kinds
from vifplug.resources.contract import Resource
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.observed import Inventory, Observed
from vifplug.store.store import Store


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A removal that is planned."""

    built: Mapping[str, Inventory]
    """What each VIF may have on the host, with the values of configured devices that it shares."""
    observed: Observed
    plan: Plan
    away: VifplugError | None
    """The error if OVSDB does not answer: then its rows are not in the plan."""


def planned(host: Host, store: Store, built: Mapping[str, Inventory]) -> Plan:
    """The plan that ``remove`` would carry out. Nothing is changed."""
    return _prepared(host, store, Removal(built=built)).plan


def _prepared(host: Host, store: Store, removal: Removal) -> _Prepared:
    built = removal.built
    everything = request.united(*(left.items for left in built.values()))
    others, stored = shared_with_others(store, list(built), everything.items), stored_of(store, everything.items)
    if stored:
        built = {
            vif_id: Inventory(configured.with_shared(left.items, stored, others)) for vif_id, left in built.items()
        }
        everything = request.united(*(left.items for left in built.values()))
    # A filter is deleted by its owner, whatever is there of it.
    scope = replace(request.scope_of(everything.items, built, removal.guests.values()), filters={})
    observed, away = _observe_what_can_be(host, scope, removal.away)
    return _Prepared(built, observed, unplug.plan_unplug(everything, set(built), observed, others), away)


def remove(host: Host, store: Store, removal: Removal) -> Removed:
    """Delete what was built for VIFs whose locks are held, in one plan. Do not wait for vswitchd.

    Resources that other programs have changed so that they could be their own are left: an unplug ends (DESIGN, promise
    4), and what does not show that it is ours is not deleted (promise 5).
    """
    prepared = _prepared(host, store, removal)
    built, observed, plan = prepared.built, prepared.observed, prepared.plan
    active = frozenset(vif_id for vif_id, name in removal.guests.items() if _has_guest(name, observed))
    refused, errors = _sorted_out(executor.teardown(host, plan.actions))
    if prepared.away is not None:
        errors.append(prepared.away)
    if errors and len(built) > 1:
        # Removing each VIF separately shows which of them the errors belong to: what is already deleted counts as
        # success.
        unavailable = next((error for error in errors if isinstance(error, OvsUnavailable)), None)
        parts = [remove(host, store, Removal(built={vif_id: left}, away=unavailable)) for vif_id, left in built.items()]
        return Removed(
            errors={vif_id: values for part in parts for vif_id, values in part.errors.items()},
            left={vif_id: values for part in parts for vif_id, values in part.left.items()},
            gone={vif_id: values for part in parts for vif_id, values in part.gone.items()},
            active=active,
        )
    left = {vif_id: _left(vif_id, own, observed, refused) for vif_id, own in built.items()}
    if not errors:
        store.forget(list(built))
    gone = {vif_id: _gone(vif_id, own, plan, refused) for vif_id, own in built.items()}
    return Removed(errors=dict.fromkeys(built, errors), left=left, gone=gone, active=active)


def _has_guest(name: str, observed: Observed) -> bool:
    """Whether a guest has its tap open: the kernel gives the tap its carrier then."""
    return name in observed.links and bool(observed.links[name].carrier)


def _sorted_out(errors: Iterable[VifplugError]) -> tuple[list[VifplugError], list[VifplugError]]:
    """Errors of what the privileged side does not recognise as ours, and other errors."""
    refused: list[VifplugError] = []
    others: list[VifplugError] = []
    for error in errors:
        (refused if isinstance(error, Conflict | PermissionDenied) else others).append(error)
    return refused, others


def _left(vif_id: str, own: Inventory, observed: Observed, refused: Iterable[VifplugError]) -> list[str]:
    names = {*own.links, *own.ports, *own.bridges, vif_id}
    words = [str(error) for error in refused if error.subject in names]
    return list(dict.fromkeys([*words, *unplug.left_alone(own, observed)]))


def _gone(vif_id: str, own: Inventory, plan: Plan, refused: Iterable[VifplugError]) -> list[str]:
    stayed = {error.subject for error in refused}
    words: list[str] = []
    for action in plan.actions:
        if isinstance(action, DeletePort) and action.port.owner == vif_id and action.subject not in stayed:
            words.append(f"OVS port {action.subject}")
        elif isinstance(action, DeleteFilter) and action.filter.owner == vif_id and action.subject not in stayed:
            words.append(f"the filter of {action.subject}")
        elif isinstance(action, DeleteBridge) and action.subject in {*own.bridges} - stayed:
            words.append(f"OVS bridge {action.subject}")
        elif isinstance(action, DeleteLinks):
            words += [f"{link.kind} {link.name}" for link in action.links if link.name in {*own.links} - stayed]
        elif isinstance(action, ConfigureLink) and action.subject in {*own.links} - stayed:
            words.append(f"what was set on {action.link.kind} {action.subject}")
    return words


def _observe_what_can_be(host: Host, scope: Scope, away: VifplugError | None) -> tuple[Observed, VifplugError | None]:
    if away is None or not scope.ovs:
        try:
            return host.observe(scope), None
        except OvsUnavailable as error:
            away = error
    links = Scope(
        links=scope.links,
        members_of=scope.members_of,
        ovs=False,
        recorded=scope.recorded,
        function_kinds=scope.function_kinds,
    )
    return host.observe(links), away


def shared_with_others(store: Store, vif_ids: Sequence[str], built: Iterable[Resource]) -> InUse:
    """Other VIFs' use of shared resources; read only if these VIFs share something."""
    if not kinds.shared_in(built):
        return NOT_IN_USE
    contents = store.contents()
    held = [record.resources for record in contents.records.values() if record.id not in vif_ids]
    held += [intent.resources for intent in contents.intents.values() if intent.vif_id not in vif_ids]
    damaged = [holders for vif_id, holders in contents.held_by_damaged.items() if vif_id not in vif_ids]
    used: dict[tuple[str, str], list[Resource]] = {}
    for item in (item for resources in held for item in kinds.shared_in(resources)):
        used.setdefault((item.owner, item.name), []).append(item)
    return InUse(resources=used, owners=frozenset().union(*damaged))


def stored_of(store: Store, items: Iterable[Resource]) -> configured.Shared:
    """The stored values of configured devices that VIFs share; read only if these VIFs have any."""
    return store.shared_links() if any(map(configured.is_configured, kinds.shared_in(items))) else {}


def users_of_shared(store: Store, vif_id: str) -> dict[str, frozenset[int | None]]:
    """The uids that plugged the other VIFs that use shared resources, by the resource's owner."""
    users: dict[str, set[int | None]] = {}
    for record in store.contents().records.values():
        if record.id != vif_id:
            for item in kinds.shared_in(record.resources):
                users.setdefault(item.owner, set()).add(record.created_by)
    return {owner: frozenset(uids) for owner, uids in users.items()}


def marked(host: Host, owners: Collection[str], known: Inventory) -> Inventory:
    """Resources with a mark of these owners, besides those that are known: the only information if a record cannot be
    read.

    :param owners: the VIF, and the networks whose bridges it shares.
    """
    observed = host.observe(Scope(owners=frozenset(owners), everything=True))
    own = (link for link in observed.links.values() if link.owner in owners)
    links = [replace(link, role=role) for link in own if (role := ownership.role_of(link))]
    ports = [
        port
        for port in observed.ports.values()
        if port.owner in owners and ownership.port_shows_it(port, port.owner, observed.links.get(port.name))
    ]
    bridges = [
        replace(bridge, owner=owner)
        for bridge in observed.bridges.values()
        if (owner := ownership.bridge_owner(bridge)) in owners
    ]
    filters = [
        Filter(name=name, owner=owner, place=place) for owner, name, place in observed.filtered if owner in owners
    ]
    return request.united(known.items, links, ports, bridges, filters)


def settle_or_warn(host: Host) -> list[str]:
    """Wait until vswitchd has closed what was deleted.

    :returns: a warning if it has not in time; it will when it runs again.
    """
    try:
        host.apply((), Settle())
    except TimedOut as error:
        return [f"the rows and links are gone, but {error}"]
    return []


def raise_all(errors: Iterable[VifplugError]) -> None:
    """Raise the errors of several VIFs as one; an error that several share appears once.

    :raises TeardownError, VifplugError: unless there are no errors.
    """
    different = list({(type(error), str(error)): error for error in errors}.values())
    if len(different) == 1:
        raise different[0]
    if different:
        worst = any(not isinstance(error, Conflict) for error in different)
        raise TeardownError.of(different) if worst else Conflict("; ".join(map(str, different)))
