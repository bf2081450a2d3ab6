"""From a request and a record to what should be there. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from vifplug import naming
from vifplug.drivers.contract import Driver, Options
from vifplug.drivers.guest_end import link_of
from vifplug.drivers.registry import driver_for, end_by
from vifplug.engine.host import Scope
from vifplug.engine.plan import configured
from vifplug.engine.plan.plug import Request
from vifplug.engine.requester import Requester
from vifplug.engine.wiring import Wiring, state_of
from vifplug.errors import Conflict, InputError
from vifplug.model.reports import PLUGGED
from vifplug.model.vif import Vif, optional_fields
from vifplug.resources import kinds
from vifplug.resources.contract import LINKS, Relation, Resource
from vifplug.resources.link import Link
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.ovs_port import OvsPort
from vifplug.store.records import Intent, Record, now

_MAY_HAVE_OWN_BRIDGE = "ovs"
_FILLED_PARTS = ("tap_owner", "tap", "vhost_user", "pci_device", "macvtap")
"""Parts of a request that are filled field by field; an instance is another one as a whole."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One VIF's request with everything filled in, and what it asks of the host."""

    vif: Vif
    driver: Driver
    desired: tuple[Resource, ...]
    """As the driver describes it; not yet resolved."""
    record: Record | None
    asked_datapath: str | None = None
    keeps_port: bool = False
    """Whether the request leaves the port to the VMM, and it stays vifplug's as it is recorded."""
    requester: Requester | None = None
    """Who asks; None for what the daemon does by itself."""
    created_by: int | None = None
    """The uid that plugged it first."""
    state: str = PLUGGED
    """What the record is to say once the work is done; for ``plugged``, the rung that is reached by then."""
    error: str | None = None
    thorough: bool = False
    """Whether to look at what takes more questions, too; a plug does not."""
    takes_back: bool = True
    """Whether what was made is taken back when the work fails. A repair goes on from there another time: a guest may
    have opened by then what is there again."""

    @functools.cached_property
    def recorded(self) -> Inventory:
        """What was built before."""
        return Inventory(self.record.resources if self.record else ())

    @property
    def guest_link(self) -> str:
        """The link that shows whether its guest is there; "" where none does."""
        return link_of(end_by(self.driver, self.vif))

    @property
    def identities(self) -> set[str]:
        """Whose locks the work needs: the VIF's, and those of what it shares."""
        everything = (*self.desired, *self.recorded.items)
        return {self.vif.id} | {resource.owner for resource in everything}

    def request(self, resolved: tuple[Resource, ...], recorded: Inventory | None = None) -> Request:
        """The planner's view of it.

        :param recorded: what was built before, with what the store keeps of shared devices.
        """
        guests = (item for item in kinds.links_in(self.desired) if item.guest)
        recorded = recorded if recorded is not None else self.recorded
        return Request(vif_id=self.vif.id, desired=resolved, recorded=recorded, guests_bridge=next(guests, None))


def job(vif: Vif, record: Record | None, options: Options, requester: Requester | None = None) -> Job:
    """A request with what it does not say filled in from the record, else from the configuration.

    :raises InputError: when there is no driver, or it lacks something.
    :raises Conflict: when the VIF is plugged as another vif_type.
    :raises NotPermitted: when it is not the requester's.
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
    keeps_port = _keeps_port(vif, record)
    if keeps_port and record is not None:
        vif = vif.model_copy(update={"create_port": None, "create_tap": record.vif.create_tap})
    complete = _completed(vif, record.vif if record else None, driver, options)
    _refuse_another_way(complete, record)
    desired = tuple(driver.resources(complete, options))
    kinds.require_known(desired)
    _check_names(complete, driver, desired)
    return Job(
        vif=complete,
        driver=driver,
        desired=desired,
        record=record,
        # What is repaired as recorded is no request: who asked was warned then.
        asked_datapath=None if record is not None and vif is record.vif else vif.network.datapath_type,
        keeps_port=keeps_port,
        requester=requester,
        created_by=record.created_by if record is not None else requester.uid if requester is not None else None,
    )


def _keeps_port(vif: Vif, record: Record | None) -> bool:
    """Whether vifplug plugged the VIF before it knew create_port, or with a request that did not name it.

    Versions before create_port ignored Nova's delegate_create and made the port; the same document must go on being
    plugged as it is until the VIF is unplugged.
    """
    if record is None or vif.create_port is not False or record.vif.create_port is not None:
        return False
    return any(port.is_owned and not port.is_patch for port in kinds.ports_in(record.resources))


def _refuse_another_way(vif: Vif, record: Record | None) -> None:
    """Refuse to give a plugged VIF a bridge of its own, or to take that from it: its guest would be cut off.

    :raises Conflict: naming what to do.
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
    """The request to be as recorded again, with what an interrupted one may have made counted as built too."""
    ports = left.ports
    recorded = tuple(
        replace(item, iface_ids={**ports[item.name].iface_ids, **item.iface_ids})
        if isinstance(item, OvsPort) and item.name in ports
        else configured.with_more(item, left.links.get(item.name))
        for item in known.resources
    )
    there = {(item.plane, item.name) for item in recorded}
    added = tuple(item for item in left.items if (item.plane, item.name) not in there)
    left_too = replace(known, resources=(*recorded, *added))
    return replace(job(known.vif, known, options), record=left_too)


