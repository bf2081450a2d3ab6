"""Differences between observed and desired resources. Pure; used by the planner and by ``check``."""

from __future__ import annotations

from collections.abc import Iterable

from vifplug import naming
from vifplug.engine.plan import obstacles, ownership
from vifplug.engine.plan.nftables import filters
from vifplug.model.reports import DriftItem
from vifplug.resources import kinds
from vifplug.resources.contract import Relation, Resource
from vifplug.resources.link import BRIDGE_VLAN, Link
from vifplug.resources.nftables.filter import Filter
from vifplug.resources.observed import Inventory, Observed
from vifplug.resources.ovs_bridge import DATAPATH, OvsBridge
from vifplug.resources.ovs_bridge import SETTINGS as BRIDGE_SETTINGS
from vifplug.resources.ovs_port import OF_VLANS, SETTINGS, OvsPort, Vlans, access, shown
from vifplug.resources.schema import Compared

PRESENT = "present"
NAME = "name"
"""A link of ours that another program renamed."""
DEVICE = "device"
"""The network device that a configured link must have."""
PORT = "port"
"""The attribute that reports a missing port: the port's device has the same name, and may exist."""
VLANS = "tag"
"""The VLANs that a row which another program recreated lacks, compared with the row before it."""
_KEY = "external_ids:"


def key_of(attribute: str) -> str:
    """The key of external_ids that an attribute stands for; else the attribute itself."""
    return attribute.removeprefix(_KEY)


class PortDrift(DriftItem):
    """A difference of an OVS port, as opposed to the link of the same name."""

    __slots__ = ()

    @property
    def key(self) -> str:
        """The key of external_ids that it is about; "" for any other column."""
        return self.attribute.removeprefix(_KEY) if self.attribute.startswith(_KEY) else ""


def differences(desired: Iterable[Resource], observed: Observed, recorded: Inventory) -> list[DriftItem]:
    """Every difference, in the order of the resources.

    :param desired: resolved resources (``resolution.resolve``).
    :param recorded: what was built; empty before the first plug.
    """
    items: list[DriftItem] = []
    links, ports = recorded.links, recorded.ports
    for resource in desired:
        if isinstance(resource, OvsPort):
            items += of_port(resource, observed, ports.get(resource.name))
        elif isinstance(resource, OvsBridge):
            items += of_bridge(resource, observed)
        elif isinstance(resource, Filter):
            items += filters.differences(resource, observed)
        elif isinstance(resource, Link):
            items += of_link(resource, observed, links.get(resource.name))
            items += of_guest(resource, observed, links.get(resource.name)) if resource.guest else []
        else:
            kinds.require_known((resource,))
    return items


def of_link(desired: Link, observed: Observed, recorded: Link | None) -> list[DriftItem]:
    """Differences of one link."""
    current, away = observed.links.get(desired.name), observed.displaced.get(desired.name)
    if current is None:
        return [DriftItem(subject=desired.name, attribute=PRESENT, observed=False, desired=True)]
    if desired.relation is not Relation.OWNED and not (desired.is_function and current.kind != desired.kind):
        unfit = [DriftItem(subject=desired.name, attribute=DEVICE, observed=False, desired=True)]
        return [*_of_attributes(desired, current), *(unfit if current.unfit_for(desired) else [])]
    if away is not None and not ownership.is_ours(current, desired, recorded):
        return [_renamed(desired, away.name)]
    if current.kind != desired.kind:
        return [DriftItem(subject=desired.name, attribute="kind", observed=current.kind, desired=desired.kind)]
    items = [_renamed(desired, current.called)] if current.called else []
    if recorded is not None and recorded.ifindex is not None and recorded.ifindex != current.ifindex:
        items.append(
            DriftItem(subject=desired.name, attribute="ifindex", observed=current.ifindex, desired=recorded.ifindex)
        )
    return [*items, *_of_attributes(desired, current), *obstacles.on_link(desired, current, observed)]


def _of_attributes(desired: Link, current: Link) -> list[DriftItem]:
    table = desired.attributes
    return [
        DriftItem(subject=desired.name, attribute=attribute, observed=is_, desired=wanted)
        for attribute, wanted, is_ in zip(table.compared, table.values(desired), table.values(current), strict=True)
        if wanted is not None and is_ != wanted and not is_enough(desired, attribute, is_, wanted)
    ]


