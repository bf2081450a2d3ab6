"""From a request and a record to the desired state. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vifplug import naming
from vifplug.drivers import builders, uplinks
from vifplug.drivers.contract import Driver, Options
from vifplug.drivers.guest_end import link_of
from vifplug.drivers.registry import driver_for, end_by
from vifplug.engine import own_vlan
from vifplug.engine.host import Scope
from vifplug.engine.plan import configured
from vifplug.engine.plan.plug import Request
from vifplug.engine.requester import Requester
from vifplug.engine.wiring import Wiring, state_of
from vifplug.errors import Conflict, InputError
from vifplug.model.limits import NO_VLAN
from vifplug.model.reports import PLUGGED
from vifplug.model.vif import Vif, optional_fields
from vifplug.resources import kinds
from vifplug.resources.contract import LINKS, Relation, Resource
from vifplug.resources.link import Link
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.ovs_port import OvsPort, Vlans
from vifplug.store.records import Intent, Record, now

_MAY_HAVE_OWN_BRIDGE = "ovs"
_FILLED_PARTS = ("tap_owner", "tap", "vhost_user", "pci_device", "macvtap")
"""Parts of a request that are completed field by field; an instance is replaced as a whole."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One VIF's request with all fields set, and the host's resources that it needs."""

    vif: Vif
    driver: Driver
    desired: tuple[Resource, ...]
    """As the driver describes it; not yet resolved."""
    record: Record | None
    asked_datapath: str | None = None
    is_unfiltered: bool = False
    """Whether the request names addresses to limit the guest to, and the configuration does not allow that."""
    keeps_port: bool = False
    """Whether the request leaves the port to the VMM, although it stays vifplug's as recorded."""
    requester: Requester | None = None
    """The requester; None for the daemon's own work."""
    created_by: int | None = None
    """The uid that plugged the VIF first."""
    state: str = PLUGGED
    """The state to record after the work; for ``plugged``, the level that is reached by then."""
    error: str | None = None
    thorough: bool = False
    """Whether to observe also what needs more messages; a plug does not."""
    repairs: bool = False
    """Whether it is a repair, whose changes are recorded as an event."""
    takes_back: bool = True
    """Whether to undo what was made if the work fails. A repair is continued later instead: a guest may already have
    opened what was restored."""

    @functools.cached_property
    def recorded(self) -> Inventory:
        """What was built before."""
        return Inventory(self.record.resources if self.record else ())

    @property
    def guest_link(self) -> str:
        """The link that shows whether the VIF's guest exists; "" if none does."""
        return link_of(end_by(self.driver, self.vif))

    @property
    def function(self) -> str:
        """The PCI function of its guest; "" for none."""
        return self.vif.pci_device.address if self.vif.pci_device is not None else ""

    @property
    def keeps_function(self) -> bool:
        """Whether its guest has that function already."""
        known = self.record.vif.pci_device if self.record is not None else None
        return known is not None and known.address == self.function

    @property
    def identities(self) -> set[str]:
        """The owners whose locks the work needs: the VIF's, and those of shared resources."""
        everything = (*self.desired, *self.recorded.items)
        return {self.vif.id} | {resource.owner for resource in everything}

    def request(self, resolved: tuple[Resource, ...], recorded: Inventory | None = None) -> Request:
        """The request in the planner's form.

        :param recorded: what was built before, with the stored values of shared devices.
        """
        guests = (item for item in kinds.links_in(self.desired) if item.guest)
        recorded = recorded if recorded is not None else self.recorded
        return Request(vif_id=self.vif.id, desired=resolved, recorded=recorded, guests_bridge=next(guests, None))