def _completed(vif: Vif, known: Vif | None, driver: Driver, options: Options) -> Vif:
    network = vars(vif.network)  # its datapath_type is kept for the doctor: the bridge's own decides
    names = vars(vif.names)
    fields = {name: getattr(vif, name) for name in optional_fields()}
    if known is not None:
        network = _filled(network, vars(known.network))
        names = _filled(names, vars(known.names))
        fields = _filled(fields, {name: getattr(known, name) for name in optional_fields()})
    fields |= {name: _part_completed(fields[name], getattr(known, name, None)) for name in _FILLED_PARTS}
    network = _filled(network, {"mtu": options.mtu})
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
    """A part of a request with what it does not say: from the record, where that is about the same device."""
    if part is None:
        return None
    values = vars(part)
    if known is not None and (not part.device or values[part.device] == getattr(known, part.device)):
        values = _filled(values, vars(known))
    return part.model_copy(update=_filled(values, part.defaults))


def _check_names(vif: Vif, driver: Driver, desired: Iterable[Resource]) -> None:
    """Refuse what only shows once names are filled in: by the rule, from the record, or by somebody's own driver.

    :raises InputError: for a name that no device can have, or that two devices of the VIF would have.
    """
    desired = list(desired)
    patches = {port.name for port in kinds.ports_in(desired) if port.is_patch}
    # What another program made has its name already.
    names = (item.name for item in desired if item.name not in patches and item.relation is Relation.OWNED)
    wrong = next((name for name in names if not naming.is_link_name(name)), None)
    if wrong is not None:
        raise InputError(
            f"names: VIF {vif.id} would have a device {wrong!r}, which the kernel does not take; a device name has "
            f"{naming.LINK_NAME_RULE}",
            vif.id,
        )
    links = [link for link in kinds.links_in(desired) if link.owner == vif.id]
    guest = link_of(end_by(driver, vif))
    built = [link.name for link in links] + [guest] * bool(guest and not any(link.is_opened_by_guest for link in links))
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
    """What to look at for some resources, and for the taps their guests open."""
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
    )


def with_ifindex(resources: Iterable[Resource]) -> dict[str, Link]:
    """Links whose ifindex is recorded, by name."""
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
            made.append(_as_seen(resource, observed, recorded, ifindex if resource.waits_for_device else None))
        elif resource.relation is not Relation.OWNED:
            made.append(resource)  # no other is looked for in its place, so it is known by its name alone
        elif isinstance(resource, Link) and resource.guest:
            guest = guest_ifindex(resource, observed, known.get(resource.name))
            made.append(resource.replaced(ifindex=ifindex, guest_ifindex=guest))
        else:
            made.append(resource.replaced(ifindex=ifindex) if resource.plane == LINKS else resource)
    return tuple(made)


def _as_seen(port: OvsPort, observed: Observed, recorded: Inventory, device: int | None) -> OvsPort:
    """A port with its row, the device's ifindex, and the VLANs that another program has given it: made again, it gets
    no others."""
    current, known = observed.ports.get(port.name), recorded.ports.get(port.name)
    seen = current or known or port
    bridge = observed.bridges.get(port.bridge)
    return replace(
        port,
        uuid=current.uuid if current else None,
        device_ifindex=device,
        control_plane=port.control_plane
        or (bridge.control_plane if bridge else "")
        or (known.control_plane if known else ""),
        tag=seen.tag,
        vlan_mode=seen.vlan_mode,
        trunks=seen.trunks,
    )


def guest_ifindex(bridge: Link, observed: Observed, known: Link | None) -> int | None:
    """The VMM's tap that was seen on a bridge: now, or before and it is still there."""
    tap = observed.links.get(bridge.guest)
    if tap is None or tap.owner:
        return None
    before = known.guest_ifindex if known is not None else None
    return tap.ifindex if tap.master == bridge.name or tap.ifindex == before else None


def records(
    work: Sequence[Job], resolved: Mapping[str, tuple[Resource, ...]], observed: Observed, wiring: Wiring
) -> list[Record]:
    """The records of VIFs as they were built and stand; of each the one there is, where nothing changed."""
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
        guest_absent_since=known.guest_absent_since if known is not None else None,
    )
    if job.state == PLUGGED:
        state, error = state_of(fresh, observed, wiring)
        fresh = replace(fresh, state=state, error=error)
    return known if known is not None and known == fresh else replace(fresh, updated_at=now())


def left(record: Record | None, intent: Intent | None) -> Inventory:
    """What a VIF has on the host, or may have of a request that ended in between."""
    return united(*(part.resources for part in (intent, record) if part is not None))


def united(*parts: Iterable[Resource]) -> Inventory:
    """Everything that is in any of them; what comes later counts where two have one name."""
    union: dict[tuple[str, str], Resource] = {}
    for resources in parts:
        for item in resources:
            earlier = union.get((item.kind, item.name))
            union[item.kind, item.name] = item if earlier is None else configured.with_more(item, earlier)
    return Inventory(tuple(union.values()))


def warnings(job: Job, observed: Observed) -> list[str]:
    """What of a request was not done as it asks, in words."""
    kept = (
        f"VIF {job.vif.id} leaves its OVS port to the guest's VMM (create_port false), but was plugged with a port of "
        "vifplug's, which was kept; unplug the VIF first to change that"
    )
    return [*([kept] if job.keeps_port else []), *_datapath_warning(job, observed)]


def _datapath_warning(job: Job, observed: Observed) -> list[str]:
    """The bridge's own datapath decides; a request that believes in another gets one warning."""
    for port in kinds.ports_in(job.desired):
        bridge = observed.bridges.get(port.bridge)
        if job.asked_datapath and bridge and (bridge.datapath_type or "system") != job.asked_datapath:
            return [
                f"VIF {job.vif.id} asks for datapath_type {job.asked_datapath!r}, but OVS bridge {bridge.name!r} has "
                f"{bridge.datapath_type or 'system'!r}; the bridge's own was used"
            ]
    return []