def is_to_be_remade(desired: Link, current: Link) -> bool:
    """Whether a link differs in values that only a new link can get."""
    pairs = ((getattr(desired, name), getattr(current, name)) for name in desired.attributes.remade_for)
    return any(wanted is not None and wanted != is_ for wanted, is_ in pairs)


def _renamed(desired: Link, called: str) -> DriftItem:
    return DriftItem(subject=desired.name, attribute=NAME, observed=called, desired=desired.name)


def of_guest(desired: Link, observed: Observed, recorded: Link | None) -> list[DriftItem]:
    """Whether the VMM's tap has lost its bridge: the same tap was observed on it, and is on none now. On a bridge that
    filters by VLAN, whether it lacks its VLAN.

    The VMM is about to put a tap there that was never observed on it; its own attempt must not fail.
    """
    tap = observed.links.get(desired.guest)
    known = recorded.guest_ifindex if recorded is not None else None
    if tap is None or tap.owner:
        return []
    vlan = desired.guest_vlan
    if vlan is not None and tap.master == desired.name and tap.bridge_vlan != vlan:
        # The VMM has put it there, and the bridge passes nothing of a port without a VLAN.
        return [DriftItem(subject=tap.name, attribute=BRIDGE_VLAN.name, observed=tap.bridge_vlan, desired=vlan)]
    if known != tap.ifindex or tap.master is not None:
        return []
    return [DriftItem(subject=tap.name, attribute="master", observed=None, desired=desired.name)]


def is_enough(desired: Link, attribute: str, current: object, wanted: object) -> bool:
    """Whether a value other than the desired one satisfies it."""
    if not desired.shared or desired.attributes[attribute].compared is not Compared.AT_LEAST_IF_SHARED:
        return False
    # VIFs of one network may ask for different MTUs; the largest applies.
    if isinstance(current, tuple) and isinstance(wanted, tuple):
        return set(current) >= set(wanted)
    return isinstance(current, int) and isinstance(wanted, int) and current >= wanted


def of_bridge(desired: OvsBridge, observed: Observed) -> list[DriftItem]:
    """Differences of an OVS bridge that vifplug makes; its flows belong to the control plane."""
    current, name = observed.bridges.get(desired.name), desired.name
    if current is None:
        return [DriftItem(subject=name, attribute=PRESENT, observed=False, desired=True)]
    if not ownership.bridge_is_ours(current, desired.owner):
        holder = ownership.owner_in_words(current.owner) if current.owner else "a stranger"
        owner = ownership.owner_in_words(desired.owner)
        return [DriftItem(subject=name, attribute="owner", observed=holder, desired=owner)]
    pairs: list[tuple[str, object, object]] = [
        (f"{_KEY}{naming.OWNER_KEY}", current.owner or None, desired.owner),
        (DATAPATH, current.datapath, desired.datapath),
        *((column, current.settings.get(column), None) for column in BRIDGE_SETTINGS),
    ]
    return [
        DriftItem(subject=name, attribute=attribute, observed=is_, desired=should)
        for attribute, is_, should in pairs
        if is_ != should
    ]