def job(vif: Vif, record: Record | None, options: Options, requester: Requester | None = None) -> Job:
    """A request with missing fields filled from the record, else from the configuration.

    :raises InputError: there is no driver, or a required field is missing.
    :raises Conflict: the VIF is plugged as another vif_type.
    :raises NotPermitted: the VIF is not the requester's.
    """
    if requester is not None:
        requester.authorise(vif.id, record)
    driver = driver_for(vif.vif_type, vif.id)
    if record is not None and record.vif.vif_type != vif.vif_type:
        raise Conflict(
            f"VIF {vif.id} is plugged as {record.vif.vif_type!r} and cannot become {vif.vif_type!r} in place; "
            "unplug it first",
            vif.id,
        )
    asks = vif.allowed_addresses is not None and vif.port_security is None and (not record or vif is not record.vif)
    keeps_port = _keeps_port(vif, record)
    if keeps_port and record is not None:
        vif = vif.model_copy(update={"create_port": None, "create_tap": record.vif.create_tap})
    complete = _completed(vif, record.vif if record else None, driver, options)
    _refuse_another_way(complete, record)
    own_vlan.refuse(complete, record, options)
    desired = tuple(item for item in driver.resources(complete, options) if not _is_unasked(item, vif, record))
    kinds.require_known(desired)
    builders.refuse_unfiltered(complete, options, desired)
    _check_names(complete, driver, desired)
    return Job(
        vif=complete,
        driver=driver,
        desired=desired,
        record=record,
        # A repair is not a request: the requester was warned at the plug.
        asked_datapath=None if record is not None and vif is record.vif else vif.network.datapath_type,
        # Of a port, Neutron's addresses are only facts: its sender asks for nothing.
        is_unfiltered=bool(asks and not options.filter_enabled),
        keeps_port=keeps_port,
        requester=requester,
        created_by=record.created_by if record is not None else requester.uid if requester is not None else None,
    )


def _is_unasked(item: Resource, vif: Vif, record: Record | None) -> bool:
    """Whether a repair would put a guest's tap on a bridge that no request has put there: its maker may have yet to
    prepare it, as Neutron's agent does with a port's security groups."""
    if record is None or vif is not record.vif:
        return False
    return item.is_guests and item.name not in Inventory(record.resources).links


def _keeps_port(vif: Vif, record: Record | None) -> bool:
    """Whether vifplug plugged the VIF before create_port existed, or with a request that did not contain it.

    Versions before create_port ignored Nova's delegate_create and made the port; the same document must be accepted
    until the VIF is unplugged.
    """
    if record is None or vif.create_port is not False or record.vif.create_port is not None:
        return False
    return any(port.is_owned and not port.is_patch for port in kinds.ports_in(record.resources))


def _refuse_another_way(vif: Vif, record: Record | None) -> None:
    """Refuse to give a plugged VIF a bridge of its own, or to remove it: its guest would lose its connection.

    :raises Conflict: naming the remedy.
    """
    if record is None or bool(record.vif.per_port_bridge) == bool(vif.per_port_bridge):
        return
    has, becomes = ("with", "without") if record.vif.per_port_bridge else ("without", "with")
    raise Conflict(
        f"VIF {vif.id} is plugged {has} an OVS bridge of its own and cannot be plugged {becomes} one in place "
        "(per_port_bridge); unplug it first",
        vif.id,
    )


def recovery(known: Record, left: Inventory, options: Options) -> Job:
    """The request to restore the recorded state; what an interrupted request may have made counts as built."""
    ports = left.ports
    recorded = tuple(
        _with_ports_left(item, ports[item.name])
        if isinstance(item, OvsPort) and item.name in ports
        else configured.with_more(item, left.links.get(item.name))
        for item in known.resources
    )
    there = {(item.plane, item.name) for item in recorded}
    added = tuple(item for item in left.items if (item.plane, item.name) not in there)
    left_too = replace(known, resources=(*recorded, *added))
    return replace(job(known.vif, known, options), record=left_too)


def _with_ports_left(item: OvsPort, left: OvsPort) -> OvsPort:
    """A recorded port, with the ids and the VLAN that an interrupted request may have given it."""
    vlan = left.vlan if left.vlan is not None else item.vlan
    return replace(item, iface_ids={**left.iface_ids, **item.iface_ids}, vlan=vlan)


def _completed(vif: Vif, known: Vif | None, driver: Driver, options: Options) -> Vif:
    network = vars(vif.network)  # its datapath_type is kept for the doctor: the bridge's own decides
    names = vars(vif.names)
    fields = {name: getattr(vif, name) for name in optional_fields()}
    if known is not None:
        network = _filled(network, vars(known.network))
        names = _filled(names, vars(known.names))
        fields = _filled(fields, {name: getattr(known, name) for name in optional_fields()})
    fields |= {name: _part_completed(fields[name], getattr(known, name, None)) for name in _FILLED_PARTS}
    network = _filled(network, {"mtu": options.mtu - uplinks.overhead(network["uplink"], options)})
    if fields["vlan"] == NO_VLAN:
        fields["vlan"] = None
    if fields["vlan"] is not None and vif.isolate is None:
        fields["isolate"] = False  # no control plane would end it
    fields = _filled(fields, {"create_tap": driver.makes_tap, "isolate": options.isolate})
    if known is None and options.per_port_bridge and vif.vif_type == _MAY_HAVE_OWN_BRIDGE:
        fields = _filled(fields, {"per_port_bridge": True})
    draft = vif.model_copy(
        update={
            **fields,
            "network": vif.network.model_copy(update=network),
            "names": vif.names.model_copy(update=names),
        }
    )
    bridge = driver.switch(draft, options)
    if bridge == draft.network.bridge:
        return draft
    return draft.model_copy(update={"network": draft.network.model_copy(update={"bridge": bridge})})


def _part_completed(part: Any, known: Any) -> Any:
    """A part of a request with missing fields filled from the record, if that is about the same device."""
    if part is None:
        return None
    values = vars(part)
    if known is not None and (not part.device or values[part.device] == getattr(known, part.device)):
        values = _filled(values, vars(known))
    return part.model_copy(update=_filled(values, part.defaults))


def _check_names(vif: Vif, driver: Driver, desired: Iterable[Resource]) -> None:
    """Refuse names, which are only known after they are filled in: by the naming rule, from the record, or by a
    third-party driver.

    :raises InputError: no device can have the name, or two devices of the VIF would have it.
    """
    desired = list(desired)
    patches = {port.name for port in kinds.ports_in(desired) if port.is_patch}
    # What another program made already has its name.
    names = (item.name for item in desired if item.name not in patches and item.relation is Relation.OWNED)
    wrong = next((name for name in names if not naming.is_link_name(name)), None)
    if wrong is not None:
        raise InputError(
            f"names: VIF {vif.id} would have a device {wrong!r}, which the kernel does not accept; a device name has "
            f"{naming.LINK_NAME_RULE}",
            vif.id,
        )
    links = [link for link in kinds.links_in(desired) if link.owner == vif.id]
    guest = link_of(end_by(driver, vif))
    has_guests = any(link.is_opened_by_guest or link.is_guests for link in links)
    built = [link.name for link in links] + [guest] * bool(guest and not has_guests)
    chosen = [name for name in vars(vif.names).values() if name]
    twice = next((name for names in (chosen, built) for name in names if names.count(name) > 1), None)
    if twice:
        raise InputError(
            f"names: VIF {vif.id} would have two devices {twice!r}; each needs its own "
            "(of a plugged VIF, a name that is left out stays as it is)",
            vif.id,
        )


def _filled(values: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, object]:
    return {key: defaults.get(key) if value is None else value for key, value in values.items()}


def scope_of(desired: Iterable[Resource], owners: Iterable[str], guests: Iterable[str] = ()) -> Scope:
    """The scope of an observation for some resources, and for the taps that their guests open."""
    resources = list(desired)
    links, ports, bridges = kinds.links_in(resources), kinds.ports_in(resources), kinds.ovs_bridges_in(resources)
    devices = {item.name for item in (*links, *bridges)} | {port.name for port in ports if not port.is_patch}
    needed = {name for link in links for _plane, name in link.depends_on()}
    return Scope(
        links=frozenset(devices.union(needed, guests)),
        members_of=frozenset(link.name for link in links if link.shared and link.has_members),
        ports=frozenset(port.name for port in ports),
        iface_ids=frozenset(port.owner for port in ports),
        owners=frozenset(owners),
        ovs=bool(ports),
        recorded=with_ifindex(links),
        filters=_first_by_name(kinds.filters_in(resources)),
        function_kinds=kinds.functions_in(links),
    )


def scope_of_plan(
    desired: Iterable[Resource], recorded: Iterable[Resource], owners: Iterable[str], guests: Iterable[str]
) -> Scope:
    """The scope of an observation for a plan, which also needs what uplinks depend on."""
    desired = list(desired)
    scope, uplinks = (
        scope_of([*desired, *recorded], owners, guests),
        [link for link in kinds.links_in(desired) if link.is_uplink],
    )
    if not uplinks:
        return scope
    addresses = frozenset(link.local_address for link in uplinks) - {""}
    return replace(scope, uplinks=frozenset(link.name for link in uplinks), local_addresses=addresses)