def of_port(desired: OvsPort, observed: Observed, recorded: OvsPort | None) -> list[DriftItem]:
    """Differences of one OVS port in the columns that vifplug sets: the rest of the row belongs to the control
    plane."""
    if not desired.is_owned:
        return []
    current = observed.ports.get(desired.name)
    holder = observed.held.get(desired.name)
    if holder is not None:
        words = f"its Interface is in Port {holder}"
        return [PortDrift(subject=desired.name, attribute=PORT, observed=words, desired=desired.bridge)]
    if current is None:
        return [PortDrift(subject=desired.name, attribute=PORT, observed=None, desired=desired.bridge)]
    link = observed.links.get(desired.name)
    items: list[DriftItem] = []
    if not ownership.port_is_ours(current, desired.owner, link, recorded):
        holder = ownership.owner_in_words(current.owner) if current.owner else "a stranger"
        return [PortDrift(subject=desired.name, attribute="owner", observed=holder, desired=f"VIF {desired.owner}")]
    pairs: list[tuple[str, object, object]] = [
        ("bridge", current.bridge, desired.bridge),
        (f"{_KEY}{naming.OWNER_KEY}", current.external_ids.get(naming.OWNER_KEY), desired.owner),
        *((f"{_KEY}{key}", current.iface_ids.get(key), value) for key, value in desired.iface_ids.items()),
    ]
    # A key of ours that is no longer desired; a record contains no keys of other programs.
    ours = recorded.iface_ids if recorded else {}
    pairs += [(f"{_KEY}{key}", current.iface_ids.get(key), None) for key in ours if key not in desired.iface_ids]
    if is_wider(desired, current, recorded):
        before = recorded.tag if recorded and recorded.tag is not None else "that of before"
        items.append(PortDrift(subject=desired.name, attribute=VLANS, observed=None, desired=before))
    settings = {column: shown(column, value) for column, value in desired.settings.items()}
    if current.settings != settings:
        pairs += [(column, current.settings.get(column), settings.get(column)) for column in SETTINGS]
    own = own_vlans(desired, recorded)
    if own is not None:
        is_now = zip(OF_VLANS, current.vlans, own, strict=True)
        pairs += [(column, is_ or None, should or None) for column, is_, should in is_now]
    elif not desired.has_identity:
        # No agent maintains that patch: a VLAN that it set for the far end would stop every frame (PARITY D9).
        pairs += [(column, getattr(current, column) or None, None) for column in OF_VLANS]
    waits = desired.waits_for_device and link is None
    if not waits:
        pairs.append(("error", current.error or None, None))
    items += [
        PortDrift(subject=desired.name, attribute=attribute, observed=is_, desired=should)
        for attribute, is_, should in pairs
        if is_ != should
    ]
    if not waits and (current.ofport or 0) <= 0:
        items.append(
            PortDrift(subject=desired.name, attribute="ofport", observed=current.ofport, desired="a number above 0")
        )
    return [*items, *_of_device(desired, observed, recorded)]


def own_vlans(desired: OvsPort, recorded: OvsPort | None) -> Vlans | None:
    """The VLANs that a port gets from vifplug; None if another program decides about them.

    A port that had a VLAN of vifplug's and is to have none returns to those that its record has beside it: to none, or,
    if the VLAN is that of an interrupted request, to those from before.
    """
    if not desired.has_identity:
        return None
    if desired.vlan is not None:
        return access(desired.vlan)
    return recorded.vlans if recorded is not None and recorded.vlan is not None else None


def is_wider(desired: OvsPort, current: OvsPort, recorded: OvsPort | None) -> bool:
    """Whether a row was recreated and has none of the VLANs that limited the recorded one."""
    if recorded is None or recorded.uuid in (None, current.uuid) or not desired.has_identity:
        return False
    if current.tag is not None or current.vlan_mode is not None or current.trunks:
        return False
    limited = recorded.tag is not None or bool(recorded.trunks) or recorded.vlan_mode is not None
    return limited or (desired.isolate and not recorded.control_plane)


def _of_device(desired: OvsPort, observed: Observed, recorded: OvsPort | None) -> list[DriftItem]:
    """Differences between the device of the VMM, or a representor, and the one that vswitchd holds; vswitchd ignores
    any other of the same name."""
    if not desired.waits_for_device and not desired.function:
        return []
    current, link = observed.ports[desired.name], observed.links.get(desired.name)
    if link is None and desired.waits_for_device and (current.ofport or 0) > 0:
        return [PortDrift(subject=desired.name, attribute="ofport", observed=current.ofport, desired=None)]
    known = recorded.device_ifindex if recorded else None
    if link is None or (known in (None, link.ifindex) and not is_deaf(current, link, observed)):
        return []
    wanted = known if known not in (None, link.ifindex) else "that of the device ovs-vswitchd holds"
    return [DriftItem(subject=desired.name, attribute="ifindex", observed=link.ifindex, desired=wanted)]


def is_deaf(port: OvsPort, link: Link, observed: Observed) -> bool:
    """Whether vswitchd does not read a device although its port has a number: it holds a deleted device of the same
    name. Only a userspace datapath shows this; a kernel datapath drops its port with the device."""
    bridge = observed.bridges.get(port.bridge)
    if observed.listened_on is None or bridge is None or not bridge.userspace:
        return False
    return (port.ofport or 0) > 0 and not port.error and link.ifindex not in observed.listened_on


def broken_pair(ends: tuple[Link, Link], observed: Observed) -> bool:
    """Whether the two ends are not each other's peers."""
    links = ((end, observed.links.get(end.name)) for end in ends)
    return any(link is None or link.kind != end.kind or link.peer != end.peer for end, link in links)