def _first_by_name(filters: Iterable[Filter]) -> dict[str, Filter]:
    """What is desired comes before what is recorded."""
    by_name: dict[str, Filter] = {}
    for item in filters:
        by_name.setdefault(item.name, item)
    return by_name


def with_ifindex(resources: Iterable[Resource]) -> dict[str, Link]:
    """Links with a recorded ifindex, by name."""
    return {link.name: link for link in kinds.links_in(resources) if link.ifindex is not None}


def built(resolved: Sequence[Resource], observed: Observed, recorded: Inventory) -> tuple[Resource, ...]:
    """Resources as they go into the record: links with their ifindex, ports with their row's UUID, and the VMM's tap.

    :param recorded: what was built before.
    """
    known = recorded.links
    made: list[Resource] = []
    for resource in resolved:
        link = observed.links.get(resource.name)
        ifindex = link.ifindex if link else None
        if isinstance(resource, OvsPort):
            is_foreign = resource.waits_for_device or bool(resource.function)
            made.append(_as_seen(resource, observed, recorded, ifindex if is_foreign else None))
        elif resource.relation is not Relation.OWNED:
            made.append(resource)  # it is not searched under other names, so its name alone identifies it
        elif isinstance(resource, Link) and resource.guest:
            guest = guest_ifindex(resource, observed, known.get(resource.name))
            made.append(resource.replaced(ifindex=ifindex, guest_ifindex=guest))
        else:
            made.append(resource.replaced(ifindex=ifindex) if resource.plane == LINKS else resource)
    return tuple(made)


def _as_seen(port: OvsPort, observed: Observed, recorded: Inventory, device: int | None) -> OvsPort:
    """A port with its row, the device's ifindex, and the VLANs that another program has set: if it is recreated, it
    gets no others."""
    current, known = observed.ports.get(port.name), recorded.ports.get(port.name)
    seen = current or known or port
    bridge = observed.bridges.get(port.bridge)
    return port.replaced(
        uuid=current.uuid if current else None,
        device_ifindex=device,
        control_plane=port.control_plane
        or (bridge.control_plane if bridge else "")
        or (known.control_plane if known else ""),
    ).with_vlans(seen.vlans if port.vlan is None else Vlans())


def guest_ifindex(bridge: Link, observed: Observed, known: Link | None) -> int | None:
    """The VMM's tap that was observed on a bridge: now, or before if it still exists."""
    tap = observed.links.get(bridge.guest)
    if tap is None or tap.owner:
        return None
    before = known.guest_ifindex if known is not None else None
    return tap.ifindex if tap.master == bridge.name or tap.ifindex == before else None


def records(
    work: Sequence[Job], resolved: Mapping[str, tuple[Resource, ...]], observed: Observed, wiring: Wiring
) -> list[Record]:
    """The VIFs' records after the work, with their states; the existing record if nothing changed."""
    return [_record(job, built(resolved[job.vif.id], observed, job.recorded), observed, wiring) for job in work]


def _record(job: Job, resources: tuple[Resource, ...], observed: Observed, wiring: Wiring) -> Record:
    known = job.record
    fresh = Record(
        vif=job.vif,
        resources=resources,
        state=job.state,
        updated_at=known.updated_at if known is not None else "",
        error=job.error,
        created_by=job.created_by,
        physical=_physical(job, observed),
        guest_absent_since=known.guest_absent_since if known is not None else None,
    )
    if job.state == PLUGGED:
        state, error = state_of(fresh, observed, wiring)
        fresh = replace(fresh, state=state, error=error)
    return known if known is not None and known == fresh else replace(fresh, updated_at=now())


def _physical(job: Job, observed: Observed) -> str:
    """The physical function of its guest's PCI function: the present one or, if that is missing, the recorded one."""
    was = job.record.physical if job.record is not None and job.keeps_function else ""
    return observed.physical.get(job.function, was)


def left(record: Record | None, intent: Intent | None) -> Inventory:
    """What a VIF has on the host, or may have from an interrupted request."""
    return united(*(part.resources for part in (intent, record) if part is not None))


def united(*parts: Iterable[Resource]) -> Inventory:
    """All resources of all arguments; if two have the same name, the later one."""
    union: dict[tuple[str, str], Resource] = {}
    for resources in parts:
        for item in resources:
            earlier = union.get((item.kind, item.name))
            union[item.kind, item.name] = item if earlier is None else configured.with_more(item, earlier)
    return Inventory(tuple(union.values()))
